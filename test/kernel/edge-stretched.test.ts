/**
 * What becomes of a stretched Subnet: while the router's program is away, after somebody deleted the router's namespaces, and of machines that say
 * nothing. CAUSEWAY_LONG=1 waits for one that says nothing for 95 s.
 */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Netns, removeNetns } from "../../src/sys/mod.ts";
import { foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { EdgeLab, type EdgeNode, evpnPaths } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { lostPings } from "../support/lost-pings.ts";

setDefaultTimeout(180_000);
const { root, lacks } = foreignRoot("frr");

/** For so long a machine says nothing. */
const SILENT_MS = 95_000;
/** So long its bridge remembers it, in hundredths of a second. The router asks every 30 s. */
const REMEMBERED = 4_000;
const short = process.env["CAUSEWAY_LONG"] === undefined ? " (skipped: takes 100 s; CAUSEWAY_LONG=1)" : "";

const manifest = (asn: number, tor: string, vtep: string, network: string) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  links: [{name: eth1}]
  neighbors: [{address: ${tor}, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [${vtep}/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {announce: [${network}]}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24, "2001:db8:1::/64"], hostBridge: {}}
`;
const A = manifest(64514, "192.168.11.2", "100.65.0.1", "198.51.100.0/24");
const B = manifest(64524, "192.168.12.2", "100.65.0.2", "203.0.113.0/24");

describe.skipIf(lacks !== undefined)(`a stretched Subnet${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let lab: EdgeLab;
  let a: EdgeNode;
  let b: EdgeNode;
  let one: Netns;
  let two: Netns;
  beforeEach(() => {
    lab = new EdgeLab({ names: ["a", "b"], root: root as string });
    [a, b] = [lab.node("a"), lab.node("b")];
    for (const [node, text] of [
      [a, A],
      [b, B],
    ] as const) {
      node.start();
      node.follow(text);
    }
    one = lab.machine({ node: a, bridge: "cwb5110" }, 1, "10.1.0.5", "2001:db8:1::5");
    two = lab.machine({ node: b, bridge: "cwb5110" }, 2, "10.1.0.6", "2001:db8:1::6");
  });
  afterEach(() => lab?.[Symbol.asyncDispose]());

  const reaches = (from: Netns, address: string) =>
    until(`${address} is reached`, async () => pings(from, address));
  const bothReach = async () => {
    for (const address of ["10.1.0.6", "2001:db8:1::6"]) await reaches(one, address);
    for (const address of ["10.1.0.5", "2001:db8:1::5"]) await reaches(two, address);
  };

  test("99: no frame is lost while the router's program ends and begins anew", async () => {
    lab.ours([64514, 64524]);
    await bothReach();
    const pinging = ([from, address]: readonly [Netns, string]) => {
      const child = from.run(() =>
        Bun.spawn(["ping", "-n", "-i", "0.02", address], { stdout: "pipe", stderr: "ignore" }),
      );
      return { child, output: new Response(child.stdout).text() };
    };
    const flows = (
      [
        [one, "10.1.0.6"],
        [one, "2001:db8:1::6"],
        [two, "10.1.0.5"],
      ] as const
    ).map(pinging);
    a.logged.length = 0;
    try {
      await Bun.sleep(100);
      a.stop();
      await Bun.sleep(500);
      a.start();
      a.follow(A);
      await until("the session is up", async () =>
        a.logged.some((line) => line.startsWith("bgp session is up")),
      );
      await until("the fabric's routes are known", async () => {
        return (a.edge.status()[0]?.domains[0]?.remote.prefixes ?? 0) > 0;
      });
      // Who comes now is told of as before.
      const three = lab.machine({ node: a, bridge: "cwb5110" }, 3, "10.1.0.7");
      await reaches(three, "10.1.0.6");
      await until("b knows where it is", async () =>
        b.text("bridge fdb show dev vx5110", "cw-5100").includes("02:00:00:00:00:03 dst 100.65.0.1"),
      );
    } finally {
      for (const { child } of flows) child.kill("SIGINT");
    }
    for (const { output } of flows) expect(lostPings(await output)).toEqual([]);
    expect(a.problems).toEqual([]);
  });

  test("98: after somebody deleted the router's namespaces type 5, forwarding entries and packets are back", async () => {
    const tor = await lab.fabric([64514, 64524]);
    const areThere = async () => {
      await bothReach();
      await until("b has a's network", async () =>
        b.text("ip route show 198.51.100.0/24", "cw-5100").includes("via 100.65.0.1 dev br5100"),
      );
      await until("a has b's network", async () =>
        a.text("ip route show 203.0.113.0/24", "cw-5100").includes("via 100.65.0.2 dev br5100"),
      );
      await until("a knows where the machine of b is", async () =>
        a.text("bridge fdb show dev vx5110", "cw-5100").includes("02:00:00:00:00:02 dst 100.65.0.2"),
      );
      await until("b knows where the machine of a is", async () =>
        b.text("bridge fdb show dev vx5110", "cw-5100").includes("02:00:00:00:00:01 dst 100.65.0.1"),
      );
      expect(a.text("bridge fdb show dev host5110", "cw-5100")).toContain("02:00:00:00:00:01");
    };
    const isTold = () =>
      evpnPaths(tor.ask("show bgp l2vpn evpn"), "[5]:[0]:[24]:[198.51.100.0]", "100.65.0.1").length > 0;
    await areThere();
    expect(isTold()).toBe(true);
    for (const name of ["cw-underlay", "cw-5100"]) removeNetns(`${a.folder}/netns/${name}`);
    a.stop();
    await until("the link went with them", async () => !lab.scratch.text("ip -br link").includes("to-a"));
    await until("the fabric has forgotten it", async () => !isTold());
    expect(pings(one, "10.1.0.6")).toBe(false);
    a.start();
    // A device of a machine comes back by itself, bare; this kind does not.
    a.text(`ip link add eth1 mtu 1600 type veth peer name to-a netns ${lab.scratch.netns.path}`);
    lab.scratch.text("ip address add 192.168.11.2/24 dev to-a");
    lab.scratch.text("ip link set to-a mtu 1600 up");
    a.follow(A);
    await areThere();
    expect(isTold()).toBe(true);
    expect(a.problems).toEqual([]);
  });

  test.skipIf(short !== "")(
    `69: a machine that says nothing of its own stays announced, because the router asks it${short}`,
    async () => {
      const tor = await lab.fabric([64514, 64524]);
      for (const [gateway, own] of [
        ["10.1.0.1", "10.1.0.5"],
        ["2001:db8:1::1", "2001:db8:1::5"],
      ] as const)
        await until(`${gateway} answers`, async () => pings(one, gateway, `-c 1 -W 1 -I ${own}`));
      const told = () => {
        const text = tor.ask("show bgp l2vpn evpn");
        return ["", ":[32]:[10.1.0.5]", ":[128]:[2001:db8:1::5]"].filter(
          (name) => evpnPaths(text, `[02:00:00:00:00:01]${name}`, "100.65.0.1").length > 0,
        );
      };
      await until("all of it is announced", async () => told().length === 3);
      // Nor does it ask for routers.
      lab.scratch.text("sysctl -qw net.ipv6.conf.eth0.accept_ra=0", one);
      a.text(`ip link set br5110 type bridge ageing_time ${REMEMBERED}`, "cw-5100");
      for (const family of [4, 6])
        for (const setting of ["base_reachable_time_ms=4000", "delay_first_probe_time=1"])
          a.text(`sysctl -qw net.ipv${family}.neigh.br5110.${setting}`, "cw-5100");
      // What was taken back would stay so: of its own it says nothing that would be heard.
      await Bun.sleep(SILENT_MS);
      expect(told().length).toBe(3);
      expect(a.text("bridge fdb show dev host5110", "cw-5100")).toContain("02:00:00:00:00:01");
    },
  );
});
