/**
 * What BLAKE2s (RFC 7693) is made of, for one use: to find out to which of thousands of public keys a mac1 belongs (tags.ts). libcrypto takes nine
 * microseconds for each code, as every call makes and frees its objects.
 *
 * No secret comes here: keys of mac1 are hashes of public keys, and what is found is checked with libcrypto. A wrong answer is a message that is dropped.
 */

/** IV are the initial values (RFC 7693, section 2.6). */
export const IV: readonly number[] = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
/** SIGMA says which word of the message is used where in each round (section 2.7). */
export const SIGMA: readonly (readonly number[])[] = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
/** MIXES are the four words that each of the eight steps of a round mixes: columns, then diagonals (section 3.2). */
export const MIXES: readonly (readonly [a: number, b: number, c: number, d: number])[] = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];
export const BLOCK_BYTES = 64;
const WORDS = 16;
/** Parameters of a code of 16 bytes under a key of 32 (section 2.5). */
const PARAMETERS = 0x01010000 ^ (32 << 8) ^ 16;

const rotated = (value: number, bits: number) => (value >>> bits) | (value << (32 - bits));

/** Mixes two words of the message into four of the working state (section 3.1). */
function mix(
  v: Int32Array,
  [a, b, c, d]: readonly [number, number, number, number],
  first: number,
  second: number,
): void {
  v[a] = (v[a] as number) + (v[b] as number) + first;
  v[d] = rotated((v[d] as number) ^ (v[a] as number), 16);
  v[c] = (v[c] as number) + (v[d] as number);
  v[b] = rotated((v[b] as number) ^ (v[c] as number), 12);
  v[a] = (v[a] as number) + (v[b] as number) + second;
  v[d] = rotated((v[d] as number) ^ (v[a] as number), 8);
  v[c] = (v[c] as number) + (v[d] as number);
  v[b] = rotated((v[b] as number) ^ (v[c] as number), 7);
}

/** keyedState returns the eight words after the first block, which is the key: all that depends on the key alone. */
export function keyedState(key: Uint8Array): Int32Array {
  if (key.length !== 32) throw new RangeError(`A key of mac1 has 32 bytes, not ${key.length}`);
  const bytes = new Uint8Array(BLOCK_BYTES);
  bytes.set(key);
  // The machine is little-endian, as everything here.
  const message = new Int32Array(bytes.buffer);
  const h = Int32Array.from(IV);
  h[0] = (h[0] as number) ^ PARAMETERS;
  const v = new Int32Array(WORDS);
  v.set(h);
  v.set(IV, WORDS / 2);
  v[12] = (v[12] as number) ^ BLOCK_BYTES;
  for (const sigma of SIGMA)
    for (let i = 0; i < MIXES.length; i++)
      mix(
        v,
        MIXES[i] as (typeof MIXES)[number],
        message[sigma[2 * i] as number] as number,
        message[sigma[2 * i + 1] as number] as number,
      );
  for (let i = 0; i < WORDS / 2; i++)
    h[i] = (h[i] as number) ^ (v[i] as number) ^ (v[i + WORDS / 2] as number);
  return h;
}
