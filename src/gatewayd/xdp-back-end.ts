/**
 * The back-end in user space: a thread for each queue, each with a receive queue of the private interface and one of a public interface by
 * AF_XDP. Programs are attached here, once for each interface; the threads open the sockets. A queue of which AF_XDP cannot be used has packet
 * sockets, unless AF_XDP is required.
 */
import { ENCAPSULATION_PORT } from "../gateway/keys/mod.ts";
import { type Fd, socketPair, XdpUnavailable } from "../sys/mod.ts";
import {
  type ExchangePorts,
  frameBytesFor,
  type GatewayOrder,
  type GatewayReport,
} from "../tunnel/gateway/mod.ts";
import type { XdpInterface } from "../tunnel/xdp/mod.ts";
import type { GatewayBackEnd, Tell } from "./back-end.ts";
import { type Found, findSide, kernelMeddles } from "./find-side.ts";
import { PollDeferral } from "./poll-deferral.ts";
import { QueueHandle } from "./queue-handle.ts";
import type { QueueEnd } from "./queue-link.ts";
import type { QueuePlan, SidePlan } from "./queue-plan.ts";
import { XdpPrograms } from "./xdp-programs.ts";

interface Queue {
  plan: QueuePlan;
  handle?: QueueHandle;
  frameBytes: 2048 | 4096;
  isUp: boolean;
  /** What was told last, so that it is told once. */
  reason?: string;
  /** Why it has packet sockets; absent: it has AF_XDP. */
  without?: string;
  /** Whether it had AF_XDP when it ran last: nothing of its interfaces is the kernel's while it pauses. */
  hadXdp: boolean;
  /** The end of what ran before. */
  before?: Promise<void>;
}

/** What may wait to be taken over by a queue. */
const INBOX_BYTES = 8 << 20;

type SideName = "private" | "public";
/** Both interfaces of a queue, as they are now. */
type Places = Readonly<Record<SideName, Found>>;
/** Their programs; absent: it has packet sockets, because of `without`. */
interface Way {
  readonly links?: Readonly<Record<SideName, XdpInterface>>;
  readonly without?: string;
}

type Sides = Extract<QueuePlan["sides"], { readonly private: SidePlan }>;

/** Whether a running queue can follow by orders: what is bound stays. */
function canFollow(queue: Queue, next: QueuePlan): boolean {
  const { plan } = queue;
  if ("problem" in plan.sides || "problem" in next.sides) return false;
  const bound = ({ interface: name, deviceQueue }: SidePlan) => `${name} ${deviceQueue}`;
  return (
    // A thread goes to another processor; it does not know where it was before the first.
    (plan.cpu === next.cpu || next.cpu !== undefined) &&
    plan.asksPrivate === next.asksPrivate &&
    bound(plan.sides.private) === bound(next.sides.private) &&
    bound(plan.sides.public) === bound(next.sides.public) &&
    (queue.frameBytes === 4096 || frameBytesFor(next.mtuBytes) === 2048)
  );
}

/** XdpBackEndOptions say how. */
export interface XdpBackEndOptions {
  readonly tell: Tell;
  /** Folders in which AEAD libraries may lie beside the system's own. */
  readonly folders: readonly string[];
  /** Whether a queue without AF_XDP is down, rather than on packet sockets. */
  readonly requireXdp: boolean;
  /** How often the kernel polls interfaces of AF_XDP while packets come (PollDeferral); 0: at each packet. */
  readonly groFlushTimeoutNs: number;
}

/** XdpBackEnd owns programs and threads. */
export class XdpBackEnd implements GatewayBackEnd {
  readonly #tell: Tell;
  readonly #options: XdpBackEndOptions;
  readonly #queues = new Map<number, Queue>();
  readonly #programs: XdpPrograms;
  /** Ends of queues that were removed; they use inboxes until then. */
  readonly #ending = new Set<Promise<void>>();
  readonly #inboxes = new Map<number, readonly [Fd, Fd]>();

  constructor(options: XdpBackEndOptions) {
    this.#tell = options.tell;
    this.#options = options;
    this.#programs = new XdpPrograms(new PollDeferral(options.groFlushTimeoutNs));
  }

  set(plans: readonly QueuePlan[]): void {
    const wanted = new Set(plans.map(({ number }) => number));
    for (const [number, queue] of [...this.#queues])
      if (!wanted.has(number)) {
        this.#queues.delete(number);
        this.#stop(queue, "it was removed");
      }
    for (const plan of plans) {
      const queue = this.#queues.get(plan.number);
      if (queue === undefined)
        this.#queues.set(plan.number, {
          plan,
          isUp: false,
          hadXdp: false,
          frameBytes: frameBytesFor(plan.mtuBytes),
        });
      else this.#change(queue, plan);
    }
    this.look();
  }

  look(): void {
    for (const queue of this.#queues.values())
      if (queue.isUp) this.#check(queue);
      else if (queue.handle === undefined && queue.before === undefined) this.#start(queue);
    this.#settle();
  }

  /** An interface that is down, and comes back, is the one that the queue has; of one that was removed the thread tells itself. */
  #check(queue: Queue): void {
    const { number, sides } = queue.plan;
    if ("problem" in sides) return;
    // The kernel has a copy of each frame: its settings may be others since the queue began.
    const problem = queue.without === undefined ? undefined : meddlingOf(queue.plan, queue.without);
    if (problem !== undefined) return this.#stop(queue, problem);
    const reason = [sides.private, sides.public].map(hindranceOf).find((one) => one !== undefined);
    if (reason === queue.reason) return;
    if (reason === undefined) delete queue.reason;
    else queue.reason = reason;
    this.#tell({ kind: "hindered", queue: number, ...(reason === undefined ? {} : { reason }) });
  }

  obey(number: number, order: GatewayOrder): Promise<void> {
    const queue = this.#queues.get(number);
    if (queue?.handle === undefined || !queue.isUp)
      return Promise.reject(new Error(`queue ${number} does not run`));
    return queue.handle.obey(order);
  }

  detour(number: number, route: string, by: number | undefined): Promise<void> {
    const queue = this.#queues.get(number);
    if (queue?.handle === undefined || !queue.isUp)
      return Promise.reject(new Error(`queue ${number} does not run`));
    return queue.handle.detour(route, by === undefined ? undefined : this.#inbox(by)[0].number);
  }

  /** The socket pair by which a queue is handed packets: it is there as long as any thread may write to it. */
  #inbox(number: number): readonly [Fd, Fd] {
    const pair = this.#inboxes.get(number) ?? socketPair(INBOX_BYTES);
    this.#inboxes.set(number, pair);
    return pair;
  }

  async report(): Promise<ReadonlyMap<number, GatewayReport>> {
    const asked = [...this.#queues].flatMap(([number, { handle, isUp }]) =>
      handle === undefined || !isUp
        ? []
        : [
            handle.report().then(
              (report) => (report === undefined ? undefined : ([number, report] as const)),
              () => undefined,
            ),
          ],
    );
    return new Map((await Promise.all(asked)).filter((one) => one !== undefined));
  }

  async close(): Promise<void> {
    const all = [...this.#queues.values()];
    this.#queues.clear();
    for (const queue of all) this.#stop(queue, "the gateway ends");
    await Promise.all([...all.map(({ before }) => before), ...this.#ending]);
    this[Symbol.dispose]();
  }

  #change(queue: Queue, next: QueuePlan): void {
    const { handle, plan } = queue;
    if (JSON.stringify(plan, bigText) === JSON.stringify(next, bigText)) return;
    const follows = handle !== undefined && queue.isUp && canFollow(queue, next);
    queue.plan = next;
    if (!follows) {
      queue.frameBytes = frameBytesFor(next.mtuBytes);
      if (handle !== undefined) this.#stop(queue, "its interfaces have changed");
      return;
    }
    this.#follow(queue, handle, plan);
  }

  /** Has a running queue become what its plan says. What an older thread answers late is no news of this one. */
  #follow(queue: Queue, handle: QueueHandle, before: QueuePlan): void {
    const { plan } = queue;
    const asked = this.#orders(queue, before).map((order) => handle.obey(order));
    if (plan.cpu !== before.cpu || plan.port !== before.port) {
      const cpu = plan.cpu === undefined ? {} : { cpu: plan.cpu };
      asked.push(handle.adapt({ ...cpu, ports: portsOf(plan) }));
    }
    for (const one of asked)
      one.catch((error: Error) => {
        if (queue.handle === handle) this.#stop(queue, `it cannot be changed: ${error.message}`);
      });
  }

  /** What a running queue is told so that it becomes what its plan says. */
  #orders(queue: Queue, before: QueuePlan): GatewayOrder[] {
    const { plan } = queue;
    const orders: GatewayOrder[] = [];
    for (const side of ["private", "public"] as const) {
      const [old, now] = [before.sides, plan.sides] as [Sides, Sides];
      if (JSON.stringify(old[side], bigText) === JSON.stringify(now[side], bigText)) continue;
      const found = findSide(now[side]);
      if (typeof found !== "string") orders.push({ kind: "side", side, configuration: found.configuration });
    }
    if (before.mtuBytes !== plan.mtuBytes || before.tfc !== plan.tfc)
      orders.push({ kind: "mtu", mtuBytes: plan.mtuBytes, tfc: plan.tfc });
    return orders;
  }

  /** Starts a queue by AF_XDP; `without`: why that cannot be. */
  #start(queue: Queue, without?: string): void {
    const { sides } = queue.plan;
    if ("problem" in sides) return this.#down(queue, sides.problem);
    const [inside, outside] = [findSide(sides.private), findSide(sides.public)];
    if (typeof inside === "string") return this.#down(queue, inside);
    if (typeof outside === "string") return this.#down(queue, outside);
    const places = { private: inside, public: outside };
    if (without !== undefined) return this.#startPackets(queue, places, without);
    try {
      const links = {
        private: this.#programs.attach(inside.ifindex, sides.private.interface, queue),
        public: this.#programs.attach(outside.ifindex, sides.public.interface, queue),
      };
      this.#run(queue, places, { links });
    } catch (error) {
      this.#programs.release(queue);
      if (error instanceof XdpUnavailable) this.#startPackets(queue, places, error.message);
      else this.#down(queue, textOf(error));
    }
  }

  /** The kernel has a copy of what packet sockets have, and must neither answer nor forward it. */
  #startPackets(queue: Queue, places: Places, without: string): void {
    queue.hadXdp = false;
    if (this.#options.requireXdp) return this.#down(queue, `${without}; leave --xdp out for packet sockets`);
    const problem = meddlingOf(queue.plan, without);
    if (problem !== undefined) return this.#down(queue, problem);
    this.#run(queue, places, { without });
  }

  #run(queue: Queue, places: Places, { links, without }: Way): void {
    const sides = queue.plan.sides as Sides;
    const { plan, frameBytes } = queue;
    const place = (side: SideName) => ({
      ifindex: places[side].ifindex,
      queue: sides[side].deviceQueue,
      zeroCopy: links?.[side].mode === "native",
    });
    const handle = new QueueHandle(
      {
        ...(plan.cpu === undefined ? {} : { cpu: plan.cpu }),
        folders: this.#options.folders,
        driver: links === undefined ? "packet" : "xdp",
        inbox: this.#inbox(plan.number)[1].number,
        privateInterface: place("private"),
        publicInterface: place("public"),
        private: places.private.configuration,
        public: places.public.configuration,
        frameBytes,
        mtuBytes: plan.mtuBytes,
        tfc: plan.tfc,
        ports: portsOf(plan),
        asksPrivate: plan.asksPrivate,
      },
      {
        ready: (sockets) => {
          // It was told to stop meanwhile, and its descriptors may be others' by now.
          if (queue.handle !== handle) return;
          try {
            for (const side of ["private", "public"] as const)
              links?.[side].add(sides[side].deviceQueue, sockets[side]);
          } catch (error) {
            // It has ended, or an interface has gone, since it said so.
            return this.#stop(queue, textOf(error));
          }
          queue.hadXdp = links !== undefined;
          const by = `${sockets.aead}, ${wayText(without)}`;
          this.#up(queue, handle, { by, started: plan });
        },
        news: (news) => {
          if (queue.handle === handle) this.#tell({ kind: "news", queue: plan.number, news });
        },
        ended: (end) => this.#ended(queue, handle, end),
      },
    );
    queue.handle = handle;
    if (without === undefined) delete queue.without;
    else queue.without = without;
  }

  #up(
    queue: Queue,
    handle: QueueHandle,
    { by, started }: { readonly by: string; readonly started: QueuePlan },
  ): void {
    queue.isUp = true;
    delete queue.reason;
    if (started !== queue.plan) this.#follow(queue, handle, started);
    this.#tell({ kind: "up", queue: queue.plan.number, by });
  }

  #stop(queue: Queue, reason: string): void {
    const { handle } = queue;
    if (handle === undefined) return;
    delete queue.handle;
    const end = handle.stop();
    queue.before = end;
    this.#ending.add(end);
    void end.then(() => this.#ending.delete(end));
    this.#down(queue, reason);
  }

  #ended(
    queue: Queue,
    handle: QueueHandle,
    { reason = "it ended", lacksXdp }: Pick<QueueEnd, "reason" | "lacksXdp">,
  ): void {
    const isOwn = queue.handle === handle;
    if (isOwn) delete queue.handle;
    delete queue.before;
    this.#programs.release(queue);
    if (isOwn && lacksXdp === true) this.#start(queue, reason);
    else if (isOwn) this.#down(queue, reason);
    else if (this.#queues.get(queue.plan.number) === queue) this.#start(queue);
    this.#settle();
  }

  #down(queue: Queue, reason: string): void {
    if (!queue.isUp && queue.reason === reason) return;
    queue.isUp = false;
    queue.reason = reason;
    this.#tell({ kind: "down", queue: queue.plan.number, reason });
  }

  #settle(): void {
    this.#programs.settle((name) => {
      const users = [...this.#queues.values()].filter(
        ({ plan: { sides } }) =>
          !("problem" in sides) && [sides.private, sides.public].some((side) => side.interface === name),
      );
      if (users.some(({ handle, without }) => handle !== undefined && without !== undefined))
        return "packets";
      return users.some(({ hadXdp }) => hadXdp) ? "xdp" : undefined;
    });
  }

  /** Threads end when they come to it; `close` waits for them. */
  [Symbol.dispose](): void {
    const ends = [...[...this.#queues.values()].map(({ handle }) => handle?.stop()), ...this.#ending];
    this.#queues.clear();
    const inboxes = [...this.#inboxes.values()].flat();
    this.#inboxes.clear();
    const close = () => {
      for (const end of inboxes) end.close();
    };
    if (ends.length === 0) close();
    else void Promise.all(ends).then(close);
    this.#programs[Symbol.dispose]();
  }
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
const bigText = (_: string, value: unknown) => (typeof value === "bigint" ? `${value}n` : value);

function portsOf({ port }: QueuePlan): ExchangePorts {
  return { exchange: port, encapsulation: ENCAPSULATION_PORT };
}

/** Why nothing can pass by a side now. */
function hindranceOf(side: SidePlan): string | undefined {
  const found = findSide(side);
  if (typeof found === "string") return found;
  return found.isRunning ? undefined : `the interface ${side.interface} has no carrier; check the cable`;
}

/** Why a queue cannot have packet sockets as the kernel is set. */
function meddlingOf({ sides }: QueuePlan, without: string): string | undefined {
  if ("problem" in sides) return undefined;
  const problem = kernelMeddles(sides.private) ?? kernelMeddles(sides.public);
  return problem && `${problem}. It has no AF_XDP: ${without}`;
}

/** How frames come and go. */
function wayText(without: string | undefined): string {
  return without === undefined ? "AF_XDP" : `packet sockets, since AF_XDP cannot be used: ${without}`;
}
