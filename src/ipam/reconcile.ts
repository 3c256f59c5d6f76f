/**
 * What a node does when it hears which blocks the register says that it holds. Pure.
 *
 * ```
 *  register  node          then
 *  has       not           held from now on: the reply to a claim was lost
 *  has       held          nothing; what the register does not let it hand out any more, it does not
 *  has       returning     return it again: the return was lost
 *  has not   returning     gone: the reply to the return was lost
 *  has not   held          gone: the node was removed, or the register is an older copy. Leases of it are claimed one by one.
 * ```
 */
import { prefixEqual } from "../net/mod.ts";
import type { Grant } from "./block-claims.ts";
import type { LeasedBlock } from "./lease-store.ts";

/** Reconciled is what is to be done, in this order. */
export interface Reconciled {
  /** Numbers of blocks that are not the node's any more. */
  readonly drop: readonly number[];
  /** Grants to be stored. */
  readonly put: readonly Grant[];
}

/** reconcile compares what a node holds with what the register says. */
export function reconcile(held: readonly LeasedBlock[], granted: readonly Grant[]): Reconciled {
  const known = new Map(held.map((block) => [block.number, block]));
  const numbers = new Set(granted.map(({ number }) => number));
  return {
    drop: held.filter(({ number }) => !numbers.has(number)).map(({ number }) => number),
    put: granted.filter((grant) => !isKnown(known.get(grant.number), grant)),
  };
}

function isKnown(block: LeasedBlock | undefined, grant: Grant): boolean {
  if (block === undefined) return false;
  // An older copy of the register may give a number anew, to another block.
  const same = block.subnet === grant.subnet && prefixEqual(block.block, grant.block);
  return same && (block.returning || (block.usable & ~grant.usable) === 0);
}
