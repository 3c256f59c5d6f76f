/** The network configuration from standard input, checked and turned into values. */
import {
  formatIp,
  type Ip,
  type Mac,
  macBytes,
  parseMac,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import type { Bandwidth, HostPort } from "../pods/mod.ts";
import { parseBandwidth } from "./bandwidth.ts";
import { type Network, parseNetwork } from "./call.ts";
import { CniError } from "./error.ts";
import { attempt, isObject, type JsonObject, type Reader } from "./json.ts";
import { type Options, parseOptions } from "./options.ts";
import { parsePortMappings } from "./port-mapping.ts";
import type { CniVersion } from "./protocol.ts";

/** Dns is what the runtime writes into the container's resolv.conf. */
export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** ValidAttachment is one that GC must keep. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifname: string;
}

/** Configuration is what one call says about its network. */
export interface Configuration extends Network, Options {
  readonly mtuBytes?: number;
  readonly dns?: Dns;
  /** Addresses that the container must get. */
  readonly addresses: readonly Ip[];
  readonly mac?: Mac;
  /** Ports of the node that lead to the container. */
  readonly hostPorts?: readonly HostPort[];
  readonly bandwidth?: Bandwidth;
  /** Result of the plugins before us, or of the ADD; as it came, in the configuration's version. */
  readonly previous?: JsonObject;
  /** Absent when the runtime did not say: that is not an empty list. */
  readonly validAttachments?: readonly ValidAttachment[];
}

/** parseName returns the network and version of a configuration, which is all that DEL may depend on. */
export function parseName(reader: Reader): Configuration {
  return { ...parseNetwork(reader), addresses: [] };
}

/** parseConfiguration checks everything that does not depend on the node; `args` are the pairs of CNI_ARGS. */
export function parseConfiguration(
  reader: Reader,
  args: ReadonlyMap<string, string> = new Map(),
): Configuration {
  const { version, name } = parseName(reader);
  if (reader.string("type")?.includes("/") === true) throw reader.wrong("type", "a plugin's name without /");
  const options = parseOptions(reader);
  const runtime = reader.object("runtimeConfig");
  const hints = hintsOf(reader);
  const dns = mergeDns(reader.object("dns"), runtime?.object("dns"));
  const mac = requestedMac(runtime, hints, args);
  const hostPorts = parsePortMappings(runtime);
  const bandwidth = parseBandwidth(reader, runtime);
  const mtuBytes = reader.integer("mtu", { least: 0, most: 65535 });
  const previous = reader.value("prevResult");
  if (previous !== undefined && !isObject(previous)) throw reader.wrong("prevResult", "a result");
  const addresses = requestedAddresses(runtime, hints, args);
  refuseSeveral(version, addresses);
  return {
    version,
    name,
    addresses,
    ...options,
    ...(mtuBytes !== undefined && mtuBytes !== 0 && { mtuBytes }),
    ...(dns !== undefined && { dns }),
    ...(mac !== undefined && { mac }),
    ...(hostPorts.length > 0 && { hostPorts }),
    ...(bandwidth !== undefined && { bandwidth }),
    ...(previous !== undefined && { previous }),
  };
}

/** parseCollection returns what GC depends on, which is less than what ADD does: it must not fail for the rest. */
export function parseCollection(reader: Reader): Configuration {
  const valid = reader.objects("cni.dev/valid-attachments") ?? reader.objects("cni.dev/attachments");
  return {
    ...parseName(reader),
    ...(valid !== undefined && { validAttachments: valid.map(validAttachment) }),
  };
}

function validAttachment(reader: Reader): ValidAttachment {
  const containerId = reader.string("containerID");
  const ifname = reader.string("ifname");
  if (containerId === undefined) throw reader.wrong("containerID", "a container's id");
  if (ifname === undefined) throw reader.wrong("ifname", "an interface name");
  return { containerId, ifname };
}

/** Results before 0.3.0 can say one address of each family; the others would be there without anybody knowing. */
function refuseSeveral(version: CniVersion, addresses: readonly Ip[]): void {
  const several = ([4, 6] as const).some(
    (wanted) => addresses.filter(({ family }) => family === wanted).length > 1,
  );
  if (several && version < "0.3.0")
    throw new CniError(
      "incompatibleVersion",
      `CNI version ${version} does not support more than 1 address per family`,
      { details: `requested are ${addresses.map(formatIp).join(", ")}; set cniVersion to 0.3.0 or later` },
    );
}

function mergeDns(configured: Reader | undefined, runtime: Reader | undefined): Dns | undefined {
  const of = (key: string, runtimeKey: string) => {
    const fromRuntime = runtime?.strings(runtimeKey) ?? [];
    return fromRuntime.length > 0 ? fromRuntime : (configured?.strings(key) ?? []);
  };
  const nameservers = of("nameservers", "servers");
  const search = of("search", "searches");
  const options = of("options", "options");
  const domain = configured?.string("domain");
  if (nameservers.length + search.length + options.length === 0 && domain === undefined) return undefined;
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
}

/** Hints are what `args.cni` asks for, as far as it is understood: a runtime must not expect an error (conventions, "args"). */
interface Hints {
  readonly ips: readonly string[];
  readonly mac: Mac | undefined;
}

function hintsOf(reader: Reader): Hints {
  const hints = attempt(() => reader.object("args")?.object("cni"));
  const ips = attempt(() => hints?.strings("ips")) ?? [];
  return {
    ips: ips.filter((text) => parseAddress(text) !== undefined),
    mac: attempt(() => stationMac(hints?.string("mac"))),
  };
}

function parseAddress(text: string): Ip | undefined {
  return tryParseIp(text) ?? tryParseInterfaceAddress(text)?.ip;
}

/** The first of the three places that says anything is heard: the capability, `args.cni`, CNI_ARGS. */
/** One pod must not take all that a node has. */
const MOST_ADDRESSES = 32;

function requestedAddresses(
  runtime: Reader | undefined,
  hints: Hints,
  args: ReadonlyMap<string, string>,
): Ip[] {
  const [place, texts] = [
    ["runtimeConfig.ips", runtime?.strings("ips") ?? []] as const,
    ["args.cni.ips", hints.ips] as const,
    ["CNI_ARGS IP", args.get("IP")?.split(",").filter(Boolean) ?? []] as const,
  ].find(([, list]) => list.length > 0) ?? ["", []];
  if (texts.length > MOST_ADDRESSES)
    throw new CniError("badConfiguration", `Cannot use ${place}: ${MOST_ADDRESSES} addresses are the most`, {
      details: `${place} has ${texts.length}`,
    });
  const addresses = texts.map((text) => {
    const address = parseAddress(text);
    if (address !== undefined) return address;
    throw new CniError("badConfiguration", `Cannot use ${place}: not an IP address`, {
      details: `${place} has ${JSON.stringify(text)}`,
    });
  });
  return addresses.filter(
    (address, index) =>
      addresses.findIndex((other) => other.family === address.family && other.value === address.value) ===
      index,
  );
}

function requestedMac(
  runtime: Reader | undefined,
  hints: Hints,
  args: ReadonlyMap<string, string>,
): Mac | undefined {
  return stationMac(runtime?.string("mac")) ?? hints.mac ?? stationMac(args.get("MAC"));
}

/** stationMac reads the Ethernet address of one station; code 7 for what is none. */
function stationMac(text: string | undefined): Mac | undefined {
  if (text === undefined) return undefined;
  const problem = (why: string) =>
    new CniError("badConfiguration", `Cannot use the requested MAC address: ${why}`, {
      details: `mac is ${JSON.stringify(text)}`,
    });
  let mac: Mac;
  try {
    mac = parseMac(text);
  } catch {
    throw problem("it is not written like 02:00:00:00:00:01");
  }
  const first = macBytes(mac)[0] ?? 0;
  if ((first & 1) !== 0 || mac === 0) throw problem("it is not the address of one station");
  return mac;
}
