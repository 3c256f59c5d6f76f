/**
 * cni: container runtimes attach and detach pods (Container Network Interface 0.1.0 to 1.1.0).
 *
 * The plugin is a process of a few milliseconds that hands each call to the agent; the agent's CniService does the work. It leaves what
 * a pod's network consists of to `pods`, who has which address to `ipam`, and making it so to `engine`.
 *
 * @example
 * ```ts
 * using service = CniService.open({ engine, folder: "/var/lib/causeway", tombstones: TOMBSTONES });
 * service.setNode({ ranges: [parsePrefix("10.244.1.0/24")], mtuBytes: 1420 });
 * using server = serveCni(service);
 * ```
 */
export * from "./chain.ts";
export * from "./install.ts";
export { CniError } from "./error.ts";
export { missingOf } from "./forwarding.ts";
export { type InteriorOptions, makeInterior } from "./interior.ts";
export * from "./launcher/mod.ts";
export * from "./pod-facts.ts";
export * from "./protocol.ts";
export * from "./serve.ts";
export * from "./service.ts";
export * from "./vpc-network.ts";
