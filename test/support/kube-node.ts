/**
 * A machine of a cluster: a private host in a namespace of a laboratory, with the agent, containerd, and a kubelet that is started as
 * kubeadm's packages have systemd do it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { executable } from "./lab-needs.ts";
import { Pinger } from "./pinger.ts";
import { type Outcome, PrivateHost } from "./private-host.ts";
import { IMAGE } from "./runtime-image.ts";
import type { Json } from "./private-node.ts";

/** KubeNodeOptions are what a machine is made of. */
export interface KubeNodeOptions {
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Folders of unpacked packages, with containerd and runc. */
  readonly trees: readonly string[];
  /** Folder of Kubernetes' programs; empty where none is run. */
  readonly kubernetes: string;
}

/** ping(8) numbers with 16 bits: these last for most of an hour. */
const FLOW_SECONDS = 0.05;

/** INSTALLED is where the executable lies on a node. */
export const INSTALLED = "/opt/causeway/causeway";

const RUNTIME = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
disable_apparmor = true
sandbox_image = "${IMAGE}"
`;

/** The unit of kubeadm's packages (10-kubeadm.conf) and our drop-in, by a shell in systemd's place: started again whenever it ends. */
const KUBELET = `
  trap 'kill $child; wait $child; exit' TERM
  while :; do
    if [ -e /var/lib/kubelet/config.yaml ]; then
      for file in /var/lib/kubelet/kubeadm-flags.env /etc/default/kubelet; do [ ! -e $file ] || . $file; done
      before=$(sed -n s/^ExecStartPre=//p /etc/systemd/system/kubelet.service.d/20-causeway.conf)
      $before && { "$0" --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\
        --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml \\
        $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS & child=$!; wait $child; }
    fi
    sleep 1
  done`;

/** KubeNode owns the machine. */
export class KubeNode implements AsyncDisposable {
  readonly name: string;
  readonly host: PrivateHost;
  readonly #kubernetes: string;

  private constructor({ name, kubernetes }: KubeNodeOptions, host: PrivateHost) {
    this.name = name;
    this.host = host;
    this.#kubernetes = kubernetes;
  }

  /** create makes the machine, with nothing running. */
  static async create(options: KubeNodeOptions): Promise<KubeNode> {
    const host = await PrivateHost.create(options);
    const node = new KubeNode(options, host);
    try {
      await host.must(`rm -rf /etc/kubernetes /var/lib/etcd /etc/default/kubelet
        mkdir -p /var/lib/kubelet ${INSTALLED.slice(0, INSTALLED.lastIndexOf("/"))}
        mount -t tmpfs -o size=80% tmpfs /var/lib/kubelet
        cp ${executable} ${INSTALLED}
        : as systemd does, so that pods may see what the host mounts later; mount --make-rshared /`);
      await Bun.write(host.path("/run/containerd.toml"), RUNTIME);
      return node;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** causeway runs the command line and returns what it printed as JSON. */
  async causeway(args: readonly string[], stdin = ""): Promise<Json> {
    const path = `${this.#kubernetes}:/usr/sbin:/usr/bin:/sbin:/bin`;
    const options = { stdin, env: { PATH: path } };
    const { status, stdout, stderr } = await this.host.run([INSTALLED, ...args, "--json"], options);
    if (status !== 0)
      throw new Error(`${this.name}: causeway ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`);
    return JSON.parse(stdout);
  }

  /** startAgent starts the agent with further options and waits until it answers. */
  async startAgent(...more: string[]): Promise<void> {
    await this.host.start("agent", [INSTALLED, "agent", "--port-mapping", "off", ...more]);
    await this.host.waitFor("agent", async () => {
      const { stdout, stderr } = await this.host.run([INSTALLED, "status", "--json"]);
      return stdout.startsWith("{") ? undefined : stderr;
    });
  }

  /** startRuntime starts containerd and gives it images. */
  async startRuntime(images: readonly Uint8Array[]): Promise<void> {
    const { host } = this;
    await host.start("containerd", ["containerd", "--config", "/run/containerd.toml"]);
    await host.waitFor("containerd", () =>
      existsSync(host.path("/run/containerd/containerd.sock")) ? undefined : "no socket yet",
    );
    for (const image of images) await this.addImage(image);
  }

  /** addImage gives it to the runtime. */
  async addImage(image: Uint8Array): Promise<void> {
    await Bun.write(this.host.path("/run/image.tar"), image);
    await this.host.must("ctr -n k8s.io images import /run/image.tar && rm /run/image.tar");
  }

  /** startKubelet starts what starts the kubelet, as soon as kubeadm has configured it. */
  async startKubelet(): Promise<void> {
    await this.host.start("kubelet", ["sh", "-c", KUBELET, join(this.#kubernetes, "kubelet")]);
  }

  /** kubeadm runs it; throws with its last words when it fails. */
  async kubeadm(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.host.run([join(this.#kubernetes, "kubeadm"), ...args]);
    if (status !== 0)
      throw new Error(
        `${this.name}: kubeadm ${args[0]} ended with ${status}: ${`${stdout}${stderr}`.slice(-3000)}`,
      );
    return stdout;
  }

  /** uninstall takes Causeway off the machine as docs/operate.md says, but for the executable. */
  async uninstall(): Promise<void> {
    const { host } = this;
    await this.causeway(["cni", "uninstall"]);
    await this.causeway(["kube", "prepare", "--undo"]);
    await this.causeway(["leave"]);
    await host.stop("agent");
    // As `apt purge` does; the folder itself is a mount here.
    await host.must("find /var/lib/causeway -mindepth 1 -delete");
  }

  /** flow pings an address from the pod that has another, until it is disposed of. */
  async flow(own: string, to: string): Promise<Pinger> {
    const find = `for netns in $(ls /run/netns); do
      ip -n $netns -o addr show to ${own} 2>/dev/null | grep -q . && echo $netns; done`;
    const netns = (await this.run(find)).stdout.trim();
    if (netns === "") throw new Error(`no namespace of ${this.name} has ${own}`);
    // Not through the host, whose namespace of processes would keep ping from being ended.
    const path = this.host.path(`/run/netns/${netns}`);
    const command = (argv: readonly string[]) => ["nsenter", `--net=${path}`, "--", ...argv];
    return new Pinger(`${own} to ${to}`, to, { command, everySeconds: FLOW_SECONDS });
  }

  /** run runs a shell command. */
  run(command: string): Promise<Outcome> {
    return this.host.run(["sh", "-c", command]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host[Symbol.asyncDispose]();
  }
}
