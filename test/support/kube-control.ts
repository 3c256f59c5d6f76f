/**
 * A cluster of Kubernetes that kubeadm makes of machines which are there: the control plane on the first of them, a kubelet with containerd on
 * each, and kubectl. Whatever lies between the machines is others' affair.
 */
import { dirname, join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { kubernetesProgram } from "../../tools/kubernetes.ts";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { until } from "../../src/lab/mod.ts";
import { debianRuntimes } from "./debian-runtimes.ts";
import { etcdFolder } from "./etcd.ts";
import { kubeImage } from "./kube-images.ts";
import type { KubeNode } from "./kube-node.ts";
import type { Json } from "./private-node.ts";
import { imageArchive } from "./runtime-image.ts";

/** Guards against hanging only: a busy machine is slow. */
export const CLUSTER_DEADLINE_MS = 900_000;
const ADMIN = { KUBECONFIG: "/etc/kubernetes/admin.conf" };

const PROGRAMS = "kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy".split(
  " ",
);

/** ClusterParts are what a cluster is made of. */
export interface ClusterParts {
  readonly trees: readonly string[];
  readonly kubernetes: string;
  readonly kubectl: string;
  readonly etcd: string;
}

/** clusterNeeds returns what a cluster is made of, or the reason why there is none. */
export function clusterNeeds():
  | { readonly parts: ClusterParts; readonly lacks?: undefined }
  | { readonly lacks: string; readonly parts?: undefined } {
  const found = PROGRAMS.map(kubernetesProgram);
  const lacks = found.find((one) => one.lacks !== undefined)?.lacks;
  if (lacks !== undefined) return { lacks };
  const { trees, lacks: runtime } = debianRuntimes();
  if (trees === undefined) return { lacks: runtime };
  const { folder, lacks: store } = etcdFolder();
  if (folder === undefined) return { lacks: store };
  try {
    const client = fetchPackages("bookworm", ["kubernetes-client"]);
    return {
      parts: {
        trees,
        kubernetes: dirname(found[0]?.path as string),
        kubectl: join(client, "usr/bin/kubectl"),
        etcd: join(folder, "usr/bin/etcd"),
      },
    };
  } catch (error) {
    if (error instanceof SuiteError) return { lacks: error.message };
    throw error;
  }
}

/** What this machine asks of kubeadm beside what Causeway wrote. */
function configuration(written: string): string {
  const documents = parseAllDocuments(written).map((document) => document.toJS() as Json);
  for (const document of documents)
    if (document.kind === "ClusterConfiguration")
      // Four minutes are short for a busy machine.
      document.apiServer = { ...document.apiServer, timeoutForControlPlane: "15m0s" };
  documents.push(
    { apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration", maxOpenFiles: 20_000 },
    // A network namespace that is not the machine's may not say how many connections there are.
    {
      apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
      kind: "KubeProxyConfiguration",
      conntrack: { maxPerCore: 0 },
    },
  );
  return documents.map((document) => stringify(document)).join("---\n");
}

/** ClusterOptions say how a cluster is made. */
export interface ClusterOptions {
  readonly parts: ClusterParts;
  /** Is told of progress. */
  readonly say: (text: string) => void;
}

/** KubeControl makes the cluster; the machines are their owner's. */
export class KubeControl {
  readonly #machines: readonly KubeNode[];
  readonly #control: KubeNode;
  readonly #parts: ClusterParts;
  protected readonly say: (text: string) => void;

  constructor(machines: readonly KubeNode[], { parts, say }: ClusterOptions) {
    this.#machines = machines;
    this.#control = machines[0] as KubeNode;
    this.#parts = parts;
    this.say = say;
  }

  /** startRuntimes gives each node containerd, with the images that it will be asked for. */
  async startRuntimes(): Promise<void> {
    const listed = await this.#control.kubeadm(
      "config",
      "images",
      "list",
      "--kubernetes-version",
      await this.version(),
    );
    const { kubernetes, etcd } = this.#parts;
    const images = new Map<string, Uint8Array>();
    for (const name of listed.trim().split("\n")) {
      const image = await kubeImage(name, { kubernetes, etcd });
      if (image !== undefined) images.set(name, image);
    }
    const tiny = await imageArchive();
    for (const node of this.#machines) {
      const own = [...images].filter(([name]) => node === this.#control || name.includes("/kube-proxy:"));
      await node.startRuntime([tiny, ...own.map(([, image]) => image)]);
      await node.startKubelet();
    }
    this.say(`containerd runs on ${this.#machines.length} nodes, with ${[...images.keys()].join(" ")}`);
  }

  /** version is kubeadm's. */
  async version(): Promise<string> {
    return (await this.#control.kubeadm("version", "-o", "short")).trim();
  }

  /** init makes the control plane of a configuration; what needs packages that nobody has here is left out. */
  async init(written: string): Promise<void> {
    const { host } = this.#control;
    await Bun.write(host.path("/run/kubeadm.yaml"), configuration(written));
    const skipped = "--skip-phases=preflight,addon/coredns";
    await this.#control.kubeadm("init", "--config", "/run/kubeadm.yaml", skipped);
    this.say("the control plane runs");
  }

  /** join has nodes join as kubeadm says. */
  async join(...nodes: readonly KubeNode[]): Promise<void> {
    const line = await this.#control.kubeadm("token", "create", "--print-join-command");
    const [, ...words] = line.trim().split(/\s+/);
    await Promise.all(nodes.map((node) => node.kubeadm(...words, "--ignore-preflight-errors=all")));
    await until(
      async () => {
        const { items } = await this.kubectlJson("get", "nodes", "-o", "json");
        const ready = items.filter(({ status }: Json) =>
          status.conditions.some(({ type, status }: Json) => type === "Ready" && status === "True"),
        );
        return ready.length === this.#machines.length ? undefined : `${ready.length} nodes are ready`;
      },
      { what: "all nodes to be ready", deadlineMs: CLUSTER_DEADLINE_MS },
    );
    this.say("all nodes are ready");
  }

  /** kubectl runs it on the control plane's node, as its administrator. */
  async kubectl(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.tryKubectl(...args);
    if (status !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  /** tryKubectl is `kubectl` for what may fail. */
  tryKubectl(...args: string[]): ReturnType<KubeNode["run"]> {
    return this.#control.host.run([this.#parts.kubectl, ...args], { env: ADMIN });
  }

  /** kubectlJson returns what kubectl printed. */
  async kubectlJson(...args: string[]): Promise<Json> {
    return JSON.parse(await this.kubectl(...args));
  }

  /** apply applies manifests. */
  async apply(...manifests: object[]): Promise<void> {
    const file = "/run/manifests.json";
    const list = { apiVersion: "v1", kind: "List", items: manifests };
    await Bun.write(this.#control.host.path(file), JSON.stringify(list));
    await this.kubectl("apply", "--server-side", "-f", file);
  }

  /**
   * replacePod deletes a pod of the Deployment `web`, and resolves when another one is ready in its place. Not by `rollout status`, which
   * tells of the time before until the controller has noticed.
   */
  async replacePod(name: string): Promise<void> {
    const pods = async (): Promise<Json[]> =>
      (await this.kubectlJson("get", "pods", "-l", "app=web", "-o", "json")).items;
    const wanted = (await pods()).length;
    await this.kubectl("delete", "pod", name);
    await until(
      async () => {
        const ready = (await pods()).filter(
          ({ metadata, status }) =>
            metadata.name !== name &&
            status.conditions?.some(({ type, status }: Json) => type === "Ready" && status === "True"),
        );
        return ready.length === wanted ? undefined : `${ready.length} pods are ready`;
      },
      { what: `another pod than ${name}`, deadlineMs: CLUSTER_DEADLINE_MS },
    );
  }

  /** forwarded returns a pod's first page through `kubectl port-forward`. */
  async forwarded(pod: string, port: number): Promise<string | undefined> {
    const { host } = this.#control;
    const argv = [this.#parts.kubectl, "port-forward", `pod/${pod}`, `18080:${port}`];
    await host.start("port-forward", argv, { env: ADMIN });
    try {
      await host.waitFor("port-forward", () =>
        host.log("port-forward").includes("Forwarding from 127.0.0.1") ? undefined : "not there yet",
      );
      let page: string | undefined;
      // Each connection is one of its own; kubectl may end one before its last words are read.
      await host.waitFor("port-forward", async () =>
        (page = await host.page("127.0.0.1", 18080)) === undefined ? host.log("port-forward") : undefined,
      );
      return page;
    } finally {
      await host.stop("port-forward");
    }
  }

  /** logs returns the last words of what runs on the nodes. */
  logs(): string {
    return this.#machines
      .flatMap(({ name, host }) =>
        ["agent", "containerd", "kubelet"].map(
          (program) => `--- ${name} ${program}\n${host.log(program).slice(-2000)}`,
        ),
      )
      .join("\n");
  }
}
