/**
 * EvpnFeed: EVPN routes of others, as they change, for those who forward by them. The table only marks destinations; what they are now is read
 * after each slice of its work, and only what has a route target that this router imports. While nobody listens, the table has no listener either.
 */
import { decodeRemote, type EvpnChange, type EvpnRoute } from "../evpn/mod.ts";
import { BitSet } from "../rib/bit-set.ts";
import { LOCAL, type Rib, type RibTable } from "../rib/mod.ts";
import { EVPN } from "../wire/mod.ts";
import type { AttributeDigests } from "./attribute-digests.ts";

/** Destinations read in one turn: some milliseconds. */
const MOST_READ = 4096;
/** Destinations in which a turn looks for what a new route target brings: some milliseconds. */
const MOST_SCANNED = 32_768;

/** EvpnListener is told what has changed, in order. */
export type EvpnListener = (changes: readonly EvpnChange[]) => void;

/** EvpnFeedOptions say where routes are. */
export interface EvpnFeedOptions {
  readonly rib: Rib;
  readonly digests: AttributeDigests;
  /** Whether a route with these targets is imported here. */
  readonly imports: (targets: readonly string[]) => boolean;
  /** There is something to read: `flush` is wanted soon. */
  readonly onWork: () => void;
}

/** EvpnFeed owns what listeners were told. */
export class EvpnFeed {
  readonly #options: EvpnFeedOptions;
  readonly #table: RibTable | undefined;
  readonly #listeners = new Set<EvpnListener>();
  readonly #marked = new BitSet();
  readonly #told = new BitSet();
  #room = 0;
  #from = 0;
  /** Where the search for what is imported newly, or not any more, goes on; 0: there is none. */
  #scan = 0;
  #watching: Disposable | undefined;

  constructor(options: EvpnFeedOptions) {
    this.#options = options;
    this.#table = options.rib.tables.get(EVPN);
  }

  /** listen has a listener told of all that there is, and then of what changes. */
  listen(listener: EvpnListener): Disposable {
    this.#listeners.add(listener);
    if (this.#watching === undefined) {
      this.#watching = this.#options.rib.onBest(EVPN, (_, destination) => this.#mark(destination));
      this.retarget();
    } else this.#catchUp(listener);
    return { [Symbol.dispose]: () => this.#leave(listener) };
  }

  /** retarget looks at all routes again: other targets are imported than before. */
  retarget(): void {
    if (this.#watching === undefined) return;
    this.#scan = 1;
    this.#options.onWork();
  }

  /** flush reads what was marked, up to a limit, and tells listeners; true when there is more. */
  flush(): boolean {
    if (this.#scan > 0) this.#scanSome();
    if (this.#marked.size === 0) return this.#scan > 0;
    const changes: EvpnChange[] = [];
    for (let read = 0; read < MOST_READ && this.#marked.size > 0; read++) {
      let id = this.#marked.next(this.#from);
      if (id < 0) id = this.#marked.next(0);
      this.#from = id + 1;
      this.#marked.delete(id);
      const route = this.#routeOf(id);
      if (route !== undefined) {
        this.#told.add(id);
        changes.push({ op: "set", id, route });
      } else if (this.#told.has(id)) {
        this.#told.delete(id);
        changes.push({ op: "remove", id });
      }
    }
    if (changes.length > 0) for (const listener of [...this.#listeners]) listener(changes);
    return this.#marked.size > 0 || this.#scan > 0;
  }

  /** What the others know already. */
  #catchUp(listener: EvpnListener): void {
    const changes: EvpnChange[] = [];
    for (let id = this.#told.next(0); id >= 0; id = this.#told.next(id + 1)) {
      const route = this.#routeOf(id);
      if (route !== undefined) changes.push({ op: "set", id, route });
    }
    if (changes.length > 0) listener(changes);
  }

  #mark(destination: number): void {
    if (destination >= this.#room) this.#grow();
    this.#marked.add(destination);
  }

  /** Marks what is imported and was not told, and the other way round. Behind it all is as the present targets have it. */
  #scanSome(): void {
    const table = this.#table;
    const end = table?.keys.end ?? 0;
    this.#grow();
    const stop = Math.min(end, this.#scan + MOST_SCANNED);
    for (let id = this.#scan; id < stop; id++)
      if (this.#told.has(id) !== this.#imported(id)) this.#marked.add(id);
    this.#scan = stop < end ? stop : 0;
  }

  #imported(id: number): boolean {
    const path = this.#pathOf(id);
    return path !== 0 && this.#options.imports(this.#digestOf(path).targets);
  }

  /** The best path of a destination, where another router announced it. */
  #pathOf(id: number): number {
    const table = this.#table;
    if (table === undefined || !table.keys.has(id)) return 0;
    const path = table.bestOf(id);
    return path === 0 || table.paths.peer[path] === LOCAL ? 0 : path;
  }

  #digestOf(path: number) {
    return this.#options.digests.of(this.#table?.paths.accepted[path] as number);
  }

  /** What a destination tells now; undefined for what is ours, or not imported. */
  #routeOf(id: number): EvpnRoute | undefined {
    const path = this.#pathOf(id);
    const table = this.#table;
    if (path === 0 || table === undefined) return undefined;
    const digest = this.#digestOf(path);
    if (!this.#options.imports(digest.targets)) return undefined;
    const extra = this.#options.rib.extras.copyOf(table.paths.extra[path] as number);
    return decodeRemote(table.keys.copyOf(id), extra, digest);
  }

  #leave(listener: EvpnListener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0) return;
    this.#watching?.[Symbol.dispose]();
    this.#watching = undefined;
    this.#scan = 0;
    this.#marked.clear();
    this.#told.clear();
  }

  #grow(): void {
    this.#room = this.#table?.keys.capacity ?? 0;
    this.#marked.reserve(this.#room);
    this.#told.reserve(this.#room);
  }
}
