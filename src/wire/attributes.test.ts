import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { ip as ipOf, mac as macOf, parseIp, parseMac } from "../net/mod.ts";
import {
  type Attributes,
  attributes,
  be16,
  block,
  be32,
  be64,
  bool,
  choice,
  DecodeError,
  EncodeError,
  fixed,
  flag,
  headed,
  i32,
  ip,
  list,
  mac,
  raw,
  Reader,
  struct,
  text,
  u16,
  u32,
  u64,
  u8,
  type Codec,
  type ValueOf,
  Writer,
} from "./mod.ts";

const inner = attributes({ a: [1, u8], b: [2, text] });

const table = {
  u8: [1, u8],
  u16: [2, u16],
  u32: [3, u32],
  u64: [4, u64],
  i32: [5, i32],
  be16: [6, be16],
  be32: [7, be32],
  be64: [8, be64],
  bool: [9, bool],
  flag: [10, flag],
  text: [11, text],
  ip: [12, ip],
  mac: [13, mac],
  key: [14, fixed(8)],
  bytes: [15, raw],
  inner: [16, inner],
  list: [17, list(inner)],
  numbers: [18, list(u32)],
  kind: [19, text],
  data: [20, choice("kind", { one: inner, two: attributes({ c: [1, be32] }) })],
} as const;

const everything = attributes(table);
type Everything = ValueOf<typeof everything>;

function encode<T>(codec: Pick<Codec<T>, "encode">, value: T): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  codec.encode(writer, value);
  return writer.finish();
}

/** Each attribute is there or not, with a random value. */
function randomValue(random: Random): Everything {
  const maybe = <T>(make: () => T): T | undefined => (random.chance(0.5) ? make() : undefined);
  const innerValue = () => ({ a: random.below(256), b: random.text(9) });
  const kind = random.pick(["one", "two", "three"]);
  const value = {
    u8: maybe(() => random.below(256)),
    u16: maybe(() => random.below(65536)),
    u32: maybe(() => random.u32()),
    u64: maybe(() => random.u64()),
    i32: maybe(() => random.u32() | 0),
    be16: maybe(() => random.below(65536)),
    be32: maybe(() => random.u32()),
    be64: maybe(() => random.u64()),
    bool: maybe(() => random.chance(0.5)),
    flag: maybe(() => true as const),
    text: maybe(() => random.text(20)),
    ip: maybe(() =>
      random.chance(0.5) ? ipOf(4, BigInt(random.u32())) : ipOf(6, (random.u64() << 64n) | random.u64()),
    ),
    mac: maybe(() => macOf(random.below(2 ** 48))),
    key: maybe(() => random.bytes(8)),
    bytes: maybe(() => random.bytes(random.below(40))),
    inner: maybe(innerValue),
    list: maybe(() => Array.from({ length: random.below(5) }, innerValue)),
    numbers: maybe(() => Array.from({ length: random.below(5) }, () => random.u32())),
    kind,
    data: maybe(() =>
      kind === "one"
        ? { one: innerValue() }
        : kind === "two"
          ? { two: { c: random.u32() } }
          : { raw: random.bytes(random.below(9)) },
    ),
    unknown: maybe(() =>
      Array.from(
        { length: 1 + random.below(3) },
        (_, i) => [100 + i, random.bytes(random.below(9))] as const,
      ),
    ),
  };
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined));
}

describe("attributes", () => {
  const seed = newSeed();

  test(`decode(encode(x)) = x, and encode(decode(b)) = b for what was encoded (SEED=${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < 5000; i++) {
      const value = randomValue(random);
      const bytes = encode(everything, value);
      expect(bytes.length % 4).toBe(0);
      const decoded = everything.decode(new Reader(bytes));
      expect(decoded).toEqual(value);
      expect(encode(everything, decoded)).toEqual(bytes);
    }
  });

  test(`mutated bytes give a value or a DecodeError, and no byte is read outside (SEED=${seed})`, () => {
    const random = new Random(seed);
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = random.mutate(encode(everything, randomValue(random)));
      // The window lies inside a larger buffer: reading outside would go unnoticed by the buffer's own limits.
      const around = new Uint8Array(bytes.length + 64).fill(0xff);
      around.set(bytes, 32);
      const outcome = (reader: Reader): unknown => {
        try {
          return everything.decode(reader);
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
          refused++;
          return error.message;
        }
      };
      expect(outcome(new Reader(around, 32, 32 + bytes.length))).toEqual(outcome(new Reader(bytes)));
    }
    expect(refused).toBeGreaterThan(1000);
  });

  test("layout: length, type, value, padding", () => {
    const bytes = encode(everything, {
      u8: 7,
      text: "ab",
      inner: { a: 1 },
      unknown: [[200, new Uint8Array([9])]],
    });
    expect(Buffer.from(bytes).toString("hex")).toBe(
      "0500010007000000" + "07000b0061620000" + "0c0010800500010001000000" + "0500c80009000000",
    );
  });

  test("the last of two counts, an empty message is an empty value", () => {
    const twice = new Uint8Array([...encode(everything, { u8: 1 }), ...encode(everything, { u8: 2 })]);
    expect(everything.decode(new Reader(twice))).toEqual({ u8: 2 });
    expect(everything.decode(new Reader(new Uint8Array(0)))).toEqual({});
  });

  test("the data of a kind that no table has stays bytes", () => {
    const value: Everything = { kind: "geneve", data: { raw: new Uint8Array([1, 2, 3]) } };
    const bytes = encode(everything, value);
    expect(everything.decode(new Reader(bytes))).toEqual(value);
  });

  test("errors name the field from the outside in", () => {
    expect(() => encode(everything, { inner: { a: 256 } })).toThrow(
      "inner.a: 256 is not an integer from 0 to 255",
    );
    expect(() => encode(everything, { list: [{}, { b: "\0" }] })).toThrow(
      "list.1.b: text has a zero byte in it",
    );
    expect(() => encode(everything, { data: { one: {} } })).toThrow(EncodeError);
    const short = encode(attributes({ x: [16, attributes({ a: [1, raw] })] }), {
      x: { a: new Uint8Array(0) },
    });
    expect(() => everything.decode(new Reader(short))).toThrow("inner.a: 1 bytes needed, 0 left");
    expect(() => everything.decode(new Reader(new Uint8Array([3, 0, 1, 0])))).toThrow(
      "attribute 1 has length 3, 0 bytes left",
    );
    expect(() => everything.decode(new Reader(new Uint8Array([8, 0, 1, 0, 0])))).toThrow(DecodeError);
    const wrongLength = encode(attributes({ x: [13, raw] }), { x: new Uint8Array(5) });
    expect(() => everything.decode(new Reader(wrongLength))).toThrow(
      "mac: an Ethernet address has 6 bytes, not 5",
    );
  });

  test("types are inferred from the table", () => {
    const value: Attributes<typeof table> = { ip: parseIp("10.0.0.1"), mac: parseMac("02:00:00:00:00:01") };
    // @ts-expect-error an address is not text
    const wrong: Attributes<typeof table> = { ip: "10.0.0.1" };
    // @ts-expect-error no such attribute
    const unknown: Attributes<typeof table> = { nothing: 1 };
    expect([value, wrong, unknown]).toHaveLength(3);
  });
});

describe("struct", () => {
  const codec = headed(
    struct({ family: u8, length: u8, port: be16, index: i32 }),
    attributes({ x: [1, u32] }),
  );

  test("fields in order, absent ones are zero, attributes after", () => {
    const bytes = encode(codec, { header: { family: 2, port: 0x1234, index: -1 }, body: { x: 5 } });
    expect(Buffer.from(bytes).toString("hex")).toBe("02001234ffffffff" + "0800010005000000");
    expect(codec.decode(new Reader(bytes))).toEqual({
      header: { family: 2, length: 0, port: 0x1234, index: -1 },
      body: { x: 5 },
    });
    expect(() => codec.decode(new Reader(bytes, 0, 7))).toThrow(DecodeError);
    expect(() => encode(codec, { header: { family: 256 }, body: {} })).toThrow("family: 256");
  });

  test("a field may be a structure or bytes; what is left out of it is zero", () => {
    const outer = struct({ id: struct({ key: block(3), type: u8 }), last: u16, big: u64 });
    const text = (value: Parameters<typeof outer.encode>[1]) =>
      Buffer.from(encode(outer, value)).toString("hex");
    expect(text({})).toBe(`000000000000${"00".repeat(8)}`);
    expect(text({ id: { type: 5 }, last: 1 })).toBe(`000000050100${"00".repeat(8)}`);
    const key = new Uint8Array([7, 8, 9]);
    expect(text({ id: { key } })).toBe(`070809000000${"00".repeat(8)}`);
    expect(outer.decode(new Reader(encode(outer, { id: { key } })))).toEqual({
      id: { key, type: 0 },
      last: 0,
      big: 0n,
    });
    expect(() => text({ id: { key: new Uint8Array(4) } })).toThrow("id.key: 3 bytes expected, 4 given");
    expect(() => outer.decode(new Reader(new Uint8Array(2)))).toThrow(DecodeError);
  });
});
