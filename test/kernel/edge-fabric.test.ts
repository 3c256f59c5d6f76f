/** Two nodes' edges in a fabric of FRR, with FRR on the hosts as MetalLB runs it: routes of both sides, and packets with the addresses that they had. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Speaker, SpeakerNeighbor } from "../../src/bgp/mod.ts";
import { neighborStatus } from "../../src/bgp/speaker/show.ts";
import { run, runSync } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import {
  EdgeLab,
  edgeManifest,
  type EdgeNode,
  type EdgeSide as Side,
  hostSpeaker,
} from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

const A: Side = { asn: 64514, hostAsn: 64515, net: "192.169", tor: "192.168.11.2", vtep: "100.65.0.1" };
const B: Side = { asn: 64524, hostAsn: 64525, net: "192.170", tor: "192.168.12.2", vtep: "100.65.0.2" };
const [SERVICE_A, SERVICE_B] = ["10.99.0.1", "10.98.0.1"];

describe.skipIf(lacks !== undefined)(`edge in a fabric${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let lab: EdgeLab;
  let a: EdgeNode;
  let b: EdgeNode;
  let tor: Foreign;
  let hostA: Foreign;
  let server: { stop(): unknown };
  beforeAll(async () => {
    lab = new EdgeLab({ names: ["a", "b"], root: root as string });
    [a, b] = [lab.node("a"), lab.node("b")];
    a.text("ip route add 203.0.113.0/24 via 192.168.11.2 proto static metric 77");
    tor = await lab.fabric([A.asn, B.asn]);
    const begin = async (node: EdgeNode, side: Side, service: string) => {
      node.text(`ip address add ${service}/32 dev lo`);
      node.start();
      node.follow(edgeManifest(side));
      return await lab.frr(node.netns, hostSpeaker(side, `${service}/32`));
    };
    hostA = await begin(a, A, SERVICE_A);
    await begin(b, B, SERVICE_B);
    server = b.netns.run(() =>
      Bun.serve({
        ...{ hostname: SERVICE_B, port: 8080 },
        fetch: (request, listening) => new Response(listening.requestIP(request)?.address),
      }),
    );
  });
  afterAll(async () => {
    await server?.stop();
    await lab?.[Symbol.asyncDispose]();
  });

  const routesTo = (node: EdgeNode, prefix: string, inside?: string) =>
    node
      .text(`ip route show ${prefix}`, inside)
      .replaceAll(/ nhid \d+/g, "")
      .trim();
  const evpn = () => tor.ask("show bgp l2vpn evpn");
  const sayAtA = (line: string) =>
    hostA.ask("configure", "router bgp 64515", "address-family ipv4 unicast", line);
  const hasRoute = (node: EdgeNode, prefix: string) =>
    until(`the host of ${node.name} has ${prefix}`, async () => routesTo(node, prefix) !== "");
  const hasNone = (node: EdgeNode, prefix: string) =>
    until(`the host of ${node.name} has no ${prefix}`, async () => routesTo(node, prefix) === "");

  test("what a host announces reaches the other host, and packets keep their addresses", async () => {
    await hasRoute(a, SERVICE_B);
    await hasRoute(b, SERVICE_A);
    const address = async () => {
      const curl = ["curl", "-s", "--max-time", "3", "--interface", SERVICE_A, `http://${SERVICE_B}:8080/`];
      return (await run(curl, { netns: a.netns })).stdout;
    };
    let seen = "";
    await until("the service of b answers", async () => (seen = await address()) !== "");
    expect(seen).toBe(SERVICE_A);
  });

  test("tables of both sides: type 5 with the way that it came, and its next hop by the edge alone", async () => {
    await hasRoute(a, "198.51.100.0/24");
    await hasRoute(b, "198.51.100.0/24");
    expect(routesTo(a, SERVICE_B)).toMatch(/^10\.98\.0\.1 via 192\.169\.10\.1 dev cwh5100 proto bgp /);
    expect(routesTo(a, SERVICE_B, "cw-5100")).toBe(
      "10.98.0.1 via 100.65.0.2 dev br5100 proto 67 metric 1024 onlink",
    );
    expect(routesTo(a, SERVICE_A, "cw-5100")).toBe(
      "10.99.0.1 via 192.169.10.2 dev host0 proto bgp metric 186",
    );
    const table = evpn();
    for (const line of [
      /\[5\]:\[0\]:\[32\]:\[10\.99\.0\.1\]\n +100\.65\.0\.1 +0 64514 64515 i\n +RT:64514:5100 ET:8 Rmac:/,
      /\[5\]:\[0\]:\[32\]:\[10\.98\.0\.1\]\n +100\.65\.0\.2 +0 64524 64525 i\n +RT:64524:5100 ET:8 Rmac:/,
      /\[5\]:\[0\]:\[32\]:\[192\.169\.10\.2\]\n +100\.65\.0\.1 +0 64514 i/,
    ])
      expect(table).toMatch(line);
    const host = hostA.json("show bgp ipv4 unicast json") as {
      routes: Record<string, { path: string; nexthops: { ip: string }[] }[]>;
    };
    expect(host.routes["10.98.0.1/32"]?.[0]?.path).toBe("64514 64512 64524 64525");
    // A network that both announce by themselves.
    expect(host.routes["198.51.100.0/24"]?.[0]?.nexthops[0]?.ip).toBe("192.169.10.1");
  });

  test("a lookup that misses ends in the domain", () => {
    const fabric = "192.168.11.2";
    expect(a.text(`ip route get ${fabric}`, "cw-underlay")).toContain("dev eth1");
    a.text(`ip route add ${fabric} via 192.169.10.1`);
    const { stdout } = runSync(["ping", "-n", "-c", "1", "-W", "2", fabric], { netns: a.netns });
    a.text(`ip route del ${fabric}`);
    expect(stdout).toContain("From 192.169.10.1 icmp_seq=1 Destination Host Unreachable");
  });

  test("the same resources again change nothing, and a kernel that was changed is repaired", async () => {
    // What the kernel does in its own time, links' states and IPv6's looking for duplicates, is not of interest.
    const seen = () =>
      [undefined, "cw-underlay", "cw-5100"].flatMap((inside) =>
        ["ip -o link", "ip -o address", "ip route"].map((command) =>
          a.text(command, inside).replaceAll(/ state \w+|,(NO-CARRIER|LOWER_UP)| tentative| linkdown/g, ""),
        ),
      );
    const before = seen();
    a.follow(edgeManifest(A));
    expect(seen()).toEqual(before);
    a.text("ip address del 192.169.10.1/24 dev host0", "cw-5100");
    await until("the edge's address is there", async () =>
      a.text("ip -o address show dev host0", "cw-5100").includes("192.169.10.1/24"),
    );
    await hasRoute(a, SERVICE_B);
  });

  test("what the host takes back is gone everywhere, and comes again", async () => {
    sayAtA(`no network ${SERVICE_A}/32`);
    await hasNone(b, SERVICE_A);
    await until("the fabric has no route", async () => !evpn().includes(`[${SERVICE_A}]`));
    await until("the other node has none", async () => routesTo(b, SERVICE_A, "cw-5100") === "");
    sayAtA(`network ${SERVICE_A}/32`);
    await hasRoute(b, SERVICE_A);
  });

  test("a network that the edge announces by itself stays when the host has announced it too, and takes it back", async () => {
    const own = /\[5\]:\[0\]:\[24\]:\[198\.51\.100\.0\]\n +100\.65\.0\.1 +0 64514 i/;
    const fromHost = () => a.edge.status()[0]?.domains[0]?.fromHost ?? [];
    sayAtA("network 198.51.100.0/24");
    await until("the edge hears of it", async () => fromHost().includes("198.51.100.0/24"));
    sayAtA("no network 198.51.100.0/24");
    await until("the edge has lost it", async () => !fromHost().includes("198.51.100.0/24"));
    // What is said later arrives later.
    sayAtA("network 10.97.0.1/32");
    await hasRoute(b, "10.97.0.1");
    expect(evpn()).toMatch(own);
    sayAtA("no network 10.97.0.1/32");
    await hasNone(b, "10.97.0.1");
  });

  test("rules decide on the host's routes too, by their paths; a host session that comes late gets all that is known", async () => {
    const full = edgeManifest(A);
    const ruled = (rules: string) => a.follow(full.replace("underlay: {", `underlay: {${rules}, `));
    ruled("export: [{action: reject}]");
    await hasNone(b, SERVICE_A);
    await until("the fabric has nothing of it", async () => !evpn().includes("RT:64514:5100"));
    expect(routesTo(a, SERVICE_B, "cw-5100")).not.toBe("");
    ruled('export: [{match: {asPath: ["^64515$"]}, action: accept}]');
    await hasRoute(b, SERVICE_A);
    expect(evpn()).not.toMatch(/\[198\.51\.100\.0\]\n +100\.65\.0\.1 /);
    ruled("import: []");
    await hasNone(a, SERVICE_B);
    expect(routesTo(a, SERVICE_B, "cw-5100")).toBe("");
    expect(a.problems).toEqual([]);
    a.follow(full.replace(/\n {2}hostSession: .*/, ""));
    await until("the domain has the fabric's routes", async () => routesTo(a, SERVICE_B, "cw-5100") !== "");
    expect(routesTo(a, SERVICE_B)).toBe("");
    a.follow(full);
    await hasRoute(a, SERVICE_B);
    await hasRoute(b, SERVICE_A);
  });

  test("a host session's own rules decide what comes from the host and what it hears, and the session goes on", async () => {
    const full = edgeManifest(A);
    const only = (network: string) => `[{match: {prefix: ["${network} le 32"]}, action: accept}]`;
    const heard = () =>
      Object.keys((hostA.json("show bgp ipv4 unicast json") as { routes: object }).routes).sort();
    sayAtA("network 10.97.0.1/32");
    await hasRoute(b, "10.97.0.1");
    expect(heard()).toContain("198.51.100.0/24");
    a.logged.length = 0;
    const rules = `import: ${only("10.99.0.0/24")}, export: ${only("10.98.0.0/24")}`;
    a.follow(full.replace("hostSession: {", `hostSession: {${rules}, `));
    await hasNone(b, "10.97.0.1");
    await hasNone(a, "198.51.100.0/24");
    await until("the host hears of the one network alone", async () =>
      Bun.deepEquals(heard(), ["10.97.0.1/32", "10.98.0.1/32", "10.99.0.1/32"]),
    );
    expect(routesTo(a, "10.97.0.1", "cw-5100")).toBe("");
    expect(evpn()).not.toContain("[10.97.0.1]");
    expect(routesTo(b, SERVICE_A)).not.toBe("");
    const { stdout } = await run(["ping", "-n", "-c", "1", "-W", "2", "-I", SERVICE_A, SERVICE_B], {
      netns: a.netns,
    });
    expect(stdout).toContain("1 received");
    a.follow(full);
    await hasRoute(b, "10.97.0.1");
    await hasRoute(a, "198.51.100.0/24");
    expect(a.logged.filter((line) => line.includes("session is down"))).toEqual([]);
    sayAtA("no network 10.97.0.1/32");
    await hasNone(b, "10.97.0.1");
  });

  test("a host that announces more than maximumPrefixes: the session ends and says why, and a higher limit begins it anew", async () => {
    const limited = (most: number) =>
      a.follow(edgeManifest(A).replace("hostSession: {", `hostSession: {maximumPrefixes: ${most}, `));
    const speaker = () => a.routers.speaker("edge-underlay.5100") as Speaker;
    const status = () => neighborStatus(speaker(), speaker().neighbors[0] as SpeakerNeighbor);
    limited(1);
    await until("the session is up", async () => status().state === "established");
    await hasRoute(b, SERVICE_A);
    // FRR tells back what it was told, which counts as little as it does there.
    await until("the host tells more than one", async () => (status().families[0]?.received ?? 0) > 1);
    expect(status().state).toBe("established");
    sayAtA("network 10.97.0.1/32");
    await hasNone(b, SERVICE_A);
    await until("the fabric has neither", async () => !/\[10\.9[79]\.0\.1\]/.test(evpn()));
    expect(routesTo(a, SERVICE_A, "cw-5100")).toBe("");
    expect(status().state).not.toBe("established");
    expect(status().lastError).toContain("more than the maximum of ipv4-unicast routes: 2");
    expect(a.edge.status()[0]?.domains[0]?.fromHost).toEqual([]);
    expect(a.edge.status()[0]?.problems).toEqual([
      expect.stringMatching(
        /^VPC "red": the session with 192\.169\.10\.2 has ended: more than the maximum of ipv4-unicast routes: 2; raise maximumPrefixes/,
      ),
    ]);
    const { "192.169.10.1": seen } = hostA.json("show bgp neighbors 192.169.10.1 json");
    expect(seen.lastNotificationReason).toMatch(/Maximum Number of Prefixes/i);
    // The fabric's own announcements do not depend on the host.
    expect(evpn()).toMatch(/\[198\.51\.100\.0\]\n +100\.65\.0\.1 /);
    limited(2);
    await hasRoute(b, SERVICE_A);
    expect(a.edge.status()[0]?.problems).toEqual([]);
    await hasRoute(b, "10.97.0.1");
    sayAtA("no network 10.97.0.1/32");
    a.follow(edgeManifest(A));
    await hasNone(b, "10.97.0.1");
    await hasRoute(b, SERVICE_A);
    await hasRoute(a, SERVICE_B);
  });

  test("a domain that goes takes all that is its own, and nothing else", async () => {
    a.follow(edgeManifest(A).split("---")[0] as string);
    await hasNone(b, SERVICE_A);
    expect(a.text("ip -br link")).not.toContain("cwh5100");
    expect(() => a.text("ip link", "cw-5100")).toThrow();
    expect(routesTo(a, B.vtep, "cw-underlay")).toContain("via 192.168.11.2 dev eth1 proto bgp");
  });

  test("without an Underlay the link is the host's again, as it was", () => {
    expect(a.text("ip -br link")).not.toContain("eth1");
    a.follow("");
    expect(a.problems).toEqual([]);
    // Its state the kernel sees a moment later.
    expect(a.text("ip -br address show dev eth1")).toMatch(/^eth1\S* +\w+ +192\.168\.11\.3\/24/);
    expect(a.text("ip -o link show dev eth1 up")).toContain("eth1");
    expect(routesTo(a, "203.0.113.0/24")).toBe(
      "203.0.113.0/24 via 192.168.11.2 dev eth1 proto static metric 77",
    );
    expect(a.text("ip -o link show dev eth1")).toContain("mtu 1600");
    expect(a.text("ip -o link show dev eth1")).not.toContain("alias");
    expect(() => a.text("ip link", "cw-underlay")).toThrow();
  });
});
