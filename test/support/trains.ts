/** Trains: many datagrams that leave as one message and are split by the kernel (UDP_SEGMENT), so that a receiver may get them as one. */
import { type Endpoint, ipBytes } from "../../src/net/mod.ts";
import { Arena, DatagramSocket, type Netns, socketAddress } from "../../src/sys/mod.ts";
import { DatagramSender, ENDPOINT_BYTES, setEndpoint } from "../../src/tunnel/path/mod.ts";

/** Trains owns a socket that sends them. */
export class Trains implements Disposable {
  readonly #arena = new Arena({ bytes: 4 << 20 });
  readonly #socket: DatagramSocket;
  readonly #sender: DatagramSender;
  readonly #endpoint: number;

  constructor(netns: Netns, to: Endpoint) {
    this.#socket = DatagramSocket.open(to.ip.family, { netns });
    this.#sender = new DatagramSender(this.#arena, this.#socket);
    this.#endpoint = this.#arena.allocate(ENDPOINT_BYTES);
    setEndpoint(this.#arena, this.#endpoint, socketAddress(ipBytes(to.ip), to.port));
  }

  /** Whether the kernel splits; without it each datagram goes by itself. */
  get splits(): boolean {
    return this.#socket.splits;
  }

  /** send sends datagrams, all of one length but for the last, as one message. */
  send(datagrams: readonly Uint8Array[]): void {
    for (const bytes of datagrams) {
      const frame = this.#sender.frame(this.#endpoint, bytes.length);
      if (frame === 0) throw new Error("no room for the train");
      this.#arena.store(frame, bytes);
    }
    if (!this.#sender.flush()) throw new Error("the system takes nothing");
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
