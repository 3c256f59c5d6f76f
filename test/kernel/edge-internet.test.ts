/**
 * The way out of a fabric: an upstream router beside node b announces default routes of both families to VPC border; node a's VPCs have them by the
 * fabric, and red by a leak. And networks that no session tells of: static routes of a VPC.
 *
 * ```
 *   pod ── red ══ border ── FRR ── border ── upstream (FRR), AS 64516
 *              a                      b
 * ```
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Netns, run, runSync } from "../../src/sys/mod.ts";
import { type Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { pings } from "../support/domain-lab.ts";
import { attachPod } from "../support/edge-fabric-lab.ts";
import { EdgeLab, type EdgeNode } from "../support/edge-lab.ts";
import { until } from "../support/evpn-cluster.ts";

setDefaultTimeout(120_000);
const { root, lacks } = foreignRoot("frr");

/** Beyond the upstream router, and in a's host. */
const OUTSIDE = ["203.0.113.9", "2001:db8:ff::9"] as const;
const OLD = ["10.77.0.1", "2001:db8:77::1"] as const;

const underlay = (asn: number, node: number) => `
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: ${asn}
  routerIds: 10.0.1${node}.0/24
  links: [{name: eth1}]
  neighbors: [{address: 192.168.1${node}.2, asn: 64512, connectRetry: 1s}]
  tunnelEndpoint: {prefixes: [100.65.0.${node}/32]}
`;
const vpc = (name: string, vni: number, underlay: string, more = "") => `---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: ${name}}
spec: {vni: ${vni}, underlay: {${underlay}}${more}}
`;
const subnet = (name: string, vni: number, prefixes: string) => `---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: ${name}}
spec: {vpc: ${name.split(".")[0]}, vni: ${vni}, prefixes: [${prefixes}]}
`;
const DEFAULTS = 'leaks: [{from: border, prefixes: ["0.0.0.0/0", "::/0"]}]';
const BACK = "leaks: [{from: red}]";
const hostSession = (asn: number, peerAsn: number, node: number) =>
  `, hostSession: {asn: ${asn}, peerAsn: ${peerAsn}, prefixes: [192.169.${node}0.0/24, "2001:db8:169:${node}0::/64"], connectRetry: 1s}`;

/** Red and blue have one Subnet's networks; of border nothing is here but leaks, and a network by which b knows that a speaks there. */
const A = (border = vpc("border", 5200, `${BACK}, announce: [10.6.0.0/24]`)) =>
  [
    underlay(64514, 1),
    vpc("red", 5100, DEFAULTS) + subnet("red.a", 5110, '10.1.1.0/24, "fd01:1::/64"'),
    vpc("blue", 5300, "") + subnet("blue.a", 5310, '10.1.1.0/24, "fd01:1::/64"'),
    border,
  ].join("");
/** Of red nothing is here but the way back, and such a network. */
const B = [
  underlay(64524, 2),
  vpc("red", 5100, `${DEFAULTS}, announce: [10.5.0.0/24]`),
  vpc("border", 5200, BACK, hostSession(64524, 64516, 2)),
  subnet("border.dmz", 5220, '10.8.0.0/24, "fd08::/64"'),
].join("");

const UPSTREAM = `
router bgp 64516
 bgp router-id 10.0.2.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 timers bgp 20 60
 neighbor 192.169.20.1 remote-as 64524
 neighbor 192.169.20.1 timers connect 1
 neighbor 2001:db8:169:20::1 remote-as 64524
 neighbor 2001:db8:169:20::1 timers connect 1
 address-family ipv4 unicast
  neighbor 192.169.20.1 activate
  neighbor 192.169.20.1 default-originate
 exit-address-family
 address-family ipv6 unicast
  neighbor 2001:db8:169:20::1 activate
  neighbor 2001:db8:169:20::1 default-originate
 exit-address-family
`;

describe.skipIf(lacks !== undefined)(
  `the way out of a fabric${lacks === undefined ? "" : ` (${lacks})`}`,
  () => {
    let lab: EdgeLab;
    let a: EdgeNode;
    let b: EdgeNode;
    let tor: Foreign;
    let upstream: Foreign;
    let red: Netns;
    let blue: Netns;
    let dmz: Netns;
    const servers: { stop(): unknown }[] = [];
    beforeAll(async () => {
      lab = new EdgeLab({ names: ["a", "b"], root: root as string });
      [a, b] = [lab.node("a"), lab.node("b")];
      tor = await lab.fabric([64514, 64524]);
      for (const [node, text] of [
        [a, A()],
        [b, B],
      ] as const) {
        node.start();
        node.follow(text);
        expect(node.problems).toEqual([]);
      }
      for (const hostname of OUTSIDE) {
        b.text(`ip address add ${hostname} dev lo nodad`);
        servers.push(
          b.netns.run(() =>
            Bun.serve({
              ...{ hostname, port: 8080 },
              fetch: (request, listening) => new Response(listening.requestIP(request)?.address),
            }),
          ),
        );
      }
      upstream = await lab.frr(b.netns, UPSTREAM);
      red = await attachPod(lab, a, { domain: 5100, segment: 5110, addresses: ["10.1.1.5", "fd01:1::5"] });
      blue = await attachPod(lab, a, { domain: 5300, segment: 5310, addresses: ["10.1.1.5", "fd01:1::5"] });
      dmz = await attachPod(lab, b, { domain: 5200, segment: 5220, addresses: ["10.8.0.5", "fd08::5"] });
    });
    afterAll(async () => {
      for (const server of servers) await server.stop();
      await lab?.[Symbol.asyncDispose]();
    });

    const listed = (node: EdgeNode, what: string, inside?: string) =>
      node
        .text(`ip ${what}`, inside)
        .replaceAll(/ nhid \d+/g, "")
        .split("\n")
        .filter((line) => line !== "" && !line.startsWith("unreachable"));
    const ways = (node: EdgeNode, prefix: string, inside?: string) =>
      listed(node, `-${prefix.includes(":") ? 6 : 4} route show ${prefix}`, inside);
    const defaults = (node: EdgeNode, inside?: string) =>
      [4, 6].flatMap((family) => listed(node, `-${family} route show default`, inside));
    const hasDefaults = (node: EdgeNode, wanted: number, inside?: string) =>
      until(
        `${node.name} has ${wanted} default routes`,
        async () => defaults(node, inside).length === wanted,
      );
    const reaches = (from: Netns, address: string) =>
      until(`${address} is reached`, async () => pings(from, address));
    /** How the server outside calls who asks. */
    const nameOutside = async (from: Netns, address: string) => {
      const host = address.includes(":") ? `[${address}]` : address;
      return (await run(["curl", "-s", "--max-time", "3", `http://${host}:8080/`], { netns: from })).stdout;
    };
    /** What a ping that is not answered is told, and by whom. */
    const refusal = (from: Netns, address: string) =>
      /From (\S+) .*nreachable/.exec(
        runSync(["ping", "-n", "-c", "1", "-W", "2", address], { netns: from }).stdout,
      )?.[1];

    test("default routes of the fabric are type 5, and lead out of a VPC that has them by a leak, in both families", async () => {
      await hasDefaults(a, 2, "cw-5200");
      const [four, six] = defaults(a, "cw-5200");
      expect(four).toStartWith("default via 100.65.0.2 dev br5200 ");
      expect(six).toStartWith("default via ::ffff:100.65.0.2 dev br5200 ");
      const table = tor.ask("show bgp l2vpn evpn");
      for (const network of ["[0]:[0.0.0.0]", "[0]:[::]"])
        expect(table.replaceAll(/\n +/g, " ")).toMatch(
          new RegExp(
            `\\[5\\]:\\[0\\]:${RegExp.escape(network)} +100\\.65\\.0\\.2 .*64524 64516 i RT:64524:5200`,
          ),
        );
      await hasDefaults(a, 2, "cw-5100");
      expect(defaults(a, "cw-5100")[0]).toContain("via 169.254.0.1 dev cwp5200");
      for (const address of OUTSIDE) await reaches(red, address);
      expect(await nameOutside(red, OUTSIDE[0])).toBe("10.1.1.5");
      expect(await nameOutside(red, OUTSIDE[1])).toBe("fd01:1::5");
      expect(b.text("ip route show 10.1.1.0/24")).toContain("via 192.169.20.1 dev cwh5200");
    });

    test("they open nothing of what border has beside, and a VPC without them has no way out", () => {
      for (const address of ["10.8.0.5", "fd08::5"])
        expect([address, pings(red, address)]).toEqual([address, false]);
      expect(defaults(a, "cw-5300")).toEqual([]);
      expect(refusal(blue, OUTSIDE[0])).toBe("10.1.1.1");
      expect(refusal(blue, OUTSIDE[1])).toBe("fd01:1::1");
    });

    test("without them a lookup that misses ends in the VPC again", async () => {
      const say = (no: string) => {
        for (const [family, address] of [
          ["ipv4", "192.169.20.1"],
          ["ipv6", "2001:db8:169:20::1"],
        ])
          upstream.ask(
            ...["configure", "router bgp 64516", `address-family ${family} unicast`],
            `${no}neighbor ${address} default-originate`,
          );
      };
      say("no ");
      await hasDefaults(a, 0, "cw-5200");
      await hasDefaults(a, 0, "cw-5100");
      expect(refusal(red, OUTSIDE[0])).toBe("10.1.1.1");
      expect(refusal(red, OUTSIDE[1])).toBe("fd01:1::1");
      say("");
      for (const address of OUTSIDE) await reaches(red, address);
    });

    test("the host of a VPC hears of them too, and goes out under its own addresses", async () => {
      a.follow(A(vpc("border", 5200, BACK, hostSession(64514, 64515, 1))));
      const sessions = [
        ["192.169.10.1", "ipv4-unicast"],
        ["2001:db8:169:10::1", "ipv6-unicast"],
      ] as const;
      lab.speaker("host-a", a.netns, {
        ...{ asn: 64515, routerId: "10.0.2.1" },
        neighbors: sessions.map(([address, family]) => ({
          ...{ address, asn: 64514, connectRetry: "1s", families: { [family]: {} } },
        })),
      });
      await hasDefaults(a, 2);
      expect(defaults(a)[0]).toStartWith("default via 192.169.10.1 dev cwh5200 ");
      expect(defaults(a)[1]).toStartWith("default via 2001:db8:169:10::1 dev cwh5200 ");
      for (const address of OUTSIDE) await reaches(a.netns, address);
      expect(await nameOutside(a.netns, OUTSIDE[0])).toBe("192.169.10.2");
      expect(await nameOutside(a.netns, OUTSIDE[1])).toBe("2001:db8:169:10::2");
    });

    test("static routes of a VPC: networks behind its host that no session tells of, announced where the VPC says so", async () => {
      const [four, six] = ["10.77.0.0/24", "2001:db8:77::/64"];
      for (const address of OLD) a.text(`ip address add ${address} dev lo nodad`);
      const routes = `routes: [{prefix: ${four}, via: 192.169.10.2}, {prefix: "${six}", via: "2001:db8:169:10::2"}]`;
      const border = (more: string) =>
        A(vpc("border", 5200, `${BACK}, ${more}`, hostSession(64514, 64515, 1)));
      a.follow(border(routes));
      expect(a.problems).toEqual([]);
      expect(ways(a, four, "cw-5200")[0]).toStartWith(`${four} via 192.169.10.2 dev host0 proto 67 `);
      expect(ways(a, six, "cw-5200")[0]).toStartWith(`${six} via 2001:db8:169:10::2 dev host0 proto 67 `);
      const evpn = () => tor.ask("show bgp l2vpn evpn");
      expect(evpn()).not.toContain("[10.77.0.0]");
      a.follow(border(`${routes}, announce: [${four}, "${six}"]`));
      for (const address of OLD) await reaches(dmz, address);
      const table = evpn();
      expect(table).toMatch(/\[5\]:\[0\]:\[24\]:\[10\.77\.0\.0\]\n +100\.65\.0\.1 +0 64514 i/);
      expect(table).toMatch(/\[5\]:\[0\]:\[64\]:\[2001:db8:77::\]\n +100\.65\.0\.1 +0 64514 i/);
      expect(ways(b, four, "cw-5200")[0]).toStartWith(`${four} via 100.65.0.1 dev br5200 `);
      a.follow(border("subnets: true"));
      await until(
        "b has none of them",
        async () => ways(b, four, "cw-5200").length + ways(b, six, "cw-5200").length === 0,
      );
      expect(ways(a, four, "cw-5200").length + ways(a, six, "cw-5200").length).toBe(0);
      expect([...a.problems, ...b.problems]).toEqual([]);
    });
  },
);
