/** Which addresses an attachment gets of what its node holds, and what is missing for that. Pure: what is held is asked for. */
import { type Family, type Ip, ipEqual } from "../net/mod.ts";
import type { LeasedBlock } from "./lease-store.ts";
import { addressAt, blockSize, isUsableIn, type SubnetRanges, useOf } from "./subnet-ranges.ts";

/** SubnetWish is what an attachment wants of a subnet. */
export interface SubnetWish {
  readonly subnet: SubnetRanges;
  /** Addresses that it must have; of a family of which none is named it gets any one. */
  readonly requested?: readonly Ip[];
  /** To whom the addresses belong on whatever node, as `vm team-a/db`. */
  readonly owner?: string;
  /** Writes down what the addresses are for, in the same transaction: both are on disk, or neither. */
  readonly onLeased?: (addresses: readonly Ip[]) => void;
}

/** ChosenAddress is a free address and the block that it is in. */
export interface ChosenAddress {
  readonly address: Ip;
  readonly block: LeasedBlock;
}

/** Missing is what has to be claimed first. */
export interface Missing {
  readonly families: readonly Family[];
  readonly addresses: readonly Ip[];
}

/** Holdings is what the node holds of a subnet. */
export interface Holdings {
  /** Blocks with a free address, those first that are to be filled first. */
  free(family: Family): readonly LeasedBlock[];
  /** Blocks that an address is in. */
  around(address: Ip): readonly LeasedBlock[];
  /** Whether an address was in use a moment ago: it is taken last. */
  rests(address: Ip): boolean;
}

/** isMissing tells what is missing from what was chosen. */
export function isMissing<T>(choice: readonly T[] | Missing): choice is Missing {
  return "families" in choice;
}

/** chooseLeases returns free addresses in the order of the subnet's prefixes, or what is missing. A requested one that is leased is chosen, too. */
export function chooseLeases(
  { subnet, requested = [] }: SubnetWish,
  held: Holdings,
): readonly ChosenAddress[] | Missing {
  const chosen: ChosenAddress[] = [];
  const families: Family[] = [];
  const addresses: Ip[] = [];
  for (const { family } of subnet.prefixes) {
    const named = requestedOf(requested, family);
    for (const address of named) {
      const block = held.around(address).find((one) => isUsableIn(one, address));
      if (block === undefined) addresses.push(address);
      else chosen.push({ address, block });
    }
    if (named.length > 0) continue;
    const next = chooseFree(subnet, family, held);
    if (next === undefined) families.push(family);
    else chosen.push(next);
  }
  return families.length + addresses.length > 0 ? { families, addresses } : chosen;
}

function chooseFree(subnet: SubnetRanges, family: Family, held: Holdings): ChosenAddress | undefined {
  let resting: ChosenAddress | undefined;
  // The oldest block first: those that are claimed last become empty, and can be given back.
  for (const block of held.free(family))
    for (let index = 0; index < blockSize(block.block); index++) {
      if ((((block.usable & ~block.used) >> index) & 1) === 0) continue;
      const address = addressAt(block.block, index);
      // The subnet may have been changed since the block was granted.
      if (useOf(subnet, address) !== "dynamic") continue;
      if (!held.rests(address)) return { address, block };
      resting ??= { address, block };
    }
  return resting;
}

/** requestedOf returns the requested addresses of one family, each once. */
export function requestedOf(requested: readonly Ip[], family: Family): Ip[] {
  return requested.filter(
    (address, index) =>
      address.family === family && requested.findIndex((other) => ipEqual(other, address)) === index,
  );
}
