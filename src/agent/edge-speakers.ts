/** The speakers that a router of the edge has run: its own in the fabric, and one for the host's session of each domain that is here. */
import { type EdgeDomain, type EdgeRouter, fabricRouter, hostRouter } from "../edge/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { BgpRouter } from "../resources/mod.ts";

/** SpeakersHere says which of a router's domains are here, and where namespaces are bound. */
export interface SpeakersHere {
  readonly domains: readonly EdgeDomain[];
  readonly has: (vni: number) => boolean;
  readonly folder: string;
}

/** speakersOf returns them; the first is the router's own. */
export function speakersOf(router: EdgeRouter, { domains, has, folder }: SpeakersHere): BgpRouter[] {
  const path = (name: string) => `${folder}/${name}`;
  const hosts = domains.flatMap((domain) => {
    const { vni, routing } = domain;
    const leg = domain.routing?.host;
    if (leg === undefined || !has(vni)) return [];
    const own = hostRouter(router, { vni, leg, namespace: path(`cw-${vni}`) });
    const isLeg = (prefix: Prefix) =>
      leg.host.some(({ ip }) => ip.family === prefix.family && ip.value === prefix.value);
    return [{ ...own, networks: routing?.announce.filter((prefix) => !isLeg(prefix)) ?? [] }];
  });
  return [fabricRouter(router, { namespace: path(router.namespace) }), ...hosts];
}
