/**
 * Associations that an operator gives (`data-plane true`): no exchange, no lifetime; but never a nonce twice, whatever restarts.
 *
 * ```
 *   configure ─▶ reserve a block ─▶ store ── stored ─▶ outbound (first … last), use
 *   half of the numbers are used  ─▶ store ── stored ─▶ reserve (last)
 *                                           └─ not stored ─▶ refused; the same again later (due)
 *   not installed ─▶ refused; asked for again later (wanted), since its key is gone
 * ```
 */
import type { AgreedSa } from "../../exchange/mod.ts";
import { type Ip, ipEqual } from "../../net/mod.ts";
import { systemPrimitives } from "../../noise/mod.ts";
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
  /** Where an outbound one goes; without it there is nobody to send to. */
  readonly to?: Ip;
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
  /** The data path has an association that it was given, or has refused it and forgotten the key; `sa` is that of the effect. */
  | {
      readonly kind: "installed";
      readonly direction: Direction;
      readonly route: string;
      readonly sa: AgreedSa;
    }
  | {
      readonly kind: "not installed";
      readonly direction: Direction;
      readonly route: string;
      readonly sa: AgreedSa;
      readonly reason: string;
    }
  /** The book was read again, since it could not be read before. */
  | { readonly kind: "book"; readonly book: SequenceBook | string }
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
      readonly to: Ip;
      readonly first: number;
      readonly last: number;
    }
  /** It goes elsewhere from now on. */
  | {
      readonly kind: "retarget";
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
      readonly to: Ip;
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
  | (Named & { readonly kind: "refused"; readonly reason: string })
  /** Nothing is in its way any more, or it is not wanted any more. */
  | (Named & { readonly kind: "mended" })
  /** Configure all of them again: what could not be installed is tried again. */
  | { readonly kind: "wanted" };

/** Named says which association. */
interface Named {
  readonly direction: Direction;
  readonly route: string;
  readonly queue: number;
  readonly spi: number;
}

interface Held {
  readonly one: ManagedSa;
  readonly fingerprint: string;
  /** Numbers up to here are the data path's; 0 before it has it. */
  readonly last: number;
  /** What follows when it is stored: the version that is waited for, or when it is tried again after so many failures. */
  readonly waits?: Waits;
  readonly failures?: number;
}

/** What could not be installed: how often in a row, and when it is tried again; without a moment, with the next configuration. */
interface Again {
  readonly failures: number;
  readonly atMs?: number;
}

type Waits =
  | { readonly kind: "stored"; readonly version: number; readonly block: Reserved }
  | { readonly kind: "later"; readonly atMs: number; readonly block: Reserved };

/** RETRY_MS is when a write or an installation that failed is tried again, doubled each time up to MOST_RETRY_MS. */
export const RETRY_MS = 1000;
/** MOST_RETRY_MS: the numbers that the data path has left are those of far more than this, so that a disk that is mended in time is noticed in time. */
export const MOST_RETRY_MS = 30_000;

const SALT_BYTES = 32;

const nameOf = ({ direction, route, sa }: Pick<ManagedSa, "direction" | "route" | "sa">) =>
  `${direction} ${route} ${sa.queue} ${sa.spi}`;
const retryMs = (failures: number) => Math.min(MOST_RETRY_MS, RETRY_MS * 2 ** failures);

/** ManagedKeeper knows which numbers may be used. It owns secrets: dispose of it. */
export class ManagedKeeper implements Disposable {
  #book: SequenceBook | string;
  #version = 0;
  readonly #held = new Map<string, Held>();
  readonly #refused = new Map<string, Named>();
  readonly #again = new Map<string, Again>();
  /** What comes in is told apart by this process alone, whatever becomes of the book. */
  readonly #salt = systemPrimitives.random(SALT_BYTES);

  /** A string is why the book cannot be read: then nothing goes out. */
  constructor(book: SequenceBook | string) {
    this.#book = book;
  }

  /** lacksBook tells whether the book could not be read. */
  get lacksBook(): boolean {
    return typeof this.#book === "string";
  }

  /** When to step `due`; undefined when nothing is to be tried again. */
  get nextMs(): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const { waits } of this.#held.values())
      if (waits?.kind === "later") next = Math.min(next, waits.atMs);
    for (const { atMs } of this.#again.values()) if (atMs !== undefined) next = Math.min(next, atMs);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  /** step returns what is to be done after an event, in order. */
  step(event: ManagedEvent, { nowMs }: Now): readonly ManagedEffect[] {
    switch (event.kind) {
      case "configure":
        return [...this.#configure(event.associations), ...this.#storeAgain(() => true)];
      case "due":
        return [...this.#storeAgain((atMs) => atMs <= nowMs), ...this.#installAgain(nowMs)];
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
      case "installed": {
        const name = nameOf(event);
        if (this.#held.get(name)?.one.sa !== event.sa) return [];
        this.#again.delete(name);
        return this.#mended(name);
      }
      case "not installed":
        return this.#notInstalled(event, nowMs);
      case "book":
        this.#book = event.book;
        return [];
    }
  }

  /** Its numbers may have been used: the next try has others. */
  #notInstalled(event: Extract<ManagedEvent, { readonly kind: "not installed" }>, nowMs: number) {
    const name = nameOf(event);
    const held = this.#held.get(name);
    // What is asked for by now is another.
    if (held?.one.sa !== event.sa) return [];
    const { failures = 0 } = this.#again.get(name) ?? {};
    this.#held.delete(name);
    this.#again.set(name, { failures: failures + 1, atMs: nowMs + retryMs(failures) });
    return [this.#refusal(name, held.one, event.reason)];
  }

  #installAgain(nowMs: number): readonly ManagedEffect[] {
    const due = [...this.#again].filter(([, { atMs }]) => atMs !== undefined && atMs <= nowMs);
    for (const [name, { failures }] of due) this.#again.set(name, { failures });
    return due.length === 0 ? [] : [{ kind: "wanted" }];
  }

  /** Writes once more for all whose time has come. */
  #storeAgain(isDue: (atMs: number) => boolean): readonly ManagedEffect[] {
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
      if (next !== undefined && this.#isSame(next, held)) {
        if (next.sa.keyMaterial !== held.one.sa.keyMaterial) wipe(next);
        effects.push(...this.#aim(name, held, next.to));
        continue;
      }
      this.#held.delete(name);
      if (isHandedOut(held)) effects.push(removal(held.one));
      else wipe(held.one);
    }
    for (const name of this.#again.keys()) if (!wanted.has(name)) this.#again.delete(name);
    for (const name of [...this.#refused.keys()]) if (!wanted.has(name)) effects.push(...this.#mended(name));
    for (const [name, one] of wanted) if (!this.#held.has(name)) effects.push(...this.#add(name, one));
    return effects;
  }

  #isSame(next: ManagedSa, held: Held): boolean {
    const goes = next.direction === "inbound" || next.to !== undefined;
    return goes && this.#fingerprint(next) === held.fingerprint;
  }

  #aim(name: string, held: Held, to: Ip | undefined): readonly ManagedEffect[] {
    const { one } = held;
    if (to === undefined || (one.to !== undefined && ipEqual(one.to, to))) return [];
    this.#held.set(name, { ...held, one: { ...one, to } });
    const { queue, spi } = one.sa;
    return isHandedOut(held) ? [{ kind: "retarget", route: one.route, queue, spi, to }] : [];
  }

  #fingerprint({ direction, sa }: ManagedSa): string {
    const book =
      direction === "inbound" || typeof this.#book === "string" ? { salt: this.#salt } : this.#book;
    return fingerprintOf(book, sa);
  }

  #add(name: string, one: ManagedSa): readonly ManagedEffect[] {
    if (this.#again.get(name)?.atMs !== undefined) {
      wipe(one);
      return [];
    }
    const held: Held = { one, fingerprint: this.#fingerprint(one), last: 0 };
    if (one.direction === "inbound") {
      this.#held.set(name, held);
      return [{ kind: "inbound", route: one.route, sa: one.sa }];
    }
    const obstacle = this.#obstacle(held);
    return obstacle === undefined ? this.#reserve(name, held) : this.#refuse(name, held, obstacle);
  }

  #obstacle({ one, fingerprint }: Held): string | undefined {
    if (one.to === undefined)
      return `queue ${one.sa.queue} has no gateway of the route; give one with this queue, or another queue`;
    const twin = [...this.#held.values()].find(
      (other) => other.one.direction === "outbound" && other.fingerprint === fingerprint,
    );
    if (twin === undefined) return undefined;
    const { route, sa } = twin.one;
    return `its key and salt are those of SPI ${sa.spi} of route ${route}, queue ${sa.queue}; give each its own`;
  }

  #reserve(name: string, held: Held): readonly ManagedEffect[] {
    if (typeof this.#book === "string") {
      return this.#refuse(name, held, `which sequence numbers were used is not known: ${this.#book}`);
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
    const { route, sa, to } = held.one;
    const { queue, spi } = sa;
    if (held.last > 0) return [{ kind: "reserve", route, queue, spi, last }, ...this.#mended(name)];
    if (to === undefined) throw new Error("an outbound association without a gateway was not refused");
    return [
      { kind: "outbound", route, sa, to, first, last },
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
    const later = { kind: "later", atMs: nowMs + retryMs(failures), block: waits.block } as const;
    this.#held.set(name, { ...held, failures: failures + 1, waits: later });
    return [this.#refusal(name, one, why)];
  }

  /** For good. What the data path has goes on up to its last number. */
  #refuse(name: string, { waits: _, ...held }: Held, reason: string): readonly ManagedEffect[] {
    if (held.last > 0) this.#held.set(name, held);
    else {
      this.#held.delete(name);
      wipe(held.one);
    }
    return [this.#refusal(name, held.one, reason)];
  }

  #refusal(name: string, { direction, route, sa }: ManagedSa, reason: string): ManagedEffect {
    const named = { direction, route, queue: sa.queue, spi: sa.spi };
    this.#refused.set(name, named);
    return { kind: "refused", ...named, reason };
  }

  #mended(name: string): readonly ManagedEffect[] {
    const named = this.#refused.get(name);
    this.#refused.delete(name);
    return named === undefined ? [] : [{ kind: "mended", ...named }];
  }

  /** Wipes the secrets that were not handed out; what the data path has goes on. */
  [Symbol.dispose](): void {
    for (const held of this.#held.values()) if (!isHandedOut(held)) wipe(held.one);
    this.#held.clear();
    this.#again.clear();
  }
}

/** What waits for its first block is not there yet, and its key is ours. */
function isHandedOut({ one, last }: Held): boolean {
  return one.direction === "inbound" || last > 0;
}

function wipe({ sa }: ManagedSa): void {
  sa.keyMaterial[Symbol.dispose]();
}

function removal({ direction, route, sa }: ManagedSa): ManagedEffect {
  return { kind: "remove", direction, route, queue: sa.queue, spi: sa.spi };
}
