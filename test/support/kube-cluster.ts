/**
 * A cluster of Kubernetes over the overlay, made by kubeadm from what `causeway kube prepare` wrote: the control plane on `control`, and
 * kubelets on all of `KubeMachines`. The API server reaches those of `office` and `home` through the tunnel, or not at all.
 */
import { parseAllDocuments } from "yaml";
import { until } from "../../src/lab/mod.ts";
import { AGENT_IMAGE, agentImage } from "./kube-images.ts";
import { CLUSTER_DEADLINE_MS as DEADLINE_MS, type ClusterOptions, KubeControl } from "./kube-control.ts";
import { KubeMachines, type MachineName, WORKERS } from "./kube-machines.ts";
import { INSTALLED, type KubeNode } from "./kube-node.ts";
import type { Json } from "./private-node.ts";

/** KubeCluster owns the machines. */
export class KubeCluster extends KubeControl implements AsyncDisposable {
  readonly machines: KubeMachines;

  private constructor(machines: KubeMachines, options: ClusterOptions) {
    super(machines.all, options);
    this.machines = machines;
  }

  /** create makes the machines; nothing runs. */
  static async create(options: ClusterOptions): Promise<KubeCluster> {
    return new KubeCluster(await KubeMachines.create(options.parts), options);
  }

  /** up makes the cluster, from the mesh to its last node. */
  async up(): Promise<void> {
    await this.machines.join();
    this.say("three agents have joined");
    await this.#prepare();
    await this.startRuntimes();
    await this.init(await Bun.file(this.node("control").host.path("/etc/causeway/kubeadm.yaml")).text());
    await this.#control();
    await this.join(...WORKERS.map((name) => this.node(name)));
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

  /** Applies our definitions and makes the hub the controller, with the rights that they give it. */
  async #control(): Promise<void> {
    const { host } = this.node("control");
    const version = await this.version();
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
    this.say("the hub controls the cluster");
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
    await this.join(node);
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
    const of = ["--image", AGENT_IMAGE, "--kubernetes-version", await this.version(), ...options];
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machines[Symbol.asyncDispose]();
  }
}
