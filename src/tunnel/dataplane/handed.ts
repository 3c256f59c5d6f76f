/**
 * What a worker hands to the control thread because it cannot deal with it: a bounded number in each period.
 *
 * Packets, which come from this node, and datagrams, which come from anywhere, have bounds of their own: nobody outside can keep a packet from
 * beginning a handshake.
 */
import type { Arena } from "../../sys/mod.ts";
import { type Checksum, Segmenter } from "../path/mod.ts";

/** Of each kind in each period; the protocol keeps no more packets for a peer either. */
const MOST = 128;
/** Datagrams of sessions that there are, in each period: nobody guesses their indices. Where a node sends to us and by our relay, the kernel may join both. */
const MOST_KNOWN = 2048;
const MOST_PACKET = 65_535;
const PERIOD_MS = 100;

/** Handed owns the memory in which packets are made whole. */
export class Handed {
  /** What was thrown away because it was too much, of both kinds. */
  dropped = 0;
  readonly #arena: Arena;
  readonly #segmenter: Segmenter;
  readonly #scratch: number;
  #packetsLeft = MOST;
  #datagramsLeft = MOST;
  #knownLeft = MOST_KNOWN;
  #sinceMs = 0;

  constructor(arena: Arena, checksum: Checksum) {
    this.#arena = arena;
    this.#segmenter = new Segmenter(arena, checksum);
    this.#scratch = arena.allocate(MOST_PACKET);
  }

  /** begin takes note of the time. */
  begin(nowMs: number): void {
    if (nowMs - this.#sinceMs < PERIOD_MS) return;
    this.#sinceMs = nowMs;
    this.#packetsLeft = MOST;
    this.#datagramsLeft = MOST;
    this.#knownLeft = MOST_KNOWN;
  }

  /** mayPacket tells whether one more packet may be handed on. */
  mayPacket(): boolean {
    if (this.#packetsLeft > 0) return this.#packetsLeft-- > 0;
    this.dropped++;
    return false;
  }

  /** mayDatagram tells whether one more datagram may be handed on. */
  mayDatagram(): boolean {
    if (this.#datagramsLeft > 0) return this.#datagramsLeft-- > 0;
    this.dropped++;
    return false;
  }

  /** mayKnown tells whether one more datagram of a session may be handed on. */
  mayKnown(): boolean {
    if (this.#knownLeft > 0) return this.#knownLeft-- > 0;
    this.dropped++;
    return false;
  }

  /** begins takes a packet of TUN with its virtio header, and returns how many packets it is; 0 for nonsense. */
  begins(at: number, bytes: number): number {
    return this.#segmenter.begin(at, bytes);
  }

  /** packet returns one of them. */
  packet(index: number): Uint8Array<ArrayBuffer> {
    const bytes = this.#segmenter.bytes(index);
    if (bytes > MOST_PACKET) return new Uint8Array(0);
    this.#segmenter.write(index, this.#scratch);
    return this.#arena.copy(this.#scratch, bytes);
  }
}
