/** The agent as a pod of each node (apps/v1 DaemonSet): what it may do, what of the node it sees, and how it is looked after. */
import type { Json } from "../resources/mod.ts";
import { CONTROLLER_NAME, CONTROLLER_NAMESPACE } from "./cluster-controller.ts";
import type { Manifest } from "./definition.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";

/** AGENT_NAME is how the agent's identity and its DaemonSet are called; those of hubs are CONTROLLER_NAME. */
export const AGENT_NAME = "causeway-agent";

/** PodSettings are what differs from cluster to cluster. */
export interface PodSettings {
  readonly image: Json;
  /** `IfNotPresent`, `Always` or `Never`. */
  readonly imagePullPolicy: Json;
  /** Labels of nodes that get an agent. */
  readonly nodeSelector: Json;
  /** Requests and limits of the agent (core/v1 ResourceRequirements). */
  readonly resources: Json;
  /** Key of the label of nodes that are hubs: they control the cluster, and no other node's identity may. One that a kubelet may give its own Node makes that void. */
  readonly hub: Json;
  /** Further words of `causeway agent`. */
  readonly extraArguments: Json;
}

/** usualSettings are those of a manifest of which only the image was said. */
export const usualSettings: Omit<PodSettings, "image"> = {
  imagePullPolicy: "IfNotPresent",
  nodeSelector: { "kubernetes.io/os": "linux" },
  // An agent at rest in a small mesh; a hub of thousands of nodes takes more, and nobody is killed for it.
  resources: { requests: { cpu: "50m", memory: "128Mi" } },
  // Below this suffix no kubelet may label its own Node (admission plugin NodeRestriction).
  hub: "causeway.network.node-restriction.kubernetes.io/hub",
  extraArguments: [],
};

/** Each capability of the agent's container, and what it is for. No other one, and no `privileged`. */
const capabilities = {
  NET_ADMIN: "links, addresses, routes, WireGuard, nftables, in the node's network and in pods'",
  NET_RAW:
    "raw and packet sockets: neighbours are told of addresses that moved, paths are probed for their MTU",
  NET_BIND_SERVICE: "BGP's port is 179",
  SYS_ADMIN: "network namespaces of tenants and pods are made, entered and mounted",
  SYS_CHROOT: "setns(2) asks for it where the mounts of process 1 are entered",
  SYS_PTRACE: "namespaces of process 1 and of pods are opened by way of /proc (namespaces(7))",
} as const;

/** Those of the container that installs the plugin. */
const installerCapabilities = {
  DAC_OVERRIDE: "of what installs the plugin: its folders belong to another user on some nodes",
} as const;

/** agentCapabilities are the names of the agent's, without CAP_. */
export const agentCapabilities = Object.keys(capabilities) as readonly (keyof typeof capabilities)[];

/** agentReasons say why, as lines of a comment. */
export const agentReasons: readonly string[] = Object.entries({
  ...capabilities,
  ...installerCapabilities,
}).map(([name, why]) => `${name}: ${why}`);

/** A folder of the node. Everything that a service on the node has too, so that one takes over from the other. */
interface Folder {
  readonly name: string;
  readonly path: string;
  /** Mounts that the host makes in it later are seen. */
  readonly follows?: true;
}

const STATE: Folder = { name: "state", path: "/var/lib/causeway" };
const folders = {
  agent: [
    STATE,
    { name: "run", path: "/run/causeway" },
    { name: "tunnels", path: "/run/wireguard" },
    { name: "manifests", path: "/etc/causeway" },
    { name: "namespaces", path: "/run/netns", follows: true },
    // TUN devices, for tunnels in user space.
    { name: "devices", path: "/dev/net" },
  ],
  cni: [
    { name: "cni-bin", path: "/opt/cni/bin" },
    { name: "cni-conf", path: "/etc/cni/net.d" },
  ],
} satisfies Record<string, readonly Folder[]>;

/** agentFolders are the paths that the agent's container has of the node. */
export const agentFolders: readonly string[] = folders.agent.map(({ path }) => path);

/** GATEWAY_KEYS is the Secret with pre-shared keys of gateways, and where the agent's container has it: a file for each of its keys. */
export const GATEWAY_KEYS = { secret: "causeway-gateway-keys", path: "/run/secrets/causeway-gateway-keys" };

/** 0400: gateways refuse keys that others can read. */
const OWNER_ALONE = 256;

/** Where the image has it. */
const PROGRAM = "/usr/bin/causeway";

/** How long the agent gets to give a lease back; it ends within 3 s. */
const END_SECONDS = 10;

const mount = ({ name, path, follows }: Folder): Manifest => ({
  ...{ name, mountPath: path },
  ...(follows === true && { mountPropagation: "HostToContainer" }),
});
const volume = ({ name, path }: Folder): Manifest => ({
  name,
  hostPath: { path, type: "DirectoryOrCreate" },
});

/** A probe that looks each ten seconds; the command ends by itself before kubelet would end it. */
const probe = (failures: number, ...words: readonly string[]): Manifest => ({
  exec: { command: [PROGRAM, "kube", "wait", "--timeout", "5s", ...words] },
  ...{ periodSeconds: 10, timeoutSeconds: 10, failureThreshold: failures },
});

function agentContainer(settings: PodSettings, controls: boolean): Manifest {
  const words = ["agent", "--in-pod", "--kubeconfig", "in-cluster", "--kube-node", "$(NODE_NAME)"];
  return {
    name: "agent",
    ...{ image: settings.image, imagePullPolicy: settings.imagePullPolicy },
    command: [PROGRAM, ...words, ...(controls ? ["--kube-controller", "in-cluster"] : [])],
    args: settings.extraArguments,
    env: [{ name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } }],
    resources: settings.resources,
    securityContext: { capabilities: { drop: ["ALL"], add: [...agentCapabilities] } },
    // An agent answers: this one, or that of a service, which it waits for. What is wrong with the mesh is no reason to start it anew.
    startupProbe: probe(30, "--agent"),
    livenessProbe: probe(6, "--agent"),
    readinessProbe: probe(3),
    volumeMounts: [
      ...folders.agent.map(mount),
      { name: "gateway-keys", mountPath: GATEWAY_KEYS.path, readOnly: true },
    ],
  };
}

/** Before the agent: a runtime that finds the configuration finds the plugin, and asks again until the agent answers. */
function installContainer(settings: PodSettings, does: "install" | "uninstall"): Manifest {
  return {
    name: does,
    ...{ image: settings.image, imagePullPolicy: settings.imagePullPolicy },
    command: [PROGRAM, "cni", does],
    securityContext: { capabilities: { drop: ["ALL"], add: Object.keys(installerCapabilities) } },
    volumeMounts: folders.cni.map(mount),
  };
}

/** Containers' usual type may neither write folders of the node nor enter process 1's namespaces; without SELinux it is passed over. */
const seLinuxOptions = { level: "s0", type: "spc_t" };

/** AppArmor's usual profile of containers forbids mount(2); the field is new in 1.30, and before it was an annotation. */
function unconfined({ major, minor }: KubernetesVersion): { annotations?: Manifest; context: Manifest } {
  const context = { seLinuxOptions, seccompProfile: { type: "Unconfined" } };
  if (major > 1 || minor >= 30) return { context: { ...context, appArmorProfile: { type: "Unconfined" } } };
  return { context, annotations: { "container.apparmor.security.beta.kubernetes.io/agent": "unconfined" } };
}

function daemonSet(name: string, template: Manifest, annotations?: Manifest): Manifest {
  const labels = { "app.kubernetes.io/name": "causeway", "app.kubernetes.io/component": name };
  return {
    ...{
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name, namespace: CONTROLLER_NAMESPACE, labels },
    },
    spec: {
      selector: { matchLabels: labels },
      // Packets flow while an agent is replaced; pods that are to start wait.
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "10%" } },
      template: { metadata: { labels, ...(annotations && { annotations }) }, spec: template },
    },
  };
}

/** What all pods of ours have in common: they are on every node, whatever is wrong with it, and outlive others. */
function everywhere(settings: PodSettings, hub?: boolean): Manifest {
  const which = { key: settings.hub, operator: hub === true ? "Exists" : "DoesNotExist" };
  const nodeSelectorTerms = [{ matchExpressions: [which] }];
  return {
    ...{ hostNetwork: true, dnsPolicy: "Default", priorityClassName: "system-node-critical" },
    ...{ nodeSelector: settings.nodeSelector, tolerations: [{ operator: "Exists" }] },
    ...(hub !== undefined && {
      affinity: {
        nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } },
      },
    }),
    terminationGracePeriodSeconds: END_SECONDS,
  };
}

/** agentPods returns the DaemonSets: of hubs with the controller's identity, and of all other nodes. */
export function agentPods(settings: PodSettings, version: KubernetesVersion): Manifest[] {
  const { annotations, context } = unconfined(version);
  const one = (name: string, hub: boolean) => {
    const template = {
      serviceAccountName: name,
      ...everywhere(settings, hub),
      hostPID: true,
      securityContext: context,
      initContainers: [installContainer(settings, "install")],
      containers: [agentContainer(settings, hub)],
      volumes: [
        ...[...folders.agent, ...folders.cni].map(volume),
        // Absent in most clusters; kubelet brings it when it comes.
        {
          name: "gateway-keys",
          secret: { secretName: GATEWAY_KEYS.secret, optional: true, defaultMode: OWNER_ALONE },
        },
      ],
    };
    return daemonSet(name, template, annotations);
  };
  return [one(AGENT_NAME, false), one(CONTROLLER_NAME, true)];
}

/** removalPods returns what takes the plugin off all nodes, and then only sleeps: a DaemonSet has no end. */
export function removalPods(settings: PodSettings): Manifest[] {
  const template = {
    ...everywhere(settings),
    automountServiceAccountToken: false,
    securityContext: { seLinuxOptions },
    initContainers: [installContainer(settings, "uninstall")],
    containers: [
      {
        ...{ name: "done", image: settings.image, imagePullPolicy: settings.imagePullPolicy },
        command: ["sleep", "infinity"],
        securityContext: { capabilities: { drop: ["ALL"] } },
      },
    ],
    volumes: folders.cni.map(volume),
  };
  return [daemonSet("causeway-uninstall", template)];
}
