/** What the mesh feature is told: the register's content, and what this node found out by itself. */
import type { Endpoint, Ip, PrivateKey, PublicKey } from "../net/mod.ts";
import type { Mesh, Node } from "../resources/mod.ts";

/** LINK is the overlay interface, on every node. */
export const LINK = "cw0";

/** PODS_LINK is the bridge of the default pod network. */
export const PODS_LINK = "cw-pods";

/** PeerPath is what is known of the way to one node; made by path.ts and the hub's pair states. */
export interface PeerPath {
  /** The pair is published direct: this node's prefixes are the peer's own, not the hub's. */
  readonly direct: boolean;
  /** Where to try, or where it works; absent: wait to be called. */
  readonly endpoint?: Endpoint;
  readonly keepaliveSeconds?: number;
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
  /** `wireguard`: the engine makes cw0; `external`: a user-space tunnel does. */
  readonly tunnelLink: "wireguard" | "external";
  readonly listenPort: number;
  /** MTU of cw0. */
  readonly mtuBytes: number;
  /** The hub's endpoint, resolved; not used on the hub. */
  readonly hubEndpoint?: Endpoint;
  /** By node name; a node that is not in it is reached through the hub and not tried. Not used on the hub. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  /** On the hub: who may register. */
  readonly enrolments?: readonly Enrolment[];
  /** Links that get their IPv6 routes by router advertisements, which forwarding would turn off. */
  readonly advertisedLinks?: readonly string[];
}
