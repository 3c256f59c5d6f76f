/**
 * What is read of the ESP packets of one association before they are opened, in one pass: the whole sequence number, whether the window has had
 * it, and for the AEAD the nonce, the additional data and the lists.
 *
 * A packet that came before is dropped here, for the price of a look: who replays costs no decryption. Whether it is new is asked again when it
 * is known to be authentic, since a batch may hold one twice (RFC 4303 section 3.4.3).
 */
import { AEAD_BATCH, AEAD_TAG, type AeadBatch, MOST_ADDITIONAL, NONCE_STRIDE } from "../../sys/mod.ts";
import { ESP_HEAD_BYTES, inferSequence, isNewSequence } from "../esp/mod.ts";
import type { Inbound } from "./gateway-association.ts";
import type { PacketGroups } from "./packet-groups.ts";

const HIGH = 2 ** 32;
const ADDITIONAL_PLAIN = 8;
const ADDITIONAL_EXTENDED = 12;

/** OpenPass fills one batch after the other. */
export class OpenPass {
  readonly batch: AeadBatch;
  /** Whether the batch's packets have exactly the numbers that follow the newest one seen: if all are authentic, all are new. */
  isNext = false;
  /** Sequence numbers of the batch's packets. */
  readonly sequences = new Float64Array(AEAD_BATCH);

  constructor(batch: AeadBatch) {
    this.batch = batch;
  }

  /** fill prepares the packets of `inbound`, which counts those that it drops. */
  fill(inbound: Inbound, groups: PacketGroups<Inbound>): void {
    const { batch, sequences } = this;
    const { view, i32 } = batch.arena;
    const { textsAt, textBytes } = batch;
    const { salt, extended, window } = inbound.association;
    let nonce = batch.nonceAt(0) >> 2;
    let additional = batch.additionalAt(0);
    let count = 0;
    let replayed = 0;
    let impossible = 0;
    let expected = window.next[0] as number;
    let expectedLow = expected | 0;
    let isNext = expected > 0 && expected + AEAD_BATCH < (extended ? Number.MAX_SAFE_INTEGER : HIGH);
    for (let packet = inbound.group.first; packet >= 0; packet = groups.next(packet)) {
      const at = groups.at(packet);
      const low = view.getInt32(at + 4);
      let sequence = expected;
      if (isNext && low === expectedLow) {
        expected++;
        expectedLow = (expectedLow + 1) | 0;
      } else {
        isNext = false;
        sequence = extended ? inferSequence(window, low >>> 0) : low >>> 0;
        // The first number is 1, and they do not begin again (RFC 4303 section 3.3.3).
        if (sequence <= 0) {
          impossible++;
          continue;
        }
        if (!isNewSequence(window, sequence)) {
          replayed++;
          continue;
        }
      }
      sequences[count] = sequence;
      textsAt[count] = at + ESP_HEAD_BYTES;
      textBytes[count++] = groups.bytes(packet) - ESP_HEAD_BYTES - AEAD_TAG;
      i32[nonce] = salt;
      i32[nonce + 1] = view.getInt32(at + 8, true);
      i32[nonce + 2] = view.getInt32(at + 12, true);
      nonce += NONCE_STRIDE >> 2;
      view.setInt32(additional, view.getInt32(at));
      const high = sequence < HIGH ? 0 : Math.floor(sequence / HIGH);
      view.setInt32(additional + 4, extended ? high : low);
      view.setInt32(additional + 8, low);
      additional += MOST_ADDITIONAL;
    }
    inbound.decryptErrors += impossible + replayed;
    inbound.replayed += replayed;
    batch.additionalBytes = extended ? ADDITIONAL_EXTENDED : ADDITIONAL_PLAIN;
    this.isNext = isNext;
    batch.addAll(count);
  }
}
