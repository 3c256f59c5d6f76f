/**
 * NAT boxes that map ports for who asks from inside, as home routers do: Debian's miniupnpd (PCP, NAT-PMP, UPnP-IGD) in the box. Its rules have a
 * table of their own; what they translate passes the box's filter, which lets translated connections in.
 */
import { formatIp, type Ip, parsePrefix, prefixContains } from "../net/mod.ts";
import { readText, which, writeAtomic } from "../sys/mod.ts";
import { inNode } from "./mounts.ts";
import type { Place } from "./place.ts";
import { startProcess } from "./processes.ts";
import type { NatBox } from "./topology.ts";
import { until } from "./wait.ts";

/** The table of miniupnpd's rules. */
const TABLE = "upnp";

/** Outside addresses that miniupnpd takes for a NAT before its own (its addr_is_reserved, after RFC 6890). */
const RESERVED = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3",
].map(parsePrefix);

/** portMappingProblem says why a NAT box with this outside address would map nothing; undefined when it would. */
export function portMappingProblem(outside: Ip): string | undefined {
  if (!RESERVED.some((prefix) => prefixContains(prefix, outside))) return undefined;
  return `portMapping: miniupnpd maps nothing at ${formatIp(outside)}, which is no address of the Internet; give the outside network another prefix, such as 81.2.69.0/24`;
}

/** portMappingRuleset returns the text for nft(8) of the chains that miniupnpd fills. */
export function portMappingRuleset(): string {
  return `table inet ${TABLE} {
  chain miniupnpd { }
  chain prerouting_miniupnpd { }
  chain postrouting_miniupnpd { }
  chain prerouting { type nat hook prerouting priority dstnat - 1; jump prerouting_miniupnpd; }
  chain postrouting { type nat hook postrouting priority srcnat - 1; jump postrouting_miniupnpd; }
}
`;
}

/** startPortMapping starts miniupnpd in a NAT box; resolves when it answers. */
export async function startPortMapping(place: Place, nat: NatBox): Promise<void> {
  if (which("miniupnpd") === undefined)
    throw new Error(
      `Cannot map ports at NAT box ${nat.name}: there is no miniupnpd; install it: apt-get install miniupnpd-nftables`,
    );
  const base = `${place.processes}-miniupnpd-${nat.name}`;
  const [file, logPath] = [`${base}.conf`, `${base}.log`];
  writeAtomic(file, `${settings(base).join("\n")}\n`, 0o600);
  const argv = inNode(place, { netns: nat.name }, ["miniupnpd", "-d", "-f", file, "-P", `${base}.pid`]);
  startProcess(place, `miniupnpd-${nat.name}`, { argv, logPath });
  const listening = () => {
    const log = readText(logPath) ?? "";
    return log.includes("Listening for NAT-PMP/PCP traffic") ? undefined : log.trim() || "no word yet";
  };
  await until(listening, { what: `miniupnpd in ${nat.name}`, deadlineMs: 20_000 });
}

function settings(base: string): string[] {
  return [
    "ext_ifname=outside",
    "listening_ip=inside",
    "enable_natpmp=yes",
    "enable_upnp=yes",
    "secure_mode=yes",
    "system_uptime=no",
    "uuid=00000000-0000-0000-0000-000000000001",
    `upnp_table_name=${TABLE}`,
    `upnp_nat_table_name=${TABLE}`,
    `lease_file=${base}.leases`,
    "allow 1024-65535 0.0.0.0/0 1024-65535",
    "deny 0-65535 0.0.0.0/0 0-65535",
  ];
}
