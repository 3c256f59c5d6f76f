/**
 * kube: what Causeway and a cluster's API tell each other.
 *
 * Of pods this node reads only: labels and annotations of those on this node and annotations of namespaces, by list and watch over plain HTTPS,
 * or from files where there is no API to ask. It needs get, list and watch of pods and namespaces, and nothing else (deploy/kube-reader.yaml).
 * What annotations mean is the affair of `cni`.
 *
 * Tenants' resources are custom resources: their definitions, generated from `resources` (kubeManifests), and the controller that puts them
 * into the register and tells Kubernetes the nodes' ranges (ClusterController), with rights of its own.
 *
 * It also knows what a node's Kubernetes must be told to run over the overlay (prepared, Preparation), before there is an API.
 *
 * @example
 * ```ts
 * using pods = PodWatch.start({ access: inCluster(), node: "worker-1" });
 * service.setPodFacts(pods);
 * ```
 */
export { type PodSettings, usualSettings } from "./agent-pod.ts";
export { inCluster, type KubeAccess, kubeconfigAccess } from "./access.ts";
export { type ChartFile, chartFiles } from "./chart.ts";
export { kubeGet } from "./client.ts";
export { API_PORT, type ClusterFacts, clusterWish } from "./cluster-wish.ts";
export {
  ClusterController,
  type ClusterControllerOptions,
  type ControllerRegister,
} from "./cluster-controller.ts";
export type { Manifest } from "./definition.ts";
export { formatKubeManifests, kubeManifests, kubeRemoval } from "./manifests.ts";
export { type KubernetesVersion, parseKubernetesVersion } from "./kubeadm-config.ts";
export { nodeIpOf } from "./kubelet-arguments.ts";
export { PodFiles } from "./pod-files.ts";
export { PodWatch, type PodWatchOptions, type PodWatchStatus } from "./pod-watch.ts";
export { type NamedSecret, secretRights } from "./rights.ts";
export { SecretWatch, type SecretValue } from "./secret-watch.ts";
export { Preparation, type PreparationStep } from "./preparation.ts";
export type { UpState } from "./verdict.ts";
export { type ClusterWish, type Distribution, distributions, prepared, type PrepareWish } from "./prepare.ts";
