/** The network configuration from standard input, checked and turned into values. */
import { type Ip, type Mac, macBytes, parseMac, tryParseInterfaceAddress, tryParseIp } from "../net/mod.ts";
import { CniError } from "./error.ts";
import { isObject, type JsonObject, Reader } from "./json.ts";
import { type CniVersion, VERSIONS } from "./protocol.ts";

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
export interface Configuration {
  readonly version: CniVersion;
  /** Name of the network. */
  readonly name: string;
  readonly mtuBytes?: number;
  readonly dns?: Dns;
  /** Addresses that the container must get. */
  readonly addresses: readonly Ip[];
  readonly mac?: Mac;
  /** Result of the plugins before us, or of the ADD; as it came, in the configuration's version. */
  readonly previous?: JsonObject;
  /** Absent when the runtime did not say: that is not an empty list. */
  readonly validAttachments?: readonly ValidAttachment[];
}

/** What names of networks and containers look like: section 3.1 and 3.2 of the specification. */
export const IDENTIFIER = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** decodeConfiguration decodes standard input; code 6 for what is not an object. */
export function decodeConfiguration(stdin: string): Reader {
  let value: unknown;
  let cause: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    cause = error;
  }
  if (!isObject(value))
    throw new CniError(
      "decoding",
      "Cannot decode the network configuration: standard input is not a JSON object",
      {
        details: cause instanceof Error ? cause.message : `standard input is ${stdin.slice(0, 100)}`,
        cause,
      },
    );
  return new Reader(value);
}

/** configuredVersion returns the version of a configuration; none means 0.1.0, and one we do not speak is code 1. */
export function configuredVersion(reader: Reader): CniVersion {
  const text = reader.string("cniVersion") ?? "0.1.0";
  const version = VERSIONS.find((candidate) => candidate === text);
  if (version === undefined)
    throw new CniError("incompatibleVersion", `Cannot use a configuration of CNI version ${text}`, {
      details: `config is ${JSON.stringify(text)}, plugin supports ${JSON.stringify(VERSIONS)}`,
    });
  return version;
}

/** parseName returns the network and version of a configuration, which is all that DEL may depend on. */
export function parseName(reader: Reader): Configuration {
  const version = configuredVersion(reader);
  const name = reader.string("name");
  if (name === undefined || !IDENTIFIER.test(name)) throw reader.wrong("name", "a network's name");
  return { version, name, addresses: [] };
}

/** parseConfiguration checks everything that does not depend on the node; `args` are the pairs of CNI_ARGS. */
export function parseConfiguration(
  reader: Reader,
  args: ReadonlyMap<string, string> = new Map(),
): Configuration {
  const { version, name } = parseName(reader);
  if (reader.string("type")?.includes("/") === true) throw reader.wrong("type", "a plugin's name without /");
  refuseDelegation(reader);
  const runtime = reader.object("runtimeConfig");
  refuseUnsupported(runtime);
  const optional = reader.object("args")?.object("cni");
  const dns = mergeDns(reader.object("dns"), runtime?.object("dns"));
  const mac = requestedMac(runtime, optional, args);
  const mtuBytes = reader.integer("mtu", { least: 0, most: 65535 });
  const previous = reader.value("prevResult");
  if (previous !== undefined && !isObject(previous)) throw reader.wrong("prevResult", "a result");
  const valid = reader.objects("cni.dev/valid-attachments") ?? reader.objects("cni.dev/attachments");
  return {
    version,
    name,
    addresses: requestedAddresses(runtime, optional, args),
    ...(mtuBytes !== undefined && mtuBytes !== 0 && { mtuBytes }),
    ...(dns !== undefined && { dns }),
    ...(mac !== undefined && { mac }),
    ...(previous !== undefined && { previous }),
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

/** We allocate addresses ourselves; a configuration that asks another plugin for it would not get what it says. */
function refuseDelegation(reader: Reader): void {
  const ipam = reader.object("ipam");
  const type = ipam?.string("type");
  if (type !== undefined && type !== "causeway")
    throw new CniError(
      "unsupportedField",
      `Cannot use ipam.type ${type}: addresses come from the node's range; remove ipam`,
      {
        details: `ipam.type is ${JSON.stringify(type)}`,
      },
    );
}

/** Runtime settings must be acted on or refused (conventions, "runtimeConfig"); those that ask for nothing are not refused. */
function refuseUnsupported(runtime: Reader | undefined): void {
  const mappings = runtime?.objects("portMappings") ?? [];
  const rates = ["ingressRate", "egressRate"].filter(
    (key) => Number(runtime?.object("bandwidth")?.value(key) ?? 0) > 0,
  );
  const key = mappings.length > 0 ? "portMappings" : rates.length > 0 ? "bandwidth" : undefined;
  if (key !== undefined)
    throw new CniError(
      "unsupportedField",
      `Cannot act on runtimeConfig.${key}: this plugin does not declare it; chain a plugin that does behind it`,
      { details: `runtimeConfig.${key} is ${JSON.stringify(runtime?.value(key))}` },
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

/** The first of the three places that says anything is heard: the capability, `args.cni`, CNI_ARGS. */
function requestedAddresses(
  runtime: Reader | undefined,
  optional: Reader | undefined,
  args: ReadonlyMap<string, string>,
): Ip[] {
  const [place, texts] = [
    ["runtimeConfig.ips", runtime?.strings("ips") ?? []] as const,
    ["args.cni.ips", optional?.strings("ips") ?? []] as const,
    ["CNI_ARGS IP", args.get("IP")?.split(",").filter(Boolean) ?? []] as const,
  ].find(([, list]) => list.length > 0) ?? ["", []];
  const addresses = texts.map((text) => {
    const address = tryParseIp(text) ?? tryParseInterfaceAddress(text)?.ip;
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
  optional: Reader | undefined,
  args: ReadonlyMap<string, string>,
): Mac | undefined {
  const text = runtime?.string("mac") ?? optional?.string("mac") ?? args.get("MAC");
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
