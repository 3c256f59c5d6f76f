/** XFRMA_ALG_…: an algorithm's name and its key. Keys go to the kernel and are never read back, although the kernel tells them. */
import type { KeyMaterial } from "../net/mod.ts";
import { type Codec, DecodeError, EncodeError, type Reader } from "../wire/mod.ts";

/** XfrmAlgorithm protects packets of ESP; all have a tag of 16 bytes. */
export type XfrmAlgorithm = "aes-128-gcm" | "aes-256-gcm" | "chacha20-poly1305";

/** Names as the kernel has them (net/xfrm/xfrm_algo.c), and bytes of key and salt. */
const algorithms: Readonly<Record<XfrmAlgorithm, { readonly name: string; readonly bytes: number }>> = {
  "aes-128-gcm": { name: "rfc4106(gcm(aes))", bytes: 20 },
  "aes-256-gcm": { name: "rfc4106(gcm(aes))", bytes: 36 },
  "chacha20-poly1305": { name: "rfc7539esp(chacha20,poly1305)", bytes: 36 },
};

const ICV_BITS = 128;
const NAME_BYTES = 64;

/** AeadAttribute is an algorithm with key and tag (struct xfrm_algo_aead). */
export interface AeadAttribute {
  readonly name: string;
  readonly keyBits: number;
  readonly icvBits: number;
  /** What is read has none. */
  readonly material?: KeyMaterial;
}

/** aead writes the key and, when it reads, moves past it: so nothing that reads an association ever holds a key. */
export const aead: Codec<AeadAttribute> = {
  decode(reader) {
    const name = algorithmName(reader);
    const keyBits = reader.u32();
    const icvBits = reader.u32();
    skipKey(reader, keyBits);
    return { name, keyBits, icvBits };
  },
  encode(writer, { name, keyBits, icvBits, material }) {
    const key = material?.reveal();
    if (key?.length !== keyBits / 8) throw new EncodeError(`a key of ${keyBits} bits is needed`);
    const text = new TextEncoder().encode(name);
    writer.bytes(text).zeros(NAME_BYTES - text.length);
    writer.u32(keyBits).u32(icvBits).bytes(key);
  },
};

/** otherAlgorithm reads the name of an algorithm that we do not use: the other layouts have it in the same place, and the key too. */
export const otherAlgorithm: Codec<string> = {
  decode(reader) {
    const name = algorithmName(reader);
    reader.skip(reader.remaining);
    return name;
  },
  encode() {
    throw new EncodeError("only combined algorithms (AEAD) are used");
  },
};

function algorithmName(reader: Reader): string {
  return reader.sub(NAME_BYTES).text();
}

function skipKey(reader: Reader, bits: number): void {
  const bytes = Math.ceil(bits / 8);
  if (bytes !== reader.remaining)
    throw new DecodeError(`a key of ${bits} bits has ${bytes} bytes, not ${reader.remaining}`);
  reader.skip(bytes);
}

/** aeadOf makes the attribute; a key of the wrong length is an EncodeError that says the lengths only. */
export function aeadOf(algorithm: XfrmAlgorithm, material: KeyMaterial): AeadAttribute {
  const { name, bytes } = algorithms[algorithm];
  const found = material.reveal().length;
  if (found !== bytes)
    throw new EncodeError(`key and salt of ${algorithm} have ${bytes} bytes, not ${found}`);
  return { name, keyBits: bytes * 8, icvBits: ICV_BITS, material };
}

/** algorithmOf returns undefined for algorithms that we never use, and for other lengths of tags. */
export function algorithmOf({ name, keyBits, icvBits }: AeadAttribute): XfrmAlgorithm | undefined {
  if (icvBits !== ICV_BITS) return undefined;
  const found = Object.entries(algorithms).find(([, one]) => one.name === name && one.bytes * 8 === keyBits);
  return found?.[0] as XfrmAlgorithm | undefined;
}
