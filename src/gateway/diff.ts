/**
 * What differs between two models of a gateway, so that a change touches what it is about and nothing else. Above all, each route says what its
 * keys are told: routes that are not named are kept, packets and keys, whatever becomes of others.
 */
import { sameValue } from "./identity.ts";
import type { GatewayModel, RouteModel } from "./model.ts";

/** RouteAspect is a part of a route that can change by itself. */
export type RouteAspect = "spi" | "prefixes" | "exchange" | "pairs" | "carriers" | "unusable";

/**
 * KeyEffect says what a change makes of a route's keys, as Vita has it:
 *
 * - `kept`: nothing;
 * - `reset`: what is being negotiated is begun anew, and SAs go on;
 * - `new`: SAs are dropped, and others negotiated.
 */
export type KeyEffect = "kept" | "reset" | "new";

/** RouteChange is what became of a route that is in both models. */
export interface RouteChange {
  readonly before: RouteModel;
  readonly after: RouteModel;
  readonly aspects: readonly RouteAspect[];
  readonly keys: KeyEffect;
}

/** GatewayAspect is a part of a gateway that is no route, queue or SA. */
export type GatewayAspect = Exclude<keyof GatewayModel, "routes" | "queues" | "associations">;

/** Difference of what is kept by keys. */
export interface Difference<K, C> {
  readonly added: readonly K[];
  readonly removed: readonly K[];
  readonly changed: ReadonlyMap<K, C>;
  /** Those that are the same in both. */
  readonly kept: readonly K[];
}

/** GatewayDifference is what differs between two models. */
export interface GatewayDifference {
  readonly aspects: readonly GatewayAspect[];
  /** By number; a changed queue is one whose interfaces changed. */
  readonly queues: Difference<number, "changed">;
  /** By id. */
  readonly routes: Difference<string, RouteChange>;
  /** By `direction queue spi`. A changed SA has other keys, or another route. */
  readonly associations: Difference<string, "changed">;
}

const routeAspects: readonly RouteAspect[] = ["spi", "prefixes", "exchange", "pairs", "carriers", "unusable"];

/** All parts but routes, queues and SAs; a part that is not named here does not compile. */
const gatewayAspects: { readonly [A in GatewayAspect]: true } = {
  inside: true,
  dataPlane: true,
  mtuBytes: true,
  padding: true,
  port: true,
  negotiationMs: true,
  lifetime: true,
  backend: true,
  cpus: true,
};

/** keyEffect says what changed aspects make of a route's keys. */
export function keyEffect(aspects: readonly RouteAspect[]): KeyEffect {
  if (aspects.includes("spi") || aspects.includes("exchange")) return "new";
  return aspects.includes("pairs") ? "reset" : "kept";
}

function routeChange(before: RouteModel, after: RouteModel): RouteChange | undefined {
  const aspects = routeAspects.filter((aspect) => !sameValue(before[aspect], after[aspect]));
  return aspects.length === 0 ? undefined : { before, after, aspects, keys: keyEffect(aspects) };
}

function difference<K, V, C>(
  before: ReadonlyMap<K, V>,
  after: ReadonlyMap<K, V>,
  compare: (before: V, after: V) => C | undefined,
): Difference<K, C> {
  const added: K[] = [];
  const kept: K[] = [];
  const changed = new Map<K, C>();
  for (const [key, value] of after) {
    const old = before.get(key);
    const change = old === undefined ? undefined : compare(old, value);
    if (old === undefined) added.push(key);
    else if (change === undefined) kept.push(key);
    else changed.set(key, change);
  }
  return { added, removed: [...before.keys()].filter((key) => !after.has(key)), changed, kept };
}

const whether = (before: unknown, after: unknown) => (sameValue(before, after) ? undefined : "changed");

/** diffModels returns what differs. */
export function diffModels(before: GatewayModel, after: GatewayModel): GatewayDifference {
  const queues = ({ queues: list }: GatewayModel) => new Map(list.map((queue) => [queue.number, queue]));
  return {
    aspects: (Object.keys(gatewayAspects) as GatewayAspect[]).filter(
      (aspect) => !sameValue(before[aspect], after[aspect]),
    ),
    queues: difference(queues(before), queues(after), whether),
    routes: difference(before.routes, after.routes, routeChange),
    associations: difference(before.associations, after.associations, whether),
  };
}
