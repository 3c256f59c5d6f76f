/** What is said on the BFD process's socket: one JSON line asks, lines of JSON answer. */
import { z } from "zod";
import type { BfdDiagnostic, BfdState } from "./packet.ts";

/** bfdSessionSchema reads one wished session. Addresses are text here, since this is a message between processes. */
const bfdSessionSchema = z.strictObject({
  /** Path of a network namespace; absent: the process's own. */
  netns: z.string().min(1).optional(),
  peer: z.string().min(1),
  /** The address of ours; absent: what routing chooses. */
  local: z.string().min(1).optional(),
  /** The interface; needed for a link-local peer. */
  link: z.string().min(1).max(15).optional(),
  /** Routers on the way at most: RFC 5883. Absent: single hop, RFC 5881. */
  multihop: z.number().int().min(1).max(255).optional(),
  transmitMs: z.number().min(10).max(60_000),
  receiveMs: z.number().min(10).max(60_000),
  multiplier: z.number().int().min(1).max(255),
  passive: z.boolean().optional(),
  /** What comes with less is discarded; only with `multihop`, where otherwise that says it. */
  minimumTtl: z.number().int().min(1).max(254).optional(),
});

/** BfdWish is a session that is wished for. */
export type BfdWish = z.output<typeof bfdSessionSchema>;

/** bfdRequestSchema reads one line. */
export const bfdRequestSchema = z.discriminatedUnion("op", [
  /** These sessions and, unless `keepOthers`, no others; what is the same goes on untouched. */
  z.object({
    op: z.literal("set"),
    sessions: z.array(bfdSessionSchema).max(10_000),
    keepOthers: z.boolean().default(false),
    /** Ids of others that end all the same. */
    ended: z.array(z.string()).max(10_000).default([]),
  }),
  z.object({ op: z.literal("status") }),
  /** As status, and then a line `{"changed": …}` for each change of state until the connection ends. */
  z.object({ op: z.literal("watch") }),
]);

/** BfdRequest is one operation. */
export type BfdRequest = z.output<typeof bfdRequestSchema>;

/** BfdSessionStatus is what is shown of a session. */
export interface BfdSessionStatus {
  readonly id: string;
  readonly netns?: string | undefined;
  readonly peer: string;
  readonly local?: string | undefined;
  readonly link?: string | undefined;
  readonly multihop?: number | undefined;
  readonly state: BfdState;
  readonly diagnostic: BfdDiagnostic;
  readonly remoteState: BfdState;
  /** Whether the neighbor's BFD outlives its control plane (RFC 5882 section 4.3). */
  readonly remoteIndependent: boolean;
  readonly transmitMs: number;
  readonly detectionMs: number;
  readonly sinceSeconds: number;
  readonly sent: number;
  readonly received: number;
  readonly downs: number;
  /** Why packets cannot be sent. */
  readonly problem?: string | undefined;
}

/** BfdStatus is the process's answer. */
export interface BfdStatus {
  readonly build: string;
  readonly pid: number;
  readonly sessions: readonly BfdSessionStatus[];
  /** Packets that fitted no session or were refused. */
  readonly discarded: number;
  readonly problems: readonly string[];
}

/** bfdSessionId is a session's name: all that tells it from others. */
export function bfdSessionId(wish: Pick<BfdWish, "netns" | "peer" | "link" | "multihop">): string {
  const link = wish.link === undefined ? "" : `%${wish.link}`;
  const kind = wish.multihop === undefined ? "" : " multihop";
  return `${wish.netns === undefined ? "" : `${wish.netns} `}${wish.peer}${link}${kind}`;
}
