/** Fixed messages as tables: fields one after another, numbers big-endian. From a table come the type, the length, the reader and the writer. */
import type { Bytes } from "../noise/mod.ts";

/** Field is a number, or so many bytes. */
export type Field = "u8" | "u32" | "u64" | number;
/** Layout is a message's fields in order. */
export type Layout = Readonly<Record<string, Field>>;
/** Fields are the values of a layout; numbers of 64 bits are below 2^53. */
export type Fields<L extends Layout> = { readonly [K in keyof L]: L[K] extends string ? number : Bytes };

const NUMBER_BYTES = { u8: 1, u32: 4, u64: 8 } as const;
const HIGH = 2 ** 32;

const sizeOf = (field: Field) => (typeof field === "number" ? field : NUMBER_BYTES[field]);

/** layoutBytes returns the length of a layout. */
export function layoutBytes(layout: Layout): number {
  return Object.values(layout).reduce<number>((sum, field) => sum + sizeOf(field), 0);
}

/** readFields reads what stands at a place; the caller has checked that it is there. Undefined for a number from 2^53 on. */
export function readFields<L extends Layout>(
  layout: L,
  bytes: Uint8Array,
  at: number,
): Fields<L> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const values: Record<string, number | Bytes> = {};
  let place = at;
  for (const [name, field] of Object.entries<Field>(layout)) {
    if (typeof field === "number") values[name] = new Uint8Array(bytes.slice(place, place + field));
    else {
      const value = numberAt(view, place, field);
      if (value > Number.MAX_SAFE_INTEGER) return undefined;
      values[name] = value;
    }
    place += sizeOf(field);
  }
  return values as Fields<L>;
}

function numberAt(view: DataView, at: number, field: Exclude<Field, number>): number {
  if (field === "u8") return view.getUint8(at);
  if (field === "u32") return view.getUint32(at);
  return view.getUint32(at) * HIGH + view.getUint32(at + 4);
}

/** writeFields writes values at a place; RangeError names the field whose bytes have another length. */
export function writeFields(layout: Layout, into: Uint8Array, options: { at: number; values: object }): void {
  const view = new DataView(into.buffer, into.byteOffset, into.length);
  const values = options.values as Readonly<Record<string, number | Uint8Array>>;
  let { at } = options;
  for (const [name, field] of Object.entries<Field>(layout)) {
    const value = values[name] as number | Uint8Array;
    if (typeof value === "number") writeNumber(view, { at, field, value });
    else if (value.length === field) into.set(value, at);
    else throw new RangeError(`${name} has ${field} bytes, not ${value.length}`);
    at += sizeOf(field);
  }
}

function writeNumber(
  view: DataView,
  { at, field, value }: { readonly at: number; readonly field: Field; readonly value: number },
): void {
  if (field === "u8") view.setUint8(at, value);
  else if (field === "u32") view.setUint32(at, value);
  else {
    view.setUint32(at, Math.floor(value / HIGH));
    view.setUint32(at + 4, value % HIGH);
  }
}
