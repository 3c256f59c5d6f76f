/**
 * RouteInstaller: best unicast routes go to the kernel, each under a scope of its own of an engine, so that a change costs what it touches.
 * What a process before this one has left is kept until routes are chosen; then what is still right stays as it is, and the rest goes.
 */
import { Engine, type Route, type RouteHop } from "../../engine/mod.ts";
import { formatIp, formatPrefix, type Prefix } from "../../net/mod.ts";
import { Rtnetlink } from "../../netlink/mod.ts";
import { after, monotonicMs, type Netns, soon } from "../../sys/mod.ts";
import { LOCAL, type Rib, type RibTable } from "../rib/mod.ts";
import { PATH_FLAG } from "../rib/paths.ts";
import { decodeNlri, encodeNlri, IPV4_UNICAST, IPV6_UNICAST } from "../wire/mod.ts";
import { BGP_PROTOCOL, type Way } from "./kernel-watch.ts";
import type { SpeakerLog } from "./speaker-options.ts";

const FAMILIES = [IPV4_UNICAST, IPV6_UNICAST] as const;
/** Destinations that go to the kernel together. */
const BATCH = 128;
/** How long one turn may take before sockets have theirs. */
const SLICE_MS = 8;
/** The kernel could not be looked at: it is tried again so soon. */
const AGAIN_MS = 1_000;
/** The kernel takes 128 ways of a multipath route with ease; a router has at most 64 paths. */
const MOST_WAYS = 64;
/**
 * Behind what the kernel and ip-route(8) make without a metric (0; 256 and 1024 for IPv6), so that a connected or static route to the same
 * destination wins; another value than FRR's 20, so that neither takes the other's routes for its own.
 */
const METRIC = { 4: BGP_PROTOCOL, 6: 1024 + BGP_PROTOCOL } as const;

/** RouteInstallerOptions say what goes where. */
export interface RouteInstallerOptions {
  readonly rib: Rib;
  readonly netns: Netns | undefined;
  readonly table: number;
  /** The ways of a path that was received. */
  readonly waysOf: (table: RibTable, path: number) => readonly Way[];
  /** Whether nothing is chosen yet: after our own restart, until neighbors have said all they know. */
  readonly isDeferring: () => boolean;
  /** Whether what a process before this one has left may be chosen yet: neighbors have not said all, or routes wait to be chosen. */
  readonly keepsFormer: () => boolean;
  readonly log: SpeakerLog;
}

/** RouteInstaller owns an engine. */
export class RouteInstaller implements Disposable {
  readonly #options: RouteInstallerOptions;
  readonly #engine: Engine;
  /** Destinations to be looked at, by text. */
  readonly #pending = new Map<string, Prefix>();
  readonly #installed = new Set<string>();
  /** Where in the tables all destinations are being looked at again. */
  #scan: { family: number; destination: number } | undefined;
  /** What others have left, once it was looked for. */
  #stale: Route[] | undefined;
  /** The kernel may have lost routes. */
  #isTouched = false;
  #turn: Disposable | undefined;
  #retry: Disposable | undefined;
  #failures = 0;
  #closed = false;

  constructor(options: RouteInstallerOptions) {
    this.#options = options;
    this.#engine = Engine.open({
      ...(options.netns === undefined ? {} : { netns: options.netns }),
      mark: { protocol: BGP_PROTOCOL },
    });
    // It is not started: its rounds look at all objects at once, and there may be a million.
    this.all();
  }

  /** changed takes a destination whose best paths have changed. */
  changed(table: RibTable, destination: number): void {
    if (this.#closed) return;
    const prefix = prefixAt(table, destination);
    if (prefix !== undefined) this.#pending.set(formatPrefix(prefix), prefix);
  }

  /** all has every destination looked at again. */
  all(): void {
    this.#scan = { family: 0, destination: 1 };
  }

  /** repair looks at what events of the kernel tell of our routes. */
  repair(): void {
    this.#isTouched = true;
    this.wake();
  }

  /** wake has the work done that there is. */
  wake(): void {
    if (this.#closed || this.#turn !== undefined || this.#options.isDeferring()) return;
    if (this.#isTouched || this.#pending.size > 0 || this.#scan !== undefined || this.#stale?.length !== 0)
      this.#turn = soon(() => this.#work());
  }

  #work(): void {
    this.#turn = undefined;
    const endMs = monotonicMs() + SLICE_MS;
    try {
      do {
        const batch = this.#take();
        if (batch.length === 0 && !this.#isTouched) {
          // Once all is said and chosen there is another call.
          if (this.#options.keepsFormer()) return;
          this.#sweep();
          break;
        }
        for (const prefix of batch) this.#wish(prefix);
        this.#isTouched = false;
        this.#report(this.#engine.apply().failed);
      } while (monotonicMs() < endMs);
    } catch (error) {
      this.#options.log("bgp routes are not installed", { why: (error as Error).message });
      this.#isTouched = true;
      this.#turn = after(AGAIN_MS, () => this.#work());
      return;
    }
    this.wake();
  }

  #take(): Prefix[] {
    const batch: Prefix[] = [];
    for (const [text, prefix] of this.#pending) {
      this.#pending.delete(text);
      batch.push(prefix);
      if (batch.length === BATCH) return batch;
    }
    const { rib } = this.#options;
    for (const scan = this.#scan; scan !== undefined && batch.length < BATCH; scan.destination++) {
      const family = FAMILIES[scan.family];
      const table = family === undefined ? undefined : rib.tables.get(family);
      if (family === undefined) {
        this.#scan = undefined;
        break;
      }
      if (table === undefined || scan.destination >= table.first.length) {
        scan.family++;
        scan.destination = 0;
      } else if (table.keys.has(scan.destination)) {
        const prefix = prefixAt(table, scan.destination);
        if (prefix !== undefined) batch.push(prefix);
      }
    }
    return batch;
  }

  #wish(prefix: Prefix): void {
    const text = formatPrefix(prefix);
    const hops = this.#hopsTo(prefix);
    if (hops.length > 0) {
      this.#installed.add(text);
      this.#engine.set(text, [this.#route(prefix, hops)]);
    } else if (this.#installed.delete(text)) this.#engine.remove(text);
  }

  #route(destination: Prefix, hops: readonly RouteHop[]): Route {
    const { table } = this.#options;
    return { kind: "route", destination, table, metric: METRIC[destination.family], hops };
  }

  #hopsTo(prefix: Prefix): RouteHop[] {
    const { rib, waysOf } = this.#options;
    const { family, key } = encodeNlri({ kind: "prefix", prefix });
    const table = rib.tables.get(family);
    const destination = table?.keys.find(key, 0, key.length) ?? 0;
    if (table === undefined || destination === 0) return [];
    const { paths } = table;
    let path = table.bestOf(destination);
    // What this router announces itself is on it.
    if (path === 0 || paths.peer[path] === LOCAL) return [];
    const hops = new Map<string, RouteHop>();
    for (; path !== 0; path = paths.next[path] as number) {
      const flags = paths.flags[path] as number;
      if ((flags & PATH_FLAG.multipath) === 0 || (flags & PATH_FLAG.gone) !== 0) continue;
      if (paths.peer[path] === LOCAL) continue;
      for (const { via, dev } of waysOf(table, path))
        if (via !== undefined && (via.family === prefix.family || via.family === 6))
          hops.set(`${formatIp(via)}%${dev}`, { via, dev });
    }
    return [...hops.values()].slice(0, MOST_WAYS);
  }

  #report(failed: readonly { readonly key: string; readonly reason?: string | undefined }[]): void {
    const [first] = failed;
    if (first !== undefined && failed.length !== this.#failures)
      this.#options.log("bgp routes are not installed", {
        routes: failed.length,
        route: first.key,
        why: first.reason ?? "",
      });
    this.#failures = failed.length;
    if (failed.length > 0)
      this.#retry ??= after(AGAIN_MS, () => {
        this.#retry = undefined;
        this.repair();
      });
  }

  /** Removes, a few at a time, what a process before this one has left and nobody wants. */
  #sweep(): void {
    this.#stale ??= this.#present();
    const some = this.#stale.slice(0, BATCH);
    const unwanted = some.filter(({ destination }) => !this.#installed.has(formatPrefix(destination)));
    if (unwanted.length > 0) this.#engine.undo(unwanted);
    this.#stale.splice(0, some.length);
  }

  /** All that BGP has put into the table, by any process of ours. */
  #present(): Route[] {
    const { netns, table } = this.#options;
    using rtnetlink = Rtnetlink.open(netns === undefined ? {} : { netns });
    return rtnetlink.routes({ protocol: BGP_PROTOCOL }).flatMap((route): Route[] => {
      const { destination, metric } = route;
      const isOurs = route.table === table && metric === METRIC[destination.family];
      return isOurs ? [{ kind: "route", destination, table, metric }] : [];
    });
  }

  /** remove removes all routes: nobody routes here any more. */
  remove(): void {
    this.#closed = true;
    this.#engine.undo(this.#present());
  }

  /** The routes stay. */
  [Symbol.dispose](): void {
    this.#closed = true;
    this.#turn?.[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
    this.#engine[Symbol.dispose]();
  }
}

function prefixAt(table: RibTable, destination: number): Prefix | undefined {
  const nlri = decodeNlri(table.family, table.keys.copyOf(destination));
  return nlri.kind === "prefix" ? nlri.prefix : undefined;
}
