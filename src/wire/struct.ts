/** Fixed structures: fields one after another, as a C structure without holes (name the holes). */
import type { Codec, ValueOf } from "./codec.ts";
import { within } from "./error.ts";

/** Fields of a structure, in order; only codecs of fixed size. */
export type Fields = Readonly<Record<string, Codec<number> | Codec<bigint> | Codec<boolean>>>;

/** Struct is the value of a structure. */
export type Struct<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** StructCodec encodes a structure of which fields may be left out: they are zero. */
export interface StructCodec<F extends Fields> extends Codec<Struct<F>> {
  encode(writer: Parameters<Codec<never>["encode"]>[0], value: Partial<Struct<F>>): void;
}

/** struct makes a codec from fields in order. */
export function struct<const F extends Fields>(fields: F): StructCodec<F> {
  const entries = Object.entries(fields) as [string, Codec<unknown>][];
  return {
    decode(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) value[name] = codec.decode(reader);
      return value as Struct<F>;
    },
    encode(writer, value) {
      const given = value as Record<string, unknown>;
      for (const [name, codec] of entries) {
        const field = given[name] ?? 0;
        within(name, () => codec.encode(writer, field));
      }
    },
  };
}
