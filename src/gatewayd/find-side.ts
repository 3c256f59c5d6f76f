/** A side's interface as it is now, and what of the kernel's would be in the way of packet sockets on it. */
import { formatIp, ipEqual } from "../net/mod.ts";
import { type LinkInfo, Rtnetlink } from "../netlink/mod.ts";
import type { SideConfiguration } from "../tunnel/gateway/mod.ts";
import type { SidePlan } from "./queue-plan.ts";

/** Found is an interface, and a side on it. */
export interface Found {
  readonly ifindex: number;
  /** Whether it has a carrier; one that has none yet may begin. */
  readonly isRunning: boolean;
  readonly configuration: SideConfiguration;
}

/** findSide looks for a side's interface; a string is why it cannot be used. */
export function findSide({ interface: name, interface6, mac, four, six }: SidePlan): Found | string {
  if (interface6 !== undefined)
    return `its families have two interfaces (${name}, ${interface6}), and a queue in user space has one on each side; give both the same, or let the kernel carry packets (backend kernel)`;
  let link: LinkInfo | undefined;
  try {
    using route = Rtnetlink.open();
    link = route.link(name);
  } catch (error) {
    return `the kernel does not tell of the interface ${name}: ${(error as Error).message}`;
  }
  if (link === undefined) return `there is no interface ${name}; add it, or name another`;
  if (!link.up) return `the interface ${name} is down; run: ip link set ${name} up`;
  const address = mac ?? link.mac;
  if (address === undefined) return `the interface ${name} has no Ethernet address; name another`;
  return {
    ifindex: link.index,
    isRunning: link.running,
    configuration: {
      mac: address,
      ...(four === undefined ? {} : { four }),
      ...(six === undefined ? {} : { six }),
    },
  };
}

/** kernelAnswers tells which address the kernel would answer for as well, since it has a copy of what packet sockets have; undefined: none. */
export function kernelAnswers(
  { ifindex }: Found,
  { interface: name, four, six }: SidePlan,
): string | undefined {
  const own = [four?.ip, six?.ip].filter((ip) => ip !== undefined);
  try {
    using route = Rtnetlink.open();
    const all = route.addresses({ linkIndex: ifindex }).map(({ address }) => address);
    const both = all.find((address) => own.some((ip) => ipEqual(ip, address.ip)));
    if (both === undefined) return undefined;
    const ip = formatIp(both.ip);
    return `the kernel has ${ip} on ${name} too, and would answer for it; run: ip addr del ${ip}/${both.length} dev ${name}`;
  } catch (error) {
    return `the kernel does not tell of the addresses of ${name}: ${(error as Error).message}`;
  }
}
