/**
 * edge: nodes as provider-edge routers of a data-centre fabric, as values. Pure: resources and what is known of a node in, what that node's edge
 * is out; and what is wrong, of one change or on one node.
 *
 * ```
 * OpenPERouter's manifests ─ convert ─┐
 * Underlay, VPC, Subnet ──────────────┴─▶ judge ─▶ plan ─▶ EdgePlan
 *                                           └───▶ admit ─▶ problems (at the register)
 * ```
 * It leaves kernel objects to an engine's feature, sessions to `bgp`, pods and what EVPN tells of elsewhere to `domain`, and files, namespaces
 * and time to the agent.
 *
 * @example
 * ```ts
 * const { edge, kept, problems } = planEdge(tenants, { node: { name: "a", hub: false, labels: {}, index: 0 } });
 * console.log(edge.routers, kept, problems);
 * ```
 */
export { type EdgeChange, edgeProblems } from "./admit.ts";
export { convert, type Converted } from "./convert.ts";
export type { SourceText } from "./convert-source.ts";
export type { Effect } from "./finding.ts";
export type * from "./model.ts";
export { type Join, joins, leakRulesets } from "./leaks.ts";
export { EDGE_LINK, routerNamespace, segmentEdgeLink } from "./names.ts";
export { notDone } from "./not-done.ts";
export { passwordKey, passwordsOf, type PasswordState, withPasswords } from "./passwords.ts";
export { type EdgePlan, type EdgeProblem, planEdge } from "./plan.ts";
export { vxlanOverhead } from "./plan-domain.ts";
export { edgeAddress, endpointOf, hostAddress, indexOfAddress, linkAddress, routerIdOf } from "./pool.ts";
export { hostEndObjects, legObjects, type RouterLinks, routerObjects } from "./router-objects.ts";
export { type BridgeKind, hostPortObjects, missingBridge, segmentPortObjects } from "./segment-link.ts";
export { fabricRouter, fabricSpeaker, hostRouter, hostSpeaker, type SpeakerPlace } from "./speakers.ts";
export { selectedLabels } from "./selections.ts";
export type { EdgeFacts } from "./view.ts";
