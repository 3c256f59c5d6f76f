/** BFD as the control plane has it: sessions are wished for, and each change of state is told. */
import { KeptProcess, type KeptProcessOptions, keptStatus, LineClient, after } from "../sys/mod.ts";
import { bfdSessionId, type BfdSessionStatus, type BfdStatus, type BfdWish } from "./config.ts";

const RECONNECT_MS = 100;
/** The process takes no more at once. */
const MOST_ENDED = 10_000;

/** BfdClientOptions say where the process answers, and who is told. */
export interface BfdClientOptions extends Omit<KeptProcessOptions, "command"> {
  /** A session's state, also the first that is known of it. */
  readonly onChange: (status: BfdSessionStatus) => void;
  /** The process refused what was wished, or said what cannot be read. */
  readonly onProblem?: (text: string) => void;
}

/** BfdClient starts the process or finds it, and says again what is wished when it had to be started again. */
export class BfdClient implements Disposable {
  readonly #options: BfdClientOptions;
  readonly #states = new Map<string, BfdSessionStatus>();
  #process: KeptProcess | undefined;
  #client: LineClient | undefined;
  #retry: Disposable | undefined;
  #wishes: readonly BfdWish[] | undefined;
  #keepOthers = false;
  /** Ids of what this client wished for once, and does not any more: no others of somebody else. */
  readonly #ended = new Set<string>();
  /** The ids of what is wished; absent before anything is. */
  #wished: ReadonlySet<string> | undefined;
  #closed = false;

  private constructor(options: BfdClientOptions) {
    this.#options = options;
  }

  /** open starts the process or takes over the one that runs: its sessions go on, and their states are told. */
  static async open(options: BfdClientOptions): Promise<BfdClient> {
    const client = new BfdClient(options);
    client.#process = await KeptProcess.open({ ...options, command: ["bfd", "run"] });
    client.#connect();
    return client;
  }

  /** set says which sessions are wished; one that is there already goes on. With `keepOthers` so do those that nobody wishes for yet. */
  set(
    wishes: readonly BfdWish[],
    { keepOthers = false }: { readonly keepOthers?: boolean | undefined } = {},
  ): void {
    this.#wishes = wishes;
    this.#keepOthers = keepOthers;
    const wished = new Set(wishes.map(bfdSessionId));
    for (const id of this.#wished ?? []) this.#ended.add(id);
    for (const id of wished) this.#ended.delete(id);
    this.#wished = wished;
    for (const id of this.#states.keys()) if (!wished.has(id)) this.#states.delete(id);
    const ended = keepOthers ? [...this.#ended].slice(-MOST_ENDED) : [];
    this.#client?.send(JSON.stringify({ op: "set", sessions: wishes, keepOthers, ended }));
  }

  /** state is what is known of a session, by its id. */
  state(id: string): BfdSessionStatus | undefined {
    return this.#states.get(id);
  }

  #connect(): void {
    if (this.#closed) return;
    try {
      this.#client = LineClient.connect(this.#options.socket, {
        onLine: (line) => this.#received(line),
        onClosed: () => this.#again(),
      });
    } catch {
      return this.#again();
    }
    if (this.#wishes !== undefined) this.set(this.#wishes, { keepOthers: this.#keepOthers });
    // Saying the wishes may have found the process gone.
    this.#client?.send(JSON.stringify({ op: "watch" }));
  }

  #again(): void {
    this.#client = undefined;
    if (!this.#closed) this.#retry = after(RECONNECT_MS, () => this.#connect());
  }

  #received(line: string): void {
    let answer: { changed?: BfdSessionStatus; error?: string } & Partial<BfdStatus>;
    try {
      answer = JSON.parse(line);
    } catch (error) {
      return this.#options.onProblem?.(`BFD's answer cannot be read: ${(error as Error).message}`);
    }
    if (answer.error !== undefined)
      return this.#options.onProblem?.(`Cannot set BFD sessions: ${answer.error}`);
    for (const status of answer.changed === undefined ? (answer.sessions ?? []) : [answer.changed]) {
      // The last word of a session that was taken away.
      if (this.#wished?.has(status.id) === false) continue;
      const former = this.#states.get(status.id);
      this.#states.set(status.id, status);
      if (former?.state !== status.state) this.#options.onChange(status);
    }
  }

  /** close lets go of the process; its sessions go on. */
  close(): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#client?.[Symbol.dispose]();
    this.#process?.close();
  }

  /** destroy ends the process and its sessions. */
  async destroy(): Promise<void> {
    this.close();
    await this.#process?.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** bfdStatus asks the process at a socket, without starting one; undefined when none runs. */
export function bfdStatus(socket: string): BfdStatus | undefined {
  return keptStatus(socket) as BfdStatus | undefined;
}
