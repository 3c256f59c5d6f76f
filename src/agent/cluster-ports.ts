/** Ports of the cluster itself, on every node. */
import type { OwnPort } from "../pods/mod.ts";

/** clusterPorts are not for pods: one with one of these would speak for the node to the whole cluster. */
export const clusterPorts: readonly OwnPort[] = [
  { protocol: "tcp", port: 10250, purpose: "kubelet" },
  { protocol: "tcp", port: 6443, purpose: "the Kubernetes API" },
  { protocol: "tcp", port: 2379, purpose: "etcd" },
  { protocol: "tcp", port: 2380, purpose: "etcd" },
];
