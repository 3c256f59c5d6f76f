/**
 * A gateway's routes and associations in its back-end: what each queue is to have, and orders for what it has not. What one route asks for is
 * done in its order (RouteWork), so that an inbound association is in place before the answer leaves that lets the other end use it.
 */
import type { Path } from "../exchange/ours/mod.ts";
import { arrivalOf, encapsulationOf, type KeeperEffect, type ManagedEffect } from "../gateway/keys/mod.ts";
import { type Ip, type Prefix, prefixEqual } from "../net/mod.ts";
import { boottimeMs } from "../sys/mod.ts";
import type { Encapsulation, GatewayOrder } from "../tunnel/gateway/mod.ts";
import type { GatewayBackEnd } from "./back-end.ts";
import { RouteWork } from "./route-work.ts";
import type { Slices } from "./slices.ts";

/** PathEffect is what a keeper of keys asks of the data path. */
export type PathEffect =
  | Exclude<KeeperEffect, { readonly kind: "news" }>
  | Exclude<ManagedEffect, { readonly kind: "store" | "refused" | "mended" | "wanted" }>;

type Install = Extract<PathEffect, { readonly kind: "inbound" | "outbound" }>;

/** ManagedInstall asks for an operator's association. */
export type ManagedInstall = Exclude<Install, { readonly trust: string }>;

/** AssociationFacts are what the data path does not know of an association. */
export interface AssociationFacts {
  readonly route: string;
  readonly algorithm: string;
  readonly bornMs: number;
  readonly gateway?: Ip;
}

/** DataPathRoute is a route as far as packets go. */
export interface DataPathRoute {
  readonly id: string;
  readonly prefixes: readonly Prefix[];
}

/** DataPathParts are what it works with. */
export interface DataPathParts {
  readonly backEnd: GatewayBackEnd;
  /** In which routes and their detours are told; what is asked for their keys does not wait for other routes. */
  readonly slices: Slices;
  /** The queue to whose address an inbound association's packets come. */
  readonly arrivalQueue: (route: string, queue: number) => number;
  /** An operator's association is in place, or was refused. */
  readonly installed: (effect: ManagedInstall, error: Error | undefined) => void;
  /** What a route's packets leave by is another, or nothing any more. */
  readonly used: (route: string) => void;
  /** What a queue refuses of a route, or that it has taken the same since. */
  readonly refused: (route: string, queue: number, reason: string | undefined) => void;
  /** What could not be done for a route. */
  readonly failed: (route: string, error: Error) => void;
}

const within = (list: readonly Prefix[], prefix: Prefix) => list.some((one) => prefixEqual(one, prefix));

/** DataPath remembers what each queue that is up was told. */
export class DataPath {
  /** By `direction queue spi`. */
  readonly associations = new Map<string, AssociationFacts>();
  /** By route, queue and SPI of an inbound association: the queue that has it, whatever carries the route by now. */
  readonly #arrivals = new Map<string, number>();
  /** By queue and route: the SPI of what its packets leave by. */
  readonly #used = new Map<string, number>();
  readonly #parts: DataPathParts;
  readonly #work = new RouteWork();
  /** By queue and route: the prefixes that it was told. */
  readonly #told = new Map<number, Map<string, readonly Prefix[]>>();

  constructor(parts: DataPathParts) {
    this.#parts = parts;
  }

  /** Queues that are up. */
  get up(): ReadonlySet<number> {
    return new Set(this.#told.keys());
  }

  /** came notes that a queue is up and has nothing yet; `went` that it is down and has nothing any more. */
  came(queue: number): void {
    this.#told.set(queue, new Map());
  }

  went(queue: number): void {
    this.#told.delete(queue);
    for (const name of [...this.associations.keys()])
      if (name.split(" ")[1] === `${queue}`) this.associations.delete(name);
    for (const name of [...this.#used.keys()]) if (name.startsWith(`${queue} `)) this.#used.delete(name);
    for (const [name, at] of [...this.#arrivals]) if (at === queue) this.#arrivals.delete(name);
  }

  /** setRoutes tells each queue what has changed of all routes. A prefix is given to a route when the one before has let go of it. */
  setRoutes(routes: ReadonlyMap<string, DataPathRoute>): void {
    const freed: Promise<void>[] = [];
    for (const [queue, told] of this.#told)
      for (const [id, before] of [...told]) {
        const next = routes.get(id)?.prefixes;
        if (next === before) continue;
        const rest = before.filter((prefix) => next !== undefined && within(next, prefix));
        if (next !== undefined && rest.length === before.length) continue;
        if (next === undefined) told.delete(id);
        else told.set(id, rest);
        const order: GatewayOrder =
          next === undefined
            ? { kind: "remove-route", name: id }
            : { kind: "route", route: { name: id, prefixes: rest } };
        freed.push(this.#route(queue, id, order));
      }
    for (const [queue, told] of this.#told)
      for (const [id, { prefixes }] of routes) {
        const before = told.get(id);
        if (before === prefixes) continue;
        told.set(id, prefixes);
        if (
          before !== undefined &&
          before.length === prefixes.length &&
          prefixes.every((one) => within(before, one))
        )
          continue;
        void this.#route(queue, id, { kind: "route", route: { name: id, prefixes } }, freed);
      }
  }

  #route(
    queue: number,
    id: string,
    order: GatewayOrder,
    after: readonly Promise<void>[] = [],
  ): Promise<void> {
    const told = this.#told.get(queue);
    const work = async () => {
      if (after.length > 0) await Promise.all(after);
      const { slices, backEnd } = this.#parts;
      const isTold = await slices.do(async () => {
        if (this.#told.get(queue) !== told) return false;
        await backEnd.obey(queue, order);
        return true;
      });
      if (isTold) this.#parts.refused(id, queue, undefined);
    };
    return this.#work.add(id, work, (error) => {
      // It is told again with the next change, or look.
      if (this.#told.get(queue) === told) {
        told?.delete(id);
        this.#parts.refused(id, queue, error.message);
      }
      this.#parts.failed(id, error);
    });
  }

  /**
   * perform does effects, those of one route in order. Where a negotiated association could not be installed, what follows it of its route is not
   * done; an operator's is not used. One of an operator waits for what was removed before it: it may have the SPI or the key of that, of another
   * route.
   */
  perform(effects: readonly PathEffect[]): void {
    const stopped = new Set<string>();
    const removals: Promise<void>[] = [];
    for (const effect of effects) {
      const { route } = effect;
      const managed = managedOf(effect);
      const after = managed === undefined ? [] : [...removals];
      const work = async () => {
        if (after.length > 0) await Promise.all(after);
        if (stopped.has(route) || (effect.kind === "use" && stopped.has(placeOf(effect)))) return;
        await this.#do(effect);
        if (managed !== undefined) this.#parts.installed(managed, undefined);
      };
      const done = this.#work.add(route, work, (error) => {
        if (managed !== undefined) {
          if (managed.kind === "outbound") stopped.add(placeOf({ route, ...managed.sa }));
          return this.#parts.installed(managed, error);
        }
        if (effect.kind === "inbound" || effect.kind === "outbound") {
          stopped.add(route);
          const { queue, spi } = effect.sa;
          if (this.#told.has(queue))
            this.#parts.refused(route, queue, `its ${effect.kind} SPI ${spi} was refused: ${error.message}`);
        }
        // A queue that is down has nothing to remove, and nothing to send by.
        if (effect.kind !== "remove" && effect.kind !== "send") this.#parts.failed(route, error);
      });
      if (effect.kind === "remove") removals.push(done);
    }
  }

  /** detour has a queue hand a route's packets over to another, after all that the route was given before; resolves to why it could not. */
  async detour(queue: number, route: string, by: number | undefined): Promise<string | undefined> {
    const { slices, backEnd } = this.#parts;
    const told = this.#told.get(queue);
    let failure: string | undefined;
    const work = async () => {
      if (told === undefined || this.#told.get(queue) !== told)
        throw new Error(`queue ${queue} does not run`);
      await backEnd.detour(queue, route, by);
    };
    await this.#work.add(
      route,
      () => slices.do(work),
      ({ message }) => {
        failure = message;
      },
    );
    return failure;
  }

  /** used tells whether packets of a route leave a queue by an association of its own. */
  used(queue: number, route: string): boolean {
    return this.#used.has(`${queue} ${route}`);
  }

  /** settled resolves when all that was asked for is done. */
  settled(): Promise<void> {
    return this.#work.settled();
  }

  /** Nothing that was asked for is to be done. */
  get isSettled(): boolean {
    return this.#work.isSettled;
  }

  async #do(effect: PathEffect): Promise<void> {
    const { backEnd } = this.#parts;
    const { route } = effect;
    switch (effect.kind) {
      case "send": {
        const { queue, from, to, bytes } = effect;
        const order = { kind: "exchange", to: to.ip, toPort: to.port, fromPort: from.port, bytes } as const;
        return backEnd.obey(queue, order);
      }
      case "inbound":
        return this.#inbound(effect);
      case "outbound":
        return this.#outbound(effect);
      case "use":
        return this.#use(effect);
      case "reserve": {
        const { spi, last } = effect;
        return backEnd.obey(effect.queue, { kind: "reserve", route, spi, last });
      }
      case "endpoint": {
        const { queue, spi, path } = effect;
        this.#note(queue, { spi, gateway: path.remote.ip });
        return backEnd.obey(queue, { kind: "endpoint", route, spi, to: path.remote.ip, ...udpOf(path) });
      }
      case "retarget": {
        const { queue, spi, to } = effect;
        await backEnd.obey(queue, { kind: "endpoint", route, spi, to });
        return this.#note(queue, { spi, gateway: to });
      }
      case "remove":
        return effect.direction === "inbound" ? this.#removeInbound(effect) : this.#removeOutbound(effect);
    }
  }

  /** What left by another before leaves by this, and the other is gone. */
  async #use({ route, queue, spi }: Extract<PathEffect, { readonly kind: "use" }>): Promise<void> {
    await this.#parts.backEnd.obey(queue, { kind: "move-outbound", route, spi });
    const place = `${queue} ${route}`;
    const before = this.#used.get(place);
    this.#used.set(place, spi);
    this.#parts.refused(route, queue, undefined);
    this.#parts.used(route);
    if (before !== undefined && before !== spi) this.#forget(`outbound ${queue} ${before}`, route);
  }

  async #removeInbound(effect: Removal): Promise<void> {
    const { route, spi } = effect;
    const arrival = placeOf(effect);
    const at = this.#arrivals.get(arrival);
    // It was never installed, or its queue is down and has nothing any more.
    if (at === undefined) return;
    this.#arrivals.delete(arrival);
    this.#forget(`inbound ${at} ${spi}`, route);
    await this.#parts.backEnd.obey(at, { kind: "remove-inbound", spi });
  }

  async #removeOutbound({ route, queue, spi }: Removal): Promise<void> {
    const place = `${queue} ${route}`;
    if (this.#used.get(place) === spi) {
      this.#used.delete(place);
      this.#parts.used(route);
    }
    this.#forget(`outbound ${queue} ${spi}`, route);
    if (this.#told.has(queue)) await this.#parts.backEnd.obey(queue, { kind: "remove-outbound", route, spi });
  }

  /** Peers choose the SPIs of what goes out, so that those of two routes may be the same. */
  #forget(name: string, route: string): void {
    if (this.associations.get(name)?.route === route) this.associations.delete(name);
  }

  async #inbound(effect: Extract<PathEffect, { readonly kind: "inbound" }>): Promise<void> {
    const { route, sa } = effect;
    const { spi, algorithm, extended } = sa;
    const queue = this.#parts.arrivalQueue(route, sa.queue);
    try {
      await this.#parts.backEnd.obey(queue, {
        kind: "inbound",
        association: {
          ...{ route, spi, algorithm, extended, keyMaterial: sa.keyMaterial.reveal() },
          ...("path" in effect
            ? { endsMs: effect.endsMs, hard: effect.hard, arrival: arrivalOf(effect.path) }
            : {}),
        },
      });
      if (!this.#told.has(queue)) return;
      this.#arrivals.set(placeOf({ route, ...sa }), queue);
      this.associations.set(`inbound ${queue} ${spi}`, { route, algorithm, bornMs: boottimeMs() });
    } finally {
      // An operator's key is given again after a restart of the queue, by who has it.
      sa.keyMaterial[Symbol.dispose]();
    }
  }

  async #outbound(effect: Extract<PathEffect, { readonly kind: "outbound" }>): Promise<void> {
    const { route, sa } = effect;
    const { spi, queue, algorithm, extended } = sa;
    const negotiated = "path" in effect;
    const to = negotiated ? effect.path.remote.ip : effect.to;
    try {
      const common = { route, spi, algorithm, extended, keyMaterial: sa.keyMaterial.reveal(), to };
      await this.#parts.backEnd.obey(queue, {
        kind: "outbound",
        association: negotiated
          ? {
              ...common,
              ...udpOf(effect.path),
              next: 1,
              ...{ endsMs: effect.endsMs, soft: effect.soft, hard: effect.hard },
            }
          : { ...common, next: effect.first, last: effect.last },
      });
      if (!this.#told.has(queue)) return;
      const facts = { route, algorithm, bornMs: boottimeMs(), gateway: to };
      this.associations.set(`outbound ${queue} ${spi}`, facts);
    } finally {
      sa.keyMaterial[Symbol.dispose]();
    }
  }

  #note(queue: number, { spi, gateway }: { readonly spi: number; readonly gateway: Ip }): void {
    const name = `outbound ${queue} ${spi}`;
    const known = this.associations.get(name);
    if (known !== undefined) this.associations.set(name, { ...known, gateway });
  }
}

function placeOf(one: { readonly route: string; readonly queue: number; readonly spi: number }): string {
  return `${one.route} ${one.queue} ${one.spi}`;
}

type Removal = Extract<PathEffect, { readonly kind: "remove" }>;

function managedOf(effect: PathEffect): ManagedInstall | undefined {
  return (effect.kind === "inbound" || effect.kind === "outbound") && !("trust" in effect)
    ? effect
    : undefined;
}

function udpOf(path: Path): { readonly udp?: Encapsulation } {
  const udp = encapsulationOf(path);
  return udp === undefined ? {} : { udp };
}
