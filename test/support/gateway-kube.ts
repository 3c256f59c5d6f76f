/**
 * The story of two regions as it is told: the hosts behind both gateways are the machines of one cluster of Kubernetes. The control plane runs on
 * Paris's, and pods on each have addresses of their region's network: so the gateways' two routes, and one on each machine, are all that there is.
 *
 * ```
 *  pods 172.31.64.0/24 ═ paris, control plane 172.31.0.1 ═ gateway ═ 1:1 NAT ═ gateway ═ tokyo 172.32.0.1 ═ pods 172.32.64.0/24
 * ```
 */
import { cpSync } from "node:fs";
import { kubeadmConfig, parseKubernetesVersion } from "../../src/kube/kubeadm-config.ts";
import { fetchPackages } from "../../tools/debian-suite.ts";
import { CITIES, type City, exampleOf, GatewayStory } from "./gateway-story.ts";
import { type ClusterOptions, KubeControl } from "./kube-control.ts";
import { KubeNode } from "./kube-node.ts";

const BOTH = ["paris", "tokyo"] as const;
const PLUGINS = ["containernetworking-plugins"];

/** addressOf returns that of a region's machine. */
export const addressOf = (city: City) => `172.${CITIES[city]}.0.1`;

/** The reference plugins' bridge. The tunnel is no secret of the machines, which have its MTU. */
const networkOf = (city: City) => ({
  cniVersion: "0.4.0",
  name: "region",
  plugins: [
    {
      ...{ type: "bridge", bridge: "cni0", isGateway: true, ipMasq: false, mtu: 1440 },
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: `172.${CITIES[city]}.64.0/24` }]],
        routes: [{ dst: "0.0.0.0/0" }],
      },
    },
  ],
});

/** GatewayKube owns the gateways and the machines. */
export class GatewayKube extends KubeControl implements AsyncDisposable {
  readonly story: GatewayStory;
  readonly nodes: Readonly<Record<City, KubeNode>>;

  private constructor(story: GatewayStory, nodes: Readonly<Record<City, KubeNode>>, options: ClusterOptions) {
    super(
      BOTH.map((city) => nodes[city]),
      options,
    );
    this.story = story;
    this.nodes = nodes;
  }

  /** create makes the sites and their machines; nothing runs. */
  static async create(options: ClusterOptions): Promise<GatewayKube> {
    const story = new GatewayStory();
    const made: KubeNode[] = [];
    try {
      for (const city of BOTH) {
        const netns = story.hostOf(city).path;
        const node = await KubeNode.create({ ...options.parts, name: city, netns });
        made.push(node);
        await join(city, node);
      }
      const [paris, tokyo] = made as [KubeNode, KubeNode];
      return new GatewayKube(story, { paris, tokyo }, options);
    } catch (error) {
      for (const node of made) await node[Symbol.asyncDispose]();
      await story[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** up starts the gateways as their examples say, and makes the cluster across them. */
  async up(): Promise<void> {
    const { story } = this;
    for (const city of BOTH) {
      await story.start(city);
      await story.config(["set", city, "/"], exampleOf(city));
    }
    for (const city of BOTH) await story.up(city);
    this.say("there is a tunnel");
    await this.startRuntimes();
    const release = parseKubernetesVersion(await this.version());
    if (release === undefined) throw new Error("kubeadm does not say which release it is");
    const address = addressOf("paris");
    const wish = { endpoint: `${address}:6443`, pods: [], services: ["10.96.0.0/12"], names: [] };
    await this.init(kubeadmConfig({ ...wish, nodeAddresses: [address] }, release));
    await this.join(this.nodes.tokyo);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const city of BOTH) await this.nodes[city][Symbol.asyncDispose]();
    await this.story[Symbol.asyncDispose]();
  }
}

/** Gives a machine the plugins, and what a machine with one address and no way out has to be told. */
async function join(city: City, { host }: KubeNode): Promise<void> {
  cpSync(`${fetchPackages("bookworm", PLUGINS)}/usr/lib/cni`, host.path("/opt/cni/bin"), { recursive: true });
  await Bun.write(host.path("/etc/cni/net.d/10-region.conflist"), JSON.stringify(networkOf(city)));
  await Bun.write(host.path("/etc/default/kubelet"), `KUBELET_EXTRA_ARGS=--node-ip=${addressOf(city)}\n`);
  await host.must("echo 1 > /proc/sys/net/ipv4/ip_forward");
}
