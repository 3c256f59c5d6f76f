/** What bench kube is asked to measure. */

/** KubePlan says how large the cluster is, and how much is done to it. */
export interface KubePlan {
  readonly nodes: number;
  /** In the whole cluster; of which one node has `ownPods`. */
  readonly pods: number;
  readonly ownPods: number;
  readonly namespaces: number;
  /** Changes of each kind, one after the other. */
  readonly tries: number;
  /** How long the cluster is watched at rest. */
  readonly seconds: number;
  /** Before other work on the machine. */
  readonly urgent: boolean;
  /** kube-apiserver, and the folder with Debian's etcd. */
  readonly program: string;
  readonly etcd: string;
}

/** OWN_NODE is the node of Kubernetes whose agent is measured. */
export const OWN_NODE = "n00001";
