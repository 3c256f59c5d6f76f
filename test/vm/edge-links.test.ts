/** Links of a router that are made of others, of kinds that not every kernel has: bonds, whose members are given back as they were, and ipvlan and VLAN links. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lacksKind } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const underlay = (made: string, addresses = ", addresses: [192.168.11.3/24]") => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: fabric0, ${made}${addresses}}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
`;
const titled = (title: string, lack: string | undefined) =>
  `${title}${lack === undefined ? "" : ` (${lack})`}`;

const noBond = lacksKind({ name: "x", type: "bond", mode: "active-backup" });
const noIpvlan = lacksKind({ name: "x", type: "ipvlan", parent: 0, mode: "l2" });
const noVlan = lacksKind({ name: "x", type: "vlan", parent: 0, vlanId: 7 });

/** Where Debian has it (containernetworking-plugins). */
const PLUGIN = "/usr/lib/cni/ipvlan";
const noPlugin =
  noIpvlan ?? (existsSync(PLUGIN) ? undefined : "containernetworking-plugins is not installed");

describe("links of an edge that are made of others", () => {
  let lab: EdgeLab;
  let node: EdgeNode;
  const fabric = (command: string) => lab.scratch.text(command);
  beforeEach(() => {
    lab = new EdgeLab({ names: ["a"] });
    node = lab.node("a");
    node.text("ip address flush dev eth1");
    node.start();
  });
  afterEach(() => lab?.[Symbol.asyncDispose]());

  const isKnown = () =>
    until("the fabric has the tunnel endpoint", async () =>
      fabric("ip route show 100.65.0.1").includes("via 192.168.11.3"),
    );
  /** The kernel frees links of a namespace that is gone a moment later. */
  const isOver = async () => {
    node.follow("");
    expect(node.problems).toEqual([]);
    await until("what was made is gone", async () => !node.text("ip -br link").includes("fabric0"));
  };

  test.skipIf(noBond !== undefined)(
    titled("a bond goes on by its other member, and both come back as they were", noBond),
    async () => {
      node.text(`ip link add eth2 mtu 1600 type veth peer name to-a2 netns ${lab.scratch.netns.path}`);
      node.text("ip address add 192.0.2.7/24 dev eth2");
      node.text("ip link set eth2 up");
      for (const command of [
        "address flush dev to-a",
        "link add tor type bridge",
        "link set to-a master tor",
        "link set to-a2 master tor",
        "link set to-a2 up",
        "link set tor up",
        "address add 192.168.11.2/24 dev tor",
      ])
        fabric(`ip ${command}`);
      const asItWas = () =>
        ["eth1", "eth2"].map((name) => [
          /link\/ether \S+/.exec(node.text(`ip -o link show dev ${name}`))?.[0],
          /inet [^ ]+/.exec(node.text(`ip -o -4 address show dev ${name}`).padEnd(1))?.[0],
        ]);
      const before = asItWas();
      const wanted = underlay("bond: {members: [eth1, eth2], mode: active-backup}");
      node.follow(wanted);
      expect(node.problems).toEqual([]);
      lab.ours([64514]);
      await isKnown();
      const made = node.text("ip -d -o link show master fabric0", "cw-underlay");
      expect(made).toMatch(/eth1.*\n.*eth2/);
      expect(node.text("ip -d -o link show dev fabric0", "cw-underlay")).toMatch(
        /bond mode active-backup .*miimon 100 /,
      );
      node.stop();
      node.start();
      node.follow(wanted);
      expect(node.text("ip -d -o link show master fabric0", "cw-underlay")).toBe(made);
      const active = /active_slave (\S+)/.exec(
        node.text("ip -d -o link show dev fabric0", "cw-underlay"),
      )?.[1];
      fabric(`ip link set ${active === "eth2" ? "to-a2" : "to-a"} down`);
      await until("the other member is used", async () =>
        pings(lab.scratch.netns, "192.168.11.3", "-c 1 -W 1"),
      );
      await isOver();
      expect(asItWas()).toEqual(before);
      expect(node.text("ip -br link show dev eth2")).toContain("eth2");
    },
  );

  test.skipIf(noIpvlan !== undefined)(
    titled("an ipvlan link has its parent's Ethernet address, and the parent stays", noIpvlan),
    async () => {
      node.follow(underlay("ipvlan: {parent: eth1, mode: l2}"));
      expect(node.problems).toEqual([]);
      lab.ours([64514]);
      await isKnown();
      expect(node.text("ip -d -o link show dev fabric0", "cw-underlay")).toMatch(/ipvlan +mode l2 /);
      await isOver();
      expect(node.text("ip -br link")).toContain("eth1");
    },
  );

  test.skipIf(noPlugin !== undefined)(
    titled(
      "an ipvlan link by the CNI plugin stays over a restart, is made again when it is spoilt, and goes",
      noPlugin,
    ),
    async () => {
      const ipam = { type: "static", addresses: [{ address: "192.168.11.3/24" }] };
      const plugins = [{ type: "ipvlan", master: "eth1", mode: "l2", ipam }];
      const config = JSON.stringify({ cniVersion: "1.0.0", name: "fabric", plugins });
      const wanted = underlay(`cni: {config: ${config}}`, "");
      const shown = () => node.text("ip -d -o link show dev fabric0", "cw-underlay");
      const isWell = () =>
        until("plugins say that all is well", async () => node.edge.status()[0]?.problems.length === 0);
      node.follow(wanted);
      lab.ours([64514]);
      await isKnown();
      await isWell();
      const made = shown();
      expect(made).toMatch(/ipvlan +mode l2 /);
      node.stop();
      node.start();
      node.follow(wanted);
      await isWell();
      expect(shown()).toBe(made);
      expect(node.problems).toEqual([]);
      node.text("ip address del 192.168.11.3/24 dev fabric0", "cw-underlay");
      await until("it is told", async () =>
        node.problems.some((one) => one.includes("plugin ipvlan has refused CHECK: ")),
      );
      await isWell();
      expect(node.text("ip -br address show dev fabric0", "cw-underlay")).toContain("192.168.11.3/24");
      node.follow("");
      await until("what was made is gone", async () => !existsSync(`${node.folder}/edge-chains.json`));
      expect(node.text("ip -br link")).toContain("eth1");
    },
  );

  test.skipIf(noVlan !== undefined)(titled("a VLAN link", noVlan), async () => {
    fabric("ip address flush dev to-a");
    fabric("ip link add link to-a name vlan7 type vlan id 7");
    fabric("ip address add 192.168.11.2/24 dev vlan7");
    fabric("ip link set vlan7 up");
    node.follow(underlay("vlan: {parent: eth1, id: 7}"));
    lab.ours([64514]);
    await isKnown();
    await isOver();
  });
});
