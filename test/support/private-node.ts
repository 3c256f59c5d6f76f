/**
 * A node on a private host: a real agent, alone in its mesh, and the plugin as `causeway cni install` leaves it; nothing else lies in the
 * plugin folder. Its IPv4 range has 16 addresses, so that a test can use them up.
 */
import { readdirSync } from "node:fs";
import { until } from "../../src/lab/wait.ts";
import { executable } from "./lab-needs.ts";
import { type Outcome, PrivateHost, WIRE } from "./private-host.ts";

/** Json is what programs print; tests look into it by name. */
export type Json = any;

export const PLUGINS = "/opt/cni/bin";
export const CONFIGURATIONS = "/etc/cni/net.d";

/** GATEWAY is the bridge's address, 4 and 6. */
export const GATEWAY = { ip4: "10.244.0.1", ip6: "fd00:244:0:100::1" };

/** POD_ADDRESSES is how many pods the node can have: a /28 less its first, its last and the gateway's address. */
export const POD_ADDRESSES = 13;

/** PrivateNode owns a host and its agent. */
export class PrivateNode implements AsyncDisposable {
  readonly host: PrivateHost;
  /** The files that `causeway cni install` wrote. */
  installed: readonly string[] = [];

  private constructor(host: PrivateHost) {
    this.host = host;
  }

  static async create(trees: readonly string[]): Promise<PrivateNode> {
    const node = new PrivateNode(await PrivateHost.create({ trees }));
    try {
      await node.startAgent();
      const network = ["--pods4", "10.244.0.0/20", "--pods6", "fd00:244:0:100::/56", "--node-bits", "8"];
      await node.causeway("init", "--name", "hub", "--endpoint", `${WIRE.host4}:51820`, ...network);
      const folders = ["--bin-dir", PLUGINS, "--conf-dir", CONFIGURATIONS];
      node.installed = (await node.causeway("cni", "install", ...folders)).wrote;
      return node;
    } catch (error) {
      await node[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** causeway runs the command line and returns what it printed as JSON. */
  async causeway(...args: string[]): Promise<Json> {
    const { status, stdout, stderr } = await this.host.run([executable, ...args, "--json"]);
    if (status !== 0) throw new Error(`causeway ${args.join(" ")} ended with ${status}: ${stderr}${stdout}`);
    return JSON.parse(stdout);
  }

  async startAgent(): Promise<void> {
    await this.host.start("agent", [executable, "agent"]);
    await this.host.waitFor("agent", async () => {
      const { stdout, stderr } = await this.host.run([executable, "status", "--json"]);
      return stdout.startsWith("{") ? undefined : stderr;
    });
  }

  async stopAgent(): Promise<void> {
    await this.host.stop("agent");
  }

  /** call calls the plugin directly, as libcni does. */
  async call(command: string, containerId: string, netns?: string): Promise<Outcome> {
    return await this.host.run([`${PLUGINS}/causeway`], {
      stdin: JSON.stringify({ cniVersion: "1.0.0", name: "causeway", type: "causeway" }),
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId,
        CNI_IFNAME: "eth0",
        CNI_PATH: PLUGINS,
        ...(netns !== undefined && { CNI_NETNS: netns }),
      },
    });
  }

  /** ip runs ip(8) with JSON output. */
  async ip(command: string): Promise<Json[]> {
    return JSON.parse((await this.host.must(`ip -j ${command}`)) || "[]");
  }

  /** files lists what lies in the runtime's two folders. */
  files(): string[] {
    return [PLUGINS, CONFIGURATIONS].flatMap((folder) =>
      readdirSync(this.host.path(folder)).map((name) => `${folder}/${name}`),
    );
  }

  /** remains lists what the node has of pods: links, sets and maps with elements, neighbours, namespaces, cached results, and pods that the agent counts. */
  async remains(): Promise<Record<string, readonly string[]>> {
    const names = ((await this.ip("link")) as Json[]).map((link) => link.ifname as string);
    const ruleset: Json = JSON.parse(await this.host.must("nft -j list ruleset"));
    const sets = (ruleset.nftables as Json[])
      .map(({ set, map }) => set ?? map)
      .filter((set) => set?.table === "causeway" && (set.elem ?? []).length > 0);
    const status = (await this.host.run([executable, "status", "--json"])).stdout;
    return {
      links: names.filter((name) => !["lo", "uplink", "cw0", "cw-pods"].includes(name)),
      sets: sets.map(({ family, name }) => `${family} ${name}`),
      neighbours: (await this.ip("neigh show dev cw-pods nud permanent")).map((entry) => entry.dst),
      namespaces: readdirSync(this.host.path("/run/netns")).filter((name) => name !== "world"),
      results: readdirSync(this.host.path("/var/lib/cni")).flatMap((name) =>
        readdirSync(this.host.path(`/var/lib/cni/${name}`)).filter(
          (file) => !file.startsWith("cni-loopback"),
        ),
      ),
      pods: Array.from({ length: (JSON.parse(status) as Json).pods ?? 0 }, () => "pod"),
    };
  }

  /** bare waits until nothing of any pod is left: the kernel takes links away by and by. */
  async bare(): Promise<void> {
    await until(
      async () => {
        const left = Object.entries(await this.remains()).filter(([, list]) => list.length > 0);
        return left.length === 0 ? undefined : JSON.stringify(Object.fromEntries(left));
      },
      { what: "nothing to be left of pods", deadlineMs: 20_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.host[Symbol.asyncDispose]();
  }
}
