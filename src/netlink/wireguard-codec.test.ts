/** WireGuard's messages against bytes laid out by hand after include/uapi/linux/wireguard.h. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  type DeviceChange,
  formatPrefix,
  ip,
  type PeerChange,
  parseEndpoint,
  parsePrefix,
  PrivateKey,
  type Prefix,
  prefixOf,
  publicKeyFromBytes,
  Secret,
} from "../net/mod.ts";
import { Reader, Writer } from "../wire/mod.ts";
import { type AnswerPart, type DevicePart, mergeDevice, splitChange } from "./wireguard-codec.ts";
import { PEER_FLAG, wireguardAnswer, wireguardMessage } from "./wireguard-table.ts";

const keyA = "aa".repeat(32);
const keyB = "bb".repeat(32);
const publicA = publicKeyFromBytes(Buffer.from(keyA, "hex"));
const publicB = publicKeyFromBytes(Buffer.from(keyB, "hex"));

/** One attribute as hexadecimal text: length and type in host order, value, padding. Written apart from the codec. */
function attribute(type: number, ...value: string[]): string {
  const body = value.join("").replaceAll(" ", "");
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + body.length / 2, 0);
  header.writeUInt16LE(type, 2);
  return header.toString("hex") + body + "00".repeat((4 - ((body.length / 2) % 4)) % 4);
}
const NESTED = 0x8000;
const nest = (type: number, ...value: string[]) => attribute(NESTED | type, ...value);

const getHeader = "00 01 0000".replaceAll(" ", "");
const setHeader = "01 01 0000".replaceAll(" ", "");
const allowed4 = nest(0, attribute(1, "0200"), attribute(2, "0a010000"), attribute(3, "10"));
const allowed6 = nest(0, attribute(1, "0a00"), attribute(2, "fd00", "00".repeat(14)), attribute(3, "40"));

function decode(text: string): AnswerPart {
  return wireguardAnswer.decode(new Reader(Buffer.from(text, "hex"))).body;
}

const merged = (parts: readonly AnswerPart[]) => mergeDevice(parts).state;
/** What was asked for, as an answer. */
const answered = (part: DevicePart) => decode(hexOf(part));

function encode(body: DevicePart): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  wireguardMessage.encode(writer, { header: { command: 1, version: 1 }, body });
  return writer.finish();
}

const hexOf = (body: DevicePart | undefined) => Buffer.from(encode(body as DevicePart)).toString("hex");

describe("reading a device", () => {
  const device = [
    attribute(1, "05000000"),
    attribute(2, "776730 00"),
    attribute(3, "11".repeat(32)),
    attribute(4, keyB),
    attribute(6, "6cca"),
    attribute(7, "00000000"),
  ].join("");

  test("keys, port, endpoints, allowed IPs, counters, handshake", () => {
    const peer4 = nest(
      0,
      attribute(1, keyA),
      attribute(2, "00".repeat(32)),
      // sockaddr_in: family in host order, port in network order, address, 8 zero bytes.
      attribute(4, "0200 ca6c c0000201 0000000000000000"),
      attribute(5, "1900"),
      // 1 s and 500,000,000 ns.
      attribute(6, "0100000000000000 0065cd1d00000000"),
      attribute(7, "0500000000000000"),
      attribute(8, "0000000001000000"),
      nest(9, allowed4, allowed6),
      attribute(10, "01000000"),
    );
    const peer6 = nest(
      0,
      attribute(1, keyB),
      attribute(2, "01", "00".repeat(31)),
      // sockaddr_in6: family, port, flow, address, scope.
      attribute(4, "0a00 ca6c 00000000 20010db8000000000000000000000001 00000000"),
      attribute(5, "0000"),
      attribute(6, "00".repeat(16)),
      attribute(7, "00".repeat(8)),
      attribute(8, "00".repeat(8)),
    );
    expect(merged([decode(getHeader + device + nest(8, peer4, peer6))])).toEqual({
      publicKey: publicB,
      listenPort: 51820,
      peers: [
        {
          publicKey: publicA,
          endpoint: parseEndpoint("192.0.2.1:51820"),
          allowedIps: [parsePrefix("10.1.0.0/16"), parsePrefix("fd00::/64")],
          keepaliveSeconds: 25,
          presharedKey: false,
          lastHandshakeMs: 1500,
          rxBytes: 5,
          txBytes: 2 ** 32,
        },
        {
          publicKey: publicB,
          endpoint: parseEndpoint("[2001:db8::1]:51820"),
          allowedIps: [],
          presharedKey: true,
          rxBytes: 0,
          txBytes: 0,
        },
      ],
    });
  });

  test("a fresh device has neither key nor peers", () => {
    const fresh = getHeader + attribute(1, "05000000") + attribute(2, "77673000") + attribute(6, "0000");
    expect(merged([decode(fresh)])).toEqual({ listenPort: 0, peers: [] });
  });

  test("allowed IPs of one peer over three messages are joined, in order", () => {
    const parts = [
      getHeader +
        device +
        nest(8, nest(0, attribute(1, keyA), attribute(7, "0900000000000000"), nest(9, allowed4))),
      getHeader + attribute(1, "05000000") + nest(8, nest(0, attribute(1, keyA), nest(9, allowed6))),
      getHeader +
        nest(
          8,
          nest(
            0,
            attribute(1, keyA),
            nest(9, nest(0, attribute(1, "0200"), attribute(2, "0b000000"), attribute(3, "08"))),
          ),
          nest(0, attribute(1, keyB), attribute(7, "0100000000000000")),
        ),
    ];
    const state = merged(parts.map(decode));
    expect(state.listenPort).toBe(51820);
    expect(
      state.peers.map((peer) => [peer.publicKey, peer.allowedIps.map(formatPrefix), peer.rxBytes]),
    ).toEqual([
      [publicA, ["10.1.0.0/16", "fd00::/64", "11.0.0.0/8"], 9],
      [publicB, [], 1],
    ]);
  });

  test("a peer whose bytes are those of the time before is the same value, also over two messages", () => {
    const rx = (bytes: string) => attribute(7, `${bytes}00000000000000`);
    const a = (bytes: string) =>
      getHeader + nest(8, nest(0, attribute(1, keyA), rx(bytes), nest(9, allowed4)));
    const b = (bytes: string) => getHeader + nest(8, nest(0, attribute(1, keyB), rx(bytes)));
    const more = getHeader + nest(8, nest(0, attribute(1, keyA), nest(9, allowed6)));
    const first = mergeDevice([a("01"), more, b("01")].map(decode));
    const second = mergeDevice([a("01"), more, b("02")].map(decode), first.memory);
    expect(second.state.peers.map((peer, i) => peer === first.state.peers[i])).toEqual([true, false]);
    expect(second.state.peers.map((peer) => peer.rxBytes)).toEqual([1, 2]);
    const third = mergeDevice([a("03"), more, b("02")].map(decode), second.memory);
    expect(third.state.peers[0]).toMatchObject({
      rxBytes: 3,
      allowedIps: [parsePrefix("10.1.0.0/16"), parsePrefix("fd00::/64")],
    });
    expect(third.state.peers[1]).toBe(second.state.peers[1] as never);
    // What was remembered is what there is, and no more.
    expect(third.memory.size).toBe(4);
  });

  test("nonsense is a decode error", () => {
    const peer = (...value: string[]) => getHeader + nest(8, nest(0, ...value));
    const bad = [
      peer(attribute(1, keyA.slice(2))),
      peer(attribute(1, keyA), attribute(4, "0300", "00".repeat(14))),
      peer(attribute(1, keyA), nest(9, nest(0, attribute(2, "0a000000"), attribute(3, "21")))),
      peer(attribute(1, keyA), nest(9, nest(0, attribute(2, "0a0000"), attribute(3, "08")))),
      peer(attribute(7, "0100000000000000")),
    ];
    for (const text of bad)
      expect(() => mergeDevice([decode(text)])).toThrow(/bytes|family|allowed IP|public key/);
  });
});

describe("changing a device", () => {
  test("key, port and peers in one message", () => {
    const privateKey = new PrivateKey(Buffer.from("40".repeat(32), "hex"));
    const [part, ...more] = splitChange("wg0", {
      privateKey,
      listenPort: 51820,
      peers: [
        {
          publicKey: publicA,
          endpoint: parseEndpoint("192.0.2.1:51820"),
          allowedIps: [parsePrefix("10.1.0.0/16"), parsePrefix("fd00::/64")],
          keepaliveSeconds: 25,
          presharedKey: new Secret(Buffer.from("22".repeat(32), "hex")),
        },
        { publicKey: publicB, remove: true },
      ],
    });
    expect(more).toEqual([]);
    expect(hexOf(part)).toBe(
      setHeader +
        attribute(2, "77673000") +
        attribute(3, "40".repeat(32)) +
        attribute(6, "6cca") +
        nest(
          8,
          nest(
            0,
            attribute(1, keyA),
            attribute(2, "22".repeat(32)),
            attribute(3, "02000000"),
            attribute(4, "0200 ca6c c0000201 0000000000000000"),
            attribute(5, "1900"),
            nest(9, allowed4, allowed6),
          ),
          nest(0, attribute(1, keyB), attribute(3, "01000000")),
        ),
    );
  });

  test("what is absent is not sent; nothing to change is a message with the name only", () => {
    const [anew] = splitChange("wg0", { peers: [{ publicKey: publicA, anew: true, keepaliveSeconds: 5 }] });
    expect(anew?.peers?.map(({ flags, keepaliveSeconds }) => [flags, keepaliveSeconds])).toEqual([
      [PEER_FLAG.remove, undefined],
      [undefined, 5],
    ]);
    expect(splitChange("wg0", {}).map(hexOf)).toEqual([setHeader + attribute(2, "77673000")]);
    const [part] = splitChange("wg0", {
      peers: [
        { publicKey: publicA, keepaliveSeconds: 0, updateOnly: true },
        { publicKey: publicB, allowedIps: [] },
      ],
    });
    expect(hexOf(part)).toBe(
      setHeader +
        attribute(2, "77673000") +
        nest(
          8,
          nest(0, attribute(1, keyA), attribute(3, "04000000"), attribute(5, "0000")),
          nest(0, attribute(1, keyB), attribute(3, "02000000"), nest(9)),
        ),
    );
  });

  test("a peer with 5,000 allowed IPs: further messages add to it and replace nothing", () => {
    const allowedIps = Array.from({ length: 5000 }, (_, i) =>
      prefixOf(i % 2 === 0 ? ip(4, BigInt(i) << 8n) : ip(6, BigInt(i) << 64n), i % 2 === 0 ? 24 : 64),
    );
    const parts = splitChange("wg0", {
      listenPort: 1,
      peers: [
        { publicKey: publicA, allowedIps },
        { publicKey: publicB, allowedIps: [] },
      ],
    });
    expect(parts.length).toBeGreaterThan(3);
    const ofA = parts.map((part) => part.peers?.[0]);
    expect(ofA.map((peer) => peer?.flags)).toEqual([
      PEER_FLAG.replaceAllowedIps,
      ...parts.slice(1).map(() => PEER_FLAG.updateOnly),
    ]);
    expect(parts.map((part) => part.listenPort)).toEqual([1, ...parts.slice(1).map(() => undefined)]);
    expect(parts.every((part) => part.flags === undefined)).toBe(true);
    expect(merged(parts.map(answered)).peers[0]?.allowedIps).toEqual(allowedIps);
  });

  const seed = newSeed();
  test(`any change: messages stay small, and together say what was asked for (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let round = 0; round < 20; round++) {
      const change = randomChange(random);
      const parts = splitChange("cw0", change);
      for (const part of parts) expect(encode(part).length).toBeLessThanOrEqual(32_768);
      const { peers } = merged(parts.map(answered));
      expect(peers.map((peer) => [peer.publicKey, peer.allowedIps, peer.endpoint])).toEqual(
        (change.peers ?? []).map((peer) => [peer.publicKey, peer.allowedIps ?? [], peer.endpoint]),
      );
    }
  });
});

function randomChange(random: Random): DeviceChange {
  const prefix = (): Prefix => {
    const address = random.chance(0.5)
      ? ip(4, BigInt(random.u32()))
      : ip(6, (random.u64() << 64n) | random.u64());
    return prefixOf(address, random.below(address.family === 4 ? 33 : 129));
  };
  const peer = (): PeerChange => ({
    publicKey: publicKeyFromBytes(random.bytes(32)),
    ...(random.chance(0.9) && {
      allowedIps: Array.from({ length: random.below(random.chance(0.05) ? 3000 : 6) }, prefix),
    }),
    ...(random.chance(0.5) && {
      endpoint: parseEndpoint(random.chance(0.5) ? "192.0.2.1:51820" : "[2001:db8::1]:51820"),
    }),
    ...(random.chance(0.3) && { presharedKey: new Secret(random.bytes(32)) }),
    ...(random.chance(0.3) && { keepaliveSeconds: random.below(65536) }),
  });
  return {
    ...(random.chance(0.5) && {
      privateKey: new PrivateKey(random.bytes(32)),
      listenPort: random.below(65536),
    }),
    peers: Array.from({ length: random.below(400) }, peer),
  };
}
