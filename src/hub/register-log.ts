/**
 * The log of commands: where writes are put in one order. With one hub there is none, and each command is applied at once; with
 * several it is in etcd (etcd-log.ts), and a command is applied at every hub after all before it.
 */
import type { CommandJson } from "./command.ts";
import type { Register } from "./register.ts";

/** LogState says whether writes are possible now, and how far this hub has come. */
export interface LogState {
  readonly kind: "sqlite" | "etcd";
  /** Why writes are refused; absent while they are possible. */
  readonly problem?: string;
  /** Number of the last entry that was applied here; 0 without a log. */
  readonly position: number;
}

/** RegisterLog orders commands and has them applied to this hub's register. */
export interface RegisterLog extends Disposable {
  /** submit applies a command, here and at all hubs, and returns what applying it gave; rejects with what it threw, or Refusal `read-only`. */
  submit(command: CommandJson): Promise<unknown>;
  /** catchUp applies all that others have written until now; rejects when that cannot be known. */
  catchUp(): Promise<void>;
  state(): LogState;
}

/** NoLog applies each command at once: the register of a single hub. */
export class NoLog implements RegisterLog {
  readonly #register: Register;

  constructor(register: Register) {
    this.#register = register;
  }

  async submit(command: CommandJson): Promise<unknown> {
    return this.#register.apply(command);
  }

  async catchUp(): Promise<void> {}

  state(): LogState {
    return { kind: "sqlite", position: 0 };
  }

  [Symbol.dispose](): void {}
}
