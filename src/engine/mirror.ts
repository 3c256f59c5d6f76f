/**
 * Mirror: what the kernel has, kept true by dumps and by events. Only memory: no socket is opened here.
 *
 * Objects are kept under the same keys as desired ones, so that one change looks at one entry. Of routes, rules, next hops and filters
 * only ours are kept (a node with a million BGP routes costs nothing here); of neighbours and FDB entries those that were set, not
 * learned; of qdiscs those that somebody set, at the root and for filters.
 */
import type {
  AddressInfo,
  FdbInfo,
  FilterInfo,
  LinkInfo,
  NeighbourInfo,
  NexthopInfo,
  PortInfo,
  QdiscInfo,
  RouteEvent,
  RouteInfo,
  RuleInfo,
} from "../netlink/mod.ts";
import { formatIp } from "../net/mod.ts";
import { addressKey } from "./address.ts";
import { fdbKey } from "./fdb.ts";
import { filterKey, isOurFilter } from "./filter.ts";
import { linkKey } from "./kind.ts";
import { neighbourKey } from "./neighbour.ts";
import { nexthopKey } from "./nexthop.ts";
import { proxyKey } from "./proxy.ts";
import { qdiscKey } from "./qdisc.ts";
import { routeKey } from "./route.ts";
import { ruleKey } from "./rule.ts";

/** Kept are the kinds that have a table of their own, beside links. */
interface Tables {
  readonly address: Map<string, AddressInfo>;
  readonly route: Map<string, RouteInfo>;
  readonly nexthop: Map<string, NexthopInfo>;
  readonly neighbour: Map<string, NeighbourInfo>;
  readonly proxy: Map<string, NeighbourInfo>;
  readonly fdb: Map<string, FdbInfo>;
  readonly rule: Map<string, RuleInfo>;
  readonly qdisc: Map<string, QdiscInfo>;
  readonly filter: Map<string, FilterInfo>;
}

/** Table names the kinds that can be read one by one. */
export type Table = keyof Tables | "link";

/** Touched says which keys an event or a dump may have changed. */
export interface Touched {
  readonly keys: readonly string[];
  /** A link appeared, vanished, came up or went down: all that needs it has to be looked at. */
  readonly turned?: string;
  /** The kernel removes these without an event (fib_sync_down_dev, nexthop_flush_dev): read them again. */
  readonly stale?: readonly Table[];
}

/** Actual is what handlers may read of a mirror. */
export type Actual = Pick<Mirror, "link" | "links" | "nameOf" | "tables" | "addressProtocol">;

const NOTHING: Touched = { keys: [] };

/** Mirror holds the objects of one namespace. */
export class Mirror {
  readonly tables: Tables = {
    address: new Map(),
    route: new Map(),
    nexthop: new Map(),
    neighbour: new Map(),
    proxy: new Map(),
    fdb: new Map(),
    rule: new Map(),
    qdisc: new Map(),
    filter: new Map(),
  };
  /** Whether this kernel tells who made an address (IFA_PROTO, Linux 5.18): seen on any. */
  addressProtocol = false;
  readonly #protocol: number;
  readonly #links = new Map<string, LinkInfo>();
  readonly #names = new Map<number, string>();
  /** Link index → keys of what is on it. */
  readonly #on = new Map<number, Set<string>>();
  /** Preferred source → number of routes that have it. */
  readonly #sources = new Map<string, number>();

  constructor(protocol: number) {
    this.#protocol = protocol;
  }

  /** link returns the link of a name. */
  link(name: string): LinkInfo | undefined {
    return this.#links.get(name);
  }

  /** nameOf returns the name of a link by index. */
  nameOf(index: number): string | undefined {
    return this.#names.get(index);
  }

  /** without returns the mirror as it would be if a link were gone. */
  without(name: string): Mirror {
    const copy = new Mirror(this.#protocol);
    copy.load("link", [...this.#links.values()]);
    for (const table of Object.keys(this.tables) as (keyof Tables)[])
      copy.load(table, [...this.tables[table].values()] as never);
    copy.addressProtocol = this.addressProtocol;
    const link = this.#links.get(name);
    if (link !== undefined) copy.take({ kind: "link", deleted: true, info: link });
    return copy;
  }

  /** links returns all links. */
  links(): Iterable<LinkInfo> {
    return this.#links.values();
  }

  /** filterHolders returns the indexes of links that have a qdisc for filters. */
  filterHolders(): number[] {
    return [...this.tables.qdisc.values()].flatMap((info) =>
      info.place === "ingress" ? [info.linkIndex] : [],
    );
  }

  /** load replaces all of one kind by a dump; returns the keys that vanished or appeared. */
  load(table: "link", dump: readonly LinkInfo[]): string[];
  load<T extends keyof Tables>(table: T, dump: readonly KeptInfo<T>[]): string[];
  load(table: Table, dump: readonly unknown[]): string[] {
    if (table === "link") return this.#loadLinks(dump as LinkInfo[]);
    const before = new Set(this.tables[table].keys());
    const keys: string[] = [];
    for (const key of before) this.#forget(table, key);
    for (const info of dump) {
      const key = this.#keep(table, info as never);
      if (key !== undefined && !before.delete(key)) keys.push(key);
    }
    keys.push(...before);
    return keys;
  }

  /** take applies one event. */
  take(event: RouteEvent): Touched {
    if (event.kind === "link") return event.deleted ? this.#unlink(event.info.index) : this.#link(event.info);
    if (event.kind === "port") return this.#port(event.info, event.deleted);
    return event.deleted
      ? this.#gone(event.kind, event.info as never)
      : this.#came(event.kind, event.info as never);
  }

  #loadLinks(dump: readonly LinkInfo[]): string[] {
    const keys = new Set<string>();
    const present = new Set(dump.map((info) => info.index));
    for (const info of [...this.#links.values()])
      if (!present.has(info.index)) for (const key of this.#unlink(info.index).keys) keys.add(key);
    for (const info of dump) for (const key of this.#link(info).keys) keys.add(key);
    return [...keys];
  }

  #link(info: LinkInfo): Touched {
    const known = this.#names.get(info.index);
    const renamed = known !== undefined && known !== info.name;
    const before = known === undefined ? undefined : this.#links.get(known);
    // Keys hold names: after a rename, what is on the link is read again under the new one.
    const lost = renamed ? this.#unlink(info.index).keys : [];
    const usurped = this.#links.get(info.name);
    if (usurped !== undefined && usurped.index !== info.index) this.#unlink(usurped.index);
    this.#links.set(info.name, info);
    this.#names.set(info.index, info.name);
    const keys = [...lost, linkKey(info.name)];
    if (before === undefined) return { keys, turned: info.name };
    if (renamed)
      return {
        keys,
        turned: info.name,
        stale: ["address", "route", "nexthop", "neighbour", "proxy", "fdb", "qdisc", "filter"],
      };
    const fell = (before.up && !info.up) || (before.lowerUp && !info.lowerUp);
    const stale = fell ? this.#staleOn(info.index) : [];
    if (before.up === info.up && before.lowerUp === info.lowerUp) return { keys };
    return { keys, turned: info.name, stale };
  }

  #unlink(index: number): Touched {
    const name = this.#names.get(index);
    if (name === undefined) return NOTHING;
    const stale = this.#staleOn(index);
    const keys = [linkKey(name), ...(this.#on.get(index) ?? [])];
    for (const key of [...(this.#on.get(index) ?? [])])
      this.#forget(key.slice(0, key.indexOf(" ")) as keyof Tables, key);
    this.#on.delete(index);
    this.#names.delete(index);
    if (this.#links.get(name)?.index === index) this.#links.delete(name);
    return { keys, turned: name, stale };
  }

  /**
   * Routes and next hops go without an event when their link goes; only those with several ways are not certainly gone. A filter that
   * sends to the link stays, and sends to nothing.
   */
  #staleOn(index: number): Table[] {
    const kinds = new Set<Table>();
    for (const key of this.#on.get(index) ?? []) {
      if (key.startsWith("route ")) kinds.add("route");
      if (key.startsWith("proxy ")) kinds.add("proxy");
      if (key.startsWith("nexthop ")) kinds.add("nexthop").add("route");
      if (this.tables.filter.get(key)?.redirect === index) kinds.add("filter");
    }
    return [...kinds];
  }

  /** Routes that prefer a source go with it (fib_sync_down_addr), all IPv4 routes of a link with its last address (fib_disable_ip). */
  #staleBy({ address, linkIndex }: AddressInfo): Table[] {
    if (this.#sources.has(formatIp(address.ip))) return ["route"];
    return address.ip.family === 4 ? this.#staleOn(linkIndex) : [];
  }

  #port(info: PortInfo, deleted: boolean): Touched {
    const name = this.#names.get(info.linkIndex);
    const link = name === undefined ? undefined : this.#links.get(name);
    if (link === undefined) return NOTHING;
    const { port, master, ...rest } = link;
    if (!deleted) {
      if (info.port === undefined || port === undefined) return NOTHING;
      this.#links.set(link.name, { ...link, port: { ...port, ...info.port } });
    } else if (master === info.bridgeIndex) this.#links.set(link.name, rest);
    return { keys: [linkKey(link.name)] };
  }

  #came<T extends keyof Tables>(table: T, info: KeptInfo<T>): Touched {
    const kept = this.tables[table].size;
    const key = this.#keep(table, info);
    // Of a filter that is changed in place the kernel tells what it was (cls_u32.c, u32_change; cls_api.c, tc_new_tfilter).
    const outdated = table === "filter" && this.tables[table].size === kept;
    if (key !== undefined) return outdated ? { keys: [key], stale: ["filter"] } : { keys: [key] };
    // What was ours under this key is now somebody else's, or no longer set by hand.
    const foreign = this.#keyOf(table, info);
    if (foreign === undefined || !this.tables[table].has(foreign)) return NOTHING;
    if (table === "route") return { keys: [], stale: ["route"] };
    this.#forget(table, foreign);
    return { keys: [foreign] };
  }

  #gone<T extends keyof Tables>(table: T, info: KeptInfo<T>): Touched {
    const key = this.#keyOf(table, info);
    const kept = key === undefined ? undefined : this.tables[table].get(key);
    if (key === undefined || kept === undefined) return NOTHING;
    if (table === "route") {
      const [old, now] = [kept as unknown as RouteInfo, info as unknown as RouteInfo];
      if (now.protocol !== this.#protocol) return NOTHING;
      // One way of several was removed (IPv6).
      if (now.hops.length < old.hops.length) return { keys: [key], stale: ["route"] };
    }
    if (table === "rule" && (kept as unknown as RuleInfo).table !== (info as unknown as RuleInfo).table)
      return NOTHING;
    this.#forget(table, key);
    if (table === "qdisc") return { keys: [key, ...this.#heldBy(info as unknown as QdiscInfo)] };
    if (table === "nexthop") return { keys: [key], stale: ["route", "nexthop"] };
    if (table === "address") return { keys: [key], stale: this.#staleBy(info as unknown as AddressInfo) };
    return { keys: [key] };
  }

  /** Filters go without an event with the qdisc that holds them; their keys. */
  #heldBy({ place, linkIndex }: QdiscInfo): string[] {
    const key = filterKey(this.#names.get(linkIndex) ?? "");
    if (place !== "ingress" || !this.tables.filter.has(key)) return [];
    this.#forget("filter", key);
    return [key];
  }

  #keep<T extends keyof Tables>(table: T, info: KeptInfo<T>): string | undefined {
    if (table === "address" && (info as unknown as AddressInfo).protocol !== undefined)
      this.addressProtocol = true;
    const key = this.#ofInterest(table, info) ? this.#keyOf(table, info) : undefined;
    if (key === undefined) return undefined;
    this.#forget(table, key);
    (this.tables[table] as unknown as Map<string, KeptInfo<T>>).set(key, info);
    this.#count(info, 1);
    for (const index of linksOf(info)) {
      const on = this.#on.get(index);
      if (on === undefined) this.#on.set(index, new Set([key]));
      else on.add(key);
    }
    return key;
  }

  #forget(table: keyof Tables, key: string): void {
    const info = this.tables[table].get(key);
    if (info === undefined) return;
    this.tables[table].delete(key);
    this.#count(info, -1);
    for (const index of linksOf(info)) this.#on.get(index)?.delete(key);
  }

  #count(info: object, by: 1 | -1): void {
    const source = (info as Partial<RouteInfo>).source;
    if (source === undefined) return;
    const text = formatIp(source);
    const count = (this.#sources.get(text) ?? 0) + by;
    if (count > 0) this.#sources.set(text, count);
    else this.#sources.delete(text);
  }

  #ofInterest(table: keyof Tables, info: unknown): boolean {
    switch (table) {
      case "address":
        return true;
      case "route":
        return (info as RouteInfo).protocol === this.#protocol;
      case "nexthop":
        return (info as NexthopInfo).protocol === this.#protocol;
      case "rule":
        return (info as RuleInfo).protocol === this.#protocol;
      case "qdisc": {
        const { place, major } = info as QdiscInfo;
        return place === "ingress" || (place === "root" && major !== 0);
      }
      case "filter":
        return isOurFilter(info as FilterInfo, this.#protocol);
      case "proxy":
        return (info as NeighbourInfo).protocol === this.#protocol;
      case "neighbour": {
        const neighbour = info as NeighbourInfo;
        return (
          !neighbour.proxy &&
          neighbour.state !== "failed" &&
          (neighbour.protocol === this.#protocol || neighbour.state === "permanent" || neighbour.externLearn)
        );
      }
      case "fdb": {
        const entry = info as FdbInfo;
        return entry.vlanId === undefined && (entry.permanent || entry.static || entry.externLearn);
      }
    }
  }

  #keyOf(table: keyof Tables, info: unknown): string | undefined {
    const on = (index: number) => this.#names.get(index);
    switch (table) {
      case "address": {
        const address = info as AddressInfo;
        const link = on(address.linkIndex);
        return link === undefined ? undefined : addressKey(link, address.address);
      }
      case "route": {
        const route = info as RouteInfo;
        return route.tos !== 0 || route.from !== undefined ? undefined : routeKey(route);
      }
      case "nexthop":
        return nexthopKey((info as NexthopInfo).id);
      case "rule":
        return ruleKey(info as RuleInfo);
      case "qdisc": {
        const { linkIndex, place } = info as QdiscInfo;
        const link = on(linkIndex);
        return link === undefined || place === undefined ? undefined : qdiscKey(link, place);
      }
      case "filter": {
        const found = info as FilterInfo;
        const link = on(found.linkIndex);
        // Handle 0 is all of a preference: so the kernel tells of their removal.
        const wanted =
          isOurFilter(found, this.#protocol) || (found.handle === 0 && found.pref === this.#protocol);
        return link === undefined || !wanted ? undefined : filterKey(link);
      }
      case "proxy": {
        const { linkIndex, ip } = info as NeighbourInfo;
        const link = on(linkIndex);
        return link === undefined ? undefined : proxyKey(link, ip);
      }
      case "neighbour": {
        const neighbour = info as NeighbourInfo;
        const link = on(neighbour.linkIndex);
        return link === undefined ? undefined : neighbourKey(link, neighbour.ip);
      }
      case "fdb": {
        const entry = info as FdbInfo;
        const link = on(entry.linkIndex);
        // A bridge that knows VLANs shows an entry once for each of them as well; ours is the one without.
        if (link === undefined || entry.vlanId !== undefined) return undefined;
        // Older kernels (6.1) tell of a VXLAN entry twice, the second time by rtnl_fdb_notify, which knows no destination.
        const vague = entry.master === undefined && entry.dst === undefined && entry.nexthopId === undefined;
        if (vague && this.#links.get(link)?.kind === "vxlan") return undefined;
        return fdbKey(link, { ...entry, master: entry.master !== undefined });
      }
    }
  }
}

/** KeptInfo is what a table holds. */
type KeptInfo<T extends keyof Tables> = (Tables[T] extends Map<string, infer Info> ? Info : never) & object;

const NO_LINKS: readonly number[] = [];

function linksOf(info: object): readonly number[] {
  const { hops, linkIndex, redirect } = info as {
    hops?: RouteInfo["hops"];
    linkIndex?: number;
    redirect?: number;
  };
  if (hops !== undefined)
    return hops.flatMap((hop) => (hop.linkIndex === undefined ? NO_LINKS : [hop.linkIndex]));
  if (linkIndex === undefined) return NO_LINKS;
  return redirect === undefined ? [linkIndex] : [linkIndex, redirect];
}
