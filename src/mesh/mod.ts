/**
 * mesh: nodes to nodes. The register's content and what this node found become desired state: tunnel, peers, routes, firewall.
 *
 * Pure: no socket, no clock. Which nodes exist is the hub's to say (`hub`); pods on this node are the `pods` feature's.
 *
 * @example
 * ```ts
 * for (const [scope, objects] of meshObjects(facts)) engine.set(scope, objects);
 * ```
 */
export * from "./candidates.ts";
export { type Enrolment, LINK, type MeshFacts, type PeerPath, PODS_LINK } from "./facts.ts";
export { OVERHEAD_BYTES, pathMtu, tunnelMtu } from "./mtu.ts";
export { enrolServiceAddress, meshObjects, newcomerObjects } from "./objects.ts";
export * from "./path.ts";
export { prefixesOf } from "./peers.ts";
export { ENROL_PORT, SYNC_PORT } from "./ports.ts";
export { meshRuleset } from "./ruleset.ts";
