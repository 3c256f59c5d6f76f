/**
 * agent: the one process of a node, and the only folder that knows all others. It brings facts to the features, desired state to
 * the engine, and answers the command line, container runtimes and other nodes.
 *
 * @example
 * ```ts
 * await runAgent({ tunnel: "auto", portMapping: "auto", tls: "never" }); // until SIGTERM
 * ```
 */
export * from "./api.ts";
export { CTL_SOCKET } from "./paths.ts";
export { runAgent } from "./run.ts";
export { VERSION } from "./version.ts";
export { portMappingModes } from "./ways.ts";
