/** Pools of many nodes at one register, while agents die between any two steps, and requests and answers get lost or come late. */
import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import {
  type Attachment,
  type BlockClaims,
  ClaimError,
  isUsableIn,
  SubnetPool,
  SubnetPoolError,
  subnetPoolSchema,
} from "../ipam/mod.ts";
import {
  formatIp,
  formatPrefix,
  type Ip,
  ip,
  parseIp,
  parsePrefix,
  prefixEqual,
  PrivateKey,
  SigningSecret,
} from "../net/mod.ts";
import { newMesh, type Subnet } from "../resources/mod.ts";
import { Database } from "../sys/mod.ts";
import { HubClaims } from "./hub-claims.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

const subnet = (name: string, prefixes: string[], fixed?: [string, string]): Subnet => {
  const parsed = prefixes.map(parsePrefix);
  const gateways = parsed.map(({ family, value }) => ip(family, value + 1n));
  const ranges = fixed === undefined ? [] : [{ first: parseIp(fixed[0]), last: parseIp(fixed[1]) }];
  return { name, prefixes: parsed, gateways, reserved: [], fixed: ranges, vpc: "team", dnsServers: [] };
};
const subnets = [
  subnet("dual", ["10.1.0.0/25", "fd00:1::/121"], ["10.1.0.100", "10.1.0.120"]),
  subnet("tiny", ["10.2.0.0/27"]),
];
const subnetOf = (name: string) => subnets.find((one) => one.name === name);

class Crash extends Error {}

interface Pod {
  readonly node: Agent;
  readonly attachment: Attachment;
  readonly subnet: string;
  readonly addresses: readonly Ip[];
  readonly owner: string | undefined;
}

/** A node: its file outlives its agent, which may die at any transaction. */
class Agent {
  readonly file = Database.open(":memory:", { schema: [subnetPoolSchema] });
  readonly starting = new Set<Attachment>();
  life = 0;
  reachable = true;
  /** At the so-manieth transaction from now the agent dies, before or after it. */
  fuse: { count: number; readonly after: boolean } | undefined;
  pool: SubnetPool;

  readonly name: string;
  readonly world: World;

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
    this.pool = this.#start();
  }

  #start(): SubnetPool {
    const life = ++this.life;
    const agent = this;
    const file = new Proxy(this.file, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target) as unknown;
        if (key !== "transaction") return typeof value === "function" ? value.bind(target) : value;
        return (work: () => unknown) => {
          if (agent.life !== life) throw new Crash();
          const { fuse } = agent;
          const dies = fuse !== undefined && --fuse.count < 0;
          if (dies && !fuse.after) agent.die();
          const result = target.transaction(work as () => never);
          if (dies && fuse.after) agent.die();
          return result;
        };
      },
    });
    return new SubnetPool(file, { claims: this.world.wire(this, life), onProblem: () => {} });
  }

  die(): never {
    this.fuse = undefined;
    this.life++;
    throw new Crash();
  }

  /** The agent starts anew, when it is dead; the runtime deletes what it does not know to be added. */
  restart(): void {
    this.pool = this.#start();
    for (const attachment of this.starting) this.pool.release(attachment);
    this.starting.clear();
  }
}

type Fate = "done" | "request lost" | "answer lost" | "late";

class World {
  readonly random: Random;
  readonly register = Register.open(":memory:");
  readonly registrar = new Registrar(this.register);
  readonly agents: Agent[] = [];
  readonly pods: Pod[] = [];
  /** Requests that are under way, each waiting for its fate. */
  readonly underWay: ((fate: Fate) => Promise<void>)[] = [];
  readonly outcomes = new Map<string, number>();
  nowMs = 0;
  #next = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  async begin(nodes: number): Promise<void> {
    const hub = { name: "hub", publicKey: PrivateKey.random().publicKey, endpoints: [] };
    await this.registrar.init(newMesh("home", { endpoints: ["h:1"] }), hub);
    const vpc = { name: "team", sharedTargets: [], services: [], routed: true };
    await this.registrar.putResources([
      { kind: "VPC", value: vpc },
      ...subnets.map((value) => ({ kind: "Subnet", value }) as const),
    ]);
    for (let i = 0; i < nodes; i++) {
      await this.join(`n${i}`);
      this.agents.push(new Agent(`n${i}`, this));
    }
  }

  async join(name: string): Promise<void> {
    const { token } = await this.registrar.createToken({
      uses: 1,
      nowMs: 0,
      expiresAtMs: 1,
      signingKey: SigningSecret.random().publicKey,
    });
    const publicKey = PrivateKey.random().publicKey;
    await this.registrar.registerNode(
      { address: tokenUse(token, 0).address, publicKey, name, endpoints: [] },
      0,
    );
  }

  wire(agent: Agent, life: number): BlockClaims {
    const hub = new HubClaims(this.registrar, () => agent.name);
    const lost = () => new ClaimError("unanswered", "lost");
    const send = <T>(work: () => Promise<T>): Promise<T> => {
      if (!agent.reachable) return Promise.reject(lost());
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      this.underWay.push(async (fate) => {
        if (fate !== "done") reject(lost());
        if (fate === "request lost") return;
        if (fate === "late") {
          this.underWay.push(() =>
            work().then(
              () => {},
              () => {},
            ),
          );
          return;
        }
        await work().then(resolve, reject);
      });
      return promise.finally(() => agent.life === life || new Promise(() => {}));
    };
    return {
      get reachable() {
        return agent.reachable;
      },
      claim: (wish) => send(() => hub.claim(wish)),
      claimAddress: (wish) => send(() => hub.claimAddress(wish)),
      giveBack: (numbers) => send(() => hub.giveBack(numbers)),
      held: () => send(() => hub.held()),
      tellUsage: (used) => hub.tellUsage(used),
    };
  }

  /** Lets everything run that waits for nothing. */
  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    for (const agent of this.agents) if (agent.life % 2 === 0) agent.restart();
  }

  count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }

  add(node: Agent): void {
    const { random } = this;
    const wanted = random.pick(subnets);
    const owner = random.chance(0.2) ? `vm a/${random.below(4)}` : undefined;
    const requested = random.chance(0.2)
      ? [ip(4, (wanted.prefixes[0]?.value ?? 0n) + BigInt(random.below(128)))]
      : [];
    const attachment = { network: "net", containerId: `c${this.#next++}`, ifname: "eth0" };
    node.starting.add(attachment);
    const { life } = node;
    node.pool
      .allocate(attachment, { subnet: wanted, requested, ...(owner === undefined ? {} : { owner }) })
      .then(
        (addresses) => {
          if (node.life !== life) return;
          node.starting.delete(attachment);
          this.pods.push({ node, attachment, subnet: wanted.name, addresses, owner });
          this.count("allocated");
        },
        (error: Error) => {
          if (node.life !== life) return this.count("crashed");
          node.starting.delete(attachment);
          if (!(error instanceof SubnetPoolError)) throw error;
          this.count(error.reason);
        },
      );
  }

  release(index: number): void {
    const [pod] = this.pods.splice(index, 1);
    if (pod === undefined) return;
    try {
      pod.node.pool.release(pod.attachment);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      // The runtime deletes it again.
      pod.node.starting.add(pod.attachment);
    }
  }

  sweep(agent: Agent): void {
    this.nowMs += this.random.below(30_000);
    agent.pool.sweep(this.nowMs, subnetOf).catch((error: Error) => {
      if (!(error instanceof Crash)) throw error;
    });
  }

  async removeAndJoin(agent: Agent): Promise<void> {
    await this.registrar.removeNode(agent.name);
    agent.fuse = undefined;
    agent.pool.forgetBlocks();
    for (let i = this.pods.length - 1; i >= 0; i--) if (this.pods[i]?.node === agent) this.release(i);
    agent.life++;
    agent.restart();
    await this.join(agent.name);
    this.count("removed");
  }

  async deliver(): Promise<void> {
    const { random } = this;
    const [request] = this.underWay.splice(random.below(this.underWay.length), 1);
    await request?.(
      random.chance(0.85) ? "done" : random.pick(["request lost", "answer lost", "late"] as const),
    );
  }

  async step(): Promise<void> {
    const { random } = this;
    const agent = random.pick(this.agents);
    const dice = random.below(100);
    if (dice < 33) this.add(agent);
    else if (dice < 70) await this.deliver();
    else if (dice < 84) this.release(random.below(this.pods.length + 1));
    else if (dice < 92) this.sweep(agent);
    else if (dice < 94) void agent.pool.reconcile();
    else if (dice < 97) agent.fuse ??= { count: random.below(3), after: random.chance(0.5) };
    else if (dice < 99) for (const one of this.agents) one.reachable = random.chance(0.8);
    else if (random.chance(0.2)) await this.removeAndJoin(agent);
    await this.settle();
  }

  /** What must always hold; returns what does not. */
  check(): string[] {
    const all = this.register.claims();
    const grants = new Map(all.blocks.map((one) => [one.number, one]));
    const wrong: string[] = [];
    const held = new Map(
      this.agents.map((agent) => [agent, agent.pool.blocks().filter((one) => !one.returning)]),
    );
    for (const [{ name }, blocks] of held)
      for (const block of blocks) {
        const grant = grants.get(block.number);
        const same = grant?.subnet === block.subnet && prefixEqual(grant.block, block.block);
        if (!same || grant.node !== name || (block.usable & ~grant.usable) !== 0)
          wrong.push(`${name} hands out of ${formatPrefix(block.block)}, which is not its own`);
      }
    const holders = new Map<string, string>();
    const hold = (subnet: string, address: Ip, who: string) => {
      const key = `${subnet} ${formatIp(address)}`;
      if ((holders.get(key) ?? who) !== who) wrong.push(`${who} and ${holders.get(key)} have ${key}`);
      holders.set(key, who);
    };
    for (const { attachment, subnet, addresses, owner, node } of this.pods) {
      const stored = node.pool.addressesOf(attachment);
      if (stored.map(formatIp).join() !== addresses.map(formatIp).join())
        wrong.push(
          `${attachment.containerId} has ${addresses.map(formatIp)}, but stored is ${stored.map(formatIp)}`,
        );
      for (const address of addresses) {
        hold(subnet, address, owner ?? attachment.containerId);
        const inUse = held
          .get(node)
          ?.filter((one) => one.subnet === subnet)
          .filter((one) => isUsableIn(one, address) && isUsableIn({ ...one, usable: one.used }, address));
        if (owner === undefined && inUse?.length !== 1)
          wrong.push(`${formatIp(address)} of ${attachment.containerId} is leased, but of no block`);
      }
    }
    for (const { subnet, address, owner } of all.owned) {
      hold(subnet, address, owner);
      if (all.blocks.some((one) => one.subnet === subnet && isUsableIn(one, address)))
        wrong.push(`${formatIp(address)} is ${owner}'s, and in a block`);
    }
    return wrong;
  }

  /** Everything ends well: all are reached, nothing is lost any more, all pods go. */
  async end(): Promise<void> {
    for (const agent of this.agents) Object.assign(agent, { reachable: true, fuse: undefined });
    const finish = async () => {
      await this.settle();
      for (let request = this.underWay.shift(); request !== undefined; request = this.underWay.shift()) {
        await request("done");
        await this.settle();
      }
    };
    await finish();
    expect(this.check()).toEqual([]);
    while (this.pods.length > 0) this.release(0);
    for (let round = 0; round < 4; round++) {
      this.nowMs += 700_000;
      for (const agent of this.agents) {
        if (round === 0) void agent.pool.reconcile();
        this.sweep(agent);
      }
      await finish();
    }
    for (const agent of this.agents) expect([agent.pool.leases(), agent.pool.blocks()]).toEqual([[], []]);
    expect(this.register.claims().blocks).toEqual([]);
  }
}

const seed = newSeed();
for (let round = 0; round < 4; round++)
  test(`no address is handed out twice, and none is leaked (SEED=${seed + round})`, async () => {
    const world = new World(seed + round);
    using _ = world.register;
    await world.begin(5);
    for (let i = 0; i < 500; i++) {
      await world.step();
      const wrong = world.check();
      if (wrong.length > 0) expect([`step ${i}`, ...wrong]).toEqual([]);
    }
    await world.end();
    for (const agent of world.agents) agent.file.close();
    // The weather was bad enough to prove something.
    for (const outcome of ["allocated", "crashed", "unreachable", "taken"])
      expect([outcome, (world.outcomes.get(outcome) ?? 0) > 0]).toEqual([outcome, true]);
  });
