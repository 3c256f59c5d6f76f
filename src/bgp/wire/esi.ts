/** Ethernet segment identifiers (RFC 7432 section 5): ten octets, all zero where a host is attached once. */

declare const brand: unique symbol;

/** Esi is an identifier as an integer of 80 bits, first octet highest. */
export type Esi = bigint & { readonly [brand]: "Esi" };

/** ZERO_ESI is no segment. */
export const ZERO_ESI: Esi = 0n as Esi;

/** decodeEsi reads ten octets. */
export function decodeEsi(bytes: Uint8Array, at: number): Esi {
  let value = 0n;
  for (let i = 0; i < 10; i++) value = (value << 8n) | BigInt(bytes[at + i] as number);
  return value as Esi;
}

/** encodeEsi returns ten octets. */
export function encodeEsi(esi: Esi): readonly number[] {
  return Array.from({ length: 10 }, (_, i) => Number((esi >> BigInt(72 - 8 * i)) & 0xffn));
}

/** printEsi returns `03:44:38:39:ff:ff:01:00:00:01`. */
export function printEsi(esi: Esi): string {
  return encodeEsi(esi)
    .map((octet) => octet.toString(16).padStart(2, "0"))
    .join(":");
}

/** parseEsi reads ten octets with colons; undefined for anything else. */
export function parseEsi(text: string): Esi | undefined {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){9}$/.test(text)) return undefined;
  return BigInt(`0x${text.replaceAll(":", "")}`) as Esi;
}
