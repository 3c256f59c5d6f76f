/** What the kernel refuses of one domain of a router: nothing half made of it stays, all others go on, it is told by its name, and it comes by itself when the cause has gone. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { createNetns, removeNetns } from "../../src/sys/mod.ts";
import { failedResources } from "../../src/agent/edge-told.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const vpc = (name: string, vni: number) => `
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec:
  vni: ${vni}
  underlay: {}
  hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.${vni - 5000}.10.0/24], connectRetry: 1s}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}.web}
spec: {vpc: ${name}, vni: ${vni + 10}, prefixes: [10.1.0.0/24], hostBridge: {}}
`;
const UNDERLAY = `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
`;
const BLUE = vpc("blue", 5200);
const BOTH = UNDERLAY + vpc("red", 5100) + BLUE;

describe.skipIf(notRoot !== undefined)(
  `what the kernel refuses of one domain${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      lab.ours([64514]);
      node.start();
      node.follow(UNDERLAY + BLUE);
      expect(node.problems).toEqual([]);
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    const hasNamespace = (name: string) => existsSync(`${node.folder}/netns/${name}`);
    const links = (inside?: string) =>
      [...node.text("ip -o link show", inside).matchAll(/^\d+: ([^@:]+)/gm)].map(([, name]) => name);
    const failed = () =>
      failedResources({
        routers: node.edge.status(),
        resources: node.edge.resources,
        problems: node.edge.problems(),
      });
    const is = (kind: string, name: string, message: string) => ({
      ...{ kind, name, reason: "failed" as const, message: expect.stringContaining(message) },
    });
    const isBlueWhole = () => {
      expect(links("cw-5200").sort()).toEqual([
        "br5200",
        "br5210",
        "host0",
        "host5210",
        "lo",
        "vx5200",
        "vx5210",
      ]);
      expect(links()).toContain("cwh5200");
      expect(node.text("ip -br link show dev vx5200", "cw-5200")).not.toContain("DOWN");
    };
    /** It is told once, however often it is tried. */
    const comes = async () => {
      await until(
        "red is there",
        async () => hasNamespace("cw-5100") && links("cw-5100").includes("vx5110") && failed().length === 0,
      );
      expect(new Set(node.problems).size).toBe(node.problems.length);
    };

    test("a VXLAN link of somebody else has the domain's VNI and port", async () => {
      node.text("ip link add other type vxlan id 5100 dstport 4789 local 100.65.0.1", "cw-underlay");
      node.follow(BOTH);
      expect(failed()).toEqual([
        is("VPC", "red", "Cannot make domain of red: Cannot add vxlan link vx5100: "),
      ]);
      expect(hasNamespace("cw-5100")).toBe(false);
      expect(links().filter((name) => name?.includes("51"))).toEqual([]);
      isBlueWhole();
      node.text("ip link del other", "cw-underlay");
      await comes();
    });

    test("… that of a Subnet of it", async () => {
      node.text("ip link add other type vxlan id 5110 dstport 4789 local 100.65.0.1", "cw-underlay");
      node.follow(BOTH);
      expect(failed()).toEqual([
        is("Subnet", "red.web", "Cannot make segment/5110 of red: Cannot add vxlan link vx5110: "),
      ]);
      expect(links("cw-5100").sort()).toEqual(["br5100", "host0", "lo", "vx5100"]);
      expect(links().filter((name) => name?.includes("51"))).toEqual(["cwh5100"]);
      isBlueWhole();
      node.text("ip link del other", "cw-underlay");
      await comes();
    });

    test("a namespace of somebody else has the domain's name", async () => {
      createNetns(`${node.folder}/netns/cw-5100`);
      node.text("ip link set lo up", "cw-5100");
      node.follow(BOTH);
      expect(failed()).toEqual([is("VPC", "red", "Cannot make namespace cw-5100: somebody else has one")]);
      expect(links("cw-5100")).toEqual(["lo"]);
      expect(links().filter((name) => name?.includes("51"))).toEqual([]);
      isBlueWhole();
      removeNetns(`${node.folder}/netns/cw-5100`);
      await comes();
    });

    test("a link of the host has the name of the domain's", async () => {
      node.text("ip link add cwh5100 type veth peer name other");
      node.follow(BOTH);
      expect(failed()[0]).toEqual(is("VPC", "red", "link host0: Cannot add veth link host0: already exists"));
      expect(node.text("ip -d -o link show dev cwh5100")).toContain("cwh5100@other");
      isBlueWhole();
      node.text("ip link del cwh5100");
      await comes();
    });
  },
);
