/** What of Kubernetes is on this node: files of its distributions, the kubelet that runs, and what the API has of this node. */
import { basename, extname, join } from "node:path";
import { parse } from "yaml";
import { VXLAN } from "../cni/mod.ts";
import { type Distribution, kubeconfigAccess, kubeGet, nodeIpOf } from "../kube/mod.ts";
import {
  exists,
  hostName,
  listDirectory,
  Netns,
  processesInNetns,
  programOf,
  readText,
  which,
} from "../sys/mod.ts";
import { readControlPlane } from "./control-plane-facts.ts";
import type { CniFacts, KubeFacts } from "./facts.ts";

/** Where a distribution has its things. */
interface Layout {
  readonly units: readonly string[];
  /** kubeconfig of the kubelet. */
  readonly access: string;
  readonly cniFolder: string;
}

const layouts: Readonly<Record<Distribution, Layout>> = {
  kubeadm: { units: ["kubelet"], access: "/etc/kubernetes/kubelet.conf", cniFolder: "/etc/cni/net.d" },
  k3s: {
    units: ["k3s", "k3s-agent"],
    access: "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
    cniFolder: "/var/lib/rancher/k3s/agent/etc/cni/net.d",
  },
  rke2: {
    units: ["rke2-server", "rke2-agent"],
    access: "/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    cniFolder: "/etc/cni/net.d",
  },
};

function distributionOf(root: string): Distribution | undefined {
  const here = (path: string) => exists(join(root, path));
  // An agent may have all its settings in its unit, and no folder in /etc/rancher.
  if (here("/etc/rancher/rke2") || here("/var/lib/rancher/rke2/agent")) return "rke2";
  if (here("/etc/rancher/k3s") || here("/var/lib/rancher/k3s/agent")) return "k3s";
  if (here("/var/lib/kubelet/config.yaml") || here("/etc/kubernetes")) return "kubeadm";
  const runs = root === "/" ? which("kubelet") : undefined;
  return runs === undefined ? undefined : "kubeadm";
}

/** readKube returns undefined where there is no Kubernetes; `root` is where the machine's files are. */
export async function readKube(root: string): Promise<KubeFacts | undefined> {
  const distribution = distributionOf(root);
  if (distribution === undefined) return undefined;
  const { units, access } = layouts[distribution];
  const nodeIp =
    distribution === "kubeadm" ? kubeletNodeIp(root) : rancherValue(root, distribution, "node-ip");
  const running = kubeletArguments();
  const controlPlane = readControlPlane(root);
  return {
    distribution,
    ...(controlPlane && { controlPlane }),
    ...(nodeIp && { nodeIp }),
    ...(running && { running: { ...optional("nodeIp", argument(running, "--node-ip")) } }),
    ...(await registered(join(root, access), argument(running ?? [], "--hostname-override") ?? hostName())),
    networks: networksOf(root, distribution),
    ordered: units.some((unit) => isOrdered(join(root, `/etc/systemd/system/${unit}.service.d`))),
  };
}

function optional<K extends string, V>(key: K, value: V | undefined): { readonly [key in K]?: V } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [key in K]?: V };
}

function kubeletNodeIp(root: string): KubeFacts["nodeIp"] {
  for (const path of ["/etc/default/kubelet", "/etc/sysconfig/kubelet"]) {
    const text = readText(join(root, path));
    const value = text === undefined ? undefined : attempt(() => nodeIpOf(text));
    if (value !== undefined) return { value, path };
  }
  return undefined;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    // A file that cannot be read says nothing.
    return undefined;
  }
}

/** k3s and rke2 read config.yaml, then the folder by name, then their arguments; the last one counts. */
function rancherValue(root: string, distribution: Distribution, key: string): KubeFacts["nodeIp"] {
  const folder = `/etc/rancher/${distribution}`;
  const more = listDirectory(join(root, folder, "config.yaml.d")).toSorted();
  const paths = [`${folder}/config.yaml`, ...more.map((name) => `${folder}/config.yaml.d/${name}`)];
  return paths
    .flatMap((path) => {
      const document = attempt(() => parse(readText(join(root, path)) ?? "")) as
        Record<string, unknown> | null | undefined;
      const value = document?.[key];
      return value === undefined || value === null ? [] : [{ path, value: [value].flat().join(",") }];
    })
    .concat(unitValue(root, distribution, key) ?? [])
    .at(-1);
}

/** What k3s's installer writes into the unit, `'--node-ip' '10.90.0.2'`; it counts more than the files. */
function unitValue(root: string, distribution: Distribution, key: string): KubeFacts["nodeIp"] {
  for (const unit of layouts[distribution].units) {
    const path = `/etc/systemd/system/${unit}.service`;
    const [, command = ""] = /^ExecStart=((?:.*\\\n)*.*)/m.exec(readText(join(root, path)) ?? "") ?? [];
    const words = [...command.matchAll(/[^\s'"\\]+/g)].map(([word]) => word);
    const value = argument(words, `--${key}`);
    if (value !== undefined) return { path, value };
  }
  return undefined;
}

/** Of this node only: on a machine with several network namespaces other kubelets are none of it. */
function kubeletArguments(): readonly string[] | undefined {
  using netns = Netns.current();
  const pid = processesInNetns(new Set([netns.inode])).find((one) => programOf(one) === "kubelet");
  return pid === undefined ? undefined : (readText(`/proc/${pid}/cmdline`) ?? "").split("\0");
}

function argument(words: readonly string[], name: string): string | undefined {
  const at = words.findLastIndex((word) => word === name || word.startsWith(`${name}=`));
  const word = words[at];
  return word === name ? words[at + 1] : word?.slice(name.length + 1);
}

async function registered(path: string, node: string): Promise<Pick<KubeFacts, "registered" | "apiProblem">> {
  if (!exists(path)) return { apiProblem: `this node is in no cluster yet: there is no ${path}` };
  try {
    const text = await kubeGet(kubeconfigAccess(path), `/api/v1/nodes/${encodeURIComponent(node)}`);
    const { spec, status } = JSON.parse(text) as {
      readonly spec?: { readonly podCIDR?: string; readonly podCIDRs?: readonly string[] };
      readonly status?: {
        readonly addresses?: readonly { readonly type: string; readonly address: string }[];
      };
    };
    const internal = (status?.addresses ?? [])
      .filter(({ type }) => type === "InternalIP")
      .map(({ address }) => address);
    return { registered: { internal, podCidrs: spec?.podCIDRs ?? [spec?.podCIDR ?? []].flat() } };
  } catch (error) {
    return { apiProblem: (error as Error).message };
  }
}

type Networks = KubeFacts["networks"];

function networksOf(root: string, distribution: Distribution): Networks {
  const manager = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
  const flannel = "/run/flannel/subnet.env";
  const rancher = (["cluster-cidr", "service-cidr"] as const).flatMap((key) => {
    const found = distribution === "kubeadm" ? undefined : rancherValue(root, distribution, key);
    return found === undefined
      ? []
      : [{ ...found, kind: key === "cluster-cidr" ? ("pods" as const) : ("services" as const) }];
  });
  return [
    ...said(root, manager, "pods", /--cluster-cidr=([^\s"']+)/),
    ...said(root, manager, "services", /--service-cluster-ip-range=([^\s"']+)/),
    ...said(root, flannel, "pods", /^FLANNEL_NETWORK=(\S+)/m),
    ...rancher,
  ];
}

function said(root: string, path: string, kind: "pods" | "services", pattern: RegExp): Networks {
  const value = pattern.exec(readText(join(root, path)) ?? "")?.[1];
  return value === undefined ? [] : [{ path, kind, value }];
}

/** Ours, or one that somebody wrote with the same words. */
function isOrdered(folder: string): boolean {
  return listDirectory(folder).some((name) => /causeway/.test(readText(join(folder, name)) ?? ""));
}

const EXTENSIONS = [".conf", ".conflist", ".json"];

/** readCni reads the folder that this node's runtime takes configurations from. */
export function readCni(root: string, distribution: Distribution | undefined): CniFacts {
  const folder = join(root, layouts[distribution ?? "kubeadm"].cniFolder);
  const names = listDirectory(folder)
    .filter((name) => EXTENSIONS.includes(extname(name)))
    .toSorted((a, b) => Buffer.from(a).compare(Buffer.from(b)));
  return {
    folder,
    files: names.map((name) => {
      const text = readText(join(folder, basename(name))) ?? "";
      const plugins = pluginsOf(attempt(() => JSON.parse(text)));
      const types = plugins.map(({ type }) => type).filter(isText);
      // Multus, thick (multus-shim) and thin, names a network or the file of one.
      const delegatesToUs = types.some((type) => /^multus/.test(type)) && /causeway/.test(text);
      const calls = [...plugins.flatMap(callsOf), ...(delegatesToUs ? ["causeway"] : [])];
      return { path: join(folder, name), types, delegatesToUs, calls: [...new Set(calls)] };
    }),
  };
}

/** Of a plugin's configuration, what is read. */
interface Plugin {
  readonly type?: unknown;
  readonly ipam?: { readonly type?: unknown } | null;
}

/** A list has several; anything else is one. */
function pluginsOf(value: unknown): readonly Plugin[] {
  const { plugins } = (value ?? {}) as { readonly plugins?: unknown };
  return (Array.isArray(plugins) ? plugins : [value]).map((plugin) => (plugin ?? {}) as Plugin);
}

/** Ours numbers pods by itself where the type is one of the reference plugins' (docs/cni.md). */
function callsOf({ type, ipam }: Plugin): readonly string[] {
  return (type === "causeway" || type === VXLAN ? [type] : [type, ipam?.type]).filter(isText);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
