/** All objects that a cluster must have before resources can be applied there: one source for the command line and for tests. */
import { stringify } from "yaml";
import { customDefinitions, type Manifest } from "./definition.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";

/** kubeManifests returns them in the order in which they are applied. */
export function kubeManifests(version: KubernetesVersion): Manifest[] {
  return customDefinitions(version);
}

/** formatKubeManifests returns YAML of one or more documents. */
export function formatKubeManifests(manifests: readonly Manifest[]): string {
  return manifests
    .map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join("---\n");
}
