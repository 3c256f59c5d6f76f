/**
 * Links that are moved into a router's namespace, and given back as they were. What a link is like is on disk before it is moved, so that a
 * crash between any two steps loses nothing.
 *
 * | on disk | where the link is | what came between | what follows |
 * |---|---|---|---|
 * | no | host | nothing | it is written down, and moved |
 * | yes | host | a crash before the move, or while it was given back | what is on disk counts; it is moved, or given back to the end |
 * | yes | router | nothing | – |
 * | yes | nowhere | somebody took it away | told; what is on disk stays until the router wants it no more |
 *
 * A reboot ends all namespaces; what was written before counts no more.
 */
import {
  formatInterfaceAddress,
  formatIp,
  formatPrefix,
  type InterfaceAddress,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
} from "../net/mod.ts";
import { addAddress, addRoute, type RouteInfo, type Rtnetlink, setLink } from "../netlink/mod.ts";
import { bootId, type Netns, readText, removeTree, writeAtomic } from "../sys/mod.ts";

/** RTPROT_KERNEL: the kernel makes these for addresses by itself. */
const KERNEL = 2;
/** RT_TABLE_LOCAL (include/uapi/linux/rtnetlink.h). */
const LOCAL_TABLE = 255;

interface StoredRoute {
  readonly destination: string;
  readonly table: number;
  readonly protocol: number;
  readonly metric: number;
  readonly hops: readonly { readonly via?: string; readonly link: string; readonly weight: number }[];
  readonly source?: string;
  readonly mtuBytes?: number;
}

/** What a link was like before it was moved. */
interface StoredLink {
  readonly name: string;
  readonly router: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  readonly alias: string;
  readonly master?: string;
  readonly addresses: readonly string[];
  readonly routes: readonly StoredRoute[];
}

/** Place is one end of a move: a namespace and a socket in it. */
export interface LinkPlace {
  readonly netns: Netns;
  readonly route: Rtnetlink;
}

/** EdgeLinks owns the file with what links were like. */
export class EdgeLinks {
  readonly #path: string;
  readonly #home: LinkPlace;
  readonly #stored: Map<string, StoredLink>;

  constructor({ path, home }: { readonly path: string; readonly home: LinkPlace }) {
    this.#path = path;
    this.#home = home;
    this.#stored = new Map(read(path).map((link) => [link.name, link]));
  }

  /** moved returns the names of links that are a router's. */
  moved(router: string): string[] {
    return [...this.#stored.values()].filter((link) => link.router === router).map(({ name }) => name);
  }

  /** routers returns the names of routers that links were moved to. */
  routers(): string[] {
    return [...new Set([...this.#stored.values()].map(({ router }) => router))];
  }

  /** addresses returns those that a link had before it was moved. */
  addresses(name: string): readonly InterfaceAddress[] {
    return (this.#stored.get(name)?.addresses ?? []).map(parseInterfaceAddress);
  }

  /** take moves a link into a router's namespace; nothing where it is there. Throws when there is no such link. */
  take(name: string, router: string, to: LinkPlace): void {
    if (to.route.link(name) !== undefined) return;
    const { route } = this.#home;
    const link = route.link(name);
    if (link === undefined)
      throw new Error(`there is no link ${name} on this node; plug it in, or change links of the Underlay`);
    const former = this.#stored.get(name);
    if (former === undefined) this.#put(describe(route, name, router));
    else if (former.router !== router) this.#put({ ...former, router });
    route.request(setLink({ index: link.index, netns: to.netns }));
  }

  /** giveBack moves a link back, and makes it as it was; `from` is absent where the router's namespace is gone, and with it what was in it. */
  giveBack(name: string, from: LinkPlace | undefined): void {
    const stored = this.#stored.get(name);
    if (stored === undefined) return;
    const there = from?.route.link(name);
    if (there !== undefined) from?.route.request(setLink({ index: there.index, netns: this.#home.netns }));
    restore(this.#home.route, stored);
    this.#stored.delete(name);
    this.#write();
  }

  #put(link: StoredLink): void {
    this.#stored.set(link.name, link);
    this.#write();
  }

  #write(): void {
    if (this.#stored.size === 0) removeTree(this.#path);
    else
      writeAtomic(this.#path, JSON.stringify({ boot: bootId(), links: [...this.#stored.values()] }), 0o600);
  }
}

function read(path: string): readonly StoredLink[] {
  const text = readText(path);
  if (text === undefined) return [];
  const { boot, links } = JSON.parse(text) as { boot: string; links: StoredLink[] };
  return boot === bootId() ? links : [];
}

function describe(route: Rtnetlink, name: string, router: string): StoredLink {
  const link = route.link(name);
  if (link === undefined) throw new Error(`there is no link ${name}`);
  const names = new Map(route.links().map((one) => [one.index, one.name]));
  const master = link.master === undefined ? undefined : names.get(link.master);
  const own = ({ hops, protocol, table, type }: RouteInfo) =>
    hops.some((hop) => hop.linkIndex === link.index) &&
    protocol !== KERNEL &&
    table !== LOCAL_TABLE &&
    type === "unicast";
  return {
    ...{ name, router, mtuBytes: link.mtuBytes, up: link.up, alias: link.alias ?? "" },
    ...(master === undefined ? {} : { master }),
    // Link-local ones the kernel makes anew.
    addresses: route
      .addresses({ linkIndex: link.index })
      .filter(({ scope }) => scope === 0)
      .map(({ address }) => formatInterfaceAddress(address)),
    routes: route.routes().flatMap((one) => (own(one) ? [routeOf(one, names)] : [])),
  };
}

function routeOf(route: RouteInfo, names: ReadonlyMap<number, string>): StoredRoute {
  const { destination, table, protocol, metric, hops, source, mtuBytes } = route;
  return {
    ...{ destination: formatPrefix(destination), table, protocol, metric },
    hops: hops.map(({ via, linkIndex = 0, weight }) => ({
      ...(via === undefined ? {} : { via: formatIp(via) }),
      link: names.get(linkIndex) ?? "",
      weight,
    })),
    ...(source === undefined ? {} : { source: formatIp(source) }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
  };
}

/** Makes a link as it was; what is so already stays. A link that is not there any more cannot be given back. */
function restore(route: Rtnetlink, stored: StoredLink): void {
  const link = route.link(stored.name);
  if (link === undefined) return;
  const { index } = link;
  const master = stored.master === undefined ? undefined : route.link(stored.master);
  route.request(
    setLink({
      ...{ index, mtuBytes: stored.mtuBytes, up: stored.up, alias: stored.alias },
      ...(master === undefined ? {} : { master: master.index }),
    }),
  );
  for (const address of stored.addresses.map(parseInterfaceAddress))
    route.request(addAddress({ linkIndex: index, address, nodad: true, replace: true }));
  const indices = new Map(route.links().map((one) => [one.name, one.index]));
  // Those on the link before those by a router: the kernel asks for the way to it.
  const first = (one: StoredRoute) => (one.hops.some(({ via }) => via !== undefined) ? 1 : 0);
  for (const one of [...stored.routes].sort((a, b) => first(a) - first(b))) {
    const { destination, hops, source, ...rest } = one;
    const ways = hops.flatMap(({ via, link: name, weight }) => {
      const linkIndex = indices.get(name);
      return linkIndex === undefined
        ? []
        : [{ linkIndex, weight, ...(via === undefined ? {} : { via: parseIp(via) }) }];
    });
    route.request(
      addRoute({
        ...{ ...rest, destination: parsePrefix(destination), hops: ways, replace: true },
        ...(source === undefined ? {} : { source: parseIp(source) }),
      }),
    );
  }
}
