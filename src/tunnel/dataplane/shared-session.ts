/** A session as a worker has it: its numbers in the shared memory, its keys in the AEAD provider's form, and what passed since the last report. */
import type { AeadKey, AeadProvider } from "../../sys/mod.ts";
import type { PathSession } from "../path/mod.ts";
import { claim, type ReplayWindow, SESSION, WINDOW_BITS } from "../wireguard/mod.ts";
import type { Order } from "./link.ts";
import { SharedPlace } from "./shared-place.ts";

const KEY_BYTES = 32;

/** SharedSession owns the two keys. */
export class SharedSession implements PathSession, Disposable {
  readonly peer: number;
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly endsMs: number;
  readonly settledMs: number;
  readonly slot: number;
  readonly window: ReplayWindow;
  readonly sealKey: AeadKey;
  readonly openKey: AeadKey;
  readonly #sendCounter: Int32Array;
  readonly #heard: Int32Array;

  /** What passed since the last report; `moved` if the peer did. */
  reported = true;
  sentBytes = 0;
  sentData = false;
  receivedBytes = 0;
  receivedData = false;
  moved = false;
  /** That something came under it for the first time, which is still to be told. */
  first = false;

  /** Where its peer is. */
  readonly place: SharedPlace;

  constructor(
    { memory, place }: { readonly memory: Uint8Array<ArrayBuffer>; readonly place: Uint8Array<ArrayBuffer> },
    order: Extract<Order, { readonly kind: "started" }>,
    provider: AeadProvider,
  ) {
    const { buffer, byteOffset } = memory;
    this.place = new SharedPlace(place);
    this.peer = order.peer;
    this.localIndex = order.localIndex;
    this.remoteIndex = order.remoteIndex;
    this.endsMs = order.endsMs;
    this.settledMs = order.settledMs;
    this.slot = order.slot;
    this.#sendCounter = new Int32Array(buffer, byteOffset + SESSION.sendCounter, 1);
    this.#heard = new Int32Array(buffer, byteOffset + SESSION.heard, 1);
    this.window = {
      next: new Float64Array(buffer, byteOffset + SESSION.receiveNext, 1),
      bits: new Uint32Array(buffer, byteOffset + SESSION.receiveBits, WINDOW_BITS / 32),
    };
    const key = (at: number) => memory.subarray(at, at + KEY_BYTES);
    this.sealKey = provider.key("chacha20-poly1305", key(SESSION.sendKey), "seal");
    this.openKey = provider.key("chacha20-poly1305", key(SESSION.receiveKey), "open");
  }

  /** Whether anything ever came under it: the first packet confirms it. All workers see it before any of them sees an answer to that packet. */
  get heard(): boolean {
    return this.#heard[0] === 1;
  }

  /** confirm makes it so. */
  confirm(): void {
    this.#heard[0] = 1;
    this.first = true;
  }

  claim(frames: number): number {
    return claim(this.#sendCounter, frames);
  }

  [Symbol.dispose](): void {
    this.sealKey[Symbol.dispose]();
    this.openKey[Symbol.dispose]();
  }
}
