/** What people are shown of nodes: texts, ready to print. Nothing secret is in the values that come in. */
import { formatEndpoint, formatIp, formatPrefix, type PeerState, type PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { ShownNode, ShownPeer } from "./api.ts";

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
  readonly nodes: readonly Node[];
  readonly direct: ReadonlySet<string>;
  readonly peers: readonly PeerState[];
  readonly wallMs: number;
  explain(name: string): {
    readonly candidates: readonly Parameters<typeof formatEndpoint>[0][];
    readonly reason: string;
  };
}

/** shownPeer returns another node with the path to it. */
export function shownPeer(node: Node, context: PeerContext): ShownPeer {
  const state = (key: PublicKey | undefined) => context.peers.find((peer) => peer.publicKey === key);
  const own = state(node.publicKey);
  const alive = (peer: PeerState | undefined) =>
    peer?.lastHandshakeMs !== undefined && context.wallMs - peer.lastHandshakeMs < DEAD_MS;
  const straight = node.hub || context.self.hub;
  const direct = straight || context.direct.has(node.name);
  const hub = state(context.nodes.find((other) => other.hub)?.publicKey);
  const path = direct ? (alive(own) ? "direct" : "down") : alive(hub) ? "hub" : "down";
  const why = straight
    ? { candidates: [], reason: alive(own) ? "the hub is reached by everyone" : "no handshake" }
    : context.explain(node.name);
  return {
    name: node.name,
    hub: node.hub,
    overlay4: formatIp(node.overlay4),
    overlay6: formatIp(node.overlay6),
    ...ranges(node),
    path,
    ...(own?.endpoint === undefined ? {} : { endpoint: formatEndpoint(own.endpoint) }),
    candidates: why.candidates.map(formatEndpoint),
    reason: why.reason,
    ...(own?.lastHandshakeMs === undefined
      ? {}
      : { lastHandshakeSeconds: Math.max(0, Math.round((context.wallMs - own.lastHandshakeMs) / 1000)) }),
    rxBytes: own?.rxBytes ?? 0,
    txBytes: own?.txBytes ?? 0,
  };
}
