/**
 * What a node's edge is, as a plain value: everything that resources say for this node, with its own addresses written out. An engine's
 * feature makes kernel objects of it, the speaker its sessions; neither has to look at a resource.
 *
 * ```
 *                  namespace cw-underlay                     namespace cw-<vni>, one for each domain
 *   fabric ── NIC ── (loopback: tunnel endpoint) ── VXLAN ── br<vni> ─┬─ routes ─ host leg ── host (plain BGP)
 *              └── speaker: fabric sessions, passthrough              └─ br<l2vni> ── pods, host link ── host's bridge
 * ```
 */
import type { Family, InterfaceAddress, Ip, Mac, Prefix } from "../net/mod.ts";
import type {
  EdgeSession,
  FabricFamily,
  LinkMaker,
  PolicyRule,
  PrefixRange,
  StaticRoute,
} from "../resources/mod.ts";

/** NodeEdge is a node's edge. */
export interface NodeEdge {
  /** By name. */
  readonly routers: readonly EdgeRouter[];
}

/** EdgeRouter is one router of a node in a fabric. Identity: name. */
export interface EdgeRouter {
  readonly name: string;
  /** Its network namespace, `cw-<name>`. */
  readonly namespace: string;
  /** Name of the Underlay. */
  readonly underlay: string;
  readonly asn: number;
  readonly routerId: Ip;
  readonly clusterId: Ip;
  /** RFC 4724; 0: no graceful restart. */
  readonly restartMs: number;
  readonly stalePathMs: number;
  readonly links: readonly EdgeLink[];
  /** At most one of a family; empty: no VXLAN. */
  readonly endpoints: readonly EdgeEndpoint[];
  /** Prefixes announced by unicast: endpoints, and the host's address of a passthrough. */
  readonly announce: readonly Prefix[];
  readonly routes: readonly StaticRoute[];
  readonly sessions: readonly FabricSession[];
  readonly passthrough?: HostLeg;
  /** By VNI. */
  readonly domains: readonly EdgeDomain[];
}

/** EdgeLink is a link of a router. Identity: name. A moved one goes back when it is no longer here. */
export interface EdgeLink {
  readonly name: string;
  readonly made: LinkMaker;
  /** Beside those that a moved link has, and those that plugins give. */
  readonly addresses: readonly InterfaceAddress[];
  readonly mtuBytes?: number;
}

/** EdgeEndpoint is a VTEP address. Identity: family. */
export interface EdgeEndpoint {
  readonly family: Family;
  /** Absent: the first global address of `link`. */
  readonly address?: Ip;
  /** Absent: the loopback interface. */
  readonly link?: string;
}

/** PlannedSession is a session with what is known of its password. */
export interface PlannedSession extends EdgeSession {
  /** It does not run: why its password is not there. */
  readonly waits?: string;
  /** It runs, and something of its password is wrong. */
  readonly note?: string;
}

/** FabricSession is a session with the fabric. Identity: name. */
export interface FabricSession extends PlannedSession {
  /** Address, link or network of the neighbor. */
  readonly name: string;
  readonly peer:
    | { readonly address: Ip }
    | { readonly link: string }
    | { readonly listen: Prefix; readonly limit: number };
  readonly asn: number | "internal" | "external";
  readonly internal: boolean;
  readonly multihop?: number;
  readonly families: readonly SessionFamily[];
  /** IPv4 by IPv6 next hops (RFC 8950). */
  readonly extendedNextHop: boolean;
}

/** SessionFamily is a family of a session. */
export interface SessionFamily {
  readonly family: FabricFamily;
  /** RFC 4456. */
  readonly routeReflectorClient: boolean;
  /** All edges of a cluster have one AS number, and hear each other by the fabric. */
  readonly allowOwnAsn: boolean;
  /** Of unicast to internal neighbors; VXLAN's next hops are not changed. */
  readonly nextHopSelf: boolean;
}

/** HostLeg is a link between a router or a domain and the host, with a session of each family over it. */
export interface HostLeg {
  /** On the host. */
  readonly hostLink: string;
  /** In the router's or the domain's namespace. */
  readonly edgeLink: string;
  /** The same on every node. */
  readonly edge: readonly InterfaceAddress[];
  /** This node's. */
  readonly host: readonly InterfaceAddress[];
  /** What the fabric's MTU loses on the way to it. */
  readonly overheadBytes: number;
  readonly asn: number;
  readonly peerAsn: number | "internal" | "external";
  readonly internal: boolean;
  /** For each address of `host`. */
  readonly session: PlannedSession;
}

/** EdgeDomain is a VPC in the fabric. Identity: vni. */
export interface EdgeDomain {
  readonly vpc: string;
  /** Names its namespace `cw-<vni>`: the L3VNI, or the first segment's where nothing is routed. */
  readonly vni: number;
  /** Absent: nothing is routed. */
  readonly routing?: DomainRouting;
  readonly segments: readonly EdgeSegment[];
}

/** FabricTargets are route targets; an import target `*:100` is met by any administrator with that number, as FRR's automatic ones are. */
export interface FabricTargets {
  readonly importTargets: readonly string[];
  readonly exportTargets: readonly string[];
  /** Absent: the router's identifier with a number. */
  readonly rd?: string;
}

/** DomainRouting is how a domain is routed. What no route leads to ends in the domain. */
export interface DomainRouting extends FabricTargets {
  readonly port: number;
  /** Which endpoint. */
  readonly family: Family;
  /** Announced as type 5 by this node: Subnets with a gateway, the host's address, and what the VPC says. */
  readonly announce: readonly Prefix[];
  /** Whether addresses of pods here, and behind links to the host, are announced one by one. */
  readonly hosts: boolean;
  readonly import?: readonly PolicyRule[];
  readonly export?: readonly PolicyRule[];
  readonly routes: readonly StaticRoute[];
  readonly leaks: readonly EdgeLeak[];
  readonly host?: HostLeg;
}

/** EdgeLeak gives a domain routes of another one that is on this node. Identity: from. */
export interface EdgeLeak {
  /** EdgeDomain.vni. */
  readonly from: number;
  /** Empty: all. */
  readonly prefixes: readonly PrefixRange[];
}

/** EdgeSegment is a Subnet in the fabric. Identity: vni. */
export interface EdgeSegment extends FabricTargets {
  readonly subnet: string;
  readonly vni: number;
  readonly port: number;
  readonly family: Family;
  readonly prefixes: readonly Prefix[];
  /** The same on every node; empty where nothing is routed. */
  readonly gateways: readonly InterfaceAddress[];
  /** Absent: derived from the VNI. */
  readonly gatewayMac?: Mac;
  /** Absent: what the fabric leaves. */
  readonly mtuBytes?: number;
  /** What the fabric's MTU loses on the way to it. */
  readonly overheadBytes: number;
  /** The host's end of a link into it. */
  readonly hostLink?: string;
  readonly hostBridge?: { readonly name: string; readonly managed: boolean };
}
