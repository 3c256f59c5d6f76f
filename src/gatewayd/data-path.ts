/**
 * A gateway's routes and associations in its back-end: what each queue is to have, and orders for what it has not. What one route asks for is
 * done in its order (RouteWork), so that an inbound association is in place before the answer leaves that lets the other end use it.
 */
import type { KeeperEffect, ManagedEffect } from "../gateway/keys/mod.ts";
import { type Endpoint, type Ip, type Prefix, prefixEqual } from "../net/mod.ts";
import { boottimeMs } from "../sys/mod.ts";
import type { Encapsulation, GatewayOrder } from "../tunnel/gateway/mod.ts";
import type { GatewayBackEnd } from "./back-end.ts";
import { ENCAPSULATION_PORT } from "./queue-plan.ts";
import { RouteWork } from "./route-work.ts";

/** PathEffect is what a keeper of keys asks of the data path. */
export type PathEffect =
  | Exclude<KeeperEffect, { readonly kind: "news" }>
  | Exclude<ManagedEffect, { readonly kind: "store" | "refused" }>;

/** AssociationFacts are what the data path does not know of an association. */
export interface AssociationFacts {
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
  /** The queue to whose address an inbound association's packets come. */
  readonly arrivalQueue: (route: string, queue: number) => number;
  /** Where an operator's association goes. */
  readonly gatewayOf: (route: string, queue: number) => Ip | undefined;
  /** What could not be done for a route. */
  readonly failed: (route: string, error: Error) => void;
}

const within = (list: readonly Prefix[], prefix: Prefix) => list.some((one) => prefixEqual(one, prefix));

/** DataPath remembers what each queue that is up was told. */
export class DataPath {
  readonly associations = new Map<string, AssociationFacts>();
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
      if (this.#told.get(queue) === told) await this.#parts.backEnd.obey(queue, order);
    };
    return this.#work.add(id, work, (error) => {
      // It is told again with the next change.
      if (this.#told.get(queue) === told) told?.delete(id);
      this.#parts.failed(id, error);
    });
  }

  /** perform does effects, those of one route in order. Where an association could not be installed, what follows it is not done. */
  perform(effects: readonly PathEffect[]): void {
    const stopped = new Set<string>();
    for (const effect of effects) {
      const { route } = effect;
      const work = () => (stopped.has(route) ? Promise.resolve() : this.#do(effect));
      void this.#work.add(route, work, (error) => {
        if (effect.kind === "inbound" || effect.kind === "outbound") stopped.add(route);
        // A queue that is down has nothing to remove, and nothing to send by.
        if (effect.kind !== "remove" && effect.kind !== "send") this.#parts.failed(route, error);
      });
    }
  }

  /** settled resolves when all that was asked for is done. */
  settled(): Promise<void> {
    return this.#work.settled();
  }

  async #do(effect: PathEffect): Promise<void> {
    const { backEnd, arrivalQueue } = this.#parts;
    const { route } = effect;
    switch (effect.kind) {
      case "send": {
        const { queue, from, to, bytes } = effect;
        const order = { kind: "exchange", to: to.ip, toPort: to.port, fromPort: from.port, bytes } as const;
        return backEnd.obey(queue, order);
      }
      case "inbound":
        return this.#inbound(effect, arrivalQueue(route, effect.sa.queue));
      case "outbound":
        return this.#outbound(effect);
      case "use":
        return backEnd.obey(effect.queue, { kind: "move-outbound", route, spi: effect.spi });
      case "reserve": {
        const { spi, last } = effect;
        return backEnd.obey(effect.queue, { kind: "reserve", route, spi, last });
      }
      case "endpoint": {
        const { queue, spi, path } = effect;
        this.#note("outbound", queue, { spi, gateway: path.remote.ip });
        return backEnd.obey(queue, { kind: "endpoint", route, spi, to: path.remote.ip, ...udpOf(path) });
      }
      case "remove": {
        const { direction, spi } = effect;
        const queue = direction === "inbound" ? arrivalQueue(route, effect.queue) : effect.queue;
        this.associations.delete(`${direction} ${queue} ${spi}`);
        if (!this.#told.has(queue)) return;
        const order: GatewayOrder =
          direction === "inbound" ? { kind: "remove-inbound", spi } : { kind: "remove-outbound", route, spi };
        return backEnd.obey(queue, order);
      }
    }
  }

  async #inbound(effect: Extract<PathEffect, { readonly kind: "inbound" }>, queue: number): Promise<void> {
    const { route, sa } = effect;
    const { spi, algorithm, extended } = sa;
    try {
      await this.#parts.backEnd.obey(queue, {
        kind: "inbound",
        association: {
          ...{ route, spi, algorithm, extended, keyMaterial: sa.keyMaterial.reveal() },
          ...("endsMs" in effect ? { endsMs: effect.endsMs, hard: effect.hard } : {}),
        },
      });
      this.associations.set(`inbound ${queue} ${spi}`, { algorithm, bornMs: boottimeMs() });
    } finally {
      // An operator's key is given again after a restart of the queue, by who has it.
      sa.keyMaterial[Symbol.dispose]();
    }
  }

  async #outbound(effect: Extract<PathEffect, { readonly kind: "outbound" }>): Promise<void> {
    const { route, sa } = effect;
    const { spi, queue, algorithm, extended } = sa;
    const negotiated = "path" in effect;
    const to = negotiated ? effect.path.remote.ip : this.#parts.gatewayOf(route, queue);
    try {
      if (to === undefined)
        throw new Error(
          `queue ${queue} has no gateway of the route; give one with this queue, or another queue`,
        );
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
      this.associations.set(`outbound ${queue} ${spi}`, { algorithm, bornMs: boottimeMs(), gateway: to });
    } finally {
      sa.keyMaterial[Symbol.dispose]();
    }
  }

  #note(
    direction: string,
    queue: number,
    { spi, gateway }: { readonly spi: number; readonly gateway: Ip },
  ): void {
    const name = `${direction} ${queue} ${spi}`;
    const known = this.associations.get(name);
    if (known !== undefined) this.associations.set(name, { ...known, gateway });
  }
}

/** ESP goes in UDP where the exchange speaks from the port of the encapsulation. */
function udpOf({ local, remote }: { readonly local: Endpoint; readonly remote: Endpoint }): {
  readonly udp?: Encapsulation;
} {
  return local.port === ENCAPSULATION_PORT ? { udp: { from: local.port, to: remote.port } } : {};
}
