/**
 * A cable between two namespaces of which one end is for AF_XDP sockets and the other is an ordinary interface of the kernel.
 *
 * ```
 * near: x0 10.20.0.1 (nobody's, or the kernel's too) ═══ y0 10.20.0.2 fd20::2 :far
 * ```
 */
import { Arena, type Netns, run } from "../../src/sys/mod.ts";
import { parseMac, macBytes } from "../../src/net/mod.ts";
import {
  type XdpFilter,
  XdpFrames,
  XdpInterface,
  type XdpInterfaceOptions,
  XdpPort,
  type XdpPortOptions,
} from "../../src/tunnel/xdp/mod.ts";
import { Scratch } from "./scratch.ts";
import { sumInSoftware } from "./sum-in-software.ts";

/** EVERYTHING takes ARP and both families. */
export const EVERYTHING: XdpFilter = { etherTypes: [0x0806, 0x0800, 0x86dd] };

/** lacksXdp tells why AF_XDP cannot be used here; undefined when it can. */
export function lacksXdp(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  try {
    using pair = new XdpPair();
    pair.port({});
    return undefined;
  } catch (error) {
    return `AF_XDP on veth: ${(error as Error).message}`;
  }
}

/** XdpPair is the cable; what it made is closed with it. */
export class XdpPair implements Disposable {
  readonly scratch = new Scratch();
  readonly near: Netns;
  readonly far: Netns;
  readonly #opened: Disposable[] = [];

  /** `queues` of both ends, or of the near one alone. */
  constructor(options: { readonly queues?: number; readonly farQueues?: number } = {}) {
    const { scratch } = this;
    this.near = scratch.netns;
    try {
      this.far = scratch.another();
      const several = (queues: number | undefined) =>
        queues === undefined ? "" : `numrxqueues ${queues} numtxqueues ${queues} `;
      const { queues, farQueues = queues } = options;
      this.ip(
        "near",
        `link add x0 ${several(queues)}type veth peer name y0 ${several(farQueues)}netns /proc/${process.pid}/fd/${this.far.fd.number}`,
      );
      this.ip("near", "link set x0 up");
      this.ip("far", "addr add 10.20.0.2/24 dev y0");
      this.ip("far", "addr add fd20::2/64 dev y0 nodad");
      this.ip("far", "link set y0 up");
    } catch (error) {
      scratch[Symbol.dispose]();
      throw error;
    }
  }

  ip(side: "near" | "far", command: string): string {
    return this.scratch.text(`ip ${command}`, side === "near" ? this.near : this.far);
  }

  /** Addresses of the links. */
  mac(side: "near" | "far"): Uint8Array<ArrayBuffer> {
    const text = /link\/ether (\S+)/.exec(this.ip(side, `link show ${side === "near" ? "x0" : "y0"}`))?.[1];
    return macBytes(parseMac(text as string));
  }

  get ifindex(): number {
    return this.scratch.index("x0");
  }

  keep<T extends Disposable>(value: T): T {
    this.#opened.push(value);
    return value;
  }

  /** attach attaches a program to x0. */
  attach(options: Partial<XdpInterfaceOptions> = {}): XdpInterface {
    const { ifindex, near: netns } = this;
    return this.keep(XdpInterface.open({ ifindex, netns, filter: EVERYTHING, ...options }));
  }

  /** port attaches a program and opens one port, of queue 0. */
  port(
    options: Partial<XdpPortOptions> & {
      readonly frames?: number;
      readonly frameBytes?: 2048 | 4096;
      readonly filter?: XdpFilter;
      readonly mode?: "native" | "generic";
    },
  ): { readonly port: XdpPort; readonly link: XdpInterface; readonly frames: XdpFrames } {
    const { frames: count = 2048, frameBytes, filter = EVERYTHING, mode, ...rest } = options;
    const link = this.attach({ filter, ...(mode === undefined ? {} : { mode }) });
    const arena = new Arena({ bytes: (count + 2) * (frameBytes ?? 2048) + (1 << 20) });
    const frames = new XdpFrames(arena, {
      frames: count,
      ...(frameBytes === undefined ? {} : { frameBytes }),
    });
    const port = this.keep(
      new XdpPort(frames, {
        ifindex: link.ifindex,
        netns: this.near,
        queue: 0,
        zeroCopy: link.mode === "native",
        receive: 512,
        transmit: 512,
        ...rest,
      }),
    );
    link.add(port.socket.queue, port.socket.fd.number);
    return { port, link, frames };
  }

  /** sumInSoftware makes far's kernel write whole checksums: by default it leaves them to a card, and the cable is none (ETHTOOL_STXCSUM). */
  sumInSoftware(): void {
    sumInSoftware(this.far, "y0");
  }

  /** during goes on with `work` until the program in far's namespace has ended; returns what it printed. */
  async during(command: string, work: () => void): Promise<string> {
    let isRunning = true;
    const done = run(command.split(" "), { netns: this.far }).finally(() => {
      isRunning = false;
    });
    while (isRunning) {
      work();
      await Bun.sleep(1);
    }
    const { stdout, stderr } = await done;
    return stdout + stderr;
  }

  /** ping lets far ask three times, and returns what it printed. A slow machine may answer after ping has given up: then once more. */
  async ping(words: string, work: () => void): Promise<string> {
    for (let tries = 0; ; tries++) {
      const text = await this.during(`ping -n -c 3 -i 0.02 -W 2 ${words}`, work);
      if (text.includes("3 received") || tries === 5) return text;
    }
  }

  [Symbol.dispose](): void {
    for (const opened of this.#opened.reverse()) opened[Symbol.dispose]();
    this.scratch[Symbol.dispose]();
  }
}

/** Sums 16-bit words and gives the Internet checksum (RFC 1071). */
function internetChecksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** answer makes the frame at an offset, in place, what 10.20.0.1 answers to it: ARP, ping, UDP as an echo. False for anything else. */
export function answer(arena: Arena, at: number, bytes: number, mac: Uint8Array): boolean {
  const frame = arena.u8.subarray(at, at + bytes);
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const type = view.getUint16(12);
  frame.copyWithin(0, 6, 12);
  frame.set(mac, 6);
  if (type === 0x0806 && view.getUint16(20) === 1 && view.getUint32(38) === 0x0a140001) {
    view.setUint16(20, 2);
    const asker = frame.slice(22, 32);
    frame.set(mac, 22);
    view.setUint32(28, 0x0a140001);
    frame.set(asker, 32);
    return true;
  }
  if (type !== 0x0800) return false;
  const header = (view.getUint8(14) & 15) * 4;
  const [source, target] = [view.getUint32(26), view.getUint32(30)];
  view.setUint32(26, target);
  view.setUint32(30, source);
  const rest = frame.subarray(14 + header, 14 + view.getUint16(16));
  if (view.getUint8(23) === 1 && rest[0] === 8) {
    rest[0] = 0;
    rest[2] = rest[3] = 0;
    view.setUint16(14 + header + 2, internetChecksum(rest));
    return true;
  }
  if (view.getUint8(23) !== 17) return false;
  const [from, to] = [view.getUint16(14 + header), view.getUint16(16 + header)];
  view.setUint16(14 + header, to);
  view.setUint16(16 + header, from);
  // The sender may have left its checksum to a card that is not there.
  view.setUint16(14 + header + 6, 0);
  return true;
}

/** answerAll answers all that a port has received; returns how many frames it sent. */
export function answerAll(port: XdpPort, mac: Uint8Array): number {
  let sent = 0;
  for (let count = port.receive(); count > 0; count = port.receive()) {
    for (let i = 0; i < count; i++)
      if (answer(port.frames.arena, port.at(i), port.bytes(i), mac) && port.send(port.at(i), port.bytes(i)))
        sent++;
    port.flush();
  }
  return sent;
}
