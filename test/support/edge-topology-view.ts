/** What tests of the edge's topology look at, and how they wait: tables of both sides, and who sees whom under which address. */
import { expect } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import type { EdgeNode } from "./edge-lab.ts";
import { type Build, EdgeTopology } from "./edge-topology.ts";
import { type FabricHost, HOSTS, SESSIONS, type Vrf } from "./edge-topology-config.ts";
import type { Json } from "./scratch.ts";
import { seenBy } from "./seen.ts";

/** Guards against hanging only. */
const DEADLINE_MS = 280_000;

/** What takes longer is told. */
const PROGRESS_MS = 10_000;

/** bare leaves of routes what says nothing of them. */
export const bare = (text: string): string =>
  text
    .replaceAll(/ nhid \d+/g, "")
    .replaceAll(/ +$/gm, "")
    .trim();

/** hostOf returns a host of the fabric. */
export const hostOf = (name: string): FabricHost => {
  const found = HOSTS.find((one) => one.name === name);
  if (found === undefined) throw new Error(`there is no host ${name}`);
  return found;
};

/** TopologyView is the topology while tests run. */
export class TopologyView implements AsyncDisposable {
  #net: EdgeTopology | undefined;

  /** up builds the topology. */
  async up(options: Omit<Build, "say">): Promise<void> {
    this.#net = await EdgeTopology.up({ ...options, say });
  }

  get net(): EdgeTopology {
    if (this.#net === undefined) throw new Error("the topology is not up");
    return this.#net;
  }

  get nodes(): readonly [EdgeNode, EdgeNode, EdgeNode] {
    return this.net.nodes as unknown as readonly [EdgeNode, EdgeNode, EdgeNode];
  }

  /** evpn returns what a router has of EVPN. */
  evpn(box: string): string {
    return this.net.daemon(box).ask("show bgp l2vpn evpn");
  }

  /** leafRoutes returns a tenant's routes of a leaf's kernel. */
  leafRoutes(site: "A" | "B", tenant: Vrf): string {
    return bare(this.net.routes(site, tenant));
  }

  /** edgeRoutes returns a domain's routes on a node, of both families. */
  edgeRoutes(node: EdgeNode, vni: number): string {
    return bare(node.text("ip route", `cw-${vni}`)) + bare(node.text("ip -6 route", `cw-${vni}`));
  }

  /** heard returns what the speaker of a node's host has heard by the session of a tenant. */
  heard(name: string, tenant: Vrf, family: 4 | 6): string[] {
    const edge = family === 4 ? `${SESSIONS[tenant].net4}.1` : `${SESSIONS[tenant].net6}::1`;
    const daemon = this.net.daemon(name);
    const networks = {
      frr: () =>
        Object.keys(
          (daemon.json(`show bgp ipv${family} unicast neighbors ${edge} routes json`) as Json).routes,
        ),
      bird: () => daemon.ask("show", "route", "protocol", `${tenant}${family}`).match(/^\S+\/\d+/gm) ?? [],
      gobgp: () =>
        daemon.ask("neighbor", edge, "adj-in", "-a", `ipv${family}`).match(/[0-9a-f.:]+\/\d+/g) ?? [],
    }[daemon.kind]();
    // Where leaves have no VRFs, tunnel endpoints are in the tenants' tables too.
    return networks.filter((one) => !/^100\.6[45]\.0\./.test(one)).sort();
  }

  /** state tells what is there where something was waited for in vain. */
  state(): string {
    return [
      this.evpn("leafA"),
      ...(["red", "blue"] as const).map((tenant) => this.leafRoutes("A", tenant)),
      ...this.nodes.flatMap((node) => [
        node.name,
        ...[100, 200].map((vni) => this.edgeRoutes(node, vni)),
        node.text("ip route", "cw-underlay"),
        node.text("ip route"),
        ...node.problems,
        ...node.logged,
      ]),
    ].join("\n");
  }

  /**
   * until waits for something that an emulated processor may take long for, and tells what was there instead. Between looks there is time for the
   * speakers of ours, which are in this process.
   */
  async until(
    what: string,
    holds: () => Promise<boolean> | boolean,
    seen = () => this.state(),
  ): Promise<void> {
    const first = performance.now();
    let told = first;
    for (let begun = first; !(await holds()); begun = performance.now()) {
      if (begun > first + DEADLINE_MS) throw new Error(`waited in vain: ${what}\n${seen()}`);
      if (begun > told + PROGRESS_MS) {
        told = begun;
        say(`still waited for: ${what}`);
      }
      // Looks that cost a lot leave time for what they wait for.
      await Bun.sleep(Math.min(500, Math.max(50, 2 * (performance.now() - begun))));
    }
  }

  /** sees has one ask what serves at an address, which must see him under his own. */
  async sees(from: Netns, address: string, own: string): Promise<void> {
    let seen = "";
    await this.until(`${own} is seen at ${address}`, async () => (seen = await seenBy(from, address)) !== "");
    expect(seen).toBe(own);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#net?.[Symbol.asyncDispose]();
  }
}

/** say tells a watcher of an emulated machine where the time goes; elsewhere there is nothing to tell. */
export function say(text: string): void {
  if (performance.now() - started > PROGRESS_MS)
    process.stderr.write(`${((performance.now() - started) / 1000).toFixed(0)} s: ${text}\n`);
}
const started = performance.now();
