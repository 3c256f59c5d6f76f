/**
 * What hubs say to each other: JSON lines over TCP on the overlay, on the same port as nodes. Each hub connects to each other one and
 * speaks on the connection that it made; the other only answers.
 *
 * ```
 * hub ─▶ hub{version}  facts{book,version,facts,edges?}  invite{from,to}  ping{revision,position,problem?}
 *     ◀─ pong{revision,position,problem?}
 * ```
 * None of it is a write: that goes through the log (register-log.ts). So it works without etcd.
 */
import { z } from "zod";
import { edgeFactSchema } from "./edge-book.ts";
import { factsMessage } from "./sync-protocol.ts";

/** HUB_VERSION is raised when hubs cannot understand each other. */
export const HUB_VERSION = 1;

const name = z.string().min(1).max(253);

const health = z.object({
  revision: z.number().int().min(0),
  position: z.number().int().min(0),
  /** Why it cannot write. */
  problem: z
    .string()
    .transform((text) => text.slice(0, 1024))
    .exactOptional(),
});

/** HubHealth is what a hub says of its register. */
export type HubHealth = z.output<typeof health>;

/** hubHello is the first line of a hub's connection. */
export const hubHello = z.object({ type: z.literal("hub"), version: z.number().int() });

/** hubLine is what follows. */
export const hubLine = z.discriminatedUnion("type", [
  // A hub of an older version reads the rest.
  factsMessage.extend({ edges: z.array(edgeFactSchema).default([]) }),
  z.object({ type: z.literal("invite"), from: name, to: name }),
  health.extend({ type: z.literal("ping") }),
]);

/** hubAnswer is what comes back. */
export const hubAnswer = z.discriminatedUnion("type", [
  health.extend({ type: z.literal("pong") }),
  z.object({ type: z.literal("refused"), code: z.string().max(64), message: z.string().max(1024) }),
]);

/** HUB_PING_MS between signs of life of hubs; after HUB_SILENCE_MS the connection is made anew. */
export const HUB_PING_MS = 2_000;
export const HUB_SILENCE_MS = 7_000;
