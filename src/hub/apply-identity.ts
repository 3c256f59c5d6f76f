/** Commands on who a node is: what rules see of it, and its key, which is changed in two steps so that nobody loses sight of it. */
import type { PublicKey } from "../net/mod.ts";
import { MOST_LABELS, type Node, sameLabels, withLabels } from "../resources/mod.ts";
import type { Handlers } from "./apply.ts";
import { Refusal } from "./refusal.ts";
import type { Tables } from "./tables.ts";

/** apply holds the commands on identities. */
export const apply = {
  "assign-node"(tables, { name, role, site }) {
    const node = known(tables, name);
    tables.nodes.setIdentity(name, { role: role ?? node.role, site: site ?? node.site });
    tables.publishNode(name);
  },

  "label-nodes"(tables, { nodes }) {
    for (const { name, labels: change } of nodes) {
      const { labels: before = {} } = known(tables, name);
      const labels = withLabels(before, change);
      if (Object.keys(labels).length > MOST_LABELS)
        throw new Refusal(
          "bad-request",
          `Cannot label node ${name}: it would have more than ${MOST_LABELS} labels; take some away: causeway node label ${name} KEY-`,
        );
      if (sameLabels(before, labels)) continue;
      tables.nodes.setLabels(name, labels);
      tables.publishNode(name);
    }
  },

  /** Others learn the next key before it is used. */
  "announce-key"(tables, { name, publicKey, nextPublicKey }) {
    const node = known(tables, name);
    if (node.nextPublicKey === nextPublicKey) return;
    if (node.publicKey !== publicKey)
      throw new Refusal("bad-request", `Node ${name} has another key by now; ask again with that`);
    keyMustBeFree(tables, nextPublicKey);
    // Of one that was announced before and not used nobody must ever make a session.
    if (node.nextPublicKey !== undefined) tables.revokeKey(node.nextPublicKey, name);
    tables.nodes.setNextKey(name, nextPublicKey);
    tables.publishNode(name);
  },

  /** The next key was heard: it is the node's from now on, and the old one is revoked. */
  "promote-key"(tables, { name, publicKey }) {
    const node = tables.nodes.byName(name);
    if (node?.nextPublicKey !== publicKey) return;
    tables.revokeKey(node.publicKey, name);
    tables.nodes.promoteKey(name);
    tables.publishNode(name);
  },
} as const satisfies Handlers<"assign-node" | "label-nodes" | "announce-key" | "promote-key">;

function known(tables: Tables, name: string): Node {
  const node = tables.nodes.byName(name);
  if (node !== undefined) return node;
  throw new Refusal("no-such-node", `There is no node ${name}; see causeway node list`);
}

/** keyMustBeFree refuses a next key that is somebody's, or was. */
export function keyMustBeFree(tables: Tables, key: PublicKey): void {
  if (tables.isRevoked(key)) throw new Refusal("key-revoked", "This key was revoked; make another");
  const taken =
    tables.nodes.byAnyKey(key) !== undefined ||
    tables.peers.byKey(key) !== undefined ||
    tables.tokens.isUseKey(key);
  if (taken) throw new Refusal("key-exists", "This key belongs to another node or to a token; make another");
}
