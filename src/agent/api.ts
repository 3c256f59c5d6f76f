/**
 * The local interface between the command line and the agent: one JSON line asks, lines of JSON answer.
 *
 * An answer is any number of `{"progress": text}` and then one `{"result": …}` or `{"error": {message}}`.
 * Reading is open to whoever may open ctl.sock; operations in `writing` are root's, judged by SO_PEERCRED.
 */
import { z } from "zod";
import type { BackendName, DataplaneStatus } from "../tunnel/mod.ts";

const texts = z.array(z.string()).max(64);
const text = z.string().max(16384);

/** requestSchema reads one line from whoever may open the socket. */
export const requestSchema = z.discriminatedUnion("op", [
  z.object({ op: z.literal("status") }),
  z.object({ op: z.literal("peers"), name: text.optional() }),
  z.object({ op: z.literal("plan") }),
  z.object({ op: z.literal("node-list") }),
  z.object({ op: z.literal("token-list") }),
  z.object({ op: z.literal("mesh-show") }),
  z.object({ op: z.literal("mesh-apply"), manifest: text }),
  z.object({
    op: z.literal("init"),
    endpoints: texts,
    exposedPorts: texts,
    services: texts.optional(),
    name: text.optional(),
    overlay4: text.optional(),
    overlay6: text.optional(),
    pods4: text.optional(),
    pods6: text.optional(),
    nodeBits: z.number().optional(),
    listenPort: z.number().optional(),
    mtuBytes: z.number().optional(),
  }),
  z.object({
    op: z.literal("join"),
    token: text,
    endpoints: texts,
    name: text.optional(),
    site: text.optional(),
  }),
  z.object({ op: z.literal("leave"), force: z.boolean() }),
  z.object({ op: z.literal("node-remove"), name: text }),
  z.object({ op: z.literal("token-create"), uses: z.number(), expiresMs: z.number(), node: text.optional() }),
  z.object({ op: z.literal("token-revoke"), id: text }),
]);

/** Request is one operation with its arguments. */
export type Request = z.output<typeof requestSchema>;

/** Operation is the name of a request. */
export type Operation = Request["op"];

/** writing lists the operations that change something; only root may ask for them. */
export const writing: ReadonlySet<Operation> = new Set([
  "init",
  "join",
  "leave",
  "mesh-apply",
  "node-remove",
  "token-create",
  "token-list",
  "token-revoke",
]);

/** Identity of this node as shown to people: text, ready to print. */
export interface ShownNode {
  readonly name: string;
  readonly hub: boolean;
  readonly overlay4: string;
  readonly overlay6: string;
  readonly pods4?: string;
  readonly pods6?: string;
  readonly publicKey: string;
}

/** Status of the agent and what it made. */
export interface Status {
  readonly version: string;
  readonly node?: ShownNode;
  readonly mesh?: string;
  readonly tunnel?: {
    readonly backend: BackendName;
    /** Which program or kernel runs it; of our own engine also who encrypts. */
    readonly provider: string;
    /** Why this one was chosen. */
    readonly reason: string;
    /** What is wrong with the program that runs it. */
    readonly problem?: string;
    /** What the process of our own engine says of itself. */
    readonly dataplane?: DataplaneStatus;
    readonly listenPort: number;
    readonly mtuBytes: number;
  };
  readonly hub?: { readonly connected: boolean; readonly revision: number };
  readonly objects: {
    readonly ready: number;
    readonly pending: number;
    readonly failed: readonly { readonly key: string; readonly reason: string }[];
  };
  readonly pods: number;
}

/** ShownPeer is another node as this one reaches it. */
export interface ShownPeer {
  readonly name: string;
  readonly hub: boolean;
  readonly overlay4: string;
  readonly overlay6: string;
  readonly pods4?: string;
  readonly pods6?: string;
  readonly path: "direct" | "hub" | "down";
  readonly endpoint?: string;
  /** Endpoints that a direct tunnel was tried with, best first. */
  readonly candidates: readonly string[];
  /** Why the path is what it is. */
  readonly reason: string;
  readonly lastHandshakeSeconds?: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** Result of each operation. */
export interface Results {
  status: Status;
  peers: { readonly peers: readonly ShownPeer[] };
  plan: {
    readonly steps: readonly { readonly action: string; readonly text: string }[];
    /** What waits for something else, or cannot be done. */
    readonly blocked: readonly { readonly key: string; readonly reason: string }[];
  };
  init: ShownNode;
  join: ShownNode;
  leave: Record<string, never>;
  "node-list": {
    readonly nodes: readonly (ShownNode & {
      readonly site?: string;
      readonly observed?: string;
      readonly heardSeconds?: number;
    })[];
  };
  /** The mesh as a manifest: YAML, and the same as JSON. */
  "mesh-show": { readonly manifest: string; readonly resource: unknown };
  "mesh-apply": { readonly revision: number };
  "node-remove": Record<string, never>;
  "token-create": {
    readonly id: string;
    readonly token: string;
    readonly uses: number;
    readonly expiresAt: string;
  };
  "token-list": {
    readonly tokens: readonly {
      readonly id: string;
      readonly uses: number;
      /** Uses through which a node has registered. */
      readonly used: number;
      /** Uses whose node was heard with its own key. */
      readonly spent: number;
      readonly expiresAt: string;
      readonly revoked?: boolean;
      readonly node?: string;
    }[];
  };
  "token-revoke": Record<string, never>;
}

/** Answer is one line from the agent. */
export type Answer =
  | { readonly progress: string }
  | { readonly result: unknown }
  | { readonly error: { readonly message: string } };
