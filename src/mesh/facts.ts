/** What the mesh feature is told: the register's content, and what this node found out by itself. */
import type { Endpoint, Ip, PrivateKey, PublicKey, Secret } from "../net/mod.ts";
import type { ExternalPeer, Mesh, Node } from "../resources/mod.ts";

/** LINK is the overlay interface, on every node. */
export const LINK = "cw0";

/** PODS_LINK is the bridge of the default pod network. */
export const PODS_LINK = "cw-pods";

/** PeerPath is the way to one node: an endpoint, its own or that of a hub that relays. */
export interface PeerPath {
  /** Absent: wait to be called. */
  readonly endpoint?: Endpoint;
  /** Changes when the device is to be brought back to the endpoint. */
  readonly endpointSerial?: number;
  /** Changes when a handshake is needed at the endpoint, because a relay has to learn from it. */
  readonly generation?: number;
  readonly keepaliveSeconds?: number;
  /** What was found to fit into the tunnel on this way. */
  readonly mtuBytes?: number;
  /** Nothing is said: routes that all such nodes share lead there (rest-routes.ts). */
  readonly rests?: boolean;
}

/** Enrolment is one token's unexpired uses, as WireGuard peers of the hub. */
export interface Enrolment {
  readonly id: string;
  readonly uses: readonly { readonly publicKey: PublicKey; readonly address: Ip }[];
}

/** MeshFacts is all that the desired state depends on. */
export interface MeshFacts {
  readonly mesh: Mesh;
  readonly self: Node;
  /** All other nodes, the hub among them. */
  readonly nodes: readonly Node[];
  readonly privateKey: PrivateKey;
  /** Of a hub: the key before, which it answers to beside its own. */
  readonly formerKey?: PrivateKey | undefined;
  /** `wireguard`: the engine makes cw0; `external`: a user-space tunnel does. */
  readonly tunnelLink: "wireguard" | "external";
  readonly listenPort: number;
  /** MTU of cw0. */
  readonly mtuBytes: number;
  /** External peers of the mesh. */
  readonly peers?: readonly ExternalPeer[];
  /** Of external peers, by name, at the hub that carries them. */
  readonly presharedKeys?: ReadonlyMap<string, Secret>;
  /** Pre-shared keys that pairs use now, by the other node's name. */
  readonly pairKeys?: ReadonlyMap<string, Secret>;
  /** Names of nodes that were heard with their next key. */
  readonly heardNext?: ReadonlySet<string>;
  /** By node name. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  /** On the hub: who may register. */
  readonly enrolments?: readonly Enrolment[];
  /** More for the table of family inet: sets and chains of others, written out. */
  readonly moreRules?: string;
  /** Links that get their IPv6 routes by router advertisements, which forwarding would turn off. */
  readonly advertisedLinks?: readonly string[];
  /** The node is a VTEP. */
  readonly vxlan?: VxlanFacts;
}

/** VxlanFacts is what the table of family inet has to know of tenants' networks. */
export interface VxlanFacts {
  /** The link that VXLAN comes in by. */
  readonly link: string;
  /** Sets and chains that decide who may send it, before anything else; one is the set `vxlan_port`. */
  readonly guard: string;
}
