/** The associations of an XfrmGateway: how they come, take each other's place, and end. */
import { formatIp, type Ip } from "../../net/mod.ts";
import { NetlinkError, type PolicyId, type SaInfo } from "../../netlink/mod.ts";
import { wallMs } from "../../sys/mod.ts";
import {
  addRefused,
  type Carried,
  type Encapsulation,
  type GatewayNews,
  type InboundOrder,
  NOTHING_REFUSED,
  type OutboundOrder,
} from "../gateway/mod.ts";
import { keyIdOf, UsedKeys } from "../gateway/used-keys.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import { addressOf, type XfrmBook } from "./xfrm-book.ts";
import { nameOf, type XfrmCarrier } from "./xfrm-carrier.ts";
import type { XfrmExchange } from "./xfrm-exchange.ts";
import { type Way, XfrmInbound } from "./xfrm-inbound.ts";
import { type OutboundEnds, XfrmOutbound } from "./xfrm-outbound.ts";
import { type Aim, sameAims, type XfrmRoute } from "./xfrm-route.ts";

/** A displaced association goes on for packets that had chosen it and wait inside the kernel. */
const RETIRE_MS = 500;

/** AssociationsParts are what they work with. */
export interface AssociationsParts {
  readonly kernel: KernelEsp;
  readonly book: XfrmBook;
  readonly exchange: XfrmExchange;
  readonly nowMs: () => number;
  readonly tell: (news: GatewayNews, queue: number) => void;
  /** A route's packets are to be led to another queue's link. */
  readonly led: (route: XfrmRoute) => void;
}

/** XfrmAssociations makes and ends those of the book. */
export class XfrmAssociations {
  readonly #parts: AssociationsParts;
  readonly #book: XfrmBook;
  readonly #keys = new UsedKeys();
  readonly #keysInUse = new Set<string>();
  /**
   * What the kernel did not do, and is asked again: associations that it has still, routes whose packets may leave by another than they should, and
   * policies of shares that no route has any more.
   */
  readonly #leaving = new Set<XfrmInbound | XfrmOutbound>();
  readonly #unaimed = new Set<XfrmRoute>();
  #unshared: readonly PolicyId[] = [];
  /** News of the kernel were lost. */
  #isLost = false;

  constructor(parts: AssociationsParts) {
    this.#parts = parts;
    this.#book = parts.book;
  }

  #ends({ to }: { readonly to: Ip }, queue: number): OutboundEnds {
    const { public: outside, mtuBytes, tfc = false } = this.#book.queue(queue);
    return { from: addressOf(outside, to.family), tfcBytes: tfc ? mtuBytes : 0, nowMs: this.#parts.nowMs() };
  }

  /** checkQueue throws if the associations of a queue cannot be with its addresses. */
  checkQueue(queue: number): void {
    for (const one of this.#outbounds(queue)) one.check(this.#ends(one, queue));
  }

  #outbounds(queue: number): XfrmOutbound[] {
    return [...this.#book.waiting, ...this.#book.active].filter((one) => one.queue === queue);
  }

  /** follow makes associations anew whose ends have changed with their queue. */
  follow(queue: number): void {
    for (const one of this.#outbounds(queue)) {
      const ends = this.#ends(one, queue);
      if (!one.isInstalled || one.hasEnds(ends)) continue;
      one.move(one, ends);
      this.#listen(one);
    }
    for (const route of this.#book.routes.values())
      if (route.queues.has(queue)) {
        this.#aim(route);
        this.#receive(route, queue, [...this.#book.inbound]);
      }
  }

  /** addInbound installs an association that opens; throws if its SPI is taken. */
  addInbound(order: InboundOrder, queue: number): void {
    const { kernel } = this.#parts;
    const route = this.#book.route(order.route, queue);
    for (const one of this.#book.inbound)
      if (one.spi === order.spi)
        throw new Error(`Cannot add inbound association ${order.spi}: its SPI is taken; choose another`);
    const inbound = new XfrmInbound({ kernel, route, queue }, order);
    try {
      const way = this.#way(inbound);
      if (way.udp !== undefined)
        this.#listen({ queue, to: way.to, udp: { from: way.udp.to, to: way.udp.from } });
      inbound.install(way, this.#parts.nowMs());
    } catch (error) {
      inbound[Symbol.dispose]();
      throw error;
    }
    this.#book.inbound.add(inbound);
  }

  /** How packets come: as was said, else as the queue's packets of the route go. */
  #way({ route, queue, arrival }: XfrmInbound): Way {
    const { public: outside } = this.#book.queue(queue);
    if (arrival !== undefined) {
      const to = addressOf(outside, arrival.from.family);
      if (to === undefined)
        throw new Error(
          `Cannot receive from ${formatIp(arrival.from)}: the public side has no IPv${arrival.from.family} address; give it one`,
        );
      return { ...arrival, to };
    }
    const out = this.#book.newestOutbound(route, queue);
    const to = out === undefined ? (outside.four ?? outside.six)?.ip : addressOf(outside, out.to.family);
    if (to === undefined) throw new Error("Cannot receive: the public side has no address; give it one");
    return out === undefined
      ? { to }
      : { from: out.to, to, ...(out.udp !== undefined && { udp: { from: out.udp.to, to: out.udp.from } }) };
  }

  /** Makes inbound associations anew whose packets come another way now. */
  #receive(route: XfrmRoute, queue: number, among: readonly XfrmInbound[]): void {
    for (const one of among)
      if (one.route === route && one.queue === queue) one.install(this.#way(one), this.#parts.nowMs());
  }

  /** removeInbound ends one; nothing if it is not there. */
  removeInbound(spi: number, queue: number): void {
    for (const one of this.#book.inbound) if (one.spi === spi && one.queue === queue) this.#dropInbound(one);
  }

  #dropInbound(inbound: XfrmInbound): void {
    this.#leaving.add(inbound);
    inbound[Symbol.dispose]();
    this.#leaving.delete(inbound);
    this.#book.inbound.delete(inbound);
    this.#carried(inbound, { rxpackets: inbound.packets, rxbytes: inbound.bytes });
    const { route, queue } = inbound;
    route.refused.set(queue, addRefused(route.refused.get(queue) ?? NOTHING_REFUSED, inbound));
  }

  #carried({ route, queue }: XfrmCarrier, more: Partial<Carried>): void {
    for (const { carried } of [route, this.#book]) {
      const { txpackets = 0, txbytes = 0, rxpackets = 0, rxbytes = 0 } = carried.get(queue) ?? {};
      carried.set(queue, {
        txpackets: txpackets + (more.txpackets ?? 0),
        txbytes: txbytes + (more.txbytes ?? 0),
        rxpackets: rxpackets + (more.rxpackets ?? 0),
        rxbytes: rxbytes + (more.rxbytes ?? 0),
      });
    }
  }

  /** addOutbound installs an association that waits. Throws for a key that was used beyond its next sequence number. */
  addOutbound(order: OutboundOrder, queue: number): void {
    const { kernel } = this.#parts;
    const route = this.#book.route(order.route, queue);
    const cannot = (why: string) => {
      throw new Error(`Cannot add outbound association ${order.spi} of ${order.route}: ${why}`);
    };
    const keyId = keyIdOf(order.keyMaterial);
    for (const one of this.#book.retired.keys())
      if (one.keyId === keyId || one.spi === order.spi) this.#dropOutbound(one);
    if (this.#keysInUse.has(keyId)) cannot("its key is in use; agree on a new key");
    const least = this.#keys.next(keyId);
    if (order.next < least) cannot(`its key was used up to sequence number ${least - 1}; agree on a new key`);
    const outbound = new XfrmOutbound({ kernel, route, queue, keyId }, order);
    const displaced = [...this.#book.waiting].filter(
      (one) => one.route === route && one.queue === queue && one.spi === order.spi,
    );
    try {
      outbound.check(this.#ends(order, queue));
      this.#listen(outbound);
      for (const one of displaced) this.#dropOutbound(one);
      outbound.install(this.#ends(order, queue));
    } catch (error) {
      outbound[Symbol.dispose]();
      throw error;
    }
    this.#book.waiting.add(outbound);
    this.#keysInUse.add(keyId);
    // What nobody has sent under yet comes as the new one goes.
    this.#receive(
      route,
      queue,
      [...this.#book.inbound].filter(({ heardMs }) => heardMs === undefined),
    );
  }

  /** The kernel opens ESP in UDP only where a socket says so. */
  #listen({ queue, to, udp }: { queue: number; to: Ip; udp: Encapsulation | undefined }): void {
    const own = addressOf(this.#book.queue(queue).public, to.family);
    if (udp !== undefined && own !== undefined) this.#parts.exchange.encapsulate(queue, own, udp.from);
  }

  /** move makes a waiting association the one that its queue's packets leave by; the one before ends when it is idle. */
  move(next: XfrmOutbound): void {
    const { route, queue } = next;
    if (this.#book.active.has(next)) return;
    const before = this.#book.used(route, queue);
    this.#book.waiting.delete(next);
    this.#book.active.add(next);
    if (before !== undefined) this.#book.active.delete(before);
    try {
      this.#aim(route);
    } catch (error) {
      this.#book.active.delete(next);
      this.#book.waiting.add(next);
      if (before !== undefined) this.#book.active.add(before);
      this.#aim(route);
      throw error;
    }
    if (before !== undefined) this.#book.retired.set(before, this.#parts.nowMs() + RETIRE_MS);
  }

  /** detour has a queue's part of a route's packets leave by another queue; without one by its own again. What the kernel refuses of it now comes with a tick. */
  detour(route: XfrmRoute, queue: number, by: number | undefined): void {
    if (by === undefined) route.detours.delete(queue);
    else route.detours.set(queue, by);
    try {
      this.#aim(route);
    } catch (error) {
      // Who asked does not ask again: one that was taken back would come between those that follow.
      if (!(error instanceof NetlinkError)) throw error;
    }
  }

  /** Each queue's part leaves by its own association, or that of the queue that it goes by; where that has none, by the first that is there, of queues that go by themselves before others. */
  #aims(route: XfrmRoute): Aim[] {
    const active = new Map(
      [...this.#book.active].flatMap(({ route: of, queue, isInstalled, from, to, spi }) =>
        of === route && isInstalled && from !== undefined ? [[queue, { queue, from, to, spi }]] : [],
      ),
    );
    const queues = [...route.queues].sort((a, b) => a - b);
    const isAway = (queue: number) => Number(route.detours.has(queue));
    const first = queues
      .toSorted((a, b) => isAway(a) - isAway(b))
      .map((queue) => active.get(queue))
      .find((aim) => aim !== undefined);
    if (first === undefined) return [];
    return queues.map((queue) => active.get(route.detours.get(queue) ?? queue) ?? first);
  }

  /** Lets a route's packets leave by the associations of its queues, or not at all where there is none. */
  #aim(route: XfrmRoute): void {
    const aims = this.#aims(route);
    const isUnsure = this.#unaimed.has(route);
    if (sameAims(aims, route.aims) && !isUnsure) return;
    const { prefixes, aims: before } = route;
    const known = isUnsure ? undefined : before;
    route.aims = aims;
    route.mayHaveShares ||= route.isShared;
    try {
      this.#parts.kernel.setPolicies(route.outward(prefixes, known));
      this.#parts.kernel.removePolicies(route.idleShares(known));
      route.mayHaveShares = route.isShared;
      this.#unaimed.delete(route);
    } catch (error) {
      route.aims = before;
      this.#unaimed.add(route);
      throw error;
    }
    const { queue: leader = route.leader } = aims[0] ?? {};
    if (leader === route.leader) return;
    route.leader = leader;
    this.#parts.led(route);
  }

  /** unshare removes policies of shares that no route has any more; what the kernel does not remove now is removed later, and the first reason is thrown. */
  unshare(shares: readonly PolicyId[] = []): void {
    this.#unshared = [...this.#unshared, ...shares];
    if (this.#unshared.length === 0) return;
    this.#parts.kernel.removePolicies(this.#unshared);
    this.#unshared = [];
  }

  /** removeOutbound ends one, in use or waiting; nothing if it is not there. */
  removeOutbound(route: XfrmRoute, queue: number, spi: number): void {
    for (const one of this.#book.outboundOf(route, queue)) if (one.spi === spi) this.#dropOutbound(one);
  }

  #dropOutbound(outbound: XfrmOutbound): void {
    this.#leaving.add(outbound);
    this.#book.waiting.delete(outbound);
    // No packet chooses it any more when it ends.
    if (this.#book.active.delete(outbound)) this.#aim(outbound.route);
    outbound[Symbol.dispose]();
    this.#leaving.delete(outbound);
    this.#book.retired.delete(outbound);
    this.#keys.note(outbound.keyId, outbound.next);
    this.#keysInUse.delete(outbound.keyId);
    this.#carried(outbound, { txpackets: outbound.packets, txbytes: outbound.bytes });
  }

  /** has tells whether associations of a route are there, also those that the kernel has not ended yet. */
  has(route: XfrmRoute): boolean {
    return [...this.#all(), ...this.#leaving].some((one) => one.route === route);
  }

  /** removeAll ends a queue's associations of a route, with its last queue its shares; what the kernel does not end now is ended later, and the first reason is thrown. */
  removeAll(route: XfrmRoute, queue: number): void {
    const those = (one: XfrmCarrier) => one.route === route && one.queue === queue;
    const work = new EachWork();
    for (const one of this.#all()) if (those(one)) work.do(() => this.#drop(one));
    // Those that are there still, since its packets could not be stopped.
    if (route.queues.size === 1) work.do(() => this.unshare(route.shares()));
    work.finish();
  }

  #all(): (XfrmInbound | XfrmOutbound)[] {
    const { inbound, active, waiting, retired } = this.#book;
    return [...waiting, ...active, ...retired.keys(), ...inbound];
  }

  #drop(one: XfrmInbound | XfrmOutbound): void {
    if (one instanceof XfrmInbound) this.#dropInbound(one);
    else this.#dropOutbound(one);
  }

  /** reserve allows sequence numbers up to `last`. */
  reserve(outbound: XfrmOutbound, last: number): void {
    outbound.reserve(last, this.#ends(outbound, outbound.queue));
    if (this.#book.active.has(outbound)) this.#aim(outbound.route);
  }

  /** retarget lets an association go to where its remote gateway is now, and those that open hear it from there. */
  retarget(outbound: XfrmOutbound, where: { readonly to: Ip; readonly udp?: Encapsulation }): void {
    const { route, queue } = outbound;
    const { to, udp } = where;
    const ends = this.#ends(where, queue);
    this.#listen({ queue, to, udp });
    outbound.move({ to, udp }, ends);
    if (this.#book.active.has(outbound)) this.#aim(route);
    if (this.#book.newestOutbound(route, queue) !== outbound) return;
    for (const one of this.#book.inbound)
      if (one.route === route && one.queue === queue) one.arrival = undefined;
    this.#receive(route, queue, [...this.#book.inbound]);
  }

  /** expired takes the kernel's news of a limit. */
  expired(sa: SaInfo, hard: boolean): void {
    const one = this.#book.of(sa);
    if (one === undefined) return;
    const { queue, spi } = one;
    const route = one.route.name;
    if (one instanceof XfrmInbound) {
      for (const limit of one.expired(sa, hard))
        this.#parts.tell({ kind: "limit", direction: "inbound", route, spi, limit }, queue);
      return;
    }
    for (const limit of one.expired(sa, hard))
      this.#parts.tell({ kind: "limit", direction: "outbound", route, spi, limit }, queue);
    if (!hard) one.renew(this.#ends(one, queue));
    if (this.#book.active.has(one)) this.#aim(one.route);
  }

  /** tick does what is due, and looks for first packets. What cannot be is tried again with the next, and the first reason is thrown. */
  tick(): void {
    const nowMs = this.#parts.nowMs();
    const work = new EachWork();
    if (this.#isLost) work.do(() => this.#lookAgain());
    for (const one of [...this.#leaving]) work.do(() => this.#drop(one));
    work.do(() => this.unshare());
    for (const route of [...this.#unaimed])
      if (this.#book.routes.get(route.name) === route) work.do(() => this.#aim(route));
      else this.#unaimed.delete(route);
    for (const [one, atMs] of [...this.#book.retired])
      if (nowMs >= atMs) work.do(() => this.#dropOutbound(one));
    for (const one of [...this.#book.inbound, ...this.#book.active, ...this.#book.waiting])
      if (nowMs >= one.endsMs && one.isInstalled) work.do(() => this.#end(one));
    for (const one of this.#book.inbound)
      if (one.heardMs === undefined && one.isInstalled)
        work.do(() => one.look() !== undefined && this.#heard(one, nowMs));
    work.finish();
  }

  #end(one: XfrmInbound | XfrmOutbound): void {
    one.end();
    if (one instanceof XfrmOutbound) this.#aim(one.route);
  }

  #heard(inbound: XfrmInbound, nowMs: number): void {
    if (inbound.packets === 0) return;
    inbound.heardMs = nowMs;
    const { route, queue, spi } = inbound;
    this.#parts.tell({ kind: "heard", route: route.name, spi }, queue);
  }

  /** count takes what the kernel counts now, by one question. */
  count(): void {
    const nowMs = this.#parts.nowMs();
    const { inbound, active, waiting, retired } = this.#book;
    const all = new Map<string, XfrmInbound | XfrmOutbound>();
    for (const one of [...inbound, ...active, ...waiting, ...retired.keys()])
      if (one.name !== undefined) all.set(one.name, one);
    for (const sa of this.#parts.kernel.sas()) {
      const one = all.get(nameOf(sa));
      one?.count(sa);
      if (!(one instanceof XfrmInbound)) continue;
      if (one.heardMs === undefined) this.#heard(one, nowMs);
      // The kernel's moment is a second of the wall clock.
      else if (sa.lastUsedSeconds !== undefined)
        one.heardMs = Math.max(
          one.heardMs,
          nowMs - Math.max(0, wallMs() - Number(sa.lastUsedSeconds) * 1000),
        );
    }
  }

  /** lost notes that the kernel's news were: what is not there any more has come to its end. */
  lost(): void {
    this.#isLost = true;
  }

  #lookAgain(): void {
    for (const one of this.#all()) {
      if (!one.isInstalled || one.look() !== undefined) continue;
      one.vanished();
      const direction = one instanceof XfrmInbound ? "inbound" : "outbound";
      this.#parts.tell(
        { kind: "limit", direction, route: one.route.name, spi: one.spi, limit: "hard" },
        one.queue,
      );
      if (one instanceof XfrmOutbound) this.#aim(one.route);
    }
    this.#isLost = false;
  }
}

/** Does one thing after another, whatever goes wrong in one. */
class EachWork {
  #first: { readonly error: unknown } | undefined;

  do(work: () => unknown): void {
    try {
      work();
    } catch (error) {
      this.#first ??= { error };
    }
  }

  /** finish throws what went wrong first. */
  finish(): void {
    if (this.#first !== undefined) throw this.#first.error;
  }
}
