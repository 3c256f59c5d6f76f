/**
 * A paced UDP flow between two namespaces with a number in each datagram, so that loss, order and repeats can be told apart.
 *
 * Both ends are in this process; the sender sends what is due on each tick, so the pace holds on the average when the machine is busy.
 */
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import { isErrno, libc, type Netns, socketAddress } from "../../src/sys/mod.ts";

const SOCK_DGRAM_CLOEXEC_NONBLOCK = 0o2004002;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const TICK_MS = 5;

/** FlowOptions say from where to where; the source address may be any of the sender's. */
export interface FlowOptions {
  readonly from: Netns;
  readonly to: Netns;
  readonly source?: string;
  readonly target: string;
  readonly perSecond: number;
  readonly bytes?: number;
}

/** FlowReport says what became of the datagrams. */
export interface FlowReport {
  readonly sent: number;
  readonly received: number;
  /** Datagrams that came after one with a greater number, and those that came twice. */
  readonly late: number;
  readonly twice: number;
}

/** PacedFlow sends until it is stopped. */
export class PacedFlow implements Disposable {
  readonly #options: FlowOptions;
  readonly #in: number;
  readonly #out: number;
  readonly #buffer = new Uint8Array(new ArrayBuffer(65_536));
  readonly #seen = new Set<number>();
  #greatest = -1;
  #late = 0;
  #twice = 0;
  #sent = 0;
  #startMs = 0;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(options: FlowOptions) {
    this.#options = options;
    const { from, to, target, source } = options;
    const family = target.includes(":") ? 10 : 2;
    const open = (netns: Netns) =>
      netns.run((): number => libc.socket(family, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0));
    this.#in = open(to);
    this.#out = open(from);
    const address = ipBytes(parseIp(target));
    libc.setsockopt(this.#in, SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20);
    libc.bind(this.#in, socketAddress(address, 0));
    const bound = libc.getsockname(this.#in);
    const port = ((bound[2] as number) << 8) | (bound[3] as number);
    if (source !== undefined) libc.bind(this.#out, socketAddress(ipBytes(parseIp(source)), 0));
    libc.connect(this.#out, socketAddress(address, port));
  }

  start(): void {
    this.#startMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  #tick(): void {
    const due = Math.floor(((performance.now() - this.#startMs) / 1000) * this.#options.perSecond);
    const bytes = new Uint8Array(new ArrayBuffer(this.#options.bytes ?? 100));
    // What a stall held up is not sent in one burst.
    for (const end = Math.min(due, this.#sent + 200); this.#sent < end; this.#sent++) {
      new DataView(bytes.buffer).setUint32(0, this.#sent);
      try {
        libc.send(this.#out, bytes, MSG_DONTWAIT);
      } catch (error) {
        // No way now, as for any sender: lost.
        if (!isErrno(error, "EAGAIN", "ENOBUFS", "ENETUNREACH", "EPERM", "ECONNREFUSED")) throw error;
      }
    }
    this.#read();
  }

  #read(): void {
    while (libc.recv(this.#in, this.#buffer, MSG_DONTWAIT) >= 0) {
      const number = new DataView(this.#buffer.buffer).getUint32(0);
      if (this.#seen.has(number)) this.#twice++;
      else if (number < this.#greatest) this.#late++;
      this.#seen.add(number);
      this.#greatest = Math.max(this.#greatest, number);
    }
  }

  /** report tells what became of it so far. */
  report(): FlowReport {
    this.#read();
    return { sent: this.#sent, received: this.#seen.size, late: this.#late, twice: this.#twice };
  }

  /** stop ends the sending, waits for what is on its way, and reports. */
  async stop(): Promise<FlowReport> {
    clearInterval(this.#timer);
    for (let quiet = 0, before = -1; quiet < 30; await Bun.sleep(10)) {
      const { received } = this.report();
      quiet = received === before ? quiet + 1 : 0;
      before = received;
    }
    return this.report();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    libc.close(this.#in);
    libc.close(this.#out);
  }
}
