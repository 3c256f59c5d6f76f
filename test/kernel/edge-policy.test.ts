/** Rules of a VPC at the edge: what it takes from the fabric and gives there, seen by packets between pods of two nodes. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { pings } from "../support/domain-lab.ts";
import { attachPod, subnetText, underlayText, vpcText } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const A = (rules = "") =>
  underlayText(64514, 1) + vpcText("red", 5100, rules) + subnetText("red.a", 5110, "10.1.1.0/24");
const B = (rules = "") =>
  underlayText(64524, 2) +
  vpcText("red", 5100, rules) +
  subnetText("red.b", 5120, "10.1.2.0/24") +
  subnetText("red.c", 5130, "10.1.3.0/24");
/** All but that network, and what is in it. */
const without = (prefix: string) =>
  `[{match: {prefix: ["${prefix} le 32"]}, action: reject}, {action: accept}]`;

describe.skipIf(notRoot !== undefined)(
  `rules of VPCs in a fabric${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let from: Netns;
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"] });
      [a, b] = [lab.node("a"), lab.node("b")];
      lab.ours([64514, 64524]);
      for (const [node, text] of [
        [a, A()],
        [b, B()],
      ] as const) {
        node.start();
        node.follow(text);
      }
      from = await pod(a, { segment: 5110, addresses: ["10.1.1.5"] });
      await pod(b, { segment: 5120, addresses: ["10.1.2.5"] });
      await pod(b, { segment: 5130, addresses: ["10.1.3.5"] });
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    const pod = (node: EdgeNode, where: { segment: number; addresses: readonly string[] }) =>
      attachPod(lab, node, { domain: 5100, ...where });
    const reaches = (address: string) => until(`${address} answers`, async () => pings(from, address));
    /** Routes of a's domain to a network of b, or to addresses in it. */
    const routes = (network: string) => a.text(`ip route show root ${network}`, "cw-5100").trim();
    const known = (network: string, wanted: boolean) =>
      until(`${network} is ${wanted ? "" : "not "}known`, async () => (routes(network) !== "") === wanted);

    test("without rules everything is reached", async () => {
      await reaches("10.1.2.5");
      await reaches("10.1.3.5");
    });

    test("import: what a rule rejects is not reached, and has no route; the rest goes on", async () => {
      a.follow(A(`import: ${without("10.1.3.0/24")}`));
      await known("10.1.3.0/24", false);
      expect(pings(from, "10.1.3.5")).toBe(false);
      expect(pings(from, "10.1.2.5")).toBe(true);
      // An agent that begins anew takes nothing more.
      a.attached = a.edge.place(5100)?.attachments(5100) ?? [];
      a.stop();
      a.start();
      a.follow(A(`import: ${without("10.1.3.0/24")}`));
      await until(
        "a's session is up",
        async () => (a.edge.status()[0]?.domains[0]?.remote.prefixes ?? 0) > 0,
      );
      await reaches("10.1.2.5");
      expect(routes("10.1.3.0/24")).toBe("");
    });

    test("a rule that is taken away lets in what was there all the time", async () => {
      a.follow(A());
      await reaches("10.1.3.5");
    });

    test("export: what a rule rejects nobody else hears of, neither the network nor addresses in it", async () => {
      b.follow(B(`export: ${without("10.1.2.0/24")}`));
      await known("10.1.2.0/24", false);
      expect(pings(from, "10.1.2.5")).toBe(false);
      expect(pings(from, "10.1.3.5")).toBe(true);
      b.follow(B("export: []"));
      await known("10.1.3.0/24", false);
      expect(pings(from, "10.1.3.5")).toBe(false);
      b.follow(B("export: [{action: accept}]"));
      await reaches("10.1.2.5");
      await reaches("10.1.3.5");
      expect([...a.problems, ...b.problems]).toEqual([]);
    });
  },
);
