/**
 * The success result (specification, section 5) and its older forms (section 5.4 of the conversion rules in SPEC-upgrades).
 *
 * Inside it has values; text is made for one version at the end, and read from one version at the start.
 */
import {
  formatInterfaceAddress,
  formatIp,
  formatMac,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  type Mac,
  parseMac,
  type Prefix,
  networkOf,
  tryParseInterfaceAddress,
  tryParseIp,
} from "../net/mod.ts";
import type { Dns } from "./configuration.ts";
import { CniError } from "./error.ts";
import { attempt, type JsonObject, Reader } from "./json.ts";
import type { CniVersion } from "./protocol.ts";

/** ResultInterface is a link, in the container when it has a sandbox. */
export interface ResultInterface {
  readonly name: string;
  readonly mac?: Mac;
  /** A hardware address that is not Ethernet's: InfiniBand's have 20 bytes. */
  readonly otherMac?: string;
  readonly mtuBytes?: number;
  /** The text of CNI_NETNS; absent on the host. */
  readonly sandbox?: string;
  /** What other plugins say of theirs. */
  readonly socketPath?: string;
  readonly pciId?: string;
}

/** ResultAddress is an address, and which of the interfaces has it. */
export interface ResultAddress {
  readonly address: InterfaceAddress;
  readonly gateway?: Ip;
  /** Index into the interfaces. */
  readonly interface?: number;
}

/** ResultRoute is a route in the container. */
export interface ResultRoute {
  readonly destination: Prefix;
  readonly gateway?: Ip;
  readonly mtuBytes?: number;
  readonly advmssBytes?: number;
  readonly priority?: number;
  readonly table?: number;
  /** One of SCOPES. */
  readonly scope?: number;
}

/** SCOPES are how far a route's destination is: rt_scope_t of the kernel, as far as the specification names it. */
export const SCOPES = { global: 0, link: 253, host: 254 } as const;

/** How the fields that routes have since 1.1.0 are written. */
const routeFields = {
  mtuBytes: "mtu",
  advmssBytes: "advmss",
  priority: "priority",
  table: "table",
  scope: "scope",
} as const;

const routeFieldNames = Object.keys(routeFields) as (keyof typeof routeFields)[];

/** Result is what ADD made, and what the plugins before it made. */
export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly addresses: readonly ResultAddress[];
  readonly routes: readonly ResultRoute[];
  readonly dns?: Dns;
}

/** mergeResults puts a result behind the one of the plugins before. */
export function mergeResults(before: Result, ours: Result): Result {
  const shift = before.interfaces.length;
  // Each of its fields is whose says it last.
  const dns = ours.dns && before.dns ? { ...before.dns, ...ours.dns } : (ours.dns ?? before.dns);
  return {
    interfaces: [...before.interfaces, ...ours.interfaces],
    addresses: [
      ...before.addresses,
      ...ours.addresses.map((entry) =>
        entry.interface === undefined ? entry : { ...entry, interface: entry.interface + shift },
      ),
    ],
    routes: [...before.routes, ...ours.routes],
    ...(dns !== undefined && { dns }),
  };
}

type Form = (result: Result) => JsonObject;

/** One way of writing per version; 1.0 and 1.1 differ in the number only, and keep each other's fields as the library does. */
const forms: Record<CniVersion, Form> = {
  "1.1.0": modern,
  "1.0.0": modern,
  "0.4.0": middle,
  "0.3.1": middle,
  "0.3.0": middle,
  "0.2.0": old,
  "0.1.0": old,
};

/** formatResult writes a result in the form of one version; throws CniError when that cannot express it. */
export function formatResult(result: Result, version: CniVersion): string {
  return JSON.stringify({ cniVersion: version, ...forms[version](result) });
}

function modern(result: Result): JsonObject {
  return {
    interfaces: result.interfaces.map((entry) => {
      const { mtuBytes, socketPath, pciId } = entry;
      return {
        ...formatInterface(entry),
        ...(mtuBytes !== undefined && { mtu: mtuBytes }),
        ...(socketPath !== undefined && { socketPath }),
        ...(pciId !== undefined && { pciID: pciId }),
      };
    }),
    ips: result.addresses.map(formatAddress),
    routes: result.routes.map(formatRoute),
    ...(result.dns !== undefined && { dns: result.dns }),
  };
}

function middle(result: Result): JsonObject {
  return {
    interfaces: result.interfaces.map(formatInterface),
    ips: result.addresses.map((entry) => ({
      version: String(entry.address.ip.family),
      ...formatAddress(entry),
    })),
    routes: result.routes.map(formatRoute),
    dns: result.dns ?? {},
  };
}

/** One address per family, each with the routes of its family below it. */
function old(result: Result): JsonObject {
  const family = (wanted: 4 | 6) => {
    const entry = result.addresses.find(({ address }) => address.ip.family === wanted);
    if (entry === undefined) return {};
    const routes = result.routes
      .filter(({ destination }) => destination.family === wanted)
      .map(formatOldRoute);
    const { gateway } = entry;
    return {
      [`ip${wanted}`]: {
        ip: formatInterfaceAddress(entry.address),
        ...(gateway !== undefined && { gateway: formatIp(gateway) }),
        ...(routes.length > 0 && { routes }),
      },
    };
  };
  if (result.addresses.length === 0)
    throw new CniError("incompatibleVersion", "cannot convert: no valid IP addresses", {
      details: "results before 0.3.0 need an address; set cniVersion to 0.3.0 or later",
    });
  return { ...family(4), ...family(6), dns: result.dns ?? {} };
}

function formatAddress({ address, gateway, interface: index }: ResultAddress): JsonObject {
  return {
    address: formatInterfaceAddress(address),
    ...(gateway !== undefined && { gateway: formatIp(gateway) }),
    ...(index !== undefined && { interface: index }),
  };
}

function formatInterface({ name, mac, otherMac, sandbox }: ResultInterface): JsonObject {
  const text = mac === undefined ? otherMac : formatMac(mac);
  return { name, ...(text !== undefined && { mac: text }), ...(sandbox !== undefined && { sandbox }) };
}

function formatOldRoute({ destination, gateway }: ResultRoute): JsonObject {
  return { dst: formatPrefix(destination), ...(gateway !== undefined && { gw: formatIp(gateway) }) };
}

function formatRoute(route: ResultRoute): JsonObject {
  const more = routeFieldNames.map((name) => [routeFields[name], route[name]] as const);
  return { ...formatOldRoute(route), ...Object.fromEntries(more.filter(([, value]) => value !== undefined)) };
}

/** parseResult reads a result of any version, as runtimes hand it back in `prevResult`. */
export function parseResult(value: JsonObject): Result {
  const reader = new Reader(value, "prevResult");
  const dns = parseDns(reader.object("dns"));
  const families = [reader.object("ip4"), reader.object("ip6")].filter((family) => family !== undefined);
  return {
    interfaces: (reader.objects("interfaces") ?? []).map(parseInterface),
    addresses: [
      ...(reader.objects("ips") ?? []).map((entry) => parseAddress(entry, "address")),
      ...families.map((family) => parseAddress(family, "ip")),
    ],
    routes: [reader, ...families].flatMap((holder) => (holder.objects("routes") ?? []).map(parseRoute)),
    ...(dns !== undefined && { dns }),
  };
}

function parseInterface(reader: Reader): ResultInterface {
  const name = reader.string("name");
  if (name === undefined) throw reader.wrong("name", "an interface name");
  const text = reader.string("mac");
  const mac = text === undefined ? undefined : attempt(() => parseMac(text));
  const mtuBytes = reader.integer("mtu", { least: 0, most: 2 ** 31 - 1 });
  const sandbox = reader.string("sandbox");
  const socketPath = reader.string("socketPath");
  const pciId = reader.string("pciID");
  return {
    name,
    ...(mac !== undefined ? { mac } : text !== undefined && { otherMac: text }),
    ...(mtuBytes !== undefined && mtuBytes > 0 && { mtuBytes }),
    ...(sandbox !== undefined && { sandbox }),
    ...(socketPath !== undefined && { socketPath }),
    ...(pciId !== undefined && { pciId }),
  };
}

function parseAddress(reader: Reader, key: "address" | "ip"): ResultAddress {
  const address = reader.parsed(key, "an address with prefix length", tryParseInterfaceAddress);
  if (address === undefined) throw reader.wrong(key, "an address with prefix length");
  const gateway = reader.parsed("gateway", "an address", tryParseIp);
  const index = reader.integer("interface", { least: -1, most: 2 ** 31 - 1 });
  return {
    address,
    ...(gateway !== undefined && { gateway }),
    ...(index !== undefined && index >= 0 && { interface: index }),
  };
}

function parseRoute(reader: Reader): ResultRoute {
  // Host bits are tolerated, as Go's decoder does.
  const destination = reader.parsed("dst", "a network", tryParseInterfaceAddress);
  if (destination === undefined) throw reader.wrong("dst", "a network");
  const gateway = reader.parsed("gw", "an address", tryParseIp);
  const more = routeFieldNames
    .map((name) => [name, reader.integer(routeFields[name], { least: 0, most: 2 ** 32 - 1 })] as const)
    .filter(([, value]) => value !== undefined);
  return {
    destination: networkOf(destination),
    ...(gateway !== undefined && { gateway }),
    ...Object.fromEntries(more),
  };
}

function parseDns(reader: Reader | undefined): Dns | undefined {
  if (reader === undefined) return undefined;
  const lists = (["nameservers", "search", "options"] as const)
    .map((key) => [key, reader.strings(key)] as const)
    .filter(([, list]) => list.length > 0);
  const domain = reader.string("domain");
  if (lists.length === 0 && domain === undefined) return undefined;
  return { ...Object.fromEntries(lists), ...(domain !== undefined && { domain }) };
}
