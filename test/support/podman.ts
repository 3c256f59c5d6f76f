/** podman on a private node, with its CNI back-end, which version 5 has no more: settings of its own and one image. */
import type { Outcome } from "./private-host.ts";
import { CONFIGURATIONS, type Json, PLUGINS, type PrivateNode } from "./private-node.ts";
import { IMAGE, imageArchive } from "./runtime-image.ts";

const ENVIRONMENT = {
  CONTAINERS_CONF: "/run/containers.conf",
  CONTAINERS_STORAGE_CONF: "/run/storage.conf",
  CONTAINERS_REGISTRIES_CONF: "/run/registries.conf",
};

const STORAGE = `[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`;

/** Limits cannot be raised without CAP_SYS_RESOURCE, so podman is told to leave them as they are. */
const settings = (limits: readonly string[]) => `[containers]
default_ulimits = ${JSON.stringify(limits)}
apparmor_profile = ""
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "cni"
cni_plugin_dirs = ["${PLUGINS}"]
network_config_dir = "${CONFIGURATIONS}"
default_network = "causeway"
`;

/** Podman runs podman(1). */
export class Podman {
  readonly #node: PrivateNode;

  private constructor(node: PrivateNode) {
    this.#node = node;
  }

  static async open(node: PrivateNode): Promise<Podman> {
    const { host } = node;
    const limits = await host.must(`bash -c 'echo nofile=$(ulimit -Hn) nproc=$(ulimit -Hu)'`);
    const set = limits
      .trim()
      .split(" ")
      .filter((limit) => !limit.endsWith("unlimited"));
    const doubled = set.map((limit) => `${limit}:${limit.split("=")[1]}`);
    const policy = JSON.stringify({ default: [{ type: "insecureAcceptAnything" }] });
    await host.must("mkdir -p /etc/containers");
    for (const [path, text] of [
      ["/etc/containers/policy.json", policy],
      [ENVIRONMENT.CONTAINERS_CONF, settings(doubled)],
      [ENVIRONMENT.CONTAINERS_STORAGE_CONF, STORAGE],
      [ENVIRONMENT.CONTAINERS_REGISTRIES_CONF, "unqualified-search-registries = []\n"],
    ] as const)
      await Bun.write(host.path(path), text);
    await Bun.write(host.path("/run/image.tar"), await imageArchive());
    const podman = new Podman(node);
    await podman.must("load", "--quiet", "--input", "/run/image.tar");
    return podman;
  }

  /** call runs podman and returns what came out. */
  async call(...args: string[]): Promise<Outcome> {
    return await this.#node.host.run(["podman", ...args], { env: ENVIRONMENT });
  }

  /** must runs podman, which has to succeed. */
  async must(...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.call(...args);
    if (status !== 0) throw new Error(`podman ${args.join(" ")} ended with ${status}: ${stderr}`);
    return stdout.trim();
  }

  /** start runs a container in the background: in the foreground, podman 4.3 waits 20 s for conmon at the end. */
  async start(name: string, ...options: string[]): Promise<void> {
    await this.must("run", "--detach", "--name", name, ...options, IMAGE);
  }

  /** networkOf returns what podman knows of a container's network. */
  async networkOf(name: string): Promise<Json> {
    const [container] = JSON.parse(await this.must("inspect", name)) as Json[];
    return container.NetworkSettings.Networks.causeway;
  }

  /** remove ends containers without giving them time: `sleep` hears no signals as first process. */
  async remove(...names: string[]): Promise<void> {
    if (names.length > 0) await this.must("rm", "--force", "--time", "0", ...names);
  }

  /** names lists all containers. */
  async names(): Promise<string[]> {
    return (await this.must("ps", "--all", "--format", "{{.Names}}")).split("\n").filter(Boolean);
  }
}
