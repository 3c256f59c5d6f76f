/** Which block of a subnet is claimed next. Pure: what is held is asked for. */
import {
  bitsOf,
  hostPrefix,
  type Ip,
  type Prefix,
  prefixAddress,
  prefixContains,
  prefixLast,
  subnet as partOf,
} from "../net/mod.ts";
import {
  addressAt,
  blockLength,
  blockSize,
  inRange,
  type SubnetRanges,
  usableMask,
} from "./subnet-ranges.ts";

/** MAX_BLOCKS of a prefix are claimed at most, from its beginning: a million addresses. */
export const MAX_BLOCKS = 65_536;

/** NextBlock is a free block and which of its addresses may be handed out: bit 0 is the first one's. */
export interface NextBlock {
  readonly index: number;
  readonly block: Prefix;
  readonly usable: number;
}

/** blockCount returns how many blocks of a subnet's prefix there are, MAX_BLOCKS at most. */
export function blockCount(prefix: Prefix): number {
  return Math.min(2 ** (blockLength(prefix) - prefix.length), MAX_BLOCKS);
}

/**
 * isScarce tells whether so many blocks are claimed that only single addresses are granted: of a subnet in which each node held a block with
 * one pod, the last nodes would get none.
 */
export function isScarce(subnet: SubnetRanges, prefix: Prefix, claimedBlocks: number): boolean {
  if (blockLength(prefix) === bitsOf(prefix.family)) return false;
  const size = BigInt(blockSize({ ...prefix, length: blockLength(prefix) }));
  const keptBack = [...subnet.reserved, ...subnet.fixed]
    .filter(({ first }) => prefixContains(prefix, first))
    .reduce((sum, { first, last }) => {
      const [from, to] = [(first.value + size - 1n) / size, (last.value + 1n) / size];
      return to > from ? sum + (to - from) : sum;
    }, 0n);
  const free = BigInt(blockCount(prefix)) - keptBack;
  return BigInt(claimedBlocks) * 4n >= free * 3n;
}

/** firstOf returns the block of the first address that may be handed out alone. */
export function firstOf({ index, block, usable }: NextBlock): NextBlock {
  const first = 31 - Math.clz32(usable & -usable);
  return { index, block: hostPrefix(addressAt(block, first)), usable: 1 };
}

/**
 * nextBlock returns the next block with a free address behind `after`, the index of the one that was claimed last, and wraps: what was
 * returned rests as long as possible. `held` tells which addresses of a block others have: all of it, or a mask of single ones.
 */
export function nextBlock(
  subnet: SubnetRanges,
  prefix: Prefix,
  { after, held }: { readonly after: number | undefined; readonly held: (block: Prefix) => "all" | number },
): NextBlock | undefined {
  const count = blockCount(prefix);
  const start = after === undefined ? 0 : (after + 1) % count;
  let looked = 0;
  while (looked < count) {
    const index = (start + looked) % count;
    const block = partOf(prefix, blockLength(prefix), BigInt(index));
    const skip = Math.min(skipped(subnet, block), count - index);
    if (skip > 0) {
      looked += skip;
      continue;
    }
    looked++;
    const taken = held(block);
    const usable = taken === "all" ? 0 : usableMask(subnet, block) & ~taken;
    if (usable !== 0) return { index, block, usable };
  }
  return undefined;
}

/** How many blocks from this one lie in one range that is not handed out: a large one costs one step, not one for each block. */
function skipped(subnet: SubnetRanges, block: Prefix): number {
  const first = prefixAddress(block);
  const last = prefixLast(block);
  const range = [...subnet.reserved, ...subnet.fixed].find(
    (one) => inRange(one, first) && inRange(one, last),
  );
  if (range === undefined) return 0;
  const blocks = (range.last.value + 1n - first.value) / BigInt(blockSize(block));
  return blocks > BigInt(MAX_BLOCKS) ? MAX_BLOCKS : Number(blocks);
}

/**
 * lastFree returns the highest address of a subnet that may be handed out and is free, for what keeps its address: it stands where
 * blocks are claimed last. At most `limit` addresses are looked at.
 */
export function lastFree(
  prefix: Prefix,
  { free, limit }: { readonly free: (address: Ip) => boolean; readonly limit: number },
): Ip | undefined {
  const size = blockSize(partOf(prefix, blockLength(prefix), 0n));
  const most = Math.min(2 ** Math.min(bitsOf(prefix.family) - prefix.length, 52), blockCount(prefix) * size);
  for (let index = most - 1, looked = 0; index >= 0 && looked < limit; index--, looked++) {
    const address = addressAt(prefix, index);
    if (free(address)) return address;
  }
  return undefined;
}
