/**
 * hub: the register of nodes, how newcomers get into it, and how nodes follow it. All of it runs inside the tunnel.
 *
 * It leaves what nodes do with the register's content to `mesh`, and the WireGuard device to the agent, which reports handshakes
 * and endpoints back (`handshakeSeen`, `observe`).
 *
 * @example
 * ```ts
 * using register = Register.open("/var/lib/causeway/register.db");
 * using registrar = new Registrar(register);
 * await registrar.init(newMesh("home", { endpoints: ["hub.example.com:51820"] }), { name: "hub", publicKey, endpoints: [] });
 * using server = HubServer.start({ registrar, facts: new FactBook(), enrolAddress, overlayAddresses, signing, hubKey });
 * const { text } = await registrar.createToken({ uses: 1, nowMs: wallMs(), expiresAtMs, signingKey: signing.publicKey });
 * ```
 */
export { type FollowedHub, HubClient, type HubClientOptions } from "./client.ts";
export { type Enrolled, enrol, type EnrolWay, type Newcomer } from "./enrol-client.ts";
export { Etcd, type EtcdOptions, type MemberStatus } from "./etcd.ts";
export { EtcdLog, etcdPrefix } from "./etcd-log.ts";
export { HubClaims } from "./hub-claims.ts";
export type { HubSecret } from "./hub-secret.ts";
export type { LinkState } from "./hub-links.ts";
export { ASK_MS, NodeClaims } from "./node-claims.ts";
export { Refusal, type RefusalCode } from "./refusal.ts";
export { type Claims, Register, type Registration } from "./register.ts";
export type { LogState, RegisterLog } from "./register-log.ts";
export { Registrar } from "./registrar.ts";
export { type HubLogEvent, type HubOptions, HubServer, STATE_INTERVAL_MS } from "./server.ts";
export { formatCache, parseCache, type SignedState, StateError } from "./signed-state.ts";
export {
  type EdgeBook,
  type EdgeOfAll,
  edgeState,
  type EdgeState,
  type FailedResource,
} from "./edge-book.ts";
export { FactBook, type NodeFacts, type RouteFact, routeFacts } from "./facts.ts";
export {
  formatToken,
  MAX_USES,
  parseToken,
  type Token,
  type TokenHub,
  tokenHubs,
  type TokenTls,
  tokenUse,
  type TokenUse,
} from "./token.ts";
export type { TokenInfo } from "./token-store.ts";
export type { PutResult } from "./apply-tenant.ts";
export { type MeshView, meshView, type ViewCache } from "./view.ts";
export { Gossip, type GossipOptions } from "./gossip-service.ts";
export type { GossipLocal } from "./gossip.ts";
export { explainAge, Kept, type SnapshotAge, snapshotAge } from "./kept.ts";
export type { Loan } from "./loan.ts";
export { operatorRemoval, type Removal, removalSchema, type Removals } from "./removal.ts";
export { withoutRemoved } from "./removed-view.ts";
export type { RefusalReason, TokenRefusals } from "./admission.ts";
export { chosenKeys, PairKeys, type SealedKey } from "./pair-keys.ts";
export {
  type Rotation,
  type RotationClaim,
  type RotationEvent,
  rotationProof,
  startRotation,
  stepRotation,
} from "./rotation.ts";
