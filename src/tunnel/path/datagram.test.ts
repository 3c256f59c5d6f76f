import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Arena, DatagramSocket, Fd, libc, socketAddress } from "../../sys/mod.ts";
import { DatagramReceiver } from "./datagram-receiver.ts";
import { DatagramSender } from "./datagram-sender.ts";
import { ENDPOINT_BYTES, EndpointLearner, setEndpoint } from "./endpoint-memory.ts";

const LOOPBACK = {
  4: new Uint8Array([127, 0, 0, 1]),
  6: Uint8Array.from({ length: 16 }, (_, i) => (i === 15 ? 1 : 0)),
};
const families = existsSync("/proc/net/if_inet6") ? ([4, 6] as const) : ([4] as const);

/** A sender, a receiver, and the endpoint that leads from one to the other. */
class Wire implements Disposable {
  readonly arena = new Arena({ bytes: 8 << 20 });
  readonly from: DatagramSocket;
  readonly to: DatagramSocket;
  readonly sender: DatagramSender;
  readonly receiver = new DatagramReceiver(this.arena);
  readonly endpoint = this.arena.allocate(ENDPOINT_BYTES);

  constructor(family: 4 | 6 = 4) {
    this.from = DatagramSocket.open(family, { address: LOOPBACK[family] });
    this.to = DatagramSocket.open(family, { address: LOOPBACK[family], localAddress: true });
    this.sender = new DatagramSender(this.arena, this.from);
    setEndpoint(this.arena, this.endpoint, socketAddress(LOOPBACK[family], this.to.port));
  }

  /** put makes a frame whose bytes all are `value`. */
  put(length: number, value: number, endpoint = this.endpoint): boolean {
    const at = this.sender.frame(endpoint, length);
    if (at > 0) this.arena.u8.fill(value, at, at + length);
    return at > 0;
  }

  /** take receives all that is there: each message as a list of `length×value`. */
  take(socket = this.to): string[][] {
    const messages: string[][] = [];
    for (;;) {
      const count = this.receiver.receive(socket.fd.number);
      if (count <= 0) return messages;
      for (let i = 0; i < count; i++) {
        const bytes = this.arena.copy(this.receiver.at(i), this.receiver.bytes(i));
        const datagrams: string[] = [];
        for (let first = 0; first < bytes.length; first += this.receiver.segmentBytes(i)) {
          const datagram = bytes.subarray(first, first + this.receiver.segmentBytes(i));
          expect(datagram.every((byte) => byte === datagram[0])).toBe(true);
          datagrams.push(`${datagram.length}×${datagram[0]}`);
        }
        messages.push(datagrams);
      }
    }
  }

  [Symbol.dispose](): void {
    this.from.close();
    this.to.close();
  }
}

describe.each(families)("datagrams over IPv%d", (family) => {
  test("frames of one length are one message, the last may be shorter, and arrive in order", () => {
    using wire = new Wire(family);
    for (let i = 0; i < 10; i++) wire.put(1000, i);
    wire.put(900, 10);
    wire.put(900, 11);
    wire.put(1000, 12);
    expect(wire.sender.flush()).toBe(true);
    const messages = wire.take();
    expect(messages.flat()).toEqual(
      [...Array(10).keys()].map((i) => `1000×${i}`).concat("900×10", "900×11", "1000×12"),
    );
    expect(wire.sender).toMatchObject({ sent: 13, refused: 0, blocked: false });
    // The kernel joined what it had split, or never split it.
    if (wire.to.joins) expect(messages.length).toBe(3);
  });

  test("at most 64 frames and 64 KiB are one message, 64 messages and 1 MiB one flush", () => {
    using wire = new Wire(family);
    for (let i = 0; i < 130; i++) wire.put(100, 1);
    for (let i = 0; i < 50; i++) wire.put(1452, 2);
    wire.sender.flush();
    const messages = wire.take();
    expect(messages.flat().length).toBe(180);
    if (wire.to.joins) expect(messages.map((message) => message.length)).toEqual([64, 64, 2, 45, 5]);

    const lengths = Array.from({ length: 64 }, (_, i) => 100 + i);
    for (const length of lengths) expect(wire.put(length, 3)).toBe(true);
    expect(wire.put(500, 3)).toBe(false);
    wire.sender.flush();
    expect(wire.take().length).toBe(64);

    let frames = 0;
    while (wire.put(60_000 - frames, 4)) frames++;
    expect(frames).toBe(17);
    expect(() => wire.sender.frame(wire.endpoint, 65_508)).toThrow(RangeError);
    expect(() => wire.sender.frame(wire.endpoint, 0)).toThrow(RangeError);
  });

  test("frames for another endpoint are a message of their own", () => {
    using wire = new Wire(family);
    using other = DatagramSocket.open(family, { address: LOOPBACK[family] });
    const second = wire.arena.allocate(ENDPOINT_BYTES);
    setEndpoint(wire.arena, second, socketAddress(LOOPBACK[family], other.port));
    for (let i = 0; i < 6; i++) wire.put(100, i, i % 2 === 0 ? wire.endpoint : second);
    wire.sender.flush();
    expect(wire.take().flat()).toEqual(["100×0", "100×2", "100×4"]);
    expect(wire.take(other).flat()).toEqual(["100×1", "100×3", "100×5"]);
  });

  test("an endpoint is learned with our address, and only when it changes", () => {
    using wire = new Wire(family);
    wire.put(100, 1);
    wire.sender.flush();
    expect(wire.receiver.receive(wire.to.fd.number)).toBe(1);
    const learner = new EndpointLearner(wire.arena);
    learner.source = wire.receiver.sourceAt(0);
    learner.local = wire.receiver.localAt(0);
    learner.localBytes = wire.receiver.localBytes(0);
    expect(learner.localBytes).toBe(family === 4 ? 32 : 40);
    const learned = wire.arena.allocate(ENDPOINT_BYTES);
    expect(learner.learn(learned)).toBe(true);
    expect(learner.learn(learned)).toBe(false);
    const back = new DatagramSender(wire.arena, wire.to);
    for (let i = 0; i < 3; i++) back.frame(learned, 50);
    expect(back.flush()).toBe(true);
    expect(back.sent).toBe(3);
    expect(wire.take(wire.from).flat().length).toBe(3);
  });
});

describe("datagrams", () => {
  test("the answer leaves from the address that was spoken to", () => {
    using wire = new Wire();
    using any = DatagramSocket.open(4, { localAddress: true });
    setEndpoint(wire.arena, wire.endpoint, socketAddress(new Uint8Array([127, 0, 0, 77]), any.port));
    wire.put(10, 1);
    wire.sender.flush();
    expect(wire.receiver.receive(any.fd.number)).toBe(1);
    const learner = new EndpointLearner(wire.arena);
    [learner.source, learner.local] = [wire.receiver.sourceAt(0), wire.receiver.localAt(0)];
    learner.localBytes = wire.receiver.localBytes(0);
    const learned = wire.arena.allocate(ENDPOINT_BYTES);
    learner.learn(learned);
    const back = new DatagramSender(wire.arena, any);
    // One frame takes the endpoint's own control memory, two need UDP_SEGMENT beside it.
    for (const frames of [1, 2]) {
      for (let i = 0; i < frames; i++) back.frame(learned, 20);
      back.flush();
      expect(wire.receiver.receive(wire.from.fd.number)).toBe(frames === 1 ? 1 : wire.from.joins ? 1 : 2);
      const source = wire.receiver.sourceAt(0);
      expect([...wire.arena.copy(source + 4, 4)]).toEqual([127, 0, 0, 77]);
    }
  });

  test("an address that is ours no more is given up, and the datagrams still go", () => {
    using wire = new Wire();
    const { arena, endpoint } = wire;
    // IP_PKTINFO with 203.0.113.77 as source.
    arena.view.setInt32(endpoint + 32, 32, true);
    arena.view.setInt32(endpoint + 40, 28, true);
    arena.view.setInt32(endpoint + 40 + 12, 8, true);
    arena.store(endpoint + 40 + 20, new Uint8Array([203, 0, 113, 77]));
    for (let i = 0; i < 3; i++) wire.put(10, i);
    expect(wire.sender.flush()).toBe(true);
    expect(wire.take().flat()).toEqual(["10×0", "10×1", "10×2"]);
    expect(arena.view.getInt32(endpoint + 32, true)).toBe(0);
  });

  test("what the system refuses is dropped and counted, the rest goes", () => {
    using wire = new Wire();
    const nowhere = wire.arena.allocate(ENDPOINT_BYTES);
    // Port 0 is nobody's; an endpoint without address likewise.
    setEndpoint(wire.arena, nowhere, socketAddress(LOOPBACK[4], 0));
    const empty = wire.arena.allocate(ENDPOINT_BYTES);
    for (let i = 0; i < 9; i++) wire.put(10, i, [wire.endpoint, nowhere, empty][i % 3]);
    expect(wire.sender.flush()).toBe(true);
    expect(wire.take().flat()).toEqual(["10×0", "10×3", "10×6"]);
    expect(wire.sender).toMatchObject({ sent: 3, refused: 6 });
  });

  test("an empty datagram is one datagram of no bytes", () => {
    using wire = new Wire();
    libc.connect(wire.from.fd.number, socketAddress(LOOPBACK[4], wire.to.port));
    libc.send(wire.from.fd.number, new Uint8Array(new ArrayBuffer(0)));
    expect(wire.receiver.receive(wire.to.fd.number)).toBe(1);
    expect([wire.receiver.bytes(0), wire.receiver.segmentBytes(0)]).toEqual([0, 1]);
    expect(wire.receiver.receive(wire.to.fd.number)).toBe(-11);
  });

  /**
   * A sender on a unix socket, because such a receiver's queue fills up (UDP on loopback drops instead), and because it refuses messages
   * larger than its buffer (EMSGSIZE, as UDP does when a frame is longer than the path's MTU).
   */
  class Queue implements Disposable {
    readonly arena = new Arena({ bytes: 4 << 20 });
    readonly endpoint = this.arena.allocate(ENDPOINT_BYTES);
    readonly sender: DatagramSender;
    /** Lengths of what arrived. */
    readonly received: number[] = [];
    readonly #to = new Fd(libc.socket(1, 2 | 0o2004000, 0), "test");
    readonly #from = new Fd(libc.socket(1, 2 | 0o2004000, 0), "test");

    constructor(name: string, options: { readonly bufferBytes?: number } = {}) {
      const path = new TextEncoder().encode(`\0cw-${process.pid}-${name}`);
      const address = new Uint8Array(new ArrayBuffer(2 + path.length));
      address[0] = 1;
      address.set(path, 2);
      libc.bind(this.#to.number, address);
      if (options.bufferBytes !== undefined) libc.setsockopt(this.#from.number, 1, 7, options.bufferBytes);
      setEndpoint(this.arena, this.endpoint, address);
      this.sender = new DatagramSender(this.arena, { fd: this.#from, splits: true } as DatagramSocket);
    }

    drain(): void {
      const into = new Uint8Array(new ArrayBuffer(70_000));
      const next = () => libc.recv(this.#to.number, into);
      for (let count = next(); count > 0; count = next()) this.received.push(count);
    }

    [Symbol.dispose](): void {
      this.#to.close();
      this.#from.close();
    }
  }

  test("while the system takes nothing there is no room; later all goes, in order", () => {
    using queue = new Queue("full");
    const { sender, endpoint } = queue;
    const expected: number[] = [];
    let refusals = 0;
    for (let i = 0; i < 300; i++) {
      const length = 100 + i;
      let at = sender.frame(endpoint, length);
      while (at === 0) {
        if (!sender.flush()) {
          refusals++;
          expect(sender.blocked).toBe(true);
          expect(sender.frame(endpoint, 1)).toBe(0);
          expect(sender.flush()).toBe(false);
          queue.drain();
        }
        at = sender.frame(endpoint, length);
      }
      expected.push(length);
    }
    while (!sender.flush()) queue.drain();
    queue.drain();
    expect(queue.received).toEqual(expected);
    expect(refusals).toBeGreaterThan(2);
    expect(sender.sent).toBe(300);
  });

  test("a message that is too large goes frame by frame, with pauses if need be", () => {
    using queue = new Queue("split", { bufferBytes: 20_000 });
    const { sender, endpoint } = queue;
    // 50 frames of which the last is short, then some that fit together.
    for (let i = 0; i < 50; i++) sender.frame(endpoint, i === 49 ? 700 : 1000);
    for (let i = 0; i < 3; i++) sender.frame(endpoint, 1200);
    let pauses = 0;
    while (!sender.flush()) {
      pauses++;
      queue.drain();
    }
    queue.drain();
    expect(queue.received).toEqual([...Array<number>(49).fill(1000), 700, 3600]);
    expect(sender).toMatchObject({ sent: 53, refused: 0, blocked: false });
    expect(pauses).toBeGreaterThan(2);
  });

  test("sockets that share a port, and one that is taken", () => {
    using one = DatagramSocket.open(4, { address: LOOPBACK[4], sharePort: true });
    using two = DatagramSocket.open(4, { address: LOOPBACK[4], sharePort: true, port: one.port });
    expect(two.port).toBe(one.port);
    expect(() => DatagramSocket.open(4, { address: LOOPBACK[4], port: one.port })).toThrow("EADDRINUSE");
  });
});
