/**
 * What Kubernetes must be told on a node so that it runs over the overlay: its node's addresses, the cluster's networks, what must start before it.
 * A pure function from facts to files; `Preparation` writes them.
 *
 * | file | kubeadm | k3s, rke2 |
 * |---|---|---|
 * | node address | `KUBELET_EXTRA_ARGS` in /etc/default/kubelet (/etc/sysconfig/kubelet) | config.yaml.d/50-causeway.yaml |
 * | cluster's networks, API's address and names (control plane) | /etc/causeway/kubeadm.yaml | the same file |
 * | waits for the overlay | a drop-in of kubelet.service | a drop-in of the server's or agent's unit |
 * | kernel settings and modules | /etc/sysctl.d, /etc/modules-load.d | the same |
 *
 * A kubelet without `--node-ip` takes the address of the default route, which the other nodes cannot reach; with one that no link has it does not start.
 */
import { stringify } from "yaml";
import { kubeadmConfig, type KubernetesVersion } from "./kubeadm-config.ts";
import { kubeletEnvironment, withNodeIp } from "./kubelet-arguments.ts";

/** distributions of Kubernetes that are known. */
export const distributions = ["kubeadm", "k3s", "rke2"] as const;

/** Distribution is one of them. */
export type Distribution = (typeof distributions)[number];

/** ClusterWish is what Kubernetes shall know; all as text. */
export interface ClusterWish {
  /** The node's overlay addresses, IPv4 first where there are both: the order is that of pods' and services' families. */
  readonly nodeAddresses: readonly string[];
  /** The pod network, of one or two families. */
  readonly pods: readonly string[];
  readonly services: readonly string[];
  /** Where the API is reached: HOST:PORT. */
  readonly endpoint: string;
  /** What the API's certificate is for. */
  readonly names: readonly string[];
}

/** PrepareWish is what to prepare. */
export interface PrepareWish {
  readonly distribution: Distribution;
  readonly controlPlane: boolean;
  readonly cluster: ClusterWish;
  /** Of kubeadm only. */
  readonly version: KubernetesVersion;
  /** Whether files of the kubelet's environment are in /etc/sysconfig, as with Red Hat's, not in /etc/default. */
  readonly sysconfig: boolean;
  /** Path of this executable, for units. */
  readonly executable: string;
}

/** PreparedFile is a file that shall be there. */
export interface PreparedFile {
  readonly path: string;
  readonly about: string;
  /** The whole text, whatever was there; or what becomes of it. */
  readonly text: string | ((before: string) => string);
}

/** Prepared are the files, and what is to be done by hand after that, in order. */
export interface Prepared {
  readonly files: readonly PreparedFile[];
  readonly next: readonly string[];
}

const HEAD = "# Written by `causeway kube prepare`; `causeway kube prepare --undo` takes it away.\n";

const units: Readonly<Record<Distribution, (controlPlane: boolean) => string>> = {
  kubeadm: () => "kubelet",
  k3s: (controlPlane) => (controlPlane ? "k3s" : "k3s-agent"),
  rke2: (controlPlane) => (controlPlane ? "rke2-server" : "rke2-agent"),
};

/** prepared returns what a node needs. */
export function prepared(wish: PrepareWish): Prepared {
  const unit = units[wish.distribution](wish.controlPlane);
  const files = [
    ...(wish.distribution === "kubeadm" ? kubeadmFiles(wish) : [rancherFile(wish)]),
    orderFile(unit, wish.executable),
    sysctlFile,
    modulesFile,
  ];
  return { files, next: [...common(unit), ...steps(wish)] };
}

function kubeadmFiles({ cluster, controlPlane, sysconfig, version }: PrepareWish): PreparedFile[] {
  const addresses = cluster.nodeAddresses.join(",");
  const kubelet: PreparedFile = {
    path: kubeletEnvironment(sysconfig),
    about: "the kubelet's address: --node-ip",
    text: (before) => withNodeIp(before, addresses),
  };
  if (!controlPlane) return [kubelet];
  return [
    kubelet,
    {
      path: "/etc/causeway/kubeadm.yaml",
      about: "for kubeadm init: addresses, networks, names of the API",
      text: HEAD + kubeadmConfig(cluster, version),
    },
  ];
}

/** k3s and rke2 read the folder after config.yaml, by name; `+` adds to a list that is there already. */
function rancherFile({ distribution, controlPlane, cluster }: PrepareWish): PreparedFile {
  const node = { "node-ip": cluster.nodeAddresses.join(",") };
  const server = {
    ...node,
    "advertise-address": cluster.nodeAddresses[0],
    "tls-san+": cluster.names,
    "cluster-cidr": cluster.pods.join(","),
    "service-cidr": cluster.services.join(","),
    "kube-controller-manager-arg+": ["allocate-node-cidrs=false"],
    ...(distribution === "k3s"
      ? { "flannel-backend": "none", "disable-network-policy": true }
      : { cni: "none" }),
  };
  return {
    path: `/etc/rancher/${distribution}/config.yaml.d/50-causeway.yaml`,
    about: controlPlane
      ? "addresses, networks, names of the API; no other pod network"
      : "the node's address",
    text: HEAD + stringify(controlPlane ? server : node),
  };
}

function orderFile(unit: string, executable: string): PreparedFile {
  return {
    path: `/etc/systemd/system/${unit}.service.d/20-causeway.conf`,
    about: `${unit} starts when the overlay's addresses are there`,
    text: `${HEAD}[Unit]
Wants=causeway.service
After=causeway.service

[Service]
ExecStartPre=${executable} kube wait --timeout 60s
`,
  };
}

const sysctlFile: PreparedFile = {
  path: "/etc/sysctl.d/60-causeway-kube.conf",
  about: "what Kubernetes wants of the kernel",
  text: `${HEAD}net.ipv4.ip_forward = 1
# kube-proxy's rules also hold for what passes a bridge.
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
`,
};

const modulesFile: PreparedFile = {
  path: "/etc/modules-load.d/causeway-kube.conf",
  about: "modules that these settings and containers need",
  text: `${HEAD}br_netfilter\noverlay\n`,
};

function common(unit: string): readonly string[] {
  return [
    "modprobe -a br_netfilter overlay",
    "sysctl --system",
    "systemctl daemon-reload",
    `systemctl enable ${unit}`,
  ];
}

function steps({ distribution, controlPlane, cluster }: PrepareWish): readonly string[] {
  const [address] = cluster.nodeAddresses;
  if (distribution === "kubeadm")
    return controlPlane
      ? [
          "causeway cni install",
          "kubeadm init --config /etc/causeway/kubeadm.yaml   (the first control plane)",
          `kubeadm join … --control-plane --apiserver-advertise-address ${address}   (a further one)`,
        ]
      : ["causeway cni install", "kubeadm join …   (as kubeadm init printed it)"];
  const folder = distribution === "k3s" ? "/var/lib/rancher/k3s" : "";
  const install =
    folder === ""
      ? "causeway cni install"
      : `causeway cni install --bin-dir ${folder}/data/cni --conf-dir ${folder}/agent/etc/cni/net.d`;
  return [install, `systemctl start ${units[distribution](controlPlane)}`];
}
