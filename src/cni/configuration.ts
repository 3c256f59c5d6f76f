/** The network configuration from standard input, checked and turned into values. */
import { formatIp, type Ip, type Mac } from "../net/mod.ts";
import type { Bandwidth, HostPort } from "../pods/mod.ts";
import { parseBandwidth } from "./bandwidth.ts";
import { type Network, parseNetwork } from "./call.ts";
import { CniError } from "./error.ts";
import { isObject, type JsonObject, type Reader } from "./json.ts";
import { type Options, parseOptions } from "./options.ts";
import { parsePortMappings } from "./port-mapping.ts";
import type { CniVersion } from "./protocol.ts";
import { requestedOf } from "./requested.ts";
import type { VpcConfiguration } from "./vpc-configuration.ts";

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
  /** The network is a private one; nothing else but the two names below and `previous` says anything then. */
  readonly vpc?: VpcConfiguration;
  /** The pod that CNI_ARGS names. */
  readonly pod?: PodName;
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
  const dns = mergeDns(reader.object("dns"), runtime?.object("dns"));
  const { mac, ...requested } = requestedOf(reader, args);
  const hostPorts = parsePortMappings(runtime);
  const bandwidth = parseBandwidth(reader, runtime);
  const mtuBytes = reader.integer("mtu", { least: 0, most: 65535 });
  const previous = previousOf(reader);
  const addresses = requested.addresses.map(({ ip }) => ip);
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
    ...podOf(args),
  };
}

/** PodName is how Kubernetes names a pod. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
  /** Tells it from others that had its name; older runtimes do not say. */
  readonly uid?: string;
}

/** podOf returns the pod that CNI_ARGS names, if it names one. */
export function podOf(args: ReadonlyMap<string, string>): { readonly pod?: PodName } {
  const [namespace, name] = [args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")];
  if (namespace === undefined || name === undefined) return {};
  const uid = args.get("K8S_POD_UID");
  return { pod: { namespace, name, ...(uid !== undefined && { uid }) } };
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

/** previousOf returns the result of the plugins before us. */
export function previousOf(reader: Reader): JsonObject | undefined {
  const previous = reader.value("prevResult");
  if (previous !== undefined && !isObject(previous)) throw reader.wrong("prevResult", "a result");
  return previous;
}

/** refuseSeveral: results before 0.3.0 can say one address of each family; the others would be there without anybody knowing. */
export function refuseSeveral(version: CniVersion, addresses: readonly Ip[]): void {
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

/** mergeDns returns what the result says of DNS: of each field, the runtime's before the configuration's. */
export function mergeDns(configured: Reader | undefined, runtime: Reader | undefined): Dns | undefined {
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
