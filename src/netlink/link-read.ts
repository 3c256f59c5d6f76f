/** Link messages as values. */
import { ipBytes, macFromBytes, type Ip } from "../net/mod.ts";
import { Reader } from "../wire/mod.ts";
import { AF } from "./family.ts";
import type {
  AddrGen,
  BondMode,
  BridgePort,
  IpvlanMode,
  LinkInfo,
  MacvlanMode,
  OperState,
  PortInfo,
} from "./link.ts";
import { bridgePort, IFF, linkMessage } from "./link-table.ts";

const operStates: readonly OperState[] = [
  "unknown",
  "notpresent",
  "down",
  "lowerlayerdown",
  "testing",
  "dormant",
  "up",
];

/** IN6_ADDR_GEN_MODE_… by number. */
export const addrGens: readonly AddrGen[] = ["eui64", "none", "stable_secret", "random"];

/** MACVLAN_MODE_… are bits. */
export const macvlanModes: Readonly<Record<MacvlanMode, number>> = {
  private: 1,
  vepa: 2,
  bridge: 4,
  passthru: 8,
  source: 16,
};

/** IPVLAN_MODE_…, BOND_MODE_… and BOND_XMIT_POLICY_… count from 0 (include/uapi/linux/if_link.h, if_bonding.h). */
export const ipvlanModes: readonly IpvlanMode[] = ["l2", "l3", "l3s"];
export const bondModes: readonly BondMode[] = [
  "balance-rr",
  "active-backup",
  "balance-xor",
  "broadcast",
  "802.3ad",
  "balance-tlb",
  "balance-alb",
];
export const hashPolicies = ["layer2", "layer3+4", "layer2+3"] as const;

type Decoded = ReturnType<typeof linkMessage.decode>;
type Body = Decoded["body"];
type Kinds = NonNullable<NonNullable<Body["linkInfo"]>["data"]>;

/** DecodedLink is what a link message says: a link, a bridge port, or something of another family. */
export type DecodedLink =
  | { readonly kind: "link"; readonly info: LinkInfo }
  | { readonly kind: "port"; readonly info: PortInfo }
  | undefined;

/** decodeLink reads RTM_NEWLINK and RTM_DELLINK. */
export function decodeLink(reader: Reader): DecodedLink {
  const { header, body } = linkMessage.decode(reader);
  if (header.family === AF.bridge) return { kind: "port", info: portInfo(header.index, body) };
  if (header.family !== AF.unspec) return undefined;
  return { kind: "link", info: linkInfo(header, body) };
}

function portInfo(linkIndex: number, body: Body): PortInfo {
  return {
    linkIndex,
    ...(body.master !== undefined && { bridgeIndex: body.master }),
    ...(body.protinfo !== undefined && { port: definedOnly(bridgePort.decode(new Reader(body.protinfo))) }),
  };
}

function linkInfo(header: Decoded["header"], body: Body): LinkInfo {
  const { flags } = header;
  const kind = body.linkInfo?.kind;
  const port = body.linkInfo?.slaveData?.bridge;
  const addrGen = addrGens[body.afSpec?.inet6?.addrGen ?? -1];
  return {
    index: header.index,
    name: body.name ?? "",
    ...(kind !== undefined && { kind }),
    up: (flags & IFF.up) !== 0,
    running: (flags & IFF.running) !== 0,
    lowerUp: (flags & IFF.lowerUp) !== 0,
    loopback: (flags & IFF.loopback) !== 0,
    operState: operStates[body.operState ?? 0] ?? "unknown",
    mtuBytes: body.mtuBytes ?? 0,
    ...(body.address?.length === 6 && { mac: macFromBytes(body.address) }),
    ...(body.master !== undefined && { master: body.master }),
    // A veth without a peer and a vxlan without a lower device say 0.
    ...(body.link !== undefined && body.link !== 0 && { parent: body.link }),
    ...(body.linkNetnsId !== undefined && body.linkNetnsId >= 0 && { peerNetnsId: body.linkNetnsId }),
    ...(body.group !== undefined && { group: body.group }),
    ...(body.txQueues !== undefined && { txQueues: body.txQueues }),
    ...(body.alias !== undefined && body.alias !== "" && { alias: body.alias }),
    ...(addrGen !== undefined && { addrGen }),
    ...(port !== undefined && { port: bridgePortInfo(port) }),
    ...kindInfo(body.linkInfo?.data),
  };
}

function bridgePortInfo(port: ReturnType<typeof bridgePort.decode>): BridgePort {
  return {
    learning: port.learning ?? true,
    neighSuppress: port.neighSuppress ?? false,
    isolated: port.isolated ?? false,
    hairpin: port.hairpin ?? false,
    flood: port.flood ?? true,
    state: port.state ?? 0,
  };
}

function kindInfo(data: Kinds | undefined): Partial<LinkInfo> {
  if (data === undefined) return {};
  const { bridge, vxlan, vlan, vrf, macvlan, tun, xfrm } = data;
  if (bridge !== undefined)
    return {
      bridge: {
        vlanFiltering: bridge.vlanFiltering ?? false,
        stp: (bridge.stp ?? 0) !== 0,
        mcastSnooping: bridge.mcastSnooping ?? false,
        defaultPvid: bridge.defaultPvid ?? 0,
      },
    };
  if (vxlan !== undefined) {
    const local = anyAddress(vxlan.local ?? vxlan.local6);
    const remote = anyAddress(vxlan.remote ?? vxlan.remote6);
    return {
      vxlan: {
        vni: vxlan.vni ?? 0,
        ...(local !== undefined && { local }),
        ...(remote !== undefined && { remote }),
        dstPort: vxlan.dstPort ?? 0,
        learning: vxlan.learning ?? false,
        ttl: vxlan.ttl ?? 0,
      },
    };
  }
  if (vlan?.vlanId !== undefined) return { vlan: { vlanId: vlan.vlanId } };
  if (vrf?.table !== undefined) return { vrf: { table: vrf.table } };
  if (xfrm?.ifId !== undefined) return { xfrm: { ifId: xfrm.ifId } };
  if (macvlan !== undefined)
    for (const [mode, bit] of Object.entries(macvlanModes))
      if (bit === macvlan.mode) return { macvlan: { mode: mode as MacvlanMode } };
  if (tun !== undefined)
    return {
      tun: {
        type: tun.type === 2 ? "tap" : "tun",
        persistent: tun.persistent ?? false,
        vnetHeader: tun.vnetHeader ?? false,
        multiQueue: tun.multiQueue ?? false,
      },
    };
  return {};
}

/** The kernel may send an unset address as zeros. */
function anyAddress(address: Ip | undefined): Ip | undefined {
  return address === undefined || ipBytes(address).every((byte) => byte === 0) ? undefined : address;
}

function definedOnly(port: ReturnType<typeof bridgePort.decode>): Partial<BridgePort> {
  return Object.fromEntries(Object.entries(port).filter(([, value]) => value !== undefined));
}
