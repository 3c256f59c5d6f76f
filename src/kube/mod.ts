/**
 * kube: what this node needs to know of the cluster's pods, read only. Labels and annotations of the pods on this node and annotations of
 * namespaces, by list and watch of the Kubernetes API over plain HTTPS, or from files where there is no API to ask.
 *
 * It also knows what a node's Kubernetes must be told to run over the overlay (prepared, Preparation), before there is an API.
 *
 * It needs get, list and watch of pods and namespaces, and nothing else (deploy/kube-reader.yaml). What annotations mean is the affair of `cni`.
 *
 * @example
 * ```ts
 * using pods = PodWatch.start({ access: inCluster(), node: "worker-1" });
 * service.setPodFacts(pods);
 * ```
 */
export { inCluster, type KubeAccess, kubeconfigAccess } from "./access.ts";
export { kubeGet } from "./client.ts";
export { API_PORT, type ClusterFacts, clusterWish } from "./cluster-wish.ts";
export { type KubernetesVersion, parseKubernetesVersion } from "./kubeadm-config.ts";
export { nodeIpOf } from "./kubelet-arguments.ts";
export { PodFiles } from "./pod-files.ts";
export { PodWatch, type PodWatchOptions, type PodWatchStatus } from "./pod-watch.ts";
export { Preparation, type PreparationStep } from "./preparation.ts";
export { type ClusterWish, type Distribution, distributions, prepared, type PrepareWish } from "./prepare.ts";
