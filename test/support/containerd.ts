/** containerd on a private node: started with folders and sockets that are the host's own, with one image, and its two doors: CRI and ctr(8). */
import { existsSync } from "node:fs";
import { until } from "../../src/lab/wait.ts";
import { CriClient, type SandboxConfig } from "./cri.ts";
import type { Outcome, PrivateHost } from "./private-host.ts";
import { CONFIGURATIONS, type Json, PLUGINS } from "./private-node.ts";
import { IMAGE, imageArchive } from "./runtime-image.ts";

/** What both need here: without CAP_SYS_RESOURCE no process may become less likely to be killed than containerd itself. */
const LIMITS = "restrict_oom_score_adj = true\ndisable_apparmor = true";

const CONFIGURATION = {
  1: `version = 2
[plugins."io.containerd.grpc.v1.cri"]
${LIMITS}
sandbox_image = "${IMAGE}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${PLUGINS}"
conf_dir = "${CONFIGURATIONS}"
`,
  2: `version = 3
[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "${IMAGE}"
[plugins."io.containerd.cri.v1.runtime"]
${LIMITS}
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["${PLUGINS}"]
conf_dir = "${CONFIGURATIONS}"
`,
} as const;

/** Pod is a sandbox with one container in it. */
export interface Pod {
  readonly id: string;
  readonly ip4: string;
  readonly ip6: string;
  readonly container: string;
}

/** RuntimeNode is what it runs on. */
interface RuntimeNode {
  readonly host: PrivateHost;
}

/** Containerd is a running daemon. */
export class Containerd implements Disposable {
  readonly node: RuntimeNode;
  readonly cri: CriClient;
  readonly major: 1 | 2;
  #serial = 0;

  private constructor(node: RuntimeNode, major: 1 | 2) {
    this.node = node;
    this.major = major;
    this.cri = new CriClient(node.host.path("/run/containerd/containerd.sock"));
  }

  static async start(node: RuntimeNode, major: 1 | 2): Promise<Containerd> {
    const { host } = node;
    await Bun.write(host.path("/run/containerd.toml"), CONFIGURATION[major]);
    await Bun.write(host.path("/run/image.tar"), await imageArchive());
    await host.start("containerd", ["containerd", "--config", "/run/containerd.toml"]);
    await host.waitFor("containerd", () =>
      existsSync(host.path("/run/containerd/containerd.sock")) ? undefined : "no socket yet",
    );
    const daemon = new Containerd(node, major);
    for (const namespace of ["k8s.io", "default"])
      await host.must(
        `ctr -n ${namespace} images import --snapshotter native ${major === 2 ? "--local" : ""} /run/image.tar`,
      );
    await until(async () => ((await daemon.cri.hasImage(IMAGE)) ? undefined : "not there"), {
      what: "the image",
    });
    return daemon;
  }

  /** config describes a pod as kubelet does. */
  config(more: SandboxConfig = {}): SandboxConfig {
    const name = `pod-${this.#serial++}`;
    return {
      metadata: { name, uid: `uid-${name}`, namespace: "test", attempt: 0 },
      hostname: name,
      logDirectory: "/run/log/pods",
      linux: { cgroupParent: "/pods" },
      ...more,
    };
  }

  /** run starts a sandbox and returns its id. */
  async run(config: SandboxConfig): Promise<string> {
    return (await this.cri.call("RunPodSandbox", { config })).podSandboxId;
  }

  /** addresses returns those that the runtime reports of a sandbox. */
  async addresses(id: string): Promise<string[]> {
    const { status } = await this.cri.call("PodSandboxStatus", { podSandboxId: id });
    const network = status?.network;
    return network === undefined ? [] : [network.ip, ...network.additionalIps.map(({ ip }) => ip)];
  }

  /** pod starts a sandbox and a container in it. */
  async pod(more: SandboxConfig = {}): Promise<Pod> {
    const config = this.config(more);
    const id = await this.run(config);
    const { containerId: container } = await this.cri.call("CreateContainer", {
      podSandboxId: id,
      sandboxConfig: config,
      config: {
        metadata: { name: "box", attempt: 0 },
        image: { image: IMAGE },
        command: ["/bin/sleep", "1000000"],
        linux: { resources: {} },
      },
    });
    await this.cri.call("StartContainer", { containerId: container });
    const [ip4 = "", ip6 = ""] = await this.addresses(id);
    return { id, ip4, ip6, container };
  }

  /** exec runs a shell command in a pod's container. */
  async exec(pod: Pod, command: string): Promise<Outcome> {
    const answer = await this.cri.call("ExecSync", {
      containerId: pod.container,
      command: ["/bin/sh", "-c", command],
      timeoutSeconds: 60,
    });
    return { status: answer.exitCode, stdout: answer.stdout.toString(), stderr: answer.stderr.toString() };
  }

  /** remove ends sandboxes as kubelet does: stop, once more stop, remove. */
  async remove(...ids: string[]): Promise<void> {
    for (const podSandboxId of ids) {
      await this.cri.call("StopPodSandbox", { podSandboxId });
      await this.cri.call("StopPodSandbox", { podSandboxId });
      await this.cri.call("RemovePodSandbox", { podSandboxId });
    }
  }

  /** result returns what libcni keeps of an ADD: the result of the last plugin, in the version that was agreed on. */
  async result(id: string): Promise<Json> {
    const file = Bun.file(this.node.host.path(`/var/lib/cni/results/causeway-${id}-eth0`));
    return (await file.json()).result;
  }

  [Symbol.dispose](): void {
    this.cri[Symbol.dispose]();
  }
}
