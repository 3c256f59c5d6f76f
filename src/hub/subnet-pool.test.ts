/** What pods on a node get, and what the node keeps, claims and returns. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type BlockClaims, ClaimError, SubnetPool, subnetPoolSchema } from "../ipam/mod.ts";
import { formatIp, formatPrefix, ip, parseIp, parsePrefix, PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh, type Subnet } from "../resources/mod.ts";
import { Database } from "../sys/mod.ts";
import { HubClaims } from "./hub-claims.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

const subnet = (name: string, ...texts: string[]): Subnet => {
  const prefixes = texts.map(parsePrefix);
  const gateways = prefixes.map(({ family, value }) => ip(family, value + 1n));
  return { name, vpc: "team", prefixes, gateways, reserved: [], fixed: [], dnsServers: [] };
};
const web = subnet("web", "10.1.0.0/24");
const dual = subnet("dual", "10.2.0.0/24", "fd00:2::/64");
const tiny = subnet("tiny", "10.3.0.0/29");
const subnets = [web, dual, tiny];
const subnetOf = (name: string) => subnets.find((one) => one.name === name);
const pod = (containerId: string) => ({ network: "net", containerId, ifname: "eth0" });

/** A node that counts what it asks, and whose hub may be away. */
class Node {
  readonly database = Database.open(":memory:", { schema: [subnetPoolSchema] });
  readonly asked: string[] = [];
  readonly problems: string[] = [];
  away = false;
  pool: SubnetPool;

  constructor(hub: HubClaims) {
    const ask = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
      if (this.away) throw new ClaimError("unanswered", "no hub answered in 8 s");
      this.asked.push(what);
      return work();
    };
    const away = () => this.away;
    const claims: BlockClaims = {
      get reachable() {
        return !away();
      },
      claim: (wish) =>
        ask(`${wish.wants.map(({ family, count }) => `${count} of IPv${family}`).join(", ")}`, () =>
          hub.claim(wish),
        ),
      claimAddress: (wish) =>
        ask(wish.address === undefined ? "any" : formatIp(wish.address), () => hub.claimAddress(wish)),
      giveBack: (numbers) => ask(`return ${numbers.length}`, () => hub.giveBack(numbers)),
      held: () => ask("held", () => hub.held()),
      tellUsage: (used) => hub.tellUsage(used),
    };
    this.pool = new SubnetPool(this.database, { claims, onProblem: (text) => this.problems.push(text) });
  }

  async add(id: string, of: Subnet, more: { requested?: string[]; owner?: string } = {}): Promise<string> {
    const { requested = [], ...rest } = more;
    const got = await this.pool.allocate(pod(id), { subnet: of, requested: requested.map(parseIp), ...rest });
    await settled();
    return got.map(formatIp).join(" ");
  }

  refused(id: string, of: Subnet, more: { requested?: string[]; owner?: string } = {}): Promise<string> {
    return this.add(id, of, more).then(
      (got) => `not refused: ${got}`,
      (error: Error & { reason: string }) => `${error.reason}: ${error.message}`,
    );
  }

  blocks(): string[] {
    return this.pool.blocks().map(({ block, used }) => `${formatPrefix(block)} ${used.toString(2)}`);
  }

  sweep(nowMs: number): Promise<void> {
    return this.pool.sweep(nowMs, subnetOf);
  }
}

/** What goes on in the background has ended: nothing of it waits for time. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

let register: Register;
let registrar: Registrar;
let a: Node;
let b: Node;

beforeEach(async () => {
  register = Register.open(":memory:");
  registrar = new Registrar(register);
  const key = () => PrivateKey.random().publicKey;
  await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
    name: "a",
    publicKey: key(),
    endpoints: [],
  });
  const { token } = await registrar.createToken({
    uses: 1,
    nowMs: 0,
    expiresAtMs: 1,
    signingKey: SigningSecret.random().publicKey,
  });
  await registrar.registerNode(
    { address: tokenUse(token, 0).address, publicKey: key(), name: "b", endpoints: [] },
    0,
  );
  await registrar.putResources([
    { kind: "VPC", value: { name: "team", sharedTargets: [], services: [], routed: true } },
    ...subnets.map((value) => ({ kind: "Subnet", value }) as const),
  ]);
  a = new Node(new HubClaims(registrar, () => "a"));
  b = new Node(new HubClaims(registrar, () => "b"));
  for (const node of [a, b]) {
    await node.pool.reconcile();
    node.asked.length = 0;
  }
});

afterEach(() => {
  for (const { database } of [a, b]) database.close();
  register.close();
});

describe("the next pod", () => {
  test("gets the next address of the node's block, of each family", async () => {
    expect(await a.add("1", dual)).toBe("10.2.0.2 fd00:2::2");
    expect(await a.add("2", dual)).toBe("10.2.0.3 fd00:2::3");
    expect(await b.add("3", dual)).toBe("10.2.0.16 fd00:2::10");
    expect(a.asked).toEqual(["1 of IPv4, 1 of IPv6"]);
  });

  test("does not wait for the hub: another block is claimed while the last one has room", async () => {
    for (let i = 0; i < 10; i++) await a.add(`${i}`, web);
    expect(a.asked).toEqual(["1 of IPv4"]);
    await a.add("10", web);
    expect(a.asked).toEqual(["1 of IPv4", "1 of IPv4"]);
    a.away = true;
    const got: string[] = [];
    for (let i = 11; i < 30; i++) got.push(await a.add(`${i}`, web));
    expect([got[0], got.at(-1)]).toEqual(["10.1.0.13", "10.1.0.31"]);
    expect(await a.refused("30", web)).toBe(
      "unreachable: Cannot allocate an address of Subnet web: this node holds none that is free, and no hub grants more: no hub answered in 8 s; it works again when a hub is reached",
    );
    a.away = false;
    expect(await a.add("30", web)).toBe("10.1.0.32");
  });

  test("of fifty at once gets one of its own, and the hub is asked once", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => a.add(`${i}`, dual)));
    expect(new Set(all).size).toBe(50);
    expect(a.asked[0]).toBe("4 of IPv4, 4 of IPv6");
    expect(a.asked.slice(1).filter((text) => text.includes("IPv4, "))).toEqual([]);
  });

  test("does not get the address of one that went a moment ago", async () => {
    await a.add("1", web);
    a.pool.release(pod("1"));
    expect(await a.add("2", web)).toBe("10.1.0.3");
    await a.sweep(0);
    await a.sweep(5000);
    expect(await a.add("3", web)).toBe("10.1.0.2");
  });

  test("is refused twice the same, and gets nothing of a subnet that is used up, in words that help", async () => {
    await a.add("1", tiny);
    expect(await a.refused("1", tiny)).toBe(
      "already-allocated: Cannot allocate an address for eth0 of container 1 in network net: it has 10.3.0.2 already; delete the attachment first",
    );
    for (const id of ["2", "3", "4"]) await b.add(id, tiny);
    await a.add("5", tiny);
    expect(await a.refused("6", tiny)).toBe(
      "exhausted: Cannot claim addresses of Subnet tiny for node a: nothing of 10.3.0.0/29 is left; 2 nodes have claimed 0 blocks of 16 and 5 single addresses (this one 2 of these), 0 addresses have an owner, the others are kept back; delete pods, release addresses (causeway vpc addresses tiny), or use a larger subnet",
    );
    expect(a.pool.addressesOf(pod("6"))).toEqual([]);
    b.pool.release(pod("3"));
    for (const nowMs of [0, 10_000]) await b.sweep(nowMs);
    expect(await a.add("6", tiny)).toBe("10.3.0.4");
  });
});

describe("a certain address", () => {
  test("of the node's own block is leased without asking, and to one only", async () => {
    await a.add("1", web);
    a.away = true;
    expect(await a.add("2", web, { requested: ["10.1.0.9"] })).toBe("10.1.0.9");
    expect(await a.refused("3", web, { requested: ["10.1.0.9"] })).toBe(
      "taken: Cannot allocate 10.1.0.9 of Subnet web: eth0 of container 2 in network net has it; request another",
    );
    expect(await a.refused("3", web, { requested: ["10.1.0.1"] })).toBe(
      "outside: Cannot allocate 10.1.0.1 of Subnet web: it is the subnet's gateway; request another",
    );
  });

  test("of none is claimed alone, the other family as ever; what another node hands out is refused", async () => {
    await b.add("0", dual);
    expect(await a.add("1", dual, { requested: ["10.2.0.99"] })).toBe("10.2.0.99 fd00:2::10");
    expect(await a.refused("2", dual, { requested: ["10.2.0.5"] })).toStartWith(
      "taken: Cannot claim 10.2.0.5 of Subnet dual: it is in 10.2.0.0/28, which node b has claimed and hands out",
    );
    a.pool.release(pod("1"));
    for (const nowMs of [0, 10_000]) await a.sweep(nowMs);
    expect(await b.add("3", dual, { requested: ["10.2.0.99"] })).toBe("10.2.0.99 fd00:2::3");
  });

  test("of a virtual machine moves with it to another node, while the old pod is still there", async () => {
    const vm = { owner: "vm team-a/db" };
    const first = await a.add("old", dual, vm);
    expect(first).toBe("10.2.0.254 fd00:2::f:ffff");
    expect(await b.add("new", dual, vm)).toBe(first);
    a.pool.release(pod("old"));
    b.pool.release(pod("new"));
    // Stopped for a week, and started again where it was first.
    expect(await a.add("again", dual, vm)).toBe(first);
    expect(await b.refused("other", dual, { owner: "vm team-b/db", requested: ["10.2.0.254"] })).toContain(
      "taken: Cannot claim 10.2.0.254 of Subnet dual: it belongs to vm team-a/db",
    );
    expect(await a.refused("third", dual, { requested: ["10.2.0.254"] })).toStartWith("taken");
  });

  test("of a virtual machine on the node where it is: two pods of it may be there at once", async () => {
    const vm = { owner: "vm team-a/db", requested: ["10.1.0.7"] };
    await a.add("1", web);
    expect([await a.add("old", web, vm), await a.add("new", web, vm)]).toEqual(["10.1.0.7", "10.1.0.7"]);
    a.pool.release(pod("old"));
    for (let i = 2; i < 14; i++) expect(await a.add(`${i}`, web)).not.toBe("10.1.0.7");
    expect(a.pool.addressesOf(pod("new")).map(formatIp)).toEqual(["10.1.0.7"]);
  });

  test("that a pod of the node has does not become a virtual machine's", async () => {
    expect(await a.add("1", web)).toBe("10.1.0.2");
    expect(await a.refused("vm", web, { owner: "vm a/b", requested: ["10.1.0.2"] })).toStartWith("taken");
    expect(a.blocks()).toEqual(["10.1.0.0/28 100"]);
    expect(await a.add("2", web, { requested: ["10.1.0.3"] })).toBe("10.1.0.3");
  });
});

describe("blocks", () => {
  test("that are empty go back, but one while it may be needed; the last one after two minutes", async () => {
    for (let i = 0; i < 45; i++) await a.add(`${i}`, web);
    expect(a.blocks().length).toBe(4);
    // What is left are 11 pods in the first block, which has little room.
    for (let i = 11; i < 45; i++) a.pool.release(pod(`${i}`));
    for (const nowMs of [0, 60_000, 3_600_000]) await a.sweep(nowMs);
    expect(a.blocks()).toEqual(["10.1.0.0/28 1111111111100", expect.stringMatching(/ 0$/)]);
    for (let i = 1; i < 11; i++) a.pool.release(pod(`${i}`));
    await a.sweep(3_600_001);
    expect(a.blocks()).toEqual(["10.1.0.0/28 100"]);
    a.pool.release(pod("0"));
    for (const nowMs of [4_000_000, 4_119_999]) await a.sweep(nowMs);
    expect(a.blocks()).toEqual(["10.1.0.0/28 0"]);
    await a.sweep(4_120_000);
    expect([a.blocks(), register.claims().blocks]).toEqual([[], []]);
  });

  test("of a subnet that was deleted by force go back when their pods are gone", async () => {
    await a.add("1", web);
    await registrar.deleteResources([{ kind: "Subnet", name: "web" }], { force: true });
    const gone = () => undefined;
    for (const nowMs of [0, 600_000]) await a.pool.sweep(nowMs, gone);
    expect(a.blocks().length).toBe(1);
    a.pool.release(pod("1"));
    for (const nowMs of [600_001, 610_001]) await a.pool.sweep(nowMs, gone);
    expect([a.blocks(), register.claims().blocks]).toEqual([[], []]);
  });

  test("are told with how much of them is used, once for each change", async () => {
    await a.add("1", web);
    const [block] = a.pool.blocks();
    const used = () => registrar.usage.usedOf("a", block?.number as number);
    expect(used()).toBeUndefined();
    await a.sweep(0);
    expect(used()).toBe(1);
    a.pool.release(pod("1"));
    await a.sweep(1);
    expect(used()).toBe(0);
  });

  test("keep what is leased to attachments that are there, and nothing else", async () => {
    for (const id of ["1", "2"]) await a.add(id, web);
    a.pool.keepOnly(({ containerId }) => containerId === "2");
    expect(a.blocks()).toEqual(["10.1.0.0/28 1000"]);
    expect(a.pool.leases().map(({ attachment }) => attachment.containerId)).toEqual(["2"]);
  });

  test("that a claim brought after nobody waited for it are found, and go", async () => {
    await a.sweep(0);
    await registrar.claimBlocks("a", { subnet: "web", wants: [{ family: 4, count: 1 }], have: [] });
    await a.sweep(599_999);
    expect(a.blocks()).toEqual([]);
    await a.sweep(600_000);
    expect(a.blocks()).toEqual(["10.1.0.0/28 0"]);
    await a.sweep(720_000);
    expect([a.blocks(), register.claims().blocks]).toEqual([[], []]);
  });

  test("of a node that lost its file come back to it, and go", async () => {
    await a.add("1", web);
    a.database.execute("DELETE FROM subnet_block; DELETE FROM subnet_lease");
    await a.pool.reconcile();
    expect(a.blocks()).toEqual(["10.1.0.0/28 0"]);
  });

  test("that the register has forgotten are claimed anew for the pods that are there, and no others", async () => {
    await a.add("1", web);
    await a.add("2", web);
    // As after an older copy was restored: the next numbers were given already.
    const { schema, tables } = register.dump();
    const older = ["address_block", "owned_address", "block_cursor", "grant_counter"].map((name) => [
      name,
      [],
    ]);
    register.restore({ schema, tables: { ...tables, ...Object.fromEntries(older) } }, 0);
    expect(await b.add("3", subnetOf("dual") as Subnet)).toBe("10.2.0.2 fd00:2::2");
    await registrar.claimAddress("b", { subnet: "web", family: 4, address: parseIp("10.1.0.3") });
    await a.pool.reconcile();
    expect(a.blocks()).toEqual(["10.1.0.2/32 1"]);
    expect(a.problems).toEqual([
      "10.1.0.3 of Subnet web is not this node's any more, though eth0 of container 2 has it; delete the pod: Cannot claim 10.1.0.3 of Subnet web: node b has claimed it; ask for an address of the subnet's fixed ranges (Subnet.spec.fixed), or wait until the node returns it",
    ]);
    expect(await a.add("4", web)).not.toBe("10.1.0.3");
  });
});
