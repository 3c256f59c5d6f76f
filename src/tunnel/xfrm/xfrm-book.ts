/** What a gateway has in the kernel: its queues, routes and associations, as orders and the kernel's news find them. */
import { formatPrefix, type Ip, prefixContains, prefixEqual } from "../../net/mod.ts";
import type { SaId } from "../../netlink/mod.ts";
import type { Carried, ExchangePorts, RouteOrder, SideConfiguration } from "../gateway/mod.ts";
import type { XfrmInbound } from "./xfrm-inbound.ts";
import type { XfrmOutbound } from "./xfrm-outbound.ts";
import type { XfrmRoute } from "./xfrm-route.ts";

/** XfrmQueue is one queue: its addresses, and how long its packets are. */
export interface XfrmQueue {
  readonly private: SideConfiguration;
  readonly public: SideConfiguration;
  /** The public side's link; and that of IPv6, where it is another. */
  readonly linkIndex: number;
  readonly linkIndex6?: number;
  readonly mtuBytes: number;
  /** Whether all packets are padded to the MTU; default false. */
  readonly tfc?: boolean;
  readonly ports?: ExchangePorts;
}

/** XfrmBook holds them; it asks nothing of the kernel. */
export class XfrmBook {
  readonly #isApart: boolean;
  readonly queues = new Map<number, XfrmQueue>();
  readonly routes = new Map<string, XfrmRoute>();
  /** By name: why the last order for a route was refused. */
  readonly refused = new Map<string, Error>();
  readonly inbound = new Set<XfrmInbound>();
  readonly waiting = new Set<XfrmOutbound>();
  /** In use by their queue. */
  readonly active = new Set<XfrmOutbound>();
  /** Displaced, for packets that are under way. */
  readonly retired = new Map<XfrmOutbound, number>();
  /** Carried by associations that are gone, by queue; those of routes that are gone too. */
  readonly carried = new Map<number, Carried>();

  /** `isApart`: packets come by an interface of their own, and none of the gateway's own ever meets its policies. */
  constructor(isApart = false) {
    this.#isApart = isApart;
  }

  /** queue returns a queue that is attached. */
  queue(number: number): XfrmQueue {
    const queue = this.queues.get(number);
    if (queue === undefined) throw new Error(`There is no queue ${number}; attach it first`);
    return queue;
  }

  /** route returns a route of a queue; where that was refused, it throws with that reason. */
  route(name: string, queue: number): XfrmRoute {
    const route = this.routes.get(name);
    if (route?.queues.has(queue) === true) return route;
    throw this.refused.get(name) ?? new Error(`There is no route ${name}; add it before its associations`);
  }

  /** outboundOf returns a queue's associations of a route, waiting before in use. */
  outboundOf(route: XfrmRoute, queue: number): XfrmOutbound[] {
    return [...this.waiting, ...this.active].filter((one) => one.route === route && one.queue === queue);
  }

  /** outbound returns one; throws if there is none. */
  outbound(name: string, queue: number, spi: number): XfrmOutbound {
    const found = this.outboundOf(this.route(name, queue), queue).find((one) => one.spi === spi);
    if (found === undefined) throw new Error(`There is no outbound association ${spi} of ${name}`);
    return found;
  }

  /** newestOutbound returns the last that was added of a queue's associations of a route. */
  newestOutbound(route: XfrmRoute, queue: number): XfrmOutbound | undefined {
    const those = (one: XfrmOutbound) => one.route === route && one.queue === queue;
    return [...this.waiting].filter(those).at(-1) ?? [...this.active].find(those);
  }

  /** used returns the association that a queue's packets of a route leave by. */
  used(route: XfrmRoute, queue: number): XfrmOutbound | undefined {
    return [...this.active].find((one) => one.route === route && one.queue === queue);
  }

  /** of returns whose association the kernel speaks of. */
  of(sa: SaId): XfrmInbound | XfrmOutbound | undefined {
    for (const set of [this.inbound, this.active, this.waiting, this.retired.keys()])
      for (const one of set) if (one.is(sa)) return one;
    return undefined;
  }

  /** checkRoute throws for prefixes that cannot be this route's. */
  checkRoute({ name, prefixes }: RouteOrder): void {
    for (const prefix of prefixes) {
      for (const other of this.routes.values())
        if (other.name !== name && other.prefixes.some((one) => prefixEqual(one, prefix)))
          throw new Error(
            `Cannot route ${formatPrefix(prefix)} by ${name}: ${other.name} has it; a prefix has one route`,
          );
      for (const queue of this.queues.values()) {
        if (!this.#isApart && ownAddresses(queue).some((own) => prefixContains(prefix, own)))
          throw new Error(
            `Cannot route ${formatPrefix(prefix)} by ${name}: it has addresses of the gateway or its neighbours, and the kernel's policies know no sides; give narrower prefixes, or carry packets in user space`,
          );
      }
    }
  }
}

/** The gateway's own addresses and its neighbours'. */
function ownAddresses({ private: inside, public: outside }: XfrmQueue): Ip[] {
  return [inside.four, inside.six, outside.four, outside.six].flatMap((side) =>
    side === undefined ? [] : [side.ip, side.nextHop],
  );
}

/** addressOf returns a side's address of a family. */
export function addressOf(side: SideConfiguration, family: 4 | 6): Ip | undefined {
  return (family === 4 ? side.four : side.six)?.ip;
}
