/**
 * A node takes up another key of its own: what runs with the key before ends, and what is stored is begun with, as after a restart. When that
 * fails it is tried again, for what runs has ended by then: a hub would serve nobody until somebody starts its agent anew.
 */
import { after } from "../sys/mod.ts";
import { warn } from "./log.ts";

/** What failed is tried again after this time. */
const AGAIN_MS = 5_000;

/** TakingUpHooks are what it asks of the agent. */
export interface TakingUpHooks<R> {
  /** Runs one writing operation after the other. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
  /** What the node is now, told apart by identity: what runs, or why nothing does. */
  readonly now: () => object | undefined;
  /** Whether it is a hub that runs. */
  readonly isHub: () => boolean;
  /** Ends what runs; does nothing where nothing does. */
  readonly end: () => void;
  readonly stored: () => R | undefined;
  readonly run: (role: R) => Promise<void>;
  /** Nothing runs now, for this reason. */
  readonly failed: (why: Error) => void;
}

/** TakingUp goes on until it succeeds, or the node is something else by then. */
export class TakingUp<R> implements Disposable {
  readonly #hooks: TakingUpHooks<R>;
  readonly #againMs: number;
  #again: Disposable | undefined;
  #closed = false;

  constructor(hooks: TakingUpHooks<R>, { againMs = AGAIN_MS }: { readonly againMs?: number } = {}) {
    this.#hooks = hooks;
    this.#againMs = againMs;
  }

  /** begin takes the key up, unless the node is not `from` any more when it is its turn. */
  begin(from: object | undefined): void {
    this.#hooks
      .inTurn(() => this.#try(from))
      .catch((error: unknown) => warn("cannot take the new key up", { error }));
  }

  async #try(from: object | undefined): Promise<void> {
    const { now, isHub, end, stored, run, failed } = this.#hooks;
    if (this.#closed || now() !== from) return;
    try {
      // A hub's register and its log are one's at a time.
      if (isHub()) end();
      const role = stored();
      if (role === undefined) throw new Error("nothing is stored of the mesh that this node belongs to");
      end();
      await run(role);
    } catch (error) {
      warn("cannot take the new key up; it is tried again", { error });
      // What runs goes on where it is a node's.
      if (now() !== from) failed(error instanceof Error ? error : new Error(String(error)));
      const left = now();
      if (!this.#closed) this.#again = after(this.#againMs, () => this.begin(left));
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#again?.[Symbol.dispose]();
  }
}
