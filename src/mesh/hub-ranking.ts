/** The order of hubs: for this node, and for a pair of nodes, where both find the same. */
import type { HubDistance } from "../resources/mod.ts";
import type { HubChoice, HubHealth } from "./hub-state.ts";
import type { Relay } from "./ladder-state.ts";
import { isTooSmall, pathMtuOf } from "./path-mtu.ts";

/** Another hub must be better by both. */
const BETTER_MS = 15;
const BETTER_SHARE = 0.25;
/** A hub that was down must be up for this time, doubled each time, before it is preferred again. */
const SETTLE_MS = 10_000;
const MOST_SETTLE_MS = 320_000;
/** Distance of a hub that nobody has measured. */
const UNKNOWN_RTT_MS = 500;

function settled(hub: HubHealth, nowMs: number): boolean {
  const settleMs = hub.downs === 0 ? 0 : Math.min(MOST_SETTLE_MS, SETTLE_MS * 2 ** (hub.downs - 1));
  return hub.state === "up" && nowMs - hub.sinceMs >= settleMs;
}

/** Whether one distance is so much better that it is worth a move. */
function muchBetter(ms: number, than: number): boolean {
  return ms < than - BETTER_MS && ms < than * (1 - BETTER_SHARE);
}

/** chooseHome lets the best hub serve this node. */
export function chooseHome(state: HubChoice, nowMs: number): HubChoice {
  const [best] = ranked(state.hubs, {
    nowMs,
    costMs: (hub) => hub.saidMs ?? UNKNOWN_RTT_MS,
    current: state.home,
  });
  if (best === undefined || best.name === state.home) return state;
  return { ...state, home: best.name };
}

/** Best first: up and settled, up, unknown, down; within these by cost; the current one stays unless another is much better. */
function ranked(
  hubs: readonly HubHealth[],
  options: {
    readonly nowMs: number;
    readonly costMs: (hub: HubHealth) => number;
    readonly current: string | undefined;
    /** The costs are not all known: of hubs that are as well the current one stays. */
    readonly stays?: boolean;
  },
): readonly HubHealth[] {
  const { nowMs, costMs, current, stays = false } = options;
  const kind = (hub: HubHealth) =>
    hub.state === "up"
      ? settled(hub, nowMs) || hub.name === current
        ? 0
        : 1
      : hub.state === "unknown"
        ? 2
        : 3;
  const sorted = [...hubs].sort(
    (a, b) => kind(a) - kind(b) || costMs(a) - costMs(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
  const [best] = sorted;
  const now = sorted.find(({ name }) => name === current);
  if (
    best === undefined ||
    now === undefined ||
    kind(now) !== kind(best) ||
    (!stays && muchBetter(costMs(best), costMs(now)))
  )
    return sorted;
  return [now, ...sorted.filter((hub) => hub !== now)];
}

/**
 * relaysFor returns the hubs through which a pair can be relayed, best first. `peer` is what the other node publishes, undefined when
 * it publishes nothing yet; `current` is the hub that relays now. With all hubs down, all are returned: a hub is left for another only.
 */
export function relaysFor(
  state: HubChoice,
  options: { readonly nowMs: number; readonly peer?: readonly HubDistance[]; readonly current?: string },
): readonly Relay[] {
  const { peer } = options;
  const theirs = (hub: HubHealth) => peer?.find((one) => one.hub === hub.name);
  const alive = state.hubs.filter((hub) => hub.state !== "down");
  const own = alive.length > 0 ? alive : state.hubs;
  const both = own.filter((hub) => peer === undefined || theirs(hub) !== undefined);
  const costMs = (hub: HubHealth) =>
    (hub.saidMs ?? UNKNOWN_RTT_MS) + (peer === undefined ? 0 : (theirs(hub)?.rttMs ?? UNKNOWN_RTT_MS));
  const { nowMs, current } = options;
  return ranked(both.length > 0 ? both : own, { nowMs, costMs, current, stays: peer === undefined }).map(
    (hub): Relay => {
      const other = theirs(hub);
      const ours = isTooSmall(hub.mtu) ? undefined : pathMtuOf(hub.mtu);
      const mtuBytes =
        ours === undefined || other?.mtuBytes === undefined ? undefined : Math.min(ours, other.mtuBytes);
      return {
        hub: hub.name,
        endpoint: hub.endpoint,
        ...(hub.rttMs === undefined || other === undefined ? {} : { rttMs: hub.rttMs + other.rttMs }),
        ...(mtuBytes === undefined ? {} : { mtuBytes }),
        ...(hub.instance === undefined ? {} : { instance: hub.instance }),
      };
    },
  );
}

/** hubDistances returns the hubs that this node reaches, nearest first. */
export function hubDistances(state: HubChoice): readonly HubDistance[] {
  return state.hubs
    .flatMap((hub): HubDistance[] => {
      if (hub.state !== "up" || hub.saidMs === undefined) return [];
      const mtuBytes = hub.mtu.foundMs === undefined ? undefined : pathMtuOf(hub.mtu);
      return [{ hub: hub.name, rttMs: hub.saidMs, ...(mtuBytes === undefined ? {} : { mtuBytes }) }];
    })
    .sort((a, b) => a.rttMs - b.rttMs || (a.hub < b.hub ? -1 : 1));
}

/**
 * publish keeps what is published as it is while it is not known of some hub whether it answers: others take one that is not named for one that
 * is not reached, and leave it. After an agent's start that would be all but the first that answers.
 */
export function publish(state: HubChoice): HubChoice {
  const known = state.published.filter(({ hub }) => state.hubs.some(({ name }) => name === hub));
  const published = state.hubs.some((hub) => hub.state === "unknown") ? known : hubDistances(state);
  return { ...state, published };
}

/** publishedDistances returns what this node tells others of the hubs that it reaches; nothing before all of them were tried. */
export function publishedDistances({ published }: HubChoice): readonly HubDistance[] {
  return published;
}

/** homeHub returns the hub that serves this node best, with its health. */
export function homeHub(state: HubChoice): HubHealth | undefined {
  return state.hubs.find(({ name }) => name === state.home);
}
