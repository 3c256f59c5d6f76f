/** What a link is like, as it is written down before it is moved, and made again where it has come back. Ethernet address and queue length the kernel leaves as they are. */
import {
  formatInterfaceAddress,
  formatIp,
  formatPrefix,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  prefixCovers,
} from "../net/mod.ts";
import {
  addAddress,
  type AddressInfo,
  addRoute,
  type LinkInfo,
  type RouteInfo,
  type RouteScope,
  type Rtnetlink,
  setLink,
} from "../netlink/mod.ts";
import { exists, isErrno, listDirectory, type Netns, readText, writeKernelFile } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";

/** RTPROT_KERNEL: the kernel makes these for addresses by itself, but for those with noprefixroute: NetworkManager makes those as if it were the kernel. */
const KERNEL = 2;
/** RT_TABLE_LOCAL (include/uapi/linux/rtnetlink.h). */
const LOCAL_TABLE = 255;
/** RT_SCOPE_LINK. */
const LINK_SCOPE = 253;

const LINK_LOCAL = parsePrefix("fe80::/10");

interface StoredAddress {
  readonly address: string;
  readonly peer?: string;
  readonly broadcast?: string;
  /** Absent: global. */
  readonly scope?: number;
  readonly noprefixroute?: true;
  readonly metric?: number;
}

interface StoredHop {
  readonly via?: string;
  readonly link: string;
  readonly weight: number;
  readonly onlink?: true;
}

interface StoredRoute {
  readonly destination: string;
  readonly table: number;
  readonly protocol: number;
  readonly metric: number;
  readonly scope: RouteScope;
  readonly hops: readonly StoredHop[];
  readonly source?: string;
  readonly mtuBytes?: number;
}

/** Folders with the settings of links. */
const SETTINGS = ["ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"].map(
  (path) => `/proc/sys/net/${path}`,
);
/** What the kernel sets by itself: as a daemon of multicast routing asks, and whenever a link has got its carrier. */
const KERNELS = ["mc_forwarding", "mtu"];

/** LinkPlace is one end of a move: a namespace and a socket in it. */
export interface LinkPlace {
  readonly netns: Netns;
  readonly route: Rtnetlink;
}

/** LinkState is what a link is like. */
export interface LinkState {
  readonly name: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  readonly alias: string;
  readonly master?: string;
  readonly addresses: readonly StoredAddress[];
  readonly routes: readonly StoredRoute[];
  /** Kernel settings by their paths: where it is moved to it has the default ones of there, and where it comes back those of that time. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** describeLink returns what a link is like; undefined where there is none of that name. */
export function describeLink({ netns, route }: LinkPlace, name: string): LinkState | undefined {
  const link = route.link(name);
  if (link === undefined) return undefined;
  const names = new Map(route.links().map((one) => [one.index, one.name]));
  const addresses = route.addresses({ linkIndex: link.index }).filter((one) => !isKernels(one));
  const isManaged = addresses.some(({ noprefixroute }) => noprefixroute);
  const isMade = ({ protocol, destination }: RouteInfo) =>
    protocol !== KERNEL || (isManaged && !prefixCovers(LINK_LOCAL, destination));
  const master = link.master === undefined ? undefined : names.get(link.master);
  return {
    ...{ name, mtuBytes: link.mtuBytes, up: link.up, alias: link.alias ?? "" },
    ...(master === undefined ? {} : { master }),
    addresses: addresses.map(addressOf),
    routes: route.routes().flatMap((one) => (isOf(link, one) && isMade(one) ? [routeOf(one, names)] : [])),
    settings: netns.run(() => settingsOf(name)),
  };
}

/** In the namespace of the calling thread. */
function settingsOf(name: string): Record<string, string> {
  const all = SETTINGS.flatMap((folder) =>
    listDirectory(`${folder}/${name}`).flatMap((setting): [string, string][] => {
      const path = `${folder}/${name}/${setting}`;
      const value = settingAt(path);
      return value === undefined || KERNELS.includes(setting) ? [] : [[path, value]];
    }),
  );
  return Object.fromEntries(all);
}

/** Undefined also where it is not set: `stable_secret` cannot be read then. */
function settingAt(path: string): string | undefined {
  try {
    return readText(path);
  } catch (error) {
    if (isErrno(error, "EIO")) return undefined;
    throw error;
  }
}

/** IPv6's link-local addresses the kernel makes anew. */
function isKernels({ scope, address }: AddressInfo): boolean {
  return scope === LINK_SCOPE && address.ip.family === 6;
}

function isOf({ index }: LinkInfo, { hops, table, type }: RouteInfo): boolean {
  return hops.some(({ linkIndex }) => linkIndex === index) && table !== LOCAL_TABLE && type === "unicast";
}

function addressOf(info: AddressInfo): StoredAddress {
  const { address, peer, broadcast, scope, noprefixroute, metric } = info;
  return {
    address: formatInterfaceAddress(address),
    ...(peer === undefined ? {} : { peer: formatIp(peer) }),
    ...(broadcast === undefined ? {} : { broadcast: formatIp(broadcast) }),
    ...(scope === 0 ? {} : { scope }),
    ...(noprefixroute ? { noprefixroute } : {}),
    ...(metric === undefined ? {} : { metric }),
  };
}

function routeOf(route: RouteInfo, names: ReadonlyMap<number, string>): StoredRoute {
  const { destination, table, protocol, metric, scope, hops, source, mtuBytes } = route;
  return {
    ...{ destination: formatPrefix(destination), table, protocol, metric, scope },
    hops: hops.map(({ via, linkIndex = 0, weight, onlink }) => ({
      ...(via === undefined ? {} : { via: formatIp(via) }),
      link: names.get(linkIndex) ?? "",
      weight,
      ...(onlink ? { onlink } : {}),
    })),
    ...(source === undefined ? {} : { source: formatIp(source) }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
}

/** restoreSettings makes a link's own settings so; throws where the kernel refuses those of the link, and returns what it refuses of others. */
export function restoreSettings(
  { netns, route }: LinkPlace,
  { index }: LinkInfo,
  state: LinkState,
): string[] {
  const { mtuBytes, up, alias, settings = {} } = state;
  const master = state.master === undefined ? undefined : route.link(state.master);
  route.request(
    setLink({ index, mtuBytes, alias, ...(master === undefined ? {} : { master: master.index }) }),
  );
  // Some say what the kernel does when the link comes up, as of its own addresses; and some set others by the way.
  netns.run(() => writeSettings(settings));
  route.request(setLink({ index, up }));
  return netns.run(() => writeSettings(settings));
}

/** Returns what the kernel refuses. A setting that is not there is none. */
function writeSettings(settings: NonNullable<LinkState["settings"]>): string[] {
  const bearing = new Bearing();
  for (const [path, value] of Object.entries(settings))
    if (exists(path) && settingAt(path) !== value) bearing.bear(() => writeKernelFile(path, value), path);
  return bearing.problems;
}

/** restoreAddress puts an address on a link; one that is there stays. */
export function restoreAddress(route: Rtnetlink, linkIndex: number, stored: StoredAddress): void {
  const { address, peer, broadcast, ...more } = stored;
  route.request(
    addAddress({
      ...{ linkIndex, address: parseInterfaceAddress(address), nodad: true, replace: true, ...more },
      ...(peer === undefined ? {} : { peer: parseIp(peer) }),
      ...(broadcast === undefined ? {} : { broadcast: parseIp(broadcast) }),
    }),
  );
}

/** restoreRoute makes a route by those of its links that are there. */
export function restoreRoute(route: Rtnetlink, stored: StoredRoute): void {
  const indices = new Map(route.links().map((one) => [one.name, one.index]));
  const { destination, hops, source, ...rest } = stored;
  const ways = hops.flatMap(({ via, link, ...more }) => {
    const linkIndex = indices.get(link);
    if (linkIndex === undefined) return [];
    return [{ linkIndex, ...more, ...(via === undefined ? {} : { via: parseIp(via) }) }];
  });
  route.request(
    addRoute({
      ...{ ...rest, destination: parsePrefix(destination), hops: ways, replace: true },
      ...(source === undefined ? {} : { source: parseIp(source) }),
    }),
  );
}

/** isByRouter tells whether a route needs others first: the kernel asks for the way to its next hop. */
export function isByRouter({ hops }: StoredRoute): boolean {
  return hops.some(({ via }) => via !== undefined);
}
