/** An agent with an edge ends as by kill -9, and another begins: packets go on between the hosts, and nobody is told that anything went. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Netns } from "../../src/sys/mod.ts";
import { foreignRoot } from "../support/bgp-foreign.ts";
import { EdgeLab, edgeManifest, type EdgeNode, type EdgeSide, hostSpeaker } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

const A: EdgeSide = {
  ...{ asn: 64514, hostAsn: 64515, net: "192.169" },
  ...{ tor: "192.168.11.2", vtep: "100.65.0.1" },
};
const B: EdgeSide = {
  ...{ asn: 64524, hostAsn: 64525, net: "192.170" },
  ...{ tor: "192.168.12.2", vtep: "100.65.0.2" },
};
const [SERVICE_A, SERVICE_B] = ["10.99.0.1", "10.98.0.1"];
/** Of b, in another VPC, that a's host has by a leak. */
const LEAKED = "203.0.113.0/24";
const MANIFEST_A = `${edgeManifest(A).replace("{announce:", "{leaks: [{from: blue}], announce:")}---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: blue}
spec: {vni: 5200, underlay: {}}
`;
const MANIFEST_B = `${edgeManifest(B)}---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: blue}
spec: {vni: 5200, underlay: {announce: [${LEAKED}]}}
`;

/** Writes every change of a namespace's IPv4 routes down, until it is asked what went. */
function watched(netns: Netns): () => Promise<string[]> {
  const monitor = netns.run(() =>
    Bun.spawn(["ip", "-4", "monitor", "route"], { stdout: "pipe", stderr: "ignore" }),
  );
  const output = new Response(monitor.stdout).text();
  return async () => {
    monitor.kill();
    return (await output).split("\n").filter((line) => line.startsWith("Deleted"));
  };
}

describe.skipIf(lacks !== undefined)(`restart of an edge${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let lab: EdgeLab;
  let a: EdgeNode;
  let b: EdgeNode;
  beforeAll(async () => {
    lab = new EdgeLab({ names: ["a", "b"], root: root as string });
    [a, b] = [lab.node("a"), lab.node("b")];
    lab.ours([A.asn, B.asn]);
    for (const [node, side, manifest, service] of [
      [a, A, MANIFEST_A, SERVICE_A],
      [b, B, MANIFEST_B, SERVICE_B],
    ] as const) {
      node.text(`ip address add ${service}/32 dev lo`);
      node.start();
      node.follow(manifest);
      await lab.frr(node.netns, hostSpeaker(side, `${service}/32`));
    }
    const has = (node: EdgeNode, prefix: string) =>
      until(
        `the host of ${node.name} has ${prefix}`,
        async () => node.text(`ip route show ${prefix}`) !== "",
      );
    await has(a, SERVICE_B);
    await has(a, LEAKED);
    await has(b, SERVICE_A);
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  test("no packet is lost, and no route goes on either host or in the other node's domain", async () => {
    using domain = Netns.open(`${b.folder}/netns/cw-5100`);
    const gone = [watched(a.netns), watched(b.netns), watched(domain)];
    const ping = a.netns.run(() =>
      Bun.spawn(["ping", "-n", "-i", "0.02", "-I", SERVICE_A, SERVICE_B], {
        stdout: "pipe",
        stderr: "ignore",
      }),
    );
    const output = new Response(ping.stdout).text();
    a.logged.length = 0;
    try {
      await Bun.sleep(100);
      a.stop();
      await Bun.sleep(500);
      a.start();
      a.follow(MANIFEST_A);
      await until("both sessions are up", async () => {
        return a.logged.filter((line) => line.startsWith("bgp session is up")).length >= 2;
      });
      await until("the host's route is known", async () => {
        return a.edge.status()[0]?.domains[0]?.fromHost.includes(`${SERVICE_A}/32`) === true;
      });
      await until("the fabric's routes are known", async () => {
        return (a.edge.status()[0]?.domains[0]?.remote.prefixes ?? 0) >= 2;
      });
    } finally {
      ping.kill("SIGINT");
      await ping.exited;
    }
    const seen = [...(await output).matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number));
    expect(seen.length).toBeGreaterThan(20);
    // All that came came in order: the last one may have been on its way.
    expect(seen).toEqual(seen.map((_, i) => i + 1));
    for (const deleted of gone) expect(await deleted()).toEqual([]);
    expect(a.problems).toEqual([]);
  });

  test("no route goes on the host where the fabric is silent until long after it", async () => {
    const gone = watched(a.netns);
    a.stop();
    // The fabric's router is called in vain.
    lab.scratch.text("nft add table ip silent");
    lab.scratch.text("nft add chain ip silent in { type filter hook input priority 0; }");
    for (const port of ["sport", "dport"])
      lab.scratch.text(`nft add rule ip silent in iifname to-a tcp ${port} 179 drop`);
    a.logged.length = 0;
    a.start();
    a.follow(MANIFEST_A);
    await until("the host's session is up", async () => {
      return a.logged.some((line) => line.startsWith("bgp session is up"));
    });
    // What the host would forget by now.
    await Bun.sleep(2_000);
    expect(a.edge.status()[0]?.domains[0]?.remote.prefixes).toBe(0);
    lab.scratch.text("nft delete table ip silent");
    await until("the fabric's routes are known", async () => {
      return (a.edge.status()[0]?.domains[0]?.remote.prefixes ?? 0) >= 2;
    });
    await until("the host's route is known", async () => {
      return a.edge.status()[0]?.domains[0]?.fromHost.includes(`${SERVICE_A}/32`) === true;
    });
    // What it was not told before it was told that this is all.
    await Bun.sleep(1_000);
    expect(await gone()).toEqual([]);
  });
});
