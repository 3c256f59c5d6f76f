/**
 * TCP between pods of two nodes through a VPC, inside a subnet and routed between two, beside the same bridge and VXLAN made by hand; all nodes are at one
 * switch (a bridge, veth), and their turns alternate. Ours has all that an agent sets: the guard before VXLAN, and pods that send in no other's name.
 * br_netfilter, where the kernel has it, has its hand off ours: a domain says so itself. Bridges by hand are there twice: hand off, and as kubeadm asks
 * for it on every node (`net.bridge.bridge-nf-call-iptables = 1`).
 */
import { type Netns, run } from "../../src/sys/mod.ts";
import { type DomainLab, pings, segment, vpc } from "../../test/support/domain-lab.ts";
import { ServicesLab } from "../../test/support/services-lab.ts";
import { type Row, row } from "../measure.ts";
import { HandNode } from "./hand-node.ts";
import type { Say, VpcPlan } from "./plan.ts";

const near = segment("near", 101, ["10.0.0.0/12"]);
const far = segment("far", 102, ["10.16.0.0/12"]);
const domain = vpc("big", 5000, [near, far]);
const VNI_BY_HAND = 101;

/** A pod that sends to another. */
interface Way {
  readonly name: string;
  readonly from: Netns;
  readonly to: Netns;
  readonly address: string;
}

function ways(lab: DomainLab): readonly [inside: Way, routed: Way, byHand: Way, judged: Way] {
  const [one, two] = [lab.host(1), lab.host(2)];
  const from = lab.pod(one, "a", { domain, segment: near, addresses: ["10.0.0.2"] });
  const inside = lab.pod(two, "b", { domain, segment: near, addresses: ["10.0.0.3"] });
  const routed = lab.pod(two, "c", { domain, segment: far, addresses: ["10.16.0.3"] });
  setCalls(lab, lab.scratch.netns, 0);
  return [
    { name: "VPC", from, to: inside, address: "10.0.0.3" },
    { name: "VPC, routed", from, to: routed, address: "10.16.0.3" },
    wayByHand(lab, { name: "by hand", first: 11, calls: 0 }),
    wayByHand(lab, { name: "by hand, br_netfilter", first: 13, calls: 1 }),
  ];
}

interface ByHand {
  readonly name: string;
  /** Number of the first of its two nodes. */
  readonly first: number;
  /** Whether bridges call iptables. */
  readonly calls: 0 | 1;
}

function wayByHand(lab: DomainLab, { name, first, calls }: ByHand): Way {
  const [left, right] = [first, first + 1].map(
    (number) => new HandNode(lab, { number, vni: VNI_BY_HAND }),
  ) as [HandNode, HandNode];
  left.know(right);
  right.know(left);
  for (const { netns } of [left, right]) setCalls(lab, netns, calls);
  return { name, from: left.pod, to: right.pod, address: right.inside };
}

/** A kernel without br_netfilter has no such keys, and its bridges call nobody. */
function setCalls(lab: DomainLab, netns: Netns, calls: 0 | 1): void {
  const keys = ["iptables", "ip6tables", "arptables"].map(
    (one) => `net.bridge.bridge-nf-call-${one}=${calls}`,
  );
  lab.scratch.text(`sysctl -qe -w ${keys.join(" ")}`, netns);
}

async function serve({ to }: Way): Promise<Disposable> {
  // A window may not return a promise, which a child has inside.
  const { child } = to.run(() => ({
    child: Bun.spawn(["iperf3", "-s", "--forceflush"], { stdout: "pipe", stderr: "inherit" }),
  }));
  const { value } = await child.stdout.getReader().read();
  if (value === undefined) throw new Error("iperf3 -s ended");
  return { [Symbol.dispose]: () => child.kill() };
}

async function gigabits({ name, from, address }: Way, seconds: number): Promise<number> {
  const { stdout } = await run(["iperf3", "-c", address, "-t", `${seconds}`, "-J"], { netns: from });
  const { end, error } = JSON.parse(stdout) as {
    readonly error?: string;
    readonly end: { readonly sum_received?: { readonly bits_per_second: number } };
  };
  if (end.sum_received === undefined) throw new Error(`${name}: iperf3: ${error ?? "it says nothing"}`);
  return end.sum_received.bits_per_second / 1e9;
}

/** measureTraffic returns the rows; the first round is short and does not count. */
export async function measureTraffic({ rounds, seconds }: VpcPlan, say: Say): Promise<Row[]> {
  using world = new ServicesLab(2);
  world.set({ domains: [domain] });
  const all = ways(world.lab);
  for (const { name, from, address } of all)
    if (!pings(from, address, "-c 3 -W 1 -i 0.2")) throw new Error(`${name}: ${address} does not answer`);
  using servers = new DisposableStack();
  for (const way of all) servers.use(await serve(way));
  const samples = new Map<Way, number[]>(all.map((way) => [way, []]));
  for (let i = 0; i <= rounds; i++) {
    const shown: string[] = [];
    for (const [turn] of all.entries()) {
      const way = all[(turn + i) % all.length] as Way;
      const value = await gigabits(way, i === 0 ? 1 : seconds);
      shown.push(`${way.name} ${value.toPrecision(3)}`);
      if (i > 0) samples.get(way)?.push(value);
    }
    say(`${i === 0 ? "warm-up" : `round ${i} of ${rounds}`}: Gbit/s: ${shown.join(", ")}`);
  }
  const [inside, routed, byHand, judged] = all;
  const rowOf = (name: string, way: Way, theirs: Way, peer = "bridge and VXLAN by hand") =>
    row(
      { case: name, unit: "Gbit/s", peer, moreIsBetter: true },
      samples.get(way) ?? [],
      samples.get(theirs) ?? [],
    );
  return [
    rowOf("pod-to-pod", inside, byHand),
    rowOf("pod-to-pod-routed", routed, byHand),
    rowOf("pod-to-pod-br-netfilter", inside, judged, "the same by hand, br_netfilter as kubeadm asks for it"),
  ];
}
