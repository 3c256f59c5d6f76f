/**
 * A cluster of Kubernetes over the overlay, made by kubeadm from what `causeway kube prepare` wrote: the control plane on `control`, and
 * kubelets on all of `KubeMachines`. The API server reaches those of `office` and `home` through the tunnel, or not at all.
 */
import { dirname, join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { kubernetesProgram } from "../../tools/kubernetes.ts";
import { fetchPackages, SuiteError } from "../../tools/debian-suite.ts";
import { until } from "../../src/lab/mod.ts";
import { debianRuntimes } from "./debian-runtimes.ts";
import { etcdFolder } from "./etcd.ts";
import { AGENT_IMAGE, agentImage, kubeImage } from "./kube-images.ts";
import { KubeMachines, type MachineName, MACHINES, WORKERS } from "./kube-machines.ts";
import { INSTALLED, type KubeNode } from "./kube-node.ts";
import type { Json } from "./private-node.ts";
import { imageArchive } from "./runtime-image.ts";

/** Guards against hanging only: a busy machine is slow. */
const DEADLINE_MS = 900_000;
const ADMIN = { KUBECONFIG: "/etc/kubernetes/admin.conf" };

const PROGRAMS = "kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy".split(
  " ",
);

/** What a cluster is made of. */
interface Parts {
  readonly trees: readonly string[];
  readonly kubernetes: string;
  readonly kubectl: string;
  readonly etcd: string;
}

/** clusterNeeds returns what a cluster is made of, or the reason why there is none. */
export function clusterNeeds():
  | { readonly parts: Parts; readonly lacks?: undefined }
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

/** KubeCluster owns the machines. */
export class KubeCluster implements AsyncDisposable {
  readonly machines: KubeMachines;
  readonly #parts: Parts;
  readonly #say: (text: string) => void;

  private constructor(machines: KubeMachines, parts: Parts, say: (text: string) => void) {
    this.machines = machines;
    this.#parts = parts;
    this.#say = say;
  }

  /** create makes the machines; nothing runs. `say` is told of progress. */
  static async create(parts: Parts, say: (text: string) => void): Promise<KubeCluster> {
    return new KubeCluster(await KubeMachines.create(parts), parts, say);
  }

  /** up makes the cluster, from the mesh to its last node. */
  async up(): Promise<void> {
    await this.machines.join();
    this.#say("three agents have joined");
    await this.#prepare();
    await this.#startRuntimes();
    await this.#init();
    await this.#control();
    await this.#join(...WORKERS);
  }

  /** node returns a machine. */
  node(name: MachineName): KubeNode {
    return this.machines.node(name);
  }

  /** Has `causeway kube prepare` write on each node what kubeadm needs, and does what it says is next. */
  async #prepare(): Promise<void> {
    await this.#prepareOne(this.node("control"), "--control-plane");
    for (const name of WORKERS) await this.#prepareOne(this.node(name));
  }

  async #prepareOne(node: KubeNode, ...role: string[]): Promise<void> {
    await node.causeway(["kube", "prepare", "kubeadm", ...role]);
    // Not `sysctl --system`, which would set what others want of this machine too.
    await node.host.must("sysctl -q -p /etc/sysctl.d/60-causeway-kube.conf");
  }

  /** Gives each node containerd, with the images that it will be asked for. */
  async #startRuntimes(): Promise<void> {
    const listed = await this.node("control").kubeadm(
      "config",
      "images",
      "list",
      "--kubernetes-version",
      await this.#version(),
    );
    const { kubernetes, etcd } = this.#parts;
    const images = new Map<string, Uint8Array>();
    for (const name of listed.trim().split("\n")) {
      const image = await kubeImage(name, { kubernetes, etcd });
      if (image !== undefined) images.set(name, image);
    }
    const tiny = await imageArchive();
    for (const node of this.machines.all) {
      const own = [...images].filter(([name]) => node.name === "control" || name.includes("/kube-proxy:"));
      await node.startRuntime([tiny, ...own.map(([, image]) => image)]);
      await node.startKubelet();
    }
    this.#say(`containerd runs on three nodes, with ${[...images.keys()].join(" ")}`);
  }

  async #version(): Promise<string> {
    return (await this.node("control").kubeadm("version", "-o", "short")).trim();
  }

  /** Makes the control plane; what needs packages that nobody has here is left out. */
  async #init(): Promise<void> {
    const control = this.node("control");
    const written = await Bun.file(control.host.path("/etc/causeway/kubeadm.yaml")).text();
    await Bun.write(control.host.path("/run/kubeadm.yaml"), configuration(written));
    const skipped = "--skip-phases=preflight,addon/coredns";
    await control.kubeadm("init", "--config", "/run/kubeadm.yaml", skipped);
    this.#say("the control plane runs");
  }

  /** Applies our definitions and makes the hub the controller, with the rights that they give it. */
  async #control(): Promise<void> {
    const { host } = this.node("control");
    const version = await this.#version();
    await host.must(`${INSTALLED} kube manifests --kubernetes-version ${version} > /run/causeway.yaml`);
    await this.kubectl("apply", "--server-side", "-f", "/run/causeway.yaml");
    await this.apply({
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/service-account-token",
      metadata: {
        name: "controller",
        namespace: "causeway-system",
        annotations: { "kubernetes.io/service-account.name": "causeway-controller" },
      },
    });
    const secret = { namespace: "causeway-system", name: "controller" };
    await this.#kubeconfig(secret, host.path("/etc/causeway/controller.conf"));
    await host.stop("agent");
    await this.node("control").startAgent("--kube-controller", "/etc/causeway/controller.conf");
    this.#say("the hub controls the cluster");
  }

  /** Writes a kubeconfig with the token of a Secret. */
  async #kubeconfig({ namespace, name }: Record<"namespace" | "name", string>, path: string): Promise<void> {
    const read = ["-n", namespace, "get", "secret", name, "-o", "jsonpath={.data.token}"];
    let token = "";
    await until(async () => ((token = await this.kubectl(...read)) === "" ? "none" : undefined), {
      ...{ what: `the token of ${name}`, deadlineMs: DEADLINE_MS },
    });
    const config = await this.kubectlJson("config", "view", "--raw", "-o", "json");
    config.users = [{ name: config.users[0].name, user: { token: Buffer.from(token, "base64").toString() } }];
    await Bun.write(path, JSON.stringify(config));
  }

  /** readPods starts a worker's agent anew, which then reads pods' annotations from the API. */
  async readPods(name: MachineName): Promise<void> {
    const node = this.node(name);
    const reader = await Bun.file(`${import.meta.dir}/../../deploy/kube-reader.yaml`).text();
    await this.apply(...parseAllDocuments(reader).map((document) => document.toJS() as Json));
    const path = "/run/reader.conf";
    await this.#kubeconfig({ namespace: "kube-system", name: "causeway-reader" }, node.host.path(path));
    await node.host.stop("agent");
    await node.startAgent("--kubeconfig", path, "--kube-node", name);
  }

  /** Has workers join as kubeadm says. */
  async #join(...names: readonly MachineName[]): Promise<void> {
    const line = await this.node("control").kubeadm("token", "create", "--print-join-command");
    const [, ...words] = line.trim().split(/\s+/);
    await Promise.all(
      names.map((name) => this.node(name).kubeadm(...words, "--ignore-preflight-errors=all")),
    );
    await until(
      async () => {
        const { items } = await this.kubectlJson("get", "nodes", "-o", "json");
        const ready = items.filter(({ status }: Json) =>
          status.conditions.some(({ type, status }: Json) => type === "Ready" && status === "True"),
        );
        return ready.length === MACHINES.length ? undefined : `${ready.length} nodes are ready`;
      },
      { what: "all nodes to be ready", deadlineMs: DEADLINE_MS },
    );
    this.#say("all nodes are ready");
  }

  /** remove takes a node out of the cluster, and all of Causeway off its machine, as docs/kubernetes.md says. */
  async remove(name: MachineName): Promise<void> {
    const node = this.node(name);
    await this.kubectl("drain", name, "--ignore-daemonsets", "--force", "--timeout=15m");
    await this.kubectl("delete", "node", name);
    // Those of the node's own network stay; kubelet needs some time for the others.
    await node.host.must("while ls /run/netns | grep -q ^cni-; do sleep 1; done");
    await node.host.stop("kubelet");
    await node.host.must("ctr -n k8s.io tasks ls -q | xargs -r -n 1 ctr -n k8s.io tasks kill -s KILL -a");
    await node.uninstall();
  }

  /** replace puts another machine in the place of a worker that was removed, under its name. */
  async replace(name: (typeof WORKERS)[number]): Promise<void> {
    const node = this.node(name);
    await node.kubeadm("reset", "--force", "--cri-socket", "/run/containerd/containerd.sock");
    await node.startAgent();
    await this.machines.admit(name);
    await this.#prepareOne(node);
    await node.startKubelet();
    await this.#join(name);
  }

  /** startAgentPod applies the agent's DaemonSet, for one node, and returns its pod when that waits for the service to end. */
  async startAgentPod(name: MachineName): Promise<string> {
    await this.#applyOn(name);
    const own = "-n causeway-system get pods -o name -l app.kubernetes.io/component=causeway-agent".split(
      " ",
    );
    let pod = "";
    await until(async () => ((pod = (await this.kubectl(...own)).trim()) === "" ? "none" : undefined), {
      ...{ what: "the agent's pod", deadlineMs: DEADLINE_MS },
    });
    await this.agentPodSays(pod, "this one takes over when it ends");
    return pod;
  }

  /** Applies what `causeway kube manifests` prints, with DaemonSets for one node only, which gets their image. */
  async #applyOn(name: MachineName, ...options: readonly string[]): Promise<void> {
    const node = this.node(name);
    await node.addImage(await agentImage(node.host.path(INSTALLED)));
    const of = ["--image", AGENT_IMAGE, "--kubernetes-version", await this.#version(), ...options];
    const manifests: Json[] = await node.causeway(["kube", "manifests", ...of]);
    for (const { kind, spec } of manifests)
      if (kind === "DaemonSet") {
        spec.template.spec.nodeSelector = { "kubernetes.io/hostname": name };
        for (const container of spec.template.spec.containers)
          if (container.name === "agent") container.args = ["--port-mapping", "off"];
      }
    await this.apply(...manifests);
  }

  /** removePlugin has a pod take the plugin off a node, as docs/kubernetes.md says. */
  async removePlugin(name: MachineName): Promise<void> {
    await this.#applyOn(name, "--uninstall");
    const done = "-n causeway-system rollout status daemonset/causeway-uninstall --timeout=15m";
    await this.kubectl(...done.split(" "));
    await this.endAgentPod();
  }

  /** endAgentPod takes the DaemonSets away, and waits until their pod has gone. */
  async endAgentPod(): Promise<void> {
    const words = "-n causeway-system delete daemonsets --all --cascade=foreground --timeout=15m";
    await this.kubectl(...words.split(" "));
  }

  /** agentPodSays waits for words in its log. */
  async agentPodSays(pod: string, words: string): Promise<void> {
    const log = ["-n", "causeway-system", "logs", pod];
    const missing = async () => {
      const { stdout, stderr } = await this.tryKubectl(...log);
      return stdout.includes(words) ? undefined : `${stdout}${stderr}`;
    };
    await until(missing, { what: `${pod} to say: ${words}`, deadlineMs: DEADLINE_MS });
  }

  /** kubectl runs it on the control plane's node, as its administrator. */
  async kubectl(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.tryKubectl(...args);
    if (status !== 0) throw new Error(`kubectl ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`);
    return stdout;
  }

  /** tryKubectl is `kubectl` for what may fail. */
  tryKubectl(...args: string[]): ReturnType<KubeNode["run"]> {
    return this.node("control").host.run([this.#parts.kubectl, ...args], { env: ADMIN });
  }

  /** kubectlJson returns what kubectl printed. */
  async kubectlJson(...args: string[]): Promise<Json> {
    return JSON.parse(await this.kubectl(...args));
  }

  /** apply applies manifests. */
  async apply(...manifests: object[]): Promise<void> {
    const file = "/run/manifests.json";
    const list = { apiVersion: "v1", kind: "List", items: manifests };
    await Bun.write(this.node("control").host.path(file), JSON.stringify(list));
    await this.kubectl("apply", "--server-side", "-f", file);
  }

  /** forwarded returns a pod's first page through `kubectl port-forward`. */
  async forwarded(pod: string, port: number): Promise<string | undefined> {
    const { host } = this.node("control");
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
    return this.machines.all
      .flatMap(({ name, host }) =>
        ["agent", "containerd", "kubelet"].map(
          (program) => `--- ${name} ${program}\n${host.log(program).slice(-2000)}`,
        ),
      )
      .join("\n");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machines[Symbol.asyncDispose]();
  }
}
