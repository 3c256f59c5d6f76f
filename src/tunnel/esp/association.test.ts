import { describe, expect, test } from "bun:test";
import { keyMaterial } from "../../../test/support/esp-memory.ts";
import { AeadBatch, Arena, openLibcrypto, socketAddress } from "../../sys/mod.ts";
import { InboundAssociation, OutboundAssociation } from "./association.ts";
import { otherKind } from "./encapsulation.ts";
import { RawMessages } from "./raw-messages.ts";
import { newSequenceWindow } from "./replay.ts";
import { SEQUENCE_WORDS } from "./sequence.ts";
import { SpiTable } from "./spi-table.ts";

const arena = new Arena({ bytes: 8 << 20 });
const provider = openLibcrypto(arena);
const agreed = {
  spi: 0x1000,
  algorithm: "aes-128-gcm",
  keyMaterial: keyMaterial("aes-128-gcm"),
  extended: true,
  peer: 3,
} as const;

describe("associations", () => {
  test("key material is key and salt (RFC 4106, section 8.1); other lengths are refused", () => {
    using outbound = new OutboundAssociation(provider, agreed);
    expect(outbound.salt).toBe(0xa3a2a1a0);
    // A view into something larger.
    const larger = new Uint8Array([9, 9, 9, ...agreed.keyMaterial, 9]);
    using inbound = new InboundAssociation(provider, { ...agreed, keyMaterial: larger.subarray(3, 23) });
    expect(inbound.salt).toBe(0xa3a2a1a0);
    for (const bytes of [0, 16, 19, 21, 36])
      expect(
        () => new OutboundAssociation(provider, { ...agreed, keyMaterial: new Uint8Array(bytes) }),
      ).toThrow(`has 16 + 4 bytes, not ${bytes}`);
    for (const spi of [0, 255, -1, 2 ** 32, 256.5])
      expect(() => new InboundAssociation(provider, { ...agreed, spi })).toThrow("is not 256 to 4294967295");
    expect(() => new OutboundAssociation(provider, { ...agreed, sequence: new Int32Array(1) })).toThrow(
      "2 words",
    );
  });

  test("numbers end where they were reserved to; ChaCha20-Poly1305 has keys of 32 bytes (RFC 7634)", () => {
    const algorithm = "chacha20-poly1305";
    using outbound = new OutboundAssociation(provider, {
      ...agreed,
      algorithm,
      keyMaterial: keyMaterial(algorithm),
      last: 3,
    });
    expect([outbound.claim(2), outbound.claim(2), outbound.claim(1)]).toEqual([1, -1, 3]);
    outbound.reserve(5);
    outbound.reserve(4);
    expect([outbound.last, outbound.claim(3), outbound.claim(2)]).toEqual([5, -1, 4]);
  });

  test("a successor goes on with the sequence numbers and the window that it is given", () => {
    const sequence = new Int32Array(SEQUENCE_WORDS);
    using first = new OutboundAssociation(provider, { ...agreed, sequence });
    expect(first.claim(1000)).toBe(1);
    using second = new OutboundAssociation(provider, { ...agreed, sequence });
    expect([second.claim(1), first.claim(1), second.sent]).toEqual([1001, 1002, 1002]);
    const window = newSequenceWindow(64);
    window.next[0] = 78;
    using inbound = new InboundAssociation(provider, { ...agreed, window });
    expect(inbound.window).toBe(window);
  });

  test("nothing prints a key; disposing wipes it", () => {
    const outbound = new OutboundAssociation(provider, agreed);
    expect(Bun.inspect(outbound) + JSON.stringify(outbound)).not.toMatch(/0, 1, 2, 3|00010203/);
    outbound[Symbol.dispose]();
    expect(() => outbound.sealKey.run(new AeadBatch(arena, "seal"))).toThrow("wiped");
  });
});

describe("table of SPIs", () => {
  test("associations are found by their SPI; removed, their keys are wiped", () => {
    const table = new SpiTable();
    const one = new InboundAssociation(provider, agreed);
    table.add(one);
    expect(table.associations.get(0x1000)).toBe(one);
    expect(() => table.add(one)).toThrow("its SPI is taken");
    expect([table.remove(0x1000), table.remove(0x1000)]).toEqual([true, false]);
    expect(() => one.openKey.run(new AeadBatch(arena, "open"))).toThrow("wiped");
    const spis = new Set(Array.from({ length: 100 }, () => table.free()));
    expect(spis.size).toBe(100);
    expect(Math.min(...spis)).toBeGreaterThanOrEqual(256);
    table[Symbol.dispose]();
  });
});

test("what comes to a port for ESP in UDP, and is not ESP (RFC 3948, section 2)", () => {
  const at = arena.allocate(64);
  arena.u8[at] = 0xff;
  expect([otherKind(arena, at, 1), otherKind(arena, at, 2), otherKind(arena, at, 0)]).toEqual([
    "keepalive",
    "malformed",
    "malformed",
  ]);
  arena.u8[at] = 0;
  expect([otherKind(arena, at, 32), otherKind(arena, at, 4), otherKind(arena, at, 1)]).toEqual([
    "ike",
    "malformed",
    "malformed",
  ]);
});

test("what a raw socket of IPv4 gives begins with an IP header, of IPv6 not", () => {
  const at = arena.allocate(256);
  const name = arena.allocate(28);
  const receiver = { at: () => at, bytes: () => 100, sourceAt: () => name };
  const messages = new RawMessages(arena, receiver);
  const seen = (address: Uint8Array, first: number) => {
    arena.store(name, socketAddress(address, 0));
    arena.u8[at] = first;
    return [messages.at(0) - at, messages.bytes(0), messages.segmentBytes(0)];
  };
  expect(seen(new Uint8Array(4), 0x45)).toEqual([20, 80, 80]);
  expect(seen(new Uint8Array(4), 0x4f)).toEqual([60, 40, 40]);
  // Which the kernel does not let through.
  expect(seen(new Uint8Array(4), 0x40)).toEqual([20, 80, 80]);
  expect(seen(new Uint8Array(16), 0x45)).toEqual([0, 100, 100]);
  const short = new RawMessages(arena, { ...receiver, bytes: () => 10 });
  arena.store(name, socketAddress(new Uint8Array(4), 0));
  expect([short.bytes(0), short.segmentBytes(0)]).toEqual([0, 1]);
});
