/**
 * Which empty blocks a node gives back, and when. Pure.
 *
 * ```
 *  leased ── last lease ends ──▶ empty ── EMPTY_MS ──▶ returned      single address: SINGLE_REST_MS
 *                                  │ the only spare of a subnet that is in use, where the others have little room: stays
 *                                  └ nothing leased in the subnet: LAST_MS
 * ```
 * A spare spares pods that come and go at the edge of a block a claim each time, and lets new ones start while all hubs are away. Of a tiny
 * subnet none is kept: others may need it.
 */

/** EMPTY_MS is how long a block is empty before it is returned, while there is another spare. */
export const EMPTY_MS = 60_000;
/** LAST_MS is the same when nothing of the subnet is leased here any more; whoever deletes the Subnet waits for it. */
export const LAST_MS = 120_000;
/** SINGLE_REST_MS is how long a single address rests before others may have it. */
export const SINGLE_REST_MS = 10_000;

/** ROOMY is how many free addresses in blocks that are in use make a spare needless. More than AHEAD, so that none is claimed and returned in turns. */
export const ROOMY = 8;

/** HeldBlock is a block that the node holds. */
export interface HeldBlock {
  readonly number: number;
  /** Subnet and family: among these one spare is kept. */
  readonly pool: string;
  readonly single: boolean;
  /** How many of its addresses are not leased. */
  readonly free: number;
  /** Of its addresses, none may be handed out any more. */
  readonly useless: boolean;
  /** Since when nothing of it is leased; absent while something is. Milliseconds of any clock. */
  readonly emptySinceMs?: number;
}

/** dueReturns returns the numbers of blocks that are to be given back now. */
export function dueReturns(blocks: readonly HeldBlock[], nowMs: number): number[] {
  const room = new Map<string, number>();
  for (const { pool, free, emptySinceMs } of blocks)
    if (emptySinceMs === undefined) room.set(pool, (room.get(pool) ?? 0) + free);
  const spares = new Map<string, number>();
  const due: number[] = [];
  for (const block of [...blocks].sort((a, b) => (b.emptySinceMs ?? 0) - (a.emptySinceMs ?? 0))) {
    if (block.emptySinceMs === undefined) continue;
    const emptyMs = nowMs - block.emptySinceMs;
    const small = block.single || block.useless;
    const count = (spares.get(block.pool) ?? 0) + (small ? 0 : 1);
    spares.set(block.pool, count);
    if (emptyMs >= restMs(block, { spare: count === 1, room: room.get(block.pool) })) due.push(block.number);
  }
  return due;
}

function restMs(block: HeldBlock, { spare, room }: { spare: boolean; room: number | undefined }): number {
  if (block.single || block.useless) return SINGLE_REST_MS;
  if (spare && room === undefined) return LAST_MS;
  return spare && (room ?? 0) < ROOMY ? Number.POSITIVE_INFINITY : EMPTY_MS;
}
