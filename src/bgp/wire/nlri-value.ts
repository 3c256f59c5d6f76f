/**
 * NLRI as readonly values, for policy, commands and what we announce; and the way between a value and the key and extra of nlri.ts.
 *
 * What belongs to the path and not to the destination (ESI of types 2 and 5, gateway, labels) is absent from a value that was made of a key alone.
 */
import {
  type Family,
  type Ip,
  ip,
  ipBytes,
  ipFromBytes,
  type Mac,
  macBytes,
  macFromBytes,
  type Prefix,
  prefixAddress,
  prefixOf,
} from "../../net/mod.ts";
import { decodeEsi, encodeEsi, type Esi } from "./esi.ts";
import { EVPN, IPV4_UNICAST, IPV6_UNICAST, ROUTE_TARGET, type BgpFamily } from "./family.ts";
import { readU24, readU32 } from "./octets.ts";
import { decodeRd, encodeRd, type RouteDistinguisher } from "./route-distinguisher.ts";

/** EvpnNlri is an EVPN route (RFC 7432 section 7, RFC 9136 section 3). Labels are 24 bits as they stand: with VXLAN the VNI. */
export type EvpnNlri =
  /** Type 1; tag 0xffffffff is a route per segment, other tags are per instance. */
  | {
      readonly kind: "ethernet-auto-discovery";
      readonly rd: RouteDistinguisher;
      readonly esi: Esi;
      readonly tag: number;
      readonly label?: number;
    }
  /** Type 2; the second label is that of the layer 3 VNI (RFC 9135). */
  | {
      readonly kind: "mac-ip";
      readonly rd: RouteDistinguisher;
      readonly tag: number;
      readonly mac: Mac;
      readonly ip?: Ip;
      readonly esi?: Esi;
      readonly labels?: readonly [number] | readonly [number, number];
    }
  /** Type 3. */
  | {
      readonly kind: "inclusive-multicast";
      readonly rd: RouteDistinguisher;
      readonly tag: number;
      readonly originator: Ip;
    }
  /** Type 4. */
  | {
      readonly kind: "ethernet-segment";
      readonly rd: RouteDistinguisher;
      readonly esi: Esi;
      readonly originator: Ip;
    }
  /** Type 5; the gateway is all zero where there is none. */
  | {
      readonly kind: "ip-prefix";
      readonly rd: RouteDistinguisher;
      readonly tag: number;
      readonly prefix: Prefix;
      readonly esi?: Esi;
      readonly gateway?: Ip;
      readonly label?: number;
    }
  | { readonly kind: "evpn-unknown"; readonly type: number; readonly value: Uint8Array };

/** Nlri is what a route leads to. */
export type Nlri =
  | { readonly kind: "prefix"; readonly prefix: Prefix }
  /** RFC 4684: 0 bits for all, or 32 to 96: of the AS that wants routes, and of the route target. */
  | { readonly kind: "route-target"; readonly bits: number; readonly value: Uint8Array }
  | EvpnNlri;

/** EncodedNlri is a destination in its table's form. */
export interface EncodedNlri {
  readonly family: BgpFamily;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly extra: Uint8Array<ArrayBuffer>;
}

const NOTHING = new Uint8Array(new ArrayBuffer(0));

/** decodeNlri makes a value of a key, and of an extra where there is one. Both come from an NlriCursor, or from encodeNlri. */
export function decodeNlri(family: BgpFamily, key: Uint8Array, extra: Uint8Array = NOTHING): Nlri {
  const bits = key[0] as number;
  switch (family) {
    case IPV4_UNICAST:
      return { kind: "prefix", prefix: prefixAt(4, bits, key.subarray(1)) };
    case IPV6_UNICAST:
      return { kind: "prefix", prefix: prefixAt(6, bits, key.subarray(1)) };
    case ROUTE_TARGET:
      return { kind: "route-target", bits, value: key.slice(1) };
    default:
      return decodeEvpn(key, extra);
  }
}

function decodeEvpn(key: Uint8Array, extra: Uint8Array): EvpnNlri {
  switch (key[0]) {
    case 1:
      return {
        kind: "ethernet-auto-discovery",
        rd: decodeRd(key, 1),
        esi: decodeEsi(key, 9),
        tag: readU32(key, 19),
        ...(extra.length === 0 ? {} : { label: readU24(extra, 0) }),
      };
    case 2:
      return {
        kind: "mac-ip",
        rd: decodeRd(key, 1),
        tag: readU32(key, 9),
        mac: macFromBytes(key.subarray(13, 19)),
        ...(key.length === 20 ? {} : { ip: ipFromBytes(key.subarray(20)) }),
        ...(extra.length === 0 ? {} : { esi: decodeEsi(extra, 0), labels: labelsOf(extra) }),
      };
    case 3:
      return {
        kind: "inclusive-multicast",
        rd: decodeRd(key, 1),
        tag: readU32(key, 9),
        originator: ipFromBytes(key.subarray(14)),
      };
    case 4:
      return {
        kind: "ethernet-segment",
        rd: decodeRd(key, 1),
        esi: decodeEsi(key, 9),
        originator: ipFromBytes(key.subarray(20)),
      };
    case 5: {
      const address = key.subarray(14);
      const gatewayEnd = 10 + address.length;
      return {
        kind: "ip-prefix",
        rd: decodeRd(key, 1),
        tag: readU32(key, 9),
        prefix: prefixAt(address.length === 4 ? 4 : 6, key[13] as number, address),
        ...(extra.length === 0
          ? {}
          : {
              esi: decodeEsi(extra, 0),
              gateway: ipFromBytes(extra.subarray(10, gatewayEnd)),
              label: readU24(extra, gatewayEnd),
            }),
      };
    }
    default:
      return { kind: "evpn-unknown", type: key[0] as number, value: key.slice(1) };
  }
}

function labelsOf(extra: Uint8Array): readonly [number] | readonly [number, number] {
  return extra.length === 13 ? [readU24(extra, 10)] : [readU24(extra, 10), readU24(extra, 13)];
}

/** A prefix of an address that may be cut behind its length. */
function prefixAt(family: Family, length: number, bytes: Uint8Array): Prefix {
  const whole = new Uint8Array(family === 4 ? 4 : 16);
  whole.set(bytes);
  return prefixOf(ipFromBytes(whole), length);
}

const u24 = (value: number) => [value >>> 16, (value >>> 8) & 0xff, value & 0xff] as const;
const u32 = (value: number) => [value >>> 24, ...u24(value & 0xffffff)] as const;

/** encodeNlri returns key and extra of a value. */
export function encodeNlri(nlri: Nlri): EncodedNlri {
  const made = (family: BgpFamily, key: readonly number[], extra: readonly number[] = []): EncodedNlri => ({
    family,
    key: Uint8Array.from(key),
    extra: extra.length === 0 ? NOTHING : Uint8Array.from(extra),
  });
  switch (nlri.kind) {
    case "prefix": {
      const { prefix } = nlri;
      const address = ipBytes(prefixAddress(prefix)).subarray(0, (prefix.length + 7) >> 3);
      return made(prefix.family === 4 ? IPV4_UNICAST : IPV6_UNICAST, [prefix.length, ...address]);
    }
    case "route-target":
      return made(ROUTE_TARGET, [nlri.bits, ...nlri.value]);
    case "ethernet-auto-discovery":
      return made(
        EVPN,
        [1, ...encodeRd(nlri.rd), ...encodeEsi(nlri.esi), ...u32(nlri.tag)],
        nlri.label === undefined ? [] : u24(nlri.label),
      );
    case "mac-ip": {
      const address = nlri.ip === undefined ? [] : [...ipBytes(nlri.ip)];
      return made(
        EVPN,
        [2, ...encodeRd(nlri.rd), ...u32(nlri.tag), ...macBytes(nlri.mac), 8 * address.length, ...address],
        nlri.labels === undefined
          ? []
          : [...encodeEsi(nlri.esi ?? (0n as Esi)), ...nlri.labels.flatMap((label) => u24(label))],
      );
    }
    case "inclusive-multicast": {
      const address = ipBytes(nlri.originator);
      return made(EVPN, [3, ...encodeRd(nlri.rd), ...u32(nlri.tag), 8 * address.length, ...address]);
    }
    case "ethernet-segment": {
      const address = ipBytes(nlri.originator);
      return made(EVPN, [4, ...encodeRd(nlri.rd), ...encodeEsi(nlri.esi), 8 * address.length, ...address]);
    }
    case "ip-prefix": {
      const { prefix } = nlri;
      return made(
        EVPN,
        [5, ...encodeRd(nlri.rd), ...u32(nlri.tag), prefix.length, ...ipBytes(prefixAddress(prefix))],
        nlri.label === undefined
          ? []
          : [
              ...encodeEsi(nlri.esi ?? (0n as Esi)),
              ...ipBytes(nlri.gateway ?? ip(prefix.family, 0n)),
              ...u24(nlri.label),
            ],
      );
    }
    case "evpn-unknown":
      return made(EVPN, [nlri.type, ...nlri.value]);
  }
}
