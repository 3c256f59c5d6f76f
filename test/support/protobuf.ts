/**
 * Protocol Buffers, as far as the Container Runtime Interface needs them: messages are tables from which the TypeScript type follows.
 * Wire format: protobuf.dev, "Encoding". Absent fields read as proto3's defaults; unknown fields are skipped.
 */

/** Scalar is a field's type: `int` is a varint that fits a JavaScript number, `map` is `map<string, string>`. */
type Scalar = "string" | "bytes" | "int" | "bool" | "map";

/** Kind is a scalar, a message, or a list of either. */
type Kind = Scalar | Shape | readonly [Scalar | Shape];

/** Shape is a message: its fields with number and kind. */
export interface Shape {
  readonly [name: string]: readonly [number: number, kind: Kind];
}

/** Read is what decoding gives. */
export type Read<S extends Shape> = { readonly [name in keyof S]: ReadKind<S[name][1]> };

type ReadKind<K> = K extends "string"
  ? string
  : K extends "bytes"
    ? Buffer
    : K extends "int"
      ? number
      : K extends "bool"
        ? boolean
        : K extends "map"
          ? Readonly<Record<string, string>>
          : K extends readonly [infer Item]
            ? readonly Exclude<ReadKind<Item>, undefined>[]
            : K extends Shape
              ? Read<K> | undefined
              : never;

/** Written is what may be given to be encoded: any field may be left out. */
export type Written<S extends Shape> = { readonly [name in keyof S]?: WrittenKind<S[name][1]> };

type WrittenKind<K> = K extends readonly [infer Item]
  ? readonly WrittenKind<Item>[]
  : K extends Scalar
    ? ReadKind<K>
    : K extends Shape
      ? Written<K>
      : never;

const ENTRY = { key: [1, "string"], value: [2, "string"] } as const satisfies Shape;

function isList(kind: Kind): kind is readonly [Scalar | Shape] {
  return Array.isArray(kind);
}

function varint(value: number): number[] {
  // Negative numbers travel as 64-bit two's complement.
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return [...bytes, Number(rest)];
}

/** encode returns a message's bytes. */
export function encode<S extends Shape>(shape: S, message: Written<S>): Buffer {
  const parts = Object.entries(shape).flatMap(([name, [number, kind]]) => {
    const value: unknown = message[name];
    if (value === undefined) return [];
    if (isList(kind)) return (value as unknown[]).map((item) => encodeField(number, kind[0], item));
    if (kind === "map")
      return Object.entries(value as Record<string, string>).map(([key, text]) =>
        encodeField(number, ENTRY, { key, value: text }),
      );
    return [encodeField(number, kind, value)];
  });
  return Buffer.concat(parts);
}

function encodeField(number: number, kind: Scalar | Shape, value: unknown): Buffer {
  if (kind === "int" || kind === "bool")
    return Buffer.from([...varint(number << 3), ...varint(Number(value))]);
  const body = typeof kind === "object" ? encode(kind, value as object) : Buffer.from(value as string);
  return Buffer.concat([Buffer.from([...varint((number << 3) | 2), ...varint(body.length)]), body]);
}

/** Wires yields the fields of a message as they lie in its bytes. */
function* wires(bytes: Buffer): Generator<{ number: number; value: number | Buffer }> {
  let at = 0;
  const next = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("Cannot decode a message: it ends within a number");
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(BigInt.asIntN(64, value));
    }
  };
  const take = (length: number) => bytes.subarray(at, (at += length));
  while (at < bytes.length) {
    const tag = next();
    const wire = tag & 7;
    const value = wire === 0 ? next() : take(wire === 2 ? next() : wire === 1 ? 8 : 4);
    yield { number: tag >>> 3, value };
  }
}

/** decode reads a message. */
export function decode<S extends Shape>(shape: S, bytes: Buffer): Read<S> {
  const fields = new Map(Object.entries(shape).map(([name, [number, kind]]) => [number, { name, kind }]));
  const message: Record<string, unknown> = {};
  for (const [name, [, kind]] of Object.entries(shape)) message[name] = initial(kind);
  for (const { number, value } of wires(bytes)) {
    const field = fields.get(number);
    if (field === undefined) continue;
    const { name, kind } = field;
    if (isList(kind)) (message[name] as unknown[]).push(decodeField(kind[0], value));
    else if (kind === "map") {
      const entry = decode(ENTRY, value as Buffer);
      (message[name] as Record<string, string>)[entry.key] = entry.value;
    } else message[name] = decodeField(kind, value);
  }
  return message as Read<S>;
}

function initial(kind: Kind): unknown {
  if (isList(kind)) return [];
  if (typeof kind === "object") return undefined;
  return { string: "", bytes: Buffer.alloc(0), int: 0, bool: false, map: {} }[kind];
}

function decodeField(kind: Scalar | Shape, value: number | Buffer): unknown {
  if (typeof kind === "object") return decode(kind, value as Buffer);
  if (kind === "bool") return value !== 0;
  return kind === "string" ? (value as Buffer).toString() : value;
}
