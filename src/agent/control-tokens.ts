/** What the command line asks about tokens. */
import { wallMs } from "../sys/mod.ts";
import type { Agent } from "./agent.ts";
import type { Handlers } from "./control.ts";
import { HubRole } from "./hub-role.ts";

/** A year: longer tokens are forgotten, not used. */
const LONGEST_TOKEN_MS = 366 * 86_400_000;

function hubOf(agent: Agent, what: string): HubRole {
  if (agent.role instanceof HubRole) return agent.role;
  throw new Error(
    `Cannot ${what}: this node is not a hub${agent.role === undefined ? "; it has not joined a mesh" : "; ask there"}`,
  );
}

/** tokenHandlers answer what is asked about tokens. */
export const tokenHandlers: Pick<Handlers, "token-create" | "token-list" | "token-revoke"> = {
  async "token-create"(agent, { uses, expiresMs, node, role, site }) {
    const hub = hubOf(agent, "create a token");
    if (!(expiresMs > 0 && expiresMs <= LONGEST_TOKEN_MS))
      throw new Error("Cannot create a token: it may be valid for at most 366d; give less with --expires");
    const { self, nodes } = hub.view();
    const pins = [...(self === undefined ? [] : [self]), ...nodes].flatMap(
      ({ name, tlsPin }): [string, string][] => (tlsPin === undefined ? [] : [[name, tlsPin]]),
    );
    const nowMs = wallMs();
    const expiresAtMs = nowMs + expiresMs;
    const { token, text } = await hub.registrar.createToken({
      uses,
      nowMs,
      expiresAtMs,
      signingKey: hub.signing.publicKey,
      hub: hub.name,
      tlsPins: new Map(pins),
      ...(node === undefined ? {} : { node }),
      ...(role === undefined ? {} : { role }),
      ...(site === undefined ? {} : { site }),
    });
    agent.joined?.changed();
    return { id: token.id, token: text, uses, expiresAt: new Date(expiresAtMs).toISOString() };
  },

  "token-list"(agent) {
    const hub = hubOf(agent, "list tokens");
    const admission = hub.server?.admission;
    const tokens = hub.register.tokens().map((token) => {
      const refused = admission?.ofToken(token.id);
      return {
        id: token.id,
        uses: token.uses,
        used: token.used,
        spent: token.spent,
        expiresAt: new Date(token.expiresAtMs).toISOString(),
        role: token.role,
        ...(token.site === undefined ? {} : { site: token.site }),
        ...(token.revoked ? { revoked: true } : {}),
        ...(token.reason === undefined ? {} : { reason: token.reason }),
        ...(token.node === undefined ? {} : { node: token.node }),
        ...(refused === undefined
          ? {}
          : {
              refused: refused.count,
              lastRefusal: {
                reason: refused.last.reason,
                from: refused.last.from,
                at: new Date(refused.last.wallMs).toISOString(),
              },
            }),
      };
    });
    return { tokens, refusals: Object.fromEntries(admission?.counts() ?? []) };
  },

  async "token-revoke"(agent, { id, reason }) {
    await hubOf(agent, "revoke a token").registrar.revokeToken(id, reason);
    agent.joined?.changed();
    return {};
  },
};
