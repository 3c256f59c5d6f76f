/**
 * The sync protocol: JSON lines over TCP on the overlay, by which nodes follow the register. A node is known by the overlay
 * address that it comes from, and by nothing else.
 *
 * ```
 * node ─▶ hello{version,header?,facts}                      hub ─▶ state{from?,set,remove,header}   signed, see signed-state.ts
 *      ─▶ facts{…}                                              ─▶ probe{peer,inMs}   both sides try at that moment
 *      ─▶ invite{peer} resync leave ping                        ─▶ left pong refused{code,message}
 * ```
 */
import { z } from "zod";
import { endpointSchema } from "../resources/mod.ts";
import { stateMessageSchema } from "./signed-state.ts";

/** SYNC_VERSION is raised when old hubs and nodes cannot understand each other. */
export const SYNC_VERSION = 2;

/** NODE_LINE_BYTES bounds a node's line: a hello. */
export const NODE_LINE_BYTES = 16 * 1024;

/** HUB_LINE_BYTES bounds the hub's line: a whole register. */
export const HUB_LINE_BYTES = 64 * 1024 * 1024;

const name = z.string().min(1).max(253);

/** factsSchema is what a node finds out about itself. */
export const factsSchema = z.object({
  local: z.array(endpointSchema).max(16),
  mapped: z.array(endpointSchema).max(8),
  // The range of Node.status.mtuBytes: another value would make the node's entry unreadable for all.
  mtuBytes: z.number().int().min(1280).max(65535).optional(),
  version: z.string().max(64),
});

/** NodeFacts is what a node tells the hub of itself. */
export type NodeFacts = z.output<typeof factsSchema>;

/** nodeMessage is what a node sends. */
export const nodeMessage = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("hello"),
    version: z.number().int(),
    header: stateMessageSchema.shape.header.optional(),
    facts: factsSchema,
  }),
  z.object({ type: z.literal("facts"), facts: factsSchema }),
  z.object({ type: z.literal("invite"), peer: name }),
  z.object({ type: z.literal("resync") }),
  z.object({ type: z.literal("leave") }),
  z.object({ type: z.literal("ping") }),
]);

/** registerEvent is what the hub sends. */
export const registerEvent = z.discriminatedUnion("type", [
  stateMessageSchema,
  z.object({ type: z.literal("probe"), peer: name, inMs: z.number().min(0).max(10_000) }),
  z.object({ type: z.literal("left") }),
  z.object({ type: z.literal("pong") }),
  z.object({ type: z.literal("refused"), code: z.string().max(64), message: z.string().max(1024) }),
]);

/** PING_MS between signs of life; a side that hears nothing for SILENCE_MS hangs up. */
export const PING_MS = 10_000;
export const SILENCE_MS = 35_000;
