/** Commands on tokens. */
import type { Handlers } from "./apply.ts";
import { Refusal } from "./refusal.ts";
import { MAX_LIVE_USES } from "./token-store.ts";

/** apply holds the commands on tokens. */
export const apply = {
  "create-token"(tables, command) {
    const { nowMs, node, uses } = command;
    const refuse = (cause: string) => new Refusal("bad-request", `Cannot create a token: ${cause}`);
    if (node !== undefined) {
      const known = tables.nodes.byName(node);
      // An external peer may become a node, with its name and addresses.
      if (known === undefined && tables.peers.byName(node) === undefined)
        throw refuse(
          `no node is named ${node}; see causeway node list, or leave the name out for a new node`,
        );
      if (known?.hub === true)
        throw refuse(
          `${node} is a hub, which is restored from its files and not by a token; copy /var/lib/causeway`,
        );
    }
    if (!(command.expiresAtMs > nowMs))
      throw refuse("it would have expired already; give a time in the future");
    if (tables.tokens.countLive(nowMs) + uses.length > MAX_LIVE_USES)
      throw refuse(`more than ${MAX_LIVE_USES} uses would be open; revoke tokens that are not needed`);
    tables.tokens.purge(nowMs);
    tables.tokens.add(command);
  },

  "revoke-token"(tables, { id, reason }) {
    if (!tables.tokens.revoke(id, reason))
      throw new Error(`Cannot revoke token ${id}: there is none with this id; see causeway token list`);
  },

  spend(tables, { publicKey }) {
    tables.tokens.spend(publicKey);
  },
} as const satisfies Handlers<"create-token" | "revoke-token" | "spend">;
