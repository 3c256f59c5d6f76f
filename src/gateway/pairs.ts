/**
 * Which queue goes to which gateway of a route.
 *
 * Each gateway is the first choice of one queue at most: with Vita's exchange only one pair of addresses works for a route and a gateway, since
 * the other end has one address of ours for each of its own. Queues without a pair hand their packets to one that has: so both ends may have
 * different numbers of queues and gateways, which Vita cannot.
 *
 * ```
 * gateways by queue:  1: A, 2: B      our queues 1, 2:  1 → A (then B), 2 → B (then A)
 * gateways by queue:  1: A            our queues 1, 2:  1 → A;  2 is carried by 1
 * gateways by queue:  1: A, 2: B      our queue  1:     1 → A (then B)
 * ```
 */
import type { Family, Ip } from "../net/mod.ts";
import type { PairModel, PublicModel, QueueModel } from "./model.ts";

/** GatewayChoice is a gateway of a route, and the queue that it is meant for. */
export interface GatewayChoice {
  readonly ip: Ip;
  readonly queue: number;
}

/** publicOf returns a queue's public side of a family. */
export function publicOf(queue: QueueModel, family: Family): PublicModel | undefined {
  return family === 4 ? queue.public4 : queue.public6;
}

function pair(
  queue: QueueModel,
  first: GatewayChoice,
  others: readonly GatewayChoice[],
): PairModel | undefined {
  const side = publicOf(queue, first.ip.family);
  if (side === undefined) return undefined;
  const rest = others.filter(({ ip }) => ip.family === first.ip.family && ip !== first.ip);
  return {
    queue: queue.number,
    local: { ip: side.ip, identity: side.identity },
    gateways: [first.ip, ...rest.map(({ ip }) => ip)],
  };
}

/** Pairs where the other gateway calls: any queue that has a public side. */
function calledPairs(queues: readonly QueueModel[]): PairModel[] {
  return queues.flatMap((queue) => {
    const side = queue.public4 ?? queue.public6;
    if (side === undefined) return [];
    return [{ queue: queue.number, local: { ip: side.ip, identity: side.identity }, gateways: [] }];
  });
}

/** pairsOf returns the pairs of a route, by number of queue. */
export function pairsOf(queues: readonly QueueModel[], gateways: readonly GatewayChoice[]): PairModel[] {
  if (gateways.length === 0) return calledPairs(queues);
  const inOrder = [...gateways].sort((a, b) => a.queue - b.queue);
  const left = new Set(inOrder);
  const pairs: PairModel[] = [];
  const take = (queue: QueueModel, choice: GatewayChoice | undefined) => {
    const made = choice && pair(queue, choice, inOrder);
    if (choice === undefined || made === undefined) return;
    pairs.push(made);
    left.delete(choice);
  };
  for (const queue of queues)
    take(
      queue,
      inOrder.find((choice) => choice.queue === queue.number),
    );
  // Gateways of queues that are not here serve those that have none.
  const free = queues.filter(({ number }) => !pairs.some((made) => made.queue === number));
  for (const queue of free)
    take(
      queue,
      [...left].find(({ ip }) => publicOf(queue, ip.family) !== undefined),
    );
  return pairs.sort((a, b) => a.queue - b.queue);
}

/** carriersOf spreads the queues without a pair over those with one, in turn. */
export function carriersOf(
  queues: readonly QueueModel[],
  pairs: readonly PairModel[],
): ReadonlyMap<number, number> {
  const own = new Set(pairs.map(({ queue }) => queue));
  const without = queues.filter(({ number }) => !own.has(number));
  if (pairs.length === 0) return new Map();
  return new Map(
    without.map(({ number }, i) => [number, (pairs[i % pairs.length] as PairModel).queue] as const),
  );
}
