/** Does to a laboratory what a plan of chaos says, and compares what there is afterwards with what there is to be. */
import { readFileSync } from "node:fs";
import { type Lab, until } from "../../src/lab/mod.ts";
import { inParallel } from "../../src/sys/mod.ts";
import { parseIp, parsePrefix, prefixContains } from "../../src/net/mod.ts";
import { ChaosOutside } from "./vpc-chaos-outside.ts";
import type { ChaosPlan, Deed, PlannedPod } from "./vpc-chaos-plan.ts";
import { NODES, VPCS, WORLD_ADDRESS } from "./vpc-chaos-world.ts";

/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
const LAST_LINES = 30;

interface ShownVpc {
  readonly name: string;
  readonly namespace: string;
  readonly attachments: readonly { container: string; addresses: string[]; mac: string; state: string }[];
  readonly remote: { readonly hosts: number };
  readonly problems: readonly string[];
}

interface ShownBlock {
  readonly subnet: string;
  readonly block: string;
  readonly node: string;
  readonly used?: number;
}

/** ChaosLab remembers what each pod answers with. */
export class ChaosLab {
  readonly #lab: Lab;
  readonly outside: ChaosOutside;
  /** Answers of a pod have a time to live of its own, as it was sent and less by each router. */
  readonly #ttls = new Map<string, number>();
  /** What failed in this round while something was down, and succeeded later. */
  retried = 0;
  #isShaken = false;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.outside = new ChaosOutside(lab);
  }

  /** perform does everything at once, and returns when all of it is done. */
  async perform(deeds: readonly Deed[]): Promise<void> {
    this.#isShaken = deeds.some(({ kind }) => kind === "kill" || kind === "reboot");
    const failures: unknown[] = [];
    const done = deeds.map(async (deed) => {
      await Bun.sleep(deed.afterMs);
      await this.#perform(deed);
    });
    // Nothing may go on behind a failure.
    for (const one of done) await one.catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    // Agents that are there do what they are asked, and leave nothing for later.
    const left = this.#isShaken ? undefined : await this.#tombstones();
    if (left !== undefined) throw new Error(left);
  }

  async #tombstones(): Promise<string | undefined> {
    for (const node of NODES) {
      const { stdout } = await this.#lab.exec(node, ["sh", "-c", "cat /var/lib/causeway/tombstones/*.json"]);
      if (stdout !== "") return `${node} has deletions written down: ${stdout}`;
    }
    return undefined;
  }

  async #perform(deed: Deed): Promise<void> {
    switch (deed.kind) {
      case "add":
        return this.#add(deed.pod);
      case "delete":
        return this.#delete(deed.pod.name);
      case "kill":
        return this.#kill(deed.node, deed.againMs);
      case "reboot":
        await this.#lab.reboot(deed.node);
        await Promise.all(deed.pods.map((pod) => this.#add(pod)));
        return;
      case "apply":
        return this.#tried("apply", async () => {
          await this.#lab.causewayJson("hub", ["apply", "-f", "-"], deed.resources);
        });
      default:
        return this.#tried(deed.kind, () =>
          this.outside.make(deed, async (pod) => (await this.addressesOf(pod))[0] as string),
        );
    }
  }

  /** What fails while an agent is down is tried again, as kubelet does; what fails without a reason is not. */
  async #tried(what: string, work: () => Promise<void>): Promise<void> {
    if (!this.#isShaken) return work();
    const missing = () =>
      work().then(
        () => undefined,
        (error: unknown) => {
          this.retried++;
          return (error as Error).message;
        },
      );
    await until(missing, { what, deadlineMs: DEADLINE_MS });
  }

  /** wish is the configuration of a pod's network. */
  static wish({ vpc, subnet, guarded, out }: Omit<PlannedPod, "name" | "node">, more: object = {}) {
    const name = `${vpc}-${subnet}`;
    const groups = guarded ? { groups: [`${vpc}-guarded`] } : {};
    const route = { isDefaultGateway: out };
    const config = {
      cniVersion: "1.0.0",
      name,
      type: "causeway",
      subnet: name,
      ...route,
      ...groups,
      ...more,
    };
    return [{ ifname: "net1", config }];
  }

  async #add(pod: PlannedPod): Promise<void> {
    await this.#tried(`ADD of ${pod.name} on ${pod.node}`, async () => {
      await this.#lab.addPod(pod.node, pod.name, ChaosLab.wish(pod));
    });
    await this.mark(pod.name);
  }

  /** mark has a pod's answers tell whose they are. */
  async mark(pod: string): Promise<void> {
    const taken = new Set(this.#ttls.values());
    const free = Array.from({ length: 48 }, (_, i) => 255 - 4 * i).find((one) => !taken.has(one));
    const ttl = this.#ttls.get(pod) ?? free;
    if (ttl === undefined) throw new Error("There are more pods than times to live");
    this.#ttls.set(pod, ttl);
    const limits = ["net.ipv4.ip_default_ttl", "net.ipv6.conf.net1.hop_limit"];
    const done = await this.#lab.exec(pod, ["sysctl", "-qw", ...limits.map((name) => `${name}=${ttl}`)]);
    if (done.status !== 0) throw new Error(`Cannot mark ${pod}: ${done.stderr}`);
  }

  async #delete(pod: string): Promise<void> {
    await this.#tried(`DEL of ${pod}`, () => this.#lab.deletePod(pod));
    this.#ttls.delete(pod);
  }

  /** Kills an agent, and perhaps the next one while it starts. */
  async #kill(node: string, againMs: number | undefined): Promise<void> {
    await this.#lab.killAgent(node);
    if (againMs !== undefined) {
      const starting = this.#lab.startAgent(node).catch(() => {});
      await Bun.sleep(againMs);
      await this.#lab.killAgent(node);
      await starting;
    }
    await this.#lab.startAgent(node);
  }

  /** whoAnswers pings addresses from a pod; returns the name of the pod that answered, by address. */
  async whoAnswers(pod: string, targets: readonly string[]): Promise<Map<string, string>> {
    const script = `for t in "$@"; do (ping -n -c1 -W1 "$t" | sed -n "s/.* bytes from .* ttl=\\([0-9]*\\).*/$t \\1/p") & done; wait`;
    const { stdout } = await this.#lab.exec(pod, ["sh", "-c", script, "sh", ...targets]);
    const owners = new Map([...this.#ttls].map(([name, ttl]) => [ttl, name]));
    return new Map(
      stdout.split("\n").flatMap((line) => {
        const [address, ttl] = line.split(" ");
        if (address === undefined || ttl === undefined) return [];
        // Times to live lie 4 apart: 255, 251, …
        return [[address, owners.get(255 - 4 * Math.floor((255 - Number(ttl)) / 4)) ?? `ttl ${ttl}`]];
      }),
    );
  }

  /** addressesOf returns what the kernel has on a pod's interface. */
  async addressesOf(pod: string): Promise<string[]> {
    const { stdout } = await this.#lab.exec(pod, ["ip", "-j", "addr", "show", "net1"]);
    const [link] = JSON.parse(stdout) as { addr_info: { scope: string; local: string }[] }[];
    return (link?.addr_info ?? []).filter(({ scope }) => scope === "global").map(({ local }) => local);
  }

  /** lastWords returns the ends of the agents' logs. */
  lastWords(): string {
    return NODES.map((node) => {
      const lines = readFileSync(this.#lab.place.agentLog(node), "utf8").trimEnd().split("\n");
      return [`${node}:`, ...lines.slice(-LAST_LINES)].join("\n  ");
    }).join("\n");
  }

  /** expectAll waits until everything is as the plan says; throws with the first thing that is not. */
  async expectAll(plan: ChaosPlan): Promise<void> {
    await this.#lab.settled({ deadlineMs: DEADLINE_MS });
    const addresses = new Map<string, string[]>();
    for (const name of plan.pods.keys()) addresses.set(name, await this.addressesOf(name));
    refuseDoubles(plan, addresses);
    const world: World = { plan, addresses };
    const wait = (what: string, missing: () => Promise<string | undefined>) =>
      until(missing, { what, deadlineMs: DEADLINE_MS });
    await wait("all deletions to be done", () => this.#tombstones());
    await wait("what agents say of VPCs to agree with the pods", () => this.#wrongAtAgents(world));
    await wait("the matrix to be complete inside, and empty across", () => this.#wrongInMatrix(world));
    await wait("outside addresses to lead where they should", () => this.outside.wrong(this, world));
    await wait("`vpc addresses` to agree with the pods", () => this.#wrongAddresses(world));
  }

  async #wrongAtAgents({ plan, addresses }: World): Promise<string | undefined> {
    for (const node of NODES) {
      const shown = await this.#lab.causewayJson<ShownVpc[]>(node, ["vpc", "list"]);
      for (const vpc of VPCS) {
        const all = plan.podsOf(vpc);
        const here = all.filter((pod) => pod.node === node);
        const found = shown.find(({ name }) => name === vpc);
        const wanted = here.map(({ name }) => addresses.get(name)?.join()).sort();
        const said = (found?.attachments ?? []).map((one) => one.addresses.join()).sort();
        if (wanted.join(" ") !== said.join(" "))
          return `${vpc} on ${node} has ${said.join(" ")}, and its pods ${wanted.join(" ")}`;
        const isNeeded = plan.ways.needs(node, vpc, (one) =>
          plan.podsOf(one).some((pod) => pod.node === node),
        );
        if (isNeeded !== (found !== undefined))
          return `${vpc} is ${isNeeded ? "not on" : "still on"} ${node}`;
        if (found === undefined) continue;
        const state = found.attachments.find((one) => one.state !== "ready");
        if (state !== undefined) return `${vpc} on ${node}: ${state.container} is ${state.state}`;
        if (found.problems.length > 0) return `${vpc} on ${node}: ${found.problems.join("; ")}`;
        if (found.remote.hosts !== all.length - here.length)
          return `${vpc} on ${node} knows of ${found.remote.hosts} hosts, and there are ${all.length - here.length}`;
      }
      const wanted = shown.map(({ namespace }) => namespace).sort();
      const { stdout } = await this.#lab.exec(node, ["ls", "/run/netns"]);
      const there = stdout.split("\n").filter((name) => /^cw-\d+$/.test(name));
      if (wanted.join() !== there.sort().join())
        return `${node} has namespaces ${there.join()}, and VPCs in ${wanted.join()}`;
    }
    return undefined;
  }

  async #wrongInMatrix(world: World): Promise<string | undefined> {
    const found = await inParallel([...world.plan.pods.values()], 8, (pod) => this.#wrongFrom(pod, world));
    const wrong = found.flat();
    return wrong.length === 0 ? undefined : `${wrong.length} wrong: ${wrong.slice(0, 8).join("; ")}`;
  }

  /** What a pod reaches and should not, or does not reach and should. */
  async #wrongFrom(pod: PlannedPod, world: World): Promise<string[]> {
    const { name, node } = pod;
    const { reached, foreign } = targetsOf(pod, world);
    const hasWayOut = pod.out && world.plan.ways.gateways.has(pod.vpc);
    const answers = await this.whoAnswers(name, [...reached.keys(), ...foreign, WORLD_ADDRESS]);
    const missing = [...reached].flatMap(([address, target]) => {
      const who = answers.get(address);
      return who === target.name
        ? []
        : [`${name} on ${node} → ${address} of ${target.name} on ${target.node}: ${who ?? "no answer"}`];
    });
    const across = [...foreign].flatMap((address) =>
      answers.has(address) ? [`${name} → ${address}, of another VPC: ${answers.get(address)}`] : [],
    );
    const out =
      answers.has(WORLD_ADDRESS) === hasWayOut ? [] : [`${name} on ${node} → outside: ${!hasWayOut}`];
    return [...across, ...missing, ...out];
  }

  async #wrongAddresses({ plan, addresses }: World): Promise<string | undefined> {
    const blocks = (
      await this.#lab.causewayJson<{ blocks: ShownBlock[] }>("hub", ["vpc", "addresses"])
    ).blocks.map((block) => ({ ...block, prefix: parsePrefix(block.block) }));
    for (const one of blocks)
      for (const other of blocks)
        if (one !== other && one.subnet === other.subnet && prefixContains(one.prefix, other.prefix))
          return `${one.block} of ${one.node} and ${other.block} of ${other.node} are in one another`;
    const used = new Map(blocks.map((block) => [block, 0]));
    for (const pod of plan.pods.values())
      for (const address of addresses.get(pod.name) ?? []) {
        const around = blocks.find(
          ({ subnet, prefix }) =>
            subnet === `${pod.vpc}-${pod.subnet}` && prefixContains(prefix, parseIp(address)),
        );
        if (around?.node !== pod.node)
          return `${address} of ${pod.name} on ${pod.node} is in ${around?.block} of ${around?.node}`;
        used.set(around, (used.get(around) ?? 0) + 1);
      }
    const bad = blocks.find((block) => block.used !== used.get(block));
    return bad === undefined
      ? undefined
      : `${bad.block} of ${bad.subnet} on ${bad.node} is said to have ${bad.used} in use, and has ${used.get(bad)}`;
  }

  /** expectNothing waits until no node has anything of a VPC, and no address is claimed. */
  async expectNothingClaimed(): Promise<void> {
    const missing = async () => {
      const { blocks } = await this.#lab.causewayJson<{ blocks: ShownBlock[] }>("hub", ["vpc", "addresses"]);
      return blocks.length === 0 ? undefined : blocks.map(({ block, node }) => `${block} ${node}`).join();
    };
    // Of a subnet without pods the last block is kept for two minutes.
    await until(missing, { what: "all addresses to be returned", deadlineMs: 4 * DEADLINE_MS });
  }
}

/** World is what there is to be, and what pods have. */
export interface World {
  readonly plan: ChaosPlan;
  readonly addresses: ReadonlyMap<string, readonly string[]>;
}

interface Targets {
  /** Addresses, and who has them. */
  readonly reached: ReadonlyMap<string, PlannedPod>;
  /** Addresses that nobody has of those whom the pod may reach. */
  readonly foreign: ReadonlySet<string>;
}

function targetsOf(pod: PlannedPod, { plan, addresses }: World): Targets {
  const peer = plan.ways.peerOf(pod.vpc);
  // Who has IPv4 alone has no way to the other's IPv6.
  const families = new Set((addresses.get(pod.name) ?? []).map(familyOf));
  const reached = new Map<string, PlannedPod>();
  const foreign = new Set<string>();
  const known = new Set<string>();
  for (const other of plan.pods.values()) {
    if (other.vpc !== pod.vpc && other.vpc !== peer) continue;
    for (const address of addresses.get(other.name) ?? []) {
      known.add(address);
      // Without the default route they may have one to the other VPC, or none.
      const isSure = other.vpc === pod.vpc || (pod.out && other.out);
      if (isSure && other !== pod && families.has(familyOf(address))) reached.set(address, other);
    }
  }
  for (const one of addresses.values())
    for (const address of one) if (!known.has(address)) foreign.add(address);
  return { reached, foreign };
}

function familyOf(address: string): number {
  return address.includes(":") ? 6 : 4;
}

/** Nobody has two of what belongs to one, nor nothing. */
function refuseDoubles(plan: ChaosPlan, addresses: ReadonlyMap<string, readonly string[]>): void {
  for (const vpc of VPCS) {
    const owners = new Map<string, string>();
    for (const { name, subnet } of plan.podsOf(vpc)) {
      const own = addresses.get(name) ?? [];
      if (own.length !== (subnet === "web" ? 2 : 1))
        throw new Error(`${name} has ${own.join() || "no address"}`);
      for (const address of own) {
        const other = owners.get(address);
        if (other !== undefined) throw new Error(`${address} of ${vpc} is ${other}'s and ${name}'s`);
        owners.set(address, name);
      }
    }
  }
}
