/**
 * Associations that an operator gives (`data-plane true`): no exchange, no lifetime; but never a nonce twice, whatever restarts.
 *
 * ```
 *   configure ─▶ reserve a block ─▶ store ── stored ─▶ outbound (first … last), use
 *   half of the numbers are used  ─▶ store ── stored ─▶ reserve (last)
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
import type { Direction } from "./keeper-event.ts";

/** ManagedSa is one of them. */
export interface ManagedSa {
  readonly direction: Direction;
  readonly route: string;
  readonly sa: AgreedSa;
}

/** ManagedEvent is what happens. */
export type ManagedEvent =
  | { readonly kind: "configure"; readonly associations: readonly ManagedSa[] }
  /** Half of the sequence numbers that may be used are. */
  | { readonly kind: "sequence"; readonly route: string; readonly queue: number; readonly spi: number }
  /** The write of a version is durable. */
  | { readonly kind: "stored"; readonly version: number }
  /** It failed: what waited for it is refused. */
  | { readonly kind: "not stored"; readonly version: number; readonly reason: string };

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
  /** The version whose store is waited for, and what follows it. */
  readonly waits?: { readonly version: number; readonly block: Reserved };
}

const nameOf = ({ direction, route, sa }: ManagedSa) => `${direction} ${route} ${sa.queue} ${sa.spi}`;

/** ManagedKeeper knows which numbers may be used. */
export class ManagedKeeper {
  #book: SequenceBook | string;
  #version = 0;
  readonly #held = new Map<string, Held>();

  /** A string is why the book cannot be read: then nothing goes out. */
  constructor(book: SequenceBook | string) {
    this.#book = book;
  }

  /** step returns what is to be done after an event, in order. */
  step(event: ManagedEvent): readonly ManagedEffect[] {
    switch (event.kind) {
      case "configure":
        return this.#configure(event.associations);
      case "sequence": {
        const name = `outbound ${event.route} ${event.queue} ${event.spi}`;
        const held = this.#held.get(name);
        return held === undefined || held.waits !== undefined ? [] : this.#reserve(name, held);
      }
      case "stored":
        return this.#after(event.version, (name, held) => this.#grant(name, held));
      case "not stored": {
        const why = `its sequence numbers cannot be noted (${event.reason}); make room or mend the disk`;
        return this.#after(event.version, (name, held) => this.#refuse(name, held, why));
      }
    }
  }

  #configure(associations: readonly ManagedSa[]): readonly ManagedEffect[] {
    const wanted = new Map(associations.map((one) => [nameOf(one), one]));
    const effects: ManagedEffect[] = [];
    for (const [name, held] of this.#held) {
      const next = wanted.get(name);
      if (next !== undefined && this.#fingerprint(next) === held.fingerprint) continue;
      this.#held.delete(name);
      effects.push(removal(held.one));
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
    this.#held.set(name, { ...held, waits: { version, block } });
    return [{ kind: "store", version, text: formatSequenceBook(block.book) }];
  }

  /** A version has all that the ones before have. */
  #after(
    version: number,
    work: (name: string, held: Held) => readonly ManagedEffect[],
  ): readonly ManagedEffect[] {
    const effects: ManagedEffect[] = [];
    for (const [name, held] of [...this.#held])
      if (held.waits !== undefined && held.waits.version <= version) effects.push(...work(name, held));
    return effects;
  }

  #grant(name: string, { waits, ...held }: Held): readonly ManagedEffect[] {
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

  /** What the data path has goes on up to its last number. */
  #refuse(name: string, { waits: _, ...held }: Held, reason: string): readonly ManagedEffect[] {
    if (held.last > 0) this.#held.set(name, held);
    else this.#held.delete(name);
    const { route, sa } = held.one;
    return [{ kind: "refused", route, queue: sa.queue, spi: sa.spi, reason }];
  }
}

function removal({ direction, route, sa }: ManagedSa): ManagedEffect {
  return { kind: "remove", direction, route, queue: sa.queue, spi: sa.spi };
}
