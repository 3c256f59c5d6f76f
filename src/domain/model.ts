/** What the domain feature is told, as values: routing domains, what is attached to them here, and what is elsewhere. */
import type { EvpnPrefix } from "../bgp/mod.ts";
import type { Family, InterfaceAddress, Ip, Mac, Prefix } from "../net/mod.ts";

/** Domain is a routing domain as the register has it: a VPC, or a segment that belongs to none. Identity: vni. */
export interface Domain {
  /** The VPC's name; `vni-300` for a segment without a VPC. */
  readonly name: string;
  /** Names the namespace `cw-<vni>`: the L3VNI, or the only segment's VNI where nothing is routed. 1 to 16777215. */
  readonly vni: number;
  /** Absent: nothing is routed between segments, and there is no gateway. */
  readonly routing?: DomainTargets;
  /** All segments, also those that are not active here, by VNI. */
  readonly segments: readonly Segment[];
  readonly peerings: readonly DomainPeering[];
  /** Routed beside those of its segments: those of a link to a host. */
  readonly families?: readonly Family[];
  /** UDP port of its own VNI; default 4789. */
  readonly dstPort?: number;
  /** Where its VXLAN ends, in place of the node's address: of the other family. */
  readonly vtep?: Ip;
}

/** DomainTargets are route targets, as `64512:300`. Auto ones are written out already; an import target `*:300` is any administrator's. */
export interface DomainTargets {
  readonly importTargets: readonly string[];
  readonly exportTargets: readonly string[];
  /** Route distinguisher; absent: one of the router's own. */
  readonly rd?: string;
}

/** Segment is a subnet: one broadcast domain. Identity: vni. */
export interface Segment extends DomainTargets {
  /** The Subnet's name. */
  readonly name: string;
  readonly vni: number;
  /** None: addresses are the pods' own affair. At most one of a family. */
  readonly prefixes: readonly Prefix[];
  /** The same on all nodes (anycast), one for each prefix; empty without routing. */
  readonly gateways: readonly InterfaceAddress[];
  readonly gatewayMac: Mac;
  /** Absent: what the underlay leaves. */
  readonly mtuBytes?: number;
  /** UDP port of VXLAN; default 4789. */
  readonly dstPort?: number;
}

/** DomainPeering lets two domains reach prefixes of each other. The other domain has its mirror image. */
export interface DomainPeering {
  /** Domain.vni of the other one. */
  readonly with: number;
  /** What of the other one is reached. */
  readonly prefixes: readonly Prefix[];
}

/** DomainNode is this node as a VTEP. */
export interface DomainNode {
  /** The address that VXLAN is sent from: the overlay address, or that of the configured underlay. */
  readonly vtep: Ip;
  /** The link that carries VXLAN (`cw0`, or a NIC), and its own MTU: what VXLAN takes of it is not yet subtracted. */
  readonly underlayLink: string;
  readonly underlayMtuBytes: number;
}

/** LocalAttachment is an interface of a pod here. Identity: id. */
export interface LocalAttachment {
  /** podId of what it belongs to. */
  readonly id: string;
  /** Name inside the pod. */
  readonly ifname: string;
  readonly domain: number;
  readonly segment: number;
  readonly mac: Mac;
  readonly addresses: readonly Ip[];
  readonly mtuBytes: number;
  /** The pod's default route goes here. */
  readonly defaultRoute: boolean;
  /** Names of SecurityGroups; none: everything is allowed. */
  readonly groups: readonly string[];
}

/** LocalStation is an Ethernet address that is here, with addresses: a pod's, or one of those behind a link to the host. Identity: id. */
export type LocalStation = Pick<LocalAttachment, "id" | "segment" | "mac" | "addresses" | "groups">;

/** RemoteFlood is a VTEP that takes part in a segment (type 3). Identity: vni and vtep. */
export interface RemoteFlood {
  readonly kind: "flood";
  readonly vni: number;
  readonly vtep: Ip;
}

/** RemoteHost is an address elsewhere in a segment (type 2). Identity: vni, mac, ip. */
export interface RemoteHost {
  readonly kind: "host";
  /** The segment, here as there. */
  readonly vni: number;
  readonly mac: Mac;
  readonly ip?: Ip;
  readonly vtep: Ip;
  /** How it is routed to where its segment is not active (symmetric IRB). */
  readonly routerMac?: Mac;
  /** Numbers of the security groups that it belongs to (groupTag). */
  readonly groups?: readonly number[];
}

/** RemotePrefix is a network elsewhere in a domain (type 5). Identity: domain and prefix. */
export interface RemotePrefix {
  readonly kind: "prefix";
  /** Domain.vni. */
  readonly vni: number;
  readonly prefix: Prefix;
  readonly hops: readonly { readonly vtep: Ip; readonly routerMac: Mac }[];
  /** How the first of them came here; absent: from our own AS. */
  readonly asPath?: EvpnPrefix["asPath"];
}

/** Remote is one thing that EVPN tells of elsewhere, after import: one winner for each identity. */
export type Remote = RemoteFlood | RemoteHost | RemotePrefix;

/** RemoteChange sets a remote, or takes it away. */
export type RemoteChange =
  { readonly op: "set"; readonly remote: Remote } | { readonly op: "remove"; readonly remote: Remote };

/** GroupProtocol is what a rule of a security group speaks of; `icmp` is ICMPv6 for IPv6. */
export type GroupProtocol = "any" | "tcp" | "udp" | "icmp" | "sctp";

/** PortRange is a range of ports, 1 to 65535, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** SecurityRule allows flows to a member (ingress) or from it (egress), with all that belongs to them in both directions. */
export interface SecurityRule {
  readonly direction: "ingress" | "egress";
  readonly protocol: GroupProtocol;
  /** The flow's destination port; none: all. Only for TCP, UDP and SCTP. */
  readonly ports: readonly PortRange[];
  /** The other end is in one of these, or a member of one of `groups`; both empty: anybody. */
  readonly prefixes: readonly Prefix[];
  readonly groups: readonly string[];
}

/** SecurityGroup is what its members may do; members of several may do what any of them allows. Identity: name. */
export interface SecurityGroup {
  readonly name: string;
  readonly rules: readonly SecurityRule[];
}

/** NatGateway lets a domain reach the outside under other addresses. At most one for a domain. Identity: name. */
export interface NatGateway {
  readonly name: string;
  /** Domain.vni. */
  readonly domain: number;
  /** Names of nodes; the first live one is the gateway, the others stand by. */
  readonly nodes: readonly string[];
  /** Who may use it; none: all prefixes of the domain's segments. */
  readonly prefixes: readonly Prefix[];
  /** What the domain is seen as; none of a family: the node's own address. */
  readonly externalAddresses: readonly Ip[];
}

/** FloatingIp is an outside address that stands for one address of a domain, in both directions, at the live node of its gateway. Identity: outside. */
export interface FloatingIp {
  readonly name: string;
  /** Domain.vni. */
  readonly domain: number;
  readonly outside: Ip;
  /** Of the same family. */
  readonly inside: Ip;
}
