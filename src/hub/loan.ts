/**
 * Loans: a node that has a newer register lends it to one that cannot reach a hub. What nodes of one class have in common is signed for
 * each of them by name; so another's header proves it, together with the digest of what is the lender's alone.
 *
 * ```
 * lender   header{node: lender, digest}, shared entries, digest of its own entries
 * borrower checks signature and digest, that the revision is newer and the epoch the same, and that rules treat both alike;
 *          keeps its own entries
 * ```
 * A loan may be lent on. It is laid beside the node's own state and forgotten when a hub tells a newer one.
 */
import { z } from "zod";
import { treatedAlike } from "../mesh/mod.ts";
import type { SigningKey } from "../net/mod.ts";
import { canonicalJson, type Json } from "../resources/mod.ts";
import {
  type Entries,
  headerHolds,
  isOwn,
  ownDigest,
  sharedDigest,
  type SignedState,
  stateDigestOf,
  StateError,
  stateMessageSchema,
} from "./signed-state.ts";
import { type MeshView, meshView } from "./view.ts";

/** loanSchema reads a loan as it is sent and stored. */
export const loanSchema = z.object({
  type: z.literal("loan"),
  header: stateMessageSchema.shape.header,
  set: stateMessageSchema.shape.set,
  /** Digest of the lender's own entries, hex. */
  own: z.string().regex(/^[0-9a-f]{64}$/),
});

/** Loan is a register's shared part with its proof. */
export type Loan = z.output<typeof loanSchema>;

/** mayLend tells whether a node may have what this one has: one that rules treat in another way may not see all of it. */
export function mayLend({ mesh, self, nodes }: MeshView, peer: string): boolean {
  const other = nodes.find((node) => node.name === peer);
  return self !== undefined && other !== undefined && treatedAlike(mesh, self, other);
}

/** loanOf returns what a node can lend of its state; ask mayLend first. */
export function loanOf(state: SignedState): Loan {
  const shared = [...state.entries].filter(([key]) => !isOwn(key));
  return {
    type: "loan",
    header: state.header,
    set: shared.map(([key, value]): [string, Json] => [key, JSON.parse(value) as Json]),
    own: ownDigest(state.entries),
  };
}

/** borrow returns the entries of this node with a loan, or throws StateError and leaves what it had. */
export function borrow(
  current: SignedState,
  loan: Loan,
  trust: { readonly signingKey: SigningKey; readonly node: string },
): Entries {
  const { header } = loan;
  if (!headerHolds(header, trust.signingKey))
    throw new StateError("the loan's signature is not of this mesh's register", false);
  if (header.epoch !== current.header.epoch)
    throw new StateError("the loan is of another register's history; only a hub can bring that", false);
  if (header.revision <= current.header.revision)
    throw new StateError(`the loan's revision ${header.revision} is not newer than ours`, false);
  const shared = new Map(
    loan.set.filter(([key]) => !isOwn(key)).map(([key, value]) => [key, canonicalJson(value)]),
  );
  if (stateDigestOf(sharedDigest(shared), loan.own) !== header.digest)
    throw new StateError("the loan's content does not fit its digest", false);
  const entries = new Map([...shared, ...[...current.entries].filter(([key]) => isOwn(key))]);
  if (header.node !== trust.node) mustSeeAlike(meshView(shared, trust.node), header.node);
  return entries;
}

/** Both must be in the loan: a class that does not talk to itself has nobody to lend from. */
function mustSeeAlike({ mesh, self, nodes }: MeshView, lender: string): void {
  const other = nodes.find((node) => node.name === lender);
  if (self === undefined || other === undefined)
    throw new StateError(`the loan does not hold both this node and ${lender}`, false);
  if (!treatedAlike(mesh, self, other))
    throw new StateError(`the mesh's rules treat ${lender} in another way than this node`, false);
}
