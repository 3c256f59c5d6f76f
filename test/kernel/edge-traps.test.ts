/** What routers at the node have stumbled over elsewhere, each with the state of the world that it left. The whole list, with what is tested in other files: docs/edge-tests.md. */
import { readdirSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { Netns, removeNetns } from "../../src/sys/mod.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";
import { LinkEvents } from "../support/link-events.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(120_000);

const LINKS = "{name: eth1}";
const manifest = (links = LINKS) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [${links}]
  neighbors: [{address: 192.168.11.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.1/32]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec:
  vni: 5100
  underlay: {}
  hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24, "2001:db8:169:10::/64"], connectRetry: 1s}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24, "fd00:1::/64"], hostBridge: {}}
`;

describe.skipIf(notRoot !== undefined)(
  `traps of an edge${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let lab: EdgeLab;
    let node: EdgeNode;
    beforeEach(() => {
      lab = new EdgeLab({ names: ["a"] });
      node = lab.node("a");
      lab.ours([64514]);
      node.text("ip address add fd00:11::3/64 dev eth1 nodad");
      node.start();
      node.follow(manifest());
      expect(node.problems).toEqual([]);
    });
    afterEach(() => lab?.[Symbol.asyncDispose]());

    const ALL = [undefined, "cw-underlay", "cw-5100"] as const;
    const pathOf = (inside: string | undefined) =>
      inside === undefined ? node.netns.path : `${node.folder}/netns/${inside}`;
    const isKnown = () =>
      until("the fabric has the tunnel endpoint", async () =>
        lab.scratch.text("ip route show 100.65.0.1").includes("via 192.168.11.3"),
      );
    const isUnknown = () =>
      until(
        "the fabric has forgotten it",
        async () => lab.scratch.text("ip route show 100.65.0.1").trim() === "",
      );
    const numberOf = (path: string) => {
      const { dev, ino } = statSync(path, { throwIfNoEntry: false }) ?? {};
      return `${dev}:${ino}`;
    };
    /** How many descriptors of this process lead to a namespace. */
    const held = (number: string) =>
      readdirSync("/proc/self/fd").filter((fd) => numberOf(`/proc/self/fd/${fd}`) === number).length;

    test("both ends of each link between edge and host have Ethernet addresses of their own, and keep their IPv6 addresses", () => {
      const mac = (link: string, inside?: string) =>
        /link\/ether (\S+)/.exec(node.text(`ip -o link show dev ${link}`, inside))?.[1] as string;
      const all = [mac("cwh5100"), mac("host0", "cw-5100"), mac("cwl5110"), mac("host5110", "cw-5100")];
      expect(new Set(all).size).toBe(4);
      expect(node.text("ip -6 -o address show dev host0", "cw-5100")).toContain("2001:db8:169:10::1/64");
      expect(node.text("ip -6 -o address show dev cwh5100")).toContain("2001:db8:169:10::2/64");
      expect(node.text("ip -6 -o address show dev br5110", "cw-5100")).toContain("fd00:1::1/64");
      expect(node.text("ip -6 -o address show dev eth1", "cw-underlay")).toContain("fd00:11::3/64");
    });

    test("what is as it should be is not touched, so that nobody forgets his neighbours: not by the same again, nor by a new agent", async () => {
      await isKnown();
      // The kernel says so a moment later.
      await until("the bridge is up", async () =>
        node.text("ip -o link show dev cwb5110").includes("state UP"),
      );
      const quiet = async (work: () => void) => {
        const monitors = await Promise.all(ALL.map((inside) => LinkEvents.start(pathOf(inside))));
        work();
        for (const monitor of monitors) {
          const seen = await monitor.stop();
          // Routes, neighbours and link-local addresses are the kernel's too.
          expect(seen.filter((line) => /^\d+: .*(mtu|inet6?) (?!fe80)/.test(line))).toEqual([]);
        }
      };
      await quiet(() => node.follow(manifest()));
      await quiet(() => {
        node.stop();
        node.start();
        node.follow(manifest());
      });
      expect(node.problems).toEqual([]);
    });

    test("a loopback interface that somebody took down comes up again, with the tunnel endpoint", async () => {
      await isKnown();
      for (const inside of ["cw-underlay", "cw-5100"]) {
        node.text("ip link set lo down", inside);
        await until(`lo of ${inside} is up`, async () =>
          node.text("ip -o link show dev lo", inside).includes("LOOPBACK,UP"),
        );
      }
      expect(node.text("ip -o address show dev lo", "cw-underlay")).toContain("inet 100.65.0.1/32 ");
    });

    test("nothing holds a namespace that was taken away, and what was in it is gone", async () => {
      const numbers = ["cw-underlay", "cw-5100"].map((inside) => numberOf(pathOf(inside)));
      expect(numbers.map((number) => held(number) > 0)).toEqual([true, true]);
      node.follow("");
      expect(numbers.map(held)).toEqual([0, 0]);
      // The kernel frees links of a namespace that is gone a moment later.
      await until("its links are gone", async () => !/cw[hlb]5/.test(node.text("ip -br link")));
      expect(node.text("ip -o address show dev eth1")).toContain("inet 192.168.11.3/24");
    });

    test("taken away and made again at once, time after time: nothing of before is in the way", async () => {
      for (let times = 0; times < 3; times++) {
        node.follow("");
        node.follow(manifest());
        expect(node.problems).toEqual([]);
        expect(node.text("ip -o link show dev vx5100", "cw-5100")).toContain("vx5100");
      }
      await isKnown();
      expect(node.text("ip -br link show dev cwh5100")).toContain("UP");
    });

    test("namespaces that somebody deleted are made again, with the link's addresses once it is back; a link that went with them is named", async () => {
      await isKnown();
      interface Shown {
        readonly ifname: string;
        readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
      }
      /** Addresses by link: states come a moment later, and numbers of links are others. */
      const before = () =>
        ALL.map((inside) =>
          (JSON.parse(node.text("ip -j -4 address", inside)) as Shown[])
            .map(({ ifname, addr_info }) =>
              [ifname, ...addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort()].join(" "),
            )
            .sort(),
        );
      const were = before();
      node.stop();
      for (const inside of ["cw-5100", "cw-underlay"]) removeNetns(pathOf(inside));
      await isUnknown();
      node.start();
      node.follow(manifest());
      expect(node.problems.join()).toContain("there is no link eth1 on this node; plug it in");
      // A device of a machine comes back by itself, bare; this kind does not.
      node.text(`ip link add eth1 mtu 1600 type veth peer name to-a netns ${lab.scratch.netns.path}`);
      lab.scratch.text("ip address add 192.168.11.2/24 dev to-a");
      lab.scratch.text("ip link set to-a mtu 1600 up");
      node.follow(manifest());
      await isKnown();
      for (let i = 0; i < 200 && !Bun.deepEquals(before(), were); i++) await Bun.sleep(100);
      expect(before()).toEqual(were);
      node.follow("");
      expect(node.text("ip -o address show dev eth1")).toContain("inet 192.168.11.3/24");
    });

    test("a reverse path filter of the host's does not follow its links into the router", () => {
      lab.scratch.text(`ip link add to-a2 type veth peer name eth2 netns ${node.netns.path}`);
      node.text("ip address add 192.168.12.3/24 dev eth2");
      // Namespaces begin with what the machine's first one has.
      node.text("sysctl -qw net.ipv4.conf.default.rp_filter=1", "cw-underlay");
      node.follow(manifest(`${LINKS}, {name: eth2}`));
      expect(node.text("sysctl -n net.ipv4.conf.eth2.rp_filter", "cw-underlay").trim()).toBe("0");
      using netns = Netns.open(pathOf("cw-5100"));
      expect(lab.scratch.text("sysctl -n net.ipv4.conf.host0.rp_filter", netns).trim()).toBe("0");
    });
  },
);
