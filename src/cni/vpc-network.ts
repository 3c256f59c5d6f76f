/**
 * What the plugin needs of private networks (VPCs). The agent implements it: domains, addresses and announcements are its affair; calls,
 * versions, namespaces of containers and other people's IPAM plugins are ours.
 */
import type { Attachment } from "../ipam/mod.ts";
import type { InterfaceAddress, Ip, Mac } from "../net/mod.ts";
import type { PodRoute } from "../pods/mod.ts";
import type { Netns } from "../sys/mod.ts";

/** VpcPod is the pod that an interface is for, as Kubernetes names it. */
export interface VpcPod {
  readonly namespace: string;
  readonly name: string;
  /** Empty where nobody watches the cluster's pods. */
  readonly labels: Readonly<Record<string, string>>;
}

/** VpcWish is what an attachment asks for. */
export interface VpcWish {
  /** Name of the VPC. */
  readonly vpc?: string;
  /** Name of the Subnet; may be left out where the VPC has one. */
  readonly subnet?: string;
  /** A segment by its VNI, 1 to 16777215, instead of by name. */
  readonly vni?: number;
  /** UDP port of VXLAN, 1024 to 65535; default 4789. With vni only. */
  readonly dstPort?: number;
  /**
   * Addresses that it must have. Lengths count with vni only, since a Subnet has its own; an empty list with vni means a link without
   * addresses. Absent: allocated.
   */
  readonly addresses?: readonly InterfaceAddress[];
  readonly mac?: Mac;
  /** 1280 to 9216; absent: what the underlay leaves. */
  readonly mtuBytes?: number;
  /** The pod's default route goes here. */
  readonly defaultRoute: boolean;
  /** Names of SecurityGroups. */
  readonly groups: readonly string[];
  /** Identity of a fixed address, which moves to the node that asks last: `vm team-a/db`. */
  readonly owner?: string;
  /** Absent where the runtime does not say. */
  readonly pod?: VpcPod;
}

/** VpcAttached is what an attachment got. */
export interface VpcAttached {
  readonly mac: Mac;
  readonly addresses: readonly InterfaceAddress[];
  /** At most one of a family. */
  readonly gateways: readonly Ip[];
  readonly mtuBytes: number;
  /** Name of the node's end of the link. */
  readonly hostLink: string;
  readonly hostMac?: Mac;
  /** The bridge that it is a port of: `br300`. */
  readonly bridge?: string;
  readonly bridgeMac?: Mac;
  /** What was made in the container. */
  readonly routes: readonly PodRoute[];
  readonly dnsServers: readonly Ip[];
}

/**
 * VpcNetwork attaches interfaces to private networks. Calls about one attachment come one after the other, however long they take. What it had half
 * made when an agent died, it undoes itself; an attachment that goes with one of the default network has a network's name with a slash in it.
 */
export interface VpcNetwork {
  /**
   * add resolves when the kernel forwards; rejects with a CniError, and nothing is left behind: `alreadyAttached` for one that is there, which stays.
   * `netns` stays the caller's, and is open until this has ended.
   */
  add(attachment: Attachment, wish: VpcWish, netns: Netns): Promise<VpcAttached>;
  /** delete removes everything of an attachment; one that is not there is not an error. */
  delete(attachment: Attachment): Promise<void>;
  /** check rejects with a CniError that names what is missing or wrong. */
  check(attachment: Attachment, netns: Netns): Promise<void>;
  /** attachments returns those that are there, or half made. */
  attachments(): readonly Attachment[];
}
