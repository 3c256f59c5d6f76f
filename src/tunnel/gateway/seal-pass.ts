/**
 * What is written around the packets of one association before they are sealed, in one pass: outer headers, the head of ESP, padding and
 * trailer, and for the AEAD the nonce, the additional data and the lists.
 *
 * ```
 * frame:  … | outer headers (endpoint) | SPI, sequence, IV | packet | TFC padding | 1 2 3 | pad length, next header | ICV 16 | …
 *                                                          └────────────────────── text ──────────────────────────┘
 * ```
 * It writes what EspFraming.seal and layXdpHeader write, packet by packet (seal-pass.test.ts holds it to them). It is a function of its own since
 * it calls nothing: the runtime then keeps what all packets have in common in registers, and a packet costs a fifth.
 */
import { AEAD_TAG, type AeadBatch, MOST_ADDITIONAL, NONCE_STRIDE } from "../../sys/mod.ts";
import { ESP_HEAD_BYTES } from "../esp/mod.ts";
import { IP4, IP6, UDP } from "../path/ip-header.ts";
import { ETHERNET } from "../xdp/ethernet.ts";
import { XDP_ENDPOINT } from "../xdp/xdp-endpoint.ts";
import type { FramePort } from "./frame-port.ts";
import type { Outbound } from "./gateway-association.ts";
import type { PacketGroups } from "./packet-groups.ts";

const HIGH = 2 ** 32;
const WORD = 4;
/** Pad length and next header; all behind them is the tag. */
const TRAILER_BYTES = 2;
const NEXT_4 = 4;
const NEXT_6 = 41;
const ADDITIONAL_PLAIN = 8;
const ADDITIONAL_EXTENDED = 12;
/** The padding of RFC 4303 section 2.4: what of it is not needed is written over. */
const PADDING = 0x0102_0300;

/** SealPass fills one batch after the other. */
export class SealPass {
  readonly batch: AeadBatch;
  /** Of the last batch: bytes of inner packets, and packets for which their frames had no room. */
  bytes = 0;
  dropped = 0;
  readonly #frames: Pick<FramePort["frames"], "roomAt">;

  constructor(batch: AeadBatch, frames: Pick<FramePort["frames"], "roomAt">) {
    this.batch = batch;
    this.#frames = frames;
  }

  /** fill prepares the packets of `outbound`, with sequence numbers from `first` on, padded to `leastBytes` where they are shorter. */
  fill(outbound: Outbound, groups: PacketGroups<Outbound>, first: number, leastBytes: number): void {
    const { batch } = this;
    const frames = this.#frames;
    const { view, i32, u8 } = batch.arena;
    const { textsAt, textBytes } = batch;
    const { association, endpoint, headerBytes } = outbound;
    const { salt, extended } = association;
    const spi = association.remoteIndex | 0;
    const isFour = outbound.to.family === 4;
    const isUdp = outbound.udp !== undefined;
    const header = (endpoint + XDP_ENDPOINT.header) >> 2;
    const sum = view.getInt32(endpoint + XDP_ENDPOINT.sum, true);
    // All headers end in half a word, and have eight words before that.
    const words = (headerBytes - 2) >> 2;
    const h0 = i32[header] as number;
    const h1 = i32[header + 1] as number;
    const h2 = i32[header + 2] as number;
    const h3 = i32[header + 3] as number;
    const h4 = i32[header + 4] as number;
    const h5 = i32[header + 5] as number;
    const h6 = i32[header + 6] as number;
    const h7 = i32[header + 7] as number;
    const lastHalf = view.getInt16(endpoint + XDP_ENDPOINT.header + words * WORD);
    let nonce = batch.nonceAt(0) >> 2;
    let additional = batch.additionalAt(0);
    // As signed words: an unsigned one would be a double to the runtime.
    let low = first | 0;
    let high = first < HIGH ? 0 : Math.floor(first / HIGH);
    let count = 0;
    let bytes = 0;
    let dropped = 0;
    for (let packet = outbound.group.first; packet >= 0; packet = groups.next(packet)) {
      const text = groups.at(packet);
      const total = groups.bytes(packet);
      const filled = total < leastBytes ? leastBytes : total;
      const length = (filled + TRAILER_BYTES + WORD - 1) & -WORD;
      const esp = text - ESP_HEAD_BYTES;
      // Written to behind the packet: padding, trailer and tag must fit into its frame.
      if (ESP_HEAD_BYTES + length + AEAD_TAG > frames.roomAt(esp)) {
        dropped++;
        continue;
      }
      if (filled > total) u8.fill(0, text + total, text + filled);
      view.setInt32(text + filled, PADDING);
      const trailer = text + length - TRAILER_BYTES;
      const next = (u8[text] as number) >>> 4 === 6 ? NEXT_6 : NEXT_4;
      view.setInt16(trailer, ((length - TRAILER_BYTES - filled) << 8) | next);
      view.setInt32(esp, spi);
      view.setInt32(esp + 4, low);
      view.setInt32(esp + 8, low, true);
      view.setInt32(esp + 12, high, true);
      i32[nonce] = salt;
      i32[nonce + 1] = low;
      i32[nonce + 2] = high;
      nonce += NONCE_STRIDE >> 2;
      view.setInt32(additional, spi);
      view.setInt32(additional + 4, extended ? high : low);
      view.setInt32(additional + 8, low);
      additional += MOST_ADDITIONAL;
      const frame = esp - headerBytes;
      if ((frame & 3) === 0) {
        const to = frame >> 2;
        i32[to] = h0;
        i32[to + 1] = h1;
        i32[to + 2] = h2;
        i32[to + 3] = h3;
        i32[to + 4] = h4;
        i32[to + 5] = h5;
        i32[to + 6] = h6;
        i32[to + 7] = h7;
        for (let i = 8; i < words; i++) i32[to + i] = i32[header + i] as number;
      } else for (let i = 0; i < words; i++) view.setInt32(frame + i * WORD, i32[header + i] as number, true);
      view.setInt16(frame + words * WORD, lastHalf);
      const ip = frame + ETHERNET.bytes;
      const outer = headerBytes - ETHERNET.bytes + ESP_HEAD_BYTES + length + AEAD_TAG;
      if (isFour) {
        view.setInt16(ip + IP4.total, outer);
        const all = sum + outer;
        view.setInt16(ip + IP4.checksum, ~((all & 0xffff) + (all >>> 16)));
        if (isUdp) view.setInt16(ip + IP4.bytes + UDP.length, outer - IP4.bytes);
      } else {
        view.setInt16(ip + IP6.payload, outer - IP6.bytes);
        if (isUdp) view.setInt16(ip + IP6.bytes + UDP.length, outer - IP6.bytes);
      }
      textsAt[count] = text;
      textBytes[count++] = length;
      bytes += total;
      low = (low + 1) | 0;
      if (low === 0) high++;
    }
    this.bytes = bytes;
    this.dropped = dropped;
    batch.additionalBytes = extended ? ADDITIONAL_EXTENDED : ADDITIONAL_PLAIN;
    batch.addAll(count);
  }
}
