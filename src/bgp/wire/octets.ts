/** Numbers in network order, read and written in place. Nothing is checked: the caller has looked at the lengths. */

/** readU16 reads two octets. */
export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** readU24 reads three octets, such as a label field. */
export function readU24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

/** readU32 reads four octets. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

/** writeU16 writes two octets and returns what follows them. */
export function writeU16(out: Uint8Array, at: number, value: number): number {
  out[at] = value >>> 8;
  out[at + 1] = value;
  return at + 2;
}

/** writeU24 writes three octets and returns what follows them. */
export function writeU24(out: Uint8Array, at: number, value: number): number {
  out[at] = value >>> 16;
  out[at + 1] = value >>> 8;
  out[at + 2] = value;
  return at + 3;
}

/** writeU32 writes four octets and returns what follows them. */
export function writeU32(out: Uint8Array, at: number, value: number): number {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
  return at + 4;
}

/** copyOctets copies a few octets and returns what follows them. A loop: for what BGP has in its fields it is faster than a subarray and `set`. */
export function copyOctets(
  from: Uint8Array,
  fromAt: number,
  length: number,
  out: Uint8Array,
  at: number,
): number {
  for (let i = 0; i < length; i++) out[at + i] = from[fromAt + i] as number;
  return at + length;
}

/** allZero tells whether octets are all zero. */
export function allZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let i = at; i < at + length; i++) if (bytes[i] !== 0) return false;
  return true;
}
