/**
 * Machines of a cluster that see each other only through the overlay: private hosts in the namespaces of a laboratory.
 *
 * ```
 * control 203.0.113.x ═══ backbone ═══ office-nat (restricted) ═══ office
 *  hub                        ╚═══════ home-nat (symmetric) ══════ home
 * ```
 *
 * From outside nobody can call `office` or `home`.
 */
import { mkdirSync, rmSync } from "node:fs";
import { Lab } from "../../src/lab/mod.ts";
import { KubeNode, type KubeNodeOptions } from "./kube-node.ts";
import type { Pinger } from "./pinger.ts";

const root = `/run/causeway-test/${process.pid}-cluster`;

const topology = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: cluster }
spec:
  networks:
    - { name: backbone, prefix4: 203.0.113.0/24 }
    - { name: office-lan, prefix4: 10.20.0.0/16 }
    - { name: home-lan, prefix4: 192.168.1.0/24 }
  routers:
    - { name: office-nat, kind: restricted, inside: office-lan, outside: backbone }
    - { name: home-nat, kind: symmetric, inside: home-lan, outside: backbone }
  nodes:
    - { name: control, role: none, networks: [backbone] }
    - { name: office, role: none, networks: [office-lan] }
    - { name: home, role: none, networks: [home-lan] }
`;

/** WORKERS are the machines behind NATs. */
export const WORKERS = ["office", "home"] as const;

/** MACHINES are all of them. */
export const MACHINES = ["control", ...WORKERS] as const;

/** MachineName is one of them. */
export type MachineName = (typeof MACHINES)[number];

/** PlacedPod is a pod, as far as traffic to and from it is concerned. */
export interface PlacedPod {
  readonly node: string;
  /** IPv4 first. */
  readonly addresses: readonly string[];
}

/** KubeMachines owns the laboratory and the hosts. */
export class KubeMachines implements AsyncDisposable {
  readonly #nodes = new Map<string, KubeNode>();

  /** create makes the machines and the wires between them; nothing runs. */
  static async create(options: Pick<KubeNodeOptions, "trees" | "kubernetes">): Promise<KubeMachines> {
    const machines = new KubeMachines();
    try {
      mkdirSync(root, { recursive: true });
      const lab = await Lab.up(topology, { root, networkOnly: true });
      for (const name of MACHINES) {
        const netns = lab.place.netns(name);
        machines.#nodes.set(name, await KubeNode.create({ ...options, name, netns }));
      }
      // Without a way out, programs of the machine itself cannot call a Service: the kernel asks for a route before kube-proxy's rules are.
      await machines.node("control").host.must("ip route add default via 203.0.113.254 dev eth0");
      for (const { host } of machines.all) await host.must("ip -6 route add default dev eth0");
      return machines;
    } catch (error) {
      await machines[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** node returns a machine. */
  node(name: MachineName): KubeNode {
    return this.#nodes.get(name) as KubeNode;
  }

  /** all returns them in order. */
  get all(): readonly KubeNode[] {
    return [...this.#nodes.values()];
  }

  /** join starts the agents, makes the mesh, and installs the plugin. */
  async join(): Promise<void> {
    const control = this.node("control");
    await Promise.all(this.all.map((node) => node.startAgent()));
    const address = (await control.host.must("ip -o -4 addr show eth0")).split(/[ /]+/)[3];
    const services = ["10.96.0.0/12", "fd00:96::/112"].flatMap((prefix) => ["--service", prefix]);
    await control.causeway(["init", "--name", "control", "--endpoint", `${address}:51820`, ...services]);
    for (const name of WORKERS) await this.admit(name);
    await control.causeway(["cni", "install"]);
  }

  /** admit has a worker join the mesh, and installs the plugin. */
  async admit(name: (typeof WORKERS)[number]): Promise<void> {
    const { token } = await this.node("control").causeway(["token", "create"]);
    await this.node(name).causeway(["join", "-", "--name", name], token);
    await this.node(name).causeway(["cni", "install"]);
  }

  /** flow pings an address from a pod until it is disposed of. */
  flow(pod: PlacedPod, to: string): Promise<Pinger> {
    return this.node(pod.node as MachineName).flow(pod.addresses[0] as string, to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.all) await node[Symbol.asyncDispose]();
    await Lab.remove("cluster", { root });
    rmSync(root, { recursive: true, force: true });
  }
}
