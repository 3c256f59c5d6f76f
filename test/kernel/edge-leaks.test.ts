/**
 * Leaks between VPCs at the edge: routes in one direction, packets where both have them, nothing of what is not named, and nothing through a third.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Netns } from "../../src/sys/mod.ts";
import { pings } from "../support/domain-lab.ts";
import { attachPod, subnetText, underlayText, vpcText } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const SERVICES = 'leaks: [{from: shared, prefixes: ["10.9.0.0/16 le 32"]}]';
const CLIENTS = "leaks: [{from: red}]";

const HOST = `  hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24], connectRetry: 1s}
`;
/** What runs on a's host announces it. */
const SERVICE = "10.99.0.1";

/** Node a: a pod in each of them; blue has red's addresses. */
const A = (red = "", shared = "") =>
  [
    underlayText(64514, 1) + vpcText("red", 5100, red) + HOST + subnetText("red.a", 5110, "10.1.1.0/24"),
    vpcText("shared", 5200, shared) + subnetText("shared.a", 5210, "10.9.1.0/24"),
    subnetText("shared.c", 5230, "10.8.0.0/24"),
    vpcText("blue", 5300) + subnetText("blue.a", 5310, "10.1.1.0/24"),
  ].join("");
/** Node b: more of shared, and red as the way back. */
const B =
  underlayText(64524, 2) +
  vpcText("red", 5100, SERVICES) +
  subnetText("red.b", 5120, "10.1.2.0/24") +
  vpcText("shared", 5200, CLIENTS) +
  subnetText("shared.b", 5220, "10.9.2.0/24");

/** Watches the IPv4 routes of a domain, until it is asked which went. */
function deletedRoutes(node: EdgeNode, domain: string): () => Promise<string[]> {
  using netns = Netns.open(`${node.folder}/netns/${domain}`);
  const monitor = netns.run(() =>
    Bun.spawn(["ip", "-4", "monitor", "route"], { stdout: "pipe", stderr: "ignore" }),
  );
  const output = new Response(monitor.stdout).text();
  return async () => {
    monitor.kill();
    return (await output).split("\n").filter((line) => line.startsWith("Deleted"));
  };
}

/** Pings again and again, until it is asked which were not answered; the last one may be on its way. */
function lostPings(from: Netns, to: string): () => Promise<number[]> {
  const ping = from.run(() =>
    Bun.spawn(["ping", "-n", "-i", "0.05", to], { stdout: "pipe", stderr: "ignore" }),
  );
  const output = new Response(ping.stdout).text();
  return async () => {
    ping.kill("SIGINT");
    const seen = [...(await output).matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number));
    const answered = new Set(seen);
    const last = Math.max(0, ...seen);
    return Array.from({ length: last }, (_, i) => i + 1).filter((number) => !answered.has(number));
  };
}

describe.skipIf(notRoot !== undefined)(
  `leaks of VPCs in a fabric${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let [red, shared, blue]: Netns[] = [];
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"] });
      [a, b] = [lab.node("a"), lab.node("b")];
      lab.ours([64514, 64524]);
      a.start();
      a.follow(A());
      b.start();
      b.follow(B);
      a.text(`ip address add ${SERVICE}/32 dev lo`);
      const neighbors = [
        { address: "192.169.10.1", asn: 64514, connectRetry: "1s", families: { "ipv4-unicast": {} } },
      ];
      lab.speaker("host", a.netns, {
        asn: 64515,
        routerId: "10.0.2.1",
        networks: [`${SERVICE}/32`],
        neighbors,
      });
      red = await attachPod(lab, a, { domain: 5100, segment: 5110, addresses: ["10.1.1.5"] });
      shared = await attachPod(lab, a, { domain: 5200, segment: 5210, addresses: ["10.9.1.5"] });
      await attachPod(lab, a, { domain: 5200, segment: 5230, addresses: ["10.8.0.5"] });
      await attachPod(lab, b, { domain: 5200, segment: 5220, addresses: ["10.9.2.5"] });
      blue = await attachPod(lab, a, { domain: 5300, segment: 5310, addresses: ["10.1.1.5"] });
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    const reaches = (from: Netns | undefined, address: string) =>
      until(`${address} answers`, async () => pings(from as Netns, address));
    const misses = (from: Netns | undefined, address: string) =>
      expect([address, pings(from as Netns, address)]).toEqual([address, false]);
    const routes = (network: string, domain = "cw-5100") =>
      a.text(`ip route show exact ${network}`, domain).trim();
    const known = (network: string, wanted: boolean, domain?: string) =>
      until(
        `${network} is ${wanted ? "" : "not "}known`,
        async () => (routes(network, domain) !== "") === wanted,
      );

    test("one direction: routes of what is named, of this node and of others, and none back", async () => {
      misses(red, "10.9.1.5");
      a.follow(A(SERVICES));
      await known("10.9.1.0/24", true);
      await known("10.9.2.0/24", true);
      expect(routes("10.9.1.0/24")).toContain("via 169.254.0.1 dev cwp5200");
      expect(routes("10.8.0.0/24")).toBe("");
      expect(routes("10.1.1.0/24", "cw-5200")).toBe("");
      misses(red, "10.9.1.5");
      misses(shared, "10.1.1.5");
    });

    test("both directions: packets pass, to the same node and across the fabric", async () => {
      a.follow(A(SERVICES, CLIENTS));
      await reaches(red, "10.9.1.5");
      await reaches(shared, "10.1.1.5");
      await reaches(red, "10.9.2.5");
      misses(red, "10.8.0.5");
      // Neither another VPC with the same addresses, nor the routers behind the links.
      misses(blue, "10.9.1.5");
      misses(red, "10.9.1.1");
    });

    test("a VPC without a network to announce, by which answers are lost, is told of until it has one", async () => {
      const without = B.replace(subnetText("red.b", 5120, "10.1.2.0/24"), "");
      b.follow(without);
      await until("answers are lost", async () => !pings(red as Netns, "10.9.2.5"));
      const notes = () => b.edge.status()[0]?.problems;
      expect(notes()).toEqual([
        expect.stringMatching(
          /^VPC "red": spec.underlay.leaks: this node has no network of it to announce, /,
        ),
      ]);
      b.follow(without.replace(SERVICES, `${SERVICES}, announce: [192.0.2.64/28]`));
      await reaches(red, "10.9.2.5");
      expect(notes()).toEqual([]);
      b.follow(B);
      await reaches(red, "10.9.2.5");
    });

    test("a VPC's host hears of what its VPC has by a leak, and its own routes are given too", async () => {
      await until("the host has the route", async () =>
        a.text("ip route show exact 10.9.1.0/24").includes("via 192.169.10.1 dev cwh5100"),
      );
      expect(a.text("ip route show exact 10.8.0.0/24")).toBe("");
      await reaches(shared, SERVICE);
      a.follow(A(SERVICES));
      await known(`${SERVICE}/32`, false, "cw-5200");
      misses(shared, SERVICE);
      a.follow(A(SERVICES, CLIENTS));
      await reaches(shared, SERVICE);
    });

    test("a VPC of which a rule on paths lets only its host's routes out has something to announce", async () => {
      a.follow(A(`${SERVICES}, export: [{match: {asPath: ["^64515$"]}, action: accept}]`, CLIENTS));
      const hears = (network: string) => b.text(`ip route show exact ${network}`, "cw-5100") !== "";
      await until("b has the host's route alone", async () => hears(SERVICE) && !hears("10.1.1.0/24"));
      expect(a.edge.status()[0]?.problems).toEqual([]);
      a.follow(A(SERVICES, CLIENTS));
      await until("b has the Subnet's too", async () => hears("10.1.1.0/24"));
    });

    test("a network that is given opens nothing more of what is inside it", async () => {
      const routed = "routes: [{prefix: 10.0.0.0/8, discard: true}]";
      const wide = 'leaks: [{from: shared, prefixes: ["10.0.0.0/8", "10.9.0.0/16 le 32"]}]';
      a.follow(A(wide, `${CLIENTS}, ${routed}`));
      await known("10.0.0.0/8", true);
      misses(red, "10.8.0.5");
      await reaches(red, "10.9.1.5");
      a.follow(A(SERVICES, CLIENTS));
      await known("10.0.0.0/8", false);
    });

    test("an agent that begins anew keeps what was there until it has heard of all", async () => {
      const places = [5100, 5200, 5300].flatMap((vni) => a.edge.place(vni)?.attachments(vni) ?? []);
      const before = ["cw-5100", "cw-5200"].map((domain) => a.text("ip -d route", domain));
      a.attached = places;
      const gone = ["cw-5100", "cw-5200"].map((domain) => deletedRoutes(a, domain));
      const lost = lostPings(red as Netns, "10.9.1.5");
      // Nobody is told, nothing is taken down: as by kill -9, and as an agent does that is told to end.
      a.stop();
      expect(pings(red as Netns, "10.9.2.5")).toBe(true);
      a.start();
      a.follow(A(SERVICES, CLIENTS));
      expect(pings(red as Netns, "10.9.1.5")).toBe(true);
      expect(pings(red as Netns, "10.9.2.5")).toBe(true);
      expect(["cw-5100", "cw-5200"].map((domain) => a.text("ip -d route", domain))).toEqual(before);
      // Its session is the next agent's.
      await until(
        "the host is told again",
        async () => a.edge.status()[0]?.domains[0]?.fromHost.length === 1,
      );
      await until("the host has the route", async () =>
        a.text("ip route show exact 10.9.1.0/24").includes("via 192.169.10.1 dev cwh5100"),
      );
      expect(await lost()).toEqual([]);
      for (const deleted of gone) expect(await deleted()).toEqual([]);
    });

    test("a leak that goes takes its routes and its link along", async () => {
      b.follow(B.replace(CLIENTS, ""));
      await until("the way back is gone", async () => !pings(red as Netns, "10.9.2.5"));
      b.follow(B.replace(CLIENTS, "").replace(SERVICES, ""));
      await until("the link is gone", async () => !b.text("ip -br link", "cw-5200").includes("cwp5100@"));
      expect(b.text("nft list ruleset", "cw-5200")).not.toContain("leaks_forward");
      expect([...a.problems, ...b.problems]).toEqual([]);
    });
  },
);
