/**
 * Options that users of the reference plugins `bridge` and `host-local` know: each is acted on, or is so anyway, or is refused with what to
 * do, because an option that is passed over in silence leaves its user with another network than the file says. The table for users
 * is in docs/cni.md. Keys that nobody knows are ignored (specification, section 3).
 */
import { networkOf, tryParseInterfaceAddress, tryParseIp } from "../net/mod.ts";
import { BRIDGE, type PodBridgePort, type PodRoute, type PodRouteOptions } from "../pods/mod.ts";
import { CniError } from "./error.ts";
import { type Reader, shown } from "./json.ts";
import { SCOPES } from "./result.ts";

/** Options are those that are acted on; what is absent is as it always is. */
export interface Options extends PodRouteOptions {
  readonly bridgePort?: PodBridgePort;
  /** Path of a file in the form of resolv.conf(5). */
  readonly resolvConf?: string;
}

/** Fixed is an option of which some values are what is so here anyway. */
export interface Fixed {
  readonly allowed: readonly unknown[];
  /** Why there is nothing else, and what to do about it. */
  readonly reason: string;
}

const bridge: Readonly<Record<string, Fixed>> = {
  bridge: { allowed: [BRIDGE], reason: `pods are on the bridge ${BRIDGE}; remove bridge` },
  isGateway: { allowed: [true], reason: "the node is the pods' gateway; remove isGateway" },
  ipMasq: { allowed: [true], reason: "what pods send to the world is masqueraded; remove ipMasq" },
  ipMasqBackend: {
    allowed: ["nftables"],
    reason: "masquerading is a matter of nftables; remove ipMasqBackend",
  },
  promiscMode: { allowed: [false], reason: "the pods' bridge is not promiscuous; remove promiscMode" },
  vlan: { allowed: [0], reason: "the pods' bridge has no VLANs; remove vlan" },
  vlanTrunk: { allowed: [], reason: "the pods' bridge has no VLANs; remove vlanTrunk" },
  macspoofchk: {
    allowed: [true],
    reason: "what pods send is checked for their own addresses; remove macspoofchk",
  },
  enabledad: {
    allowed: [false],
    reason: "the node knows that addresses are unique, nothing waits for detection; remove enabledad",
  },
  disableContainerInterface: {
    allowed: [false],
    reason: "the container's interface is up; remove disableContainerInterface",
  },
};

const range = "addresses come from the node's range, which the mesh gives it";

const hostLocal: Readonly<Record<string, Fixed>> = {
  type: { allowed: ["causeway"], reason: "addresses come from the node's range; remove ipam" },
  subnet: { allowed: [], reason: `${range}; remove subnet` },
  rangeStart: { allowed: [], reason: `${range}; remove rangeStart` },
  rangeEnd: { allowed: [], reason: `${range}; remove rangeEnd` },
  gateway: { allowed: [], reason: "the gateway is the first address of the node's range; remove gateway" },
  ranges: { allowed: [], reason: `${range}; remove ranges` },
  dataDir: { allowed: [], reason: "addresses are kept with the agent's state; remove dataDir" },
};

/** What runtimes send only if the configuration declares it, and what must then be acted on (conventions, "runtimeConfig"). */
const capabilities: Readonly<Record<string, Fixed>> = {
  ipRanges: { allowed: [], reason: `${range}; remove the capability ipRanges` },
  aliases: { allowed: [], reason: "pods have no names here; remove the capability aliases" },
  infinibandGUID: { allowed: [], reason: "this is Ethernet; remove the capability infinibandGUID" },
  deviceID: { allowed: [], reason: "pods get no devices of the node; remove the capability deviceID" },
};

/** parseOptions reads the options of a configuration; code 2 for what cannot be acted on, 7 for what cannot be. */
export function parseOptions(reader: Reader): Options {
  const ipam = reader.object("ipam");
  refuseOthers(bridge, reader);
  refuseOthers(hostLocal, ipam);
  refuseOthers(capabilities, reader.object("runtimeConfig"));
  const routes = [reader, ipam].flatMap((holder) => holder?.objects("routes") ?? []).map(parseRoute);
  const bridgePort = parseBridgePort(reader);
  const resolvConf = ipam?.string("resolvConf");
  return {
    ...(routes.length > 0 && { routes }),
    ...(reader.boolean("isDefaultGateway") === false && { defaultRoute: false }),
    ...(bridgePort !== undefined && { bridgePort }),
    ...(resolvConf !== undefined && { resolvConf }),
  };
}

/** refuseOthers throws code 2 for a known key whose value cannot be acted on. */
export function refuseOthers(known: Readonly<Record<string, Fixed>>, reader: Reader | undefined): void {
  for (const [key, { allowed, reason }] of Object.entries(known)) {
    const value = reader?.value(key);
    if (reader === undefined || value === undefined || allowed.includes(value)) continue;
    if (Array.isArray(value) && value.length === 0) continue;
    const path = reader.path(key);
    const text = typeof value === "string" ? value : shown(value);
    throw new CniError("unsupportedField", `Cannot use ${path} ${text}: ${reason}`, {
      details: `${path} is ${shown(value)}`,
    });
  }
}

function parseBridgePort(reader: Reader): PodBridgePort | undefined {
  const port: PodBridgePort = {
    ...(reader.boolean("portIsolation") === true && { isolated: true }),
    ...(reader.boolean("hairpinMode") === true && { hairpin: true }),
  };
  return Object.keys(port).length > 0 ? port : undefined;
}

/** The kernel cuts larger ones (net/ipv4/metrics.c), so that the result would not be true. */
const MOST_MTU = 65520;
const MOST_ADVMSS = 65495;

/** parseRoute reads a route as results have them; 0 is absent, as Go's encoder has it. */
export function parseRoute(reader: Reader): PodRoute {
  const destination = reader.parsed("dst", "a network", tryParseInterfaceAddress);
  if (destination === undefined) throw reader.wrong("dst", "a network");
  const { family } = destination.ip;
  const gateway = reader.parsed("gw", "an address", tryParseIp);
  if (gateway !== undefined && gateway.family !== family)
    throw reader.wrong("gw", `an IPv${family} address, as the destination is`);
  const number = (key: string, most: number) => reader.integer(key, { least: 0, most }) || undefined;
  const mtuBytes = number("mtu", MOST_MTU);
  const advmssBytes = number("advmss", MOST_ADVMSS);
  const priority = number("priority", 2 ** 32 - 1);
  const table = number("table", 2 ** 32 - 1);
  const scope = parseScope(reader, family);
  if (gateway !== undefined && scope !== undefined && scope !== "global")
    throw reader.wrong("scope", "0, which it must be for a route with a gateway");
  return {
    destination: networkOf(destination),
    ...(gateway !== undefined && { gateway }),
    ...(mtuBytes !== undefined && { mtuBytes }),
    ...(advmssBytes !== undefined && { advmssBytes }),
    ...(priority !== undefined && { priority }),
    ...(table !== undefined && { table }),
    ...(scope !== undefined && { scope }),
  };
}

/** IPv6 has no scopes of routes; there, link says that the destination needs no gateway. */
function parseScope(reader: Reader, family: 4 | 6): PodRoute["scope"] {
  const number = reader.integer("scope", { least: 0, most: 255 });
  if (number === undefined) return undefined;
  const found = Object.entries(SCOPES).find(
    ([name, value]) => value === number && (family === 4 || name !== "host"),
  );
  if (found === undefined) throw reader.wrong("scope", family === 4 ? "0, 253 or 254" : "0 or 253");
  return found[0] as PodRoute["scope"];
}
