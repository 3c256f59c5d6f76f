/** Neighbors of an Underlay: routers of the fabric, by address, by link (unnumbered), or whoever calls from a network. */
import { z } from "zod";
import { formatIp, formatPrefix, type Ip, parsePrefix, type Prefix, prefixesOverlap } from "../net/mod.ts";
import { type Json, present } from "./canonical.ts";
import { checkSession, type EdgeSession, sessionFields, sessionJson, sessionOf } from "./edge-session.ts";
import { peerAsnSchema } from "./host-session.ts";
import { addressSchema, linkSchema, prefixSchema, wholeNumber } from "./scalars.ts";

/** fabricFamilies are the families of routes that a session with the fabric can carry. */
export const fabricFamilies = ["ipv4-unicast", "ipv6-unicast", "l2vpn-evpn"] as const;

/** FabricFamily is one of them. */
export type FabricFamily = (typeof fabricFamilies)[number];

/** UnderlayNeighbor is one session with the fabric, or many (`listen`). One of address, link and listen is there. */
export interface UnderlayNeighbor extends EdgeSession {
  readonly address?: Ip;
  /** Unnumbered: found on this link of the Underlay. */
  readonly link?: string;
  readonly listen?: Prefix;
  /** How many at once with `listen`. */
  readonly limit?: number;
  readonly asn: number | "internal" | "external";
  /** Routers on the way at most, for an external neighbor that is not on the link: 1 to 255. */
  readonly multihop?: number;
  /** Absent: as the Underlay's endpoint and host sessions need, whatever VPCs there are (neighborFamilies). */
  readonly families?: Readonly<Partial<Record<FabricFamily, FamilyWish>>>;
}

/** FamilyWish is what a session does with one family. */
export interface FamilyWish {
  /** RFC 4456; for internal neighbors. */
  readonly routeReflectorClient?: boolean;
}

const familySchema = z.strictObject(
  { routeReflectorClient: z.boolean({ error: "is not true or false" }).exactOptional() },
  { error: "is not the options of a family; write {routeReflectorClient: true}, or {} for none" },
);

/** underlayNeighborSchema reads one neighbor. */
export const underlayNeighborSchema = z
  .strictObject(
    {
      address: addressSchema.optional(),
      link: linkSchema.optional(),
      listen: prefixSchema().optional(),
      limit: wholeNumber(1, 65535).optional(),
      asn: peerAsnSchema,
      multihop: wholeNumber(1, 255).optional(),
      families: z
        .partialRecord(z.enum(fabricFamilies), familySchema, {
          error: `is not a set of the families ${fabricFamilies.join(", ")}; write {l2vpn-evpn: {}}`,
        })
        .refine((families) => Object.keys(families).length > 0, {
          error: "names no family; leave it out",
          abort: true,
        })
        .optional(),
      ...sessionFields,
    },
    { error: "is not a neighbor; write {address: 192.0.2.1, asn: 64512}" },
  )
  .transform((given) => sessionOf(given) as UnderlayNeighbor);

/** underlayNeighborName is how people call a neighbor: its address, its link, or its network. */
export function underlayNeighborName({ address, link, listen }: UnderlayNeighbor): string {
  if (address !== undefined) return formatIp(address);
  return link ?? (listen === undefined ? "" : formatPrefix(listen));
}

type Report = (field: string, value: string, problem: string) => void;

const LINK_LOCAL = parsePrefix("fe80::/10");

/** checkNeighbors reports neighbors that cannot be, alone or together. */
export function checkNeighbors(
  neighbors: readonly UnderlayNeighbor[],
  { asn, links }: { readonly asn: number; readonly links: readonly { readonly name: string }[] },
  report: Report,
): void {
  const seen = new Set<string>();
  neighbors.forEach((neighbor, i) => {
    const field = `spec.neighbors[${i}]`;
    const ways = (["address", "link", "listen"] as const).filter((way) => neighbor[way] !== undefined);
    const name = underlayNeighborName(neighbor);
    if (ways.length === 0)
      report(field, "", "names no neighbor; add address, link for an unnumbered one, or listen");
    if (ways.length > 1) report(field, name, `has ${ways.join(" and ")}; keep one of them`);
    if (ways.length === 1 && seen.has(name))
      report(field, name, `is there twice; only one neighbor is allowed for each ${ways[0]}`);
    seen.add(name);
    if (neighbor.link !== undefined && !links.some((one) => one.name === neighbor.link))
      report(`${field}.link`, neighbor.link, "is no link of this Underlay; add it to spec.links");
    checkListen(neighbors, i, report);
    const internal = neighbor.asn === "internal" || neighbor.asn === asn;
    if (neighbor.multihop !== undefined && internal)
      report(`${field}.multihop`, `${neighbor.multihop}`, "is for external neighbors only; remove it");
    for (const [family, { routeReflectorClient }] of Object.entries(neighbor.families ?? {}))
      if (routeReflectorClient === true && !internal)
        report(
          `${field}.families.${family}.routeReflectorClient`,
          "true",
          "is for internal neighbors only; remove it, or write asn: internal (RFC 4456)",
        );
    checkSession(field, neighbor, report);
  });
}

function checkListen(neighbors: readonly UnderlayNeighbor[], index: number, report: Report): void {
  const { listen, limit } = neighbors[index] as UnderlayNeighbor;
  const field = `spec.neighbors[${index}]`;
  if (listen === undefined) {
    if (limit !== undefined) report(`${field}.limit`, `${limit}`, "is for listen only; remove it");
    return;
  }
  const text = formatPrefix(listen);
  if (prefixesOverlap(listen, LINK_LOCAL))
    report(`${field}.listen`, text, "is link-local; name the link instead (unnumbered)");
  neighbors.slice(0, index).forEach((other, j) => {
    if (other.listen !== undefined && prefixesOverlap(other.listen, listen))
      report(
        `${field}.listen`,
        text,
        `overlaps ${formatPrefix(other.listen)} of spec.neighbors[${j}]; choose networks that share no address`,
      );
  });
}

/** underlayNeighborJson undoes underlayNeighborSchema. */
export function underlayNeighborJson(neighbor: UnderlayNeighbor): { readonly [field: string]: Json } {
  const { address, link, listen, limit, asn, multihop, families } = neighbor;
  return present({
    address: address && formatIp(address),
    link,
    listen: listen && formatPrefix(listen),
    limit,
    asn,
    multihop,
    families: families as Json | undefined,
    ...sessionJson(neighbor),
  });
}
