/**
 * The local interface between the command line and the agent: one JSON line asks, lines of JSON answer.
 *
 * An answer is any number of `{"progress": text}` and then one `{"result": …}` or `{"error": {message}}`.
 * Reading is open to whoever may open ctl.sock; operations in `writing` are root's, judged by SO_PEERCRED.
 */
import { z } from "zod";
import type { TlsStatus } from "../tunnel/tls/mod.ts";
import type { BackendName, DataplaneStatus } from "../tunnel/mod.ts";
import type { RelayStatus } from "../tunnel/relay/mod.ts";
import type { NatKind } from "../mesh/mod.ts";
import { removalSchema } from "../hub/mod.ts";
import type { EdgeState, MemberStatus } from "../hub/mod.ts";
import {
  type Json,
  labelChangeSchema,
  type NodeLabels,
  type TenantKind,
  tenantKinds,
} from "../resources/mod.ts";
import type { ShownEdge } from "./cluster-bgp.ts";
import { etcdGiven } from "./etcd-config.ts";
import { importedSchema } from "./imported.ts";
import type { ShownVpc } from "./vpc-shown.ts";
import { tlsGiven } from "./tls-wish.ts";

const texts = z.array(z.string()).max(64);
const text = z.string().max(16384);
const tenantKind = z.enum(Object.keys(tenantKinds) as [TenantKind, ...TenantKind[]]);

/** requestSchema reads one line from whoever may open the socket. */
export const requestSchema = z.discriminatedUnion("op", [
  z.object({ op: z.literal("status") }),
  z.object({ op: z.literal("peers"), name: text.optional() }),
  z.object({ op: z.literal("metrics") }),
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
    imported: importedSchema.optional(),
    etcd: etcdGiven.optional(),
  }),
  z.object({
    op: z.literal("join"),
    token: text,
    endpoints: texts,
    name: text.optional(),
    site: text.optional(),
    etcd: etcdGiven.optional(),
    tls: tlsGiven.optional(),
  }),
  z.object({ op: z.literal("hub-list") }),
  z.object({ op: z.literal("hub-remove"), name: text }),
  z.object({ op: z.literal("hub-migrate"), etcd: etcdGiven }),
  /** `edge`: that of files too. */
  z.object({ op: z.literal("leave"), force: z.boolean(), edge: z.boolean().optional() }),
  z.object({ op: z.literal("node-remove"), name: text }),
  z.object({ op: z.literal("node-announce"), prefix: text, withdraw: z.boolean() }),
  z.object({ op: z.literal("node-approve"), node: text, prefix: text, revoke: z.boolean() }),
  z.object({ op: z.literal("peer-list") }),
  z.object({
    op: z.literal("peer-add"),
    name: text,
    publicKey: text,
    presharedKey: text.optional(),
    allowed: texts,
    endpoint: text.optional(),
    role: text.optional(),
    site: text.optional(),
  }),
  z.object({ op: z.literal("peer-remove"), name: text }),
  z.object({
    op: z.literal("token-create"),
    uses: z.number(),
    expiresMs: z.number(),
    node: text.optional(),
    role: text.optional(),
    site: text.optional(),
  }),
  z.object({ op: z.literal("token-revoke"), id: text, reason: text.optional() }),
  z.object({ op: z.literal("may-talk"), a: text, b: text }),
  z.object({ op: z.literal("node-label"), name: text, labels: labelChangeSchema }),
  z.object({ op: z.literal("node-assign"), name: text, role: text.optional(), site: text.optional() }),
  z.object({ op: z.literal("node-rotate"), name: text.optional(), dropFormer: z.boolean().optional() }),
  z.object({ op: z.literal("psk-rotate") }),
  z.object({ op: z.literal("operator-set"), key: text, replace: z.boolean() }),
  z.object({ op: z.literal("removal-add"), removal: removalSchema }),
  z.object({ op: z.literal("vpc-status"), name: text.optional() }),
  z.object({ op: z.literal("vpc-addresses"), subnet: text.optional() }),
  z.object({ op: z.literal("vpc-release"), subnet: text, address: text }),
  z.object({
    op: z.literal("resource-apply"),
    resources: z.array(z.custom<Json>()).min(1).max(4096),
    force: z.boolean().optional(),
  }),
  z.object({ op: z.literal("resource-get"), kind: tenantKind.optional(), name: text.optional() }),
  z.object({
    op: z.literal("resource-delete"),
    resources: z
      .array(z.object({ kind: tenantKind, name: text }))
      .min(1)
      .max(4096),
    force: z.boolean(),
  }),
]);

/** Request is one operation with its arguments. */
export type Request = z.output<typeof requestSchema>;

/** Operation is the name of a request. */
export type Operation = Request["op"];

/** writing lists the operations that change something; only root may ask for them. */
export const writing: ReadonlySet<Operation> = new Set([
  "hub-migrate",
  "hub-remove",
  "init",
  "join",
  "leave",
  "mesh-apply",
  "node-announce",
  "node-approve",
  "node-assign",
  "node-label",
  "node-remove",
  "node-rotate",
  "operator-set",
  "peer-add",
  "peer-remove",
  "psk-rotate",
  "removal-add",
  "resource-apply",
  "resource-delete",
  "token-create",
  "token-list",
  "token-revoke",
  "vpc-release",
]);

/** costly lists the reading operations that dump the kernel or ask other machines: each is done once at a time. */
export const costly: ReadonlySet<Operation> = new Set(["hub-list", "metrics", "plan"]);

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

/** ShownTls is what the process for TLS says, but for the names of sessions, which are secrets. */
export type ShownTls = Omit<TlsStatus, "hubs"> & {
  readonly hubs: readonly Omit<TlsStatus["hubs"][number], "session">[];
};

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
  readonly hub?: {
    readonly connected: boolean;
    readonly revision: number;
    /** The hub that the register is followed through. */
    readonly followed?: string;
    /** What this node knows is too old, or will soon be (Mesh.spec.snapshotMaxAge). */
    readonly problem?: string;
    /** On a hub: whether the register can be written. */
    readonly writes?: {
      readonly register: "sqlite" | "etcd";
      readonly possible: boolean;
      readonly problem?: string;
    };
  };
  /** On a hub: what it relays, and the rate of each pair of nodes (Mesh.spec.relayRate). */
  readonly relay?: RelayStatus & { readonly bitsPerSecond?: number };
  /** How the network names this node to others (RFC 4787): `none`, `endpoint-independent`, `endpoint-dependent`, `unknown`. */
  readonly nat?: NatKind;
  /** What this node's routers let in: a line for each. */
  readonly portMappings: readonly string[];
  /** The TLS way to hubs, or on a hub the door for those that come by it. */
  readonly tls?: { readonly using: boolean; readonly status: ShownTls };
  readonly objects: {
    readonly ready: number;
    readonly pending: number;
    readonly failed: readonly { readonly key: string; readonly reason: string }[];
  };
  readonly pods: number;
  /** This node's routers in data-centre fabrics (docs/edge.md). */
  readonly edge?: ShownEdge;
}

/** ShownPeer is another node as this one reaches it. */
export interface ShownPeer {
  readonly name: string;
  readonly hub: boolean;
  readonly overlay4: string;
  readonly overlay6: string;
  readonly pods4?: string;
  readonly pods6?: string;
  /** Rung of the ladder: same LAN, an address that anybody can call, one that both sides must call, a hub that relays. */
  readonly path: "lan" | "direct" | "punched" | "relay" | "down";
  readonly endpoint?: string;
  /** The hub that relays. */
  readonly relay?: string;
  readonly rttMs?: number;
  /** The largest IP packet that the path carries. */
  readonly mtuBytes?: number;
  /** Where it was tried, best first. */
  readonly candidates: readonly {
    readonly endpoint: string;
    readonly rung: string;
    readonly source: string;
    readonly state: string;
    readonly rttMs?: number;
    readonly why: string;
  }[];
  /** Why the path is what it is. */
  readonly reason: string;
  readonly lastHandshakeSeconds?: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** ShownExternal is an external peer; where it was heard is known at the hub that carries it. */
export interface ShownExternal {
  readonly name: string;
  readonly hub: string;
  readonly publicKey: string;
  readonly overlay4?: string;
  readonly overlay6?: string;
  readonly allowed: readonly string[];
  readonly presharedKey: boolean;
  readonly role?: string;
  readonly site?: string;
  readonly endpoint?: string;
  readonly lastHandshakeSeconds?: number;
  /** Why it is not carried. */
  readonly problem?: string;
}

/** Result of each operation. */
export interface Results {
  status: Status;
  peers: { readonly peers: readonly ShownPeer[] };
  /** As Prometheus reads it. */
  metrics: { readonly text: string };
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
      /** As rules see it. */
      readonly role: string;
      readonly site?: string;
      readonly labels?: NodeLabels;
      /** Networks behind the node that are routed to it, and those that it asks for. */
      readonly subnets?: readonly string[];
      readonly announced?: readonly string[];
      readonly observed?: string;
      readonly heardSeconds?: number;
      /** On a hub: what of resources is not, or not wholly, in the node's edge in fabrics, and how much more there is. */
      readonly edge?: EdgeState;
    })[];
  };
  /** The mesh as a manifest: YAML, and the same as JSON. */
  "mesh-show": { readonly manifest: string; readonly resource: unknown };
  "mesh-apply": { readonly revision: number };
  "node-remove": Record<string, never>;
  "node-announce": { readonly announced: readonly string[]; readonly approved: readonly string[] };
  "node-approve": { readonly subnets: readonly string[] };
  "hub-list": {
    readonly hubs: readonly {
      readonly name: string;
      readonly self: boolean;
      readonly connected: boolean;
      readonly rttMs?: number;
      readonly revision?: number;
      /** Entry of the log that it has come to. */
      readonly position?: number;
      /** Why it cannot write. */
      readonly problem?: string;
    }[];
    /** Of etcd. */
    readonly members: readonly MemberStatus[];
  };
  "hub-remove": Record<string, never>;
  "hub-migrate": { readonly prefix: string };
  "peer-list": { readonly peers: readonly ShownExternal[] };
  "peer-add": {
    readonly peer: ShownExternal;
    readonly hub: {
      readonly name: string;
      readonly publicKey: string;
      readonly endpoints: readonly string[];
    };
    /** What the peer reaches through the hub. */
    readonly networks: readonly string[];
    readonly mtuBytes?: number;
  };
  "peer-remove": Record<string, never>;
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
      /** Why it was revoked. */
      readonly reason?: string;
      readonly node?: string;
      /** What newcomers become, and where they stand. */
      readonly role: string;
      readonly site?: string;
      /** What was refused to its holders since the agent started. */
      readonly refused?: number;
      readonly lastRefusal?: { readonly reason: string; readonly from: string; readonly at: string };
    }[];
    /** What was refused to newcomers since the agent started, by reason. */
    readonly refusals: { readonly [reason: string]: number };
  };
  "token-revoke": Record<string, never>;
  "may-talk": { readonly allowed: boolean; readonly reason: string };
  "node-assign": Record<string, never>;
  "node-label": { readonly labels: NodeLabels };
  "node-rotate": { readonly name: string };
  "psk-rotate": { readonly generation: number };
  "operator-set": Record<string, never>;
  /** Names of the nodes that are gone by it, as far as this node knew them. */
  "removal-add": { readonly nodes: readonly string[] };
  "resource-apply": {
    readonly resources: readonly {
      readonly kind: TenantKind;
      readonly name: string;
      readonly change: "created" | "changed" | "unchanged";
      readonly vni?: number;
    }[];
    readonly revision: number;
  };
  /** What of VPCs is on this node. */
  "vpc-status": {
    readonly vpcs: readonly ShownVpc[];
  };
  "vpc-addresses": {
    readonly blocks: readonly {
      readonly subnet: string;
      readonly block: string;
      readonly node: string;
      /** How many addresses the node may hand out. */
      readonly usable: number;
      /** How many of them are leased; absent where the node did not say so to this hub. */
      readonly used?: number;
    }[];
    readonly owned: readonly {
      readonly subnet: string;
      readonly address: string;
      readonly owner: string;
      /** Where the owner asked last; absent when that node was removed. */
      readonly node?: string;
    }[];
  };
  "vpc-release": Record<string, never>;
  /** Manifests as JSON, on a hub with what nodes say of them as status, and all of them as YAML. */
  "resource-get": { readonly resources: readonly Json[]; readonly manifest: string };
  "resource-delete": Record<string, never>;
}

/** Answer is one line from the agent. */
export type Answer =
  | { readonly progress: string }
  | { readonly result: unknown }
  | { readonly error: { readonly message: string } };
