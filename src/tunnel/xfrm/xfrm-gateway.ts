/**
 * XfrmGateway: a site gateway's packets carried by the kernel's ESP, by the orders that the data path in user space has.
 *
 * The kernel knows no sides, only addresses: what has a route's prefix as destination goes into the tunnel from wherever it came, and what has
 * one as source must have come out of it.
 *
 * Nothing for a route's prefixes leaves in the plain, also while the gateway is down, restarts or has lost its interfaces: see XfrmGuard.
 */
import { formatIp, ipEqual, type Prefix } from "../../net/mod.ts";
import { NetlinkError, probeEsp, type RouteChange } from "../../netlink/mod.ts";
import { boottimeMs, every, type Netns, soon } from "../../sys/mod.ts";
import type { GatewayNews, GatewayOrder, GatewayReport, RouteOrder } from "../gateway/mod.ts";
import { KernelEsp } from "./kernel-esp.ts";
import { XfrmAssociations } from "./xfrm-associations.ts";
import { addressOf, XfrmBook, type XfrmQueue } from "./xfrm-book.ts";
import { XfrmExchange } from "./xfrm-exchange.ts";
import { XfrmGuard } from "./xfrm-guard.ts";
import { lackingRoutes, leftoverRoutes, leftoverSas, XfrmMarks } from "./xfrm-marks.ts";
import { reportOf, XfrmStatistics } from "./xfrm-report.ts";
import { type RouteBed, XfrmRoute } from "./xfrm-route.ts";

/** How often the kernel is asked for what it does not tell: first packets, and moments that have come. */
const TICK_MS = 100;
/** What the kernel says of a route by a link that is down or gone. */
const DOWN = ["ENETDOWN", "ENODEV"];

/** XfrmGatewayOptions say where it is. */
export interface XfrmGatewayOptions {
  readonly netns?: Netns;
  /** 0 to 255: several gateways of one namespace keep apart by it. Default 0. */
  readonly instance?: number;
  /** What it carries comes by, and goes to, the XFRM interface with this `if_id` alone, wherever that is; default: the namespace's own routes. */
  readonly ifId?: number;
  /** Hears news, in a turn of its own: it may give orders. */
  readonly tell: (news: GatewayNews, queue: number) => void;
  /** Hears what went wrong in work that nobody waits for; `problem` says whether it does still. */
  readonly failed: (error: Error) => void;
  /** Milliseconds of the clock that orders have moments of; default `boottimeMs`. */
  readonly nowMs?: () => number;
}

/** XfrmGateway owns what it has in the kernel. Disposing removes it, but for what blocks its prefixes, which the next one takes over; `end` all. */
export class XfrmGateway implements Disposable {
  readonly #tell: XfrmGatewayOptions["tell"];
  readonly #failed: XfrmGatewayOptions["failed"];
  readonly #kernel: KernelEsp;
  readonly #marks: XfrmMarks;
  readonly #book: XfrmBook;
  readonly #exchange: XfrmExchange;
  readonly #associations: XfrmAssociations;
  readonly #guard: XfrmGuard;
  readonly #statistics: XfrmStatistics;
  readonly #timer: Disposable;
  readonly #news: [GatewayNews, number][] = [];
  /** Routes that are gone, but for their numbers. */
  readonly #leaving = new Set<XfrmRoute>();
  #telling: Disposable | undefined;
  #problem: string | undefined;

  /**
   * What a gateway of the same instance left in the namespace is removed, and its prefixes stay blocked until `protect` says which there are.
   * Throws where the kernel has no ESP.
   */
  constructor(options: XfrmGatewayOptions) {
    const { netns, instance = 0, ifId, nowMs = boottimeMs } = options;
    const where = netns === undefined ? {} : { netns };
    const ability = probeEsp({ algorithm: "aes-128-gcm", outer: 4, ...where });
    if (ability.answer !== "yes")
      throw new Error("The kernel has no ESP here; load its module esp4, or carry packets in user space", {
        cause: ability.cause,
      });
    this.#book = new XfrmBook(ifId !== undefined);
    this.#tell = options.tell;
    this.#failed = options.failed;
    this.#marks = new XfrmMarks(instance);
    const kernel = new KernelEsp({
      ...where,
      ifId,
      onExpire: (sa, hard) => void this.#attempt(() => this.#associations.expired(sa, hard)),
      onLoss: () => this.#associations.lost(),
    });
    this.#kernel = kernel;
    const tell = (news: GatewayNews, queue: number) => this.#note(news, queue);
    this.#exchange = new XfrmExchange({ ...where, nowMs, tell });
    this.#associations = new XfrmAssociations({
      kernel,
      book: this.#book,
      nowMs,
      exchange: this.#exchange,
      tell,
      led: (route) => void this.#attempt(() => this.#setRoutes(route.routes(this.#bed(route)))),
    });
    try {
      // Blocked before its associations end.
      this.#guard = new XfrmGuard(kernel, this.#marks);
      this.#sweep();
      this.#statistics = new XfrmStatistics(kernel);
    } catch (error) {
      kernel[Symbol.dispose]();
      throw error;
    }
    this.#timer = every(TICK_MS, () => this.tick());
  }

  #note(news: GatewayNews, queue: number): void {
    this.#news.push([news, queue]);
    this.#telling ??= soon(() => {
      this.#telling = undefined;
      // What hears it has bugs only: they are not the kernel's refusal.
      for (const [one, of] of this.#news.splice(0)) this.#tell(one, of);
    });
  }

  /** Does what nobody waits for; false when it went wrong, which is told, once for each reason. */
  #attempt(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      const told = error instanceof Error ? error : new Error(String(error));
      if (told.message !== this.#problem) {
        this.#problem = told.message;
        this.#failed(told);
      }
      return false;
    }
  }

  /** problem is what went wrong last in work that nobody waits for; undefined since the kernel was asked without. */
  get problem(): string | undefined {
    return this.#problem;
  }

  #sweep(): void {
    const kernel = this.#kernel;
    for (const id of leftoverSas(kernel, this.#marks)) kernel.remove(id);
    kernel.removeElsewhere((priority) => this.#marks.hasPriority(priority));
    kernel.removeRoutes(leftoverRoutes(kernel, this.#marks));
  }

  /**
   * protect says of which prefixes nothing may pass in the plain, whether or not a route has them; what is blocked of others is let go. Whose
   * prefixes hold addresses that the gateway itself talks to cuts it off.
   */
  protect(prefixes: readonly Prefix[]): void {
    this.#guard.protect(prefixes);
  }

  /**
   * attach adds a queue, or changes what it is; its associations stay. Of one that stays as it is, what the kernel has lost of its routes is set
   * again. Throws where the namespace lacks what it needs.
   */
  attach(number: number, queue: XfrmQueue): void {
    this.#check(queue);
    const before = this.#book.queues.get(number);
    if (before === undefined || !sameQueue(before, queue)) this.#change(number, queue);
    const routes = [...this.#book.routes.values()].filter((route) => leaderOf(route) === number);
    const wanted = routes.flatMap((route) => route.routes(this.#bed(route)));
    this.#kernel.setRoutes(lackingRoutes(this.#kernel, this.#marks, wanted));
  }

  #change(number: number, queue: XfrmQueue): void {
    const before = this.#book.queues.get(number);
    this.#book.queues.set(number, queue);
    try {
      for (const { name, prefixes } of this.#book.routes.values()) this.#book.checkRoute({ name, prefixes });
      this.#associations.checkQueue(number);
      this.#exchange.set(number, queue.public, queue.ports ?? {});
      this.#associations.follow(number);
    } catch (error) {
      if (before === undefined) this.#book.queues.delete(number);
      else this.#book.queues.set(number, before);
      throw error;
    }
  }

  #check(queue: XfrmQueue): void {
    for (const family of [4, 6] as const) {
      const own = addressOf(queue.public, family);
      const linkIndex = (family === 6 ? queue.linkIndex6 : undefined) ?? queue.linkIndex;
      const addresses = own === undefined ? [] : this.#kernel.route.addresses({ linkIndex });
      if (own !== undefined && !addresses.some(({ address }) => ipEqual(address.ip, own)))
        throw new Error(
          `Cannot take ${formatIp(own)} for the public side: link ${linkIndex} does not have it; add the address`,
        );
      if (addressOf(queue.private, family) !== undefined) this.#checkForwarding(family);
    }
  }

  #checkForwarding(family: 4 | 6): void {
    const path = family === 4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
    if (this.#kernel.text(`/proc/sys/${path}`)?.trim() === "0")
      throw new Error(
        `Cannot carry packets of IPv${family}: the kernel does not forward; set ${path.replaceAll("/", ".")} to 1`,
      );
  }

  /** detach removes a queue with its routes and associations; the prefixes that no other queue has are blocked. */
  detach(number: number): void {
    const routes = [...this.#book.routes.values()].filter(({ queues }) => queues.has(number));
    // Whatever goes wrong after it.
    const last = routes.flatMap(({ queues, prefixes }) => (queues.size === 1 ? prefixes : []));
    this.#attempt(() => this.#guard.hold(last));
    for (const route of routes) this.#attempt(() => this.#leave(route, number));
    this.#exchange.remove(number);
    this.#book.queues.delete(number);
  }

  /** obey changes something; throws, with nothing changed, where that cannot be. */
  obey(order: GatewayOrder, queue = 0): void {
    const plan = this.#book.queue(queue);
    switch (order.kind) {
      case "mtu":
        return this.attach(queue, { ...plan, mtuBytes: order.mtuBytes, tfc: order.tfc });
      case "side":
        return this.attach(queue, { ...plan, [order.side]: order.configuration });
      case "route":
        return this.#takeRoute(order.route, queue);
      case "remove-route": {
        this.#book.refused.delete(order.name);
        const route = this.#book.routes.get(order.name);
        if (route?.queues.has(queue) !== true) return;
        try {
          return this.#leave(route, queue);
        } finally {
          if (route.queues.size === 0) this.#guard.release(route.prefixes);
        }
      }
      case "inbound":
        return this.#associations.addInbound(order.association, queue);
      case "remove-inbound":
        return this.#associations.removeInbound(order.spi, queue);
      case "outbound":
        return this.#associations.addOutbound(order.association, queue);
      case "move-outbound":
        return this.#associations.move(this.#book.outbound(order.route, queue, order.spi));
      case "remove-outbound":
        return this.#associations.removeOutbound(this.#book.route(order.route, queue), queue, order.spi);
      case "reserve":
        return this.#associations.reserve(this.#book.outbound(order.route, queue, order.spi), order.last);
      case "endpoint":
        return this.#associations.retarget(this.#book.outbound(order.route, queue, order.spi), order);
      case "next-hop":
        // The kernel finds its neighbours itself.
        return;
      case "exchange":
        return this.#exchange.send(queue, addressOf(plan.public, order.to.family), order);
    }
  }

  /** detour has a queue's part of a route's packets leave by another queue; without one by its own again. What the kernel refuses of it now comes with a tick. Throws without the route. */
  detour(queue: number, name: string, by: number | undefined): void {
    this.#associations.detour(this.#book.route(name, queue), queue, by);
  }

  #takeRoute(order: RouteOrder, queue: number): void {
    try {
      this.#setRoute(order, queue);
      this.#book.refused.delete(order.name);
    } catch (error) {
      if (error instanceof Error) this.#book.refused.set(order.name, error);
      throw error;
    }
  }

  #setRoute(order: RouteOrder, queue: number): void {
    this.#book.checkRoute(order);
    const route = this.#book.routes.get(order.name) ?? new XfrmRoute(order.name, this.#marks.take());
    const before = { prefixes: route.prefixes, ownMtuBytes: route.ownMtuBytes };
    const added = XfrmRoute.lacking(order.prefixes, before.prefixes);
    const gone = XfrmRoute.lacking(before.prefixes, order.prefixes);
    const bed = this.#bed(route, queue);
    route.set(order);
    try {
      // Before it has its own.
      this.#associations.unshare();
      // Protected before they are led anywhere.
      this.#kernel.setPolicies(route.policies(added));
      this.#setRoutes(route.routes(bed));
    } catch (error) {
      // Whatever goes wrong in it: the reason is what went wrong first.
      this.#attempt(() => this.#kernel.removeRoutes(route.routes(bed, added)));
      this.#attempt(() => this.#associations.unshare(route.shares(added)));
      this.#attempt(() => this.#guard.release(added));
      Object.assign(route, before);
      if (route.queues.size > 0) this.#attempt(() => this.#setRoutes(route.routes(bed)));
      if (route.queues.size === 0) this.#marks.give(route.reqid);
      throw error;
    }
    route.queues.add(queue);
    this.#book.routes.set(route.name, route);
    this.#guard.took(added);
    // Whatever goes wrong in it: nobody asks for it again.
    this.#attempt(() => this.#kernel.removeRoutes(route.routes(bed, gone)));
    this.#attempt(() => this.#associations.unshare(route.shares(gone)));
    this.#attempt(() => this.#guard.release(gone));
  }

  /** A link that is down takes no routes: `attach` sets them when it is up again. */
  #setRoutes(routes: readonly RouteChange[]): void {
    try {
      this.#kernel.setRoutes(routes);
    } catch (error) {
      if (!(error instanceof NetlinkError && DOWN.includes(error.code))) throw error;
    }
  }

  /** Where a route's packets are led; `joining` is a queue that is to have it. */
  #bed(route: XfrmRoute, joining?: number): RouteBed {
    const { linkIndex, private: inside, mtuBytes } = this.#book.queue(leaderOf(route, joining));
    return { linkIndex, four: addressOf(inside, 4), six: addressOf(inside, 6), mtuBytes };
  }

  /** Takes a route from a queue, with its associations; of the last one its policies stay as they are without any. */
  #leave(route: XfrmRoute, queue: number): void {
    const bed = this.#bed(route);
    try {
      this.#associations.removeAll(route, queue);
    } finally {
      route.queues.delete(queue);
      route.detours.delete(queue);
      if (route.queues.size > 0) this.#setRoutes(route.routes(this.#bed(route)));
      else {
        this.#book.routes.delete(route.name);
        this.#leaving.add(route);
        this.#giveBack();
        this.#kernel.removeRoutes(route.routes(bed));
      }
    }
  }

  /** A route's number is another's when the kernel has no association with it any more. */
  #giveBack(): void {
    for (const route of [...this.#leaving])
      if (!this.#associations.has(route)) {
        this.#leaving.delete(route);
        this.#marks.give(route.reqid);
      }
  }

  /** tick does what is due, and looks for first packets. What goes wrong is told. */
  tick(): void {
    if (this.#attempt(() => this.#associations.tick())) this.#problem = undefined;
    this.#giveBack();
  }

  /** report tells what a queue has carried so far; what the kernel counts for the namespace only stands in each. */
  report(queue = 0): GatewayReport {
    this.#associations.count();
    return reportOf(this.#book, {
      queue,
      exchange: this.#exchange.counters(queue),
      statistics: this.#statistics,
      neighbours: this.#kernel.route.neighbours(),
    });
  }

  /** end removes all that it has; `forGood` what blocks its prefixes too. Packets for them go by the host's routes then. */
  end(forGood: boolean): void {
    this.#timer[Symbol.dispose]();
    this.#telling?.[Symbol.dispose]();
    try {
      for (const queue of [...this.#book.queues.keys()]) this.detach(queue);
      if (forGood) this.#guard.removeAll();
    } finally {
      this.#exchange[Symbol.dispose]();
      this.#kernel[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.end(false);
  }
}

/** Of several queues whoever sends for the first leads the packets; before there is something to send by, the first. */
function leaderOf({ leader, queues }: XfrmRoute, joining?: number): number {
  if (leader !== undefined && queues.has(leader)) return leader;
  return Math.min(...queues, ...(joining === undefined ? [] : [joining]));
}

const bigText = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}n` : value);

function sameQueue(a: XfrmQueue, b: XfrmQueue): boolean {
  return JSON.stringify(a, bigText) === JSON.stringify(b, bigText);
}
