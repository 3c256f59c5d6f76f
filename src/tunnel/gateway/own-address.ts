/** An address of the gateway itself, in a form that packets are compared with quickly. */
import { type Ip, ipBytes } from "../../net/mod.ts";

/** OwnAddress is one address, as words in network order. */
export class OwnAddress {
  readonly ip: Ip;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #a: number;
  readonly #b: number;
  readonly #c: number;
  readonly #d: number;

  constructor(ip: Ip) {
    this.ip = ip;
    this.bytes = ipBytes(ip);
    const view = new DataView(this.bytes.buffer);
    this.#a = view.getInt32(0);
    this.#b = ip.family === 6 ? view.getInt32(4) : 0;
    this.#c = ip.family === 6 ? view.getInt32(8) : 0;
    this.#d = ip.family === 6 ? view.getInt32(12) : 0;
  }

  /** is4 tells whether it is the address at a place; for IPv4. */
  is4(view: DataView, at: number): boolean {
    return view.getInt32(at) === this.#a;
  }

  /** isWord tells whether it is this address of IPv4, as a signed word. */
  isWord(address: number): boolean {
    return address === this.#a;
  }

  /** is6 tells the same for IPv6. */
  is6(view: DataView, at: number): boolean {
    return (
      view.getInt32(at + 12) === this.#d &&
      view.getInt32(at) === this.#a &&
      view.getInt32(at + 4) === this.#b &&
      view.getInt32(at + 8) === this.#c
    );
  }
}
