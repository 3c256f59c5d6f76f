/** What happens in a round of chaos among VPCs: drawn from a seed and from what there is, and nothing else. */
import type { Random } from "./random.ts";
import { drawWay, type Way, Ways } from "./vpc-chaos-ways.ts";
import { NODES, resource, SHARED, subnetsOf, VPCS } from "./vpc-chaos-world.ts";

const MOST_PODS = 5;

/** PlannedPod is a pod that there is to be. */
export interface PlannedPod {
  readonly name: string;
  readonly node: string;
  readonly vpc: string;
  readonly subnet: string;
  readonly guarded: boolean;
  /** Has its VPC's default route: reaches, and answers, what is peered and outside. */
  readonly out: boolean;
}

/** Deed is one thing that happens, some time after the round's beginning. */
export type Deed = { readonly afterMs: number } & (
  | { readonly kind: "add"; readonly pod: PlannedPod }
  | { readonly kind: "delete"; readonly pod: PlannedPod }
  /** `once`: how long the next agent runs before it is killed too. */
  | { readonly kind: "kill"; readonly node: string; readonly againMs?: number }
  /** Its pods come again, here or elsewhere. */
  | { readonly kind: "reboot"; readonly node: string; readonly pods: readonly PlannedPod[] }
  | { readonly kind: "apply"; readonly resources: string }
  | Way
);

/** tenant returns a VPC with its Subnets and a SecurityGroup that lets pings in. */
export function tenant(name: string): string {
  const subnets = Object.entries(subnetsOf(name)).map(([short, prefixes]) =>
    resource("Subnet", `${name}-${short}`, `vpc: ${name}, prefixes: [${prefixes}]`),
  );
  return resource("VPC", name, 'allow: { namespaces: ["*"] }') + subnets.join("") + group(name, []);
}

function group(vpc: string, ports: readonly number[]): string {
  const open = ports.map((port) => `{ direction: ingress, protocol: tcp, ports: [${port}] }, `).join("");
  const rules = `${open}{ direction: ingress, protocol: icmp }, { direction: egress }`;
  return resource("SecurityGroup", `${vpc}-guarded`, `vpc: ${vpc}, rules: [${rules}]`);
}

/** ChaosPlan knows the pods that there are to be, and draws what happens to them. */
export class ChaosPlan {
  readonly pods = new Map<string, PlannedPod>();
  readonly ways = new Ways();
  readonly #random: Random;
  #count = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  podsOf(vpc: string): PlannedPod[] {
    return [...this.pods.values()].filter((pod) => pod.vpc === vpc);
  }

  /** begin draws the pods of the first round. */
  begin(): Deed[] {
    return VPCS.flatMap((vpc) => [this.#add(vpc, NODES), this.#add(vpc, NODES), this.#add(vpc, NODES)]);
  }

  /** round draws what happens in the next round, all of it at the same time. */
  round(): Deed[] {
    const random = this.#random;
    const down = random.chance(0.25) ? random.pick(NODES) : undefined;
    const nodes = NODES.filter((node) => node !== down);
    const before = new Set(this.pods.values());
    const deeds: Deed[] = [];
    if (down !== undefined) deeds.push(this.#reboot(down));
    for (let i = 1 + random.below(4); i > 0; i--) this.#delete(deeds, down);
    const room = VPCS.flatMap((vpc) =>
      Array.from({ length: MOST_PODS - this.podsOf(vpc).length }, () => vpc),
    );
    for (let i = 1 + random.below(6); i > 0 && room.length > 0; i--)
      deeds.push(this.#add(room.splice(random.below(room.length), 1)[0] as string, nodes));
    for (const node of nodes)
      if (random.chance(0.3))
        deeds.push({
          ...{ kind: "kill", node, afterMs: random.below(1000) },
          ...(random.chance(0.3) ? { againMs: random.below(1500) } : {}),
        });
    if (random.chance(0.6)) deeds.push({ kind: "apply", resources: this.#change(), afterMs: this.#soon() });
    if (random.chance(0.6)) {
      const steady = [...this.pods.values()].filter((pod) => before.has(pod) && pod.node !== down);
      const way = drawWay(this.ways, { random, pods: steady });
      if (way !== undefined) deeds.push({ ...way, afterMs: this.#soon() });
    }
    return deeds;
  }

  /** steady returns two pods of a VPC on two nodes to which these deeds do nothing. */
  steady(deeds: readonly Deed[]): readonly [PlannedPod, PlannedPod] | undefined {
    // Who becomes a reflector, or is none any more, begins its sessions anew.
    if (deeds.some(({ kind }) => kind === "reflect")) return undefined;
    const touched = new Set(deeds.flatMap((deed) => ("pod" in deed ? [deed.pod.name] : [])));
    const down = deeds.flatMap((deed) =>
      deed.kind === "reboot" ? [deed.node, ...deed.pods.map(({ name }) => name)] : [],
    );
    const free = [...this.pods.values()].filter(
      ({ name, node }) => !touched.has(name) && !down.includes(node) && !down.includes(name),
    );
    for (const one of free) {
      const other = free.find(({ vpc, node }) => vpc === one.vpc && node !== one.node);
      if (other !== undefined) return [one, other];
    }
    return undefined;
  }

  /** end takes all pods away. */
  end(): Deed[] {
    const deeds: Deed[] = [...this.pods.values()].map((pod) => ({ kind: "delete", pod, afterMs: 0 }));
    this.pods.clear();
    return deeds;
  }

  #soon(): number {
    return this.#random.below(600);
  }

  #add(vpc: string, nodes: readonly string[]): Deed {
    const random = this.#random;
    const pod: PlannedPod = {
      name: `${vpc}-${++this.#count}`,
      node: random.pick(nodes),
      vpc,
      subnet: random.pick(Object.keys(subnetsOf(vpc))),
      guarded: random.chance(0.3),
      out: random.chance(0.8),
    };
    this.pods.set(pod.name, pod);
    return { kind: "add", pod, afterMs: this.#soon() };
  }

  #delete(deeds: Deed[], down: string | undefined): void {
    const here = [...this.pods.values()].filter(({ node }) => node !== down);
    const before = new Set(deeds.flatMap((deed) => (deed.kind === "reboot" ? deed.pods : [])));
    const free = here.filter((pod) => !before.has(pod));
    if (free.length === 0) return;
    const pod = this.#random.pick(free);
    this.pods.delete(pod.name);
    deeds.push({ kind: "delete", pod, afterMs: this.#soon() });
  }

  #reboot(node: string): Deed {
    const pods = [...this.pods.values()]
      .filter((pod) => pod.node === node)
      .map((pod) => (this.#random.chance(0.7) ? pod : { ...pod, node: this.#random.pick(NODES) }));
    for (const pod of pods) this.pods.set(pod.name, pod);
    return { kind: "reboot", node, pods, afterMs: this.#soon() };
  }

  #change(): string {
    const random = this.#random;
    const vpc = random.pick(VPCS);
    switch (random.below(4)) {
      case 0:
        return group(vpc, [80, 443, 8080].slice(random.below(3)));
      case 1:
        return resource("VPC", vpc, `allow: { namespaces: ["*", team-${random.below(3)}] }`);
      case 2: {
        const web = subnetsOf(vpc).web;
        const reserved = web.replace(/\.0\/.*/, `.24${random.below(5)}`);
        return resource("Subnet", `${vpc}-web`, `vpc: ${vpc}, prefixes: [${web}], reserved: [${reserved}]`);
      }
      default: {
        // Of its own: comes, and is used by nobody.
        // What is peered must not overlap.
        const spare = (vpc === SHARED ? 13 : 3) + random.below(3);
        return resource("Subnet", `${vpc}-spare-${spare}`, `vpc: ${vpc}, prefixes: [10.${spare}.0.0/24]`);
      }
    }
  }
}
