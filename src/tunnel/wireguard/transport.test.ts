import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { systemPrimitives as primitives } from "../../noise/mod.ts";
import {
  canSend,
  claimCounters,
  isOver,
  ownMemory,
  SESSION,
  Session,
  wantsRenewal,
  wantsRenewalNow,
} from "./session.ts";
import { SPECIFIED } from "./specification.ts";
import { dataBytes, openPacket, paddedBytes, sealPacket } from "./transport.ts";

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");
const options = { primitives, timing: SPECIFIED, mtuBytes: 1420, nowMs: 0 };

/** Two ends of one session. */
function pair() {
  const [forward, backward] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const side = (initiator: boolean) =>
    new Session(ownMemory.take(), {
      keys: initiator
        ? { send: forward.slice(), receive: backward.slice() }
        : { send: backward.slice(), receive: forward.slice() },
      peer: 1,
      localIndex: initiator ? 0x11111111 : 0x22222222,
      remoteIndex: initiator ? 0x22222222 : 0x11111111,
      initiator,
      bornMs: 0,
    });
  return [side(true), side(false)] as const;
}

describe("memory of a session", () => {
  test("keys, counter and window lie where the data path looks for them; the keys that were handed over are wiped", () => {
    const keys = { send: new Uint8Array(32).fill(7), receive: new Uint8Array(32).fill(8) };
    const whole = new Uint8Array(new ArrayBuffer(4096));
    const lender = { take: () => whole.subarray(1024, 1024 + SESSION.bytes), give: () => {} };
    const session = new Session(lender.take(), {
      keys,
      peer: 3,
      localIndex: 4,
      remoteIndex: 5,
      initiator: true,
      bornMs: 6,
    });
    expect([hex(keys.send), hex(keys.receive)]).toEqual(["00".repeat(32), "00".repeat(32)]);
    expect(hex(whole.subarray(1024, 1088))).toBe("07".repeat(32) + "08".repeat(32));
    claimCounters(session, 5, SPECIFIED);
    expect(new DataView(whole.buffer).getInt32(1024 + 64, true)).toBe(5);
    session.window.next[0] = 9;
    session.window.bits[255] = 0xffffffff;
    expect(new DataView(whole.buffer).getFloat64(1024 + 72, true)).toBe(9);
    expect(hex(whole.subarray(1024 + SESSION.bytes - 4, 1024 + SESSION.bytes))).toBe("ffffffff");
    expect(whole.subarray(1024 + SESSION.bytes).every((byte) => byte === 0)).toBe(true);
  });

  test("given back, nothing is left", () => {
    const [session] = pair();
    claimCounters(session, 5, SPECIFIED);
    ownMemory.give(session.memory);
    expect(session.memory.every((byte) => byte === 0)).toBe(true);
  });
});

describe("limits of a session", () => {
  test("section 6.2: 180 s to the millisecond", () => {
    const [session] = pair();
    expect([isOver(session, 179_999, SPECIFIED), isOver(session, 180_000, SPECIFIED)]).toEqual([false, true]);
    expect([canSend(session, 179_999, SPECIFIED), canSend(session, 180_000, SPECIFIED)]).toEqual([
      true,
      false,
    ]);
  });

  test("section 6.2: renewed after 120 s of sending and 165 s of receiving, by the initiator", () => {
    const [initiator, responder] = pair();
    const renewal = (ms: number) => [initiator, responder].map((one) => wantsRenewal(one, ms, SPECIFIED));
    expect([renewal(119_999), renewal(120_000)]).toEqual([
      [false, false],
      [true, false],
    ]);
    const late = (ms: number) => [initiator, responder].map((one) => wantsRenewalNow(one, ms, SPECIFIED));
    expect([late(164_999), late(165_000)]).toEqual([
      [false, false],
      [true, false],
    ]);
  });

  test("section 6.2: renewed by either side after so many messages, and at an end after so many more", () => {
    const timing = { ...SPECIFIED, rekeyAfterMessages: 10, rejectAfterMessages: 20 };
    const [, responder] = pair();
    expect([claimCounters(responder, 10, timing), wantsRenewal(responder, 0, timing)]).toEqual([0, false]);
    expect([claimCounters(responder, 1, timing), wantsRenewal(responder, 0, timing)]).toEqual([10, true]);
    expect(claimCounters(responder, 10, timing)).toBeUndefined();
    expect([claimCounters(responder, 9, timing), claimCounters(responder, 1, timing)]).toEqual([
      11,
      undefined,
    ]);
    expect(canSend(responder, 0, timing)).toBe(false);
    expect(sealPacket(responder, new Uint8Array(1), { ...options, timing })).toBeUndefined();
  });
});

describe("data messages", () => {
  test("section 5.4.6: byte by byte, with a value of CPython's cryptography", () => {
    const [initiator] = pair();
    claimCounters(initiator, 2 ** 30 + 3, SPECIFIED);
    expect(hex(sealPacket(initiator, new TextEncoder().encode("hello"), options))).toBe(
      "0400000022222222030000400000000087e1f3c3e0e05507f7df67fa77a9a798978e22478a9665b34d4f3724dec1f8e4",
    );
    expect(hex(sealPacket(initiator, new Uint8Array(0), options))).toBe(
      "040000002222222204000040000000002561e0763241f0ce5ac54bef9ec21404",
    );
  });

  test("padding goes to a multiple of 16, and never over the MTU", () => {
    expect([0, 1, 16, 17, 1400, 1408, 1409, 1420, 9000].map((length) => paddedBytes(length, 1420))).toEqual([
      0, 16, 16, 32, 1408, 1408, 1420, 1420, 9000,
    ]);
    expect(dataBytes(0, 1420)).toBe(32);
  });

  test("each is opened once", () => {
    const [initiator, responder] = pair();
    const messages = [1, 2, 3].map(
      (n) => sealPacket(initiator, new Uint8Array(16).fill(n), options) as Uint8Array,
    );
    for (const n of [3, 1, 2])
      expect(hex(openPacket(responder, messages[n - 1] as Uint8Array, options))).toBe(`0${n}`.repeat(16));
    for (const message of messages) expect(openPacket(responder, message, options)).toBeUndefined();
  });

  test("what is too late, for another session, or has an impossible counter is not opened", () => {
    const [initiator, responder] = pair();
    const message = sealPacket(initiator, new Uint8Array(16), options) as Uint8Array;
    expect(openPacket(responder, message, { ...options, nowMs: 180_000 })).toBeUndefined();
    expect(openPacket(initiator, message, options)).toBeUndefined();
    const endless = message.slice();
    endless.fill(0xff, 8, 16);
    expect(openPacket(responder, endless, options)).toBeUndefined();
    expect(openPacket(responder, message, options)).toHaveLength(16);
  });

  const seed = newSeed();
  test(`a mutated message is not opened, and does not move the window (seed ${seed})`, () => {
    const random = new Random(seed);
    const [initiator, responder] = pair();
    for (let round = 0; round < 2000; round++) {
      const message = sealPacket(initiator, random.bytes(random.below(100)), options) as Uint8Array;
      const mutated = random.mutate(message);
      const before = hex(responder.memory);
      if (hex(mutated) === hex(message)) continue;
      expect(openPacket(responder, mutated, options)).toBeUndefined();
      expect(hex(responder.memory)).toBe(before);
      if (round % 3 === 0) expect(openPacket(responder, message, options)).toBeDefined();
    }
  });
});
