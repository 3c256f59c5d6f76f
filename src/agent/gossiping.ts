/** Gossip as a role runs it: with the nodes of its view, over this node's overlay addresses. */
import { Gossip, type GossipOptions, type MeshView } from "../hub/mod.ts";
import { type Ip, ipEqual, type PeerState } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { info, warn } from "./log.ts";

/** A handshake older than this is of no live session (WireGuard's REJECT_AFTER_TIME). */
const LIVE_MS = 180_000;

/** liveNodes returns the names of nodes that this one has a live session with. */
export function liveNodes(view: MeshView, peers: readonly PeerState[], wallMs: number): Set<string> {
  const live = new Set(
    peers
      .filter(({ lastHandshakeMs }) => lastHandshakeMs !== undefined && wallMs - lastHandshakeMs < LIVE_MS)
      .map((peer) => peer.publicKey),
  );
  return new Set(view.nodes.filter((node) => live.has(node.publicKey)).map((node) => node.name));
}

/** startGossiping starts gossip; undefined while the overlay addresses are not there. */
export function startGossiping(
  self: Node,
  view: () => MeshView,
  hooks: Pick<GossipOptions["hooks"], "local" | "onRemovals" | "onLoan">,
): Gossip | undefined {
  const has = (node: Node, address: Ip) => ipEqual(node.overlay4, address) || ipEqual(node.overlay6, address);
  try {
    return Gossip.start({
      addresses: [self.overlay4, self.overlay6],
      hooks: {
        ...hooks,
        nodeAt: (address) => view().nodes.find((node) => has(node, address))?.name,
        addressOf: (name) => view().nodes.find((node) => node.name === name)?.overlay4,
        onRemovals: (removals, from) => {
          const fresh = hooks.onRemovals(removals, from);
          if (fresh) info("removals heard", { peer: from });
          return fresh;
        },
      },
    });
  } catch (error) {
    warn("cannot gossip yet", { error });
    return undefined;
  }
}
