/**
 * lab: laboratories. Networks, routers, NAT boxes, nodes with agents and pods, as namespaces on one machine; a harness
 * for tests and a playground for people.
 *
 * It uses the product only as a user does, by its executable and its CNI plugin. Printing is left to the command line.
 *
 * @example
 * ```ts
 * const lab = await Lab.up(manifest, { onProgress: console.error });
 * await lab.exec("a1-p1", ["ping", "-c", "1", formatIp(lab.pod("b1-p1").ip4)]);
 * await lab.reboot("a1");
 * await lab.down();
 * ```
 */
export type { ShownPeer, Status } from "../agent/mod.ts";
export type { Capture } from "./capture.ts";
export { graphText } from "./graph.ts";
export { Lab, type UpOptions } from "./lab.ts";
export { LabError } from "./manifest.ts";
export { type MatrixCell, type MatrixOptions, pingMatrix } from "./matrix.ts";
export { type NatBehaviour, type Observer, probeNat } from "./nat-probe.ts";
export { type CaptureReport, readCapture, type UdpFlow } from "./pcap.ts";
export { LAB_ROOT, labNames } from "./place.ts";
export { parseLab } from "./plan.ts";
export type { Config, Pod, Wish } from "./pod.ts";
export { natMappings, servicePorts } from "./ports.ts";
export { natOf } from "./realm.ts";
export type { PortAnswers } from "./scan.ts";
export { graphSvg } from "./svg.ts";
export {
  agentNodes,
  type Box,
  isNat,
  isNode,
  type NatBox,
  type Network,
  type NodeBox,
  podNames,
  type Topology,
} from "./topology.ts";
export { until, type WaitOptions } from "./wait.ts";
