/** Kernel: one namespace as the engine sees and changes it. Owns the sockets; keeps the mirror true. */
import {
  createTun,
  deleteLink,
  deleteTun,
  KernelWireguard,
  Monitor,
  type RouteRequest,
  Rtnetlink,
} from "../netlink/mod.ts";
import type { WireguardDevice } from "../net/mod.ts";
import { type Netns, readText, writeKernelFile } from "../sys/mod.ts";
import type { Mark, Work } from "./kind.ts";
import { Mirror, type Table, type Touched } from "./mirror.ts";
import { NftTables } from "./nft-tables.ts";
import { rulesetKey } from "./nftables.ts";
import type { SetElement } from "./object.ts";
import { weather } from "./weather.ts";
import { WireguardDevices } from "./wireguard-devices.ts";

/** In the order of reading: what is on a link is kept under its name, and filters are asked for where a qdisc holds them. */
const TABLES: readonly Table[] = [
  "link",
  "address",
  "route",
  "nexthop",
  "neighbour",
  "proxy",
  "fdb",
  "rule",
  "qdisc",
  "filter",
];

export interface KernelOptions {
  readonly netns?: Netns | undefined;
  /** Socket in the namespace, and one in that which carries VXLAN; they stay the owner's to close. */
  readonly route?: Rtnetlink | undefined;
  readonly underlay?: Rtnetlink | undefined;
  readonly mark: Mark;
  readonly wireguard?: ((link: string) => WireguardDevice | undefined) | undefined;
  /** Called for whatever events and dumps changed, also from within `drain` and `read`. */
  readonly onTouched: (touched: Touched) => void;
  /** Events were lost: everything has to be compared again. */
  readonly onLost: () => void;
  /** Somebody else changed our nftables tables: `takeForeign` says which. */
  readonly onForeign: () => void;
}

/** Kernel reads, listens and executes. */
export class Kernel implements Disposable {
  readonly mirror: Mirror;
  readonly wireguard: WireguardDevices;
  readonly nft: NftTables;
  readonly #options: KernelOptions;
  readonly #rtnetlink: Rtnetlink;
  readonly #monitor: Monitor;
  readonly #stale = new Set<Table>();

  constructor(options: KernelOptions) {
    this.#options = options;
    this.mirror = new Mirror(options.mark.protocol);
    const where = options.netns === undefined ? {} : { netns: options.netns };
    this.nft = new NftTables(options.netns, options.onForeign);
    this.wireguard = new WireguardDevices(
      (link) =>
        options.wireguard?.(link) ??
        (this.mirror.link(link)?.kind === "wireguard" ? KernelWireguard.open(link, where) : undefined),
    );
    this.#rtnetlink = options.route ?? Rtnetlink.open(where);
    this.#monitor = Monitor.open({
      ...where,
      onEvent: (event) => this.#touched(this.mirror.take(event)),
      onOverrun: () => {
        for (const table of TABLES) this.#stale.add(table);
        options.onLost();
      },
    });
  }

  /** read dumps everything anew. */
  read(): void {
    this.wireguard.forget();
    this.nft.forget();
    for (const table of TABLES) this.#stale.add(table);
    this.drain();
  }

  /** drain takes in all events that are queued, and reads again what the kernel removes without events. */
  drain(): void {
    this.#monitor.drain();
    while (this.#stale.size > 0) {
      for (const table of TABLES) if (this.#stale.delete(table)) this.#load(table);
      this.#monitor.drain();
    }
  }

  /** takeForeign forgets the nftables tables that somebody else changed, so that they are listed again. */
  takeForeign(): void {
    const keys = this.nft.takeForeign().map(rulesetKey);
    if (keys.length > 0) this.#touched({ keys });
  }

  #load(table: Table): void {
    let keys: string[];
    try {
      keys = this.#dump(table);
    } catch (error) {
      this.#stale.add(table);
      throw error;
    }
    if (keys.length > 0) this.#touched({ keys });
  }

  #dump(table: Table): string[] {
    const { mirror } = this;
    const socket = this.#rtnetlink;
    switch (table) {
      case "link":
        return mirror.load("link", socket.links());
      case "address":
        return mirror.load("address", socket.addresses());
      case "route":
        return mirror.load("route", socket.routes({ protocol: this.#options.mark.protocol }));
      case "nexthop":
        return mirror.load("nexthop", socket.nexthops());
      case "neighbour":
        return mirror.load("neighbour", socket.neighbours());
      case "proxy":
        return mirror.load("proxy", socket.proxies());
      case "fdb":
        return mirror.load("fdb", socket.fdb());
      case "rule":
        return mirror.load("rule", socket.rules());
      case "qdisc":
        return mirror.load("qdisc", socket.qdiscs());
      case "filter":
        return mirror.load(
          "filter",
          mirror.filterHolders().flatMap((linkIndex) => socket.filters({ linkIndex })),
        );
    }
  }

  #touched(touched: Touched): void {
    for (const table of touched.stale ?? []) this.#stale.add(table);
    // Another device under the same name, or none: what we knew of it is void.
    if (touched.turned !== undefined) this.wireguard.close(touched.turned);
    this.#options.onTouched(touched);
  }

  /** sysctl reads a setting in the namespace. */
  sysctl(path: string): string | undefined {
    return this.#inside(() => readText(`/proc/sys/${path}`))?.trimEnd();
  }

  /**
   * execute does a list of works, in order and in as few requests as there are doors; one result per work. `elements` returns the
   * desired elements of a family, which are loaded together with its ruleset.
   */
  execute(
    works: readonly Work[],
    elements: (family: SetElement["family"]) => SetElement[],
  ): (Error | undefined)[] {
    const results = new Array<Error | undefined>(works.length).fill(undefined);
    const doors = Map.groupBy(works.keys(), (index) => (works[index] as Work).via);
    const each = <V extends Work["via"]>(
      via: V,
      run: (list: Extract<Work, { via: V }>[]) => readonly (Error | undefined)[],
    ) => {
      const indexes = doors.get(via);
      if (indexes === undefined) return;
      const chosen = indexes.map((index) => works[index] as Extract<Work, { via: V }>);
      const answers = attempt(() => run(chosen));
      for (const [at, index] of indexes.entries())
        results[index] = answers instanceof Error ? answers : answers[at];
    };
    each("ruleset", (list) => list.map((work) => this.nft.load(work, elements(work.family))));
    each("element", (list) => this.nft.change(list));
    each("rtnetlink", (list) => this.#route(list));
    each("underlay", (list) => list.map((work) => this.#underlay(work)));
    each("tun", (list) => list.map((work) => this.#tun(work)));
    each("wireguard", (list) => this.wireguard.execute(list));
    each("sysctl", (list) => list.map((work) => this.#write(work.path, work.value)));
    return results;
  }

  /** Sends the requests of all works together; a work fails with its first refused request, or when it cannot be encoded. */
  #route(works: readonly Extract<Work, { via: "rtnetlink" }>[]): (Error | undefined)[] {
    const all: RouteRequest[] = [];
    // Where the requests of each work end; or why there are none.
    const ends = works.map(({ requests }) => {
      const begin = all.length;
      try {
        for (const request of requests) all.push(request());
        return all.length;
      } catch (error) {
        all.length = begin;
        return weather(error);
      }
    });
    const answers = this.#rtnetlink.execute(all);
    let at = 0;
    const results = works.map(({ undo }, index) => {
      const end = ends[index] as number | Error;
      if (end instanceof Error) return end;
      const begin = at;
      while (at < end && answers[at] === undefined) at++;
      const refused = at < end ? answers[at] : undefined;
      if (refused !== undefined && undo !== undefined && at - begin > undo.after)
        this.#rtnetlink.execute([undo.request()]);
      at = end;
      return refused;
    });
    this.#refresh(works);
    return results;
  }

  /** Reads again what no event tells of, or only later: each link once. */
  #refresh(works: readonly Extract<Work, { via: "rtnetlink" }>[]): void {
    const links = new Set<string>();
    const on = new Set<number>();
    let proxies = false;
    for (const { refresh } of works) {
      if (refresh?.link !== undefined) links.add(refresh.link);
      if (refresh?.addressesOn !== undefined) on.add(refresh.addressesOn);
      proxies ||= refresh?.proxies === true;
    }
    if (links.size + on.size > 0) this.#monitor.drain();
    if (proxies) this.#load("proxy");
    for (const name of links) {
      const info = this.#rtnetlink.link(name);
      if (info !== undefined) this.#touched(this.mirror.take({ kind: "link", deleted: false, info }));
    }
    for (const linkIndex of on)
      for (const info of this.#rtnetlink.addresses({ linkIndex }))
        this.#touched(this.mirror.take({ kind: "address", deleted: false, info }));
  }

  #underlay(work: Extract<Work, { via: "underlay" }>): Error | undefined {
    const { netns, underlay } = this.#options;
    if (underlay === undefined)
      return new Error(`Cannot add ${work.name}: the engine was given no underlay; this is a bug`);
    const execute = (requests: readonly (() => RouteRequest)[]) =>
      this.#rtnetlink.execute(requests.map((request) => request())).find((error) => error !== undefined);
    const refused = execute(work.before) ?? underlay.execute([work.make(netns)])[0];
    if (refused !== undefined) return refused;
    const failed = execute(work.after);
    if (failed !== undefined) this.#rtnetlink.execute([deleteLink({ name: work.name })]);
    return failed;
  }

  #tun(work: Extract<Work, { via: "tun" }>): Error | undefined {
    const { name, vnetHeader = false, multiQueue = false } = work;
    const { netns } = this.#options;
    const options = { vnetHeader, multiQueue, ...(netns !== undefined && { netns }) };
    try {
      for (const request of work.before) this.#rtnetlink.request(request());
      createTun(name, options);
    } catch (error) {
      return new Error(`Cannot add TUN device ${name}: ${(error as Error).message}`, { cause: error });
    }
    const refused = this.#rtnetlink
      .execute(work.after.map((request) => request()))
      .find((answer) => answer !== undefined);
    if (refused !== undefined) deleteTun(name, options);
    return refused;
  }

  #write(path: string, value: string): Error | undefined {
    try {
      this.#inside(() => writeKernelFile(`/proc/sys/${path}`, value));
      return undefined;
    } catch (error) {
      return new Error(`Cannot set ${path} to ${value}: ${(error as Error).message}`, { cause: error });
    }
  }

  #inside<T>(work: () => T extends Promise<unknown> ? never : T): T {
    return this.#options.netns === undefined ? (work() as T) : this.#options.netns.run(work);
  }

  [Symbol.dispose](): void {
    this.#monitor.close();
    if (this.#options.route === undefined) this.#rtnetlink.close();
    this.wireguard[Symbol.dispose]();
    this.nft[Symbol.dispose]();
  }
}

function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return weather(error);
  }
}
