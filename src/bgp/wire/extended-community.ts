/**
 * Extended communities (RFC 4360): eight octets, of which the first two say what the others are. A table, one row for each that has a meaning
 * here; all others stay octets, and so does one that its row would not write the same way (reserved bits that somebody uses).
 *
 * ```
 *  type 1 (0x40: not transitive) | subtype 1 | value 6
 * ```
 */
import { formatMac, type Mac, macBytes, macFromBytes, parseMac } from "../../net/mod.ts";
import { readU16, readU24, readU32 } from "./octets.ts";
import {
  type Administered,
  administeredType,
  decodeAdministered,
  encodeAdministered,
  parseAdministered,
  printAdministered,
} from "./route-distinguisher.ts";

/** TUNNEL are tunnel types of the encapsulation community and of attribute 23 (RFC 9012, RFC 8365). */
export const TUNNEL = {
  gre: 2,
  vxlan: 8,
  nvgre: 9,
  mpls: 10,
  mplsInGre: 11,
  vxlanGpe: 12,
  geneve: 19,
} as const;

/** ND_FLAG are flags of the ARP/ND community (RFC 9047 section 2); `proxy` is FRR's, from a draft. */
export const ND_FLAG = { router: 0x01, override: 0x02, proxy: 0x04, immutable: 0x08 } as const;

/** ExtendedCommunity is one community. */
export type ExtendedCommunity =
  /** RFC 4360 section 4. */
  | { readonly kind: "route-target"; readonly target: Administered }
  /** RFC 4360 section 5. */
  | { readonly kind: "site-of-origin"; readonly origin: Administered }
  /** RFC 9012 section 4.1: a tunnel type. */
  | { readonly kind: "encapsulation"; readonly tunnel: number }
  /** RFC 9012 section 4.3. */
  | { readonly kind: "color"; readonly flags: number; readonly color: number }
  /** RFC 7432 section 7.8. */
  | { readonly kind: "default-gateway" }
  /** RFC 7432 section 7.7. */
  | { readonly kind: "mac-mobility"; readonly sticky: boolean; readonly sequence: number }
  /** RFC 7432 section 7.5; the label is 24 bits as they stand. */
  | { readonly kind: "esi-label"; readonly singleActive: boolean; readonly label: number }
  /** RFC 7432 section 7.6. */
  | { readonly kind: "es-import"; readonly mac: Mac }
  /** RFC 9135 section 8.1. */
  | { readonly kind: "router-mac"; readonly mac: Mac }
  /** RFC 8214 section 3.1. */
  | { readonly kind: "layer2-attributes"; readonly flags: number; readonly mtuBytes: number }
  /** RFC 8584 section 2.2, RFC 9785 section 3. */
  | {
      readonly kind: "df-election";
      readonly algorithm: number;
      readonly bitmap: number;
      readonly preference: number;
    }
  /** RFC 9047 section 2: bits of ND_FLAG. */
  | { readonly kind: "nd-flags"; readonly flags: number }
  /** draft-ietf-idr-link-bandwidth. */
  | { readonly kind: "link-bandwidth"; readonly as: number; readonly bytesPerSecond: number }
  | { readonly kind: "unknown"; readonly bytes: Uint8Array };

type Kind = Exclude<ExtendedCommunity["kind"], "unknown">;
type Of<K extends Kind> = Extract<ExtendedCommunity, { readonly kind: K }>;

interface Row<K extends Kind> {
  /** Types (first octet) and the subtype. */
  readonly types: readonly number[];
  readonly subtype: number;
  readonly decode: (bytes: Uint8Array) => Of<K>;
  /** The first octet, and the six behind the subtype. */
  readonly encode: (community: Of<K>) => readonly number[];
  /** As FRR shows it. */
  readonly print: (community: Of<K>) => string;
}

const u16 = (value: number) => [(value >>> 8) & 0xff, value & 0xff] as const;
const u24 = (value: number) => [(value >>> 16) & 0xff, ...u16(value)] as const;
const u32 = (value: number) => [value >>> 24, ...u24(value)] as const;

const flagNames = (flags: number) =>
  [
    [ND_FLAG.router, "Router Flag"],
    [ND_FLAG.override, "Override Flag"],
    [ND_FLAG.proxy, "Proxy"],
    [ND_FLAG.immutable, "Immutable Flag"],
  ]
    .filter(([bit]) => (flags & (bit as number)) !== 0)
    .map(([, name]) => name)
    .join(",");

const rows: { readonly [K in Kind]: Row<K> } = {
  "route-target": {
    types: [0, 1, 2],
    subtype: 0x02,
    decode: (bytes) => ({
      kind: "route-target",
      target: decodeAdministered(bytes[0] as number, bytes, 2),
    }),
    encode: ({ target }) => [administeredType(target), ...encodeAdministered(target)],
    print: ({ target }) => `RT:${printAdministered(target)}`,
  },
  "site-of-origin": {
    types: [0, 1, 2],
    subtype: 0x03,
    decode: (bytes) => ({
      kind: "site-of-origin",
      origin: decodeAdministered(bytes[0] as number, bytes, 2),
    }),
    encode: ({ origin }) => [administeredType(origin), ...encodeAdministered(origin)],
    print: ({ origin }) => `SoO:${printAdministered(origin)}`,
  },
  encapsulation: {
    types: [0x03],
    subtype: 0x0c,
    decode: (bytes) => ({ kind: "encapsulation", tunnel: readU16(bytes, 6) }),
    encode: ({ tunnel }) => [0x03, 0, 0, 0, 0, ...u16(tunnel)],
    print: ({ tunnel }) => `ET:${tunnel}`,
  },
  color: {
    types: [0x03],
    subtype: 0x0b,
    decode: (bytes) => ({ kind: "color", flags: readU16(bytes, 2), color: readU32(bytes, 4) }),
    encode: ({ flags, color }) => [0x03, ...u16(flags), ...u32(color)],
    print: ({ color }) => `Color:${color}`,
  },
  "default-gateway": {
    types: [0x03],
    subtype: 0x0d,
    decode: () => ({ kind: "default-gateway" }),
    encode: () => [0x03, 0, 0, 0, 0, 0, 0],
    print: () => "Default Gateway",
  },
  "mac-mobility": {
    types: [0x06],
    subtype: 0x00,
    decode: (bytes) => ({
      kind: "mac-mobility",
      sticky: ((bytes[2] as number) & 1) !== 0,
      sequence: readU32(bytes, 4),
    }),
    encode: ({ sticky, sequence }) => [0x06, sticky ? 1 : 0, 0, ...u32(sequence)],
    print: ({ sticky, sequence }) => `MM:${sequence}${sticky ? ", sticky MAC" : ""}`,
  },
  "esi-label": {
    types: [0x06],
    subtype: 0x01,
    decode: (bytes) => ({
      kind: "esi-label",
      singleActive: ((bytes[2] as number) & 1) !== 0,
      label: readU24(bytes, 5),
    }),
    encode: ({ singleActive, label }) => [0x06, singleActive ? 1 : 0, 0, 0, ...u24(label)],
    print: ({ singleActive, label }) =>
      `ESI-label-Rt:${singleActive ? "SA" : "AA"}${label === 0 ? "" : `:${label}`}`,
  },
  "es-import": {
    types: [0x06],
    subtype: 0x02,
    decode: (bytes) => ({ kind: "es-import", mac: macFromBytes(bytes.subarray(2, 8)) }),
    encode: ({ mac }) => [0x06, ...macBytes(mac)],
    print: ({ mac }) => `ES-Import-Rt:${formatMac(mac)}`,
  },
  "router-mac": {
    types: [0x06],
    subtype: 0x03,
    decode: (bytes) => ({ kind: "router-mac", mac: macFromBytes(bytes.subarray(2, 8)) }),
    encode: ({ mac }) => [0x06, ...macBytes(mac)],
    print: ({ mac }) => `Rmac:${formatMac(mac)}`,
  },
  "layer2-attributes": {
    types: [0x06],
    subtype: 0x04,
    decode: (bytes) => ({
      kind: "layer2-attributes",
      flags: readU16(bytes, 2),
      mtuBytes: readU16(bytes, 4),
    }),
    encode: ({ flags, mtuBytes }) => [0x06, ...u16(flags), ...u16(mtuBytes), 0, 0],
    print: ({ flags, mtuBytes }) => `L2:flags 0x${flags.toString(16)}, mtu ${mtuBytes}`,
  },
  "df-election": {
    types: [0x06],
    subtype: 0x06,
    decode: (bytes) => ({
      kind: "df-election",
      algorithm: (bytes[2] as number) & 0x1f,
      bitmap: readU16(bytes, 3),
      preference: readU16(bytes, 6),
    }),
    encode: ({ algorithm, bitmap, preference }) => [
      0x06,
      algorithm & 0x1f,
      ...u16(bitmap),
      0,
      ...u16(preference),
    ],
    print: ({ algorithm, preference }) => `DF: (alg: ${algorithm}, pref: ${preference})`,
  },
  "nd-flags": {
    types: [0x06],
    subtype: 0x08,
    decode: (bytes) => ({ kind: "nd-flags", flags: bytes[2] as number }),
    encode: ({ flags }) => [0x06, flags & 0xff, 0, 0, 0, 0, 0],
    print: ({ flags }) => `ND:${flagNames(flags)}`,
  },
  "link-bandwidth": {
    types: [0x40],
    subtype: 0x04,
    decode: (bytes) => ({
      kind: "link-bandwidth",
      as: readU16(bytes, 2),
      bytesPerSecond: new DataView(bytes.buffer, bytes.byteOffset).getFloat32(4),
    }),
    encode: ({ as, bytesPerSecond }) => {
      const float = new DataView(new ArrayBuffer(4));
      float.setFloat32(0, bytesPerSecond);
      return [0x40, ...u16(as), ...u32(float.getUint32(0))];
    },
    print: ({ as, bytesPerSecond }) => `LB:${as}:${bytesPerSecond}`,
  },
};

const byCode = new Map<number, Row<Kind>>(
  Object.values(rows).flatMap((row) =>
    row.types.map((type): [number, Row<Kind>] => [(type << 8) | row.subtype, row as unknown as Row<Kind>]),
  ),
);

const rowOf = (community: Exclude<ExtendedCommunity, { readonly kind: "unknown" }>) =>
  rows[community.kind] as unknown as Row<Kind>;

/** decodeExtendedCommunity reads the eight octets at `at`. */
export function decodeExtendedCommunity(bytes: Uint8Array, at = 0): ExtendedCommunity {
  const octets = bytes.slice(at, at + 8);
  const decoded = byCode.get(readU16(octets, 0))?.decode(octets);
  if (decoded !== undefined && encodeExtendedCommunity(decoded).every((octet, i) => octet === octets[i]))
    return decoded;
  return { kind: "unknown", bytes: octets };
}

/** encodeExtendedCommunity returns eight octets. */
export function encodeExtendedCommunity(community: ExtendedCommunity): readonly number[] {
  if (community.kind === "unknown") return [...community.bytes];
  const row = rowOf(community);
  const [type, ...value] = row.encode(community as Of<Kind>);
  return [type as number, row.subtype, ...value];
}

/** printExtendedCommunity returns `RT:65001:100`, `ET:8`, `Rmac:02:…`, `MM:3` and so on, as FRR does; `0x…` for octets. */
export function printExtendedCommunity(community: ExtendedCommunity): string {
  return community.kind === "unknown"
    ? `0x${Buffer.from(community.bytes).toString("hex")}`
    : rowOf(community).print(community as Of<Kind>);
}

/** parseExtendedCommunity reads `rt:65001:100`, `soo:…`, `et:8`, `rmac:…`, `mm:3`, `color:7` or `0x` and 16 digits; undefined for anything else. */
export function parseExtendedCommunity(text: string): ExtendedCommunity | undefined {
  const match = /^(rt|soo|et|rmac|mm|color):(.+)$/i.exec(text);
  if (match === null)
    return /^0x[0-9a-f]{16}$/i.test(text)
      ? decodeExtendedCommunity(new Uint8Array(Buffer.from(text.slice(2), "hex")))
      : undefined;
  const value = match[2] as string;
  switch ((match[1] as string).toLowerCase()) {
    case "rt": {
      const target = parseAdministered(value);
      return target && { kind: "route-target", target };
    }
    case "soo": {
      const origin = parseAdministered(value);
      return origin && { kind: "site-of-origin", origin };
    }
    case "rmac":
      return /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(value)
        ? { kind: "router-mac", mac: parseMac(value) }
        : undefined;
  }
  if (!/^(0|[1-9]\d{0,9})$/.test(value) || Number(value) > 0xffffffff) return undefined;
  const number = Number(value);
  switch ((match[1] as string).toLowerCase()) {
    case "et":
      return number > 0xffff ? undefined : { kind: "encapsulation", tunnel: number };
    case "mm":
      return { kind: "mac-mobility", sticky: false, sequence: number };
    default:
      return { kind: "color", flags: 0, color: number };
  }
}
