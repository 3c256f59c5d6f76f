/** One queue on its thread: GatewayQueue with orders in, and acknowledgements, news and reports out. */
import {
  Arena,
  boottimeMs,
  Collection,
  Fd,
  monotonicMs,
  pinThread,
  receiveMessage,
  stable,
  takeMessage,
} from "../sys/mod.ts";
import {
  gatewayArenaBytes,
  type GatewayOrder,
  GatewayQueue,
  type GatewayReport,
} from "../tunnel/gateway/mod.ts";
import { chooseAead } from "../tunnel/path/mod.ts";
import type { FromQueue, QueueStart, ToQueue } from "./queue-link.ts";

/** Keys of MOST_GATEWAY_ASSOCIATIONS in the memory of the AEAD provider; pages that nobody touches cost nothing. */
const AEAD_BYTES = 64 << 20;
/** Orders after which garbage is collected. */
const COLLECT_AFTER = 256;
const WAKER_BYTES = 64;
/** So long packets wait at most for orders, plus one order. */
const ORDERS_MS = 1;
/** More packets than wait at an inbox; others may go on handing over. */
const MOST_OLD = 1 << 16;

/** QueueWorker owns the queue. */
export class QueueWorker implements Disposable {
  readonly #start: QueueStart;
  readonly #queue: GatewayQueue;
  readonly #waker: Fd;
  readonly #inbox: Fd;
  readonly #collection = new Collection(COLLECT_AFTER);
  readonly #scratch = stable(WAKER_BYTES);

  constructor(start: QueueStart) {
    const { cpu, frameBytes, folders } = start;
    this.#start = start;
    this.#waker = new Fd(start.waker, "waker of a queue");
    this.#inbox = new Fd(start.inbox, "inbox of a queue");
    try {
      // What waits was handed over to the thread before, however long ago.
      for (let i = 0; i < MOST_OLD && (receiveMessage(start.inbox, this.#scratch) ?? 0) > 0; i++);
      if (cpu !== undefined) pinThread(cpu);
      const arena = new Arena({ bytes: gatewayArenaBytes(frameBytes) + AEAD_BYTES });
      const { provider } = chooseAead(arena, { folders });
      this.#queue = new GatewayQueue({
        ...start,
        arena,
        provider,
        waker: this.#waker,
        inbox: this.#inbox,
        tell: (news) => this.#say({ kind: "news", news }),
      });
      const { privatePort, publicPort } = this.#queue;
      this.#say({
        kind: "ready",
        privateSocket: privatePort.fd.number,
        publicSocket: publicPort.fd.number,
        aead: provider.name,
      });
    } catch (error) {
      this.#waker.close();
      this.#inbox.release();
      throw error;
    }
  }

  #say(message: FromQueue): void {
    this.#start.port.postMessage(message);
  }

  /** run works until it is told to stop; returns why it ended by itself. */
  run(): string | undefined {
    for (;;) {
      if (this.#queue.run() === "gone") return "an interface of it was removed";
      // First the waker: what is posted from now on wakes again.
      while ((receiveMessage(this.#waker.number, this.#scratch) ?? 0) > 0);
      let messages = 0;
      let packetsMs = monotonicMs();
      for (let next = takeMessage<ToQueue>(this.#start.port); next !== undefined; messages++) {
        if (next.kind === "stop") return undefined;
        this.#hear(next);
        if (monotonicMs() - packetsMs >= ORDERS_MS) {
          this.#queue.once(0);
          packetsMs = monotonicMs();
        }
        next = takeMessage<ToQueue>(this.#start.port);
      }
      this.#collection.worked(messages);
    }
  }

  #hear(message: Exclude<ToQueue, { readonly kind: "stop" }>): void {
    const { id } = message;
    if (message.kind === "report") {
      this.#say({ kind: "report", id, report: onBoottime(this.#queue.path.report()) });
      return;
    }
    try {
      if (message.kind === "detour") this.#queue.detour(message.route, message.socket);
      else if (message.kind === "adapt") this.#adapt(message);
      else this.#obey(onOwnTime(message.order));
      this.#say({ kind: "obeyed", id });
    } catch (error) {
      this.#say({ kind: "refused", id, reason: error instanceof Error ? error.message : String(error) });
    }
  }

  #adapt({ cpu, ports }: Extract<ToQueue, { readonly kind: "adapt" }>): void {
    if (cpu !== undefined) pinThread(cpu);
    this.#queue.path.setPorts(ports);
  }

  #obey(order: GatewayOrder): void {
    try {
      this.#queue.obey(order);
    } finally {
      if (order.kind === "inbound" || order.kind === "outbound") order.association.keyMaterial.fill(0);
    }
  }

  [Symbol.dispose](): void {
    this.#queue[Symbol.dispose]();
    this.#waker.close();
    this.#inbox.release();
  }
}

/** What is to be added to a moment of `boottimeMs` for one of the path's clock. */
const offsetMs = () => monotonicMs() - boottimeMs();

function onOwnTime(order: GatewayOrder): GatewayOrder {
  if (order.kind === "inbound" && order.association.endsMs !== undefined)
    return { ...order, association: { ...order.association, endsMs: order.association.endsMs + offsetMs() } };
  if (order.kind === "outbound" && order.association.endsMs !== undefined)
    return { ...order, association: { ...order.association, endsMs: order.association.endsMs + offsetMs() } };
  return order;
}

function onBoottime(report: GatewayReport): GatewayReport {
  const offset = offsetMs();
  const moment = <T extends { readonly endsMs?: number; readonly heardMs?: number }>(one: T): T => ({
    ...one,
    ...(one.endsMs === undefined ? {} : { endsMs: one.endsMs - offset }),
    ...(one.heardMs === undefined ? {} : { heardMs: one.heardMs - offset }),
  });
  return { ...report, outbound: report.outbound.map(moment), inbound: report.inbound.map(moment) };
}
