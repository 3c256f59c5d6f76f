/**
 * Whom to gossip with, and when: a node that comes within reach at once, on news several others at once, and one at random now and then,
 * which heals what the others missed. Only nodes with a live session are met: gossip never makes a tunnel.
 *
 * With 8 others told by each who learns something, all but about one in 3,000 of any number of nodes hear it in the first wave, after a few
 * round trips (5 for 5,000 nodes); the rest within GOSSIP_MS of meeting anybody.
 */

/** GOSSIP_MS is how often a node meets one other at random. */
export const GOSSIP_MS = 20_000;
const FAN_OUT = 8;
/** News that come together are spread together. */
const NEWS_MS = 50;
/** Who was out of reach for less does not come within reach: a session that is made anew, as at a change of path, is no news. */
const AWAY_MS = 10_000;

/** GossipPlan is when the next meetings are due. */
export interface GossipPlan {
  /** Nodes that were within reach at the last look. */
  readonly alive: ReadonlySet<string>;
  /** When those that were until lately left it. */
  readonly leftMs: ReadonlyMap<string, number>;
  readonly nextMs: number;
  /** When there was news that have not been spread yet. */
  readonly newsMs?: number;
}

/** startPlan begins with nobody known. */
export function startPlan(nowMs: number): GossipPlan {
  return { alive: new Set(), leftMs: new Map(), nextMs: nowMs + GOSSIP_MS };
}

/** withNews remembers that there is something to spread. */
export function withNews(plan: GossipPlan, nowMs: number): GossipPlan {
  return plan.newsMs === undefined ? { ...plan, newsMs: nowMs } : plan;
}

/**
 * stepPlan returns whom to meet now; `alive` are the nodes with a live session, `byChance` those of them that may be met now and then (default
 * all: a meeting keeps a session alive), `random` gives numbers from 0 to below 1.
 */
export function stepPlan(
  plan: GossipPlan,
  now: {
    readonly nowMs: number;
    readonly alive: ReadonlySet<string>;
    readonly byChance?: ReadonlySet<string>;
    readonly random: () => number;
  },
): readonly [GossipPlan, readonly string[]] {
  const { nowMs, alive, byChance = alive, random } = now;
  const leftMs = new Map([...plan.leftMs].filter(([, lastMs]) => nowMs - lastMs < AWAY_MS));
  const isNew = (name: string) => !plan.alive.has(name) && !leftMs.has(name);
  const due = new Set<string>();
  for (const name of alive) if (isNew(name)) due.add(name);
  for (const name of plan.alive) if (!alive.has(name)) leftMs.set(name, nowMs);
  for (const name of alive) leftMs.delete(name);
  const spread = plan.newsMs !== undefined && nowMs - plan.newsMs >= NEWS_MS;
  if (spread) for (const name of some(alive, FAN_OUT, random)) due.add(name);
  const timed = nowMs >= plan.nextMs;
  if (timed && due.size === 0) for (const name of some(byChance, 1, random)) due.add(name);
  const { newsMs, ...rest } = plan;
  // Half fixed, half random: nodes must not all meet in the same moment.
  const nextMs = timed ? nowMs + GOSSIP_MS * (0.5 + random()) : plan.nextMs;
  return [
    {
      ...rest,
      alive: new Set(alive),
      leftMs,
      nextMs,
      ...(newsMs === undefined || spread ? {} : { newsMs }),
    },
    [...due],
  ];
}

function some(names: ReadonlySet<string>, count: number, random: () => number): string[] {
  const left = [...names].sort();
  const taken: string[] = [];
  while (taken.length < count && left.length > 0)
    taken.push(...left.splice(Math.floor(random() * left.length), 1));
  return taken;
}
