/**
 * Two tenants with the same networks and addresses on the same nodes of a laboratory of real agents: three Subnets each, IPv4, IPv6 and both. All
 * of one reach each other and nothing of it is seen by the other; flows end with the rule that allowed them; a node that is dead is forgotten.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { inParallel } from "../../src/sys/mod.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { executable, labLacks as skip } from "../support/lab-needs.ts";
import { Pinger } from "../support/pinger.ts";
import { resource } from "../support/resource-text.ts";

const root = `/run/causeway-test/${process.pid}-vpc-apart`;
/** Guards against hanging only. */
const DEADLINE_MS = 60_000;
setDefaultTimeout(200_000);

const manifest = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-apart }
spec:
  networks:
    - { name: wire, prefix4: 203.0.113.0/24, prefix6: "2001:db8::/64" }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire], endpoint: auto }
    - { name: b, networks: [wire], endpoint: auto }
    - { name: c, networks: [wire], endpoint: auto }
  hosts:
    - { name: world, networks: [{ name: wire, address4: 203.0.113.100, address6: "2001:db8::100" }] }
`;
const WORLD = ["203.0.113.100", "2001:db8::100"];

const TENANTS = ["red", "blue"];
/** Which Subnet each of a tenant's pods is in. */
const PODS: Readonly<Record<string, string>> = { a: "both", b: "both", c: "four", b6: "six", c6: "six" };

const tenant = (name: string) =>
  resource("VPC", name, 'allow: { namespaces: ["*"] }') +
  resource("Subnet", `${name}-both`, `vpc: ${name}, prefixes: [10.1.0.0/24, "fd00:1::/64"]`) +
  resource("Subnet", `${name}-four`, `vpc: ${name}, prefixes: [10.2.0.0/24]`) +
  resource("Subnet", `${name}-six`, `vpc: ${name}, prefixes: ["fd00:3::/64"]`);

/** Sixteen bytes that every packet of the tenant carries. */
const markOf = (name: string) => `of tenant ${name}`.padEnd(16, ".");

describe.skipIf(skip !== undefined)(`tenants apart${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  const addresses = new Map<string, string[]>();
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("vpc-apart", { root });
    lab = await Lab.up(manifest, { root, executable });
    await apply(TENANTS.map(tenant).join(""));
    for (const name of TENANTS)
      for (const [pod, subnet] of Object.entries(PODS))
        await add(pod[0] as string, `${name}-${pod}`, `${name}-${subnet}`);
  });
  afterAll(async () => {
    await Lab.remove("vpc-apart", { root });
    rmSync(root, { recursive: true, force: true });
  });

  const apply = (text: string) => lab.causewayJson("hub", ["apply", "-f", "-"], text);
  const wait = (what: string, missing: () => Promise<string | undefined> | string | undefined) =>
    until(missing, { what, deadlineMs: DEADLINE_MS });

  async function add(node: string, pod: string, subnet: string, more: object = {}): Promise<void> {
    const config = {
      cniVersion: "1.0.0",
      name: subnet,
      type: "causeway",
      subnet,
      isDefaultGateway: true,
      ...more,
    };
    await lab.addPod(node, pod, [{ ifname: "net1", config }]);
    const { stdout } = await lab.exec(pod, ["ip", "-j", "addr", "show", "net1"]);
    const [link] = JSON.parse(stdout) as { addr_info: { scope: string; local: string }[] }[];
    const global = (link?.addr_info ?? []).filter(({ scope }) => scope === "global");
    addresses.set(
      pod,
      global.map(({ local }) => local),
    );
  }
  const addressOf = (pod: string, family: 4 | 6) =>
    addresses.get(pod)?.find((one) => one.includes(":") === (family === 6));

  async function pings(from: string, address: string, mark = "nobody's packet."): Promise<boolean> {
    const pattern = Buffer.from(mark).toString("hex");
    return (await lab.exec(from, ["ping", "-n", "-c1", "-W1", "-p", pattern, address])).status === 0;
  }
  const pinger = (from: string, address: string) =>
    new Pinger(`${from} → ${address}`, address, { command: (argv) => lab.command(from, argv) });
  const answers = (flow: Pinger, sinceMs = Date.now()) =>
    wait(`answers to ${flow.name}`, () => (flow.since(sinceMs) > 20 ? undefined : "none"));

  /** Pairs of a tenant's pod and an address that it is to reach: of another pod, and of a family that it has. */
  const pairsOf = (name: string) =>
    Object.keys(PODS).flatMap((from) =>
      Object.keys(PODS).flatMap((to) =>
        ([4, 6] as const).flatMap((family) => {
          const address = addressOf(`${name}-${to}`, family);
          const speaks = addressOf(`${name}-${from}`, family) !== undefined;
          return from === to || address === undefined || !speaks
            ? []
            : [[`${name}-${from}`, address] as const];
        }),
      ),
    );

  test("full matrix inside, over three Subnets and both families, and nothing across", async () => {
    for (const pod of Object.keys(PODS))
      expect(addresses.get(`red-${pod}`)).toEqual(addresses.get(`blue-${pod}`));
    // Red alone has somebody there.
    await add("a", "red-only", "red-both");
    const pods = lab.pods().map(({ name }) => name);
    const captures = await inParallel(pods, 4, async (pod) => ({
      pod,
      capture: await lab.capture(pod, "net1"),
    }));
    const wire = await lab.capture("wire");
    let count = 0;
    for (const name of TENANTS)
      await inParallel(pairsOf(name), 4, async ([from, address]) => {
        count++;
        await wait(`${from} to reach ${address}`, async () =>
          (await pings(from, address, markOf(name))) ? undefined : "no answer",
        );
      });
    // 3 pods with IPv4, and 4 with IPv6, of each tenant.
    expect(count).toBe(2 * (3 * 2 + 4 * 3));
    for (const address of addresses.get("red-only") ?? [])
      expect([address, await pings("blue-a", address, markOf("blue"))]).toEqual([address, false]);
    for (const { pod, capture } of captures) {
      const seen = [];
      for (const name of TENANTS) if ((await capture.stop(markOf(name))).markerSeen) seen.push(name);
      expect([pod, seen]).toEqual([pod, pod === "red-only" ? [] : [pod.split("-")[0] as string]]);
    }
    // In the tunnel nobody sees anything.
    for (const name of TENANTS) expect((await wire.stop(markOf(name))).markerSeen).toBe(false);
  });

  test("a rule that goes ends the flows that it allowed, and no other", async () => {
    const rule = (port: number) => `{ direction: ingress, protocol: udp, ports: [${port}] }`;
    const group = (...rules: string[]) =>
      apply(resource("SecurityGroup", "red-in", `vpc: red, rules: [${rules.join()}, { direction: egress }]`));
    const icmp = "{ direction: ingress, protocol: icmp }";
    await group(icmp, rule(7001), rule(7002));
    await add("a", "red-in", "red-both", { groups: ["red-in"] });
    const target = addressOf("red-in", 4) as string;
    await using flow = pinger("red-b", target);
    await answers(flow);
    using from = lab.netns("red-b");
    using netns = lab.netns("red-in");
    const counted = (port: number) => new CountedFlow(from, { netns, address: target, port, perSecond: 100 });
    using going = counted(7001);
    const staying = counted(7002);
    await wait("both flows", () => (going.received > 20 && staying.received > 20 ? undefined : "not yet"));
    await group(rule(7002));
    let before = -1;
    await wait("what was allowed to end", async () => {
      const [since, heard] = [Date.now(), staying.received];
      before = going.received;
      // The senders have their turns, however slow this machine is.
      await wait("the other flow", () => (staying.received > heard + 20 ? undefined : "still"));
      return going.received === before && flow.since(since) === 0 ? undefined : "goes on";
    });
    const { sent, lost } = await staying.stop();
    expect([sent > 50, lost]).toEqual([true, 0]);
    await group(icmp, rule(7002));
    await answers(flow);
    expect(going.received).toBe(before);
  });

  test("peered over IPv4 and IPv6, and not across", async () => {
    await apply(
      resource("VPC", "green", 'allow: { namespaces: ["*"] }') +
        resource("Subnet", "green-both", 'vpc: green, prefixes: [10.8.0.0/24, "fd00:8::/64"]') +
        resource("Peering", "red-green", "vpcs: [red, green]"),
    );
    await add("c", "green-c", "green-both");
    for (const [from, family] of [
      ["red-a", 4],
      ["red-a", 6],
      ["red-c", 4],
      ["red-b6", 6],
    ] as const) {
      const address = addressOf("green-c", family) as string;
      await wait(`${from} to reach ${address}`, async () =>
        (await pings(from, address)) ? undefined : "no answer",
      );
      const back = addressOf(from, family) as string;
      await wait(`green-c to reach ${back}`, async () =>
        (await pings("green-c", back)) ? undefined : "no answer",
      );
      expect(await pings(from.replace("red", "blue"), address)).toBe(false);
    }
  });

  test("a node is dead: its routes leave by BFD's word, and another one is the gateway, for IPv4 and IPv6", async () => {
    const [outside, inside] = [`203.0.113.200, "2001:db8::200"`, addresses.get("red-b") ?? []];
    await apply(
      resource(
        "NatGateway",
        "red-out",
        `vpc: red, nodes: { node: [c, b] }, externalAddresses: [${outside}]`,
      ) +
        resource("FloatingIP", "red-in4", `address: 203.0.113.201, gateway: red-out, target: ${inside[0]}`) +
        resource(
          "FloatingIP",
          "red-in6",
          `address: "2001:db8::201", gateway: red-out, target: "${inside[1]}"`,
        ),
    );
    await using stack = new AsyncDisposableStack();
    const flows = [
      ...WORLD.map((address) => stack.use(pinger("red-a", address))),
      ...["203.0.113.201", "2001:db8::201"].map((address) => stack.use(pinger("world", address))),
    ];
    for (const flow of flows) await answers(flow);
    const between = stack.use(pinger("red-a", addressOf("red-b", 4) as string));
    await answers(between);
    const hosts = async () =>
      (await lab.causewayJson<{ name: string; remote: { hosts: number } }[]>("a", ["vpc", "list"])).find(
        ({ name }) => name === "red",
      )?.remote.hosts;
    const known = (await hosts()) ?? 0;
    const deadMs = Date.now();
    // Not a word more, and nobody there who says that nobody is there.
    expect((await lab.exec("c", ["ip", "link", "set", "eth0", "down"])).status).toBe(0);
    await wait("the dead node's hosts to be forgotten", async () =>
      (await hosts()) === known - 2 ? undefined : `${await hosts()} of ${known}`,
    );
    console.log(`the dead node's routes were gone after ${Date.now() - deadMs} ms`);
    for (const flow of flows) await answers(flow);
    for (const flow of flows)
      console.log(`${flow.name}: longest gap ${Math.round(flow.longestGap(deadMs).gapMs)} ms`);
    expect(between.lost).toBe(0);
    const log = readFileSync(lab.place.agentLog("hub"), "utf8");
    expect(log.split("\n").filter((line) => line.includes("BFD says that the path is down"))).not.toEqual([]);
  });
});
