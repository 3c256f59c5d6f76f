/**
 * The sync protocol: JSON lines over TCP on the overlay, by which nodes follow the register. A node is known by the overlay
 * address that it comes from, and by nothing else.
 *
 * ```
 * node ─▶ hello{version,header?,facts,read?}                hub ─▶ state{from?,set,remove,header}   signed, see signed-state.ts
 *      ─▶ facts{…}                                              ─▶ facts{book,version,facts}   see facts.ts
 *                                                               ─▶ probe{peer,inMs}   both sides try at that moment
 *      ─▶ removals{list} of the operator                        ─▶ removals{list} of the register   see removal.ts
 *      ─▶ rotate{now,next,proof} psk{peers}                     ─▶ rotate psk{keys}   see rotation.ts, pair-key.ts
 *      ─▶ claim{id,…} claim-address{id,…} return{id,numbers}    ─▶ answer{id,grants?,owned?,refused?}   see node-claims.ts
 *      ─▶ grants{id} usage{used}
 *      ─▶ invite{peer} resync leave ping                        ─▶ left pong refused{code,message}
 * ```
 */
import { z } from "zod";
import { familySchema, grantNumber, grantSchema, ipText, ownerSchema, wantsSchema } from "./claim-fields.ts";
import { MAX_GRANTS_OF_NODE, MAX_KNOWN, MAX_RETURNED_AT_ONCE, MAX_TOLD_USES } from "./claim-limits.ts";
import { factSchema, factsSchema } from "./facts.ts";
import { publicKeySchema } from "../resources/mod.ts";
import { MAX_PSK_PEERS, sealedKeySchema } from "./pair-keys.ts";
import { removalSchema, removalsSchema } from "./removal.ts";
import { stateMessageSchema } from "./signed-state.ts";

/** SYNC_VERSION is raised when old hubs and nodes cannot understand each other. */
export const SYNC_VERSION = 2;

/** NODE_LINE_BYTES bounds a node's line: a hello. */
export const NODE_LINE_BYTES = 16 * 1024;

/** HUB_LINE_BYTES bounds the hub's line: a whole register. */
export const HUB_LINE_BYTES = 64 * 1024 * 1024;

/** MAX_TOLD_REMOVALS is how many removals a node tells its hub in one line. */
export const MAX_TOLD_REMOVALS = 32;

const askId = z.number().int().min(1);

const name = z.string().min(1).max(253);

/** Each hub numbers the changes of its facts anew whenever it starts: `book` names the numbers. */
const factsRead = z.object({ book: z.string().max(64), version: z.number().int().min(0) });

/** nodeMessage is what a node sends. */
export const nodeMessage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    version: z.number().int(),
    header: stateMessageSchema.shape.header.optional(),
    facts: factsSchema,
    /** How far it has read a hub's facts. */
    read: factsRead.optional(),
    /** Revision of the newest removal that it has heard of. */
    removedTo: z.number().int().min(0).optional(),
  }),
  z.object({ type: z.literal("facts"), facts: factsSchema }),
  z.object({ type: z.literal("invite"), peer: name }),
  /** The operator's; the register's own are the hub's to tell. */
  z.object({ type: z.literal("removals"), list: z.array(removalSchema).max(MAX_TOLD_REMOVALS) }),
  /** The node's next key, with the proof that it holds the private half (rotation.ts). */
  z.object({
    type: z.literal("rotate"),
    now: publicKeySchema,
    next: publicKeySchema,
    proof: z.string().max(64),
  }),
  z.object({ type: z.literal("psk"), peers: z.array(name).max(MAX_PSK_PEERS) }),
  /** Addresses of subnets, for the node itself. Each is answered by its id, and may be asked again after a loss. */
  z.object({
    type: z.literal("claim"),
    id: askId,
    subnet: name,
    wants: wantsSchema,
    have: z.array(grantNumber).max(MAX_KNOWN),
  }),
  z.object({
    type: z.literal("claim-address"),
    id: askId,
    subnet: name,
    family: familySchema,
    address: ipText.optional(),
    owner: ownerSchema.optional(),
    outOf: z.array(grantNumber).max(2).optional(),
  }),
  z.object({
    type: z.literal("return"),
    id: askId,
    numbers: z.array(grantNumber).min(1).max(MAX_RETURNED_AT_ONCE),
  }),
  /** All grants of the node. */
  z.object({ type: z.literal("grants"), id: askId }),
  /** How many addresses of grants are leased, for people. */
  z.object({
    type: z.literal("usage"),
    used: z.array(z.tuple([grantNumber, z.number().int().min(0).max(16)])).max(MAX_TOLD_USES),
  }),
  z.object({ type: z.literal("resync") }),
  z.object({ type: z.literal("leave") }),
  z.object({ type: z.literal("ping") }),
]);

/** ClaimRequest is what a node asks about addresses of subnets. */
export type ClaimRequest = Extract<z.output<typeof nodeMessage>, { readonly id: number }>;

/** answerSchema is what the hub answers to a ClaimRequest. */
export const answerSchema = z.object({
  type: z.literal("answer"),
  id: askId,
  grants: z.array(grantSchema).max(MAX_GRANTS_OF_NODE).optional(),
  owned: ipText.optional(),
  refused: z.object({ code: z.string().max(64), message: z.string().max(1024) }).optional(),
});

/** ClaimAnswer is the answer, read. */
export type ClaimAnswer = z.output<typeof answerSchema>;

/** factsMessage carries facts that changed, to nodes and between hubs. */
export const factsMessage = factsRead.extend({ type: z.literal("facts"), facts: z.array(factSchema) });

/** registerEvent is what the hub sends. */
export const registerEvent = z.discriminatedUnion("type", [
  stateMessageSchema,
  z.object({ type: z.literal("probe"), peer: name, inMs: z.number().min(0).max(10_000) }),
  factsMessage,
  z.object({ type: z.literal("removals"), list: removalsSchema }),
  /** The operator wants the node to change its key. */
  z.object({ type: z.literal("rotate") }),
  z.object({ type: z.literal("psk"), keys: z.array(sealedKeySchema).max(4 * MAX_PSK_PEERS) }),
  answerSchema,
  z.object({ type: z.literal("left") }),
  z.object({ type: z.literal("pong") }),
  z.object({ type: z.literal("refused"), code: z.string().max(64), message: z.string().max(1024) }),
]);

/** PING_MS between signs of life; a side that hears nothing for SILENCE_MS hangs up. */
export const PING_MS = 10_000;
export const SILENCE_MS = 35_000;
/** The same of a node that has another hub to go to. */
export const PING_OF_SEVERAL_MS = 4_000;
export const SILENCE_OF_SEVERAL_MS = 11_000;
