/** What the paths of a node ask of the rest of its agent. */
import type { PeerState } from "../net/mod.ts";
import type { HubDistance } from "../resources/mod.ts";

/** HubDistances are the hubs that answer, and of them what other nodes are to know (mesh/hub-ranking.ts), nearest first. */
export interface HubDistances {
  readonly reached: readonly HubDistance[];
  readonly published: readonly HubDistance[];
}

/** PathHooks carry out what is not a probe. */
export interface PathHooks {
  /** What the tunnel's device says of its peers now. */
  readonly device: () => readonly PeerState[];
  /** Paths of these nodes changed: set their peers, at once. */
  readonly use: (names: readonly string[]) => void;
  /** Ask the other side, through a hub, to try at the same moment. */
  readonly invite: (name: string) => void;
  /** Distances of hubs changed. */
  readonly distances: (hubs: HubDistances) => void;
  /** A hub sees this node at another address: say something in the tunnel to every hub. */
  readonly greetHubs: () => void;
  /** On a hub: which life of the relay's tables this is. */
  readonly life: () => number | undefined;
  /** A hub was asked by UDP, and one answered by UDP. */
  readonly asked: () => void;
  readonly answered: () => void;
}
