/** What a worker hands to the control thread because it cannot deal with it: a bounded number of packets in each turn. */
import type { Arena } from "../../sys/mod.ts";
import { type Checksum, Segmenter } from "../path/mod.ts";

/** Packets of REPORT_MS; the protocol keeps no more for a peer either. */
const MOST_PACKETS = 128;
const MOST_PACKET = 65_535;
const PERIOD_MS = 100;

/** Handed owns the memory in which packets are made whole. */
export class Handed {
  /** What was thrown away because it was too much. */
  dropped = 0;
  readonly #arena: Arena;
  readonly #segmenter: Segmenter;
  readonly #scratch: number;
  #left = MOST_PACKETS;
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
    this.#left = MOST_PACKETS;
  }

  /** may tells whether one more may be handed on. */
  may(): boolean {
    if (this.#left === 0) {
      this.dropped++;
      return false;
    }
    this.#left--;
    return true;
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
