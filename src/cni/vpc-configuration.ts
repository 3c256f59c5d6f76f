/**
 * The configuration of a private network, in its two forms: by name, `{"type": "causeway", "vpc": "blue", "subnet": "a"}`, and by number,
 * `{"type": "vxlan", "vni": 300, "addr": "172.16.32.1/24"}`, the form of the talk "VPCs in Kubernetes", which may lack version and name.
 */
import {
  type InterfaceAddress,
  type Mac,
  NOT_HOSTS,
  prefixContains,
  tryParseInterfaceAddress,
} from "../net/mod.ts";
import type { PodRoute } from "../pods/mod.ts";
import { type Network, parseNetwork } from "./call.ts";
import { type Configuration, mergeDns, podOf, previousOf, refuseSeveral } from "./configuration.ts";
import { CniError } from "./error.ts";
import { attempt, type Reader } from "./json.ts";
import { type Fixed, parseRoute, refuseOthers } from "./options.ts";
import { VXLAN } from "./protocol.ts";
import { requestedOf } from "./requested.ts";

/** VpcConfiguration is what a configuration says of its private network; of DEL and GC, only `ipam`. */
export interface VpcConfiguration {
  readonly vpc?: string;
  readonly subnet?: string;
  readonly vni?: number;
  readonly dstPort?: number;
  /** Absent: allocated, or the IPAM plugin's. */
  readonly addresses?: readonly InterfaceAddress[];
  readonly mac?: Mac;
  readonly mtuBytes?: number;
  readonly groups?: readonly string[];
  readonly owner?: string;
  /** Beside those of the network. */
  readonly routes?: readonly PodRoute[];
  /** Absent: where it is the pod's main interface. */
  readonly defaultRoute?: boolean;
  /** Name of the IPAM plugin that the addresses come from. */
  readonly ipam?: string;
}

const MOST_VNI = 2 ** 24 - 1;
/** RFC 8200, section 5: the least that IPv6 works with; and what jumbo frames leave. */
const MTU = { least: 1280, most: 9216 };
/** Below are ports that belong to services of the system. */
const PORT = { least: 1024, most: 65535 };

/** Names of resources are those of Kubernetes (RFC 1123, section 2.1, with dots). */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const MOST_GROUPS = 32;
const MOST_OWNER = 253;

/** isVpc tells whether a configuration is that of a private network; it never throws. */
export function isVpc(reader: Reader): boolean {
  return (
    reader.value("type") === VXLAN || ["vpc", "subnet", "vni"].some((key) => reader.value(key) !== undefined)
  );
}

/** parseVpcName returns what DEL and GC may depend on. */
export function parseVpcName(reader: Reader): Configuration {
  const ipam = attempt(() => ipamOf(reader));
  return { ...networkOf(reader), addresses: [], vpc: { ...(ipam !== undefined && { ipam }) } };
}

/** Multus passes what the user wrote; the VNI tells networks without a name apart. */
function networkOf(reader: Reader): Network {
  const vni = attempt(() => reader.integer("vni", { least: 1, most: MOST_VNI }));
  const unnamed = reader.value("type") !== VXLAN ? undefined : vni === undefined ? VXLAN : `${VXLAN}-${vni}`;
  return parseNetwork(reader, unnamed);
}

/** parseVpcConfiguration checks everything that does not depend on the node; `args` are the pairs of CNI_ARGS. */
export function parseVpcConfiguration(
  reader: Reader,
  args: ReadonlyMap<string, string> = new Map(),
): Configuration {
  const network = networkOf(reader);
  const runtime = reader.object("runtimeConfig");
  refuseOthers(unsupported, reader);
  refuseOthers(runtimes, runtime);
  const dns = mergeDns(reader.object("dns"), runtime?.object("dns"));
  const previous = previousOf(reader);
  const vpc =
    reader.value("type") === VXLAN || reader.value("vni") !== undefined ? byNumber(reader) : byName(reader);
  const requested = requestedOf(reader, args);
  const addresses = requested.addresses.length > 0 ? requested.addresses : vpc.addresses;
  if (addresses !== undefined && vpc.ipam === undefined) refuseVersion(network, addresses);
  const { mac = vpc.mac } = requested;
  return {
    ...network,
    addresses: [],
    ...podOf(args),
    ...(dns !== undefined && { dns }),
    ...(previous !== undefined && { previous }),
    vpc: {
      ...vpc,
      ...common(reader),
      ...(addresses !== undefined && vpc.ipam === undefined && { addresses }),
      ...(mac !== undefined && { mac }),
    },
  };
}

function byName(reader: Reader): VpcConfiguration {
  refuseOthers(named, reader);
  const [vpc, subnet] = [nameOf(reader, "vpc"), nameOf(reader, "subnet")];
  return { ...(vpc !== undefined && { vpc }), ...(subnet !== undefined && { subnet }) };
}

function byNumber(reader: Reader): VpcConfiguration {
  refuseOthers(numbered, reader);
  const vni = reader.integer("vni", { least: 1, most: MOST_VNI });
  if (vni === undefined) throw reader.wrong("vni", `a whole number from 1 to ${MOST_VNI}`);
  const dstPort = reader.integer("port", PORT);
  const ipam = ipamOf(reader);
  const addr = reader.parsed("addr", "an address with prefix length that a host can have", parseAddr);
  const addresses = addr === undefined ? [] : [addr];
  return {
    vni,
    ...(dstPort !== undefined && { dstPort }),
    ...(ipam === undefined ? { addresses } : { ipam }),
  };
}

function parseAddr(text: string): InterfaceAddress | undefined {
  const address = tryParseInterfaceAddress(text);
  return NOT_HOSTS.some((prefix) => address !== undefined && prefixContains(prefix, address.ip))
    ? undefined
    : address;
}

/** `ipam: {}` is a network without addresses, as in every plugin. */
function ipamOf(reader: Reader): string | undefined {
  const ipam = reader.object("ipam");
  const type = ipam?.string("type");
  if (type?.includes("/") === true) throw ipam?.wrong("type", "a plugin's name without /") ?? new Error(type);
  return type;
}

function common(reader: Reader): VpcConfiguration {
  const mtuBytes = reader.integer("mtu", MTU);
  const groups = identityOf(reader, "groups", (from) => {
    const names = from.strings("groups");
    if (names.length > 0 && checkGroups(names) === undefined)
      throw from.wrong("groups", `a list of at most ${MOST_GROUPS} names of SecurityGroups`);
    return names.length > 0 ? names : undefined;
  });
  const owner = identityOf(reader, "owner", (from) =>
    from.parsed("owner", `a text of at most ${MOST_OWNER} printable characters`, checkOwner),
  );
  const routes = (reader.objects("routes") ?? []).map(parseRoute);
  const defaultRoute = reader.boolean("isDefaultGateway");
  return {
    ...(mtuBytes !== undefined && { mtuBytes }),
    ...(groups !== undefined && { groups }),
    ...(owner !== undefined && { owner }),
    ...(routes.length > 0 && { routes }),
    ...(defaultRoute !== undefined && { defaultRoute }),
  };
}

/** What one pod is, Multus brings from its annotation as `args.cni` (`cni-args`); what all pods of a network are, the network says. */
function identityOf<T>(reader: Reader, key: string, read: (from: Reader) => T | undefined): T | undefined {
  const hints = attempt(() => reader.object("args")?.object("cni"));
  return hints?.value(key) === undefined ? read(reader) : read(hints);
}

function nameOf(reader: Reader, key: string): string | undefined {
  return reader.parsed(key, "a resource's name: small letters, digits, - and .", checkResource);
}

/** checkResource returns a name of a resource; undefined for what is none. */
export function checkResource(text: string): string | undefined {
  return NAME.test(text) ? text : undefined;
}

/** checkGroups returns a list of SecurityGroups; undefined for what is none. */
export function checkGroups(names: readonly string[]): readonly string[] | undefined {
  return names.length <= MOST_GROUPS && names.every((name) => NAME.test(name)) ? names : undefined;
}

/** checkOwner returns the identity of a fixed address; undefined for what is none. */
export function checkOwner(text: string): string | undefined {
  return text.length <= MOST_OWNER && /^[\x20-\x7e]+$/.test(text) ? text : undefined;
}

/** Results before 0.3.0 are their addresses: the link would be there without anybody being told. */
function refuseVersion({ version }: Network, addresses: readonly InterfaceAddress[]): void {
  refuseSeveral(
    version,
    addresses.map(({ ip }) => ip),
  );
  if (addresses.length > 0 || version >= "0.3.0") return;
  throw new CniError("incompatibleVersion", "cannot convert: no valid IP addresses", {
    details: "results before 0.3.0 need an address; set addr, or cniVersion to 0.3.0 or later",
  });
}

const segment = "a segment is a broadcast domain of its own";
const unsupported: Readonly<Record<string, Fixed>> = {
  vlan: { allowed: [0], reason: `${segment}; choose another vni instead of vlan` },
  vlanTrunk: { allowed: [], reason: `${segment}; remove vlanTrunk` },
  ingressRate: { allowed: [0], reason: "rates are limited in the default network only; remove ingressRate" },
  egressRate: { allowed: [0], reason: "rates are limited in the default network only; remove egressRate" },
};

/** Only of the form by name. */
const named: Readonly<Record<string, Fixed>> = {
  addr: { allowed: [], reason: "ask for addresses of the Subnet with runtimeConfig.ips or args.cni.ips" },
  port: { allowed: [4789], reason: "the domain has its own; remove port" },
  ipam: { allowed: [], reason: "addresses come from the Subnet; remove ipam" },
};

const numbered: Readonly<Record<string, Fixed>> = {
  vpc: { allowed: [], reason: "vni names the segment already; remove one of the two" },
  subnet: { allowed: [], reason: "vni names the segment already; remove one of the two" },
};

const runtimes: Readonly<Record<string, Fixed>> = {
  portMappings: { allowed: [], reason: "ports of the node do not lead into a VPC; use a FloatingIP" },
  bandwidth: { allowed: [], reason: "rates are limited in the default network only" },
  ipRanges: { allowed: [], reason: "addresses come from the Subnet; remove the capability ipRanges" },
  infinibandGUID: { allowed: [], reason: "this is Ethernet; remove the capability infinibandGUID" },
  deviceID: { allowed: [], reason: "pods get no devices of the node; remove the capability deviceID" },
};
