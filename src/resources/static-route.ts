/** Static routes of a router or a VPC: a network, and where it is, or nowhere. */
import { z } from "zod";
import { formatIp, formatPrefix, type Ip, type Prefix, prefixEqual } from "../net/mod.ts";
import { type Json, present, withoutAbsent } from "./canonical.ts";
import { addressSchema, prefixSchema } from "./scalars.ts";

/** StaticRoute is one of them. Identity: prefix. */
export interface StaticRoute {
  readonly prefix: Prefix;
  /** Next hop, of either family; absent: what goes there is discarded. */
  readonly via?: Ip;
}

/** staticRoutesSchema reads them. */
export const staticRoutesSchema = z
  .array(
    z
      .strictObject(
        { prefix: prefixSchema(), via: addressSchema.optional(), discard: z.literal(true).optional() },
        { error: "is not a route; write {prefix: 0.0.0.0/0, via: 192.0.2.1}, or {prefix: …, discard: true}" },
      )
      .refine(
        ({ via, discard }) => (via === undefined) === (discard === true),
        "leads to one of via and discard; write one of them",
      )
      .transform(({ prefix, via }): StaticRoute => withoutAbsent({ prefix, via })),
  )
  .max(4096);

/** checkRoutes reports routes that are there twice, and those whose next hop cannot carry them (RFC 8950: IPv4 by IPv6, not the reverse). */
export function checkRoutes(
  field: string,
  routes: readonly StaticRoute[],
  report: (field: string, value: string, problem: string) => void,
): void {
  routes.forEach(({ prefix, via }, i) => {
    const text = formatPrefix(prefix);
    if (routes.slice(0, i).some((other) => prefixEqual(other.prefix, prefix)))
      report(`${field}[${i}].prefix`, text, "is there twice; keep one");
    if (prefix.family === 6 && via?.family === 4)
      report(`${field}[${i}].via`, formatIp(via), "is IPv4, and cannot carry IPv6; write one of IPv6");
  });
}

/** staticRoutesJson undoes staticRoutesSchema. */
export function staticRoutesJson(routes: readonly StaticRoute[]): Json | undefined {
  if (routes.length === 0) return undefined;
  return routes.map(({ prefix, via }) =>
    present({
      prefix: formatPrefix(prefix),
      via: via && formatIp(via),
      discard: via === undefined ? true : undefined,
    }),
  );
}
