/** What the node's edge does for pods that ask for a VPC of a fabric, and what it has to know of those that are there. */
import type { LocalAttachment } from "../domain/mod.ts";
import type { Mac, Prefix } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Connected } from "./domain-port.ts";
import type { DomainStatus } from "./domain-status.ts";

/** FabricSegment is a Subnet of a VPC in a fabric, as whoever gives addresses has it. */
export interface FabricSegment {
  /** Name of the VPC. */
  readonly vpc: string;
  /** Domain.vni. */
  readonly domain: number;
  /** Name and VNI of the Subnet. */
  readonly subnet: string;
  readonly segment: number;
  readonly prefixes: readonly Prefix[];
}

/** FabricPods attaches pods to VPCs that are in a fabric on this node. */
export interface FabricPods {
  /** room returns the MTU that a segment leaves; a sentence for people where no pod can be attached to it here. */
  room(segment: FabricSegment): { readonly mtuBytes: number } | { readonly error: string };
  /** attach makes a pod's link, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected;
  /** missing returns the names of what does not work yet of an attachment; when there are none, the kernel forwards. */
  missing(attachment: LocalAttachment, netns: Netns): string[];
  /** loaded resolves when it is known who else is in the segment, or nobody can be asked. */
  loaded(attachment: LocalAttachment): Promise<void>;
  /** detach removes an attachment; false when it was not there, which is not an error. */
  detach(id: string): boolean;
  /** forgotten says that one that was not there is no more in the store: what was kept for it alone may go. */
  forgotten(): void;
  /** isElsewhere tells whether another node announced an address of ours later. */
  isElsewhere(segment: number, mac: Mac): boolean;
  /** domains tells of each VPC that is in a fabric here. */
  domains(): readonly DomainStatus[];
}

/** FabricPod is an attachment of an earlier agent. */
export interface FabricPod {
  readonly local: LocalAttachment;
  /** With which it was announced last, once it has moved (RFC 7432 section 15). */
  readonly sequence?: number | undefined;
}

/** FabricPodStore has what is attached to VPCs of fabrics, on disk. */
export interface FabricPodStore {
  /** Those whose ADD has succeeded, in the order in which they came. */
  all(): readonly FabricPod[];
  /** raised writes the sequence down with which an address is announced from now on. */
  raised(segment: number, mac: Mac, sequence: number): void;
}

/** noFabricPods is the store of a node that belongs to no mesh: nobody gives addresses there. */
export const noFabricPods: FabricPodStore = { all: () => [], raised() {} };

/** noFabric is what a node without an edge does. */
export const noFabric: FabricPods = {
  room: ({ vpc }) => ({
    error: `VPC ${vpc} is in a fabric, and this node has no router there; apply an Underlay for it, or let the pod run elsewhere`,
  }),
  attach: noRouter,
  missing: noRouter,
  loaded: async () => {},
  detach: () => false,
  forgotten() {},
  isElsewhere: () => false,
  domains: () => [],
};

function noRouter(): never {
  throw new Error("Cannot attach a pod to a VPC of a fabric: this node has no router there any more");
}
