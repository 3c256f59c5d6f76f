import { describe, expect, test } from "bun:test";
import { addressAt, blockSize, type Grant } from "../ipam/mod.ts";
import { formatIp, formatPrefix, ip, parseIp, parsePrefix, PrivateKey, SigningSecret } from "../net/mod.ts";
import { newMesh, type Subnet } from "../resources/mod.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { MAX_GRANTS } from "./claim-limits.ts";
import type { Refusal } from "./refusal.ts";
import { Register } from "./register.ts";
import { Registrar } from "./registrar.ts";
import { tokenUse } from "./token.ts";

const NOW = 1_800_000_000_000;
const range = (first: string, last = first) => ({ first: parseIp(first), last: parseIp(last) });
const subnet = (name: string, prefixes: string[], more: Partial<Subnet> = {}): Subnet => {
  const parsed = prefixes.map(parsePrefix);
  const gateways = parsed.map(({ family, value }) => ip(family, value + 1n));
  return {
    name,
    prefixes: parsed,
    gateways,
    reserved: [],
    fixed: [],
    vpc: `of-${name}`,
    dnsServers: [],
    ...more,
  };
};

/** A register with nodes n0, n1, … and these subnets, of one VPC for each, which the named nodes may serve. */
async function registerOf(nodes: number, subnets: Subnet[], serve?: string[]) {
  const register = Register.open(":memory:");
  /** Another hub, which applies the same commands, read from text. */
  const other = Register.open(":memory:");
  const registrar = new Registrar(register, {
    submit: async (command) => {
      other.applyEntry(undefined, [JSON.parse(JSON.stringify(command))]);
      return register.apply(command);
    },
    catchUp: async () => {},
    state: () => ({ kind: "sqlite", position: 0 }),
    [Symbol.dispose]: () => {},
  });
  const key = () => PrivateKey.random().publicKey;
  await registrar.init(newMesh("home", { endpoints: ["h:1"] }), {
    name: "n0",
    publicKey: key(),
    endpoints: [],
  });
  const { token } = await registrar.createToken({
    uses: nodes,
    nowMs: NOW,
    expiresAtMs: NOW + 1,
    signingKey: SigningSecret.random().publicKey,
  });
  for (let i = 1; i < nodes; i++) {
    const { address } = tokenUse(token, i);
    await registrar.registerNode({ address, publicKey: key(), name: `n${i}`, endpoints: [] }, NOW);
  }
  await registrar.putResources(
    subnets.flatMap((value) => [
      {
        kind: "VPC",
        value: {
          name: value.vpc,
          sharedTargets: [],
          services: [],
          routed: true,
          ...(serve === undefined ? {} : { nodes: { node: serve } }),
        },
      },
      { kind: "Subnet", value },
    ]),
  );
  const claim = (node: string, name: string, count = 1, have: number[] = []) =>
    registrar.claimBlocks(node, { subnet: name, wants: [{ family: 4, count }], have });
  const close = () => {
    register.close();
    other.close();
  };
  return { register, other, registrar, claim, [Symbol.dispose]: close };
}

const blocks = (grants: readonly Grant[]) => grants.map(({ block }) => formatPrefix(block));
const usable = ({ block, usable: mask }: Grant) =>
  Array.from({ length: blockSize(block) }, (_, i) => i)
    .filter((i) => ((mask >> i) & 1) === 1)
    .map((i) => formatIp(addressAt(block, i)));

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = (await work.then(
    () => new Error("not refused"),
    (refused: Error) => refused,
  )) as Refusal;
  return `${error.code}: ${error.message}`;
}

describe("blocks", () => {
  test("nodes get blocks in turn, without what nobody may have", async () => {
    using s = await registerOf(2, [
      subnet("web", ["10.1.0.0/24"], {
        reserved: [range("10.1.0.18", "10.1.0.30")],
        fixed: [range("10.1.0.32", "10.1.0.63")],
      }),
    ]);
    const first = await s.claim("n0", "web");
    const second = await s.claim("n1", "web", 2);
    expect([blocks(first), blocks(second)]).toEqual([["10.1.0.0/28"], ["10.1.0.16/28", "10.1.0.64/28"]]);
    expect(usable(first[0] as Grant)[0]).toBe("10.1.0.2");
    expect(usable(second[0] as Grant)).toEqual(["10.1.0.16", "10.1.0.17", "10.1.0.31"]);
  });

  test("what the node does not know of comes again instead of another block", async () => {
    using s = await registerOf(1, [subnet("web", ["10.1.0.0/24"])]);
    const lost = await s.claim("n0", "web");
    expect(await s.claim("n0", "web")).toEqual(lost);
    const known = lost.map(({ number }) => number);
    expect(blocks(await s.claim("n0", "web", 1, known))).toEqual(["10.1.0.16/28"]);
  });

  test("both families of a subnet come together or not at all", async () => {
    using s = await registerOf(1, [
      subnet("dual", ["10.1.0.0/24", "fd00:1::/64"]),
      subnet("four", ["10.2.0.0/24"]),
    ]);
    const wants = [4, 6].map((family) => ({ family: family as 4 | 6, count: 1 }));
    expect(blocks(await s.registrar.claimBlocks("n0", { subnet: "dual", wants, have: [] }))).toEqual([
      "10.1.0.0/28",
      "fd00:1::/124",
    ]);
    expect(await refusal(s.registrar.claimBlocks("n0", { subnet: "four", wants, have: [] }))).toBe(
      "bad-request: Cannot claim IPv6 addresses of Subnet four: its prefixes are 10.2.0.0/24; add one of this family, or ask for none",
    );
    expect(s.register.claims("four").blocks).toEqual([]);
  });

  test("a returned block goes to another node under another number, and a late return of the old one does nothing", async () => {
    using s = await registerOf(2, [subnet("web", ["10.1.0.0/26"])]);
    const [mine] = await s.claim("n0", "web");
    await s.registrar.returnBlocks("n0", [mine?.number as number]);
    const taken = await s.claim("n1", "web", 64);
    expect(blocks(taken)).toContain(formatPrefix(mine?.block as never));
    await s.registrar.returnBlocks("n0", [mine?.number as number]);
    await s.registrar.returnBlocks(
      "n0",
      taken.map(({ number }) => number),
    );
    expect(s.register.grantsOf("n1").length).toBe(taken.length);
  });

  test("a subnet that is used up says who has it", async () => {
    using s = await registerOf(3, [subnet("tiny", ["10.1.0.0/29"])]);
    expect((await s.claim("n0", "tiny", 3)).map(({ block }) => formatPrefix(block))).toEqual([
      "10.1.0.2/32",
      "10.1.0.3/32",
      "10.1.0.4/32",
    ]);
    expect((await s.claim("n1", "tiny", 3)).length).toBe(2);
    expect(await refusal(s.claim("n2", "tiny"))).toBe(
      "subnet-full: Cannot claim addresses of Subnet tiny for node n2: nothing of 10.1.0.0/29 is left; 2 nodes have claimed 0 blocks of 16 and 5 single addresses (this one 0 of these), 0 addresses have an owner, the others are kept back; delete pods, release addresses (causeway vpc addresses tiny), or use a larger subnet",
    );
    await s.registrar.returnBlocks("n0", [s.register.grantsOf("n0")[1]?.number as number]);
    expect(blocks(await s.claim("n2", "tiny"))).toEqual(["10.1.0.3/32"]);
  });

  test("the last quarter goes in single addresses, so that each of many nodes gets one", async () => {
    using s = await registerOf(60, [subnet("web", ["10.1.0.0/24"])]);
    const got: Grant[] = [];
    for (let i = 0; i < 60; i++) got.push(...(await s.claim(`n${i}`, "web")));
    expect(got.filter(({ block }) => block.length === 28).length).toBe(12);
    expect(got.filter(({ block }) => block.length === 32).length).toBe(48);
    const all = got.flatMap(usable);
    expect(new Set(all).size).toBe(all.length);
  });

  test("ranges that are kept back do not count as free", async () => {
    using s = await registerOf(8, [
      subnet("web", ["10.1.0.0/24"], { reserved: [range("10.1.0.64", "10.1.0.255")] }),
    ]);
    const got: Grant[] = [];
    for (let i = 0; i < 8; i++) got.push(...(await s.claim(`n${i}`, "web")));
    expect(blocks(got).slice(2, 5)).toEqual(["10.1.0.32/28", "10.1.0.48/32", "10.1.0.49/32"]);
  });

  test("one node does not get everything", async () => {
    using s = await registerOf(2, [subnet("large", ["10.0.0.0/12"])]);
    for (let i = 0; i < MAX_GRANTS / 64; i++)
      await s.claim(
        "n0",
        "large",
        64,
        s.register.grantsOf("n0").map(({ number }) => number),
      );
    const have = s.register.grantsOf("n0").map(({ number }) => number);
    expect(await refusal(s.claim("n0", "large", 1, have))).toContain(
      `it has ${MAX_GRANTS} blocks of it, the most that a node may have`,
    );
    expect((await s.claim("n1", "large")).length).toBe(1);
  });

  test("a node that leaves or is removed loses its blocks; another of its name begins anew", async () => {
    using s = await registerOf(3, [subnet("tiny", ["10.1.0.0/29"])]);
    await s.claim("n1", "tiny", 5);
    expect(await refusal(s.claim("n2", "tiny"))).toStartWith("subnet-full");
    await s.registrar.removeNode("n1");
    expect((await s.claim("n2", "tiny", 5)).length).toBe(5);
    expect(await refusal(s.claim("n1", "tiny"))).toStartWith("unknown-source");
  });

  test("a node that may not serve the VPC gets none of its addresses", async () => {
    using s = await registerOf(2, [subnet("web", ["10.1.0.0/24"])], ["n1"]);
    await s.claim("n1", "web");
    expect(await refusal(s.claim("n0", "web"))).toStartWith(
      "not-entitled: Cannot claim addresses of Subnet web: node n0 is none of VPC of-web's",
    );
  });

  test("a claim tells nodes nothing", async () => {
    using s = await registerOf(1, [subnet("web", ["10.1.0.0/24"])]);
    const { revision } = s.register;
    await s.claim("n0", "web");
    expect(s.register.revision).toBe(revision);
    expect(await refusal(s.claim("n0", "none"))).toBe(
      "no-such-subnet: Cannot claim addresses of Subnet none: there is none with this name; see causeway get subnet",
    );
  });
});

describe("certain addresses", () => {
  const one = (address: string, owner?: string) => ({
    subnet: "web",
    family: 4 as const,
    address: parseIp(address),
    ...(owner === undefined ? {} : { owner }),
  });

  test("for a node: of no block of others, and nobody's but once", async () => {
    using s = await registerOf(2, [
      subnet("web", ["10.1.0.0/24"], { fixed: [range("10.1.0.200", "10.1.0.210")] }),
    ]);
    await s.claim("n0", "web");
    const got = await s.registrar.claimAddress("n1", one("10.1.0.200"));
    expect(got).toEqual(await s.registrar.claimAddress("n1", one("10.1.0.200")));
    expect(await refusal(s.registrar.claimAddress("n0", one("10.1.0.200")))).toContain(
      "node n1 has claimed it",
    );
    expect(await refusal(s.registrar.claimAddress("n1", one("10.1.0.5")))).toContain(
      "it is in 10.1.0.0/28, which node n0 has claimed and hands out",
    );
    expect(await refusal(s.registrar.claimAddress("n1", one("10.1.0.1")))).toContain(
      "it is the subnet's gateway",
    );
    expect(await refusal(s.registrar.claimAddress("n1", one("10.1.0.255")))).toContain(
      "the broadcast address",
    );
    expect(await refusal(s.registrar.claimAddress("n1", one("10.9.0.1")))).toContain(
      "in no prefix of it (10.1.0.0/24)",
    );
  });

  test("for an owner: it moves with the owner, and stays when nodes go", async () => {
    using s = await registerOf(3, [subnet("web", ["10.1.0.0/24"])]);
    const vm = "vm team-a/db";
    const first = await s.registrar.claimAddress("n1", { subnet: "web", family: 4, owner: vm });
    expect(first).toEqual({ kind: "owned", address: parseIp("10.1.0.254") });
    expect(await s.registrar.claimAddress("n2", { subnet: "web", family: 4, owner: vm })).toEqual(first);
    expect(s.register.claims("web").owned).toEqual([
      { subnet: "web", address: parseIp("10.1.0.254"), owner: vm, node: "n2" },
    ]);
    await s.registrar.removeNode("n2");
    expect(s.register.claims("web").owned[0]?.node).toBeUndefined();
    expect(await refusal(s.registrar.claimAddress("n1", one("10.1.0.254", "vm team-b/db")))).toContain(
      "it belongs to vm team-a/db; ask for another, or release it: causeway vpc release web 10.1.0.254",
    );
    await s.registrar.releaseAddress("web", parseIp("10.1.0.254"));
    await s.registrar.claimAddress("n1", one("10.1.0.254", "vm team-b/db"));
    expect(await refusal(s.registrar.releaseAddress("web", parseIp("10.1.0.9")))).toContain(
      "it has no owner",
    );
  });

  test("a subnet that is used is deleted by force only; what owners have ends with it, what nodes have when they return it", async () => {
    using s = await registerOf(1, [subnet("web", ["10.1.0.0/24"])]);
    await s.claim("n0", "web");
    await s.registrar.claimAddress("n0", { subnet: "web", family: 4, owner: "vm a/b" });
    const web = [{ kind: "Subnet", name: "web" }] as const;
    expect(await refusal(s.registrar.deleteResources(web))).toContain(
      'Subnet "web": is used by 1 node with addresses of it and owners of 1 fixed address (causeway vpc addresses web); delete',
    );
    await s.registrar.deleteResources(web, { force: true });
    expect([s.register.claims().blocks.length, s.register.claims().owned.length]).toEqual([1, 0]);
  });

  test("a subnet whose last block was returned is deleted", async () => {
    using s = await registerOf(1, [subnet("web", ["10.1.0.0/24"])]);
    await s.claim("n0", "web");
    const numbers = s.register.grantsOf("n0").map(({ number }) => number);
    await s.registrar.returnBlocks("n0", numbers);
    await s.registrar.deleteResources([{ kind: "Subnet", name: "web" }]);
    expect(s.register.view("n0").tenants.Subnet.size).toBe(0);
  });

  test("an owner's address is taken out of the node's own block, and of no other's", async () => {
    using s = await registerOf(2, [subnet("web", ["10.1.0.0/24"])]);
    await s.claim("n0", "web");
    expect(await refusal(s.registrar.claimAddress("n1", one("10.1.0.7", "vm a/b")))).toContain(
      "node n0 has claimed",
    );
    expect(await refusal(s.registrar.claimAddress("n0", one("10.1.0.7", "vm a/b")))).toContain(
      "node n0 has claimed",
    );
    const outOf = s.register.grantsOf("n0").map(({ number }) => number);
    await s.registrar.claimAddress("n0", { ...one("10.1.0.7", "vm a/b"), outOf });
    expect(s.register.grantsOf("n0").flatMap(usable)).not.toContain("10.1.0.7");
    // It may move to the other one now.
    await s.registrar.claimAddress("n1", one("10.1.0.7", "vm a/b"));
  });
});

const seed = newSeed();
test(`many nodes claim, return and ask for addresses in any order: nothing is ever two's, and all can be had in the end (SEED=${seed})`, async () => {
  const random = new Random(seed);
  const nodes = 8;
  using s = await registerOf(nodes, [
    subnet("web", ["10.1.0.0/24"], {
      reserved: [range("10.1.0.40", "10.1.0.90")],
      fixed: [range("10.1.0.100", "10.1.0.120")],
    }),
  ]);
  const holders = () => {
    const { blocks: all, owned } = s.register.claims("web");
    const addresses = [...all.flatMap(usable), ...owned.map(({ address }) => formatIp(address))];
    expect(new Set(addresses).size).toBe(addresses.length);
    return addresses;
  };
  for (let step = 0; step < 300; step++) {
    const batch = Array.from({ length: 1 + random.below(4) }, async () => {
      const node = `n${random.below(nodes)}`;
      const held = s.register.grantsOf(node).map(({ number }) => number);
      const address = ip(4, 0x0a010000n + BigInt(random.below(256)));
      const owner = random.chance(0.5) ? {} : { owner: `vm a/${random.below(6)}` };
      if (random.chance(0.33)) return s.claim(node, "web", 1 + random.below(2), held);
      if (random.chance(0.33))
        return s.registrar.claimAddress(node, { subnet: "web", family: 4, address, ...owner });
      return held.length === 0 ? undefined : s.registrar.returnBlocks(node, [random.pick(held)]);
    });
    for (const { status, reason } of (await Promise.allSettled(batch)) as {
      status: string;
      reason?: Refusal;
    }[])
      if (status === "rejected") expect(reason?.code).toMatch(/^(subnet-full|address-taken)$/);
    if (step % 50 === 0) holders();
  }
  for (let i = 0; i < nodes; i++)
    for (const { number } of s.register.grantsOf(`n${i}`)) await s.registrar.returnBlocks(`n${i}`, [number]);
  const owned = holders();
  for (let i = 0; ; i = (i + 1) % nodes) {
    const have = s.register.grantsOf(`n${i}`).map(({ number }) => number);
    const more = await s.claim(`n${i}`, "web", 1, have).catch(() => undefined);
    if (more === undefined) break;
  }
  // 256 without network and broadcast, gateway, 51 reserved and 21 fixed ones, of which owners may have some.
  const fixed = owned.filter((address) => /^10\.1\.0\.(10\d|11\d|120)$/.test(address)).length;
  expect(holders().length).toBe(256 - 3 - 51 - 21 + fixed);
  expect(s.other.dump()).toEqual(s.register.dump());
});
