/** The thread of a queue, as the main thread has it: its start, orders with their outcome, reports, and its end. */
import {
  COMPILED,
  type Fd,
  hearMessages,
  socketPair,
  startThread,
  type ThreadPort,
  threadPorts,
  trySendMessage,
} from "../sys/mod.ts";
import type { ExchangePorts, GatewayNews, GatewayOrder, GatewayReport } from "../tunnel/gateway/mod.ts";
import { PatientQuestion } from "./patient-question.ts";
import type { FromQueue, QueueEnd, QueueStart, ToQueue } from "./queue-link.ts";

const WAKER_BYTES = 4096;
/** A thread that is stuck keeps nobody from the reports of others for longer. */
const REPORT_MS = 3_000;
const WAKE = new Uint8Array([1]);

/** QueueHears gets what the thread says. */
export interface QueueHears {
  /** It has its sockets, by descriptor. */
  readonly ready: (sockets: {
    readonly private: number;
    readonly public: number;
    readonly aead: string;
  }) => void;
  readonly news: (news: GatewayNews) => void;
  /** Nothing is left of it. Without a reason it was told to stop. */
  readonly ended: (end: Pick<QueueEnd, "reason" | "lacksXdp">) => void;
}

interface Waiting {
  readonly resolve: (report: GatewayReport | undefined) => void;
  readonly reject: (error: Error) => void;
}

/** What is said without its number. */
type WithoutId<M> = M extends { readonly id: number } ? Omit<M, "id"> : never;
type Question = WithoutId<ToQueue>;

/** QueueHandle is one thread; it is gone when `ended` was called. */
export class QueueHandle {
  readonly #port: ThreadPort;
  readonly #thread: Disposable;
  readonly #waker: Fd;
  readonly #hears: QueueHears;
  readonly #waiting = new Map<number, Waiting>();
  readonly #report = new PatientQuestion(() => this.#ask({ kind: "report" }), REPORT_MS);
  readonly #end = Promise.withResolvers<void>();
  #nextId = 1;
  #isOver = false;

  constructor(start: Omit<QueueStart, "port" | "waker">, hears: QueueHears) {
    const [ours, theirs] = threadPorts();
    const [waker, theirWaker] = socketPair(WAKER_BYTES);
    this.#port = ours;
    this.#waker = waker;
    this.#hears = hears;
    hearMessages<FromQueue>(ours, (message) => this.#hear(message));
    const input: QueueStart = { ...start, port: theirs, waker: theirWaker.release() };
    this.#thread = startThread(threadModule(), input, ({ message }) => this.#over({ reason: message }), [
      theirs,
    ]);
  }

  /** obey resolves when the thread has obeyed; the caller may wipe keys of the order at once. */
  async obey(order: GatewayOrder): Promise<void> {
    await this.#ask({ kind: "obey", order });
  }

  /** adapt resolves when the thread is on that processor, if one is said, and listens to these ports. */
  async adapt(to: { readonly cpu?: number; readonly ports: ExchangePorts }): Promise<void> {
    await this.#ask({ kind: "adapt", ...to });
  }

  /** detour resolves when the thread hands a route's packets over by a socket, or without one no more. */
  async detour(route: string, socket: number | undefined): Promise<void> {
    await this.#ask({ kind: "detour", route, ...(socket === undefined ? {} : { socket }) });
  }

  /** report asks for what was carried; undefined while the thread does not answer. */
  report(): Promise<GatewayReport | undefined> {
    return this.#report.answer();
  }

  /** stop resolves when the thread has closed what it had. */
  stop(): Promise<void> {
    this.#post({ kind: "stop" });
    return this.#end.promise;
  }

  #ask(what: Question) {
    if (this.#isOver) return Promise.reject(new Error("the queue has ended"));
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<GatewayReport | undefined>();
    this.#waiting.set(id, { resolve, reject });
    this.#post({ ...what, id });
    return promise;
  }

  #post(message: ToQueue): void {
    if (this.#isOver) return;
    this.#port.postMessage(message);
    trySendMessage(this.#waker.number, WAKE);
  }

  #hear(message: FromQueue): void {
    switch (message.kind) {
      case "ready":
        return this.#hears.ready({
          private: message.privateSocket,
          public: message.publicSocket,
          aead: message.aead,
        });
      case "news":
        return this.#hears.news(message.news);
      case "obeyed":
        return this.#answered(message.id, ({ resolve }) => resolve(undefined));
      case "report":
        return this.#answered(message.id, ({ resolve }) => resolve(message.report));
      case "refused":
        return this.#answered(message.id, ({ reject }) => reject(new Error(message.reason)));
      case "ended":
        return this.#over(message);
    }
  }

  #answered(id: number, work: (waiting: Waiting) => void): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting !== undefined) work(waiting);
  }

  #over(end: Pick<QueueEnd, "reason" | "lacksXdp">): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#port.close();
    this.#waker.close();
    this.#thread[Symbol.dispose]();
    for (const { reject } of this.#waiting.values()) reject(new Error(end.reason ?? "the queue has ended"));
    this.#waiting.clear();
    this.#hears.ended(end);
    this.#end.resolve();
  }
}

/** The module of the thread: in the executable it lies by its path below src. */
function threadModule(): string {
  return COMPILED ? "./gatewayd/queue-thread.ts" : new URL("./queue-thread.ts", import.meta.url).href;
}
