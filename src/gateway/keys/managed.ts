/**
 * Associations that an operator gives (`data-plane true`): no exchange, no lifetime; but never a nonce twice, whatever restarts.
 *
 * ```
 *   configure ─▶ reserve a block ─▶ store ── stored ─▶ outbound (first … last), use
 *   half of the numbers are used  ─▶ store ── stored ─▶ reserve (last)
 *                                           └─ not stored ─▶ refused; the same again later (due)
 * ```
 */
import type { AgreedSa } from "../../exchange/mod.ts";
import {
  fingerprintOf,
  formatSequenceBook,
  type Reserved,
  reserve,
  type SequenceBook,
} from "./sequence-book.ts";
import type { Direction, Now } from "./keeper-event.ts";

/** ManagedSa is one of them. */
export interface ManagedSa {
  readonly direction: Direction;
  readonly route: string;
  readonly sa: AgreedSa;
}

/** ManagedEvent is what happens. */
export type ManagedEvent =
  /** All of them. Key material is the keeper's from now on: it wipes what it never hands out, and whoever installs the rest wipes that. */
  | { readonly kind: "configure"; readonly associations: readonly ManagedSa[] }
  /** Half of the sequence numbers that may be used are. */
  | { readonly kind: "sequence"; readonly route: string; readonly queue: number; readonly spi: number }
  /** The write of a version is durable. */
  | { readonly kind: "stored"; readonly version: number }
  /** It failed: what waited for it is refused, and tried again later. */
  | { readonly kind: "not stored"; readonly version: number; readonly reason: string }
  | { readonly kind: "due" };

/** ManagedEffect is asked for, in order. */
export type ManagedEffect =
  /** Write the text durably (mode 0600), then say so. */
  | { readonly kind: "store"; readonly version: number; readonly text: string }
  | { readonly kind: "inbound"; readonly route: string; readonly sa: AgreedSa }
  | {
      readonly kind: "outbound";
      readonly route: string;
      readonly sa: AgreedSa;
      readonly first: number;
      readonly last: number;
    }
  | { readonly kind: "use"; readonly route: string; readonly queue: number; readonly spi: number }
  | {
      readonly kind: "reserve";
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
      readonly last: number;
    }
  | {
      readonly kind: "remove";
      readonly direction: Direction;
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
    }
  | {
      readonly kind: "refused";
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
      readonly reason: string;
    };

interface Held {
  readonly one: ManagedSa;
  readonly fingerprint: string;
  /** Numbers up to here are the data path's; 0 before it has it. */
  readonly last: number;
  /** What follows when it is stored: the version that is waited for, or when it is tried again after so many failures. */
  readonly waits?: Waits;
  readonly failures?: number;
}

type Waits =
  | { readonly kind: "stored"; readonly version: number; readonly block: Reserved }
  | { readonly kind: "later"; readonly atMs: number; readonly block: Reserved };

/** RETRY_MS is when a write that failed is tried again, doubled each time up to MOST_RETRY_MS. */
export const RETRY_MS = 1000;
/** MOST_RETRY_MS: the numbers that the data path has left are those of far more than this, so that a disk that is mended in time is noticed in time. */
export const MOST_RETRY_MS = 30_000;

const nameOf = ({ direction, route, sa }: ManagedSa) => `${direction} ${route} ${sa.queue} ${sa.spi}`;

/** ManagedKeeper knows which numbers may be used. It owns secrets: dispose of it. */
export class ManagedKeeper implements Disposable {
  #book: SequenceBook | string;
  #version = 0;
  readonly #held = new Map<string, Held>();

  /** A string is why the book cannot be read: then nothing goes out. */
  constructor(book: SequenceBook | string) {
    this.#book = book;
  }

  /** When to step `due`; undefined when nothing is to be tried again. */
  get nextMs(): number | undefined {
    const times = [...this.#held.values()].flatMap(({ waits }) =>
      waits?.kind === "later" ? [waits.atMs] : [],
    );
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** step returns what is to be done after an event, in order. */
  step(event: ManagedEvent, { nowMs }: Now): readonly ManagedEffect[] {
    switch (event.kind) {
      case "configure":
        return [...this.#configure(event.associations), ...this.#again(() => true)];
      case "due":
        return this.#again((atMs) => atMs <= nowMs);
      case "sequence": {
        const name = `outbound ${event.route} ${event.queue} ${event.spi}`;
        const held = this.#held.get(name);
        return held === undefined || held.waits !== undefined ? [] : this.#reserve(name, held);
      }
      case "stored":
        return this.#after(event.version, (name, held) => this.#grant(name, held));
      case "not stored": {
        const why = `its sequence numbers cannot be noted (${event.reason}); make room or mend the disk`;
        return this.#after(event.version, (name, held) => this.#postpone(name, held, { why, nowMs }));
      }
    }
  }

  /** Writes once more for all whose time has come. */
  #again(isDue: (atMs: number) => boolean): readonly ManagedEffect[] {
    const due = [...this.#held].filter(([, { waits }]) => waits?.kind === "later" && isDue(waits.atMs));
    if (due.length === 0) return [];
    const version = ++this.#version;
    for (const [name, held] of due) {
      const { block } = held.waits as Waits;
      this.#held.set(name, { ...held, waits: { kind: "stored", version, block } });
    }
    return [this.#store(version)];
  }

  #store(version: number): ManagedEffect {
    if (typeof this.#book === "string") throw new Error("there is no book to store");
    return { kind: "store", version, text: formatSequenceBook(this.#book) };
  }

  #configure(associations: readonly ManagedSa[]): readonly ManagedEffect[] {
    const wanted = new Map(associations.map((one) => [nameOf(one), one]));
    const effects: ManagedEffect[] = [];
    for (const [name, held] of this.#held) {
      const next = wanted.get(name);
      if (next !== undefined && this.#fingerprint(next) === held.fingerprint) {
        if (next.sa.keyMaterial !== held.one.sa.keyMaterial) wipe(next);
        continue;
      }
      this.#held.delete(name);
      if (isHandedOut(held)) effects.push(removal(held.one));
      else wipe(held.one);
    }
    for (const [name, one] of wanted) if (!this.#held.has(name)) effects.push(...this.#add(name, one));
    return effects;
  }

  /** Without a book nothing goes out, and what comes in is told apart by its bytes alone. */
  #fingerprint({ sa }: ManagedSa): string {
    const book = typeof this.#book === "string" ? { salt: new Uint8Array(32), next: new Map() } : this.#book;
    return fingerprintOf(book, sa);
  }

  #add(name: string, one: ManagedSa): readonly ManagedEffect[] {
    const fingerprint = this.#fingerprint(one);
    const held: Held = { one, fingerprint, last: 0 };
    if (one.direction === "inbound") {
      this.#held.set(name, held);
      return [{ kind: "inbound", route: one.route, sa: one.sa }];
    }
    const twin = [...this.#held.values()].find(
      (other) => other.one.direction === "outbound" && other.fingerprint === fingerprint,
    );
    if (twin !== undefined)
      return this.#refuse(
        name,
        held,
        `its key and salt are those of SPI ${twin.one.sa.spi} of route ${twin.one.route}, queue ${twin.one.sa.queue}; give each its own`,
      );
    return this.#reserve(name, held);
  }

  #reserve(name: string, held: Held): readonly ManagedEffect[] {
    if (typeof this.#book === "string") {
      const why = `which sequence numbers were used is not known (${this.#book}); give new keys and remove the file: a copy of it from before may not be put back, since it would have numbers used twice`;
      return this.#refuse(name, held, why);
    }
    const block = reserve(this.#book, held.fingerprint);
    if (typeof block === "string") return this.#refuse(name, held, block);
    this.#book = block.book;
    const version = ++this.#version;
    this.#held.set(name, { ...held, waits: { kind: "stored", version, block } });
    return [this.#store(version)];
  }

  /** A version has all that the ones before have. */
  #after(
    version: number,
    work: (name: string, held: Held) => readonly ManagedEffect[],
  ): readonly ManagedEffect[] {
    const effects: ManagedEffect[] = [];
    for (const [name, held] of [...this.#held])
      if (held.waits?.kind === "stored" && held.waits.version <= version) effects.push(...work(name, held));
    return effects;
  }

  #grant(name: string, { waits, failures: _, ...held }: Held): readonly ManagedEffect[] {
    if (waits === undefined) return [];
    const { first, last } = waits.block;
    this.#held.set(name, { ...held, last });
    const { route, sa } = held.one;
    const { queue, spi } = sa;
    if (held.last > 0) return [{ kind: "reserve", route, queue, spi, last }];
    return [
      { kind: "outbound", route, sa, first, last },
      { kind: "use", route, queue, spi },
    ];
  }

  /** The same block is written again: none of its numbers was given out. */
  #postpone(
    name: string,
    held: Held,
    { why, nowMs }: Now & { readonly why: string },
  ): readonly ManagedEffect[] {
    if (held.waits === undefined) return [];
    const { failures = 0, waits, one } = held;
    const atMs = nowMs + Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** failures);
    const later = { kind: "later", atMs, block: waits.block } as const;
    this.#held.set(name, { ...held, failures: failures + 1, waits: later });
    return [refusal(one, why)];
  }

  /** For good. What the data path has goes on up to its last number. */
  #refuse(name: string, { waits: _, ...held }: Held, reason: string): readonly ManagedEffect[] {
    if (held.last > 0) this.#held.set(name, held);
    else {
      this.#held.delete(name);
      wipe(held.one);
    }
    return [refusal(held.one, reason)];
  }

  /** Wipes the secrets that were not handed out; what the data path has goes on. */
  [Symbol.dispose](): void {
    for (const held of this.#held.values()) if (!isHandedOut(held)) wipe(held.one);
    this.#held.clear();
  }
}

/** What waits for its first block is not there yet, and its key is ours. */
function isHandedOut({ one, last }: Held): boolean {
  return one.direction === "inbound" || last > 0;
}

function wipe({ sa }: ManagedSa): void {
  sa.keyMaterial[Symbol.dispose]();
}

function refusal({ route, sa }: ManagedSa, reason: string): ManagedEffect {
  return { kind: "refused", route, queue: sa.queue, spi: sa.spi, reason };
}

function removal({ direction, route, sa }: ManagedSa): ManagedEffect {
  return { kind: "remove", direction, route, queue: sa.queue, spi: sa.spi };
}
