/**
 * KernelWatch: links and routes that others put into the kernel, as they are now. BGP's own routes are passed over, so that a million of them
 * cost nothing here, and no next hop is found by a route that itself depends on it.
 */
import { bitsOf, formatPrefix, type Ip, prefixOf } from "../../net/mod.ts";
import { type LinkInfo, Monitor, type RouteEvent, type RouteInfo, Rtnetlink } from "../../netlink/mod.ts";
import { after, type Netns } from "../../sys/mod.ts";

/** BGP_PROTOCOL is RTPROT_BGP (include/uapi/linux/rtnetlink.h): who made our routes. */
export const BGP_PROTOCOL = 186;

/** The kernel's table of own addresses. */
const LOCAL_TABLE = 255;
/** Lets the events of one cause come together. */
const SETTLE_MS = 20;
/** A reading that failed is tried again after this time. */
const RETRY_MS = 1000;

/** Way is where a packet goes next. */
export interface Way {
  readonly via?: Ip;
  readonly dev: string;
}

/** Found is what the kernel's routes say of an address. Own addresses have no ways. */
export interface Found {
  /** 0 where the address is on a link, else the route's. */
  readonly metric: number;
  readonly ways: readonly Way[];
}

/** KernelWatchOptions say where to look, and who is told of changes. */
export interface KernelWatchOptions {
  readonly netns: Netns | undefined;
  readonly table: number;
  /** `foreign` is false where nothing but a route of BGP's has gone. */
  readonly onChange: (change: { readonly foreign: boolean }) => void;
}

/** KernelWatch owns its sockets. */
export class KernelWatch implements Disposable {
  readonly #options: KernelWatchOptions;
  readonly #rtnetlink: Rtnetlink;
  readonly #monitor: Monitor;
  readonly #links = new Map<number, LinkInfo>();
  /** By destination as text. */
  #routes = new Map<string, RouteInfo[]>();
  /** How many destinations there are of each length, by family. */
  #lengths: Readonly<Record<4 | 6, number[]>> = { 4: [], 6: [] };
  readonly #makers = new Set<number>();
  #isStale = false;
  #isForeign = false;
  /** Events were lost: who made which routes is not known. */
  #isBlind = false;
  #timer: Disposable | undefined;

  constructor(options: KernelWatchOptions) {
    this.#options = options;
    const where = options.netns === undefined ? {} : { netns: options.netns };
    this.#rtnetlink = Rtnetlink.open(where);
    try {
      this.#monitor = Monitor.open({
        ...where,
        groups: ["link", "address", "route"],
        onEvent: (event) => this.#take(event),
        onOverrun: () => {
          this.#isBlind = true;
          this.#later(true);
        },
      });
      for (const link of this.#rtnetlink.links()) this.#links.set(link.index, link);
      for (const route of this.#rtnetlink.routes()) this.#keep(route);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** routes returns the routes of the table, those by links that are down left out. */
  *routes(): Generator<RouteInfo> {
    for (const routes of this.#routes.values())
      for (const route of routes)
        if (route.table === this.#options.table && this.#isUsable(route)) yield route;
  }

  /** find returns how an address is reached, by the longest prefix; undefined where it is not. */
  find(address: Ip): Found | undefined {
    const lengths = this.#lengths[address.family];
    for (let length = bitsOf(address.family); length >= 0; length--) {
      if ((lengths[length] ?? 0) === 0) continue;
      const best = (this.#routes.get(formatPrefix(prefixOf(address, length))) ?? [])
        .filter((route) => this.#isUsable(route))
        .sort((a, b) => a.metric - b.metric)[0];
      if (best !== undefined) return this.#foundBy(best, address);
    }
    return undefined;
  }

  /** isUp tells whether packets can leave by a link. */
  isUp(dev: string): boolean {
    for (const link of this.#links.values()) if (link.name === dev) return link.up && link.lowerUp;
    return false;
  }

  #foundBy(route: RouteInfo, address: Ip): Found | undefined {
    if (route.type === "local") return { metric: 0, ways: [] };
    if (route.type !== "unicast") return undefined;
    const ways = route.hops.flatMap(({ via, linkIndex }): Way[] => {
      const link = this.#links.get(linkIndex ?? 0);
      return link === undefined || !isUp(link) ? [] : [{ via: via ?? address, dev: link.name }];
    });
    const isOnLink = route.hops.every(({ via }) => via === undefined);
    return { metric: isOnLink ? 0 : route.metric, ways };
  }

  #isUsable({ type, hops }: RouteInfo): boolean {
    if (type === "multicast" || type === "broadcast" || type === "anycast") return false;
    return type !== "unicast" || hops.some(({ linkIndex }) => isUp(this.#links.get(linkIndex ?? 0)));
  }

  #take(event: RouteEvent): void {
    if (event.kind === "link") this.#takeLink(event.info, event.deleted);
    // The kernel removes routes with an address without saying so (fib_sync_down_addr, fib_disable_ip).
    else if (event.kind === "address") this.#later(event.deleted);
    else if (event.kind === "route" && this.#isOfInterest(event.info)) {
      if (event.deleted) this.#later(this.#drop(event.info));
      else this.#later(this.#keep(event.info));
    } else if (event.kind === "route" && event.info.protocol === BGP_PROTOCOL && event.deleted) this.#soon();
  }

  #takeLink(link: LinkInfo, deleted: boolean): void {
    const before = this.#links.get(link.index);
    if (deleted) this.#links.delete(link.index);
    else this.#links.set(link.index, link);
    if (!deleted && before?.name === link.name && isUp(before) === isUp(link)) return;
    // Routes go without an event with their link (fib_sync_down_dev).
    this.#later(deleted || isUp(before));
  }

  #isOfInterest({ protocol, table, tos, from }: RouteInfo): boolean {
    return (
      protocol !== BGP_PROTOCOL &&
      (table === this.#options.table || table === LOCAL_TABLE) &&
      tos === 0 &&
      from === undefined
    );
  }

  /** True where a route took another's place: only the kernel knows what is there when one of them goes. */
  #keep(route: RouteInfo): boolean {
    if (!this.#isOfInterest(route)) return false;
    this.#makers.add(route.protocol);
    const key = formatPrefix(route.destination);
    const known = this.#routes.get(key);
    if (known === undefined) {
      const { family, length } = route.destination;
      this.#lengths[family][length] = (this.#lengths[family][length] ?? 0) + 1;
      this.#routes.set(key, [route]);
      return false;
    }
    const at = known.findIndex((other) => other.table === route.table && other.metric === route.metric);
    if (at < 0) known.push(route);
    else known[at] = route;
    return at >= 0;
  }

  /** True where something may be left of it: one way of several has gone (IPv6). */
  #drop(route: RouteInfo): boolean {
    const key = formatPrefix(route.destination);
    const known = this.#routes.get(key) ?? [];
    const at = known.findIndex((other) => other.table === route.table && other.metric === route.metric);
    const old = known[at];
    if (old === undefined) return false;
    if (old.protocol !== route.protocol || route.hops.length < old.hops.length) return true;
    known.splice(at, 1);
    if (known.length > 0) return false;
    this.#routes.delete(key);
    const { family, length } = route.destination;
    this.#lengths[family][length] = (this.#lengths[family][length] ?? 1) - 1;
    return false;
  }

  #later(isStale: boolean): void {
    this.#isStale ||= isStale;
    this.#isForeign = true;
    this.#soon();
  }

  #soon(pauseMs = SETTLE_MS): void {
    this.#timer ??= after(pauseMs, () => {
      this.#timer = undefined;
      try {
        if (this.#isStale) this.#readAgain();
      } catch {
        // A table that changes all the time cannot be read as a whole; what is known stays until it can.
        return this.#soon(RETRY_MS);
      }
      const foreign = this.#isForeign;
      this.#isForeign = false;
      this.#options.onChange({ foreign });
    });
  }

  /** By who made them, so that the kernel passes over BGP's; all, where it is not known who made some. */
  #readAgain(): void {
    const links = this.#rtnetlink.links();
    const routes = this.#isBlind
      ? this.#rtnetlink.routes()
      : [...this.#makers].flatMap((protocol) => this.#rtnetlink.routes({ protocol }));
    this.#isStale = false;
    this.#isBlind = false;
    this.#links.clear();
    for (const link of links) this.#links.set(link.index, link);
    this.#routes = new Map();
    this.#lengths = { 4: [], 6: [] };
    for (const route of routes) this.#keep(route);
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#monitor?.close();
    this.#rtnetlink.close();
  }
}

function isUp(link: LinkInfo | undefined): boolean {
  return link !== undefined && link.up && link.lowerUp;
}
