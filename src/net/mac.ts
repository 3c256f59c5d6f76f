/** Ethernet addresses, as 48-bit numbers. */

declare const brand: unique symbol;

/** Mac is an EUI-48 address as an integer, first byte highest. */
export type Mac = number & { readonly [brand]: "Mac" };

/** mac makes an address from an integer; RangeError outside 48 bits. */
export function mac(value: number): Mac {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 48)
    throw new RangeError(`${value} is not an Ethernet address`);
  return value as Mac;
}

/** macFromBytes reads 6 bytes. */
export function macFromBytes(bytes: Uint8Array): Mac {
  if (bytes.length !== 6) throw new RangeError(`An Ethernet address has 6 bytes, not ${bytes.length}`);
  let value = 0;
  for (const byte of bytes) value = value * 256 + byte;
  return value as Mac;
}

/** macBytes returns 6 bytes. */
export function macBytes(address: Mac): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(6));
  const high = Math.floor(address / 0x1_0000_0000);
  const low = address % 0x1_0000_0000;
  bytes[0] = high >>> 8;
  bytes[1] = high;
  bytes[2] = low >>> 24;
  bytes[3] = low >>> 16;
  bytes[4] = low >>> 8;
  bytes[5] = low;
  return bytes;
}

/** parseMac reads `02:00:00:00:00:01`; throws for anything else. */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$/.test(text))
    throw new Error(`"${text}" is not an Ethernet address; write it like 02:00:00:00:00:01`);
  return Number.parseInt(text.replaceAll(/[:-]/g, ""), 16) as Mac;
}

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** formatMac returns lower-case text with colons. */
export function formatMac(address: Mac): string {
  const high = Math.floor(address / 0x1_0000_0000);
  const low = address % 0x1_0000_0000;
  return `${hex[high >>> 8]}:${hex[high & 255]}:${hex[low >>> 24]}:${hex[(low >>> 16) & 255]}:${hex[(low >>> 8) & 255]}:${hex[low & 255]}`;
}
