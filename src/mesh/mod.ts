/**
 * mesh: nodes to nodes. The register's content and what this node found become desired state: tunnel, peers, routes, firewall.
 *
 * Pure: no socket, no clock. Which nodes exist is the hub's to say (`hub`); pods on this node are the `pods` feature's.
 *
 * @example
 * ```ts
 * const { gone, set } = scopes.follow(facts);
 * for (const scope of gone) engine.remove(scope);
 * for (const [scope, objects] of set) engine.set(scope, objects);
 * ```
 */
export { type Answers, spendAnswer, startAnswers } from "./answers.ts";
export * from "./candidates.ts";
export { carriedPrefixes, type ExternalFacts, externalObjects, subnetRules, subnetsOf } from "./external.ts";
export { type Enrolment, LINK, type MeshFacts, type PeerPath, PODS_LINK, type VxlanFacts } from "./facts.ts";
export * from "./hub-choice.ts";
export { homeHub, hubDistances, publishedDistances, relaysFor } from "./hub-ranking.ts";
export * from "./hub-state.ts";
export { explainLadder } from "./ladder-explain.ts";
export * from "./ladder.ts";
export { canRest, mindsTime } from "./ladder-rest.ts";
export * from "./ladder-state.ts";
export { OVERHEAD_BYTES, pathMtu, tunnelMtu } from "./mtu.ts";
export { enrolServiceAddress, newcomerObjects, peerScope } from "./objects.ts";
export { prefixesOf } from "./peers.ts";
export {
  explainTalk,
  mayTalk,
  type PolicyNode,
  relayPolicy,
  type TalkClasses,
  talkClasses,
  treatedAlike,
} from "./policy.ts";
export { isTooSmall, leastMtu, tunnelMtuOf } from "./path-mtu.ts";
export * from "./probe.ts";
export { choosePsk, leads, NO_KEY, type PskChoice } from "./psk-choice.ts";
export { heardNext, twins } from "./twin.ts";
export { MeshScopes, type ScopeChanges } from "./scopes.ts";
export { ENROL_PORT, GOSSIP_PORT, SYNC_PORT } from "./ports.ts";
export { meshRuleset } from "./ruleset.ts";
export * from "./uplink.ts";
