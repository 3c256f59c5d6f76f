/**
 * The log of commands in etcd: one order of all writes of all hubs.
 *
 * ```
 * PREFIX/head          number of the last entry
 * PREFIX/log/NUMBER    {"id","by","commands":[…]}, 16 digits; each entry once, never changed
 * PREFIX/snapshot…     see etcd-snapshot.ts; entries that are long in a snapshot are deleted
 * ```
 * An entry is appended, and `head` moved on, on condition that `head` is the last entry that this hub has applied. So every command is
 * made and applied on what all commands before it have left; when another hub was faster, its entries are applied first. The result of a
 * command is what applying it gives. A request whose answer was lost is not repeated blindly: the entry's id tells whether it is there.
 */
import { z } from "zod";
import { after, every, monotonicMs, randomBytes, sleep } from "../sys/mod.ts";
import { type CommandJson, UnknownCommandError } from "./command.ts";
import { type Compare, EtcdError, type EtcdStore, type KeyValue } from "./etcd.ts";
import { parseSnapshotHead, readSnapshot, snapshotKey, writeSnapshot } from "./etcd-snapshot.ts";
import { Refusal } from "./refusal.ts";
import type { Outcome, Register } from "./register.ts";
import type { LogState, RegisterLog } from "./register-log.ts";

/** Commands that wait together go into one entry. */
const MAX_COMMANDS = 64;
/** etcd takes 1.5 MiB in one request; base64 in JSON is a third longer. */
const MAX_ENTRY_CHARACTERS = 512 * 1024;
const MAX_WAITING = 4096;
const READ_ENTRIES = 64;
/** Without news from the watch, the log is looked at so often. */
const POLL_MS = 2_000;
const MAX_REWATCH_MS = 5_000;
/** A write waits so long for a new leader, which etcd elects in about two seconds. */
const PATIENCE_MS = 7_000;
const RETRY_MS = 200;
const SNAPSHOT_ENTRIES = 512;
/** Entries before the snapshot that stay, for hubs that are only a little behind. */
const KEEP_ENTRIES = 128;

const entrySchema = z.object({ id: z.string(), by: z.string(), commands: z.array(z.unknown()) });

interface Waiting {
  readonly command: CommandJson;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly untilMs: number;
}

interface Entry {
  readonly id: string;
  readonly batch: readonly Waiting[];
  /** It was sent, and it is not known whether etcd has it. */
  sent: boolean;
  /** What applying it gave, once it was found in the log. */
  outcomes?: Outcome[];
}

/** EtcdLogOptions is where the log is, and who writes. */
export interface EtcdLogOptions {
  readonly etcd: EtcdStore;
  /** `/causeway/EPOCH`. */
  readonly prefix: string;
  /** Which hub this is, for people who look into etcd. */
  readonly hub: string;
  /** Writes became possible or impossible. */
  readonly onProblem?: (problem: string | undefined) => void;
  /** For tests. */
  readonly snapshotEntries?: number;
  readonly patienceMs?: number;
  readonly retryMs?: number;
}

/** etcdPrefix is where a register's keys are. */
export function etcdPrefix(epoch: string): string {
  return `/causeway/${epoch}`;
}

/** EtcdLog follows the log and appends to it until it is disposed. */
export class EtcdLog implements RegisterLog {
  readonly #register: Register;
  readonly #options: EtcdLogOptions;
  readonly #resources = new DisposableStack();
  #waiting: Waiting[] = [];
  /** Reading and appending take turns. */
  #turn: Promise<unknown> = Promise.resolve();
  #pumping = false;
  #hinted = false;
  /** The entry that is being appended; whoever reads the log may find it there. */
  #appending: Entry | undefined;
  #problem: string | undefined;
  #problemMs = 0;
  #rewatchMs = RETRY_MS;
  #watch: Disposable | undefined;
  #rewatch: Disposable | undefined;
  /** Number of the newest snapshot, and etcd's revision when it was made. */
  #snapshot = 0;
  #snapshotRevision: number | undefined;
  #snapshotting = false;
  #closed = false;

  constructor(register: Register, options: EtcdLogOptions) {
    this.#register = register;
    this.#options = options;
    this.#resources.use(every(POLL_MS, () => this.#hint()));
    this.#beginWatch();
  }

  state(): LogState {
    return {
      kind: "etcd",
      position: this.#register.position,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  submit(command: CommandJson): Promise<unknown> {
    if (JSON.stringify(command).length > MAX_ENTRY_CHARACTERS)
      return Promise.reject(
        new Refusal("bad-request", `Cannot write the register: ${command.op} is too long`),
      );
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(new Refusal("too-many", "Too many writes wait for etcd; try again later"));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const nowMs = monotonicMs();
    const patienceMs = this.#options.patienceMs ?? PATIENCE_MS;
    // Who knows that etcd has no majority does not wait for it again and again.
    const known = this.#problem !== undefined && nowMs - this.#problemMs > patienceMs;
    this.#waiting.push({ command, resolve, reject, untilMs: known ? nowMs : nowMs + patienceMs });
    void this.#pump();
    return promise;
  }

  catchUp(): Promise<void> {
    return this.#inTurn(() => this.#follow());
  }

  /** begin writes a register that exists already as the first snapshot of a log that must not exist yet. */
  async begin(): Promise<void> {
    await this.#inTurn(async () => {
      const { prefix, etcd } = this.#options;
      const dump = this.#register.dump();
      await writeSnapshot(etcd, prefix, { number: 1, dump });
      const { succeeded } = await etcd.transact({
        compare: [{ key: `${prefix}/head`, absent: true }],
        success: [{ put: `${prefix}/head`, value: "1" }],
      });
      if (!succeeded) throw new Error("etcd holds a log of this register already");
      this.#register.moveTo(1);
      this.#snapshot = 1;
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(work, work);
    this.#turn = next.catch(() => undefined);
    return next;
  }

  /** Something may have changed in etcd: looks soon, once for hints that come together. */
  #hint(): void {
    if (this.#hinted || this.#closed) return;
    this.#hinted = true;
    this.#inTurn(async () => {
      this.#hinted = false;
      if (!this.#closed) await this.#follow();
    }).catch(() => undefined);
  }

  #beginWatch(): void {
    this.#watch = this.#options.etcd.watch(`${this.#options.prefix}/head`, {
      changed: () => {
        this.#rewatchMs = RETRY_MS;
        this.#hint();
      },
      ended: () => {
        if (this.#closed) return;
        this.#rewatch = after(this.#rewatchMs, () => this.#beginWatch());
        this.#rewatchMs = Math.min(this.#rewatchMs * 2, MAX_REWATCH_MS);
      },
    });
  }

  /** Appends what waits, one entry after the other. */
  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#waiting.length > 0 && !this.#closed) await this.#inTurn(() => this.#appendSome());
    } finally {
      this.#pumping = false;
    }
  }

  async #appendSome(): Promise<void> {
    const batch = this.#take();
    const id = Buffer.from(randomBytes(12)).toString("hex");
    const untilMs = Math.min(...batch.map((one) => one.untilMs));
    const entry: Entry = { id, batch, sent: false };
    this.#appending = entry;
    for (;;) {
      try {
        const outcomes = await this.#append(entry);
        this.#appending = undefined;
        return settle(batch, outcomes);
      } catch (error) {
        this.#note(error);
        const lasting =
          !(error instanceof EtcdError) || error.kind === "refused" || error.kind === "untrusted";
        if (!lasting && monotonicMs() < untilMs && !this.#closed) {
          await sleep(this.#options.retryMs ?? RETRY_MS);
          continue;
        }
        const refusal = readOnly(error as Error, entry.sent);
        for (const one of batch) one.reject(refusal);
        this.#appending = undefined;
        return;
      }
    }
  }

  #take(): Waiting[] {
    const batch: Waiting[] = [];
    let characters = 0;
    for (const one of this.#waiting) {
      characters += JSON.stringify(one.command).length;
      if (batch.length > 0 && (batch.length >= MAX_COMMANDS || characters > MAX_ENTRY_CHARACTERS)) break;
      batch.push(one);
    }
    this.#waiting = this.#waiting.slice(batch.length);
    return batch;
  }

  async #append(entry: Entry): Promise<Outcome[]> {
    const { etcd, prefix, hub } = this.#options;
    const { id, batch } = entry;
    const commands = batch.map(({ command }) => command);
    for (;;) {
      // Also finds the entry whose answer was lost.
      await this.#follow();
      if (entry.outcomes !== undefined) return entry.outcomes;
      const position = this.#register.position;
      const key = `${prefix}/head`;
      const compare: Compare = position === 0 ? { key, absent: true } : { key, value: String(position) };
      entry.sent = true;
      const { succeeded } = await etcd.transact({
        compare: [compare],
        success: [
          { put: entryKey(prefix, position + 1), value: JSON.stringify({ id, by: hub, commands }) },
          { put: key, value: String(position + 1) },
        ],
      });
      entry.sent = false;
      if (!succeeded) continue;
      const outcomes = this.#register.applyEntry(position + 1, commands);
      this.#note(undefined);
      if (position + 1 - this.#snapshot >= (this.#options.snapshotEntries ?? SNAPSHOT_ENTRIES))
        void this.#makeSnapshot();
      return outcomes;
    }
  }

  /** Applies all entries that are in etcd. */
  async #follow(): Promise<void> {
    try {
      for (;;) {
        const position = this.#register.position;
        const { head, snapshot, entries } = await this.#read(position);
        this.#snapshot = Math.max(this.#snapshot, snapshot);
        if (head < position) throw new BehindError(head, position);
        if (head === position) break;
        const next = entries[0];
        if (next === undefined || numberOf(next.key) !== position + 1) {
          await this.#restore(position);
          continue;
        }
        for (const { key, value } of entries) {
          const number = numberOf(key);
          // Written between our reads, or cut off: the next turn sees.
          if (number !== this.#register.position + 1) break;
          const entry = entrySchema.parse(JSON.parse(value));
          const outcomes = this.#register.applyEntry(number, entry.commands);
          if (this.#appending?.id === entry.id) this.#appending.outcomes = outcomes;
        }
      }
    } catch (error) {
      this.#note(error);
      throw error;
    }
    this.#note(undefined);
  }

  async #read(position: number): Promise<{ head: number; snapshot: number; entries: KeyValue[] }> {
    const { etcd, prefix } = this.#options;
    const { read } = await etcd.transact({
      success: [
        { range: `${prefix}/head` },
        { range: snapshotKey(prefix) },
        { range: entryKey(prefix, position + 1), end: `${prefix}/log0`, limit: READ_ENTRIES },
      ],
    });
    return {
      head: Number(read[0]?.[0]?.value ?? 0),
      snapshot: parseSnapshotHead(read[1]?.[0])?.number ?? 0,
      entries: read[2] ?? [],
    };
  }

  async #restore(position: number): Promise<void> {
    const { etcd, prefix } = this.#options;
    const snapshot = await readSnapshot(etcd, prefix);
    if (snapshot === undefined || snapshot.number <= position)
      throw new Error(
        `entry ${position + 1} of the register's log is not in etcd; restore etcd from a backup, or begin a new log: causeway hub migrate`,
      );
    this.#register.restore(snapshot.dump, snapshot.number);
    if (this.#appending?.sent === true && this.#appending.outcomes === undefined)
      throw new EtcdError("refused", "what a write gave that was sent before is not in the log any more");
  }

  /** Writes a snapshot, and deletes entries that are long in it. Beside the turns: writes go on meanwhile. */
  async #makeSnapshot(): Promise<void> {
    if (this.#snapshotting || this.#closed) return;
    this.#snapshotting = true;
    try {
      const { etcd, prefix } = this.#options;
      const number = this.#register.position;
      await writeSnapshot(etcd, prefix, { number, dump: this.#register.dump() });
      this.#snapshot = number;
      const last = entryKey(prefix, Math.max(0, number - KEEP_ENTRIES));
      const { revision } = await etcd.transact({ success: [{ delete: entryKey(prefix, 0), end: last }] });
      // What keys were before the last but one snapshot, nobody needs.
      const forget = this.#snapshotRevision;
      this.#snapshotRevision = revision;
      if (forget !== undefined) await etcd.compact(forget);
    } catch {
      // The next one cuts off what this one did not; another hub's compaction may also have been first.
    } finally {
      this.#snapshotting = false;
    }
  }

  #note(error: unknown): void {
    const problem = error === undefined ? undefined : (error as Error).message;
    if (problem === this.#problem) return;
    if (this.#problem === undefined) this.#problemMs = monotonicMs();
    const changed = (problem === undefined) !== (this.#problem === undefined);
    this.#problem = problem;
    if (changed && !this.#closed) this.#options.onProblem?.(problem);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#resources.dispose();
    this.#watch?.[Symbol.dispose]();
    this.#rewatch?.[Symbol.dispose]();
    for (const one of this.#waiting.splice(0))
      one.reject(new Error("Cannot write the register: the agent stops"));
  }
}

/** The log in etcd is shorter than what this hub has applied: it is not the log that this register came from. */
class BehindError extends Error {
  constructor(head: number, position: number) {
    super(
      head === 0
        ? `etcd holds no log of this register, of which entry ${position} is here: it was emptied, or it is another cluster; begin a new log from this hub: causeway hub migrate`
        : `etcd's log of the register ends with entry ${head}, and entry ${position} is here already: etcd was restored from an old backup; begin a new log from this hub: causeway hub migrate`,
    );
  }
}

function settle(batch: readonly Waiting[], outcomes: readonly Outcome[]): void {
  for (const [i, one] of batch.entries()) {
    const outcome = outcomes[i] as Outcome;
    if ("error" in outcome) one.reject(outcome.error);
    else one.resolve(outcome.value);
  }
}

function readOnly(error: Error, sent: boolean): Error {
  if (error instanceof EtcdError || error instanceof BehindError || error instanceof UnknownCommandError)
    return new Refusal(
      "read-only",
      `Cannot write the register now: ${error.message}; reading and relaying go on${sent ? "; the write was sent, and may still be done" : ""}`,
    );
  return error;
}

function entryKey(prefix: string, number: number): string {
  return `${prefix}/log/${String(number).padStart(16, "0")}`;
}

function numberOf(key: string): number {
  return Number(key.slice(key.lastIndexOf("/") + 1));
}
