/**
 * netlink: the kernel's networking, as questions, requests and events. Synchronous, in any namespace.
 *
 * What is read (`…Info`, `ConntrackEntry`, `DeviceState`) has types apart from what is asked for (`…Change`, `NewLink`).
 * It has no opinion on what should exist: that is the engine's. It leaves files under /proc/sys to `sys`.
 *
 * @example
 * ```ts
 * using route = Rtnetlink.open();
 * route.request(addLink({ name: "br0", type: "bridge", up: true }));
 * route.link("br0")?.operState;
 * ```
 */
export { type AddressChange, type AddressInfo, addAddress, deleteAddress } from "./address.ts";
export { Conntrack, type ConntrackEntry, type ConntrackTuple } from "./conntrack.ts";
export type { ConntrackFilter } from "./conntrack-filter.ts";
export { NetlinkError } from "./error.ts";
export type { RouteEvent } from "./event.ts";
export { addFdb, deleteFdb, type FdbChange, type FdbInfo } from "./fdb.ts";
export { addFilter, deleteFilter, type FilterChange, type FilterInfo } from "./filter.ts";
export { FlowRemover, type FlowRemoverOptions } from "./flow-remover.ts";
export type {
  AddrGen,
  BridgePort,
  LinkChange,
  LinkInfo,
  LinkKind,
  LinkSettings,
  MacvlanMode,
  NewLink,
  OperState,
  PortInfo,
  TunInfo,
  VethKind,
  VxlanInfo,
} from "./link.ts";
export { LinkRemover, type LinkRemoverOptions } from "./link-remover.ts";
export { addLink, deleteLink, setLink } from "./link-write.ts";
export { Monitor, type MonitorGroup, type MonitorOptions } from "./monitor.ts";
export {
  addNeighbour,
  deleteNeighbour,
  type NeighbourChange,
  type NeighbourInfo,
  type NeighbourState,
  useNeighbour,
} from "./neighbour.ts";
export { addNexthop, deleteNexthop, type NexthopChange, type NexthopInfo } from "./nexthop.ts";
export { Nftables, NftablesError } from "./nftables.ts";
export { type NftablesElement, NftablesElements } from "./nftables-elements.ts";
export {
  type NftablesFamily,
  NftablesMonitor,
  type NftablesMonitorOptions,
  type NftablesTransaction,
} from "./nftables-monitor.ts";
export {
  addQdisc,
  deleteQdisc,
  type QdiscChange,
  type QdiscInfo,
  sameTbf,
  type TbfInfo,
  type TbfSettings,
} from "./qdisc.ts";
export type { RouteRequest } from "./request.ts";
export {
  addRoute,
  deleteRoute,
  type RouteChange,
  type RouteHopChange,
  type RouteHopInfo,
  type RouteInfo,
  type RouteScope,
  type RouteType,
} from "./route.ts";
export { Rtnetlink } from "./rtnetlink.ts";
export { addRule, deleteRule, type RuleAction, type RuleChange, type RuleInfo } from "./rule.ts";
export { SettingsMonitor, type SettingsMonitorOptions } from "./settings-monitor.ts";
export { type Napi, type NapiSettings, NapiTable } from "./napi.ts";
export { KernelWireguard, kernelHasWireguard } from "./wireguard.ts";
export { type SpiWish, Xfrm } from "./xfrm.ts";
export type { XfrmAcquire, XfrmEvent } from "./xfrm-event.ts";
export type { XfrmAlgorithm } from "./xfrm-key.ts";
export type { Limit, Limits, Usage } from "./xfrm-limits.ts";
export { XfrmMonitor, type XfrmMonitorGroup, type XfrmMonitorOptions } from "./xfrm-monitor.ts";
export {
  addPolicy,
  deletePolicy,
  type PolicyChange,
  type PolicyDirection,
  type PolicyFlag,
  type PolicyId,
  type PolicyInfo,
  updatePolicy,
  type XfrmTemplate,
} from "./xfrm-policy.ts";
export { type Ability, probeEsp, probePerCpu } from "./xfrm-probe.ts";
export { MOST_WINDOW, type ReplayState } from "./xfrm-replay.ts";
export {
  addSa,
  deleteSa,
  type SaChange,
  type SaFlag,
  type SaId,
  type SaInfo,
  type SaMode,
  type UdpEncapsulation,
  updateSa,
  type XfrmMark,
  type XfrmRequest,
} from "./xfrm-sa.ts";
export type { Selector } from "./xfrm-selector.ts";
// TUN devices are made by ioctl; they are offered here because they are links like the others.
export { attachTun, createTun, deleteTun, type TunOptions } from "../sys/mod.ts";
