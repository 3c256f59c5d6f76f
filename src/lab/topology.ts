/**
 * Topology: what a laboratory is made of, as values. Names are resolved, every box has its addresses.
 */
import type { InterfaceAddress, Ip, Prefix } from "../net/mod.ts";
import type { TunnelWish } from "../tunnel/mod.ts";

/** Network is one segment: a wire that all attached boxes share, loss and delay included. */
export interface Network {
  readonly name: string;
  readonly prefix4: Prefix;
  readonly prefix6?: Prefix;
  /** Share of frames that the segment loses, in hundredths of a percent: 1 to 10000. */
  readonly lossBasisPoints?: number;
  /** Time that a frame takes through the segment. */
  readonly delayMs?: number;
  readonly mtuBytes: number;
}

/** Attachment is a box's interface on a network. */
export interface Attachment {
  readonly network: string;
  /** Name of the interface inside the box. */
  readonly link: string;
  readonly address4: InterfaceAddress;
  readonly address6?: InterfaceAddress;
}

interface BoxBase {
  readonly name: string;
  readonly attachments: readonly Attachment[];
}

/** NodeBox is a machine that runs an agent, unless its role is `none`. */
export interface NodeBox extends BoxBase {
  readonly kind: "node";
  readonly role: "hub" | "member" | "none";
  readonly pods: number;
  readonly site?: string;
  /** `HOST:PORT` under which others reach the node; given to `causeway init` and `causeway join`. */
  readonly endpoint?: string;
  /** More words for `causeway agent` on this node. */
  readonly agentOptions?: readonly string[];
}

/** RouterBox forwards between its networks. It knows the networks of its realm and no others. */
export interface RouterBox extends BoxBase {
  readonly kind: "router";
  /** It forwards no UDP. */
  readonly blockUdp?: boolean;
}

/** NatKind says how a NAT box maps and filters UDP, in the terms of RFC 4787. */
export type NatKind = "cone" | "restricted" | "symmetric";

/** NatBox translates IPv4 from its first network (inside) to its second (outside). */
export interface NatBox extends BoxBase {
  readonly kind: NatKind;
  readonly attachments: readonly [inside: Attachment, outside: Attachment];
  /** Whether it maps ports for who asks from inside. */
  readonly portMapping: boolean;
  /** It forwards no UDP. */
  readonly blockUdp?: boolean;
}

/** HostBox is a machine without agent, such as an observer or a scanner. */
export interface HostBox extends BoxBase {
  readonly kind: "host";
}

/** SpeakerKind is the program that speaks BGP in a speaker. */
export type SpeakerKind = "frr" | "gobgp" | "bird" | "causeway";

/** SpeakerBox is a router that learns its routes by BGP. */
export interface SpeakerBox extends BoxBase {
  readonly kind: "speaker";
  readonly daemon: SpeakerKind;
  /** The daemon's own configuration; of ours, manifests of kind BgpRouter. */
  readonly config: string;
  /** Folder into which packages are unpacked, with `usr` in it; absent: the machine's programs. */
  readonly root?: string;
  /** Addresses of its loopback interface. */
  readonly loopback: readonly Ip[];
}

/** Box is anything with a network namespace of its own that is not a segment. */
export type Box = NodeBox | RouterBox | NatBox | HostBox | SpeakerBox;

/** MeshOptions go to `causeway init` as they are written. */
export interface MeshOptions {
  readonly overlay4?: string;
  readonly overlay6?: string;
  readonly pods4?: string;
  readonly pods6?: string;
  readonly nodeBits?: number;
  readonly port: number;
  readonly mtuBytes?: number;
  readonly expose: readonly string[];
  readonly tunnel?: TunnelWish;
}

/** Topology is a laboratory's plan. */
export interface Topology {
  readonly name: string;
  readonly networks: readonly Network[];
  readonly boxes: readonly Box[];
  readonly mesh: MeshOptions;
}

/** isNat tells whether a box translates addresses. */
export function isNat(box: Box): box is NatBox {
  return box.kind === "cone" || box.kind === "restricted" || box.kind === "symmetric";
}

/** isNode tells whether a box is a node. */
export function isNode(box: Box): box is NodeBox {
  return box.kind === "node";
}

/** isSpeaker tells whether a box speaks BGP. */
export function isSpeaker(box: Box): box is SpeakerBox {
  return box.kind === "speaker";
}

/** agentNodes returns the nodes that run an agent, the hub first. */
export function agentNodes(topology: Topology): NodeBox[] {
  const nodes = topology.boxes.filter(isNode);
  return [...nodes.filter((node) => node.role === "hub"), ...nodes.filter((node) => node.role === "member")];
}

/** podNames returns the names of a node's pods: `NODE-p1`, `NODE-p2` and so on. */
export function podNames(node: NodeBox): string[] {
  return Array.from({ length: node.pods }, (_, index) => `${node.name}-p${index + 1}`);
}

/** attachedTo returns the boxes on a network, in the order of the plan, with their interface there. */
export function attachedTo(topology: Topology, network: string): { box: Box; attachment: Attachment }[] {
  return topology.boxes.flatMap((box) =>
    box.attachments.flatMap((attachment) => (attachment.network === network ? [{ box, attachment }] : [])),
  );
}
