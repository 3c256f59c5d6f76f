/** What is known of each route beside its packets: whether its keys are agreed on, what last went wrong, how often keys were changed. */
import { wallMs } from "../sys/mod.ts";

/** MOST_ERROR is the longest text of an error that is kept. */
const MOST_ERROR = 500;

/** RouteNote is what is known of one. */
export interface RouteNote {
  readonly rekeys: number;
  readonly lastError?: string;
  /** Milliseconds since 1970. */
  readonly lastErrorMs?: number;
  /** Why nothing was asked of the keeper, or an operator's association was refused. */
  readonly problem?: string;
  /** By queue: what of the route it has refused, and not taken since. */
  readonly refusals: ReadonlyMap<number, string>;
}

const NOTHING: RouteNote = { rekeys: 0, refusals: new Map() };

/** RouteBook keeps a note for each route. */
export class RouteBook {
  readonly #notes = new Map<string, RouteNote>();

  /** of returns what is known of a route. */
  of(route: string): RouteNote {
    return this.#notes.get(route) ?? NOTHING;
  }

  /** failed notes an error; false if it is the one of before. */
  failed(route: string, text: string): boolean {
    const note = this.of(route);
    const lastError = text.replaceAll(/\p{C}/gu, "?").slice(0, MOST_ERROR);
    this.#notes.set(route, { ...note, lastError, lastErrorMs: wallMs() });
    return note.lastError !== lastError;
  }

  /** problem notes what is in the way of a route, or that nothing is; true if that is new. */
  problem(route: string, problem: string | undefined): boolean {
    const { problem: before, ...note } = this.of(route);
    this.#notes.set(route, { ...note, ...(problem === undefined ? {} : { problem }) });
    return problem !== before;
  }

  /** refused notes why a queue cannot carry a route, or that it can; true if that is new. */
  refused(route: string, queue: number, reason: string | undefined): boolean {
    const note = this.of(route);
    if (note.refusals.get(queue) === reason) return false;
    const refusals = new Map(note.refusals);
    if (reason === undefined) refusals.delete(queue);
    else refusals.set(queue, reason);
    this.#notes.set(route, { ...note, refusals });
    return true;
  }

  /** went forgets what a queue has refused. */
  went(queue: number): void {
    for (const [route, { refusals }] of this.#notes)
      if (refusals.has(queue)) this.refused(route, queue, undefined);
  }

  /** agreed counts new keys. */
  agreed(route: string): void {
    const note = this.of(route);
    this.#notes.set(route, { ...note, rekeys: note.rekeys + 1 });
  }

  /** keep forgets all but these routes. */
  keep(routes: { has(route: string): boolean }): void {
    for (const route of [...this.#notes.keys()]) if (!routes.has(route)) this.#notes.delete(route);
  }
}
