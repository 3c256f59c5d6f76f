/**
 * Packets of a queue that cannot reach a route's peer go by the other queues of the route, until it can: its uplink is down, its next hop or its
 * peer does not answer, or it has no keys yet.
 *
 * ```
 * queue 2: eth3 is cut ─▶ reasonOf(2) ─▶ route tokyo: packets of 2 by 1      (told to the back-end in the route's order of work)
 * ```
 * Where no queue can, all go by their own: nothing is better than that.
 */

/** Detour says by which queue packets of another one go, and why not by their own. */
export interface Detour {
  readonly by: number;
  readonly reason: string;
}

/** NO_DETOURS is where nothing is known, or all is well. */
export const NO_DETOURS: ReadonlyMap<number, Detour> = new Map();

/**
 * planDetours returns the detours of a route by queue. `reasonOf` tells why a queue does not reach the peer; undefined: it does. Queues that do
 * not are spread over those that do.
 */
export function planDetours(
  queues: readonly number[],
  reasonOf: (queue: number) => string | undefined,
): ReadonlyMap<number, Detour> {
  const reasons = queues.map((queue) => [queue, reasonOf(queue)] as const);
  const well = reasons.flatMap(([queue, reason]) => (reason === undefined ? [queue] : []));
  if (well.length === 0 || well.length === queues.length) return NO_DETOURS;
  const away = reasons.filter((one): one is [number, string] => one[1] !== undefined);
  return new Map(
    away.map(([queue, reason], i) => [queue, { by: well[i % well.length] as number, reason }] as const),
  );
}

/** DetoursParts are what it works with. */
export interface DetoursParts {
  /** Has the back-end do it, in turn with the route's other work; resolves to why it could not be. */
  readonly tell: (queue: number, route: string, by: number | undefined) => Promise<string | undefined>;
  /** A queue's packets go another way than before; without a detour by their own queue. */
  readonly changed: (route: string, queue: number, detour: Detour | undefined) => void;
}

/** Detours remembers what each queue was told of each route. */
export class Detours {
  readonly #parts: DetoursParts;
  /** By route, then queue. */
  readonly #told = new Map<string, Map<number, Detour>>();

  constructor(parts: DetoursParts) {
    this.#parts = parts;
  }

  /** of returns a route's detours. */
  of(route: string): ReadonlyMap<number, Detour> {
    return this.#told.get(route) ?? NO_DETOURS;
  }

  /** set has a route's queues take these detours, and no others. */
  set(route: string, detours: ReadonlyMap<number, Detour>): void {
    const told = this.#told.get(route) ?? new Map<number, Detour>();
    for (const [queue, before] of [...told]) {
      if (detours.has(queue)) continue;
      told.delete(queue);
      this.#tell(route, queue, { before, after: undefined });
    }
    for (const [queue, after] of detours) {
      const before = told.get(queue);
      told.set(queue, after);
      if (before?.by !== after.by) this.#tell(route, queue, { before, after });
    }
    if (told.size > 0) this.#told.set(route, told);
    else this.#told.delete(route);
  }

  /** forget notes that a queue, or a route, knows nothing any more. */
  forget(what: { readonly queue: number } | { readonly route: string }): void {
    if ("route" in what) this.#told.delete(what.route);
    else for (const told of this.#told.values()) told.delete(what.queue);
  }

  /** What a queue would not do is tried again with the next change. */
  #tell(
    route: string,
    queue: number,
    { before, after }: { readonly before: Detour | undefined; readonly after: Detour | undefined },
  ): void {
    void this.#parts.tell(queue, route, after?.by).then((failure) => {
      const told = this.#told.get(route);
      if (failure === undefined) return this.#parts.changed(route, queue, after);
      if (after === undefined || told?.get(queue) !== after) return;
      if (before === undefined) told.delete(queue);
      else told.set(queue, before);
    });
  }
}
