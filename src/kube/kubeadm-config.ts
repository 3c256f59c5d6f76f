/** What `kubeadm init --config` reads, in the version of its format that a Kubernetes release knows. */
import { stringify } from "yaml";
import type { ClusterWish } from "./prepare.ts";

/** KubernetesVersion is a release, as in v1.30. */
export interface KubernetesVersion {
  readonly major: number;
  readonly minor: number;
}

/** parseKubernetesVersion reads `v1.30.2`, `1.30` and the like; undefined for anything else. */
export function parseKubernetesVersion(text: string): KubernetesVersion | undefined {
  const match = /^v?(\d{1,3})\.(\d{1,3})(?:[.+-].*)?$/.exec(text.trim());
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}

/** The formats and the first release of each (k8s.io/kubernetes cmd/kubeadm/app/apis/kubeadm). */
const formats = [
  { minor: 31, format: "v1beta4" },
  { minor: 22, format: "v1beta3" },
  { minor: 15, format: "v1beta2" },
] as const;

type Format = (typeof formats)[number]["format"];

function formatOf({ major, minor }: KubernetesVersion): Format {
  const found = formats.find((one) => major > 1 || minor >= one.minor);
  if (found === undefined)
    throw new Error(`Kubernetes ${major}.${minor} is not supported; take 1.15 or a newer one`);
  return found.format;
}

/** Arguments of a component: a map before v1beta4, a list since. */
function args(table: Readonly<Record<string, string>>, format: Format): unknown {
  return format === "v1beta4" ? Object.entries(table).map(([name, value]) => ({ name, value })) : table;
}

/** kubeadmConfig returns the documents, for a first control plane node. */
export function kubeadmConfig(wish: ClusterWish, version: KubernetesVersion): string {
  const format = formatOf(version);
  const apiVersion = `kubeadm.k8s.io/${format}`;
  const nodeIp = wish.nodeAddresses.join(",");
  const documents = [
    {
      apiVersion,
      kind: "InitConfiguration",
      localAPIEndpoint: { advertiseAddress: wish.nodeAddresses[0] },
      nodeRegistration: { kubeletExtraArgs: args({ "node-ip": nodeIp }, format) },
    },
    {
      apiVersion,
      kind: "ClusterConfiguration",
      controlPlaneEndpoint: wish.endpoint,
      networking: { podSubnet: wish.pods.join(","), serviceSubnet: wish.services.join(",") },
      apiServer: { certSANs: wish.names },
      // Causeway numbers the nodes and says so in Node.spec.podCIDRs.
      controllerManager: { extraArgs: args({ "allocate-node-cidrs": "false" }, format) },
      // Two stacks were behind a gate until 1.21.
      ...(wish.pods.length > 1 && version.major === 1 && version.minor < 21
        ? { featureGates: { IPv6DualStack: true } }
        : {}),
    },
  ];
  return documents.map((document) => stringify(document)).join("---\n");
}
