/**
 * EVPN routes that a BgpRouter announces as they stand in its manifest: for a laboratory, a host whose addresses are known, or a gateway. What a
 * node's own tenants have is announced without it.
 *
 * ```yaml
 * evpn:
 *   segments:
 *     - {vni: 100, vtep: 10.255.0.1, l3vni: 4000, macs: [{mac: "02:aa:00:00:00:05", ip: 10.1.1.5}]}
 *   routed:
 *     - {vni: 4000, vtep: 10.255.0.1, routerMac: "02:00:00:00:0f:a0", prefixes: [10.50.0.0/24]}
 * ```
 */
import { z } from "zod";
import { formatIp, formatMac, formatPrefix, type Ip, type Mac, type Prefix } from "../net/mod.ts";
import { routeTargetSchema } from "./bgp-policy.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, macSchema, prefixSchema, vniSchema } from "./scalars.ts";

/** EvpnMac is an address that is announced. */
export interface EvpnMac {
  readonly mac: Mac;
  readonly ip?: Ip;
  readonly sticky?: boolean;
  readonly defaultGateway?: boolean;
  readonly router?: boolean;
}

/** EvpnSegmentWish is one L2VNI. */
export interface EvpnSegmentWish {
  readonly vni: number;
  readonly vtep: Ip;
  /** Absent: the router id with the VNI, if that fits 16 bits. */
  readonly rd?: string;
  /** Absent: AS:VNI. */
  readonly exportTargets?: readonly string[];
  readonly importTargets?: readonly string[];
  /** Whether it wants broadcast (type 3). */
  readonly flood: boolean;
  /** One of `routed`, by its VNI. */
  readonly l3vni?: number;
  readonly macs: readonly EvpnMac[];
}

/** EvpnRoutedWish is one L3VNI. */
export interface EvpnRoutedWish {
  readonly vni: number;
  readonly vtep: Ip;
  readonly rd?: string;
  readonly exportTargets?: readonly string[];
  readonly routerMac: Mac;
  readonly prefixes: readonly Prefix[];
}

/** EvpnWish is a router's EVPN. */
export interface EvpnWish {
  readonly segments: readonly EvpnSegmentWish[];
  readonly routed: readonly EvpnRoutedWish[];
}

const yes = z.boolean({ error: "is not true or false" }).optional();
const targets = z.array(routeTargetSchema).min(1).max(64).optional();

const macEntry = z.strictObject(
  { mac: macSchema, ip: addressSchema.optional(), sticky: yes, defaultGateway: yes, router: yes },
  { error: "is not an address; write {mac: 02:…, ip: 10.1.1.5}" },
);

const segment = z.strictObject(
  {
    vni: vniSchema,
    vtep: addressSchema,
    rd: routeTargetSchema.optional(),
    exportTargets: targets,
    importTargets: targets,
    flood: z.boolean({ error: "is not true or false" }).default(true),
    l3vni: vniSchema.optional(),
    macs: z.array(macEntry).max(100_000).default([]),
  },
  { error: "is not a segment; write {vni: 100, vtep: 10.255.0.1}" },
);

const routed = z.strictObject(
  {
    vni: vniSchema,
    vtep: addressSchema,
    rd: routeTargetSchema.optional(),
    exportTargets: targets,
    routerMac: macSchema,
    prefixes: z.array(prefixSchema()).max(100_000).default([]),
  },
  { error: "is not a routed VNI; write {vni: 4000, vtep: 10.255.0.1, routerMac: 02:…}" },
);

/** evpnSchema reads a router's EVPN. */
export const evpnSchema = z
  .strictObject(
    { segments: z.array(segment).max(10_000).default([]), routed: z.array(routed).max(10_000).default([]) },
    { error: "is not EVPN; write {segments: […], routed: […]}" },
  )
  .transform((given): EvpnWish => ({
    segments: given.segments.map(
      (one) => withoutAbsent({ ...one, macs: one.macs.map(withoutAbsent) }) as EvpnSegmentWish,
    ),
    routed: given.routed.map((one) => withoutAbsent(one) as EvpnRoutedWish),
  }));

/** evpnProblems reports what does not fit together. */
export function evpnProblems(
  { segments, routed: layer3 }: EvpnWish,
  report: (field: string, value: string, problem: string) => void,
): void {
  const seen = new Set<number>();
  for (const [part, list] of [
    ["segments", segments],
    ["routed", layer3],
  ] as const)
    list.forEach((one, i) => {
      const field = `spec.evpn.${part}[${i}]`;
      if (seen.has(one.vni)) report(`${field}.vni`, String(one.vni), "is there twice; keep one");
      seen.add(one.vni);
      if (one.rd === undefined && one.vni > 0xffff)
        report(`${field}.rd`, "", "is missing: a VNI above 65535 does not fit the automatic one; add it");
    });
  segments.forEach(({ l3vni }, i) => {
    if (l3vni !== undefined && !layer3.some((one) => one.vni === l3vni))
      report(`spec.evpn.segments[${i}].l3vni`, String(l3vni), "is no VNI of spec.evpn.routed; add it there");
  });
}

/** evpnJson undoes evpnSchema. */
export function evpnJson({ segments, routed: layer3 }: EvpnWish): Json {
  return {
    segments: segments.map((one) =>
      present({
        vni: one.vni,
        vtep: formatIp(one.vtep),
        rd: one.rd,
        exportTargets: one.exportTargets && [...one.exportTargets],
        importTargets: one.importTargets && [...one.importTargets],
        flood: one.flood,
        l3vni: one.l3vni,
        macs: one.macs.map(({ mac, ip, ...flags }) =>
          present({ mac: formatMac(mac), ip: ip && formatIp(ip), ...flags }),
        ),
      }),
    ),
    routed: layer3.map((one) =>
      present({
        vni: one.vni,
        vtep: formatIp(one.vtep),
        rd: one.rd,
        exportTargets: one.exportTargets && [...one.exportTargets],
        routerMac: formatMac(one.routerMac),
        prefixes: one.prefixes.map(formatPrefix),
      }),
    ),
  };
}
