/**
 * gatewayd: the process of a site gateway. It joins what others are: configuration and model (src/gateway), keepers of keys (src/gateway/keys),
 * and what carries packets (src/tunnel/gateway), and has files, socket, timers and threads for them.
 *
 * ```
 * command line ═ NAME.sock ═ ControlSocket ── Gateway ─┬─ Keys: keepers, timer, sequence numbers on disk
 *                                             (files)  └─ DataPath ── GatewayBackEnd: XdpBackEnd ═ threads, one a queue
 *  manifests ═ ManifestSource (in place of verbs) ─┘
 * ```
 * It decides nothing about packets and keys; it performs effects, those of one route in their order.
 *
 * @example
 * ```ts
 * await runGateway({ name: "paris", cpus: [2, 3], libraries: [] });
 * ```
 */
export type { BackEndNews, GatewayBackEnd, Tell } from "./back-end.ts";
export * from "./control-protocol.ts";
export { type Rates, type Span, spans } from "./history.ts";
export { type GatewayRunOptions, runGateway } from "./run.ts";
