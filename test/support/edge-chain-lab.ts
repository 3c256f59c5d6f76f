/** A node whose router has links by CNI plugins: Debian's, and scripts that do what a test says. */
import { expect } from "bun:test";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { EdgeLab, type EdgeNode } from "./edge-lab.ts";
import { until } from "./evpn-cluster.ts";
import { notRoot } from "./scratch.ts";

/** Where Debian has them (containernetworking-plugins). */
export const PLUGINS = "/usr/lib/cni";

/** lacksPlugins is why there are no links by CNI plugins here. */
export const lacksPlugins =
  notRoot ?? (existsSync(`${PLUGINS}/macvlan`) ? undefined : "containernetworking-plugins is not installed");

const made = ["/run/cni/tuning", "/run/cni"].filter((folder) => !existsSync(folder));

/** chain is link net1 by these plugins. */
export const chain = (plugins: readonly object[], more = "") =>
  `{name: net1, cni: {config: ${JSON.stringify({ cniVersion: "1.0.0", name: "fabric", plugins })}}${more}}`;

/** underlay is a router with these links. */
export const underlay = (links: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [${links}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
`;

export const STATIC = { type: "static", addresses: [{ address: "192.168.11.3/24" }] };
export const BRIDGE = { type: "bridge", bridge: "fabric0", ipam: STATIC };

/** ANSWER is what the plugin before it has made, which is told last. */
export const ANSWER = `case "$stdin" in *prevResult*) echo "$stdin" | sed 's/.*"prevResult"://; s/}$//' ;;
    *) echo '{"cniVersion": "1.0.0", "interfaces": []}' ;; esac`;

/** ChainLab owns the node. */
export class ChainLab implements AsyncDisposable {
  readonly lab = new EdgeLab({ names: ["a"] });
  readonly node: EdgeNode = this.lab.node("a");

  constructor() {
    const { node } = this;
    node.plugins = [node.folder, PLUGINS];
    node.text("ip address flush dev eth1");
    node.start();
  }

  readonly stored = () => `${this.node.folder}/edge-chains.json`;
  readonly isStored = () => existsSync(this.stored());
  readonly shown = () => this.node.text("ip -br address show dev net1", "cw-underlay");
  readonly isThere = (text: string) =>
    until(`net1 has ${text}`, async () => {
      try {
        return this.shown().includes(text);
      } catch {
        return false;
      }
    });
  readonly problem = (text: string) =>
    until(`"${text}" is told`, async () => this.node.problems.some((one) => one.includes(text)));
  readonly isOver = async () => {
    const { node } = this;
    node.follow("");
    await until("all is taken down", async () => !this.isStored() && node.edge.status().length === 0);
    expect(() => node.text("ip link", "cw-underlay")).toThrow();
    expect(node.text("ip -br link")).toContain("eth1");
  };

  /** A plugin that does what its text says, and writes down what it was called with. */
  readonly script = (name: string, text: string) =>
    writeFileSync(
      `${this.node.folder}/${name}`,
      `#!/bin/sh\nstdin=$(cat)\necho "$CNI_COMMAND $CNI_IFNAME $CNI_NETNS" >> ${this.node.folder}/calls\n` +
        `echo "$stdin" >> ${this.node.folder}/stdin\n${text}\n`,
      { mode: 0o755 },
    );
  readonly calls = () => readFileSync(`${this.node.folder}/calls`, "utf8").trim().split("\n");

  readonly indexOf = () => /^\d+/.exec(this.node.text("ip -o link show dev net1", "cw-underlay"))?.[0];
  /** Stays well until a file says what it finds. */
  readonly judge = () => {
    const path = `${this.node.folder}/finding`;
    this.script(
      "judge",
      `[ "$CNI_COMMAND" = CHECK ] && [ -e ${path} ] && { cat ${path}; exit 1; }\n${ANSWER}`,
    );
  };
  readonly finding = (code: number, msg: string) =>
    writeFileSync(`${this.node.folder}/finding`, JSON.stringify({ cniVersion: "1.0.0", code, msg }));
  readonly times = (command: string) => this.calls().filter((call) => call.startsWith(command)).length;
  readonly isCalled = (command: string, count: number) =>
    until(`${command} is called ${count} times`, async () => this.times(command) >= count);
  /** Somebody changes an address of the link, so that plugins are asked. */
  readonly stir = (what: string) => this.node.text(`ip address ${what} 192.0.2.9/32 dev net1`, "cw-underlay");
  readonly isWell = () =>
    until(
      "CHECK was well",
      async () => JSON.parse(readFileSync(this.stored(), "utf8")).chains[0].wasWell === true,
    );

  async [Symbol.asyncDispose](): Promise<void> {
    // tuning leaves its empty folder on the machine.
    for (const folder of made) rmSync(folder, { recursive: true, force: true });
    // What plugins have on disk for it goes with it.
    if (this.node.isRunning) await this.isOver();
    await this.lab[Symbol.asyncDispose]();
  }
}
