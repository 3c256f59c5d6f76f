/** Where a gateway's configuration comes from, as state, metrics and refusals say it. */
import type { GatewayStateTree } from "../gateway/mod.ts";

/** ConfigSource is who says what a gateway's configuration is. */
export interface ConfigSource {
  /** For people: `Gateway "paris" in /etc/causeway/manifests`. */
  readonly name: string;
  /** What is wrong with it now, one sentence each. */
  readonly problems: readonly string[];
  /** What is wrong with the Gateway itself, which every Route of it shares; undefined: nothing. */
  readonly problem?: string | undefined;
  /** Routes that it has, by name. */
  readonly routes: readonly string[];
  /** Routes that are wrong, and why. */
  readonly wrongRoutes: ReadonlyMap<string, string>;
  /** Why a verb may not change what a path leads to, and what to do; undefined: it may. */
  refusal(path: string): string | undefined;
}

/** SET is the source of a gateway whose configuration is changed by verbs. */
export const SET: ConfigSource = {
  name: "causeway config, as it was set last",
  problems: [],
  routes: [],
  wrongRoutes: new Map(),
  refusal: () => undefined,
};

/** withSource adds to a state where the configuration comes from, what of that is not used, and routes that are wrong there. */
export function withSource(state: GatewayStateTree, source: ConfigSource): GatewayStateTree {
  const { problem: shared } = source;
  const route = new Map(
    shared === undefined
      ? state.route
      : [...state.route].map(([id, one]) => [id, { ...one, reason: joined(shared, one.reason) }] as const),
  );
  for (const [id, problem] of source.wrongRoutes) {
    const running = route.get(id);
    if (running === undefined) route.set(id, { id, up: false, reason: problem });
    else
      route.set(id, {
        ...running,
        reason: joined(`it goes on as it was, since ${problem}`, running.reason),
      });
  }
  // Those that came while it is refused.
  if (shared !== undefined)
    for (const id of source.routes) if (!route.has(id)) route.set(id, { id, up: false, reason: shared });
  return { ...state, route, configuration: { source: source.name, problem: source.problems } };
}

const joined = (...reasons: readonly (string | undefined)[]) => reasons.filter(Boolean).join("; ");
