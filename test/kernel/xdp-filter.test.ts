/** The XDP program of a filter, run by the kernel on frames of all kinds, against a model that reads them slowly. */
import { describe, expect, test } from "bun:test";
import {
  Arena,
  attachXdp,
  BpfRefusal,
  createXskMap,
  loadXdpProgram,
  putXskMap,
  testXdpProgram,
  XdpSocket,
} from "../../src/sys/mod.ts";
import { assembleBpf, exit, XDP, type XdpFilter, XdpFrames, xdpProgram } from "../../src/tunnel/xdp/mod.ts";
import { newSeed, Random } from "../support/random.ts";
import { lacksXdp, XdpPair } from "../support/xdp-pair.ts";

const skip = lacksXdp();
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;

/** What the filter says, read field by field. */
function isTaken(frame: Uint8Array, filter: XdpFilter): boolean {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (frame.length < 14) return false;
  const type = view.getUint16(12);
  if (filter.etherTypes?.includes(type) === true) return true;
  let [protocol, at] = [0, 0];
  if (type === 0x0800) {
    if (frame.length < 34 || (view.getUint16(20) & 0x3fff) !== 0) return false;
    protocol = view.getUint8(23);
    at = (view.getUint8(14) & 15) * 4;
    if (filter.ipProtocols?.includes(protocol) === true) return true;
    if (at < 20) return false;
  } else if (type === 0x86dd) {
    if (frame.length < 54) return false;
    [protocol, at] = [view.getUint8(20), 40];
    if (filter.ipProtocols?.includes(protocol) === true) return true;
  } else return false;
  if (protocol !== 17 || frame.length < 14 + at + 8) return false;
  return filter.udpPorts?.includes(view.getUint16(14 + at + 2)) === true;
}

/** Fields of flags and offset: whole packets, the first of several fragments, others, the last. */
const fragments = [0, 0, 0x4000, 0x4000, 0x2000, 0x2001, 0x00b9, 0x8000, 0x1fff];

/** A frame whose fields are often such as some filter names. */
function randomFrame(random: Random): Uint8Array {
  const frame = random.bytes(14 + random.below(90));
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  const types = [0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8100, 0x0008, random.below(65_536)];
  view.setUint16(12, types[random.below(types.length)] as number);
  const protocol = [17, 17, 17, 50, 6, random.below(256)][random.below(6)] as number;
  const port = [4500, 500, 37905, random.below(65_536)][random.below(4)] as number;
  if (frame.length < 56) return frame;
  if (view.getUint16(12) === 0x0800) {
    const header = random.chance(0.7) ? 5 : random.below(16);
    view.setUint8(14, 0x40 | header);
    view.setUint16(20, fragments[random.below(fragments.length)] as number);
    view.setUint8(23, protocol);
    const at = 14 + header * 4 + 2;
    if (at + 2 <= frame.length) view.setUint16(at, port);
  } else {
    view.setUint8(20, protocol);
    if (frame.length >= 58) view.setUint16(56, port);
  }
  return frame;
}

const filters: readonly XdpFilter[] = [
  {},
  { etherTypes: [0x0806] },
  { ipProtocols: [50] },
  { udpPorts: [4500, 500] },
  { etherTypes: [0x0806, 0x8100], ipProtocols: [50, 6], udpPorts: [4500] },
  { ipProtocols: [17] },
  {
    etherTypes: Array.from({ length: 64 }, (_, i) => 0x9000 + i),
    ipProtocols: Array.from({ length: 64 }, (_, i) => 100 + i),
    udpPorts: Array.from({ length: 64 }, (_, i) => 4437 + i),
  },
];

const seed = newSeed();

describe.skipIf(skip !== undefined)(`XDP filter${reason}`, () => {
  test.each(filters.map((filter, i) => [i, filter] as const))(
    `filter %d takes what its lists name, and nothing else (SEED=${seed})`,
    (_, filter) => {
      using pair = new XdpPair();
      // A socket for the test's queue, without which everything would be passed: the loopback's, which test runs use.
      pair.ip("near", "link set lo up");
      const frames = new XdpFrames(new Arena({ bytes: 1 << 20 }), { frames: 64 });
      pair.near.run(() => {
        using map = createXskMap(4);
        using program = loadXdpProgram("test", xdpProgram(filter, map.number));
        const rings = { fill: 16, completion: 16, receive: 16, transmit: 16 };
        using socket = XdpSocket.open({ ifindex: 1, queue: 0, umem: frames, zeroCopy: false, ...rings });
        const random = new Random(seed);
        // No queue has a socket: all is the kernel's.
        for (let i = 0; i < 50; i++) expect(testXdpProgram(program, randomFrame(random))).toBe(XDP.pass);
        putXskMap(map, 0, socket.fd.number);
        let taken = 0;
        for (let i = 0; i < 4000; i++) {
          const frame = randomFrame(random);
          const verdict = testXdpProgram(program, frame);
          const expected = isTaken(frame, filter);
          if ((verdict === XDP.redirect) !== expected || (!expected && verdict !== XDP.pass))
            throw new Error(`${verdict} for ${Buffer.from(frame).toString("hex")}`);
          if (expected) taken++;
        }
        if (Object.keys(filter).length > 0) expect(taken).toBeGreaterThan(50);
      });
    },
  );

  test("the verifier's reasons are in the error", () => {
    // Returns what nobody has written.
    expect(() => loadXdpProgram("wrong", assembleBpf([exit]))).toThrow(/R0 !read_ok/);
    expect(() => loadXdpProgram("wrong", assembleBpf([exit]))).toThrow(BpfRefusal);
    expect(() => loadXdpProgram("wrong", new Uint8Array(7))).toThrow("no instructions");
  });

  test("lists have limits", () => {
    expect(() => xdpProgram({ udpPorts: Array<number>(65).fill(1) }, 0)).toThrow("at most 64");
    expect(() => xdpProgram({ ipProtocols: [256] }, 0)).toThrow("0 to 255");
    expect(() => xdpProgram({ etherTypes: [-1] }, 0)).toThrow("0 to 65535");
  });

  test("a program that is there already is named as the reason, and stays", () => {
    using pair = new XdpPair();
    const first = pair.attach();
    expect(first.mode).toBe("native");
    expect(() => pair.attach()).toThrow("another one is attached");
    expect(() => pair.attach({ mode: "generic" })).toThrow("another one is attached");
    expect(pair.ip("near", "link show x0")).toContain("xdp_to_socket");
  });

  test("where the driver has no XDP the program is generic, and says why", () => {
    using pair = new XdpPair();
    pair.ip("near", "link add br0 type bridge");
    using map = createXskMap(1);
    using program = loadXdpProgram("test", xdpProgram({}, map.number));
    using link = attachXdp(program, { ifindex: pair.scratch.index("br0"), netns: pair.near });
    expect([link.mode, link.nativeError]).toEqual(["generic", "EOPNOTSUPP"]);
    expect(pair.ip("near", "link show br0")).toContain("xdpgeneric");
    expect(() => attachXdp(program, { ifindex: 9999, netns: pair.near })).toThrow("may be gone");
  });
});
