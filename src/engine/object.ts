/**
 * Kernel objects as desired state: readonly values with a literal `kind`. Features make them, the engine makes them true.
 *
 * Names of fields are those of ip(8), bridge(8), tc(8), wg(8) and nft(8). What is absent of a link or an address is left to the kernel and not
 * compared; routes, next hops and peers are wholly ours, so that what is absent there is off.
 * An object's identity (its key) is made of the fields named in its comment; the other fields can change in place or by replacement.
 */
import type {
  Endpoint,
  InterfaceAddress,
  Ip,
  Mac,
  Prefix,
  PrivateKey,
  PublicKey,
  Secret,
} from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";

/**
 * The mark of our routes, rules, neighbours and next hops (rtnetlink `protocol`), free in /etc/iproute2/rt_protos. Traffic control has
 * no such field: there the same number is the major number of our qdiscs' handles (`43:`, tc(8) writes it in hexadecimal), and the
 * preference and node of our filters (`pref 67 … fh 800::43`). The kernel itself gives out major numbers from 8001 on.
 */
export const PROTOCOL = 67;

/** The mark of our links: the alias (`ip link set dev X alias …`). */
export const ALIAS = "causeway";

/** OTHERS_GROUP is the group of links of ours that are ports of others' bridges (`ip link show group 68`): what comes by them is no pod's. */
export const OTHERS_GROUP = 68;

/** The name of our nftables tables, in every family. */
export const TABLE = "causeway";

interface LinkBase {
  readonly kind: "link";
  /** 1 to 15 bytes. Identity. */
  readonly name: string;
  readonly mtuBytes?: number;
  readonly mac?: Mac;
  /** Name of the bridge or VRF that the link belongs to; `null` asks for none. */
  readonly master?: string | null;
  /** Default true. */
  readonly up?: boolean;
  /** A number by which rules know a link at once (`iifgroup`). */
  readonly group?: number;
  /** IPv6 address generation: `none` keeps link-local addresses away. */
  readonly addrGen?: "eui64" | "none";
  /** Settings of a bridge port; only with a bridge as `master`. */
  readonly port?: {
    readonly learning?: boolean;
    readonly neighSuppress?: boolean;
    readonly isolated?: boolean;
    readonly hairpin?: boolean;
  };
}

/** Link is a network device. */
export type Link = LinkBase &
  (
    | {
        readonly type: "bridge";
        readonly vlanFiltering?: boolean;
        readonly stp?: false;
        /** Multicast goes to all ports. */
        readonly mcastSnooping?: false;
        /** Ports begin in no VLAN: a kernel that filters VLANs has an entry once more for each that a port is in (net/bridge/br_fdb.c, br_fdb_add). */
        readonly defaultPvid?: 0;
      }
    | {
        readonly type: "veth";
        /** Queues of either end, each way; absent: it is not looked at. */
        readonly queues?: number;
        /** The other end, made together with this one; its namespace is used at creation only. */
        readonly peer: {
          readonly name: string;
          readonly netns?: Netns;
          readonly mac?: Mac;
          readonly mtuBytes?: number;
        };
      }
    | {
        readonly type: "vxlan";
        /** 1 to 16777215. */
        readonly vni: number;
        readonly local: Ip;
        /** Default 4789. */
        readonly dstPort?: number;
        readonly learning?: boolean;
        readonly ttl?: number;
        /** Sends and receives in the namespace of EngineOptions.underlay rather than in the engine's; decided when it is made. */
        readonly underlay?: true;
      }
    | { readonly type: "vlan"; readonly parent: string; /** 1 to 4094. */ readonly vlanId: number }
    | {
        readonly type: "macvlan";
        readonly parent: string;
        readonly mode: "bridge" | "private" | "vepa" | "passthru";
      }
    | { readonly type: "vrf"; readonly table: number }
    /** An XFRM interface whose policies and associations, those with `ifId`, are in the namespace of EngineOptions.underlay. */
    | { readonly type: "xfrm"; /** Not 0. */ readonly ifId: number }
    | { readonly type: "dummy" }
    /** Filters send to it what comes in elsewhere, so that a qdisc can delay it; then it goes on where it came in. */
    | { readonly type: "ifb" }
    | { readonly type: "wireguard" }
    /** A persistent TUN device made by the engine through /dev/net/tun. */
    | { readonly type: "tun"; readonly vnetHeader?: boolean; readonly multiQueue?: boolean }
    /** A device that somebody else makes and removes (a user-space tunnel's); the engine marks it and sets the fields above. */
    | { readonly type: "external" }
  );

/** Address on a link. Identity: link and address with length. */
export interface Address {
  readonly kind: "address";
  readonly link: string;
  readonly address: InterfaceAddress;
  /** Skip duplicate address detection (IPv6). Default true. */
  readonly nodad?: boolean;
  /** Do not make the on-link route. */
  readonly noprefixroute?: boolean;
  /** No source of what has another one to choose (IPv6). */
  readonly deprecated?: boolean;
}

/** One way of a route. Without `via` the destination is on the link. */
export interface RouteHop {
  readonly via?: Ip;
  readonly dev?: string;
  readonly onlink?: boolean;
  /** 1 to 256, default 1. */
  readonly weight?: number;
}

/** Route. Identity: destination, table, metric. */
export interface Route {
  readonly kind: "route";
  readonly destination: Prefix;
  /** Default 254 (main). */
  readonly table?: number;
  /** Priority; default 0 for IPv4, 1024 for IPv6 as the kernel has it. */
  readonly metric?: number;
  readonly type?: "unicast" | "blackhole" | "unreachable" | "prohibit" | "local";
  /** One hop, several (multipath), or none for the types that lead nowhere; not together with `nexthopId`. */
  readonly hops?: readonly RouteHop[];
  /** Id of a next-hop object. */
  readonly nexthopId?: number;
  /** Preferred source. */
  readonly source?: Ip;
  /** Route MTU (`mtu lock` is not used). */
  readonly mtuBytes?: number;
  readonly scope?: "global" | "link" | "host";
}

/** Next-hop object (`ip nexthop`). Identity: id. */
export interface Nexthop {
  readonly kind: "nexthop";
  readonly id: number;
  readonly via?: Ip;
  readonly dev?: string;
  readonly onlink?: boolean;
  readonly blackhole?: boolean;
  readonly group?: readonly { readonly id: number; readonly weight?: number }[];
}

/** Permanent neighbour. Identity: link and address. */
export interface Neighbour {
  readonly kind: "neighbour";
  readonly link: string;
  readonly ip: Ip;
  readonly mac: Mac;
  /** Learned by a control plane (`extern_learn`) rather than permanent. */
  readonly externLearn?: boolean;
}

/**
 * Proxy is an address that the node answers for on a link (ARP, and NDP with the setting proxy_ndp), because it routes it elsewhere.
 * Identity: link and address.
 */
export interface Proxy {
  readonly kind: "proxy";
  readonly link: string;
  readonly ip: Ip;
}

/** Forwarding database entry of a bridge or VXLAN device. Identity: link, MAC, dst (for flood entries), master or self. */
export interface FdbEntry {
  readonly kind: "fdb";
  readonly link: string;
  readonly mac: Mac;
  /** Remote VTEP; only on a VXLAN device. */
  readonly dst?: Ip;
  /** Entry of the bridge that the link is a port of, rather than of the device itself. */
  readonly master?: boolean;
  /** Entry of the device, and of the bridge too: one object and one request for both. Only with `externLearn`, without `master`. */
  readonly both?: true;
  readonly externLearn?: boolean;
}

/** Routing policy rule. Identity: all its selectors and the priority. */
export interface Rule {
  readonly kind: "rule";
  readonly family: 4 | 6;
  readonly priority: number;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly iif?: string;
  readonly oif?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  readonly table: number;
}

/** Queueing discipline at the root of a link: what leaves by the link is delayed to a rate. Identity: link. */
export interface Qdisc {
  readonly kind: "qdisc";
  readonly link: string;
  readonly type: "tbf";
  readonly rateBytesPerSecond: number;
  /** At least a frame of the link with its Ethernet header: a longer one never leaves. */
  readonly burstBytes: number;
  /** What may wait. At least a packet that the burst lets through. */
  readonly limitBytes: number;
}

/** Filter of all that comes in by a link: it leaves by another one instead. Identity: link. */
export interface Filter {
  readonly kind: "filter";
  readonly link: string;
  readonly redirect: string;
}

/** Key and port of a WireGuard device (any back-end). Identity: link. Peers not in the desired state are removed. */
export interface WireguardConfig {
  readonly kind: "wireguard";
  readonly link: string;
  readonly privateKey: PrivateKey;
  /** The key before, which is answered to beside it; our own engine can. */
  readonly formerKey?: PrivateKey;
  /** 1 to 65535; 0 lets the system choose, and keeps what it chose. */
  readonly listenPort: number;
}

/** Peer of a WireGuard device. Identity: link and public key. */
export interface Peer {
  readonly kind: "peer";
  readonly link: string;
  readonly publicKey: PublicKey;
  /**
   * Where to send until the peer is heard. Applied when the peer is made, when this value changes, and when nothing was heard from the
   * peer for 180 s; never compared with where the peer roamed to.
   */
  readonly endpoint?: Endpoint;
  readonly allowedIps: readonly Prefix[];
  readonly keepaliveSeconds?: number;
  readonly presharedKey?: Secret;
  /** When this changes, the endpoint is set although the wish is the same: WireGuard has gone elsewhere, and is to come back. */
  readonly endpointSerial?: number;
  /** When this changes, the peer is made anew, so that a handshake goes where it is sent now. What it was before a restart is not known, and changes nothing. */
  readonly generation?: number;
}

/**
 * Base of an nftables table: chains, named sets and maps, rules. Identity: family. The table's name is always `causeway`.
 * Applied as one transaction; kept elements of sets are SetElement objects.
 */
export interface Ruleset {
  readonly kind: "ruleset";
  readonly family: "inet" | "ip" | "ip6" | "bridge";
  /** The body of the table in the language of nft(8), without the line `table … {` around it. */
  readonly text: string;
}

/** Element of a named set or map of a Ruleset. Identity: family, set, key. */
export interface SetElement {
  readonly kind: "element";
  readonly family: "inet" | "ip" | "ip6" | "bridge";
  readonly set: string;
  /** Parts of the key in the language of nft(8): `["cw1234", "10.244.0.2"]`. */
  readonly key: readonly string[];
  /** Value, for maps: `accept`, `jump x`, an address. */
  readonly value?: string;
}

/** Kernel setting below /proc/sys/net. Identity: path. Restored to what it was when it is no longer desired. */
export interface Sysctl {
  readonly kind: "sysctl";
  /** Without the leading /proc/sys/: `net/ipv4/ip_forward`. */
  readonly path: string;
  readonly value: string;
}

/** KernelObject is anything that the engine can make true. */
export type KernelObject =
  | Link
  | Address
  | Route
  | Nexthop
  | Neighbour
  | Proxy
  | FdbEntry
  | Rule
  | Qdisc
  | Filter
  | WireguardConfig
  | Peer
  | Ruleset
  | SetElement
  | Sysctl;
