/**
 * Signed state: what the hub publishes, in a form that a node can check without trusting who handed it over.
 *
 * ```
 * header   epoch, revision, node, digest; signed with the register's Ed25519 key
 * digest   SHA-256( SHA-256(entries all may see) ‖ SHA-256(entries of this node alone) ), entries as "key LF canonical JSON LF", sorted
 * ```
 * A delta is applied first and then checked as a whole: the digest of the result must be the signed one. So a node's state is at
 * all times exactly one that the hub has signed for it, and the same check serves for the copy on disk.
 */
import { z } from "zod";
import { publicKeyBytes, type SigningKey, type SigningSecret } from "../net/mod.ts";
import { canonicalJson, type Json } from "../resources/mod.ts";
import { ed25519Verify, sha256 } from "../sys/mod.ts";

/** StateHeader names a state and proves it. */
export interface StateHeader {
  /** The register's history; another one starts from zero. */
  readonly epoch: string;
  readonly revision: number;
  /** For whom. */
  readonly node: string;
  /** Hex. */
  readonly digest: string;
  /** Base64. */
  readonly signature: string;
}

/** Entries are keys with canonical JSON texts. */
export type Entries = ReadonlyMap<string, string>;

/** SignedState is entries with the header that proves them. */
export interface SignedState {
  readonly header: StateHeader;
  readonly entries: Entries;
}

/** StateMessage carries all entries, or the changes since revision `from`. */
export interface StateMessage {
  readonly type: "state";
  /** Absent: everything. */
  readonly from?: number | undefined;
  readonly set: readonly (readonly [key: string, value: Json])[];
  readonly remove: readonly string[];
  readonly header: StateHeader;
}

const headerSchema = z.object({
  epoch: z.string().max(64),
  revision: z.number().int().min(0),
  node: z.string().max(253),
  digest: z.string().regex(/^[0-9a-f]{64}$/),
  signature: z.string().max(128),
});

const jsonSchema = z.custom<Json>((value) => value !== undefined);

/** stateMessageSchema reads a StateMessage. */
export const stateMessageSchema = z.object({
  type: z.literal("state"),
  from: z.number().int().min(0).optional(),
  set: z.array(z.tuple([z.string().max(1024), jsonSchema])),
  remove: z.array(z.string().max(1024)),
  header: headerSchema,
});

function part(entries: Iterable<readonly [string, string]>): string {
  const sorted = [...entries].sort(([a], [b]) => (a < b ? -1 : 1));
  return Buffer.from(sha256(...sorted.flatMap(([key, value]) => [key, "\n", value, "\n"]))).toString("hex");
}

/** isOwn tells entries for one node alone, `for/NODE/…`, from those that everybody may see. */
export function isOwn(key: string): boolean {
  return key.startsWith("for/");
}

/** selfKey returns the key under which a node is told of itself if nodes of its class may not talk to each other. */
export function selfKey(node: string): string {
  return `for/${node}/self`;
}

/** sharedDigest digests the entries that everybody may see; a hub computes it once for all nodes. */
export function sharedDigest(entries: Iterable<readonly [string, string]>): string {
  return part([...entries].filter(([key]) => !isOwn(key)));
}

/** stateDigest digests a node's entries; `shared` is the sharedDigest of them if it is known. */
export function stateDigest(entries: Iterable<readonly [string, string]>, shared?: string): string {
  const list = [...entries];
  return stateDigestOf(shared ?? sharedDigest(list), ownDigest(list));
}

/** ownDigest digests the entries for one node alone. */
export function ownDigest(entries: Iterable<readonly [string, string]>): string {
  return part([...entries].filter(([key]) => isOwn(key)));
}

/** stateDigestOf joins the two digests to the one that is signed. */
export function stateDigestOf(shared: string, own: string): string {
  return Buffer.from(sha256(shared, own)).toString("hex");
}

function signedBytes(header: Omit<StateHeader, "signature">): Uint8Array {
  const { epoch, revision, node, digest } = header;
  return new TextEncoder().encode(`causeway register 1\n${canonicalJson({ epoch, revision, node, digest })}`);
}

/** signHeader makes a header. */
export function signHeader(header: Omit<StateHeader, "signature">, signing: SigningSecret): StateHeader {
  return { ...header, signature: Buffer.from(signing.sign(signedBytes(header))).toString("base64") };
}

/** headerHolds tells whether the register's key signed this header. */
export function headerHolds(header: StateHeader, key: SigningKey): boolean {
  return ed25519Verify(publicKeyBytes(key), signedBytes(header), Buffer.from(header.signature, "base64"));
}

/** StateError says why a state was not taken. `resync`: asking for everything may help. */
export class StateError extends Error {
  override readonly name = "StateError";
  readonly resync: boolean;

  constructor(cause: string, resync: boolean) {
    super(`Cannot take over the register's state: ${cause}`);
    this.resync = resync;
  }
}

/** applyState returns the state after a message, or throws StateError and leaves the old one valid. */
export function applyState(
  current: SignedState | undefined,
  message: StateMessage,
  trust: { readonly signingKey: SigningKey; readonly node: string },
): SignedState {
  const { header } = message;
  if (header.node !== trust.node)
    throw new StateError(`it is for node ${header.node}; ask the hub's operator`, false);
  if (!headerHolds(header, trust.signingKey))
    throw new StateError(
      "its signature is not of this mesh's register; leave and join again if the hub was made anew",
      false,
    );
  const sameEpoch = current !== undefined && current.header.epoch === header.epoch;
  if (sameEpoch && header.revision < current.header.revision)
    throw new StateError(
      `its revision ${header.revision} is older than ours, ${current.header.revision}`,
      false,
    );
  if (message.from !== undefined && (!sameEpoch || message.from !== current.header.revision))
    throw new StateError(`it continues revision ${message.from}, which is not ours`, true);
  const entries = new Map(message.from === undefined ? [] : current?.entries);
  for (const key of message.remove) entries.delete(key);
  for (const [key, value] of message.set) entries.set(key, canonicalJson(value));
  if (stateDigest(entries) !== header.digest)
    throw new StateError("its content does not fit its digest", message.from !== undefined);
  return { header, entries };
}

/** formatCache returns the text of a file that holds the state. */
export function formatCache(state: SignedState): string {
  const set = [...state.entries].map(([key, value]): [string, Json] => [key, JSON.parse(value) as Json]);
  const message: StateMessage = { type: "state", set, remove: [], header: state.header };
  return `${JSON.stringify(message)}\n`;
}

/** parseCache reads what formatCache wrote, and checks it as if it had come from the network; throws when any of it is wrong. */
export function parseCache(
  text: string,
  trust: { readonly signingKey: SigningKey; readonly node: string },
): SignedState {
  let message: StateMessage;
  try {
    message = stateMessageSchema.parse(JSON.parse(text));
  } catch {
    throw new StateError("the stored copy is damaged; restore it from a backup", false);
  }
  if (message.from !== undefined) throw new StateError("the stored copy is not complete", false);
  return applyState(undefined, message, trust);
}
