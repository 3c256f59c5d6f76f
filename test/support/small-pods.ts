/** Pods of a SmallMesh: a namespace for each, attached by the plugin's launcher in the node's own namespaces, as a runtime would do it. */
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { launcherFor } from "../../src/cni/mod.ts";
import { type Netns, run } from "../../src/sys/mod.ts";
import type { SmallMesh } from "./small-mesh.ts";
import { ip } from "./tunnel-pair.ts";

/** SmallPod is one. */
export interface SmallPod {
  readonly node: string;
  readonly netns: Netns;
  /** With lengths, IPv4 first, as the plugin answered. */
  readonly addresses: readonly string[];
}

interface Call {
  readonly node: string;
  readonly pod: string;
  readonly netns: Netns;
  readonly config: object;
}

/** SmallPods owns the launcher's file; namespaces are the mesh's. */
export class SmallPods implements Disposable {
  readonly #mesh: SmallMesh;
  readonly #plugin = `/tmp/causeway-plugin-${process.pid}`;
  readonly #calls = new Map<string, Call>();

  constructor(mesh: SmallMesh) {
    this.#mesh = mesh;
    writeFileSync(this.#plugin, launcherFor(process.arch) as Uint8Array, { mode: 0o755 });
    // It asks again where the agent is slow.
    const executable = process.env["CAUSEWAY_EXECUTABLE"];
    if (executable !== undefined) symlinkSync(executable, `${this.#plugin}-full`);
  }

  /** add attaches a pod to a network, on `net1`, with the default route there. */
  async add(node: string, pod: string, network: object): Promise<SmallPod> {
    const netns = this.#mesh.netns(pod);
    ip(netns, "link set lo up");
    const config = {
      ...{ cniVersion: "1.0.0", name: "vpc", type: "causeway", isDefaultGateway: true },
      ...network,
    };
    const call = { node, pod, netns, config };
    const { ips } = JSON.parse(await this.#call("ADD", call)) as { ips: { address: string }[] };
    this.#calls.set(pod, call);
    return { node, netns, addresses: ips.map(({ address }) => address) };
  }

  /** remove detaches it; its namespace stays, empty. */
  async remove(pod: string): Promise<void> {
    await this.#call("DEL", this.#calls.get(pod) as Call);
  }

  async #call(command: "ADD" | "DEL", { node, pod, netns, config }: Call): Promise<string> {
    const [pid] = this.#mesh.processes(node);
    const done = await run(["nsenter", "-t", `${pid}`, "-n", "-m", "--", this.#plugin], {
      input: JSON.stringify(config),
      env: {
        ...{ CNI_COMMAND: command, CNI_CONTAINERID: pod, CNI_IFNAME: "net1", CNI_PATH: "/tmp" },
        CNI_NETNS: `/proc/${process.pid}/fd/${netns.fd.number}`,
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=test;K8S_POD_NAME=${pod}`,
      },
    });
    if (done.status !== 0) throw new Error(`${command} of ${pod} at ${node}: ${done.stdout}${done.stderr}`);
    return done.stdout;
  }

  [Symbol.dispose](): void {
    for (const path of [this.#plugin, `${this.#plugin}-full`]) rmSync(path, { force: true });
  }
}
