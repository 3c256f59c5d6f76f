/**
 * hub: the register of nodes, how newcomers get into it, and how nodes follow it. All of it runs inside the tunnel.
 *
 * It leaves what nodes do with the register's content to `mesh`, and the WireGuard device to the agent, which reports handshakes
 * and endpoints back (`handshakeSeen`, `observe`).
 *
 * @example
 * ```ts
 * using register = Register.open("/var/lib/causeway/register.db");
 * register.init(newMesh("home", { endpoints: ["hub.example.com:51820"] }), { name: "hub", publicKey, endpoints: [] });
 * using server = HubServer.start({ register, enrolAddress, overlayAddresses, signing, hubKey });
 * const { text } = register.createToken({ uses: 1, nowMs: wallMs(), expiresAtMs, signingKey: signing.publicKey });
 * ```
 */
export { HubClient, type HubClientOptions } from "./client.ts";
export { type Enrolled, enrol, type Newcomer } from "./enrol-client.ts";
export { Refusal, type RefusalCode } from "./refusal.ts";
export { Register, type Registration } from "./register.ts";
export { type HubLogEvent, type HubOptions, HubServer, STATE_INTERVAL_MS } from "./server.ts";
export { formatCache, parseCache, type SignedState, StateError } from "./signed-state.ts";
export type { NodeFacts } from "./sync-protocol.ts";
export { formatToken, MAX_USES, parseToken, type Token, tokenUse, type TokenUse } from "./token.ts";
export type { TokenInfo } from "./token-store.ts";
export { type MeshView, meshView } from "./view.ts";
