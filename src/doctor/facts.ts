/** What the doctor looks at. Everything is gathered first (gather.ts); the checks are functions of it. */
import type { Ip, Prefix } from "../net/mod.ts";
import type { FirewallView } from "./firewall-reader.ts";

/** AgentFacts are what the agent says; without one, or unjoined, there is little. */
export interface AgentFacts {
  /** The node's name; absent where it has not joined. */
  readonly node?: string;
  readonly hub: boolean;
  readonly overlay: readonly Ip[];
  readonly pods: readonly Prefix[];
  /** The mesh's networks. */
  readonly mesh?: {
    readonly overlay: readonly Prefix[];
    readonly pods: readonly Prefix[];
    readonly services: readonly Prefix[];
  };
  readonly tunnel?: { readonly mtuBytes: number; readonly problem?: string };
  /** Of a member: whether a hub is reached. */
  readonly connected?: boolean;
  /** Of a member: where the mesh's hub is reached, `host:port`. */
  readonly hubEndpoints?: readonly string[];
  readonly failed: readonly string[];
  /** Where the node is a router of a fabric: what is not as resources say. */
  readonly edge?: { readonly routers: readonly string[]; readonly problems: readonly string[] };
  readonly peers: readonly PeerFacts[];
}

/** PeerFacts are another node as the agent reaches it. */
export interface PeerFacts {
  readonly name: string;
  readonly hub: boolean;
  readonly overlay: readonly Ip[];
  readonly pods: readonly Prefix[];
  readonly down: boolean;
  readonly reason: string;
  /** What its way takes, where the agent found that. */
  readonly mtuBytes?: number;
}

/** WayFacts are the link that the kernel takes to a destination. */
export interface WayFacts {
  readonly to: string;
  readonly address: string;
  /** Absent: it has no way. */
  readonly link?: string;
}

/** PingFacts are echoes over the overlay, without fragmentation: a small one, and one as large as the tunnel says it takes. */
export interface PingFacts {
  readonly peer: string;
  readonly small: boolean;
  readonly large: boolean;
  readonly largeBytes: number;
}

/** HubName is a name by which a member reaches a hub, and what it leads to; without addresses, why. */
export interface HubName {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly problem?: string;
}

/** ControlPlaneFacts are an API server of this node, as kubeadm sets it up. */
export interface ControlPlaneFacts {
  /** Its certificate, with what it is for; without names where it is none. */
  readonly certificate?: { readonly path: string; readonly names?: readonly string[] };
  /** The host by which the administrator's kubeconfig reaches the API: that of controlPlaneEndpoint. */
  readonly endpoint?: { readonly path: string; readonly host: string };
  /** What the manifests of API server and etcd say of addresses: the hosts of each flag. */
  readonly flags: readonly {
    readonly path: string;
    readonly flag: string;
    readonly hosts: readonly string[];
  }[];
}

/** KubeFacts are what of Kubernetes is on this node. */
export interface KubeFacts {
  readonly distribution?: "kubeadm" | "k3s" | "rke2";
  /** `--node-ip` as written in its file, and the file. */
  readonly nodeIp?: { readonly value: string; readonly path: string };
  /** Of the kubelet that runs: its own argument. */
  readonly running?: { readonly nodeIp?: string };
  /** As the API has this node; absent where it could not be asked, with the reason. */
  readonly registered?: { readonly internal: readonly string[]; readonly podCidrs: readonly string[] };
  readonly apiProblem?: string;
  /** Networks that a file of Kubernetes or of a pod network names. */
  readonly networks: readonly {
    readonly path: string;
    readonly kind: "pods" | "services";
    readonly value: string;
  }[];
  /** The drop-in that lets the unit wait for the overlay. */
  readonly ordered: boolean;
  readonly controlPlane?: ControlPlaneFacts;
}

/** CniFacts are the folder of network configurations. */
export interface CniFacts {
  readonly folder: string;
  /** By name, as the runtime sorts them. */
  readonly files: readonly {
    readonly path: string;
    readonly types: readonly string[];
    readonly delegatesToUs: boolean;
    /** Names of the executables that it has run: its types, those of their IPAM, ours where it hands on to us. */
    readonly calls: readonly string[];
  }[];
}

/** PluginFacts are executables that network configurations name. */
export interface PluginFacts {
  /** Where the runtime looks for them. */
  readonly folders: readonly string[];
  /** Names of those that are there and can be executed. */
  readonly there: readonly string[];
  /** Files of ours that are not as this version has them, those that are missing included. */
  readonly unlike: readonly string[];
}

/** KeyFacts are the node's private key, as a file. */
export interface KeyFacts {
  readonly path: string;
  readonly mode: number;
  /** Other files here with the same key. */
  readonly elsewhere: readonly string[];
  /** Link-layer addresses of the machine that the key was made on, and those of this one; absent for keys of older versions. */
  readonly machine?: { readonly made: readonly string[]; readonly now: readonly string[] };
}

/** Facts is all of it. */
export interface Facts {
  readonly agent?: AgentFacts;
  readonly agentProblem?: string;
  /** What the kernel refused to do, by the name of the module that would. */
  readonly lacking: readonly string[];
  /** Whether there is /dev/net/tun, for a tunnel in user space. */
  readonly tun: boolean;
  /** Values below /proc/sys; absent where there is no such file. */
  readonly settings: Readonly<Record<string, string>>;
  readonly neighbours: number;
  readonly view: FirewallView;
  /** Keys of the rules that the agent was asked to keep (`doctor --fix`). */
  readonly kept: ReadonlySet<string>;
  readonly ways: readonly WayFacts[];
  /** Why no ways could be asked for. */
  readonly waysProblem?: string;
  readonly pings?: readonly PingFacts[];
  readonly kube?: KubeFacts;
  readonly cni?: CniFacts;
  readonly plugins?: PluginFacts;
  /** Of a member. */
  readonly hubNames?: readonly HubName[];
  readonly key?: KeyFacts;
}
