/**
 * HostSession: plain BGP between a node's edge and what runs on the host beside it (MetalLB, Calico, Cilium, kube-vip), over a link of their
 * own. The edge has the same address on every node, so that one peer serves the whole cluster; each node's host has its own.
 */
import { z } from "zod";
import { type Family, formatPrefix, NOT_HOSTS, type Prefix, prefixesOverlap } from "../net/mod.ts";
import { asnSchema } from "./bgp-neighbor.ts";
import { type Json, present } from "./canonical.ts";
import { checkSession, type EdgeSession, sessionFields, sessionJson, sessionOf } from "./edge-session.ts";
import { linkSchema, prefixSchema } from "./scalars.ts";

/** HostSession is the edge's side of it. */
export interface HostSession extends EdgeSession {
  /** AS number of the edge in this session. */
  readonly asn: number;
  /** AS number of the host, or which side of the border it is on: `internal` (the same), `external` (any other). */
  readonly peerAsn: number | "internal" | "external";
  /** One or two, at most one of a family: first the edge, then a host for each node, by its index. Never change. */
  readonly prefixes: readonly Prefix[];
  /** Name of the link on the host; absent: derived. */
  readonly link?: string;
}

/** peerAsnSchema reads an AS number, or `internal` or `external`. */
export const peerAsnSchema = z.union([asnSchema, z.enum(["internal", "external"])], {
  error: "is not an AS number from 1 to 4294967294, nor internal or external",
});

/** hostSessionFields are the fields of a host session. */
export const hostSessionFields = {
  asn: asnSchema,
  peerAsn: peerAsnSchema,
  prefixes: z
    .array(prefixSchema(), { error: "is not a list of networks; write [192.0.2.0/24]" })
    .min(1, "names no network; write one of IPv4, one of IPv6, or both")
    .max(2, "names more than one network of a family"),
  link: linkSchema.optional(),
  ...sessionFields,
} as const;

/** hostSessionSchema reads a host session. */
export const hostSessionSchema = z
  .strictObject(hostSessionFields, {
    error: "is not a host session; write {asn: 64514, peerAsn: 64515, prefixes: [192.0.2.0/24]}",
  })
  .transform((given): HostSession => sessionOf(given));

type Report = (field: string, value: string, problem: string) => void;

/** checkHostSession reports what cannot be. */
export function checkHostSession(
  field: string,
  session: HostSession,
  report: Report,
  { sameAsn }: { readonly sameAsn: boolean },
): void {
  checkSession(field, session, report);
  checkPools(`${field}.prefixes`, session.prefixes, report);
  session.prefixes.forEach((prefix, i) => {
    // The edge, and a host.
    const longest = prefix.family === 4 ? 30 : 126;
    if (prefix.length > longest)
      report(
        `${field}.prefixes[${i}]`,
        formatPrefix(prefix),
        `is too small for a link; use /${longest} or larger`,
      );
  });
  if (!sameAsn && session.peerAsn === session.asn)
    report(`${field}.peerAsn`, `${session.peerAsn}`, "is asn too; write internal, or another AS number");
}

/** checkPools reports a second network of a family, and networks in which no machine can be. */
export function checkPools(field: string, pools: readonly Prefix[], report: Report): void {
  const seen = new Set<Family>();
  pools.forEach((pool, i) => {
    const text = formatPrefix(pool);
    if (seen.has(pool.family)) report(`${field}[${i}]`, text, `is the second of IPv${pool.family}; keep one`);
    seen.add(pool.family);
    const forbidden = NOT_HOSTS.find((other) => prefixesOverlap(other, pool));
    if (forbidden !== undefined)
      report(
        `${field}[${i}]`,
        text,
        `overlaps ${formatPrefix(forbidden)}, which is reserved; choose another network`,
      );
  });
}

/** hostSessionJson undoes hostSessionSchema. */
export function hostSessionJson(session: HostSession): { readonly [field: string]: Json } {
  return present({
    asn: session.asn,
    peerAsn: session.peerAsn,
    prefixes: session.prefixes.map(formatPrefix),
    link: session.link,
    ...sessionJson(session),
  });
}
