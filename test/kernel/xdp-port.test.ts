/** AF_XDP ports on a cable whose other end is the kernel's: real packets in and out, all frames accounted for. */
import { describe, expect, test } from "bun:test";
import { Arena, DatagramSocket, libc, run, socketAddress } from "../../src/sys/mod.ts";
import { XdpFrames, XdpLoop, XdpMessages, XdpPacketSource, XdpPort } from "../../src/tunnel/xdp/mod.ts";
import { sendDatagram } from "../support/datagrams.ts";
import { newSeed, Random } from "../support/random.ts";
import { answerAll, lacksXdp, XdpPair } from "../support/xdp-pair.ts";

const skip = lacksXdp();
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;

const sum = (census: object) => Object.values(census as Record<string, number>).reduce((a, b) => a + b, 0);

/** Sends datagrams from the kernel's end. */
function send(pair: XdpPair, count: number, port = 9): void {
  for (let i = 0; i < count; i++)
    sendDatagram(pair.far, {
      from: "10.20.0.2",
      fromPort: 4000 + (i % 1000),
      to: "10.20.0.1",
      port,
      text: "x",
    });
}

/** Tells far where near is, so that it does not ask. */
const introduce = (pair: XdpPair) =>
  pair.ip("far", "neigh replace 10.20.0.1 lladdr 02:00:00:00:00:01 dev y0 nud permanent");

/** Receives until nothing comes for a while; returns how many frames that were. */
async function drain(port: XdpPort): Promise<number> {
  let frames = 0;
  for (let idle = 0; idle < 10; idle++) {
    const count = port.receive();
    frames += count;
    if (count > 0) idle = 0;
    else await Bun.sleep(2);
  }
  return frames;
}

describe.skipIf(skip !== undefined)(`XDP port${reason}`, () => {
  test.each([
    ["native, need-wakeup", {}],
    ["native, without need-wakeup", { needWakeup: false }],
    ["generic", { mode: "generic" }],
    ["frames of 4096", { frameBytes: 4096 }],
  ] as const)("the kernel's ping and its datagrams are answered: %s", async (_, options) => {
    using pair = new XdpPair();
    const { port, link, frames } = pair.port(options);
    expect(link.mode).toBe("mode" in options ? options.mode : "native");
    expect([port.socket.zeroCopy, port.socket.zeroCopyError]).toEqual([
      false,
      "mode" in options ? undefined : "EOPNOTSUPP",
    ]);
    const mac = pair.mac("near");
    let answered = 0;
    const loop = new XdpLoop(frames.arena, {
      sides: [{ port, blocked: () => false, work: () => void (answered += answerAll(port, mac)) }],
    });
    const work = () => void loop.once(5);
    for (const bytes of [0, 56, 1400, 1472]) {
      const text = await pair.ping(`-s ${bytes} 10.20.0.1`, work);
      expect(text).toContain("3 received");
      expect(text).not.toContain("duplicates");
    }
    expect(answered).toBeGreaterThanOrEqual(12);
    expect(port.garbled).toBe(0);
    expect(port.socket.statistics()).toMatchObject({
      receiveDropped: 0,
      receiveInvalid: 0,
      transmitInvalid: 0,
    });
    port.receive();
    expect(frames.census()).toMatchObject({ held: 0, received: 0, transmit: 0, fill: 512 });
  });

  test("what the filter does not name stays with the kernel", async () => {
    using pair = new XdpPair();
    pair.ip("near", "addr add 10.20.0.1/24 dev x0");
    const { port } = pair.port({ filter: { ipProtocols: [50], udpPorts: [4500] } });
    const ping = await run("ping -n -c 3 -i 0.02 -W 2 10.20.0.1".split(" "), { netns: pair.far });
    expect(ping.stdout).toContain("3 received");
    send(pair, 5, 4500);
    send(pair, 5, 4501);
    expect(await drain(port)).toBe(5);
    // To the kernel went, and nobody listened: Icmp OutDestUnreachs.
    expect(port.received).toBe(5);
  });

  test("several queues: each flow on its own, and a queue without a socket stays with the kernel", async () => {
    using pair = new XdpPair({ queues: 4 });
    introduce(pair);
    pair.ip("near", "addr add 10.20.0.1/24 dev x0");
    const link = pair.attach({ filter: { udpPorts: [9] } });
    const ports = [0, 1, 2].map((queue) => {
      const frames = new XdpFrames(new Arena({ bytes: 4 << 20 }), { frames: 1024 });
      const sizes = { receive: 512, transmit: 256 };
      const port = new XdpPort(frames, {
        ifindex: link.ifindex,
        netns: pair.near,
        queue,
        zeroCopy: true,
        ...sizes,
      });
      link.add(queue, port.socket.fd.number);
      return pair.keep(port);
    });
    const mac = pair.mac("near");
    pair.ip(
      "far",
      `neigh replace 10.20.0.1 lladdr ${Buffer.from(mac).toString("hex").match(/../g)?.join(":")} dev y0`,
    );
    const flows = ports.map(() => new Map<number, number>());
    let refused = 0;
    // The kernel chooses a queue for each socket.
    const sockets = Array.from({ length: 200 }, () => DatagramSocket.open(4, { netns: pair.far }));
    for (const { fd } of sockets) libc.connect(fd.number, socketAddress(new Uint8Array([10, 20, 0, 1]), 9));
    for (let round = 0; round < 2; round++) {
      for (const { fd } of sockets)
        try {
          libc.send(fd.number, new Uint8Array(new ArrayBuffer(8)));
        } catch {
          // The kernel at the other end had the datagram before, and refused it: nobody listens.
          refused++;
        }
      for (const [i, port] of ports.entries())
        for (let idle = 0; idle < 5; idle++) {
          const count = port.receive();
          for (let frame = 0; frame < count; frame++) {
            const source = port.frames.arena.view.getUint16(port.at(frame) + 34);
            flows[i]?.set(source, (flows[i]?.get(source) ?? 0) + 1);
          }
          if (count === 0) await Bun.sleep(2);
        }
    }
    for (const socket of sockets) socket.close();
    for (const flow of flows) {
      expect(flow.size).toBeGreaterThan(20);
      expect([...flow.values()].every((count) => count === 2)).toBe(true);
    }
    // The rest went by the fourth queue.
    expect(refused).toBeGreaterThan(0);
    const total = flows.reduce((all, flow) => all + flow.size, 0);
    expect(total).toBeLessThan(190);
    expect(() => link.add(256, 0)).toThrow("0 to 255");
    const { frames } = ports[0] as XdpPort;
    const { ifindex, near: netns } = pair;
    expect(() => new XdpPort(frames, { ifindex, netns, queue: 9, zeroCopy: true, reserve: 0 })).toThrow(
      "fewer queues",
    );
  });

  test("sources give what is for us, whole, and pass over the rest", async () => {
    using pair = new XdpPair();
    const { port, frames } = pair.port({ filter: { etherTypes: [0x0800] } });
    const { arena } = frames;
    const mac = pair.mac("near");
    const others: number[] = [];
    const source = new XdpPacketSource(port, {
      mac,
      other: (at, bytes) => void others.push(frames.headAt(at), bytes),
    });
    const messages = new XdpMessages(port, { mac, udpPort: 9 });
    introduce(pair);
    send(pair, 2);
    expect(source.receive()).toBe(0);
    expect(others).toEqual([256, 43, 256, 43]);
    pair.ip(
      "far",
      `neigh replace 10.20.0.1 lladdr ${Buffer.from(mac).toString("hex").match(/../g)?.join(":")} dev y0`,
    );
    send(pair, 3);
    expect(source.receive()).toBe(3);
    for (let i = 0; i < 3; i++) {
      expect([...arena.copy(source.at(i), 10)].every((byte) => byte === 0)).toBe(true);
      expect([source.bytes(i), arena.u8[source.at(i) + 10]]).toEqual([10 + 29, 0x45]);
    }
    // Of these, the first port is ours.
    send(pair, 2);
    send(pair, 2, 10);
    await run("ping -c 1 -W 1 -s 3000 10.20.0.1".split(" "), { netns: pair.far });
    expect(messages.receive()).toBe(2);
    expect(
      [0, 1].map((i) => `${messages.bytes(i)} ${String.fromCharCode(arena.u8[messages.at(i)] as number)}`),
    ).toEqual(["1 x", "1 x"]);
    expect(frames.headAt(messages.frameAt(0))).toBe(256);
    // Two for another port, three fragments of a ping.
    expect(messages.ignored).toBe(5);
    expect(source.receive()).toBe(0);
    expect(frames.census()).toMatchObject({ held: 0, received: 0 });
  });

  test("one UMEM for two interfaces: what came by one leaves by the other, without a copy", async () => {
    using left = new XdpPair();
    using right = new XdpPair();
    // Both cables in one namespace.
    right.ip("near", `link set x0 netns /proc/${process.pid}/fd/${left.near.fd.number} name x1`);
    left.ip("near", "link set x1 up");
    const { port, frames } = left.port({ frames: 4096 });
    const second = left.attach({ ifindex: left.scratch.index("x1") });
    using other = new XdpPort(frames, {
      ifindex: second.ifindex,
      netns: left.near,
      queue: 0,
      zeroCopy: true,
      share: port,
    });
    second.add(0, other.socket.fd.number);
    // A bridge of two ports: far ends see each other.
    right.ip("far", "addr flush dev y0");
    right.ip("far", "addr add 10.20.0.1/24 dev y0");
    const forward = (from: XdpPort, to: XdpPort) => {
      const count = from.receive();
      for (let i = 0; i < count; i++) to.send(from.at(i), from.bytes(i));
      to.flush();
    };
    const text = await left.ping("-s 1400 10.20.0.1", () => {
      forward(port, other);
      forward(other, port);
    });
    expect(text).toContain("3 received");
    expect(text).not.toContain("duplicates");
    forward(port, other);
    forward(other, port);
    for (const one of [port, other]) one.receive();
    const census = frames.census();
    expect(census).toMatchObject({ held: 0, received: 0, transmit: 0 });
    expect(frames.census(other.number).fill).toBe(1024);
    other.close();
    expect(frames.census()).toMatchObject({ fill: 512, free: 4096 - 512 });
    expect([port.garbled, other.garbled]).toEqual([0, 0]);
  });

  test("a flood: the kernel drops and counts, no frame is lost or doubled", async () => {
    using pair = new XdpPair();
    introduce(pair);
    const { port, frames } = pair.port({ frames: 256, receive: 64, transmit: 64 });
    const mac = pair.mac("near");
    let frameCount = 0;
    for (let round = 0; round < 40; round++) {
      // More than all rings hold; and every third time nobody looks.
      send(pair, 100);
      if (round % 3 === 0) continue;
      frameCount += answerAll(port, mac);
      const census = frames.census();
      expect(sum(census)).toBe(256);
      expect(census.held).toBe(0);
    }
    await Bun.sleep(50);
    frameCount += answerAll(port, mac);
    port.receive();
    const { receiveRingFull, receiveDropped, fillRingEmpty } = port.socket.statistics();
    expect(frameCount).toBeGreaterThan(1000);
    expect(receiveRingFull + receiveDropped + fillRingEmpty).toBeGreaterThan(100);
    expect(port.garbled).toBe(0);
    expect(frames.census()).toEqual({ free: 192, held: 0, received: 0, fill: 64, transmit: 0 });
    expect(port.socket.transmit.waiting()).toBe(0);
  });

  const seed = newSeed();
  test(`garbled descriptors lead nowhere (SEED=${seed})`, async () => {
    using pair = new XdpPair();
    introduce(pair);
    const { port, frames } = pair.port({ frames: 1024, receive: 256, transmit: 64 });
    const random = new Random(seed);
    const ring = port.socket.receive as unknown as Record<"entry" | "consumer" | "mask", number> & {
      readonly words: Int32Array;
    };
    let garbledByUs = 0;
    for (let round = 0; round < 30; round++) {
      send(pair, 10);
      const count = port.socket.receive.available();
      // The ring is our memory as well: write into what the kernel wrote.
      for (let i = 0; i < count; i++) {
        if (random.chance(0.5)) continue;
        const index = ((ring.words[ring.consumer] as number) + i) & ring.mask;
        ring.words[ring.entry + 4 * index + random.below(3)] = random.chance(0.5)
          ? random.u32() | 0
          : random.below(1 << 21);
        garbledByUs++;
      }
      const got = port.receive();
      const seen = new Set<number>();
      for (let i = 0; i < got; i++) {
        const [at, bytes] = [port.at(i), port.bytes(i)];
        expect(at >= frames.at && at + bytes <= frames.at + 1024 * 2048).toBe(true);
        expect(bytes > 0 && bytes <= frames.roomAt(at)).toBe(true);
        seen.add(Math.floor((at - frames.at) / 2048));
      }
      expect(seen.size).toBe(got);
      expect(sum(frames.census())).toBe(1024);
    }
    expect(garbledByUs).toBeGreaterThan(30);
    expect(port.garbled).toBeGreaterThan(5);
    // Frames that the kernel named wrongly stay in its account until the socket is closed.
    port.close();
    expect(frames.census()).toEqual({ free: 1024, held: 0, received: 0, fill: 0, transmit: 0 });
    expect(port.receive()).toBe(0);
  });

  test("what cannot be sent is refused before the kernel sees it", () => {
    using pair = new XdpPair();
    const { port, frames } = pair.port({ frames: 256, receive: 64, transmit: 64 });
    const at = frames.take();
    for (const bytes of [0, 13, 1793, Number.NaN]) expect(() => port.send(at, bytes)).toThrow(RangeError);
    for (const wrong of [0, frames.at - 1, frames.at + 256 * 2048, at + 2048])
      expect(() => port.send(wrong, 60)).toThrow(RangeError);
    expect(port.send(at, 60)).toBe(true);
    expect(() => port.send(at, 60)).toThrow("no frame that is held");
    port.flush();
    port.collect();
    expect(frames.census().transmit).toBe(0);
    // A ring that nobody empties fills up, and says so.
    let sent = 0;
    for (let taken = frames.take(); port.send(taken, 60); taken = frames.take()) sent++;
    expect(sent).toBe(64);
    expect(port.flush()).toBe(true);
    expect(port.hasRoom).toBe(true);
  });

  test("an interface that is down loses frames and blocks nobody; one that is removed is gone", async () => {
    using pair = new XdpPair();
    introduce(pair);
    const { port, frames } = pair.port({ frames: 256, receive: 64, transmit: 64, filter: { udpPorts: [9] } });
    pair.ip("near", "link set x0 down");
    for (let i = 0; i < 64; i++) port.send(frames.take(), 60);
    expect([port.flush(), port.blocked, port.isDown, port.hasRoom]).toEqual([true, false, true, false]);
    pair.ip("near", "link set x0 up");
    expect([port.flush(), port.isDown, port.hasRoom]).toEqual([true, false, true]);
    send(pair, 3);
    expect(await drain(port)).toBe(3);
    pair.ip("near", "link del x0");
    const loop = new XdpLoop(frames.arena, { sides: [{ port, blocked: () => false, work: () => {} }] });
    expect(loop.run()).toBe("gone");
    expect(port.flush()).toBe(true);
    port.close();
    expect(frames.census().free).toBe(256);
  });

  test("limits: rings, reserve, and one socket for a queue", () => {
    using pair = new XdpPair();
    const { port, frames, link } = pair.port({});
    const more = { ifindex: link.ifindex, netns: pair.near, queue: 0, zeroCopy: false };
    expect(() => new XdpPort(frames, { ...more, transmit: 100 })).toThrow("EINVAL");
    expect(() => new XdpPort(frames, { ...more, reserve: 2048 })).toThrow("give it more");
    expect(() => new XdpPort(frames, more)).toThrow("another socket has it");
    // Nothing of the refused ones remains.
    port.close();
    using again = new XdpPort(frames, more);
    expect(again.socket.queue).toBe(0);
  });
});
