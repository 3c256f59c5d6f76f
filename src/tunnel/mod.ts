/**
 * tunnel: ways of running WireGuard behind one interface: the kernel's, our own engine, and wireguard-go.
 *
 * It leaves keys and peers to the engine, which drives every back-end through `WireguardDevice`, and links of type `wireguard`
 * as well. User-space links are made here and are `external` to the engine.
 *
 * @example
 * ```ts
 * const { backend, reason } = chooseBackend("auto");
 * using tunnel = await backend.open("cw0", { logPath: "/run/causeway/cw0.log" });
 * tunnel.device.change({ listenPort: 51820 });
 * console.log(`${tunnel.provider}, because ${reason}`);
 * ```
 */
export * from "./backend.ts";
export * from "./choice.ts";
export * from "./kernel.ts";
export type { DataplaneStatus } from "./dataplane-status.ts";
export { type OwnOptions, ownBackend, ownProblem } from "./own.ts";
export type { ProbeDatagram, ProbeOptions, ProbeOutcome, ProbePort, ProbeSending } from "./probe-port.ts";
export { PROBE_HEAD_BYTES, PROBE_WHOLE_BYTES } from "./probe-admission.ts";
export { MOST_PROBE } from "./probe-packet.ts";
export type { ClassPair, RelayConfig, RelayControl, RelayStatus } from "./relay/mod.ts";
export { UapiDevice } from "./uapi-device.ts";
export { wireguardGoBackend } from "./wireguard-go.ts";
