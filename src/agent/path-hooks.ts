/** What the paths of a node ask of the rest of its agent. */
import type { PeerState } from "../net/mod.ts";
import type { HubDistance } from "../resources/mod.ts";

/** PathHooks carry out what is not a probe. */
export interface PathHooks {
  /** What the tunnel's device says of its peers now. */
  readonly device: () => readonly PeerState[];
  /** Paths of these nodes changed: set their peers, at once. */
  readonly use: (names: readonly string[]) => void;
  /** Ask the other side, through a hub, to try at the same moment. */
  readonly invite: (name: string) => void;
  /** Distances of hubs changed, which other nodes are to know. */
  readonly distances: (hubs: readonly HubDistance[]) => void;
  /** A hub sees this node at another address: say something in the tunnel to every hub. */
  readonly greetHubs: () => void;
  /** A hub was asked by UDP, and one answered by UDP. */
  readonly asked: () => void;
  readonly answered: () => void;
}
