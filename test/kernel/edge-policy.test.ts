/** Rules of a VPC at the edge: what it takes from the fabric and gives there, seen by packets between pods of two nodes. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { LocalAttachment } from "../../src/domain/mod.ts";
import { mac, parseIp } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const underlay = (asn: number, index: number) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  routerIds: 10.0.1${index}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.1${index}.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.${index}/32]}
`;
const vpc = (name: string, vni: number, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec: {vni: ${vni}, underlay: {${more}}}
`;
const subnet = (name: string, vni: number, prefix: string) => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}}
spec: {vpc: ${name.split(".")[0]}, vni: ${vni}, prefixes: [${prefix}]}
`;

const A = (rules = "") => underlay(64514, 1) + vpc("red", 5100, rules) + subnet("red.a", 5110, "10.1.1.0/24");
const B = (rules = "") =>
  underlay(64524, 2) +
  vpc("red", 5100, rules) +
  subnet("red.b", 5120, "10.1.2.0/24") +
  subnet("red.c", 5130, "10.1.3.0/24");
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
    let serial = 0;
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
      from = await pod(a, { segment: 5110, address: "10.1.1.5" });
      await pod(b, { segment: 5120, address: "10.1.2.5" });
      await pod(b, { segment: 5130, address: "10.1.3.5" });
    });
    afterAll(() => lab?.[Symbol.asyncDispose]());

    async function pod(node: EdgeNode, { segment, address }: { segment: number; address: string }) {
      const netns = lab.scratch.another();
      lab.scratch.text("ip link set lo up", netns);
      const number = ++serial;
      const attachment: LocalAttachment = {
        ...{
          id: `pod${String(number).padStart(8, "0")}`,
          ifname: "eth0",
          mac: mac(0x0a58_0000_0000 + number),
        },
        ...{ domain: 5100, segment, addresses: [parseIp(address)], mtuBytes: 1500 },
        ...{ defaultRoute: true, groups: [] },
      };
      const place = node.edge.place(5100);
      place?.attach(attachment, netns);
      await until("the pod is up", async () => place?.missing(attachment, netns).length === 0);
      return netns;
    }
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
