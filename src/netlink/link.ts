/** Links as they are read (LinkInfo) and as they are asked for (LinkSettings, NewLink). Words of ip-link(8). */
import type { Ip, Mac } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";

/** OperState is the operational state of RFC 2863. */
export type OperState = "unknown" | "notpresent" | "down" | "lowerlayerdown" | "testing" | "dormant" | "up";

/** AddrGen is how a link makes its IPv6 link-local address. */
export type AddrGen = "eui64" | "none" | "stable_secret" | "random";

/** MacvlanMode is how macvlan links of one parent see each other. */
export type MacvlanMode = "private" | "vepa" | "bridge" | "passthru" | "source";

/** IpvlanMode is what an ipvlan link shares with its parent: the Ethernet, or only the address; `l3s` lets the parent's filters see it. */
export type IpvlanMode = "l2" | "l3" | "l3s";

/** BondMode is how a bond uses its members. */
export type BondMode =
  "balance-rr" | "active-backup" | "balance-xor" | "broadcast" | "802.3ad" | "balance-tlb" | "balance-alb";

/** BridgePort is what a bridge keeps for a port. */
export interface BridgePort {
  readonly learning: boolean;
  readonly neighSuppress: boolean;
  readonly isolated: boolean;
  readonly hairpin: boolean;
  /** Flooding of unknown unicast. */
  readonly flood: boolean;
  /** 0 disabled, 1 listening, 2 learning, 3 forwarding, 4 blocking. */
  readonly state: number;
}

/** VxlanInfo is the data of a VXLAN link. */
export interface VxlanInfo {
  readonly vni: number;
  readonly local?: Ip;
  /** Default destination, when there is one. */
  readonly remote?: Ip;
  readonly dstPort: number;
  readonly learning: boolean;
  /** 0 inherits from the inner packet. */
  readonly ttl: number;
}

/** TunInfo is the data of a TUN or TAP link. */
export interface TunInfo {
  readonly type: "tun" | "tap";
  readonly persistent: boolean;
  readonly vnetHeader: boolean;
  readonly multiQueue: boolean;
}

/** LinkInfo is a link as the kernel reports it. */
export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, `vxlan`, …; absent for hardware and loopback. */
  readonly kind?: string;
  readonly up: boolean;
  readonly running: boolean;
  readonly lowerUp: boolean;
  readonly loopback: boolean;
  readonly operState: OperState;
  readonly mtuBytes: number;
  readonly mac?: Mac;
  /** Index of the bridge or VRF. */
  readonly master?: number;
  /** Index of the link below (vlan, macvlan) or of the veth's other end; in namespace `peerNetnsId` if that is set. */
  readonly parent?: number;
  readonly peerNetnsId?: number;
  /** Of links that rules mean together; 0 for most. */
  readonly group?: number;
  /** Queues that there is room for. */
  readonly txQueues?: number;
  readonly alias?: string;
  /** Absent when IPv6 is not enabled on the link. */
  readonly addrGen?: AddrGen;
  /** Settings as a bridge port; only with a bridge as master. */
  readonly port?: BridgePort;
  readonly bridge?: {
    readonly vlanFiltering: boolean;
    readonly stp: boolean;
    /** False also where the kernel has no multicast snooping. */
    readonly mcastSnooping: boolean;
    /** VLAN that ports begin with; 0: none, also where the kernel has no VLAN filtering. */
    readonly defaultPvid: number;
  };
  readonly vxlan?: VxlanInfo;
  readonly vlan?: { readonly vlanId: number };
  readonly vrf?: { readonly table: number };
  readonly xfrm?: { readonly ifId: number };
  readonly macvlan?: { readonly mode: MacvlanMode };
  readonly tun?: TunInfo;
}

/** PortInfo is what an event says of a bridge port: which link, of which bridge, with which settings. */
export interface PortInfo {
  readonly linkIndex: number;
  readonly bridgeIndex?: number;
  readonly port?: Partial<BridgePort>;
}

/** LinkSettings are what can be set on any link. What is absent stays as it is. */
export interface LinkSettings {
  readonly mtuBytes?: number;
  readonly mac?: Mac;
  /** Index of the bridge or VRF; 0 takes the link out of it. */
  readonly master?: number;
  readonly up?: boolean;
  /** Of links that rules mean together. */
  readonly group?: number;
  readonly alias?: string;
  readonly addrGen?: AddrGen;
  /** Settings of a bridge port; the link must have a bridge as master, or get one in the same request. */
  readonly port?: Partial<Omit<BridgePort, "state">>;
}

/** LinkKind is a kind of link with its own settings. */
export type LinkKind =
  | {
      readonly type: "bridge";
      readonly vlanFiltering?: boolean;
      readonly stp?: boolean;
      /** Off: multicast goes to all ports, and nobody has to ask for it. */
      readonly mcastSnooping?: boolean;
      /** VLAN that ports begin with: 1 unless it is said, 0 for none. Nothing where the kernel has no VLAN filtering. */
      readonly defaultPvid?: number;
    }
  | {
      readonly type: "vxlan";
      /** 1 to 16777215. Needed when the link is made; cannot be changed. */
      readonly vni?: number;
      readonly local?: Ip;
      /** Default destination for frames without an FDB entry. */
      readonly remote?: Ip;
      /** Default 4789 for a new link. */
      readonly dstPort?: number;
      readonly learning?: boolean;
      readonly ttl?: number;
      /** Index of the device that the outer packets leave by. */
      readonly parent?: number;
    }
  | { readonly type: "vlan"; readonly parent: number; readonly vlanId: number }
  | { readonly type: "macvlan"; readonly parent: number; readonly mode: MacvlanMode }
  | { readonly type: "ipvlan"; readonly parent: number; readonly mode: IpvlanMode }
  | {
      readonly type: "bond";
      readonly mode: BondMode;
      /** How often members are asked for their link; 0, the default: never, and a dead one stays in use. */
      readonly miimonMs?: number;
      /** What of a packet says by which member it goes, for modes that choose; default `layer2`. */
      readonly hashPolicy?: "layer2" | "layer3+4" | "layer2+3";
    }
  | { readonly type: "vrf"; readonly table: number }
  /** Carries what policies and associations with `ifId`, which is not 0, take. */
  | { readonly type: "xfrm"; readonly ifId: number }
  | { readonly type: "dummy" }
  | { readonly type: "ifb" }
  | { readonly type: "wireguard" };

/** VethKind is a pair of links; the other end can be made in another namespace. It starts down: the kernel cannot start it here. */
export interface VethKind {
  readonly type: "veth";
  /** Queues of either end, each way; default 1, with room for as many as there are processors (drivers/net/veth.c, veth_init_queues). */
  readonly queues?: number;
  readonly peer: {
    readonly name: string;
    readonly netns?: Netns;
    readonly mac?: Mac;
    readonly mtuBytes?: number;
  };
}

/** NewLink asks for a link that does not exist. */
export type NewLink = LinkSettings & {
  readonly name: string;
  /** Namespace to make it in; a VXLAN link keeps its UDP socket in that of the request. Only without alias, address generation and port. */
  readonly netns?: Netns;
} & (LinkKind | VethKind);

/** LinkChange asks for settings of a link that exists, named by its index, or by its name if there is no index. */
export type LinkChange = LinkSettings &
  ({ readonly index: number; readonly name?: never } | { readonly name: string; readonly index?: never }) & {
    /** Renames the link. */
    readonly newName?: string;
    /** Moves the link to another namespace. */
    readonly netns?: Netns;
    /** Changes the settings of its kind. */
    readonly kind?: LinkKind;
  };
