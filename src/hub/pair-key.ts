/**
 * Pre-shared keys of pairs, which keep what is recorded today from a quantum computer of tomorrow: such a machine could undo X25519, and
 * so every tunnel that was recorded, but not a key that never came out of an X25519 agreement.
 *
 * ```
 * token's seed, given by hand ─HKDF─▶ secret of the use ─HKDF with the node's key─▶ node secret        at the node and at the hubs
 * generation's secret, random at the hub ─HKDF with both node secrets' tags─▶ the pair's key
 *                                              └─ AES-256-GCM under the node's secret ─▶ handed to each of the two
 * node and hub: HKDF of the node secret, which both have; nothing is handed over
 * ```
 * The hubs know the keys; without the nodes' private keys they read nothing with them. A node knows only those of its own pairs.
 * They hang on the enrolment, not on the node's WireGuard key: that changes without them, and a machine that takes another's place has others.
 */
import { type PublicKey, Secret } from "../net/mod.ts";
import { aesGcmOpen, aesGcmSeal, hkdf, sha256 } from "../sys/mod.ts";

/** nodeSecret returns the secret that a node and the hubs have in common, from that of its use of a token. */
export function nodeSecret(use: Secret, enrolledKey: PublicKey): Secret {
  return new Secret(hkdf(use.reveal(), `causeway node 1 secret ${enrolledKey}`, 32));
}

/** A name for a secret that tells nothing of it. */
function tag(secret: Secret): string {
  return Buffer.from(sha256("causeway psk 1 tag", secret.reveal())).toString("hex");
}

/** pairKey returns the pre-shared key of two nodes; it does not matter which comes first. */
export function pairKey(generation: Secret, a: Secret, b: Secret): Secret {
  const pair = [tag(a), tag(b)].sort().join(" ");
  return new Secret(hkdf(generation.reveal(), `causeway psk 1 pair ${pair}`, 32));
}

/** hubPairKey returns the pre-shared key of a node and a hub. */
export function hubPairKey(
  node: Secret,
  options: { readonly hub: string; readonly generation: number },
): Secret {
  return new Secret(hkdf(node.reveal(), `causeway psk 1 hub ${options.generation} ${options.hub}`, 32));
}

/** PairLabel is what a sealed key is for; one that is handed over for another pair does not open. */
export interface PairLabel {
  readonly node: string;
  readonly peer: string;
  readonly generation: number;
}

function label({ node, peer, generation }: PairLabel): string {
  return `causeway psk 1 sealed\n${node}\n${peer}\n${generation}`;
}

function sealKey(node: Secret): Uint8Array {
  return hkdf(node.reveal(), "causeway psk 1 seal", 32);
}

/** sealPairKey returns base64 that only the node with this secret can open. */
export function sealPairKey(key: Secret, node: Secret, what: PairLabel): string {
  return Buffer.from(aesGcmSeal(sealKey(node), key.reveal(), label(what))).toString("base64");
}

/** openPairKey undoes sealPairKey; undefined when it was not sealed for this node and pair. */
export function openPairKey(sealed: string, node: Secret, what: PairLabel): Secret | undefined {
  const bytes = aesGcmOpen(sealKey(node), Buffer.from(sealed, "base64"), label(what));
  return bytes?.length === 32 ? new Secret(bytes) : undefined;
}

/** PairEnd is one of two nodes, with its secret if it has one. */
export interface PairEnd {
  readonly name: string;
  readonly hub: boolean;
  readonly secret: Secret | undefined;
}

/** pairKeyOf returns the pre-shared key of any two, at a hub, which knows the secrets; undefined when one that is needed is absent. */
export function pairKeyOf(
  [a, b]: readonly [PairEnd, PairEnd],
  { generation, secret }: { readonly generation: number; readonly secret: Secret },
): Secret | undefined {
  // Hubs know the generation's secret already, and the first hub joined with no token.
  if (a.hub && b.hub) return pairKey(secret, a.secret ?? secret, b.secret ?? secret);
  const [node, hub] = a.hub ? [b, a] : [a, b];
  if (node.secret === undefined) return undefined;
  if (hub.hub) return hubPairKey(node.secret, { hub: hub.name, generation });
  return hub.secret === undefined ? undefined : pairKey(secret, node.secret, hub.secret);
}
