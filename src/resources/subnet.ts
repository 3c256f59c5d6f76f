/** Subnet: one broadcast domain of a VPC (L2VNI), with a gateway that is the same on every node. */
import { z } from "zod";
import {
  bitsOf,
  type Family,
  formatIp,
  formatMac,
  formatPrefix,
  type Ip,
  ipEqual,
  ipPlus,
  type Mac,
  NOT_HOSTS,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixesOverlap,
  prefixLast,
} from "../net/mod.ts";
import {
  type AddressRange,
  addressRangeSchema,
  formatAddressRange,
  rangeInside,
  rangesOverlap,
} from "./address-range.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, linkSchema, macSchema, prefixSchema, vniSchema, wholeNumber } from "./scalars.ts";
import {
  type HostBridge,
  hostBridgeSchema,
  type SubnetUnderlay,
  subnetUnderlayJson,
  subnetUnderlaySchema,
} from "./subnet-underlay.ts";
import { targetsSchema } from "./vpc.ts";

/** Subnet is a segment of a VPC, as the resource of kind Subnet says it. */
export interface Subnet {
  readonly name: string;
  readonly vpc: string;
  /** At most one of a family; none: addresses are the pods' own affair. */
  readonly prefixes: readonly Prefix[];
  /** L2VNI; absent in what people write: the register gives one. Never changes. */
  readonly vni?: number;
  /** Absent: `ASN:VNI` alone. */
  readonly importTargets?: readonly string[];
  readonly exportTargets?: readonly string[];
  /** One for each prefix, in its order; never handed out, also where nothing is routed. */
  readonly gateways: readonly Ip[];
  /** Absent: derived from the VNI. */
  readonly gatewayMac?: Mac;
  /** Addresses that are not handed out. */
  readonly reserved: readonly AddressRange[];
  /** Addresses that are handed out by request only. */
  readonly fixed: readonly AddressRange[];
  readonly dnsServers: readonly Ip[];
  /** Absent: what the underlay leaves. */
  readonly mtuBytes?: number;
  /** UDP port of VXLAN; absent: 4789 (RFC 7348 section 5). */
  readonly port?: number;
  /** For a VPC in a fabric. */
  readonly underlay?: SubnetUnderlay;
  /** Name of a link that the host has in it; with hostBridge a port of that, alone for others to use. */
  readonly hostLink?: string;
  readonly hostBridge?: HostBridge;
}

/** The fields of `spec`. */
export const subnetFields = {
  vpc: z.string().min(1).max(253),
  prefixes: z.array(prefixSchema()).max(2, "names more than one network of a family").default([]),
  vni: vniSchema.optional(),
  importTargets: targetsSchema.optional(),
  exportTargets: targetsSchema.optional(),
  gateways: z.array(addressSchema).max(2, "names more than one gateway of a family").default([]),
  gatewayMac: macSchema.optional(),
  reserved: z.array(addressRangeSchema).max(256).default([]),
  fixed: z.array(addressRangeSchema).max(256).default([]),
  dnsServers: z.array(addressSchema).max(8).default([]),
  mtuBytes: wholeNumber(576, 65535).optional(),
  port: wholeNumber(1, 65535).optional(),
  underlay: subnetUnderlaySchema.optional(),
  hostLink: linkSchema.optional(),
  hostBridge: hostBridgeSchema.optional(),
} as const;

type Report = (field: string, value: string, problem: string) => void;

/** subnetFromSpec fills in gateways and reports what does not fit together. */
export function subnetFromSpec(
  name: string,
  spec: z.output<z.ZodObject<typeof subnetFields>>,
  report: Report,
): Subnet {
  const { prefixes } = spec;
  const gateways = prefixes.map(
    (prefix) =>
      spec.gateways.find(({ family }) => family === prefix.family) ?? ipPlus(prefixAddress(prefix), 1n),
  );
  const subnet: Subnet = withoutAbsent({ name, ...spec, gateways });
  prefixes.forEach((prefix, i) => checkPrefix(prefix, i, prefixes, report));
  checkGateways(spec.gateways, prefixes, report);
  checkRanges(subnet, report);
  // The first bit of the first byte: a group address.
  if (subnet.gatewayMac !== undefined && Math.floor(subnet.gatewayMac / 2 ** 40) % 2 === 1)
    report("spec.gatewayMac", formatMac(subnet.gatewayMac), "is a group address; write one of a machine");
  // RFC 8200 section 5.
  if ((subnet.mtuBytes ?? 1280) < 1280 && prefixes.some(({ family }) => family === 6))
    report("spec.mtuBytes", String(subnet.mtuBytes), "is too small for IPv6; write 1280 or more");
  if (subnet.hostLink !== undefined && subnet.hostLink === subnet.hostBridge?.name)
    report("spec.hostBridge.name", subnet.hostLink, "is spec.hostLink too, its port; choose another");
  return subnet;
}

function checkPrefix(prefix: Prefix, index: number, all: readonly Prefix[], report: Report): void {
  const field = `spec.prefixes[${index}]`;
  const text = formatPrefix(prefix);
  if (all.slice(0, index).some(({ family }) => family === prefix.family))
    report(field, text, `is the second of IPv${prefix.family}; make another Subnet for it`);
  const forbidden = NOT_HOSTS.find((other) => prefixesOverlap(other, prefix));
  if (forbidden !== undefined)
    report(field, text, `overlaps ${formatPrefix(forbidden)}, which is reserved; choose another network`);
  // Its own address, the gateway's, a pod's, and the last (IPv4: broadcast).
  const longest = bitsOf(prefix.family) - 2;
  if (prefix.length > longest) report(field, text, `is too small for pods; use /${longest} or larger`);
}

function checkGateways(given: readonly Ip[], prefixes: readonly Prefix[], report: Report): void {
  const seen = new Set<Family>();
  given.forEach((gateway, i) => {
    const field = `spec.gateways[${i}]`;
    const text = formatIp(gateway);
    const prefix = prefixes.find(({ family }) => family === gateway.family);
    if (seen.has(gateway.family)) report(field, text, `is the second of IPv${gateway.family}; keep one`);
    seen.add(gateway.family);
    if (prefix === undefined || !prefixContains(prefix, gateway))
      report(field, text, "is in none of spec.prefixes; write an address of one of them");
    else if (
      ipEqual(gateway, prefixAddress(prefix)) ||
      (gateway.family === 4 && ipEqual(gateway, prefixLast(prefix)))
    )
      report(field, text, `is the first or last address of ${formatPrefix(prefix)}; write one in between`);
  });
}

function checkRanges({ prefixes, reserved, fixed }: Subnet, report: Report): void {
  for (const [name, ranges] of Object.entries({ reserved, fixed }))
    ranges.forEach((range, i) => {
      if (!prefixes.some((prefix) => rangeInside(range, prefix)))
        report(
          `spec.${name}[${i}]`,
          formatAddressRange(range),
          "is not inside one of spec.prefixes; write addresses of one of them",
        );
    });
  fixed.forEach((range, i) => {
    const other = reserved.find((one) => rangesOverlap(one, range));
    if (other !== undefined)
      report(
        `spec.fixed[${i}]`,
        formatAddressRange(range),
        `overlaps ${formatAddressRange(other)} of spec.reserved, which nobody gets; keep one of them`,
      );
  });
}

/** subnetSpec returns the fields of `spec` as JSON. */
export function subnetSpec(subnet: Subnet): { readonly [field: string]: Json } {
  const some = <T>(list: readonly T[], format: (one: T) => string) =>
    list.length === 0 ? undefined : list.map(format);
  return present({
    vpc: subnet.vpc,
    prefixes: subnet.prefixes.map(formatPrefix),
    vni: subnet.vni,
    importTargets: subnet.importTargets && [...subnet.importTargets],
    exportTargets: subnet.exportTargets && [...subnet.exportTargets],
    gateways: some(subnet.gateways, formatIp),
    gatewayMac: subnet.gatewayMac === undefined ? undefined : formatMac(subnet.gatewayMac),
    reserved: some(subnet.reserved, formatAddressRange),
    fixed: some(subnet.fixed, formatAddressRange),
    dnsServers: some(subnet.dnsServers, formatIp),
    mtuBytes: subnet.mtuBytes,
    port: subnet.port,
    underlay: subnet.underlay && subnetUnderlayJson(subnet.underlay),
    hostLink: subnet.hostLink,
    hostBridge: subnet.hostBridge && present({ ...subnet.hostBridge }),
  });
}

/** subnetExample is a manifest for the documentation, tested to be valid. */
export const subnetExample = `apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata:
  name: team-a.web
spec:
  vpc: team-a
  prefixes: [10.1.0.0/24, "fd00:a:1::/64"]   # at most one of a family
  gateways: [10.1.0.1, "fd00:a:1::1"]        # on every node; default: the first
  reserved: [10.1.0.2-10.1.0.9]              # nobody gets these
  fixed: [10.1.0.192/26]                     # only who asks for one of these gets it
  dnsServers: [10.1.0.53]
`;
