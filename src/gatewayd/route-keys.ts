/**
 * What the keeper of keys is told of routes. A thousand that come at once keep nobody waiting: they are told in slices, between which messages of
 * peers and timers have their turn.
 */
import { type KeyRoute, planKeyRoute } from "../gateway/keys/mod.ts";
import type { GatewayModel } from "../gateway/mod.ts";
import type { PrivateKey } from "../net/mod.ts";
import type { Keys } from "./keys.ts";
import type { Slices } from "./slices.ts";

/** RouteKeysParts are what it works with. */
export interface RouteKeysParts {
  readonly slices: Slices;
  readonly keys: Pick<Keys, "change">;
  readonly model: () => GatewayModel;
  readonly privateKey: () => PrivateKey;
  /** Queues whose public next hop is known. */
  readonly reaching: ReadonlySet<number>;
  /** Why an operator's association of a route must not be used. */
  readonly refusalOf: (route: string) => string | undefined;
  /** What is in the way of a route, or that nothing is. */
  readonly problem: (route: string, problem: string | undefined) => void;
  /** The keeper has been told of these. */
  readonly told: (routes: readonly string[]) => void;
}

/** RouteKeys tells it, until it is disposed. */
export class RouteKeys implements Disposable {
  readonly #parts: RouteKeysParts;
  readonly #waiting = new Set<string>();
  #work: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: RouteKeysParts) {
    this.#parts = parts;
  }

  /** plan tells of routes that may be another than they were, or have other queues: at once of those that cannot work, of others one after the other. */
  plan(routes: readonly string[]): void {
    const { model, problem, told } = this.#parts;
    // Numbers of what was negotiated are free before an operator's are installed.
    if (model().dataPlane) return this.planNow(routes);
    const blocked: string[] = [];
    for (const id of routes) {
      const planned = this.#planned(id);
      if (planned === undefined) continue;
      problem(id, typeof planned === "string" ? planned : undefined);
      if (typeof planned === "string") {
        this.#waiting.delete(id);
        blocked.push(id);
      } else this.#waiting.add(id);
    }
    this.change([], blocked);
    told(blocked);
    if (this.#waiting.size > 0) this.#work ??= this.#inSlices();
  }

  /** planNow tells of routes at once, all together; those that wait too. */
  planNow(routes: Iterable<string>): void {
    const ids = new Set([...this.#waiting, ...routes]);
    this.#waiting.clear();
    const { model, problem, refusalOf, told } = this.#parts;
    const put: KeyRoute[] = [];
    const remove: string[] = [];
    for (const id of ids) {
      const route = model().routes.get(id);
      if (route === undefined) continue;
      const planned = this.#planned(id);
      if (typeof planned === "object") put.push(planned);
      else remove.push(id);
      const obstacle = model().dataPlane ? (route.unusable ?? refusalOf(id)) : undefined;
      problem(id, typeof planned === "string" ? planned : obstacle);
    }
    this.change(put, remove);
    told([...ids]);
  }

  /** change puts routes and removes others; what the keeper has against one is that route's problem. */
  change(put: readonly KeyRoute[], remove: readonly string[]): void {
    try {
      this.#parts.keys.change(put, remove);
    } catch (error) {
      if (put.length > 1) {
        this.change([], remove);
        for (const route of put) this.change([route], []);
        return;
      }
      for (const { id } of put) {
        this.#parts.problem(id, (error as Error).message);
        this.change([], [id]);
      }
    }
  }

  /** settled resolves when the keeper has been told of all. */
  async settled(): Promise<void> {
    while (this.#work !== undefined) await this.#work;
  }

  get isSettled(): boolean {
    return this.#work === undefined;
  }

  async #inSlices(): Promise<void> {
    // What waits for another of them to change, such as a number that goes from one to the other.
    const again: string[] = [];
    while (this.#waiting.size > 0)
      await this.#parts.slices.do(() => {
        const [id] = this.#waiting;
        if (id === undefined) return;
        this.#waiting.delete(id);
        if (!this.#one(id)) again.push(id);
      });
    this.#work = undefined;
    if (!this.#isClosed && again.length > 0) this.planNow(again);
  }

  /** Tells of one route; false where the keeper refuses that for now. */
  #one(id: string): boolean {
    const { model, keys, problem, told } = this.#parts;
    if (!model().routes.has(id)) return true;
    const planned = this.#planned(id);
    try {
      if (typeof planned === "object") keys.change([planned], []);
      else keys.change([], [id]);
    } catch {
      return false;
    }
    problem(id, typeof planned === "string" ? planned : undefined);
    told([id]);
    return true;
  }

  /** Undefined: there is nothing to negotiate; a string is why it cannot be. */
  #planned(id: string): KeyRoute | string | undefined {
    const { model, privateKey, reaching } = this.#parts;
    const route = model().routes.get(id);
    if (route === undefined || model().dataPlane) return undefined;
    return planKeyRoute(route, model(), { privateKey, up: reaching });
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#waiting.clear();
  }
}
