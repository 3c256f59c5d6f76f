/**
 * The back-end of the kernel: its ESP carries the packets of all queues, in the process itself and without a thread. Addresses, routes to next
 * hops and forwarding are the host's affair; what of them is missing is a queue's status. What goes missing while a queue runs hinders it, and its
 * associations stay; its routes, which the kernel removes with an address or when a link goes down, are set again.
 */
import { ENCAPSULATION_PORT } from "../gateway/keys/mod.ts";
import { type Ip, type Prefix, prefixContains } from "../net/mod.ts";
import { type LinkInfo, Rtnetlink } from "../netlink/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { GatewayNews, GatewayOrder, GatewayReport, SideConfiguration } from "../tunnel/gateway/mod.ts";
import { XfrmGateway, type XfrmQueue } from "../tunnel/xfrm/mod.ts";
import type { CarriedNext, GatewayBackEnd, Tell } from "./back-end.ts";
import type { QueuePlan, SidePlan } from "./queue-plan.ts";

interface Queue {
  plan: QueuePlan;
  isUp: boolean;
  /** What was told last, so that it is told once. */
  reason?: string;
}

/** KernelBackEndOptions say where it is. */
export interface KernelBackEndOptions {
  readonly tell: Tell;
  /** 0 to 255, another for each gateway of a namespace (XfrmGateway). Default 0. */
  readonly instance?: number;
  readonly netns?: Netns;
  /** Of a VPC's gateway: the `if_id` of its XFRM interface, which is the VPC's VNI. */
  readonly ifId?: number | undefined;
  /** Queues start when this has resolved; prefixes are blocked before. */
  readonly before?: Promise<void> | undefined;
}

/** letGo removes what a gateway of an instance has left blocked. No gateway of that instance may run. */
export function letGo(where: { readonly instance?: number; readonly netns?: Netns }): void {
  new XfrmGateway({ ...where, tell: () => {}, failed: () => {} }).end(true);
}

const bigText = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}n` : value);
const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** KernelBackEnd owns what the gateway has in the kernel. */
export class KernelBackEnd implements GatewayBackEnd {
  readonly #options: KernelBackEndOptions;
  readonly #queues = new Map<number, Queue>();
  #gateway: XfrmGateway | undefined;
  /** Addresses of all plans; where they have none any more, those of before. */
  #own: readonly Ip[] = [];
  #prefixes: readonly Prefix[] | undefined;
  /** Whether the kernel has been told of them, as they are with these addresses. */
  #isProtecting = false;
  #mayStart: boolean;

  constructor(options: KernelBackEndOptions) {
    this.#options = options;
    const { before } = options;
    this.#mayStart = before === undefined;
    void before?.then(() => {
      this.#mayStart = true;
      this.look();
    });
  }

  prepare({ plans, prefixes }: CarriedNext): void {
    this.#own = plans.flatMap(({ own }) => own);
    this.#prefixes = prefixes;
    this.#open();
    if (!this.#isProtecting)
      throw new Error(
        "no queue has an address, and what may be blocked is not known without; give one its interfaces",
      );
  }

  set(plans: readonly QueuePlan[]): void {
    const own = plans.flatMap(({ own }) => own);
    if (own.length > 0) this.#own = own;
    this.#isProtecting = false;
    const wanted = new Set(plans.map(({ number }) => number));
    for (const [number, queue] of [...this.#queues])
      if (!wanted.has(number)) {
        this.#queues.delete(number);
        this.#stop(queue, "it was removed");
      }
    for (const plan of plans) {
      const queue = this.#queues.get(plan.number);
      if (queue === undefined) this.#queues.set(plan.number, { plan, isUp: false });
      else this.#change(queue, plan);
    }
    this.#begin();
    this.look();
  }

  protect(prefixes: readonly Prefix[]): void {
    this.#prefixes = prefixes;
    this.#isProtecting = false;
    this.#begin();
  }

  /** Protects before any queue can be up. What is in the way is told as the status of queues, when they are looked at. */
  #begin(): void {
    try {
      this.#open();
    } catch {
      // As in #attach.
    }
  }

  #open(): XfrmGateway {
    const { netns, instance = 0, ifId } = this.#options;
    this.#gateway ??= new XfrmGateway({
      ...(ifId !== undefined && { ifId }),
      ...(netns !== undefined && { netns }),
      instance,
      tell: (news, number) => this.#news(news, number),
      // Where it goes on, it is the status of queues when they are looked at.
      failed: (error) => this.#options.tell({ kind: "failed", reason: error.message }),
    });
    this.#protect(this.#gateway);
    return this.#gateway;
  }

  /** Leaves out what would cut the gateway off, and what is of a family that it does not have: their routes are refused. */
  #protect(gateway: XfrmGateway): void {
    const [own, prefixes] = [this.#own, this.#prefixes];
    if (this.#isProtecting || prefixes === undefined) return;
    // Until there are addresses, what a gateway before left stays blocked.
    if (own.length === 0 && prefixes.length > 0) return;
    const isVpc = this.#options.ifId !== undefined;
    gateway.protect(
      prefixes.filter(
        (prefix) =>
          // What a VPC's interface leads here, and nothing else.
          isVpc ||
          (own.some(({ family }) => family === prefix.family) &&
            !own.some((ip) => prefixContains(prefix, ip))),
      ),
    );
    this.#isProtecting = true;
  }

  /** What runs goes on as it is told now; what cannot be now is down. */
  #change(queue: Queue, plan: QueuePlan): void {
    if (JSON.stringify(queue.plan, bigText) === JSON.stringify(plan, bigText)) return;
    queue.plan = plan;
    if (!queue.isUp) return;
    try {
      this.#attach(plan);
    } catch (error) {
      this.#stop(queue, textOf(error));
    }
  }

  look(): void {
    if (!this.#isProtecting && this.#prefixes !== undefined) this.#begin();
    for (const queue of this.#queues.values())
      if (queue.isUp) this.#check(queue);
      else if (this.#mayStart) this.#start(queue);
      else this.#down(queue, "what carried its packets before has not ended yet");
  }

  /** What runs has what it needs, or is hindered. */
  #check(queue: Queue): void {
    try {
      this.#attach(queue.plan);
      const cut = this.#cut(queue.plan);
      // What the kernel refuses, of one route maybe, cuts no queue.
      if (cut === undefined) this.#hinder(queue, this.#gateway?.problem, true);
      else this.#hinder(queue, cut);
    } catch (error) {
      this.#hinder(queue, textOf(error));
    }
  }

  /** A cable that is cut takes no addresses and routes away: other queues go on for this one. */
  #cut({ sides }: QueuePlan): string | undefined {
    if ("problem" in sides) return undefined;
    const { link, link6 = link } = this.#links(sides.public);
    const without = [link, link6].find(({ running }) => !running);
    return without && `the interface ${without.name} has no carrier; check the cable`;
  }

  #hinder(queue: Queue, reason: string | undefined, passes?: true): void {
    if (reason === queue.reason) return;
    if (reason === undefined) delete queue.reason;
    else queue.reason = reason;
    const { number } = queue.plan;
    this.#options.tell({
      ...{ kind: "hindered", queue: number },
      ...(reason !== undefined && { reason, ...(passes && { passes }) }),
    });
  }

  #start(queue: Queue): void {
    const { plan } = queue;
    try {
      this.#attach(plan);
    } catch (error) {
      return this.#down(queue, textOf(error));
    }
    queue.isUp = true;
    delete queue.reason;
    this.#options.tell({ kind: "up", queue: plan.number, by: "the kernel's ESP" });
    // Nobody waits for a neighbour: the kernel finds it when there is something to send.
    const { public: outside } = this.#queueOf(plan);
    for (const family of [4, 6] as const)
      if ((family === 4 ? outside.four : outside.six) !== undefined)
        this.#news({ kind: "next-hop", side: "public", family, mac: outside.mac }, plan.number);
  }

  #news(news: GatewayNews, queue: number): void {
    if (this.#queues.get(queue)?.isUp === true) this.#options.tell({ kind: "news", queue, news });
  }

  #attach(plan: QueuePlan): void {
    const queue = this.#queueOf(plan);
    this.#open().attach(plan.number, queue);
  }

  #queueOf({ sides, mtuBytes, tfc, port, vpc }: QueuePlan): XfrmQueue {
    if ("problem" in sides) throw new Error(sides.problem);
    const outside = this.#links(sides.public);
    return {
      private: this.#inside(sides.private, outside.link, vpc),
      public: configurationOf(sides.public, outside.link),
      linkIndex: outside.link.index,
      ...(outside.link6 !== undefined && { linkIndex6: outside.link6.index }),
      mtuBytes,
      tfc,
      ports: { exchange: port, encapsulation: ENCAPSULATION_PORT },
    };
  }

  /** A VPC's packets come by its XFRM interface: the private side has nothing in this namespace. */
  #inside(side: SidePlan, outside: LinkInfo, vpc: number | undefined): SideConfiguration {
    if (vpc === undefined) return configurationOf(side, this.#links(side).link);
    const { four: _four, six: _six, ...rest } = side;
    return configurationOf(rest, outside);
  }

  #links({ interface: name, interface6 }: SidePlan): { readonly link: LinkInfo; readonly link6?: LinkInfo } {
    const link = this.#link(name);
    return interface6 === undefined ? { link } : { link, link6: this.#link(interface6) };
  }

  #link(name: string): LinkInfo {
    const { netns } = this.#options;
    using route = Rtnetlink.open(netns === undefined ? {} : { netns });
    const link = route.link(name);
    if (link === undefined) throw new Error(`there is no interface ${name}; add it, or name another`);
    if (!link.up) throw new Error(`the interface ${name} is down; run: ip link set ${name} up`);
    return link;
  }

  obey(number: number, order: GatewayOrder): Promise<void> {
    return Promise.try(() => this.#running(number).obey(order, number));
  }

  detour(number: number, route: string, by: number | undefined): Promise<void> {
    return Promise.try(() => this.#running(number).detour(number, route, by));
  }

  #running(number: number): XfrmGateway {
    const gateway = this.#gateway;
    if (gateway === undefined || this.#queues.get(number)?.isUp !== true)
      throw new Error(`queue ${number} does not run`);
    return gateway;
  }

  report(): Promise<ReadonlyMap<number, GatewayReport>> {
    const gateway = this.#gateway;
    const up = [...this.#queues].flatMap(([number, { isUp }]) => (isUp ? [number] : []));
    return Promise.try(
      () =>
        new Map(gateway === undefined ? [] : up.map((number) => [number, gateway.report(number)] as const)),
    );
  }

  #stop(queue: Queue, reason: string): void {
    this.#gateway?.detach(queue.plan.number);
    this.#down(queue, reason);
  }

  #down(queue: Queue, reason: string): void {
    if (!queue.isUp && queue.reason === reason) return;
    queue.isUp = false;
    queue.reason = reason;
    this.#options.tell({ kind: "down", queue: queue.plan.number, reason });
  }

  close(forGood = false): Promise<void> {
    return Promise.try(() => this.#end(forGood));
  }

  #end(forGood: boolean): void {
    const gateway = this.#gateway;
    this.#queues.clear();
    this.#prefixes = undefined;
    this.#gateway = undefined;
    gateway?.end(forGood);
  }

  /** For a restart: see `close`. */
  [Symbol.dispose](): void {
    this.#end(false);
  }
}

function configurationOf({ interface: name, mac, four, six }: SidePlan, link: LinkInfo): SideConfiguration {
  const address = mac ?? link.mac;
  if (address === undefined) throw new Error(`the interface ${name} has no Ethernet address; name another`);
  return { mac: address, ...(four && { four }), ...(six && { six }) };
}
