/**
 * A session: two keys, a counter and a window, good for 180 seconds (whitepaper, sections 5.4.5 and 5.4.6).
 *
 * All that changes with every packet lies in one piece of memory, so that a data path can seal and open in place, in another
 * thread or after its process was replaced. Whoever has the memory has the session:
 *
 * ```
 *    0  send key 32 | receive key 32
 *   64  send counter: the next one (int32, changed atomically)
 *   68  receiver index of ours (uint32): whose memory this is
 *   72  receive: the greatest counter seen plus one, a float64 likewise
 *   80  receive: 1 when anything came under it (int32; the data path sets it) | nothing, 44
 *  128  receive: bitmap of WINDOW_BITS                                       1152 bytes in all
 * ```
 */
import type { Endpoint } from "../../net/mod.ts";
import { WINDOW_BITS } from "./limits.ts";
import type { Keys } from "../../noise/mod.ts";
import type { ReplayWindow } from "./replay.ts";
import { claim } from "./send-counter.ts";
import { KEY_BYTES, type Timing } from "./specification.ts";

/** SESSION holds the places of the above. */
export const SESSION = {
  sendKey: 0,
  receiveKey: KEY_BYTES,
  sendCounter: 64,
  localIndex: 68,
  receiveNext: 72,
  heard: 80,
  receiveBits: 128,
  bytes: 128 + WINDOW_BITS / 8,
} as const;

/** SessionMemory lends memory for sessions. */
export interface SessionMemory {
  /** SESSION.bytes zeros, at an offset that 8 divides. */
  take(): Uint8Array<ArrayBufferLike>;
  /**
   * Wipes the memory, as soon as nobody seals with it any more: a packet under a key of zeros would be readable. A data path in
   * other threads waits until all of them have heard of the end.
   */
  give(memory: Uint8Array<ArrayBufferLike>): void;
}

/** ownMemory lends from the heap; for one thread. */
export const ownMemory: SessionMemory = {
  take: () => new Uint8Array(new ArrayBuffer(SESSION.bytes)),
  give: (memory) => void memory.fill(0),
};

/** SessionNumbers never change. */
export interface SessionNumbers {
  /** Number of the peer. */
  readonly peer: number;
  /** What the peer writes as receiver into the packets for us. */
  readonly localIndex: number;
  /** What we write as receiver. */
  readonly remoteIndex: number;
  /** Whether we began: only the initiator renews a session because of its age. */
  readonly initiator: boolean;
  readonly bornMs: number;
  /** Made under the identity that the device had before its present one, and still has beside it (own-identities.ts). */
  readonly former?: boolean;
}

/** Session is one that a handshake made. Its memory cannot be printed: it is not among the visible fields. */
export class Session implements SessionNumbers {
  readonly peer: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly initiator: boolean;
  readonly bornMs: number;
  /** Changes once, with the device's identity. */
  former: boolean;
  /** Where our message of its handshake went: whoever has the session was there. Absent when it comes from another process. */
  readonly spokeTo?: Endpoint;
  readonly #memory: Uint8Array<ArrayBufferLike>;
  readonly #sendKey: Uint8Array<ArrayBufferLike>;
  readonly #receiveKey: Uint8Array<ArrayBufferLike>;
  readonly #sendCounter: Int32Array;
  readonly #window: ReplayWindow;

  /** The keys are moved into the memory and wiped; without keys the memory is that of a session which goes on. */
  constructor(
    memory: Uint8Array<ArrayBufferLike>,
    parts: SessionNumbers & { readonly keys?: Keys; readonly spokeTo?: Endpoint },
  ) {
    if (memory.length !== SESSION.bytes) throw new RangeError(`A session has ${SESSION.bytes} bytes`);
    const { keys, peer, localIndex, remoteIndex, initiator, bornMs, former = false, spokeTo } = parts;
    this.peer = peer;
    this.localIndex = localIndex;
    this.remoteIndex = remoteIndex;
    this.initiator = initiator;
    this.bornMs = bornMs;
    this.former = former;
    if (spokeTo !== undefined) this.spokeTo = spokeTo;
    const { buffer, byteOffset } = memory;
    this.#memory = memory;
    this.#sendKey = memory.subarray(SESSION.sendKey, SESSION.sendKey + KEY_BYTES);
    this.#receiveKey = memory.subarray(SESSION.receiveKey, SESSION.receiveKey + KEY_BYTES);
    this.#sendCounter = new Int32Array(buffer, byteOffset + SESSION.sendCounter, 1);
    new Uint32Array(buffer, byteOffset + SESSION.localIndex, 1)[0] = localIndex;
    this.#window = {
      next: new Float64Array(buffer, byteOffset + SESSION.receiveNext, 1),
      bits: new Uint32Array(buffer, byteOffset + SESSION.receiveBits, WINDOW_BITS / 32),
    };
    if (keys === undefined) return;
    this.#sendKey.set(keys.send);
    this.#receiveKey.set(keys.receive);
    keys.send.fill(0);
    keys.receive.fill(0);
  }

  /** All of it, for a data path that takes the places of SESSION. */
  get memory(): Uint8Array<ArrayBufferLike> {
    return this.#memory;
  }

  get sendKey(): Uint8Array<ArrayBufferLike> {
    return this.#sendKey;
  }

  get receiveKey(): Uint8Array<ArrayBufferLike> {
    return this.#receiveKey;
  }

  /** One number: the counter of the next packet; see send-counter.ts. */
  get sendCounter(): Int32Array {
    return this.#sendCounter;
  }

  get window(): ReplayWindow {
    return this.#window;
  }

  /** Whether the peer sent under it: something authentic came, in whichever thread. */
  get heard(): boolean {
    return (this.#window.next[0] as number) > 0;
  }
}

/** claimCounters reserves so many counters, and returns the first; undefined when the session has none left. */
export function claimCounters(session: Session, count: number, timing: Timing): number | undefined {
  const first = claim(session.sendCounter, count, timing.rejectAfterMessages);
  return first < 0 ? undefined : first;
}

/** canSend tells whether packets may still be sealed. */
export function canSend(session: Session, nowMs: number, timing: Timing): boolean {
  return !isOver(session, nowMs, timing) && (session.sendCounter[0] as number) < timing.rejectAfterMessages;
}

/** isOver tells whether the session is too old to send or to receive. */
export function isOver(session: Session, nowMs: number, timing: Timing): boolean {
  return nowMs - session.bornMs >= timing.rejectAfterMs;
}

/** wantsRenewal tells whether who sends under this session has to begin a handshake (section 6.2). */
export function wantsRenewal(session: Session, nowMs: number, timing: Timing): boolean {
  if ((session.sendCounter[0] as number) > timing.rekeyAfterMessages) return true;
  return session.initiator && nowMs - session.bornMs >= timing.rekeyAfterMs;
}

/**
 * wantsRenewalNow tells likewise who receives, and perhaps never sends: before the session ends, the initiator begins a handshake while
 * there is still time for the peer's answer (section 6.2).
 */
export function wantsRenewalNow(session: Session, nowMs: number, timing: Timing): boolean {
  const lastMs = timing.rejectAfterMs - timing.keepaliveMs - timing.rekeyTimeoutMs;
  return session.initiator && nowMs - session.bornMs >= lastMs;
}
