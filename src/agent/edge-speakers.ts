/** The speakers that a router of the edge has run: its own in the fabric, and one for the host's session of each domain that is here. */
import { type EdgeDomain, type EdgeRouter, fabricRouter, hostRouter } from "../edge/mod.ts";
import type { Speaker } from "../bgp/mod.ts";
import type { BgpRouter } from "../resources/mod.ts";

/** SpeakersHere says which of a router's domains are here, and where namespaces are bound. */
export interface SpeakersHere {
  readonly domains: readonly EdgeDomain[];
  readonly has: (vni: number) => boolean;
  readonly folder: string;
}

/** speakersOf returns them; the first is the router's own. Those in `known` are the same values as before. */
export function speakersOf(
  router: EdgeRouter,
  { domains, has, folder }: SpeakersHere,
  known: WeakMap<EdgeDomain, BgpRouter>,
): BgpRouter[] {
  const path = (name: string) => `${folder}/${name}`;
  const hosts = domains.flatMap((domain) => {
    const leg = domain.routing?.host;
    if (leg === undefined || !has(domain.vni)) return [];
    const namespace = path(`cw-${domain.vni}`);
    const own = known.get(domain) ?? hostRouter(router, { domain, leg, namespace });
    known.set(domain, own);
    return own;
  });
  return [fabricRouter(router, { namespace: path(router.namespace) }), ...hosts];
}

/** limitedSessions tells which neighbors of a speaker have lost their session because they told more than they may. */
export function limitedSessions(speaker: Speaker | undefined): string[] {
  const fix = "raise maximumPrefixes, or have it announce less; the session begins anew within 5 minutes";
  return [...(speaker?.neighbors ?? [])].flatMap(({ name, limited }) =>
    limited === undefined ? [] : [`the session with ${name} has ended: ${limited}; ${fix}`],
  );
}
