/**
 * resources: everything that a user can ask for. One file per kind: schema, defaults, validation, example.
 *
 * The same manifest may lie in a directory, come from the hub or from Kubernetes; it is parsed here, once, with the same
 * errors. What a resource makes the kernel do is the affair of the features.
 *
 * @example
 * ```ts
 * const { resources, problems } = parseManifest(meshExample);
 * for (const problem of problems) throw new Error(formatProblem(problem));
 * formatManifest(resources);
 * ```
 */
export { canonicalJson, type Json, present } from "./canonical.ts";
export * from "./manifest.ts";
export { type Mesh, meshExample, meshSpec, randomUla, type Topology, topologies } from "./mesh.ts";
export { formatDurationMs, parseDurationMs } from "./duration.ts";
export { formatRule, type NodeSelector, type Rule } from "./rules.ts";
export { MAX_NODE_BITS, nodeBitsProblem } from "./node-bits.ts";
export {
  type HubDistance,
  hubDistanceSchema,
  type Node,
  type Observation,
  nodeExample,
  nodeRole,
  nodeSpec,
  nodeStatus,
  tlsPinSchema,
} from "./node.ts";
export { EXTERNAL_ROLE, type ExternalPeer, peerExample, peerNetworks, peerSpec } from "./peer.ts";
export {
  endpointSchema,
  type ExposedPort,
  formatExposedPort,
  hostPortSchema,
  labelSchema,
  nameProblem,
  parseExposedPort,
  prefixSchema,
  publicKeySchema,
  siteSchema,
} from "./scalars.ts";
