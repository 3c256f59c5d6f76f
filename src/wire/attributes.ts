/**
 * Netlink attributes from tables: a family is a table `{ name: [type, codec] }`, its TypeScript type is inferred, and the
 * one encoder and decoder below serve all of them.
 *
 * ```
 *  0               2               4
 *  | length (host) | type (host)   | value … padded with zeros to 4 bytes |
 * ```
 * Length counts the four bytes of the header and not the padding. The two highest bits of the type are flags
 * (include/uapi/linux/netlink.h: NLA_F_NESTED, NLA_F_NET_BYTEORDER).
 *
 * Attributes that are not in the table are kept as bytes under `unknown`, so nothing that the kernel said is lost; a table of messages
 * that are read often and never written back can do without. Of an
 * attribute that comes twice the last counts, as in the kernel's nla_parse. Absent stays absent.
 */
import type { Codec, ValueOf } from "./codec.ts";
import { DecodeError, EncodeError, inField, within } from "./error.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER = 4;

/** Table names the attributes of a family. Encoding follows the order of the table. */
export type Table = Readonly<Record<string, readonly [type: number, codec: Codec<unknown>]>>;

/** RawAttribute is an attribute that no table knows: its type (with flag bits) and its bytes. */
export type RawAttribute = readonly [type: number, bytes: Uint8Array<ArrayBuffer>];

/** Attributes is the value of a table: every attribute may be absent. */
export type Attributes<T extends Table> = {
  readonly [K in keyof T]?: ValueOf<T[K][1]> | undefined;
} & { readonly unknown?: readonly RawAttribute[] | undefined };

/** attributes makes the codec of a table; it serves as the body of a message and as a nested attribute. */
export function attributes<const T extends Table>(
  table: T,
  { keepUnknown = true }: { readonly keepUnknown?: boolean } = {},
): Codec<Attributes<T>> {
  const byType: (readonly [string, Codec<unknown>] | undefined)[] = [];
  for (const [name, [type, codec]] of Object.entries(table)) byType[type] = [name, codec];
  const entries = Object.entries(table);

  return {
    nested: true,
    decode(reader) {
      const value: Record<string, unknown> = {};
      let unknown: RawAttribute[] | undefined;
      eachAttribute(reader, (type, body) => {
        const entry = byType[type & TYPE_MASK];
        if (entry === undefined) {
          if (!keepUnknown) return;
          unknown ??= [];
          unknown.push([type, body.bytes()]);
        } else {
          const [name, codec] = entry;
          try {
            value[name] = codec.decode(body, value);
          } catch (error) {
            throw inField(name, error);
          }
        }
      });
      if (unknown !== undefined) value["unknown"] = unknown;
      return value as Attributes<T>;
    },
    encode(writer, value) {
      const given = value as Record<string, unknown>;
      for (const [name, [type, codec]] of entries) {
        const field = given[name];
        if (field === undefined) continue;
        const start = beginAttribute(writer, codec.nested === true ? type | NESTED : type);
        try {
          codec.encode(writer, field, given);
        } catch (error) {
          throw inField(name, error);
        }
        endAttribute(writer, start, type);
      }
      for (const [type, bytes] of value.unknown ?? [])
        writeAttribute(writer, type, () => writer.bytes(bytes));
    },
  };
}

/** list is an attribute whose value is a sequence of attributes of one kind; their types are not significant and sent as 0. */
export function list<T>(element: Codec<T>): Codec<readonly T[]> {
  return {
    nested: true,
    decode(reader) {
      const values: T[] = [];
      eachAttribute(reader, (_type, body) => {
        values.push(within(String(values.length), () => element.decode(body)));
      });
      return values;
    },
    encode(writer, values) {
      values.forEach((value, index) =>
        writeAttribute(writer, element.nested === true ? NESTED : 0, () =>
          within(String(index), () => element.encode(writer, value)),
        ),
      );
    },
  };
}

/** Choice is the value of a `choice`: one member, named by the sibling; `raw` when no table has that name. */
export type Choice<C extends Readonly<Record<string, Codec<unknown>>>> = {
  readonly [K in keyof C]?: ValueOf<C[K]> | undefined;
} & { readonly raw?: Uint8Array<ArrayBuffer> | undefined };

/**
 * choice is an attribute whose layout is named by another attribute of the same table, which comes before it: the data of a
 * link is laid out by its kind.
 */
export function choice<const C extends Readonly<Record<string, Codec<unknown>>>>(
  sibling: string,
  codecs: C,
): Codec<Choice<C>> {
  const find = (siblings: Readonly<Record<string, unknown>> | undefined) => {
    const name = siblings?.[sibling];
    return typeof name === "string" && Object.hasOwn(codecs, name)
      ? { name, codec: codecs[name] as Codec<unknown> }
      : undefined;
  };
  return {
    nested: true,
    decode(reader, siblings) {
      const found = find(siblings);
      if (found === undefined) return { raw: reader.bytes() } as Choice<C>;
      return { [found.name]: within(found.name, () => found.codec.decode(reader)) } as Choice<C>;
    },
    encode(writer, value, siblings) {
      const found = find(siblings);
      const given = value as Record<string, unknown>;
      if (found !== undefined && given[found.name] !== undefined)
        within(found.name, () => found.codec.encode(writer, given[found.name]));
      else if (given["raw"] !== undefined) writer.bytes(given["raw"] as Uint8Array);
      else throw new EncodeError(`no value for ${sibling} ${String(found?.name ?? "(unknown)")}`);
    },
  };
}

/** eachAttribute walks over attributes, with the reader on one value at a time; a length that is too short or leads outside is a DecodeError. */
export function eachAttribute(reader: Reader, visit: (type: number, body: Reader) => void): void {
  while (reader.remaining >= HEADER) {
    const length = reader.u16();
    const type = reader.u16();
    if (length < HEADER || length - HEADER > reader.remaining)
      throw new DecodeError(
        `attribute ${type & TYPE_MASK} has length ${length}, ${reader.remaining} bytes left`,
      );
    const end = reader.enter(length - HEADER);
    try {
      visit(type, reader);
    } finally {
      // Whoever goes on after a bad value is at the next one.
      reader.leave(end);
    }
    reader.skipPadding((4 - (length % 4)) % 4);
  }
  if (reader.remaining > 0) throw new DecodeError(`${reader.remaining} bytes left over after the attributes`);
}

/** writeAttribute writes one attribute, its length and its padding around what `body` writes. */
export function writeAttribute(writer: Writer, type: number, body: () => unknown): void {
  const start = beginAttribute(writer, type);
  body();
  endAttribute(writer, start, type);
}

/** Returns where the attribute begins. */
function beginAttribute(writer: Writer, type: number): number {
  const start = writer.length;
  writer.u16(0).u16(type);
  return start;
}

function endAttribute(writer: Writer, start: number, type: number): void {
  const length = writer.length - start;
  if (length > 0xffff)
    throw new EncodeError(`attribute ${type & TYPE_MASK} has ${length} bytes, at most 65535`);
  writer.setU16(start, length);
  writer.align(4);
}
