/**
 * Commands on a hub's own key. Unlike a node's, the one before is not revoked when the next one is in use: tokens, external peers and nodes that were
 * away know the hub by it, and the hub goes on to answer to it until it drops it.
 */
import type { Handlers } from "./apply.ts";
import { keyMustBeFree } from "./apply-identity.ts";
import { Refusal } from "./refusal.ts";

/** apply holds the commands on hubs' keys. */
export const apply = {
  /** One hub after the other: a node loses sight of two at once less likely. */
  "announce-hub-key"(tables, { name, publicKey, nextPublicKey }) {
    const hubs = tables.nodes.hubs();
    const hub = hubs.find((node) => node.name === name);
    if (hub === undefined)
      throw new Refusal("no-such-node", `There is no hub ${name}; see causeway hub list`);
    if (hub.nextPublicKey === nextPublicKey) return;
    const other = hubs.find((node) => node !== hub && node.nextPublicKey !== undefined);
    if (other !== undefined)
      throw new Refusal(
        "bad-request",
        `Hub ${other.name} changes its key now, and hubs do so one after the other`,
      );
    if (hub.publicKey !== publicKey)
      throw new Refusal("bad-request", `Hub ${name} has another key by now; ask again with that`);
    keyMustBeFree(tables, nextPublicKey);
    if (hub.nextPublicKey !== undefined) tables.revokeKey(hub.nextPublicKey, name);
    tables.nodes.setNextKey(name, nextPublicKey);
    tables.publishNode(name);
  },

  "promote-hub-key"(tables, { name, publicKey }) {
    const hub = tables.nodes.byName(name);
    if (hub?.nextPublicKey !== publicKey) return;
    // A hub answers to one former key at most: of an older one it has lost the file.
    const older = tables.nodes.formerKeyOf(name);
    if (older !== undefined) tables.revokeKey(older, name);
    tables.nodes.promoteKey(name);
    tables.nodes.setFormerKey(name, hub.publicKey);
    tables.publishNode(name);
  },

  /** The hub answers to it no more. */
  "drop-hub-key"(tables, { name, publicKey }) {
    const hub = tables.nodes.byName(name);
    if (hub?.hub !== true || tables.isRevoked(publicKey)) return;
    const isFormer = tables.nodes.formerKeyOf(name) === publicKey;
    if (!isFormer && tables.nodes.byAnyKey(publicKey) !== undefined)
      throw new Refusal("bad-request", `The key is in use; only one that ${name} had before can be dropped`);
    tables.revokeKey(publicKey, name);
    if (isFormer) tables.nodes.setFormerKey(name, undefined);
    tables.publishNode(name);
  },
} as const satisfies Handlers<"announce-hub-key" | "promote-hub-key" | "drop-hub-key">;
