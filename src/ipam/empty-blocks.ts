/** EmptyBlocks remembers since when blocks are empty, for due-returns.ts. In memory only: after a restart they count as empty since then. */
import type { HeldBlock } from "./due-returns.ts";
import type { LeasedBlock } from "./lease-store.ts";
import { blockSize, ones, type SubnetRanges, usableMask } from "./subnet-ranges.ts";

/** EmptyBlocks holds a moment for each empty block. */
export class EmptyBlocks {
  #since = new Map<number, number>();

  /** forget says that something was leased of a block until now. */
  forget(number: number): void {
    this.#since.delete(number);
  }

  /** look returns the blocks that are held, as they are now. */
  look(
    blocks: readonly LeasedBlock[],
    now: { readonly nowMs: number; readonly subnetOf: (name: string) => SubnetRanges | undefined },
  ): HeldBlock[] {
    const held = blocks.filter(({ returning }) => !returning);
    const empty = held.filter(({ used }) => used === 0);
    this.#since = new Map(empty.map(({ number }) => [number, this.#since.get(number) ?? now.nowMs]));
    return held.map((one) => {
      const emptySinceMs = this.#since.get(one.number);
      return {
        number: one.number,
        pool: `${one.subnet} ${one.block.family}`,
        single: blockSize(one.block) === 1,
        free: ones(one.usable & ~one.used),
        useless: isUseless(one, now.subnetOf(one.subnet)),
        ...(emptySinceMs === undefined ? {} : { emptySinceMs }),
      };
    });
  }
}

/** Whether nothing of a block can be handed out by itself: the subnet is gone, or has changed. */
function isUseless({ block, usable }: LeasedBlock, subnet: SubnetRanges | undefined): boolean {
  return subnet === undefined || (usableMask(subnet, block) & usable) === 0;
}
