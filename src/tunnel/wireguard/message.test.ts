import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  decodeMessage,
  encodeMessage,
  type HandshakeMessage,
  MESSAGE_BYTES,
  messageType,
} from "./message.ts";
import { dataReceiver } from "./transport.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("lengths of the whitepaper, sections 5.4.2, 5.4.3 and 5.4.7", () => {
  expect(MESSAGE_BYTES).toEqual({ initiation: 148, response: 92, cookie: 64 });
});

test("an initiation byte by byte", () => {
  const fill = (length: number, byte: number) => new Uint8Array(length).fill(byte);
  const bytes = encodeMessage({
    kind: "initiation",
    sender: 0x04030201,
    ephemeral: fill(32, 0xaa),
    static: fill(48, 0xbb),
    timestamp: fill(28, 0xcc),
    mac1: fill(16, 0xdd),
    mac2: fill(16, 0xee),
  });
  expect(hex(bytes)).toBe(
    `0100000001020304${"aa".repeat(32)}${"bb".repeat(48)}${"cc".repeat(28)}${"dd".repeat(16)}${"ee".repeat(16)}`,
  );
});

test("a response and a cookie reply byte by byte", () => {
  const fill = (length: number, byte: number) => new Uint8Array(length).fill(byte);
  const response = encodeMessage({
    kind: "response",
    sender: 1,
    receiver: 0xfffffffe,
    ephemeral: fill(32, 0xaa),
    nothing: fill(16, 0xbb),
    mac1: fill(16, 0xcc),
    mac2: fill(16, 0),
  });
  expect(hex(response)).toBe(
    `0200000001000000feffffff${"aa".repeat(32)}${"bb".repeat(16)}${"cc".repeat(16)}${"00".repeat(16)}`,
  );
  const cookie = encodeMessage({ kind: "cookie", receiver: 7, nonce: fill(24, 1), cookie: fill(32, 2) });
  expect(hex(cookie)).toBe(`0300000007000000${"01".repeat(24)}${"02".repeat(32)}`);
});

test("a field of a wrong length is refused, by its name", () => {
  expect(() =>
    encodeMessage({ kind: "cookie", receiver: 7, nonce: new Uint8Array(23), cookie: new Uint8Array(32) }),
  ).toThrow("cookie: nonce has 24 bytes, not 23");
});

const seed = newSeed();
test(`decode(encode(x)) = x and encode(decode(b)) = b (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 300; round++) {
    const kind = random.pick(["initiation", "response", "cookie"] as const);
    const bytes = random.bytes(MESSAGE_BYTES[kind]);
    bytes.set([{ initiation: 1, response: 2, cookie: 3 }[kind], 0, 0, 0]);
    const message = decodeMessage(bytes) as HandshakeMessage;
    expect(message.kind).toBe(kind);
    expect(hex(encodeMessage(message))).toBe(hex(bytes));
    expect(decodeMessage(encodeMessage(message))).toEqual(message);
    // A view into a larger buffer is read the same.
    const around = new Uint8Array([...random.bytes(7), ...bytes, ...random.bytes(9)]);
    expect(decodeMessage(around.subarray(7, 7 + bytes.length))).toEqual(message);
  }
});

test(`mutated and random datagrams are read as something or as nothing, never with an error (seed ${seed})`, () => {
  const random = new Random(seed + 1);
  for (let round = 0; round < 20_000; round++) {
    const length = random.pick([148, 92, 64, 32, random.below(200)]);
    const bytes = random.bytes(length);
    if (length > 4) bytes.set([random.below(6), 0, 0, random.chance(0.1) ? 1 : 0]);
    const mutated = random.mutate(bytes);
    const message = decodeMessage(mutated);
    if (message !== undefined) expect(hex(encodeMessage(message))).toBe(hex(mutated));
    const type = messageType(mutated);
    if (type !== undefined) expect([mutated[1], mutated[2], mutated[3]]).toEqual([0, 0, 0]);
    const receiver = dataReceiver(mutated);
    expect(receiver === undefined).toBe(type !== 4 || mutated.length < 32);
  }
});
