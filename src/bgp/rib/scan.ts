/**
 * Scan: what has to be done to all paths of a peer, or by a next hop, in slices of the path columns, once around. A scan of several
 * peers at a time costs as much as of one; what happens to paths in the meantime is right already, as it carries the new epoch.
 */
import { RANK_FLAG } from "./attribute-rank.ts";
import type { AttributeMap } from "./attribute-map.ts";
import { PATH_FLAG } from "./paths.ts";
import type { PeerTable, RibPeer } from "./peer.ts";
import type { RibTable, TableContext } from "./table.ts";

/** SCAN are the tasks of a scan; several may go together. */
export const SCAN = {
  /** Remove what is stale. */
  sweep: 1,
  /** Remove what is stale and not kept for long. */
  sweepShort: 2,
  /** Keep for long what is stale (RFC 9494). */
  longLived: 4,
  /** Judge by the import policy again. */
  policy: 8,
} as const;

/** ScanContext is what a scan needs beside the table. */
export interface ScanContext extends TableContext {
  readonly table: RibTable;
  readonly longLived: AttributeMap;
  /** Applies a peer's import policy again: what a path is used with, with a reference. */
  readonly accept: (peer: RibPeer, path: number) => number;
  /** Nothing of a peer is stale any more. */
  readonly swept: (state: PeerTable) => void;
}

/** Scan goes through the paths of one table. */
export class Scan {
  readonly #context: ScanContext;
  readonly #active = new Set<PeerTable>();
  readonly #nextHops = new Set<number>();
  #nextHopsLeft = 0;
  #from = 1;
  /** How many slots there were when it was last looked. */
  #end = 1;

  constructor(context: ScanContext) {
    this.#context = context;
  }

  /** Whether something is left to be gone through. */
  get isBusy(): boolean {
    return this.#active.size > 0 || this.#nextHopsLeft > 0;
  }

  /** begin goes once around for a peer, with the tasks that it has already. */
  begin(state: PeerTable, task: number): void {
    state.scan |= task;
    state.scanLeft = this.#context.table.paths.end;
    this.#active.add(state);
  }

  /** finish does at once all that is left. */
  finish(): void {
    while (this.work(this.#context.table.paths.end)) continue;
  }

  /** beginNextHop has all destinations decided again that have a path by a next hop. */
  beginNextHop(id: number): void {
    this.#nextHops.add(id);
    this.#nextHopsLeft = this.#context.table.paths.end;
  }

  /** work goes through up to `most` paths; true when there is more. */
  work(most: number): boolean {
    if (!this.isBusy) return false;
    const { table, peers } = this.#context;
    const { paths } = table;
    const end = paths.end;
    this.#grow(end);
    const steps = Math.min(most, end);
    let path = this.#from;
    for (let i = 0; i < steps; i++, path++) {
      if (path >= end) path = 1;
      if (paths.destination[path] === 0 || ((paths.flags[path] as number) & PATH_FLAG.gone) !== 0) continue;
      const peer = peers[paths.peer[path] as number];
      const state = peer?.tables[table.index];
      if (peer !== undefined && state !== undefined && state.scan !== 0) this.#visit(path, peer, state);
      if (this.#nextHopsLeft > 0) this.#visitNextHop(path);
    }
    this.#from = path;
    this.#pass(steps);
    return this.isBusy;
  }

  #visit(path: number, peer: RibPeer, state: PeerTable): void {
    const { table } = this.#context;
    const { paths } = table;
    if (paths.epoch[path] !== state.epoch) {
      const isLong = ((paths.flags[path] as number) & PATH_FLAG.longLived) !== 0;
      if ((state.scan & SCAN.sweep) !== 0 || ((state.scan & SCAN.sweepShort) !== 0 && !isLong)) {
        table.remove(path, state);
        return;
      }
      if ((state.scan & SCAN.longLived) !== 0 && !isLong) this.#keepLong(path, state);
    }
    if ((state.scan & SCAN.policy) === 0 || ((paths.flags[path] as number) & PATH_FLAG.gone) !== 0) return;
    const accepted = this.#context.accept(peer, path);
    const isLong = ((paths.flags[path] as number) & PATH_FLAG.longLived) !== 0;
    table.accept(path, isLong ? this.#stale(accepted) : accepted, state);
  }

  #keepLong(path: number, state: PeerTable): void {
    const { table, store } = this.#context;
    const { paths } = table;
    // RFC 9494 section 4.2: routes with NO_LLGR are removed.
    if (((store.flags[paths.received[path] as number] as number) & RANK_FLAG.noLongLived) !== 0) {
      table.remove(path, state);
      return;
    }
    paths.flags[path] = (paths.flags[path] as number) | PATH_FLAG.longLived;
    const accepted = paths.accepted[path] as number;
    if (accepted === 0) return;
    store.hold(accepted);
    table.accept(path, this.#stale(accepted), state);
  }

  /** The set with LLGR_STALE; takes a reference and gives one. */
  #stale(id: number): number {
    const { store, longLived } = this.#context;
    if (id === 0 || ((store.flags[id] as number) & RANK_FLAG.longLivedStale) !== 0) return id;
    const stale = longLived.apply(id);
    store.release(id);
    return stale;
  }

  #visitNextHop(path: number): void {
    const { table, store } = this.#context;
    const accepted = table.paths.accepted[path] as number;
    if (accepted === 0 || !this.#nextHops.has(store.nextHop[accepted] as number)) return;
    table.paths.flags[path] = (table.paths.flags[path] as number) | PATH_FLAG.changed;
    table.changed.add(table.paths.destination[path] as number);
  }

  /** Slots that came since lie before those that were passed over at the beginning. */
  #grow(end: number): void {
    const more = end - this.#end;
    this.#end = end;
    if (more === 0) return;
    for (const state of this.#active) state.scanLeft += more;
    if (this.#nextHopsLeft > 0) this.#nextHopsLeft += more;
  }

  #pass(steps: number): void {
    for (const state of this.#active) {
      state.scanLeft -= steps;
      if (state.scanLeft > 0 && state.routes > 0) continue;
      if ((state.scan & SCAN.sweep) !== 0) {
        state.hasStale = false;
        this.#context.table.keeping.delete(state);
        this.#context.swept(state);
      }
      state.scan = 0;
      this.#active.delete(state);
    }
    this.#nextHopsLeft = Math.max(0, this.#nextHopsLeft - steps);
    if (this.#nextHopsLeft === 0) this.#nextHops.clear();
  }
}
