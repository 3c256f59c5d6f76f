/** Who still needs the key that a hub had before: whoever was not heard with the present one, as far as the hub can tell. */
import type { PeerState, PublicKey } from "../net/mod.ts";
import type { ExternalPeer, Node } from "../resources/mod.ts";

/** FORMER_KEPT_MS is how long a hub answers to its former key at most: 30 days. */
export const FORMER_KEPT_MS = 30 * 86_400_000;

/** NeedFacts are what the hub knows. Times are milliseconds since 1970, by this machine's clock. */
export interface NeedFacts {
  readonly former: { readonly untilMs: number; readonly tokens: readonly string[] };
  readonly wallMs: number;
  readonly peers: readonly PeerState[];
  readonly nodes: readonly Pick<Node, "name" | "publicKey" | "nextPublicKey">[];
  /** Those that this hub carries. */
  readonly external: readonly Pick<ExternalPeer, "name" | "publicKey">[];
  /** Tokens that are neither expired nor revoked. */
  readonly liveTokens: readonly string[];
}

/** formerKeyNeed names one that needs the former key; undefined when it can go: nobody does, or it was kept for FORMER_KEPT_MS. */
export function formerKeyNeed(facts: NeedFacts): string | undefined {
  const { former, wallMs, nodes, external, liveTokens } = facts;
  if (wallMs - former.untilMs >= FORMER_KEPT_MS) return undefined;
  const heard = heardSince(facts.peers, former.untilMs);
  const isHeard = (key: PublicKey | undefined) => key !== undefined && heard.has(key);
  const node = nodes.find((one) => !isHeard(one.publicKey) && !isHeard(one.nextPublicKey));
  if (node !== undefined) return `node ${node.name}, which was not heard with the present one yet`;
  const peer = external.find((one) => !isHeard(one.publicKey));
  if (peer !== undefined) return `peer ${peer.name}, whose file names it`;
  const live = new Set(liveTokens);
  const token = former.tokens.find((id) => live.has(id));
  return token === undefined ? undefined : `token ${token}, which names it and is still good`;
}

function heardSince(peers: readonly PeerState[], sinceMs: number): ReadonlySet<PublicKey> {
  return new Set(
    peers.flatMap(({ publicKey, lastHandshakeMs, former, moving }) => {
      const isPresent = former !== true && moving !== true;
      return isPresent && lastHandshakeMs !== undefined && lastHandshakeMs >= sinceMs ? [publicKey] : [];
    }),
  );
}
