/**
 * Who may have a connection, before a byte of it is read: bounds in total, for each source, and for those who have not shown yet that the
 * tunnel knows them (guests).
 *
 * ```
 * connect ─▶ rate of the source ─▶ places in all, of the source ─▶ guest ──(the tunnel answers)──▶ member
 *                                                                    └─ too many guests: the oldest goes
 * ```
 * A source is an IPv4 address or an IPv6 /64. Many nodes can be one source: they are behind one NAT.
 */
import { formatIp, prefixAddress, prefixOf, tryParseIp } from "../../net/mod.ts";

/** AdmissionLimits bound what strangers cost. */
export interface AdmissionLimits {
  readonly connections: number;
  readonly perSource: number;
  readonly guests: number;
  readonly guestsPerSource: number;
  /** New connections of one source: so many at once, and so many more each second. */
  readonly burst: number;
  readonly perSecond: number;
}

/** DEFAULT_LIMITS suit a hub of thousands of nodes, a part of which needs TLS. */
export const DEFAULT_LIMITS: AdmissionLimits = {
  connections: 2048,
  perSource: 256,
  guests: 256,
  guestsPerSource: 64,
  burst: 64,
  perSecond: 8,
};

/** Sources whose rate is remembered; the one that was quiet for longest is forgotten first. */
const MOST_SOURCES = 4096;

/** Place is one admitted connection; disposing gives it back. */
export interface Place extends Disposable {
  readonly source: string;
  /** settle makes a guest a member. */
  settle(): void;
}

interface Source {
  connections: number;
  guests: number;
}

/** Admission keeps the books of one listener. */
export class Admission {
  /** Connections that were turned away. */
  refused = 0;
  readonly #limits: AdmissionLimits;
  readonly #sources = new Map<string, Source>();
  readonly #rates = new Map<string, { tokens: number; atMs: number }>();
  /** From the oldest to the youngest. */
  readonly #guests = new Map<Place, () => void>();
  #connections = 0;

  constructor(limits: AdmissionLimits = DEFAULT_LIMITS) {
    this.#limits = limits;
  }

  get connections(): number {
    return this.#connections;
  }

  get guests(): number {
    return this.#guests.size;
  }

  /** admit gives a place, or none; `evict` is called if a younger guest needs it. */
  admit(address: string, options: { readonly nowMs: number; readonly evict: () => void }): Place | undefined {
    const key = sourceOf(address);
    const source = this.#sources.get(key) ?? { connections: 0, guests: 0 };
    const limits = this.#limits;
    const room =
      this.#connections < limits.connections &&
      source.connections < limits.perSource &&
      source.guests < limits.guestsPerSource;
    if (!this.#charge(key, options.nowMs) || !room) {
      this.refused++;
      return undefined;
    }
    if (this.#guests.size >= limits.guests) this.#evictOldest();
    source.connections++;
    source.guests++;
    this.#connections++;
    this.#sources.set(key, source);
    const place = this.#place(key, source);
    this.#guests.set(place, options.evict);
    return place;
  }

  #place(key: string, source: Source): Place {
    let open = true;
    const settle = () => {
      if (this.#guests.delete(place)) source.guests--;
    };
    const place: Place = {
      source: key,
      settle,
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        settle();
        source.connections--;
        this.#connections--;
        if (source.connections === 0) this.#sources.delete(key);
      },
    };
    return place;
  }

  #evictOldest(): void {
    const [oldest] = this.#guests;
    if (oldest === undefined) return;
    const [place, evict] = oldest;
    place.settle();
    evict();
  }

  /** A token bucket for each source. */
  #charge(key: string, nowMs: number): boolean {
    const { burst, perSecond } = this.#limits;
    const known = this.#rates.get(key);
    const tokens =
      known === undefined ? burst : Math.min(burst, known.tokens + ((nowMs - known.atMs) / 1000) * perSecond);
    this.#rates.delete(key);
    this.#rates.set(key, { tokens: tokens < 1 ? tokens : tokens - 1, atMs: nowMs });
    if (this.#rates.size > MOST_SOURCES) {
      const [quiet] = this.#rates.keys();
      if (quiet !== undefined) this.#rates.delete(quiet);
    }
    return tokens >= 1;
  }
}

/** sourceOf returns what counts as one source: an IPv4 address, or the /64 of an IPv6 address. */
export function sourceOf(address: string): string {
  const ip = tryParseIp(address);
  if (ip === undefined) return "unknown";
  return ip.family === 4 ? formatIp(ip) : formatIp(prefixAddress(prefixOf(ip, 64)));
}
