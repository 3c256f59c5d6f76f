/** All objects that a cluster must have before resources can be applied there: one source for the command line, the chart and tests. */
import { stringify } from "yaml";
import { agentPods, agentReasons, type PodSettings, removalPods } from "./agent-pod.ts";
import { customDefinitions, type Manifest } from "./definition.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";
import { agentRights, controllerRights, ownNamespace } from "./rights.ts";

/** kubeManifests returns them in the order in which they are applied; the agent is among them where settings for its pods are given. */
export function kubeManifests(version: KubernetesVersion, pods?: PodSettings): Manifest[] {
  const base = [ownNamespace(), ...customDefinitions(version), ...controllerRights()];
  return pods === undefined ? base : [...base, ...agentRights(), ...agentPods(pods, version)];
}

/** kubeRemoval returns what takes the plugin off the nodes, once the agent's pods are gone. */
export function kubeRemoval(pods: PodSettings): Manifest[] {
  return [ownNamespace(), ...removalPods(pods)];
}

/** Where the API has the kinds of our manifests. */
const plurals: Readonly<Record<string, string>> = {
  Namespace: "namespaces",
  CustomResourceDefinition: "customresourcedefinitions",
  ServiceAccount: "serviceaccounts",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  Role: "roles",
  RoleBinding: "rolebindings",
  DaemonSet: "daemonsets",
};

/** manifestPath returns where the API has an object of kubeManifests. */
export function manifestPath({ apiVersion, kind, metadata }: Manifest): string {
  const version = String(apiVersion);
  const { name, namespace } = metadata as { readonly name: string; readonly namespace?: string };
  const group = version.includes("/") ? `/apis/${version}` : `/api/${version}`;
  const inside = namespace === undefined ? "" : `/namespaces/${namespace}`;
  return `${group}${inside}/${plurals[String(kind)]}/${name}`;
}

/** Why a pod has the capabilities that it has, before its document. */
function comment({ kind }: Manifest, text: string): string {
  if (kind !== "DaemonSet" || !text.includes("NET_ADMIN")) return text;
  const lines = ["The agent is not privileged. Its capabilities, and what each is for:", ...agentReasons];
  return `${lines.map((line) => `# ${line}\n`).join("")}${text}`;
}

/** formatKubeManifests returns YAML of one or more documents. */
export function formatKubeManifests(manifests: readonly Manifest[]): string {
  return manifests
    .map((manifest) => comment(manifest, stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })))
    .join("---\n");
}
