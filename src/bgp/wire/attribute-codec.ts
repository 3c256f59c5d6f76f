/** Between the octets of one path attribute, in canonical form, and its field of PathAttributes; and the text of it. */
import { formatIp, type Ip, ipBytes, ipFromBytes } from "../../net/mod.ts";
import { decodeAsPath, encodeAsPath, printAsPath } from "./as-path.ts";
import { printCommunity } from "./community.ts";
import {
  decodeExtendedCommunity,
  encodeExtendedCommunity,
  printExtendedCommunity,
} from "./extended-community.ts";
import { printLargeCommunity } from "./large-community.ts";
import { readU32 } from "./octets.ts";
import type { AttributeField, Origin, PathAttributes } from "./path-attributes.ts";
import { decodePmsiTunnel, encodePmsiTunnel, printPmsiTunnel } from "./pmsi-tunnel.ts";
import {
  decodeTunnelEncapsulation,
  encodeTunnelEncapsulation,
  printTunnelEncapsulation,
} from "./tunnel-encapsulation.ts";

/** AttributeCodec is one field's way to octets and to text. */
export interface AttributeCodec<F extends AttributeField = AttributeField> {
  readonly field: F;
  /** Undefined for octets that do not say a value of the field. */
  readonly decode: (value: Uint8Array) => NonNullable<PathAttributes[F]> | undefined;
  readonly encode: (value: NonNullable<PathAttributes[F]>) => readonly number[];
  readonly print: (value: NonNullable<PathAttributes[F]>) => string;
}

const u32 = (value: number) =>
  [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff] as const;

/** Cuts octets into items of one length; undefined when they do not divide, or there are none. */
function items<T>(value: Uint8Array, itemBytes: number, decode: (at: number) => T): T[] | undefined {
  if (value.length === 0 || value.length % itemBytes !== 0) return undefined;
  return Array.from({ length: value.length / itemBytes }, (_, i) => decode(i * itemBytes));
}

function number32<F extends "med" | "localPreference" | "onlyToCustomer">(field: F): AttributeCodec<F> {
  return {
    field,
    decode: (value) =>
      value.length === 4 ? (readU32(value, 0) as NonNullable<PathAttributes[F]>) : undefined,
    encode: (value) => u32(value as number),
    print: (value) => String(value),
  };
}

const ORIGINS: readonly Origin[] = ["igp", "egp", "incomplete"];

/** codecs are all of them, by field. */
export const codecs: { readonly [F in AttributeField]: AttributeCodec<F> } = {
  origin: {
    field: "origin",
    decode: (value) => (value.length === 1 ? ORIGINS[value[0] as number] : undefined),
    encode: (origin) => [ORIGINS.indexOf(origin)],
    print: (origin) => (origin === "incomplete" ? origin : origin.toUpperCase()),
  },
  asPath: { field: "asPath", decode: decodeAsPath, encode: encodeAsPath, print: printAsPath },
  med: number32("med"),
  localPreference: number32("localPreference"),
  atomicAggregate: {
    field: "atomicAggregate",
    decode: (value) => (value.length === 0 ? true : undefined),
    encode: () => [],
    print: () => "atomic-aggregate",
  },
  aggregator: {
    field: "aggregator",
    decode: (value) =>
      value.length === 8 ? { as: readU32(value, 0), address: ipFromBytes(value.subarray(4)) } : undefined,
    encode: ({ as, address }) => [...u32(as), ...ipBytes(address)],
    print: ({ as, address }) => `${as} ${formatIp(address)}`,
  },
  communities: {
    field: "communities",
    decode: (value) => items(value, 4, (at) => readU32(value, at)),
    encode: (communities) => communities.flatMap((community) => u32(community)),
    print: (communities) => communities.map(printCommunity).join(" "),
  },
  originatorId: {
    field: "originatorId",
    decode: (value) => (value.length === 4 ? ipFromBytes(value) : undefined),
    encode: (id) => [...ipBytes(id)],
    print: formatIp,
  },
  clusterList: {
    field: "clusterList",
    decode: (value) => items(value, 4, (at): Ip => ipFromBytes(value.subarray(at, at + 4))),
    encode: (clusters) => clusters.flatMap((id) => [...ipBytes(id)]),
    print: (clusters) => clusters.map(formatIp).join(" "),
  },
  extendedCommunities: {
    field: "extendedCommunities",
    decode: (value) => items(value, 8, (at) => decodeExtendedCommunity(value, at)),
    encode: (communities) => communities.flatMap((community) => encodeExtendedCommunity(community)),
    print: (communities) => communities.map(printExtendedCommunity).join(" "),
  },
  pmsiTunnel: {
    field: "pmsiTunnel",
    decode: decodePmsiTunnel,
    encode: encodePmsiTunnel,
    print: printPmsiTunnel,
  },
  tunnelEncapsulation: {
    field: "tunnelEncapsulation",
    decode: decodeTunnelEncapsulation,
    encode: encodeTunnelEncapsulation,
    print: printTunnelEncapsulation,
  },
  ipv6ExtendedCommunities: {
    field: "ipv6ExtendedCommunities",
    decode: (value) => items(value, 20, (at) => value.slice(at, at + 20)),
    encode: (communities) => communities.flatMap((community) => [...community]),
    print: (communities) => communities.map((octets) => `0x${Buffer.from(octets).toString("hex")}`).join(" "),
  },
  aigp: {
    field: "aigp",
    // type 1 (1) | length 2 (11) | metric 8 (RFC 7311 section 3)
    decode: (value) =>
      value.length === 11 && value[0] === 1
        ? (BigInt(readU32(value, 3)) << 32n) | BigInt(readU32(value, 7))
        : undefined,
    encode: (metric) => [1, 0, 11, ...u32(Number(metric >> 32n)), ...u32(Number(metric & 0xffffffffn))],
    print: (metric) => String(metric),
  },
  largeCommunities: {
    field: "largeCommunities",
    decode: (value) =>
      items(value, 12, (at) => ({
        global: readU32(value, at),
        local1: readU32(value, at + 4),
        local2: readU32(value, at + 8),
      })),
    encode: (communities) =>
      communities.flatMap(({ global, local1, local2 }) => [...u32(global), ...u32(local1), ...u32(local2)]),
    print: (communities) => communities.map(printLargeCommunity).join(" "),
  },
  onlyToCustomer: number32("onlyToCustomer"),
};
