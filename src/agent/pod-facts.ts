/** Who tells the plugin of pods' labels and annotations: the Kubernetes API, by a kubeconfig that may come later (kubeadm join writes it), or files. */
import type { PodFactsSource } from "../cni/mod.ts";
import { inCluster, kubeconfigAccess, PodFiles, PodWatch } from "../kube/mod.ts";
import { after } from "../sys/mod.ts";
import { warn } from "./log.ts";

/** IN_CLUSTER stands for the service account of the pod that the agent runs in. */
export const IN_CLUSTER = "in-cluster";

/** What cannot be read is tried again. */
const RETRY_MS = 10_000;

/** PodFactsGiven is what the operator says of it. */
export interface PodFactsGiven {
  /** Path of a kubeconfig, or IN_CLUSTER. */
  readonly kubeconfig?: string;
  /** Name of this node in the cluster. */
  readonly kubeNode: string;
  /** A folder with manifests of Pods and Namespaces. */
  readonly podFiles?: string;
}

/** followPods tells `set` who knows; undefined while nobody does. */
export function followPods(
  given: PodFactsGiven,
  set: (facts: PodFactsSource | undefined) => void,
): Disposable {
  const { kubeconfig, podFiles } = given;
  if (podFiles !== undefined) set(new PodFiles(podFiles));
  if (kubeconfig === undefined) return { [Symbol.dispose]: () => {} };
  let watch: Disposable | undefined;
  let told = "";
  const tell = (reason: string | undefined) => {
    if (reason !== undefined && reason !== told) warn("annotations of pods are not known", { reason });
    told = reason ?? "";
  };
  const start = () => {
    try {
      const access = kubeconfig === IN_CLUSTER ? inCluster() : kubeconfigAccess(kubeconfig);
      const pods = PodWatch.start({ access, node: given.kubeNode, onProblem: tell });
      watch = pods;
      set(pods);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      tell(reason);
      // A pod whose annotations are not known must not get the default network in their place.
      set({ podFacts: () => undefined, find: () => Promise.reject(new Error(reason)) });
      watch = after(RETRY_MS, start);
    }
  };
  start();
  return { [Symbol.dispose]: () => watch?.[Symbol.dispose]() };
}
