/**
 * Which sequence numbers were used under which key: an outbound association is never made again with the same key and a lower number, since its
 * nonces would be used a second time, and with AES-GCM that gives away what authenticates; and what came under an inbound one is not taken a
 * second time when it is made again.
 *
 * It knows what one process has seen. Who starts another says where a key goes on (OutboundOrder.next, InboundOrder.newest).
 */
import { sha256 } from "../../sys/mod.ts";

/** MOST_USED_KEYS are remembered, the youngest: a key comes again because of a mistake made just now. */
export const MOST_USED_KEYS = 16_384;

/** keyIdOf names a key without telling it. */
export function keyIdOf(keyMaterial: Uint8Array): string {
  return sha256("gateway key", keyMaterial).toHex();
}

/** UsedKeys remembers keys by their names. */
export class UsedKeys {
  readonly #next = new Map<string, number>();

  /** next is the least sequence number that a key may go on with. */
  next(keyId: string): number {
    return this.#next.get(keyId) ?? 1;
  }

  /** note remembers that all numbers below `next` were used. */
  note(keyId: string, next: number): void {
    const before = this.next(keyId);
    this.#next.delete(keyId);
    this.#next.set(keyId, Math.max(next, before));
    for (const oldest of this.#next.keys()) {
      if (this.#next.size <= MOST_USED_KEYS) break;
      this.#next.delete(oldest);
    }
  }
}
