/** Fixed structures: fields one after another, as a C structure without holes (name the holes). */
import type { Codec, FixedCodec, ValueOf } from "./codec.ts";
import { inField } from "./error.ts";
import type { Reader } from "./reader.ts";
import type { Writer } from "./writer.ts";

/** Fields of a structure, in order; only codecs of fixed size. */
export type Fields = Readonly<
  Record<string, Codec<number> | Codec<bigint> | Codec<boolean> | FixedCodec<object>>
>;

/** Struct is the value of a structure. */
export type Struct<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends StructCodec<infer G> ? Struct<G> : ValueOf<F[K]>;
};

/** GivenStruct is what a structure is encoded from: fields may be left out at any depth. */
export type GivenStruct<F extends Fields> = {
  readonly [K in keyof F]?: (F[K] extends StructCodec<infer G> ? GivenStruct<G> : ValueOf<F[K]>) | undefined;
};

/** StructCodec encodes a structure of which fields may be left out: they are zero. */
export interface StructCodec<F extends Fields> extends FixedCodec<Struct<F>> {
  encode(writer: Writer, value: Struct<F> | GivenStruct<F>): void;
}

/** struct makes a codec from fields in order; a field may be a structure itself. */
export function struct<const F extends Fields>(fields: F): StructCodec<F> {
  const entries = Object.entries(fields) as [string, Codec<unknown> & { readonly zero?: unknown }][];
  return {
    zero: {},
    decode(reader) {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) value[name] = codec.decode(reader);
      return value as Struct<F>;
    },
    encode(writer, value) {
      const given = value as Record<string, unknown>;
      let at = "";
      try {
        for (const [name, codec] of entries) {
          at = name;
          codec.encode(writer, given[name] ?? codec.zero ?? 0);
        }
      } catch (error) {
        throw inField(at, error);
      }
    },
  };
}

/** HeadedCodec is the codec of a structure followed by a body, as most netlink messages are. */
export interface HeadedCodec<F extends Fields, B> {
  decode(reader: Reader): { readonly header: Struct<F>; readonly body: B };
  /** Fields of the header that are left out are zero. */
  encode(writer: Writer, value: { readonly header: GivenStruct<F>; readonly body: B }): void;
}

/** headed makes the codec of a structure followed by a body. */
export function headed<F extends Fields, B>(header: StructCodec<F>, body: Codec<B>): HeadedCodec<F, B> {
  return {
    decode: (reader) => ({ header: header.decode(reader), body: body.decode(reader) }),
    encode(writer, value) {
      header.encode(writer, value.header);
      writer.align(4);
      body.encode(writer, value.body);
    },
  };
}
