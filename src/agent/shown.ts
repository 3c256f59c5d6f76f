/** What people are shown of nodes: texts, ready to print. Nothing secret is in the values that come in. */
import type { LadderExplanation } from "../mesh/mod.ts";
import { formatEndpoint, formatIp, formatPrefix, type PeerState, type PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { ShownNode, ShownPeer, Status } from "./api.ts";
import type { Ways } from "./ways.ts";

/** A tunnel without a handshake for so long carries nothing (WireGuard's REJECT_AFTER_TIME). */
const DEAD_MS = 180_000;

function ranges(node: Node): { readonly pods4?: string; readonly pods6?: string } {
  return {
    ...(node.pods4 === undefined ? {} : { pods4: formatPrefix(node.pods4) }),
    ...(node.pods6 === undefined ? {} : { pods6: formatPrefix(node.pods6) }),
  };
}

/** shownNode returns a node as status and lists show it. */
export function shownNode(node: Node): ShownNode {
  return {
    name: node.name,
    hub: node.hub,
    overlay4: formatIp(node.overlay4),
    overlay6: formatIp(node.overlay6),
    ...ranges(node),
    publicKey: node.publicKey,
  };
}

/** PeerContext is what this node knows beside the register. */
export interface PeerContext {
  readonly self: Node;
  readonly peers: ReadonlyMap<PublicKey, PeerState>;
  readonly wallMs: number;
  /** Undefined for hubs, and on a hub. */
  explain(name: string): LadderExplanation | undefined;
  /** Whether a hub answers, as far as this node can tell. */
  hubAnswers(name: string): boolean;
}

/** shownPeer returns another node with the path to it. */
export function shownPeer(node: Node, context: PeerContext): ShownPeer {
  const own = context.peers.get(node.publicKey);
  const ageMs =
    own?.lastHandshakeMs === undefined ? undefined : Math.max(0, context.wallMs - own.lastHandshakeMs);
  const alive = ageMs !== undefined && ageMs < DEAD_MS;
  const endpoint = own?.endpoint === undefined ? {} : { endpoint: formatEndpoint(own.endpoint) };
  return {
    name: node.name,
    hub: node.hub,
    overlay4: formatIp(node.overlay4),
    overlay6: formatIp(node.overlay6),
    ...ranges(node),
    ...endpoint,
    ...shownPath(context.explain(node.name), { alive, hubAnswers: context.hubAnswers }),
    ...(ageMs === undefined ? {} : { lastHandshakeSeconds: Math.round(ageMs / 1000) }),
    rxBytes: own?.rxBytes ?? 0,
    txBytes: own?.txBytes ?? 0,
  };
}

type ShownPath = Pick<ShownPeer, "path" | "relay" | "rttMs" | "mtuBytes" | "candidates" | "reason">;

function shownPath(
  found: LadderExplanation | undefined,
  { alive, hubAnswers }: { readonly alive: boolean } & Pick<PeerContext, "hubAnswers">,
): ShownPath {
  if (found === undefined)
    return {
      path: alive ? "direct" : "down",
      candidates: [],
      reason: alive ? "hubs are reached by everyone" : "no handshake",
    };
  const { rung, hub, rttMs, mtuBytes, why } = found;
  // A handshake says nothing: without traffic there need not be one.
  const down = rung === "none" || (rung === "relay" && hub !== undefined && !hubAnswers(hub));
  return {
    path: down ? "down" : rung,
    ...(hub === undefined ? {} : { relay: hub }),
    ...(rttMs === undefined ? {} : { rttMs }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    candidates: found.candidates.map((one) => ({
      endpoint: formatEndpoint(one.endpoint),
      rung: one.rung,
      source: one.source,
      state: one.state,
      ...(one.rttMs === undefined ? {} : { rttMs: one.rttMs }),
      why: one.why,
    })),
    reason: down && rung === "relay" ? `${why}; hub ${hub} does not answer` : why,
  };
}

/** shownTls returns the TLS way without the names of sessions: who knows one can take the place of this node's connection. */
export function shownTls({ using, status }: NonNullable<Ways["tls"]>): NonNullable<Status["tls"]> {
  return { using, status: { ...status, hubs: status.hubs.map(({ session: _, ...hub }) => hub) } };
}
