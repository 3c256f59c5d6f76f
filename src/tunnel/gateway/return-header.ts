/** The Ethernet header of an answer: to whom the frame came from, whoever on the link that was. */
import type { Arena } from "../../sys/mod.ts";
import { ETHERNET } from "../xdp/ethernet.ts";

/** ReturnHeader remembers one frame's sender, since an answer is written over the frame. */
export class ReturnHeader {
  readonly #view: DataView;
  readonly #macHigh: number;
  readonly #macLow: number;
  #high = 0;
  #low = 0;
  #type = 0;

  /** `mac` is our own, six bytes. */
  constructor(arena: Arena, mac: Uint8Array) {
    this.#view = arena.view;
    const own = new DataView(mac.buffer, mac.byteOffset, mac.length);
    this.#macHigh = own.getInt32(0);
    this.#macLow = own.getUint16(4);
  }

  /** keep remembers who sent the frame at a place. */
  keep(frame: number): void {
    this.#high = this.#view.getInt32(frame + ETHERNET.source);
    this.#low = this.#view.getUint16(frame + ETHERNET.source + 4);
    this.#type = this.#view.getUint16(frame + ETHERNET.type);
  }

  /** lay writes the header of an answer. */
  lay(frame: number): void {
    const view = this.#view;
    view.setInt32(frame, this.#high);
    view.setUint16(frame + 4, this.#low);
    view.setInt32(frame + ETHERNET.source, this.#macHigh);
    view.setUint16(frame + ETHERNET.source + 4, this.#macLow);
    view.setUint16(frame + ETHERNET.type, this.#type);
  }
}
