/**
 * What happened to peers since a reader asked last: it is told of those and of no others, so that reading a device of thousands of peers
 * costs what goes on in it. A reader keeps the mark that it was given; any number of readers may ask.
 */
import type { PublicKey } from "../../net/mod.ts";
import { randomBytes } from "../../sys/mod.ts";

/** MOST_GONE peers that were removed are remembered; a reader that is further behind is told everything. */
export const MOST_GONE = 4_096;

/** Changed is the answer: numbers of peers of which anything changed, those of them whose allowed IPs did, and keys that no peer has any more. */
export interface Changed {
  readonly mark: number;
  /** Absent: everything is to be told. */
  readonly news?: {
    readonly peers: readonly number[];
    readonly allowed: ReadonlySet<number>;
    readonly gone: readonly PublicKey[];
  };
}

/** Changes keeps the mark under which each peer changed last. */
export class Changes {
  /** Marks begin anywhere: one of another process means nothing here. */
  readonly #first: number;
  #mark: number;
  /** Marks before this one are too old. */
  #oldest: number;
  readonly #peers = new Map<number, number>();
  readonly #allowed = new Map<number, number>();
  readonly #gone = new Map<PublicKey, number>();

  constructor(first: number = Buffer.from(randomBytes(6)).readUIntBE(0, 6)) {
    this.#first = first;
    this.#mark = first;
    this.#oldest = first;
  }

  /** touch: something of a peer changed. */
  touch(peer: number): void {
    this.#peers.set(peer, this.#mark);
  }

  /** touchAllowed: a peer's allowed IPs changed. */
  touchAllowed(peer: number): void {
    this.#allowed.set(peer, this.#mark);
    this.touch(peer);
  }

  /** came: there is a peer of this key. */
  came(publicKey: PublicKey): void {
    this.#gone.delete(publicKey);
  }

  /** left: a peer is no more. */
  left(peer: number, publicKey: PublicKey): void {
    this.#peers.delete(peer);
    this.#allowed.delete(peer);
    this.#gone.delete(publicKey);
    this.#gone.set(publicKey, this.#mark);
    if (this.#gone.size <= MOST_GONE) return;
    const [[oldest, mark]] = this.#gone as unknown as [[PublicKey, number]];
    this.#gone.delete(oldest);
    this.#oldest = mark + 1;
  }

  /** since returns what changed since a mark, and the mark for the next time. */
  since(before: number): Changed {
    const mark = ++this.#mark;
    if (!Number.isSafeInteger(before) || before <= this.#first || before < this.#oldest || before >= mark)
      return { mark };
    const after = <K>(marks: ReadonlyMap<K, number>) =>
      [...marks].flatMap(([key, at]) => (at >= before ? [key] : []));
    return {
      mark,
      news: { peers: after(this.#peers), allowed: new Set(after(this.#allowed)), gone: after(this.#gone) },
    };
  }
}
