/**
 * Pair arbitration: whether two nodes talk directly or through the hub is decided in one place, because WireGuard's allowed IPs
 * are exclusive: a packet is accepted only from the peer that owns its source, so both ends must move at nearly the same time.
 *
 * ```
 *   A ── report B up ──▶ hub ◀── report A up ── B        both hear each other: direct
 *   A ── report B down ▶ hub                             one does not: through the hub
 *   hub ── pair A,B: path, generation ──▶ A and B        each moves the allowed IPs on receipt
 * ```
 * Reports are levels, not edges: a lost one is made good by the full list that a node sends when it connects. A node numbers its
 * reports within a session (one life of its agent), so that late and reordered ones are passed over. What is not known changes
 * nothing: after a restart of the hub or of an agent the published path stays until somebody says up or down.
 */

/** PairPath is how two nodes reach each other. */
export type PairPath = "direct" | "hub";

/** PublishedPair is what the register keeps; `a` sorts before `b`. The generation grows with each change of the path. */
export interface PublishedPair {
  readonly a: string;
  readonly b: string;
  readonly path: PairPath;
  readonly generation: number;
}

/** PairReport says whether `peer` is heard directly. */
export interface PairReport {
  readonly peer: string;
  readonly up: boolean;
  /** Grows with each report of the session. */
  readonly sequence: number;
}

/** ArbiterEvent is what nodes say, and what happens to nodes. */
export type ArbiterEvent =
  /** A node connected and lists what it hears now. */
  | {
      readonly kind: "hello";
      readonly node: string;
      readonly session: string;
      readonly reports: readonly PairReport[];
    }
  | { readonly kind: "report"; readonly node: string; readonly session: string; readonly report: PairReport }
  /** The node was removed, or has a new key: nothing that was said by it or of it holds. */
  | { readonly kind: "reset"; readonly node: string };

/** ArbiterEffect is a change to publish; `remove` when one end is gone. */
export type ArbiterEffect =
  | { readonly kind: "publish"; readonly pair: PublishedPair }
  | { readonly kind: "remove"; readonly a: string; readonly b: string };

interface Heard {
  readonly up: boolean;
  readonly sequence: number;
}

/** Grid is values by two names. Of N nodes it has up to N² values, so a new one shares the rows in which nothing changed. */
type Grid<T> = ReadonlyMap<string, ReadonlyMap<string, T>>;

/** ArbiterState is immutable; a later one shares with the earlier what is the same. */
export interface ArbiterState {
  /** By a, then b. */
  readonly pairs: Grid<PublishedPair>;
  /** By who says it, then of whom. */
  readonly reports: Grid<Heard>;
  /** By node: its agent's present life. */
  readonly sessions: ReadonlyMap<string, string>;
}

/** arbiterFrom makes the state from what was published before. */
export function arbiterFrom(pairs: readonly PublishedPair[]): ArbiterState {
  const grid = new GridChange<PublishedPair>(new Map());
  for (const pair of pairs) grid.set(pair.a, pair.b, pair);
  return { pairs: grid.result, reports: new Map(), sessions: new Map() };
}

/** publishedPairs returns all pairs of a state. */
export function publishedPairs(state: ArbiterState): PublishedPair[] {
  return [...state.pairs.values()].flatMap((row) => [...row.values()]);
}

/** stepArbiter takes one event. Nodes that do not exist are the caller's to keep out. */
export function stepArbiter(
  state: ArbiterState,
  event: ArbiterEvent,
): readonly [ArbiterState, readonly ArbiterEffect[]] {
  switch (event.kind) {
    case "hello":
      return onHello(state, event);
    case "report":
      // Of an earlier life: what it says is past.
      if (state.sessions.get(event.node) !== event.session) return [state, []];
      return onReports(state, event.node, [event.report]);
    case "reset":
      return onReset(state, event.node);
  }
}

function onHello(state: ArbiterState, event: ArbiterEvent & { kind: "hello" }) {
  if (state.sessions.get(event.node) === event.session) return onReports(state, event.node, event.reports);
  const reports = new Map(state.reports);
  reports.delete(event.node);
  const sessions = new Map(state.sessions).set(event.node, event.session);
  return onReports({ ...state, reports, sessions }, event.node, event.reports);
}

function onReports(
  state: ArbiterState,
  node: string,
  list: readonly PairReport[],
): readonly [ArbiterState, readonly ArbiterEffect[]] {
  const reports = new GridChange(state.reports);
  const pairs = new GridChange(state.pairs);
  const effects: ArbiterEffect[] = [];
  for (const { peer, up, sequence } of list) {
    if (peer === node) continue;
    if ((reports.get(node, peer)?.sequence ?? -1) >= sequence) continue;
    reports.set(node, peer, { up, sequence });
    const there = reports.get(peer, node)?.up;
    // One `down` is enough for the hub, only two `up` make a pair direct.
    const path: PairPath | undefined = !up || there === false ? "hub" : there === true ? "direct" : undefined;
    const [a, b] = node < peer ? [node, peer] : [peer, node];
    const before = pairs.get(a, b) ?? { a, b, path: "hub", generation: 0 };
    if (path === undefined || path === before.path) continue;
    const pair: PublishedPair = { a, b, path, generation: before.generation + 1 };
    pairs.set(a, b, pair);
    effects.push({ kind: "publish", pair });
  }
  return [{ ...state, reports: reports.result, pairs: pairs.result }, effects];
}

function onReset(state: ArbiterState, node: string): readonly [ArbiterState, readonly ArbiterEffect[]] {
  const sessions = new Map(state.sessions);
  sessions.delete(node);
  const gone = publishedPairs(state).filter((pair) => pair.a === node || pair.b === node);
  return [
    { pairs: without(state.pairs, node), reports: without(state.reports, node), sessions },
    gone.map(({ a, b }) => ({ kind: "remove", a, b })),
  ];
}

/** without removes a name from both sides of a grid. */
function without<T>(grid: Grid<T>, name: string): Grid<T> {
  const change = new GridChange(grid);
  change.deleteRow(name);
  for (const [row, values] of grid) if (values.has(name)) change.delete(row, name);
  return change.result;
}

/** GridChange makes the successor of a grid: it copies the outer map and each touched row once, and nothing when nothing is set. */
class GridChange<T> {
  /** The grid with all that was set so far. */
  result: Grid<T>;
  #outer: Map<string, ReadonlyMap<string, T>> | undefined;
  readonly #rows = new Map<string, Map<string, T>>();

  constructor(grid: Grid<T>) {
    this.result = grid;
  }

  get(row: string, column: string): T | undefined {
    return this.result.get(row)?.get(column);
  }

  set(row: string, column: string, value: T): void {
    this.#row(row).set(column, value);
  }

  delete(row: string, column: string): void {
    const values = this.#row(row);
    values.delete(column);
    if (values.size === 0) this.deleteRow(row);
  }

  deleteRow(row: string): void {
    if (!this.result.has(row)) return;
    this.#copy().delete(row);
    this.#rows.delete(row);
  }

  #copy(): Map<string, ReadonlyMap<string, T>> {
    this.#outer ??= new Map(this.result);
    this.result = this.#outer;
    return this.#outer;
  }

  #row(row: string): Map<string, T> {
    const known = this.#rows.get(row);
    if (known !== undefined) return known;
    const copy = new Map(this.result.get(row));
    this.#rows.set(row, copy);
    this.#copy().set(row, copy);
    return copy;
  }
}
