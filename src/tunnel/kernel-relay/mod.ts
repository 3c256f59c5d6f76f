/**
 * kernel-relay: relaying on a hub whose tunnel is the kernel's WireGuard: a process beside it, and its supervision.
 *
 * What is relayed, for whom and how is ../relay's affair; here is how packets come and go while the UDP port is another's.
 *
 * @example
 * ```ts
 * using relay = await RelayProcess.open({ link: "cw0" });
 * relay.set({ enabled: true, classes: new Map([[alice, 1], [bob, 1]]) });
 * ```
 */
export { serveKernelRelay } from "./kernel-relay.ts";
export { RelayProcess, type RelayProcessOptions } from "./supervision.ts";
