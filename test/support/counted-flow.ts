/** A steady flow of numbered datagrams from one namespace to another, of which each is accounted for. */
import { parseIp, ipBytes } from "../../src/net/mod.ts";
import { Arena, DatagramSocket, libc, type Netns, socketAddress, SystemError } from "../../src/sys/mod.ts";
import { DatagramReceiver } from "../../src/tunnel/path/mod.ts";

const TURN_MS = 5;
const BYTES = 64;

/** CountedFlowReport is what became of the datagrams. */
export interface CountedFlowReport {
  readonly sent: number;
  readonly lost: number;
  readonly duplicates: number;
  /** Datagrams that came after one that was sent later. */
  readonly reordered: number;
}

/** CountedFlow runs from `start` to `stop`. Its receiver has room for a second of stillness. */
export class CountedFlow implements Disposable {
  readonly #sender: DatagramSocket;
  readonly #receiver: DatagramSocket;
  readonly #arena = new Arena({ bytes: 2 << 20 });
  readonly #messages = new DatagramReceiver(this.#arena, { messages: 16 });
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #seen = new Set<number>();
  readonly #perSecond: number;
  readonly #startedMs = performance.now();
  #sent = 0;
  #sending = true;
  #duplicates = 0;
  #reordered = 0;
  #last = -1;

  constructor(
    from: Netns,
    options: {
      readonly netns: Netns;
      readonly address: string;
      readonly port: number;
      readonly perSecond: number;
    },
  ) {
    const { netns, address, port, perSecond } = options;
    const { family } = parseIp(address);
    this.#perSecond = perSecond;
    this.#receiver = DatagramSocket.open(family, { netns, port });
    this.#sender = DatagramSocket.open(family, { netns: from });
    libc.connect(this.#sender.fd.number, socketAddress(ipBytes(parseIp(address)), port));
    this.#timer = setInterval(() => this.#turn(), TURN_MS);
  }

  /** How many came so far. */
  get received(): number {
    return this.#seen.size;
  }

  #turn(): void {
    const due = Math.floor(((performance.now() - this.#startedMs) * this.#perSecond) / 1000);
    const datagram = new Uint8Array(new ArrayBuffer(BYTES));
    const view = new DataView(datagram.buffer);
    // After a pause of this process it does not send all that it missed at once: that would be another flow.
    for (
      let i = 0;
      this.#sending && this.#sent < due && i < 4 * Math.ceil((this.#perSecond * TURN_MS) / 1000);
      i++
    ) {
      view.setUint32(0, this.#sent++);
      this.#send(datagram);
    }
    for (let count = 1; count > 0;) {
      count = this.#messages.receive(this.#receiver.fd.number);
      for (let message = 0; message < count; message++) this.#take(message);
    }
  }

  /** One that cannot leave, because its link is gone, is lost like any other. */
  #send(datagram: Uint8Array<ArrayBuffer>): void {
    try {
      libc.send(this.#sender.fd.number, datagram);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
    }
  }

  #take(message: number): void {
    const [at, bytes] = [this.#messages.at(message), this.#messages.bytes(message)];
    for (let i = 0; i + BYTES <= bytes; i += BYTES) {
      const number = this.#arena.view.getUint32(at + i);
      if (this.#seen.has(number)) this.#duplicates++;
      this.#seen.add(number);
      if (number < this.#last) this.#reordered++;
      this.#last = number;
    }
  }

  /** stop ends the sending, waits for what is on its way, and tells. */
  async stop(): Promise<CountedFlowReport> {
    this.#sending = false;
    for (let before = -1; before !== this.#seen.size && this.#seen.size < this.#sent;) {
      before = this.#seen.size;
      await Bun.sleep(500);
    }
    this[Symbol.dispose]();
    return {
      sent: this.#sent,
      lost: this.#sent - this.#seen.size,
      duplicates: this.#duplicates,
      reordered: this.#reordered,
    };
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#sender.close();
    this.#receiver.close();
  }
}
