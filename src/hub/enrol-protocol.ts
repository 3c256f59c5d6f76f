/**
 * The enrolment protocol: JSON lines over TCP inside the tunnel, to the first address of the enrolment prefix.
 *
 * ```
 * hub  ─▶ {"type":"nonce","nonce":…}
 *      ◀─ {"type":"register","request":{version,name,publicKey,endpoints,site},"proof":…}   newcomer
 * hub  ─▶ {"type":"welcome","name":…,"state":…}  or  {"type":"refused","code":…,"message":…,"freeUses":[…]}
 * ```
 * The use of the token is known by the source address. The state is signed for the node, so a newcomer need not trust the wire.
 */
import { z } from "zod";
import { hostPortSchema, publicKeySchema, siteSchema } from "../resources/mod.ts";
import { NONCE_BYTES } from "./proof.ts";
import type { RefusalCode } from "./refusal.ts";
import { stateMessageSchema } from "./signed-state.ts";

/** ENROL_LINE_BYTES bounds what a newcomer may send in one line. */
export const ENROL_LINE_BYTES = 4096;

/** ENROL_VERSION is raised when old hubs and newcomers cannot understand each other. */
export const ENROL_VERSION = 1;

function base64(length: number) {
  return z.string().transform((text, context) => {
    const bytes = new Uint8Array(Buffer.from(text, "base64"));
    // Only the one canonical text of these bytes.
    if (bytes.length === length && Buffer.from(bytes).toString("base64") === text) return bytes;
    context.addIssue({ code: "custom", message: `is not ${length} bytes of base64` });
    return z.NEVER;
  });
}

/** registerRequest is the part that the proof covers, as sent. */
export const registerRequest = z.object({
  version: z.number().int(),
  name: z.string().max(253),
  publicKey: publicKeySchema,
  endpoints: z.array(hostPortSchema).max(8),
  site: siteSchema.optional(),
});

/** registerMessage is the newcomer's only message. */
export const registerMessage = z.object({
  type: z.literal("register"),
  // Kept as sent: the proof is over these very values.
  request: z.record(z.string(), z.json()),
  proof: base64(32),
});

/** refusedMessage is the hub's no. */
export const refusedMessage = z.object({
  type: z.literal("refused"),
  code: z.string().max(64),
  message: z.string().max(1024),
  freeUses: z.array(z.number().int().min(0)).max(256).optional(),
});

/** RefusedMessage is the hub's no, as it sends it. */
export type RefusedMessage = Omit<z.input<typeof refusedMessage>, "code"> & { readonly code: RefusalCode };

/** hubMessage is what the hub sends to newcomers. */
export const hubMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("nonce"), nonce: base64(NONCE_BYTES) }),
  z.object({
    type: z.literal("welcome"),
    name: z.string().max(253),
    state: stateMessageSchema,
    /** For a hub: see hub-secret.ts. */
    secret: z.string().max(8192).optional(),
  }),
  refusedMessage,
]);
