/** Where a gateway's configuration comes from, as state, metrics and refusals say it. */
import type { GatewayStateTree } from "../gateway/mod.ts";

/** ConfigSource is who says what a gateway's configuration is. */
export interface ConfigSource {
  /** For people: `Gateway "paris" in /etc/causeway/manifests`. */
  readonly name: string;
  /** What is wrong with it now, one sentence each. */
  readonly problems: readonly string[];
  /** Routes that are wrong, and why. */
  readonly wrongRoutes: ReadonlyMap<string, string>;
  /** Why a verb may not change what a path leads to, and what to do; undefined: it may. */
  refusal(path: string): string | undefined;
}

/** SET is the source of a gateway whose configuration is changed by verbs. */
export const SET: ConfigSource = {
  name: "causeway config, as it was set last",
  problems: [],
  wrongRoutes: new Map(),
  refusal: () => undefined,
};

/** withSource adds to a state where the configuration comes from, and routes that are wrong there. */
export function withSource(state: GatewayStateTree, source: ConfigSource): GatewayStateTree {
  const route = new Map(state.route);
  for (const [id, problem] of source.wrongRoutes) {
    const running = route.get(id);
    if (running === undefined) route.set(id, { id, up: false, reason: problem });
    else
      route.set(id, {
        ...running,
        reason: [`it goes on as it was, since ${problem}`, running.reason].filter(Boolean).join("; "),
      });
  }
  return { ...state, route, configuration: { source: source.name, problem: source.problems } };
}
