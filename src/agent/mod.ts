/**
 * agent: the one process of a node, and the only folder that knows all others. It brings facts to the features, desired state to
 * the engine, and answers the command line, container runtimes and other nodes.
 *
 * @example
 * ```ts
 * await runAgent({ inPod: false, tunnel: "auto", portMapping: "auto", tls: { mode: "never" }, relayXdp: [], pods: { kubeNode: "n1" } }); // until SIGTERM
 * ```
 */
export * from "./api.ts";
export type { ShownEdge } from "./cluster-bgp.ts";
export { parseLinks } from "./hub-relaying.ts";
export { runAgent } from "./run.ts";
export { proxyOf } from "./tls-wish.ts";
export { portMappingModes } from "./ways.ts";
