/**
 * TUNNEL_ENCAPSULATION (RFC 9012): tunnels that lead to the next hop, each described by sub-TLVs, which stay octets.
 *
 * ```
 *  tunnel   type 2 | length 2 | sub-TLVs
 *  sub-TLV  type 1 | length 1, or 2 for types from 128 on | value
 * ```
 */
import { readU16 } from "./octets.ts";

/** EncapsulationTunnel is one tunnel. */
export interface EncapsulationTunnel {
  /** As in the encapsulation community: 8 is VXLAN. */
  readonly type: number;
  readonly fields: readonly EncapsulationField[];
}

/** EncapsulationField is one sub-TLV. */
export interface EncapsulationField {
  readonly type: number;
  readonly value: Uint8Array;
}

/** decodeTunnelEncapsulation reads the attribute's value; undefined when a TLV does not fit. */
export function decodeTunnelEncapsulation(bytes: Uint8Array): readonly EncapsulationTunnel[] | undefined {
  const tunnels: EncapsulationTunnel[] = [];
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 4) return undefined;
    const end = at + 4 + readU16(bytes, at + 2);
    const fields = end > bytes.length ? undefined : decodeFields(bytes, at + 4, end);
    if (fields === undefined) return undefined;
    tunnels.push({ type: readU16(bytes, at), fields });
    at = end;
  }
  return tunnels;
}

function decodeFields(bytes: Uint8Array, from: number, end: number): EncapsulationField[] | undefined {
  const fields: EncapsulationField[] = [];
  for (let at = from; at < end;) {
    const type = bytes[at] as number;
    const header = type < 128 ? 2 : 3;
    if (end - at < header) return undefined;
    const value = at + header;
    const next = value + (type < 128 ? (bytes[at + 1] as number) : readU16(bytes, at + 1));
    if (next > end) return undefined;
    fields.push({ type, value: bytes.slice(value, next) });
    at = next;
  }
  return fields;
}

/** encodeTunnelEncapsulation returns the attribute's value. */
export function encodeTunnelEncapsulation(tunnels: readonly EncapsulationTunnel[]): readonly number[] {
  return tunnels.flatMap((tunnel) => {
    const fields = tunnel.fields.flatMap(({ type, value }) => [
      type,
      ...(type < 128 ? [value.length] : [value.length >>> 8, value.length & 0xff]),
      ...value,
    ]);
    return [tunnel.type >>> 8, tunnel.type & 0xff, fields.length >>> 8, fields.length & 0xff, ...fields];
  });
}

/** printTunnelEncapsulation returns `8{6:0a00…}`: types, and for each field its octets. */
export function printTunnelEncapsulation(tunnels: readonly EncapsulationTunnel[]): string {
  return tunnels
    .map(
      ({ type, fields }) =>
        `${type}{${fields.map((field) => `${field.type}:${Buffer.from(field.value).toString("hex")}`).join(" ")}}`,
    )
    .join(" ");
}
