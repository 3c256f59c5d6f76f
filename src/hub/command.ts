/**
 * Commands: every durable write of the register, as plain JSON. All that chance, clocks and keys decide is in the command already,
 * so that applying it gives the same result at each hub (docs/decisions/0006-several-hubs.md).
 *
 * What a released command does never changes: another behaviour is another command.
 */
import { z } from "zod";
import { Secret } from "../net/mod.ts";
import {
  endpointSchema,
  hostPortSchema,
  type Json,
  labelChangeSchema,
  labelSchema,
  prefixSchema,
  publicKeySchema,
  siteSchema,
  type TenantKind,
  tenantKinds,
} from "../resources/mod.ts";
import { familySchema, grantNumber, ipText, ownerSchema, wantsSchema } from "./claim-fields.ts";
import { MAX_KNOWN, MAX_RETURNED_AT_ONCE } from "./claim-limits.ts";

/** MAX_RESOURCES is how many resources one command puts or deletes. */
export const MAX_RESOURCES = 4096;

/** MAX_LABELLED is how many nodes one command labels. */
export const MAX_LABELLED = 1024;

const name = z.string().min(1).max(253);
const id = z.string().max(64);
const timeMs = z.number().int().min(0);
const json = z.custom<Json>((value) => value !== undefined);
const endpoints = z.array(hostPortSchema).max(8);

/** The uid of a namespace. */
const clusterSchema = z.string().min(1).max(64);
const tenantKind = z.enum(Object.keys(tenantKinds) as [TenantKind, ...TenantKind[]]);

const secretText = z.string().transform((text, context): Secret => {
  try {
    return Secret.fromBase64(text);
  } catch {
    context.addIssue({ code: "custom", message: "is not a secret" });
    return z.NEVER;
  }
});

const putFields = {
  resources: z.array(json).min(1).max(MAX_RESOURCES),
  /** The Kubernetes cluster that wants them; absent: somebody who may command a hub. */
  owner: clusterSchema.optional(),
  /** Also what is another one's. */
  force: z.boolean().optional(),
};

/** commandSchema reads a command. */
export const commandSchema = z.discriminatedUnion("op", [
  /** The first of a register: the mesh and its first hub. */
  z.object({
    op: z.literal("init"),
    epoch: z.string().regex(/^[0-9a-f]{16}$/),
    mesh: json,
    hub: z.object({
      name,
      publicKey: publicKeySchema,
      endpoints,
      site: siteSchema.optional(),
      /** Of a mesh that is taken over; absent: 1. */
      number: z.number().int().min(1).optional(),
    }),
  }),
  z.object({ op: z.literal("update-mesh"), mesh: json }),
  z.object({
    op: z.literal("create-token"),
    id,
    /** SHA-256 of the text, hex. */
    hash: z.string().regex(/^[0-9a-f]{64}$/),
    uses: z
      .array(z.object({ publicKey: publicKeySchema, address: ipText, secret: secretText.optional() }))
      .min(1)
      .max(256),
    expiresAtMs: timeMs,
    nowMs: timeMs,
    node: name.optional(),
    role: z.string().min(1).max(63),
    site: siteSchema.optional(),
  }),
  z.object({ op: z.literal("revoke-token"), id, reason: z.string().max(64).optional() }),
  z.object({
    op: z.literal("register"),
    address: ipText,
    publicKey: publicKeySchema,
    name: z.string().max(253),
    endpoints,
    site: siteSchema.optional(),
    nowMs: timeMs,
  }),
  /** A handshake with a node's own key was seen, which spends its use of a token. */
  z.object({ op: z.literal("spend"), publicKey: publicKeySchema }),
  /** `hub`: it is known that the node is a hub. */
  z.object({ op: z.literal("remove-node"), name, hub: z.boolean().optional() }),
  /** A node's next key, and the one that it replaces. */
  z.object({
    op: z.literal("announce-key"),
    name,
    publicKey: publicKeySchema,
    nextPublicKey: publicKeySchema,
  }),
  z.object({ op: z.literal("promote-key"), name, publicKey: publicKeySchema }),
  /** The same of a hub, whose key before stays good until it is dropped. */
  z.object({
    op: z.literal("announce-hub-key"),
    name,
    publicKey: publicKeySchema,
    nextPublicKey: publicKeySchema,
  }),
  z.object({ op: z.literal("promote-hub-key"), name, publicKey: publicKeySchema }),
  z.object({ op: z.literal("drop-hub-key"), name, publicKey: publicKeySchema }),
  /** The next generation of pre-shared keys. */
  z.object({ op: z.literal("new-psk"), generation: z.number().int().min(1), secret: secretText }),
  /** What rules see of a node beside its name; absent fields stay. */
  z.object({ op: z.literal("assign-node"), name, role: labelSchema.optional(), site: siteSchema.optional() }),
  z.object({ op: z.literal("set-configured"), name, endpoints, site: siteSchema.optional() }),
  z.object({
    op: z.literal("add-peer"),
    name,
    publicKey: publicKeySchema,
    /** Which hub carries it. */
    hub: name,
    /** Of a mesh that is taken over; absent: the highest that is free. */
    number: z.number().int().min(1).optional(),
    families: z
      .array(z.literal([4, 6]))
      .min(1)
      .max(2),
    allowed: z.array(prefixSchema()).max(64),
    presharedKey: z.boolean(),
    endpoint: endpointSchema.optional(),
    role: labelSchema.optional(),
    site: siteSchema.optional(),
  }),
  z.object({ op: z.literal("remove-peer"), name }),
  z.object({ op: z.literal("approve-subnet"), node: name, prefix: prefixSchema() }),
  z.object({ op: z.literal("revoke-subnet"), node: name, prefix: prefixSchema() }),
  /** Labels of nodes, all or none. */
  z.object({
    op: z.literal("label-nodes"),
    nodes: z
      .array(z.object({ name, labels: labelChangeSchema }))
      .min(1)
      .max(MAX_LABELLED),
  }),
  /** Resources of tenants' networks, as manifests: all or none. */
  z.object({ op: z.literal("put-resources"), ...putFields }),
  /** The same with Gateways or Routes among them: an older hub, which would refuse these alone, stops here until it is updated. */
  z.object({ op: z.literal("put-gateways"), ...putFields }),
  z.object({
    op: z.literal("delete-resources"),
    resources: z
      .array(z.object({ kind: tenantKind, name }))
      .min(1)
      .max(MAX_RESOURCES),
    owner: clusterSchema.optional(),
    /** Also Subnets of which somebody has addresses, and what is another one's. */
    force: z.boolean().optional(),
  }),
  /** Blocks of a subnet for a node. `have`: the grants that it knows. */
  z.object({
    op: z.literal("claim-block"),
    node: name,
    subnet: name,
    wants: wantsSchema,
    have: z.array(grantNumber).max(MAX_KNOWN),
  }),
  /** One address, for its owner or, without one, for the node. */
  z.object({
    op: z.literal("claim-address"),
    node: name,
    subnet: name,
    family: familySchema,
    address: ipText.optional(),
    owner: ownerSchema.optional(),
    outOf: z.array(grantNumber).max(2).optional(),
  }),
  z.object({
    op: z.literal("return-block"),
    node: name,
    numbers: z.array(grantNumber).min(1).max(MAX_RETURNED_AT_ONCE),
  }),
  z.object({ op: z.literal("release-address"), subnet: name, address: ipText }),
  /** Nodes have seen this revision from a register that was restored from an older copy. */
  z.object({ op: z.literal("raise"), revision: z.number().int().min(0) }),
]);

/** Command is one write, parsed. */
export type Command = z.output<typeof commandSchema>;

/** CommandJson is one write as it is sent and stored. */
export type CommandJson = z.input<typeof commandSchema>;

/** UnknownCommandError: a newer hub has written what this one cannot apply; it goes on reading what it has. */
export class UnknownCommandError extends Error {
  override readonly name = "UnknownCommandError";

  constructor(op: string, cause?: unknown) {
    super(`the register's log holds a command (${op}) that this version does not know; update this hub`, {
      cause,
    });
  }
}

/** parseCommand reads a command; throws UnknownCommandError for one of another version. */
export function parseCommand(value: unknown): Command {
  const parsed = commandSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const op = (value as { op?: unknown } | null | undefined)?.op;
  throw new UnknownCommandError(typeof op === "string" ? op : "?", parsed.error);
}
