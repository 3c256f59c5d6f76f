/** What is different between a BgpRouter before and after, as far as sessions have to know. */
import { parseIp, prefixContains } from "../../net/mod.ts";
import {
  type BgpRouter,
  bgpRouterSpec,
  canonicalJson,
  type Neighbor,
  neighborName,
  type NeighborOptions,
  neighborOptions,
} from "../../resources/mod.ts";

/** specField returns a field of `spec` as text that can be compared. */
export function specField(router: BgpRouter, field: string): string {
  return canonicalJson(bgpRouterSpec(router)[field] ?? null);
}

/** RouterChange is a router before and after. */
export interface RouterChange {
  readonly before: BgpRouter;
  readonly router: BgpRouter;
  /** Tells by a session's options whether its password is another; that stands in no resource. */
  readonly isOther: (options: NeighborOptions) => boolean;
}

/** dynamicDiffers tells whether dynamic neighbors, or groups, have changed. */
export function dynamicDiffers({ before, router, isOther }: RouterChange): boolean {
  const differs = (field: string) => specField(before, field) !== specField(router, field);
  if (differs("dynamicNeighbors") || differs("groups")) return true;
  return router.dynamicNeighbors.some(({ group }) => isOther(router.groups[group] ?? {}));
}

/** sessionDiffers tells whether a neighbor's session cannot go on as it is. */
export function sessionDiffers(
  { before, router, isOther }: RouterChange,
  former: Neighbor,
  now: Neighbor,
): boolean {
  return sessionPart(before, former) !== sessionPart(router, now) || isOther(neighborOptions(router, now));
}

/** twinsOf returns, by the names of routers, the one before it that puts its routes into the same table: each would remove the other's. */
export function twinsOf(routers: readonly BgpRouter[]): ReadonlyMap<string, BgpRouter> {
  const first = new Map<string, BgpRouter>();
  const twins = new Map<string, BgpRouter>();
  for (const router of routers) {
    const { install, namespace = "", installTable = 254 } = router;
    if (!install) continue;
    // By name and by path a namespace is the same.
    const place = `${namespace.replace(/^(\/var)?\/run\/netns\//, "")} ${installTable}`;
    const other = first.get(place);
    if (other === undefined) first.set(place, router);
    else if (other.name !== router.name) twins.set(router.name, other);
  }
  return twins;
}

/** wantsNeighbor tells whether a router has a session with the neighbor of a name; a dynamic one is called by its address. */
export function wantsNeighbor(
  router: BgpRouter,
  { name, dynamic }: { readonly name: string; readonly dynamic: boolean },
): boolean {
  const wish = router.neighbors.find((one) => neighborName(one) === name);
  if (wish !== undefined) return neighborOptions(router, wish).shutdown !== true;
  return dynamic && router.dynamicNeighbors.some(({ prefix }) => prefixContains(prefix, parseIp(name)));
}

/** What of a neighbor a session depends on, as text: all but the names of its policies, and BFD, which runs beside it. */
function sessionPart(router: BgpRouter, wish: Neighbor): string {
  const options = neighborOptions(router, wish);
  const families = Object.fromEntries(
    Object.entries(options.families ?? {}).map(([name, { import: _, export: __, ...rest }]) => [name, rest]),
  );
  const { bfd: _, ...rest } = { ...wish, ...options, families };
  return canonicalJson(JSON.parse(JSON.stringify(rest, bigints)));
}

const bigints = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
