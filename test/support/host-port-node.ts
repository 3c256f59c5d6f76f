/**
 * A node with the whole rules of a mesh, a client outside of it, and pods that answer to whoever reaches them.
 *
 * ```
 *   client 192.0.2.9 ── eth0 192.0.2.1, .2 ┐
 *                                          ├ node ── cw-pods ── pods
 *   tunnel 10.244.2.5 ── cw0 10.90.0.2 ────┘
 * ```
 * A veth stands for the tunnel; behind it is a pod of another node.
 */
import { meshRuleset } from "../../src/mesh/mod.ts";
import { parseIp, parsePrefix, type PublicKey } from "../../src/net/mod.ts";
import { newMesh } from "../../src/resources/mod.ts";
import { Netns } from "../../src/sys/mod.ts";
import { CniNode } from "./cni-node.ts";
import { Answerer, askTcp, askUdp } from "./port-traffic.ts";

/** Where pods answer. */
export const POD_PORT = 8080;

type Json = any;

const rules = meshRuleset({
  mesh: newMesh("home", {
    endpoints: ["192.0.2.1:51820"],
    overlay6: "fd01:2:3::/64",
    exposedPorts: ["tcp/30080", "udp/30080"],
  }),
  self: {
    name: "n",
    publicKey: "" as PublicKey,
    hub: false,
    overlay4: parseIp("10.90.0.2"),
    overlay6: parseIp("fd01:2:3::2"),
    pods4: parsePrefix("10.244.1.0/24"),
    pods6: parsePrefix("fd01:2:3:101::/64"),
    endpoints: [],
    local: [],
    observed: [],
    mapped: [],
    hubs: [],
  },
  listenPort: 51820,
});

const wiring = `set -e
  ip netns attach node $$
  for place in "client eth0" "tunnel cw0"; do
    set -- $place
    ip netns add $1
    ip -n $1 link set lo up
    ip link add $2 type veth peer name eth0 netns $1
    ip link set $2 up
    ip -n $1 link set eth0 up
  done
  ip addr add 192.0.2.1/24 dev eth0; ip addr add 192.0.2.2/24 dev eth0
  ip addr add 2001:db8::1/64 dev eth0 nodad; ip addr add 2001:db8::2/64 dev eth0 nodad
  ip addr add 10.90.0.2/32 dev cw0; ip addr add fd01:2:3::2/128 dev cw0 nodad
  ip route add 10.90.0.0/16 dev cw0; ip route add 10.244.0.0/16 dev cw0
  ip -6 route add fd01:2:3::/64 dev cw0; ip -6 route add fd01:2:3:100::/56 dev cw0
  ip -n client addr add 192.0.2.9/24 dev eth0; ip -n client addr add 2001:db8::9/64 dev eth0 nodad
  ip -n client route add default via 192.0.2.1
  ip -n tunnel addr add 10.244.2.5/32 dev eth0; ip -n tunnel addr add fd01:2:3:102::5/128 dev eth0 nodad
  ip -n tunnel route add default dev eth0; ip -n tunnel -6 route add default dev eth0`;

/** mapped is a configuration that asks for host ports. */
export function mapped(...portMappings: object[]): { runtimeConfig: { portMappings: object[] } } {
  return { runtimeConfig: { portMappings } };
}

/** both maps a port to where pods answer, over TCP and UDP. */
export function both(hostPort: number, more: object = {}): object[] {
  return ["tcp", "udp"].map((protocol) => ({ hostPort, containerPort: POD_PORT, protocol, ...more }));
}

/** twice is what is expected of HostPortNode.ask when TCP and UDP give the same. */
export function twice(answer: string): [string, string] {
  return [answer, answer];
}

/** HostPortNode owns the node. */
export class HostPortNode implements AsyncDisposable {
  readonly cni: CniNode;
  readonly #opened = new Map<string, Netns>();
  readonly #answering = new Map<string, Answerer>();

  private constructor(cni: CniNode) {
    this.cni = cni;
  }

  static async start(): Promise<HostPortNode> {
    const cni = await CniNode.create();
    cni.ranges = ["10.244.1.0/24", "fd01:2:3:101::/64"];
    cni.more = {
      rulesets: [rules],
      ownPorts: [{ protocol: "udp", port: 51820, purpose: "the tunnel" }],
      services: ["10.96.0.0/12"],
    };
    await cni.must(wiring);
    await cni.startAgent();
    return new HostPortNode(cni);
  }

  /** at returns a namespace: `node`, `client`, `tunnel`, or a pod by its name. */
  at(name: string): Netns {
    const netns = this.#opened.get(name) ?? Netns.open(this.cni.netnsPath(name));
    this.#opened.set(name, netns);
    return netns;
  }

  /** add attaches a pod and lets it answer. */
  async add(name: string, portMappings: object[]): Promise<Json> {
    const result = await this.cni.add(name, { configuration: mapped(...portMappings) });
    this.#answering.set(name, await Answerer.open(this.at(name), name, [POD_PORT]));
    return result;
  }

  /** leave ends a pod's processes and closes what is open of it. */
  leave(name: string): void {
    this.#answering.get(name)?.[Symbol.dispose]();
    this.#answering.delete(name);
    this.#opened.get(name)?.close();
    this.#opened.delete(name);
  }

  /** remove detaches a pod, which must succeed. */
  async remove(name: string): Promise<void> {
    this.leave(name);
    const { status, stdout } = await this.cni.call("DEL", { containerId: name });
    if (status !== 0) throw new Error(`DEL failed: ${stdout}`);
    await this.cni.removePod(name);
  }

  /** refusal returns the error of an ADD that must fail. */
  async refusal(name: string, ...portMappings: object[]): Promise<Json> {
    await this.cni.addPod(name);
    const configuration = mapped(...portMappings);
    const { status, stdout, json } = await this.cni.call("ADD", { containerId: name, configuration });
    await this.cni.removePod(name);
    if (status === 0) throw new Error(`ADD succeeded: ${stdout}`);
    return json;
  }

  /** ask returns what a place hears over TCP and over UDP. */
  async ask(from: string, to: string, port: number): Promise<[string, string]> {
    const question = { from: this.at(from), to, port };
    return [await askTcp(question), await askUdp(question)];
  }

  /** elements lists what the node's maps hold, as `80/tcp > 10.244.1.2:8080`. */
  async elements(): Promise<string[]> {
    const found: string[] = [];
    for (const family of ["ip", "ip6"]) {
      const { nftables } = JSON.parse(await this.cni.must(`nft -j list table ${family} causeway`));
      for (const [key, value] of nftables.flatMap((entry: Json) => entry.map?.elem ?? []))
        found.push(`${key.concat.join(" ")} > ${value.concat.join(" ")}`);
    }
    return found.sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#answering.keys(), ...this.#opened.keys()]) this.leave(name);
    await this.cni[Symbol.asyncDispose]();
  }
}
