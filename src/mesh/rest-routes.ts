/**
 * Routes to nodes at rest: one for all of a network instead of some for each node. Their MTU is the least that any of them needs, so that no packet is
 * too large for the way on which a pair begins to talk; once it talks, it has routes of its own, of which the MTU is known.
 */
import type { Route } from "../engine/mod.ts";
import type { Prefix } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import type { MeshFacts } from "./facts.ts";
import { pathMtu } from "./mtu.ts";
import { tunnelRoute } from "./peers.ts";

/** restMtu returns what the way to one node carries, if it rests. */
export function restMtu(node: Node, { mtuBytes, paths }: MeshFacts): number | undefined {
  const path = paths?.get(node.name);
  return path?.rests === true ? pathMtu(mtuBytes, node.mtuBytes, path.mtuBytes) : undefined;
}

/** leastRestMtu returns the least of all that rest; undefined when none does. */
export function leastRestMtu(facts: MeshFacts): number | undefined {
  const all = facts.nodes.flatMap((node) => restMtu(node, facts) ?? []);
  return all.length === 0 ? undefined : all.reduce((a, b) => Math.min(a, b));
}

/** restRoutes returns the routes of the overlay, and of all pods where anybody rests; `mtuBytes`: the least of those. */
export function restRoutes(facts: MeshFacts, mtuBytes: number | undefined): Route[] {
  const { mesh } = facts;
  const pods = mtuBytes === undefined ? [] : [mesh.pods4, mesh.pods6];
  return [mesh.overlay4, mesh.overlay6, ...pods]
    .filter((prefix): prefix is Prefix => prefix !== undefined)
    .map((prefix) => tunnelRoute(prefix, facts, mtuBytes ?? facts.mtuBytes));
}
