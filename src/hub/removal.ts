/**
 * Removals: signed statements that a node's key is no longer of the mesh. A node that has one drops that key for good, whoever handed
 * it over, whatever register it has, and whether a hub is there or not.
 *
 * ```
 * removal   {by, epoch, key, revision, signature}      signature over "causeway removal 1 LF" ‖ canonical JSON of the rest
 *           by "register": the key that signs the register; revision is the change that revoked the node's key
 *           by "operator": the offline key of Mesh.spec.operatorKey; epoch "" and revision 0
 * ```
 * Keys never come back (a hub registers no revoked key), so a set of removals only grows, and merging two sets is their union: it
 * needs no order, cannot go back, and the same statement twice changes nothing. The newest MAX_REMOVALS are kept; every node keeps
 * the same ones of those it has seen.
 */
import { z } from "zod";
import { type PublicKey, publicKeyBytes, type SigningKey, type SigningSecret } from "../net/mod.ts";
import { canonicalJson, publicKeySchema } from "../resources/mod.ts";
import { ed25519Verify, sha256 } from "../sys/mod.ts";

/** MAX_REMOVALS is how many removals a node keeps and hands on. */
export const MAX_REMOVALS = 1024;

/** removalSchema reads one removal. */
export const removalSchema = z.object({
  by: z.enum(["register", "operator"]),
  epoch: z.string().max(64),
  key: publicKeySchema,
  revision: z.number().int().min(0),
  signature: z.string().max(128),
});

/** removalsSchema reads a list of removals. */
export const removalsSchema = z.array(removalSchema).max(MAX_REMOVALS);

/** Removal is one statement. */
export type Removal = z.output<typeof removalSchema>;

/** Removals is a set of them, by the key that they remove. */
export type Removals = ReadonlyMap<PublicKey, Removal>;

/** RemovalTrust is whose signatures count. */
export interface RemovalTrust {
  readonly signingKey: SigningKey;
  readonly operatorKey?: SigningKey | undefined;
}

function signedBytes({ by, epoch, key, revision }: Omit<Removal, "signature">): Uint8Array {
  return new TextEncoder().encode(`causeway removal 1\n${canonicalJson({ by, epoch, key, revision })}`);
}

/** signRemoval makes a removal. */
export function signRemoval(removal: Omit<Removal, "signature">, signing: SigningSecret): Removal {
  return { ...removal, signature: Buffer.from(signing.sign(signedBytes(removal))).toString("base64") };
}

/** operatorRemoval makes a removal with the offline key. */
export function operatorRemoval(key: PublicKey, signing: SigningSecret): Removal {
  return signRemoval({ by: "operator", epoch: "", key, revision: 0 }, signing);
}

/** removalHolds tells whether a removal is signed by one who may. */
export function removalHolds(removal: Removal, trust: RemovalTrust): boolean {
  const signer = removal.by === "register" ? trust.signingKey : trust.operatorKey;
  if (signer === undefined) return false;
  return ed25519Verify(
    publicKeyBytes(signer),
    signedBytes(removal),
    Buffer.from(removal.signature, "base64"),
  );
}

/** The operator's come first, then the newest. */
function order(a: Removal, b: Removal): number {
  if (a.by !== b.by) return a.by === "operator" ? -1 : 1;
  if (a.revision !== b.revision) return b.revision - a.revision;
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

/** mergeRemovals adds those that hold and are new; `added` are the ones of them that were kept. */
export function mergeRemovals(
  known: Removals,
  heard: Iterable<Removal>,
  trust: RemovalTrust,
): { readonly removals: Removals; readonly added: readonly Removal[] } {
  const fresh = new Map<PublicKey, Removal>();
  for (const removal of heard) {
    const before = fresh.get(removal.key) ?? known.get(removal.key);
    // Of two statements on one key the first in order is kept, so that all nodes keep the same.
    if (before !== undefined && order(before, removal) <= 0) continue;
    if (removalHolds(removal, trust)) fresh.set(removal.key, removal);
  }
  if (fresh.size === 0) return { removals: known, added: [] };
  const kept = [...new Map([...known, ...fresh]).values()].sort(order).slice(0, MAX_REMOVALS);
  const removals = new Map(kept.map((removal) => [removal.key, removal]));
  return {
    removals,
    added: [...fresh.values()].filter(({ key }) => removals.has(key) && !known.has(key)),
  };
}

/** removalId is a short name of a removal for comparing sets; nothing depends on its being unforgeable. */
export function removalId(removal: Removal): string {
  return Buffer.from(sha256(removal.by, removal.key)).toString("hex").slice(0, 16);
}

/** removalsDigest is equal for equal sets. */
export function removalsDigest(removals: Removals): string {
  const ids = [...removals.values()].map(removalId).sort();
  return Buffer.from(sha256(ids.join("\n"))).toString("hex");
}

/** formatRemovals returns the text of a file that holds the set. */
export function formatRemovals(removals: Removals): string {
  return `${JSON.stringify([...removals.values()])}\n`;
}

/** parseRemovals reads what formatRemovals wrote, and takes what holds; damage loses only what is damaged. */
export function parseRemovals(text: string, trust: RemovalTrust): Removals {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return new Map();
  }
  const heard = (Array.isArray(list) ? list : []).flatMap((one) => {
    const parsed = removalSchema.safeParse(one);
    return parsed.success ? [parsed.data] : [];
  });
  return mergeRemovals(new Map(), heard, trust).removals;
}
