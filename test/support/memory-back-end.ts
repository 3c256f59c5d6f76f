/** A gateway's back-end in memory: each queue is a data path of its own (GatewayLoop), which obeys and refuses as on a thread; no interface is there. */
import type { BackEndNews, GatewayBackEnd, Tell } from "../../src/gatewayd/back-end.ts";
import type { QueuePlan } from "../../src/gatewayd/queue-plan.ts";
import { formatPrefix, type Prefix } from "../../src/net/mod.ts";
import type { GatewayOrder, GatewayReport } from "../../src/tunnel/gateway/mod.ts";
import { GatewayLoop, MAC } from "./gateway-loop.ts";

/** MemoryBackEnd keeps what it was told, and refuses what a test wants refused. */
export class MemoryBackEnd implements GatewayBackEnd {
  readonly queues = new Map<number, GatewayLoop>();
  /** Orders that were obeyed, without those of key exchanges. */
  readonly orders: (GatewayOrder & { readonly queue: number })[] = [];
  /** Why an order is refused; undefined: the data path decides. */
  refusal: (order: GatewayOrder, queue: number) => string | undefined = () => undefined;
  /** By queue and route: the queue that its packets are handed over to. */
  readonly detours = new Map<string, number>();
  readonly tell: Tell;
  /** What was to be protected last, and whether the end was for good; undefined: nobody has said. */
  protected: readonly string[] | undefined;
  endedForGood: boolean | undefined;
  plans: readonly QueuePlan[] = [];

  constructor(tell: Tell) {
    this.tell = tell;
  }

  /** Queues are up at once, and know their next hops. */
  set(plans: readonly QueuePlan[]): void {
    this.plans = plans;
    const wanted = new Set(plans.map(({ number }) => number));
    for (const number of [...this.queues.keys()])
      if (!wanted.has(number)) this.down(number, "it was removed");
    for (const { number } of plans) if (!this.queues.has(number)) this.up(number);
  }

  up(queue: number): void {
    this.queues.set(queue, new GatewayLoop());
    this.tell({ kind: "up", queue, by: "memory" });
    this.news(queue, { kind: "next-hop", side: "public", family: 4, mac: MAC.host });
  }

  down(queue: number, reason: string): void {
    this.queues.get(queue)?.path[Symbol.dispose]();
    this.queues.delete(queue);
    this.tell({ kind: "down", queue, reason });
  }

  news(queue: number, news: Extract<BackEndNews, { readonly kind: "news" }>["news"]): void {
    this.tell({ kind: "news", queue, news });
  }

  look(): void {}

  protect(prefixes: readonly Prefix[]): void {
    this.protected = prefixes.map(formatPrefix);
  }

  async obey(queue: number, order: GatewayOrder): Promise<void> {
    const loop = this.queues.get(queue);
    const reason = loop === undefined ? `queue ${queue} does not run` : this.refusal(order, queue);
    if (reason !== undefined) throw new Error(reason);
    loop?.obey(order);
    if (order.kind !== "exchange") this.orders.push({ ...order, queue });
  }

  async detour(queue: number, route: string, by: number | undefined): Promise<void> {
    if (!this.queues.has(queue)) throw new Error(`queue ${queue} does not run`);
    if (by === undefined) this.detours.delete(`${queue} ${route}`);
    else this.detours.set(`${queue} ${route}`, by);
  }

  report(): Promise<ReadonlyMap<number, GatewayReport>> {
    return Promise.resolve(new Map([...this.queues].map(([queue, { path }]) => [queue, path.report()])));
  }

  /** kinds returns the kinds of the orders since the last call. */
  kinds(): string[] {
    return this.orders.splice(0).map(({ kind }) => kind);
  }

  async close(forGood = false): Promise<void> {
    this.endedForGood = forGood;
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const { path } of this.queues.values()) path[Symbol.dispose]();
    this.queues.clear();
  }
}
