/** Identities and their rights (rbac.authorization.k8s.io/v1): what the controller and the agent call, and nothing else. */
import { AGENT_NAME } from "./agent-pod.ts";
import { CONTROLLER_NAME, CONTROLLER_NAMESPACE } from "./cluster-controller.ts";
import { customKinds } from "./custom-kinds.ts";
import { GROUP, type Manifest } from "./definition.ts";
import { NODES } from "./node-release.ts";

const rbac = { apiVersion: "rbac.authorization.k8s.io/v1" };

/** ownNamespace is that of all that is in one. Agents share the node's network and see its folders, which Pod Security calls privileged. */
export function ownNamespace(): Manifest {
  const levels = ["enforce", "audit", "warn"].map((mode) => [
    `pod-security.kubernetes.io/${mode}`,
    "privileged",
  ]);
  return {
    ...{ apiVersion: "v1", kind: "Namespace" },
    metadata: { name: CONTROLLER_NAMESPACE, labels: Object.fromEntries(levels) },
  };
}

const account = (name: string): Manifest => ({
  ...{ apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace: CONTROLLER_NAMESPACE } },
});

const rule = (apiGroup: string, resources: readonly string[], ...verbs: readonly string[]): Manifest => ({
  ...{ apiGroups: [apiGroup], resources, verbs },
});

/** agentRights are an identity that reads pods and namespaces, as that of controllers does too, whose agent is one like others. */
export function agentRights(): Manifest[] {
  const name = AGENT_NAME;
  const subjects = agentSubjects();
  return [
    account(name),
    {
      ...{ ...rbac, kind: "ClusterRole", metadata: { name } },
      rules: [rule("", ["pods", "namespaces"], "get", "list", "watch")],
    },
    {
      ...{ ...rbac, kind: "ClusterRoleBinding", metadata: { name }, subjects },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    },
  ];
}

/** NamedSecret is one Secret. */
export interface NamedSecret {
  readonly namespace: string;
  readonly name: string;
}

/** secretRights are what agents need to read these Secrets and no other one: in each namespace a Role that names them. */
export function secretRights(secrets: readonly NamedSecret[]): Manifest[] {
  const name = `${AGENT_NAME}-passwords`;
  return [...new Set(secrets.map(({ namespace }) => namespace))].sort().flatMap((namespace): Manifest[] => {
    const names = secrets.filter((one) => one.namespace === namespace).map((one) => one.name);
    const resourceNames = [...new Set(names)].sort();
    return [
      {
        ...{ ...rbac, kind: "Role", metadata: { name, namespace } },
        // Both ask with the field selector metadata.name, without which the API refuses them to who may see named ones alone.
        rules: [{ ...rule("", ["secrets"], "list", "watch"), resourceNames }],
      },
      {
        ...{ ...rbac, kind: "RoleBinding", metadata: { name, namespace }, subjects: agentSubjects() },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name },
      },
    ];
  });
}

/** Agents have their own identity, on hubs the controller's. */
function agentSubjects(): Manifest[] {
  return [AGENT_NAME, CONTROLLER_NAME].map((name) => ({
    ...{ kind: "ServiceAccount", name, namespace: CONTROLLER_NAMESPACE },
  }));
}

/** Rights know no labels: those that we did not make are spared by ourselves. */
const WRITER = ["list", "watch", "create", "patch", "delete"];

/** controllerRights are what the controller may do, and no more: an identity of its own, bound to it. */
export function controllerRights(): Manifest[] {
  const [name, namespace] = [CONTROLLER_NAME, CONTROLLER_NAMESPACE];
  const roleRef = (kind: string) => ({ apiGroup: "rbac.authorization.k8s.io", kind, name });
  const subjects = [{ kind: "ServiceAccount", name, namespace }];
  const one = (resourceName: string, ...of: Parameters<typeof rule>) => ({
    ...{ ...rule(...of), resourceNames: [resourceName] },
  });
  const inside = (where: string, ...rules: readonly Manifest[]): Manifest[] => [
    { ...rbac, kind: "Role", metadata: { name, namespace: where }, rules },
    {
      ...{ ...rbac, kind: "RoleBinding", metadata: { name, namespace: where } },
      ...{ roleRef: roleRef("Role"), subjects },
    },
  ];
  const all = Object.values(customKinds).map(({ plural }) => plural);
  return [
    account(name),
    {
      ...{ ...rbac, kind: "ClusterRole", metadata: { name } },
      rules: [
        rule(GROUP, all, "list", "watch", "patch"),
        rule(
          GROUP,
          all.map((plural) => `${plural}/status`),
          "patch",
        ),
        rule("", ["nodes"], "get", "list", "watch", "patch"),
        // Whether a Node that was deleted has pods left.
        rule("", ["pods"], "list"),
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
        one(NODES, "", ["configmaps"], "get", "patch"),
        rule("", ["configmaps"], "create"),
      ],
    },
    { ...rbac, kind: "RoleBinding", metadata: { name, namespace }, roleRef: roleRef("Role"), subjects },
    // By its uid a cluster is told from others.
    ...inside("kube-system", one("kube-system", "", ["namespaces"], "get")),
    // Events of what is in no namespace are there.
    ...inside("default", rule("", ["events"], "create")),
  ];
}
