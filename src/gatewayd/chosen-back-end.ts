/**
 * Who carries a gateway's packets, as its configuration says: the kernel, user space, or (`auto`) what the machine is able to. Another choice takes
 * over while the gateway runs: its queues go down, and come up by the other, with new keys.
 *
 * Nothing leaves in the plain meanwhile. From user space to the kernel, prefixes are blocked before interfaces are let go of; from the kernel to
 * user space, they stay blocked until all queues are up.
 */
import type { GatewayConfig } from "../gateway/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { GatewayOrder, GatewayReport } from "../tunnel/gateway/mod.ts";
import type { BackEndKind, BackEndNews, CarriedNext, GatewayBackEnd, Tell } from "./back-end.ts";
import type { QueuePlan } from "./queue-plan.ts";

/** BackEndWish is what a configuration can say. */
export type BackEndWish = GatewayConfig["backend"];

/** BackEndFacts tell why a back-end cannot be on this machine; undefined: it can. They throw where that cannot be found out now. */
export type BackEndFacts = Readonly<Record<BackEndKind, () => string | undefined>>;

/** BackEndChoice is who carries packets, and why. */
export interface BackEndChoice {
  readonly kind: BackEndKind;
  readonly reason: string;
}

/** chooseBackEnd prefers user space, for which the host needs no addresses and routes. What is asked for is taken, whatever the machine has. */
export function chooseBackEnd(wish: BackEndWish, facts: BackEndFacts): BackEndChoice {
  if (wish !== "auto") return { kind: wish, reason: "the configuration says so" };
  const user = facts.user();
  if (user === undefined) return { kind: "user", reason: "auto: the machine has AF_XDP" };
  const kernel = facts.kernel();
  if (kernel === undefined)
    return { kind: "kernel", reason: `auto: the kernel has ESP, and user space cannot: ${user}` };
  return { kind: "user", reason: `auto: the kernel cannot (${kernel}), and user space lacks: ${user}` };
}

const notRunning = (queue: number) => Promise.reject(new Error(`queue ${queue} does not run`));

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error));

/** ChosenBackEndParts are what it chooses from. */
export interface ChosenBackEndParts {
  readonly tell: Tell;
  readonly facts: BackEndFacts;
  /** Makes one; its queues may start when what was before, if there was something, is gone. */
  readonly make: Readonly<
    Record<BackEndKind, (tell: Tell, before: Promise<void> | undefined) => GatewayBackEnd>
  >;
  /** Takes the kernel's for this process; throws who has it, or has left something blocked there. */
  readonly lock: () => Disposable;
  /** Whether the kernel's has left something blocked; and letting go of that. */
  readonly isLeft: () => boolean;
  readonly letGo: () => void;
}

/** ChosenBackEnd owns the one that was chosen. */
export class ChosenBackEnd implements GatewayBackEnd {
  readonly #parts: ChosenBackEndParts;
  #now: { readonly kind: BackEndKind; readonly backEnd: GatewayBackEnd } | undefined;
  #auto: BackEndChoice | undefined;
  #reason: string | undefined;
  #lock: Disposable | undefined;
  /** What is going; another does not start before it is gone. */
  #leaving: Promise<void> | undefined;
  #queues: ReadonlySet<number> = new Set();
  readonly #up = new Set<number>();
  /** The kernel may block prefixes that it carries no more. */
  #mayBlock = true;
  /** Why that could not be ended, as it was told. */
  #blocked: string | undefined;

  constructor(parts: ChosenBackEndParts) {
    this.#parts = parts;
  }

  claim(wish: BackEndWish): void {
    const { kind } = this.#decide(wish);
    if (kind !== "kernel" || this.#now?.kind === kind) return;
    const problem = this.#parts.facts.kernel();
    if (problem !== undefined)
      throw new Error(`the kernel has no ESP (${problem}); load its module esp4, or choose user`);
    this.#lock ??= this.#parts.lock();
  }

  /** What the machine is able to is looked up until it is known. */
  #decide(wish: BackEndWish): BackEndChoice {
    const { facts } = this.#parts;
    if (wish !== "auto") return chooseBackEnd(wish, facts);
    if (this.#auto !== undefined) return this.#auto;
    let isSure = true;
    const kernel = () => {
      try {
        return facts.kernel();
      } catch (error) {
        isSure = false;
        return textOf(error);
      }
    };
    const choice = chooseBackEnd(wish, { ...facts, kernel });
    if (isSure) this.#auto = choice;
    return choice;
  }

  /** Who carries packets first has nothing to take over, and what it lacks is its queues' status. */
  choose(wish: BackEndWish, next: CarriedNext = { plans: [], prefixes: [] }): void {
    const { kind, reason } = this.#decide(wish);
    const { tell } = this.#parts;
    if (kind === "kernel") this.#lock ??= this.#parts.lock();
    if (this.#now?.kind !== kind) this.#replace(kind, next);
    if (this.#reason !== `${kind} ${reason}`) tell({ kind: "chosen", by: kind, reason });
    this.#reason = `${kind} ${reason}`;
  }

  /** The new one protects before the old one lets go; where it cannot, the old one stays. */
  #replace(kind: BackEndKind, next: CarriedNext): void {
    const { make, tell } = this.#parts;
    const before = this.#now;
    const gone = Promise.withResolvers<void>();
    const backEnd = make[kind](
      (news) => {
        if (this.#now?.backEnd === backEnd) this.#hear(news);
      },
      before === undefined ? undefined : gone.promise,
    );
    this.#mayBlock = true;
    if (before !== undefined) this.#prepare(backEnd, next);
    const up = [...this.#up];
    this.#up.clear();
    this.#now = undefined;
    for (const queue of up)
      tell({ kind: "down", queue, reason: `another back-end carries it from now on: ${kind}` });
    if (before !== undefined) {
      this.#leaving = this.#after(this.#leaving, before.backEnd);
      void this.#leaving.then(gone.resolve);
    }
    this.#now = { kind, backEnd };
  }

  #prepare(backEnd: GatewayBackEnd, next: CarriedNext): void {
    try {
      backEnd.prepare?.(next);
    } catch (error) {
      backEnd[Symbol.dispose]();
      // What it has blocked meanwhile.
      if (this.#areUp()) this.#unblock();
      throw error;
    }
  }

  #areUp(): boolean {
    return this.#queues.size > 0 && [...this.#queues].every((queue) => this.#up.has(queue));
  }

  /** Resolves when what is going is gone, or could not go. */
  async #after(leaving: Promise<void> | undefined, backEnd: GatewayBackEnd): Promise<void> {
    const gone = backEnd.close();
    try {
      await Promise.all([leaving, gone]);
    } catch (error) {
      this.#parts.tell({ kind: "failed", reason: textOf(error) });
    }
  }

  #hear(news: BackEndNews): void {
    if (news.kind === "up") this.#up.add(news.queue);
    if (news.kind === "down") this.#up.delete(news.queue);
    this.#parts.tell(news);
    if (news.kind === "up" && this.#areUp()) this.#unblock();
  }

  /** What user space carries passes the kernel by: it need not block any more. What it would not let go of now is looked at again. */
  #unblock(): void {
    if (this.#now?.kind !== "user" || !this.#mayBlock) return;
    const { isLeft, lock, letGo, tell } = this.#parts;
    try {
      if (isLeft()) {
        // Throws where what is blocked is another gateway's.
        this.#lock ??= lock();
        letGo();
      }
      this.#mayBlock = false;
      this.#blocked = undefined;
    } catch (error) {
      const reason = textOf(error);
      if (reason !== this.#blocked) tell({ kind: "failed", reason });
      this.#blocked = reason;
    }
    this.#unlock();
  }

  #unlock(): void {
    this.#lock?.[Symbol.dispose]();
    this.#lock = undefined;
  }

  protect(prefixes: readonly Prefix[]): void {
    this.#now?.backEnd.protect?.(prefixes);
  }

  set(plans: readonly QueuePlan[]): void {
    this.#queues = new Set(plans.map(({ number }) => number));
    this.#now?.backEnd.set(plans);
    if (this.#areUp()) this.#unblock();
  }

  look(): void {
    this.#now?.backEnd.look();
    if (this.#areUp()) this.#unblock();
  }

  obey(queue: number, order: GatewayOrder): Promise<void> {
    return this.#now?.backEnd.obey(queue, order) ?? notRunning(queue);
  }

  detour(queue: number, route: string, by: number | undefined): Promise<void> {
    return this.#now?.backEnd.detour(queue, route, by) ?? notRunning(queue);
  }

  report(): Promise<ReadonlyMap<number, GatewayReport>> {
    return this.#now?.backEnd.report() ?? Promise.resolve(new Map());
  }

  async close(forGood = false): Promise<void> {
    const now = this.#now;
    if (forGood) this.#unblock();
    this.#now = undefined;
    await Promise.all([this.#leaving, now?.backEnd.close(forGood)]);
    this.#unlock();
  }

  [Symbol.dispose](): void {
    this.#now?.backEnd[Symbol.dispose]();
    this.#now = undefined;
    this.#unlock();
  }
}
