/** VPCs in a laboratory of real agents: a hub that reflects, three nodes, tenants with the same addresses, and what leads from one to another and out. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { inParallel, sleep } from "../../src/sys/mod.ts";
import { labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { resource } from "../support/resource-text.ts";
import { wholeStream } from "../support/whole-stream.ts";

const root = `/run/causeway-test/${process.pid}-vpc`;
/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
setDefaultTimeout(200_000);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
    - { name: c, networks: [wire], endpoint: auto }
`;

const tenant = (name: string, web: string, db: string) =>
  resource("VPC", name, 'allow: { namespaces: ["*"] }') +
  resource("Subnet", `${name}-web`, `vpc: ${name}, prefixes: [${web}]`) +
  resource("Subnet", `${name}-db`, `vpc: ${name}, prefixes: [${db}]`);

interface ShownVpc {
  readonly vni: number;
  readonly namespace: string;
  readonly segments: readonly { readonly vni: number }[];
}

describe.skipIf(skip !== undefined)(`VPCs${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc", { root });
    lab = await Lab.up(manifest, { root });
  });
  afterAll(async () => {
    await Lab.remove("vpc", { root });
    rmSync(root, { recursive: true, force: true });
  });

  const apply = (text: string) => lab.causewayJson("hub", ["apply", "-f", "-"], text);
  const add = (node: string, pod: string, subnet: string, more: object = {}) =>
    lab.addPod(node, pod, [
      { ifname: "net1", config: { cniVersion: "1.0.0", name: subnet, type: "causeway", subnet, ...more } },
    ]);
  const pings = async (pod: string, address: string) =>
    (await lab.exec(pod, ["ping", "-n", "-c1", "-W1", address])).status === 0;
  const reaches = (pod: string, address: string) =>
    until(async () => ((await pings(pod, address)) ? undefined : "no answer"), {
      what: `${pod} to reach ${address}`,
      deadlineMs: DEADLINE_MS,
    });
  const addressesOf = async (pod: string) => {
    const links = JSON.parse((await lab.exec(pod, ["ip", "-j", "addr", "show", "net1"])).stdout);
    return links[0].addr_info
      .filter(({ scope }: { scope: string }) => scope === "global")
      .map(({ local }: { local: string }) => local) as string[];
  };
  const first = async (pod: string) => (await addressesOf(pod))[0] as string;
  const vpcsOn = async (node: string) =>
    (await lab.causewayJson<{ name: string; problems: string[] }[]>(node, ["vpc", "list"])).map((vpc) => ({
      name: vpc.name,
      problems: vpc.problems,
    }));

  test("two tenants with the same addresses: applied at the hub, used on any node at once", async () => {
    for (const name of ["red", "blue"])
      await apply(tenant(name, '10.1.0.0/24, "fd00:1::/64"', '10.2.0.0/24, "fd00:2::/64"'));
    for (const name of ["red", "blue"]) {
      await add("a", `${name}-a`, `${name}-web`);
      await add("b", `${name}-b`, `${name}-web`);
      await add("c", `${name}-c`, `${name}-db`);
    }
    expect(await addressesOf("red-a")).toEqual(await addressesOf("blue-a"));
    for (const name of ["red", "blue"])
      for (const from of ["a", "b", "c"])
        for (const to of ["a", "b", "c"])
          for (const address of from === to ? [] : await addressesOf(`${name}-${to}`))
            await reaches(`${name}-${from}`, address);
    for (const node of ["a", "b", "c"])
      expect(await vpcsOn(node)).toEqual([
        { name: "red", problems: [] },
        { name: "blue", problems: [] },
      ]);
  });

  test("the agents are killed: what flows goes on, and what comes afterwards too", async () => {
    await using flow = new Pinger("red-a → red-b", await first("red-b"), {
      command: (argv) => lab.command("red-a", argv),
    });
    await until(() => (flow.since(0) > 20 ? undefined : "no answers"), { what: "the flow" });
    for (const node of ["a", "b", "hub"]) {
      await lab.killAgent(node);
      await lab.startAgent(node);
    }
    await add("b", "red-b2", "red-web");
    await reaches("red-c", await first("red-b2"));
    await reaches("red-a", await first("red-b2"));
    expect(flow.lost).toBe(0);
    expect(await vpcsOn("a")).toEqual([
      { name: "red", problems: [] },
      { name: "blue", problems: [] },
    ]);
  });

  test("the only hub, and with it the only reflector, is gone: what runs goes on", async () => {
    await using flow = new Pinger("red-a → red-b", await first("red-b"), {
      command: (argv) => lab.command("red-a", argv),
    });
    await until(() => (flow.since(0) > 20 ? undefined : "no answers"), { what: "the flow" });
    expect((await lab.exec("hub", ["ip", "link", "set", "eth0", "down"])).status).toBe(0);
    const sessions = () => lab.causewayJson<{ state: string }[]>("a", ["bgp", "neighbors"]);
    await until(
      async () => ((await sessions()).some(({ state }) => state === "established") ? "up" : undefined),
      { what: "BFD to end the session" },
    );
    await sleep(1_000);
    const meanwhile = { reached: await pings("red-c", await first("red-a")), lost: flow.lost };
    // First of all: without the hub none of what follows could be.
    expect((await lab.exec("hub", ["ip", "link", "set", "eth0", "up"])).status).toBe(0);
    expect(meanwhile).toEqual({ reached: true, lost: 0 });
    await until(
      async () => ((await sessions()).some(({ state }) => state === "established") ? undefined : "down"),
      { what: "the session" },
    );
  });

  test("the talk's own configuration, without any resource: pings and TCP, by link-local addresses too", async () => {
    const talk = (addr: string) => [{ ifname: "net1", config: { type: "vxlan", vni: 300, addr } }];
    await lab.addPod("a", "talk-a", talk("172.16.32.1/24"));
    await lab.addPod("b", "talk-b", talk("172.16.32.2/24"));
    await reaches("talk-a", "172.16.32.2");
    await reaches("talk-b", "172.16.32.1");
    const { stdout } = await lab.exec("talk-b", ["ip", "-j", "-6", "addr", "show", "dev", "net1"]);
    const own = `${JSON.parse(stdout)[0].addr_info[0].local}%net1`;
    expect(own).toStartWith("fe80::");
    // Nobody but the kernel gave it, which asks first whether another one has it.
    await reaches("talk-a", own);
    using from = lab.netns("talk-a");
    using netns = lab.netns("talk-b");
    for (const address of ["172.16.32.2", own])
      expect([address, await wholeStream(from, { netns, address })]).toEqual([address, true]);
    await lab.deletePod("talk-a");
    await lab.deletePod("talk-b");
    expect((await vpcsOn("a")).map(({ name }) => name)).toEqual(["red", "blue"]);
  });

  test("peering: what is named is reached, and nothing else", async () => {
    await apply(tenant("green", "10.8.0.0/24", "10.9.0.0/24"));
    // Who answers needs a way back.
    await add("c", "green-web", "green-web", { isDefaultGateway: true });
    await add("a", "green-db", "green-db", { isDefaultGateway: true });
    const [web, db] = [await first("green-web"), await first("green-db")];
    expect(await pings("red-a", web)).toBe(false);
    await apply(resource("Peering", "red-green", "vpcs: [red, green], prefixes: { green: [10.8.0.0/24] }"));
    await add("a", "red-late", "red-web", { isDefaultGateway: true });
    await reaches("red-late", web);
    expect(await pings("red-late", db)).toBe(false);
    await lab.causewayJson("hub", ["delete", "peering", "red-green"]);
    await until(async () => ((await pings("red-late", web)) ? "still reached" : undefined), {
      what: "the peering to end",
    });
  });

  test("security groups: by member and port, also for what is open already", async () => {
    const group = (rules: string) => resource("SecurityGroup", "red-guarded", `vpc: red, rules: [${rules}]`);
    await apply(group("{ direction: ingress, groups: [red-guarded] }, { direction: egress }"));
    await add("a", "in-1", "red-web", { groups: ["red-guarded"] });
    await add("b", "in-2", "red-web", { groups: ["red-guarded"] });
    await reaches("in-2", await first("in-1"));
    expect(await pings("red-b", await first("in-1"))).toBe(false);
    await apply(group("{ direction: ingress, protocol: icmp }, { direction: egress }"));
    await reaches("red-b", await first("in-1"));
    await apply(group("{ direction: egress }"));
    await until(async () => ((await pings("red-b", await first("in-1"))) ? "still reached" : undefined), {
      what: "the rule to end",
    });
  });

  test("a VPC lets in whom it names: who is of another namespace, or lacks a label, is refused with the words", async () => {
    const lets = (allow: string) =>
      apply(
        resource("VPC", "club", `allow: ${allow}`) +
          resource("Subnet", "club-web", `vpc: club, prefixes: [10.4.0.0/24]`),
      );
    const refused = async (pod: string) =>
      (await add("a", pod, "club-web").then(
        () => undefined,
        (error: Error) => error.message,
      )) ?? "let in";
    await lets("{ namespaces: [other] }");
    expect(await refused("guest")).toContain(
      "Cannot attach to a VPC: VPC club lets in namespaces other, and not pod lab/guest; change spec.allow of the VPC, or use another",
    );
    await lets("{ namespaces: [lab], labels: { app: db } }");
    expect(await refused("guest")).toContain(
      "VPC club lets in namespaces lab with labels app=db, and not pod lab/guest",
    );
    expect((await vpcsOn("a")).map(({ name }) => name)).not.toContain("club");
    await lets("{ namespaces: [other, lab] }");
    await add("a", "guest", "club-web");
    expect((await vpcsOn("a")).map(({ name }) => name)).toContain("club");
  });

  test("people find a pod by its name", async () => {
    const shown = await lab.causewayJson<{ attachments: { pod: string; addresses: string[] }[] }>("a", [
      ...["vpc", "show", "club"],
    ]);
    expect(shown.attachments).toMatchObject([{ pod: "lab/guest", addresses: await addressesOf("guest") }]);
    const { stdout } = await lab.causeway("a", ["vpc", "show", "club"]);
    expect(stdout).toMatch(/^POD +CONTAINER .*\nlab\/guest +lab-guest-/m);
  });

  test("two VPCs with the same route target, as both say: each has its own, and no more; a Subnet with a port of its own", async () => {
    const TARGET = "64512:9999";
    const targets = `importTargets: ["${TARGET}"], exportTargets: ["${TARGET}"]`;
    const sharing = `allow: { namespaces: [lab] }, ${targets}, sharedTargets: ["${TARGET}"]`;
    for (const [name, port] of [
      ["east", ", port: 8472"],
      ["west", ""],
    ] as const)
      await apply(
        resource("VPC", name, sharing) +
          resource("Subnet", `${name}-web`, `vpc: ${name}, prefixes: [10.5.0.0/24]${port}`) +
          resource("Subnet", `${name}-db`, `vpc: ${name}, prefixes: [10.6.0.0/24]${port}`),
      );
    const thief = await lab.causeway("hub", ["apply", "-f", "-"], resource("VPC", "thief", targets));
    expect([thief.status, thief.stderr]).toEqual([
      1,
      expect.stringContaining("list it in sharedTargets of both VPCs"),
    ]);
    // No address twice, so that none is reached instead of another.
    for (const [node, pod, subnet, address] of [
      ["a", "east-a", "east-web", "10.5.0.20"],
      ["b", "east-b", "east-web", "10.5.0.40"],
      ["c", "east-c", "east-db", "10.6.0.60"],
      ["a", "west-a", "west-web", "10.5.0.80"],
      ["c", "west-c", "west-web", "10.5.0.100"],
      ["b", "west-b", "west-db", "10.6.0.120"],
    ] as const)
      await add(node, pod, subnet, { args: { cni: { ips: [address] } } });
    for (const [from, to] of [
      ["east-a", "east-b"],
      ["east-a", "east-c"],
      ["east-c", "east-b"],
      ["west-a", "west-c"],
      ["west-a", "west-b"],
      ["west-b", "west-c"],
    ] as const)
      await reaches(from, await first(to));
    // Node a has been told of all of it, under the one target; and what only one has is nobody's in the other.
    const told = await lab.causeway("a", ["bgp", "evpn", "--type", "2", "--community", `RT:${TARGET}`]);
    for (const pod of ["east-b", "east-c", "west-b", "west-c"])
      expect(told.stdout).toContain(await first(pod));
    expect(await pings("east-a", await first("west-c"))).toBe(false);
    expect(await pings("east-a", await first("west-b"))).toBe(false);
    expect(await pings("west-a", await first("east-b"))).toBe(false);
  });

  test("out by a gateway, and by the next one when its node is gone; an address from outside leads in", async () => {
    await add("b", "red-server", "red-web", { isDefaultGateway: true });
    const target = await first("red-server");
    await apply(
      resource(
        "NatGateway",
        "red-out",
        "vpc: red, nodes: { node: [c, b] }, externalAddresses: [203.0.113.200]",
      ) + resource("FloatingIP", "red-in", `address: 203.0.113.201, gateway: red-out, target: ${target}`),
    );
    await add("a", "red-out-a", "red-web", { isDefaultGateway: true });
    const outside = lab.address("hub");
    await reaches("red-out-a", outside);
    await reaches("hub", "203.0.113.201");
    // Not a word more, and nobody there who says that nobody is there.
    expect((await lab.exec("c", ["ip", "link", "set", "eth0", "down"])).status).toBe(0);
    await reaches("red-out-a", outside);
    await reaches("hub", "203.0.113.201");
  });

  test("the last pod of a VPC goes, and with it all of the VPC on its node: others forget its routes, and it theirs", async () => {
    const own = (await lab.status("a"))?.node?.overlay4;
    const { vni, namespace, segments } = await lab.causewayJson<ShownVpc>("a", ["vpc", "show", "blue"]);
    const vnis = [vni, ...segments.map((segment) => segment.vni)];
    /** Next hops of the routes of blue that a node knows. */
    const hops = async (node: string) => {
      const told = await inParallel(vnis, 1, (one) =>
        lab.causewayJson<{ nextHop: string }[]>(node, ["bgp", "evpn", "--community", `RT:64512:${one}`]),
      );
      return new Set(told.flat().map(({ nextHop }) => nextHop));
    };
    const namespaces = async () => (await lab.exec("a", ["ls", "/run/netns"])).stdout.split("\n");
    for (const node of ["a", "b", "hub"])
      expect([node, [...(await hops(node))]]).toEqual([node, expect.arrayContaining([own])]);
    expect((await hops("a")).size).toBeGreaterThan(1);
    expect(await namespaces()).toContain(namespace);
    await lab.deletePod("blue-a");
    expect((await vpcsOn("a")).map(({ name }) => name)).not.toContain("blue");
    expect(await namespaces()).not.toContain(namespace);
    await until(async () => [...(await hops("a"))].join() || undefined, { what: "a to know of nobody" });
    for (const node of ["b", "hub"])
      await until(async () => ((await hops(node)).has(own as string) ? "still told" : undefined), {
        what: `${node} to forget a`,
      });
    // Of a VPC that goes on elsewhere.
    expect((await hops("hub")).size).toBeGreaterThan(0);
  });
});
