/**
 * ipam: who has which address. Choosing is pure; what was chosen is stored before it is used, and comes back only by release.
 *
 * Which ranges a node has is decided by the hub's register; this folder only does the arithmetic and, for pods, the keeping. Two pools keep:
 * PodPool the node's own ranges, SubnetPool blocks of tenants' subnets, which it claims at the register and returns.
 *
 * @example
 * ```ts
 * const pool = new PodPool(Database.open(path, { schema: [podPoolSchema] }));
 * pool.allocate({ network: "causeway", containerId: "3f2a", ifname: "eth0" }, { ranges: [parsePrefix("10.244.1.0/24")] });
 * ```
 */
export * from "./block-claims.ts";
export * from "./choose.ts";
export * from "./lease-choice.ts";
export * from "./lease-store.ts";
export * from "./next-block.ts";
export * from "./node-range.ts";
export * from "./pod-pool.ts";
export * from "./subnet-pool.ts";
export * from "./subnet-pool-error.ts";
export * from "./subnet-ranges.ts";
