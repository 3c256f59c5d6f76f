/**
 * Twins: a node that changes its key is two WireGuard peers for a while. The next key's peer has no allowed IPs until it is heard:
 * WireGuard takes a packet only from the peer that owns its source address, and an address has one owner.
 *
 * ```
 *                 announced            heard with the next key        the register has the next key
 *  old key's peer   prefixes     ──▶   none                     ──▶   gone
 *  next key's peer  none               prefixes                       prefixes
 * ```
 * Both have the endpoint of the path, so that either side can begin. The one that takes the prefixes over gets a keepalive: WireGuard then
 * sends one at once, by which the node hears that its packets are believed from now on (our own engine lets them wait for that, see
 * `held` in tunnel/wireguard/keypair.ts).
 */
import type { Peer } from "../engine/mod.ts";
import type { PeerState, PublicKey } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";

/** A keepalive while a node changes its key, where the path asks for none. */
const KEEPALIVE_SECONDS = 25;

/** heardNext returns the names of nodes that were heard with their next key after they were last heard with the present one. */
export function heardNext(nodes: readonly Node[], peers: readonly PeerState[]): ReadonlySet<string> {
  const heardMs = new Map<PublicKey, number>();
  for (const { publicKey, lastHandshakeMs } of peers)
    if (lastHandshakeMs !== undefined) heardMs.set(publicKey, lastHandshakeMs);
  const names = nodes.filter(({ publicKey, nextPublicKey }) => {
    const next = nextPublicKey === undefined ? undefined : heardMs.get(nextPublicKey);
    return next !== undefined && next >= (heardMs.get(publicKey) ?? 0);
  });
  return new Set(names.map((node) => node.name));
}

/** twins returns the peers of a node: one, or two while it changes its key. `peer` is that of the present key. */
export function twins(
  peer: Peer,
  node: Pick<Node, "nextPublicKey">,
  options: { readonly heard: boolean },
): readonly Peer[] {
  const { nextPublicKey } = node;
  if (nextPublicKey === undefined) return [peer];
  // The pre-shared key hangs on the enrolment, not on this key.
  const next: Peer = { ...peer, publicKey: nextPublicKey };
  // Only the one that carries traffic keeps its NAT mapping open and is made anew for a relay.
  const passive = ({ keepaliveSeconds: _k, generation: _g, ...other }: Peer): Peer => ({
    ...other,
    allowedIps: [],
  });
  if (!options.heard) return [peer, passive(next)];
  return [{ ...next, keepaliveSeconds: next.keepaliveSeconds ?? KEEPALIVE_SECONDS }, passive(peer)];
}
