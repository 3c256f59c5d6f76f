/** All objects that a cluster must have before resources can be applied there: one source for the command line and for tests. */
import { stringify } from "yaml";
import { CONTROLLER_NAME, CONTROLLER_NAMESPACE } from "./cluster-controller.ts";
import { customKinds } from "./custom-kinds.ts";
import { customDefinitions, GROUP, type Manifest } from "./definition.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";

/** kubeManifests returns them in the order in which they are applied. */
export function kubeManifests(version: KubernetesVersion): Manifest[] {
  return [...customDefinitions(version), ...controllerRights()];
}

/** Rights know no labels: those that we did not make are spared by ourselves. */
const WRITER = ["get", "list", "watch", "create", "patch", "delete"];

/** What the controller may do, and no more: an identity of its own, bound to it. */
function controllerRights(): Manifest[] {
  const [name, namespace] = [CONTROLLER_NAME, CONTROLLER_NAMESPACE];
  const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };
  const roleRef = (kind: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name });
  const subjects = [{ kind: "ServiceAccount", name, namespace }];
  const rule = (apiGroup: string, resources: readonly string[], ...verbs: readonly string[]) => ({
    ...{ apiGroups: [apiGroup], resources, verbs },
  });
  const one = (resourceName: string, ...of: Parameters<typeof rule>) => ({
    ...{ ...rule(...of), resourceNames: [resourceName] },
  });
  const all = Object.values(customKinds).map(({ plural }) => plural);
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    {
      ...{ ...rbac, kind: "ClusterRole", metadata: { name } },
      rules: [
        rule(GROUP, all, "get", "list", "watch", "patch"),
        rule(
          GROUP,
          all.map((plural) => `${plural}/status`),
          "patch",
        ),
        rule("", ["nodes"], "get", "list", "watch", "patch"),
        rule("k8s.cni.cncf.io", ["network-attachment-definitions"], ...WRITER),
      ],
    },
    { ...rbac, kind: "ClusterRoleBinding", metadata: { name }, roleRef: roleRef("ClusterRole"), subjects },
    {
      ...{ ...rbac, kind: "Role", metadata: { name, namespace } },
      rules: [
        one(name, "coordination.k8s.io", ["leases"], "get", "update"),
        // What is made has no name yet by which it could be told.
        rule("coordination.k8s.io", ["leases"], "create"),
        one(namespace, "", ["namespaces"], "get"),
      ],
    },
    { ...rbac, kind: "RoleBinding", metadata: { name, namespace }, roleRef: roleRef("Role"), subjects },
    {
      ...{ ...rbac, kind: "Role", metadata: { name, namespace: "default" } },
      rules: [rule("", ["events"], "create")],
    },
    {
      ...{ ...rbac, kind: "RoleBinding", metadata: { name, namespace: "default" } },
      ...{ roleRef: roleRef("Role"), subjects },
    },
  ];
}

/** Where the API has the kinds of our manifests. */
const plurals: Readonly<Record<string, string>> = {
  CustomResourceDefinition: "customresourcedefinitions",
  ServiceAccount: "serviceaccounts",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  Role: "roles",
  RoleBinding: "rolebindings",
};

/** manifestPath returns where the API has an object of kubeManifests. */
export function manifestPath({ apiVersion, kind, metadata }: Manifest): string {
  const version = String(apiVersion);
  const { name, namespace } = metadata as { readonly name: string; readonly namespace?: string };
  const group = version.includes("/") ? `/apis/${version}` : `/api/${version}`;
  const inside = namespace === undefined ? "" : `/namespaces/${namespace}`;
  return `${group}${inside}/${plurals[String(kind)]}/${name}`;
}

/** formatKubeManifests returns YAML of one or more documents. */
export function formatKubeManifests(manifests: readonly Manifest[]): string {
  return manifests
    .map((manifest) => stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false }))
    .join("---\n");
}
