/** Fields of claims, as commands and the sync protocol spell them. */
import { z } from "zod";
import type { Grant } from "../ipam/mod.ts";
import { formatPrefix, type Ip, tryParseIp } from "../net/mod.ts";
import { type Json, prefixSchema } from "../resources/mod.ts";
import { MAX_CLAIMED_AT_ONCE } from "./claim-limits.ts";

/** ipText reads an address. */
export const ipText = z.string().transform((text, context): Ip => {
  const ip = tryParseIp(text);
  if (ip !== undefined) return ip;
  context.addIssue({ code: "custom", message: "is not an address" });
  return z.NEVER;
});

/** grantNumber is the number of a grant, which is never given twice. */
export const grantNumber = z.number().int().min(1);

/** familySchema reads 4 or 6. */
export const familySchema = z.literal([4, 6]);

/** ownerSchema reads to whom a fixed address belongs, as `vm team-a/db`. */
export const ownerSchema = z.string().min(1).max(253);

/** wantsSchema reads how many blocks of which family are wanted. */
export const wantsSchema = z
  .array(z.object({ family: familySchema, count: z.number().int().min(1).max(MAX_CLAIMED_AT_ONCE) }))
  .min(1)
  .max(2);

/** grantSchema reads a grant. */
export const grantSchema = z.object({
  number: grantNumber,
  subnet: z.string().min(1).max(253),
  block: prefixSchema(),
  usable: z.number().int().min(0).max(0xffff),
});

/** grantJson writes a grant. */
export function grantJson({ number, subnet, block, usable }: Grant): Json {
  return { number, subnet, block: formatPrefix(block), usable };
}
