import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { ip, parseEndpoint, PrivateKey } from "../net/mod.ts";
import { hmacSha256 } from "../sys/mod.ts";
import {
  encodeProbe,
  LEAST_PROBE_BYTES,
  MAGIC_BYTES,
  MOST_PROBE_BYTES,
  openProbe,
  pongFor,
  type Probe,
  probeKey,
  probeSender,
  shortId,
} from "./probe.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const range = (from: number) => Uint8Array.from({ length: 32 }, (_, i) => from + i);
const [a, b] = [new PrivateKey(range(1)), new PrivateKey(range(101))];
const key = probeKey(a, b.publicKey);
const [idA, idB] = [shortId(a.publicKey), shortId(b.publicKey)];

// Made by another program (Python's hashlib and hmac, and a Montgomery ladder of its own).
const PING =
  "112100645600ce517ae479710102030405060708" + "00".repeat(4 + 2 + 16) + "8deef993bb7622677530f639582c2de8";
const PONG =
  "120000645f188d9b759dd009010203040506070800000007ca6c00000000000000000000ffffc0000201" +
  "62182e726456eca3e4db2f6fbc1fbc01";

describe("known answers", () => {
  test("the key of a pair is the same for both", () => {
    expect(hex(key)).toBe("e3cdf4bdaa5999a911ee7d244ee723230fe298a3a81337a38cb61fb54a6e4858");
    expect(probeKey(b, a.publicKey)).toEqual(key);
    expect(idA.toString(16)).toBe("5600ce517ae47971");
  });

  const ping: Probe = {
    kind: "ping",
    transaction: 0x0102030405060708n,
    chosen: true,
    rung: "direct",
    sizeBytes: 100,
  };

  test("a ping", () => {
    const bytes = encodeProbe(ping, { key, sender: idA });
    expect(hex(bytes)).toBe(PING);
    expect(bytes.length).toBe(LEAST_PROBE_BYTES - MAGIC_BYTES);
    expect(probeSender(bytes)).toBe(idA);
    expect(openProbe(bytes, { key, datagramBytes: 100 })).toEqual(ping);
    // Cut or lengthened on the way; and with padding, or as much of it as the transport hands on.
    expect(openProbe(bytes, { key, datagramBytes: 99 })).toBeUndefined();
    expect(openProbe(new Uint8Array([...bytes, 0, 0]), { key, datagramBytes: 100 })).toEqual(ping);
  });

  test("a ping longer than any that can be answered is none: over IPv6 a datagram may be", () => {
    const bytes = encodeProbe({ ...ping, sizeBytes: MOST_PROBE_BYTES }, { key, sender: idA });
    expect(openProbe(bytes, { key, datagramBytes: MOST_PROBE_BYTES })?.sizeBytes).toBe(MOST_PROBE_BYTES);
    // As one who has the key makes it: 65,527 bytes (RFC 768, RFC 8200).
    new DataView(bytes.buffer).setUint16(2, 65_527);
    const body = bytes.subarray(0, bytes.length - 16);
    const forged = new Uint8Array([...body, ...hmacSha256(key, body).subarray(0, 16)]);
    expect(openProbe(forged, { key, datagramBytes: 65_527 })).toBeUndefined();
  });

  test("a pong", () => {
    const pong = pongFor({ ...ping, kind: "ping" }, { from: parseEndpoint("192.0.2.1:51820"), instance: 7 });
    // A pong's own length is always the least; `sizeBytes` is what arrived.
    const bytes = encodeProbe(pong, { key, sender: idB });
    expect(hex(bytes)).toBe(PONG);
    expect(openProbe(bytes, { key, datagramBytes: LEAST_PROBE_BYTES })).toEqual(pong);
  });
});

function randomProbe(random: Random): Probe {
  const rung = random.pick([undefined, "lan", "direct", "punched"] as const);
  const common = {
    transaction: random.u64(),
    chosen: random.chance(0.5),
    sizeBytes: random.pick([
      LEAST_PROBE_BYTES,
      1400,
      LEAST_PROBE_BYTES + random.below(9000),
      MOST_PROBE_BYTES,
    ]),
    ...(rung && { rung }),
  };
  if (random.chance(0.5)) return { kind: "ping", ...common };
  const address = random.chance(0.5) ? ip(4, BigInt(random.u32())) : ip(6, (0x2001n << 112n) | random.u64());
  const instance = random.u32();
  return {
    kind: "pong",
    ...common,
    seen: { ip: address, port: 1 + random.below(65_535) },
    ...(instance === 0 ? {} : { instance }),
  };
}

/** A body of the right length: a wrong one is no probe at all. */
function resized(random: Random, bytes: Uint8Array): Uint8Array {
  return random.chance(0.1) ? bytes : new Uint8Array([...bytes, ...random.bytes(42)]).subarray(0, 42);
}

const seed = newSeed();
/** Seeds are kept: the first three, and each that ever found something. */
for (const one of [1, 2, 3, seed])
  describe(`seed ${one}`, () => {
    test("what is encoded is read back, and a pong is as long as the least ping", () => {
      const random = new Random(one);
      for (let i = 0; i < 500; i++) {
        const probe = randomProbe(random);
        const bytes = encodeProbe(probe, { key, sender: idA });
        const datagramBytes = probe.kind === "ping" ? probe.sizeBytes : LEAST_PROBE_BYTES;
        expect(openProbe(bytes, { key, datagramBytes })).toEqual(probe);
        expect(bytes.length + MAGIC_BYTES).toBe(LEAST_PROBE_BYTES);
      }
    });

    test("a changed byte, another pair's key, or any bytes: nothing", () => {
      const random = new Random(one);
      const other = probeKey(a, new PrivateKey(random.bytes(32)).publicKey);
      for (let i = 0; i < 2000; i++) {
        const bytes = encodeProbe(randomProbe(random), { key, sender: idA });
        const changed = random.mutate(bytes);
        const datagramBytes = LEAST_PROBE_BYTES;
        if (!hex(changed).startsWith(hex(bytes)))
          expect(openProbe(changed, { key, datagramBytes })).toBeUndefined();
        expect(openProbe(bytes, { key: other, datagramBytes })).toBeUndefined();
        expect(openProbe(random.bytes(random.below(200)), { key, datagramBytes })).toBeUndefined();
      }
    });

    test("what an authentic peer of another mind sends is read, or is nothing; it never throws", () => {
      const random = new Random(one);
      let read = 0;
      for (let i = 0; i < 5000; i++) {
        const bytes = encodeProbe({ ...randomProbe(random), sizeBytes: 62 }, { key, sender: idA });
        const changed = resized(random, random.mutate(bytes.subarray(0, 42)));
        const whole = new Uint8Array([...changed, ...hmacSha256(key, changed).subarray(0, 16)]);
        const probe = openProbe(whole, { key, datagramBytes: whole.length + MAGIC_BYTES });
        if (probe === undefined) continue;
        read++;
        expect(probe.sizeBytes).toBeLessThanOrEqual(65_535);
        if (probe.kind === "ping") expect(probe.sizeBytes).toBe(whole.length + MAGIC_BYTES);
      }
      expect(read).toBeGreaterThan(100);
    });
  });

test("sizes outside of what a datagram has are refused", () => {
  const ping: Probe = { kind: "ping", transaction: 1n, chosen: false, sizeBytes: LEAST_PROBE_BYTES - 1 };
  expect(() => encodeProbe(ping, { key, sender: idA })).toThrow("62 to 65507");
  expect(() => encodeProbe({ ...ping, sizeBytes: 65_508 }, { key, sender: idA })).toThrow("not 65508");
});
