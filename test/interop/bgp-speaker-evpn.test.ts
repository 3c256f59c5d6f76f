/**
 * EVPN through our reflector: two FRR VTEPs with real bridges and VXLAN devices, GoBGP and BIRD 2.20 as further clients. What each VTEP put
 * into its kernel, and what each daemon prints of what it got, is what is looked at.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { encodeMessage, EVPN, MESSAGE } from "../../src/bgp/wire/mod.ts";
import { parseIp } from "../../src/net/mod.ts";
import { attribute, plain, updateBody } from "../support/bgp-bytes.ts";
import { session, Speaker } from "../support/bgp-ends.ts";
import { daemonRoots, newerBird, routerOf, SpeakerLab, type SpeakerSpec, until } from "../support/bgp-lab.ts";
import { ethernet, FrameSocket } from "../support/frames.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();
const bird = newerBird();

/** GoBGP resets a session over a type that it does not know. */
const known = { families: { "l2vpn-evpn": { export: "known" } } };

const US = routerOf({
  policies: { known: [{ match: { evpnType: [1, 2, 3, 4, 5] }, action: "accept" }] },
  clusterId: "10.99.0.1",
  groups: {
    clients: {
      asn: "internal",
      routeReflectorClient: true,
      connectRetry: "1s",
      families: { "l2vpn-evpn": {} },
    },
  },
  neighbors: [
    ...[2, 3].map((host) => ({ address: `192.0.2.${host}`, group: "clients" })),
    ...[4, 5].map((host) => ({ address: `192.0.2.${host}`, group: "clients", ...known })),
    ...(bird === undefined ? [] : [{ address: "192.0.2.6", group: "clients" }]),
    { address: "192.0.2.7", group: "clients", passive: true },
  ],
});

const frr = (host: number, more = "") => `
router bgp 65001
 bgp router-id 10.255.0.${host}
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 20 60
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family ipv4 unicast
  network 10.${host}0.0.0/24
 exit-address-family
 address-family l2vpn evpn
  neighbor 192.0.2.1 activate
  advertise-all-vni
  advertise ipv4 unicast
${more}
 exit-address-family
vni 4000
`;

const gobgp = (host: number) => `[global.config]
  as = 65001
  router-id = "10.255.0.${host}"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.0.2.1"
    peer-as = 65001
  [neighbors.timers.config]
    connect-retry = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "l2vpn-evpn"
`;

const BIRD = `router id 10.255.0.6;
protocol device { }
evpn table evpntab;
protocol bgp us { local 192.0.2.6 as 65001; neighbor 192.0.2.1 as 65001; hold time 60; connect retry time 1;
  evpn { table evpntab; import all; export all; }; }
`;

/** A bridge with a VXLAN device for VNI 100, one with an SVI for L3VNI 4000, a port with a host (h1) behind it. */
const vtep = (host: number, other: number) => `
ip route add 10.255.0.${other}/32 via 192.0.2.${other}
ip link add br100 type bridge; ip link set br100 addrgenmode none
ip link set br100 address 02:00:00:00:01:0${host}
ip link add vni100 type vxlan id 100 local 10.255.0.${host} dstport 4789 nolearning
ip link set vni100 master br100 addrgenmode none
ip link set dev vni100 type bridge_slave neigh_suppress on learning off
ip link add br4000 type bridge; ip link set br4000 addrgenmode none
ip link set br4000 address 02:00:00:00:40:0${host}
ip link add vni4000 type vxlan id 4000 local 10.255.0.${host} dstport 4789 nolearning
ip link set vni4000 master br4000 addrgenmode none
ip link set dev vni4000 type bridge_slave learning off
ip link add h0 type veth peer name h1
ip link set h0 master br100
ip link set h0 addrgenmode none; ip link set h1 addrgenmode none
for link in br100 vni100 br4000 vni4000 h0 h1; do ip link set $link up; done
`;

const box = (kind: SpeakerSpec["kind"], host: number, config: string): SpeakerSpec => ({
  kind,
  host,
  config,
  loopback: [`10.255.0.${host}`],
});

describe.skipIf(lacks !== undefined)(`EVPN${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-evpn", {
      us: { kind: "causeway", host: 1, config: US },
      a: box("frr", 2, frr(2)),
      b: box("frr", 3, frr(3, "  advertise-default-gw")),
      go: box("gobgp", 4, gobgp(4)),
      gone: box("gobgp", 5, gobgp(5)),
      ...(bird === undefined ? {} : { bird: { ...box("bird", 6, BIRD), root: bird } }),
    });
    await net.sh("a", vtep(2, 3));
    await net.sh("b", vtep(3, 2));
    await net.established("192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5");
  });
  afterAll(() => net?.[Symbol.asyncDispose]());

  /** Paths of the EVPN routes that a daemon's view has, whose prefix begins with a text. */
  async function paths(name: string, start: string): Promise<Json[]> {
    const all = await net.json(name, "show bgp l2vpn evpn route detail json");
    return Object.values(all as Record<string, Json>)
      .flatMap((rd) => Object.entries(rd as Record<string, Json>))
      .filter(([prefix]) => prefix.startsWith(start))
      .flatMap(([, route]) => (route.paths ?? []).flat());
  }
  /** The text of the extended communities of the one path from another. */
  async function communities(name: string, start: string): Promise<string> {
    const found = (await paths(name, start)).filter(({ peer }) => peer?.peerId === "192.0.2.1");
    return found.map(({ extendedCommunity }) => extendedCommunity.string).join("; ");
  }
  const fdb = (name: string) => net.sh(name, "bridge fdb show");
  const mac = async (name: string, address: string): Promise<Json> =>
    (await net.json(name, "show evpn mac vni 100 json")).macs[address];

  test("type 3: each VTEP floods to the other; RT, encapsulation, PMSI", async () => {
    await until("a floods to b", async () =>
      /00:00:00:00:00:00 dev vni100 dst 10.255.0.3/.test(await fdb("a")),
    );
    await until("b floods to a", async () =>
      /00:00:00:00:00:00 dev vni100 dst 10.255.0.2/.test(await fdb("b")),
    );
    const found = (await paths("b", "[3]:[0]:[32]:[10.255.0.2]")).find(({ extendedCommunity }) =>
      extendedCommunity.string.includes("RT:65001:100"),
    );
    expect(found).toMatchObject({
      valid: true,
      originatorId: "10.255.0.2",
      clusterList: { list: ["10.99.0.1"] },
      nexthops: [{ ip: "10.255.0.2" }],
      extendedCommunity: { string: "RT:65001:100 ET:8" },
    });
    const text = await net.ask("b", "show bgp l2vpn evpn route type multicast");
    expect(text).toContain("[3]:[0]:[32]:[10.255.0.2]");
    const detail = JSON.stringify(found);
    expect(detail).toMatch(/IngressRepl|Ingress Replication|ingress/i);
  });

  test("type 2: a host's MAC, and MAC with address and L3VNI, are in the other's kernel", async () => {
    await net.sh("a", "bridge fdb add 02:aa:00:00:00:01 dev h0 master dynamic");
    await until("b's kernel has it", async () =>
      /02:aa:00:00:00:01 dev vni100 dst 10.255.0.2 self extern_learn/.test(await fdb("b")),
    );
    await net.sh(
      "a",
      "ip neigh add 10.1.1.5 lladdr 02:aa:00:00:00:05 dev br100 nud reachable; bridge fdb add 02:aa:00:00:00:05 dev h0 master dynamic",
    );
    await until("b has MAC and address", async () =>
      (await communities("b", "[2]:[0]:[48]:[02:aa:00:00:00:05]:[32]:[10.1.1.5]")).includes("RT:65001:4000"),
    );
    expect(await communities("b", "[2]:[0]:[48]:[02:aa:00:00:00:05]:[32]:[10.1.1.5]")).toBe(
      "RT:65001:100 RT:65001:4000 ET:8 Rmac:02:00:00:00:40:02",
    );
    await until("b's kernel has the neighbour", async () =>
      /10.1.1.5 lladdr 02:aa:00:00:00:05 .*extern_learn/.test(await net.sh("b", "ip neigh show dev br100")),
    );
    const [route] = await net.json("us", "evpn --type 2 --mac 02:aa:00:00:00:05 --vni 4000 --json");
    expect(route).toMatchObject({
      neighbor: "192.0.2.2",
      nextHop: "10.255.0.2",
      labels: [100, 4000],
      best: true,
    });
    // GoBGP prints the reflection too.
    const other = await net.ask("go", "global rib -a evpn");
    expect(other).toMatch(
      /mac:02:aa:00:00:00:05\]\[ip:10.1.1.5\].*\{Originator: 10.255.0.2\}.*\{ClusterList: \[10.99.0.1\]\}/,
    );
    await net.sh("a", "bridge fdb del 02:aa:00:00:00:01 dev h0 master");
    await until("it is gone from b's kernel", async () => !(await fdb("b")).includes("02:aa:00:00:00:01"));
  });

  test("type 5: a prefix with router MAC", async () => {
    await until("b's kernel has the prefix", async () =>
      /10.20.0.0\/24 .*via 10.255.0.2 dev br4000 .*onlink/.test(await net.sh("b", "ip route show")),
    );
    expect(await communities("b", "[5]:[0]:[24]:[10.20.0.0]")).toBe(
      "RT:65001:4000 ET:8 Rmac:02:00:00:00:40:02",
    );
    expect(await fdb("b")).toMatch(/02:00:00:00:40:02 dev vni4000 dst 10.255.0.2 self extern_learn/);
    const [found] = (await paths("a", "[5]:[0]:[24]:[10.30.0.0]")).filter(({ valid }) => valid);
    expect(found).toMatchObject({ originatorId: "10.255.0.3", clusterList: { list: ["10.99.0.1"] } });
  });

  test("sticky, default gateway, router flag", async () => {
    await net.sh("a", "bridge fdb add 02:aa:00:00:00:0a dev h0 master sticky static");
    await until("b knows that it is sticky", async () =>
      (await communities("b", "[2]:[0]:[48]:[02:aa:00:00:00:0a]")).includes("sticky"),
    );
    await until("and its zebra too", async () =>
      /sticky/i.test(JSON.stringify(await net.json("b", "show evpn mac vni 100 mac 02:aa:00:00:00:0a json"))),
    );
    await net.sh(
      "a",
      "ip -6 neigh add 2001:db8:a::9 lladdr 02:aa:00:00:00:09 dev br100 router nud reachable; bridge fdb add 02:aa:00:00:00:09 dev h0 master dynamic",
    );
    await until("b knows that it is a router", async () =>
      (await communities("b", "[2]:[0]:[48]:[02:aa:00:00:00:09]:[128]:[2001:db8:a::9]")).includes(
        "ND:Router Flag",
      ),
    );
    await net.sh("b", "ip address add 10.1.1.254/24 dev br100");
    await until("a knows the gateway", async () =>
      (await communities("a", "[2]:[0]:[48]:[02:00:00:00:01:03]:[32]:[10.1.1.254]")).includes(
        "Default Gateway",
      ),
    );
  });

  test("MAC mobility: it moves to b and back; the sequence rises, and both follow", async () => {
    // A host is where its frames come from. (A link of the VTEP itself with that address would make it FRR's own, which it refuses from others.)
    const move = async (name: string) => {
      const [{ ifindex }] = JSON.parse(await net.sh(name, "ip -j link show h1"));
      using netns = net.lab.netns(name);
      using port = new FrameSocket(netns, ifindex);
      // An EtherType for experiments (IEEE 802).
      port.send(ethernet("02:aa:00:00:00:77", "ff:ff:ff:ff:ff:ff", 0x88b5, new Uint8Array(46)));
    };
    await move("a");
    await until("b sends it to a", async () =>
      /02:aa:00:00:00:77 dev vni100 dst 10.255.0.2/.test(await fdb("b")),
    );
    await move("b");
    await until("a sends it to b", async () =>
      /02:aa:00:00:00:77 dev vni100 dst 10.255.0.3/.test(await fdb("a")),
    );
    await until("with a sequence", async () =>
      (await communities("a", "[2]:[0]:[48]:[02:aa:00:00:00:77]")).includes("MM:1"),
    );
    expect((await mac("a", "02:aa:00:00:00:77")).type).toBe("remote");
    expect((await mac("b", "02:aa:00:00:00:77")).type).toBe("local");
    await move("a");
    await until("b sends it to a again", async () =>
      /02:aa:00:00:00:77 dev vni100 dst 10.255.0.2/.test(await fdb("b")),
    );
    await until("with the next sequence", async () =>
      (await communities("b", "[2]:[0]:[48]:[02:aa:00:00:00:77]")).includes("MM:2"),
    );
  });

  test("types 1 and 4, a gateway in type 5 and unusual targets go from GoBGP to GoBGP", async () => {
    for (const route of [
      "a-d esi ARBITRARY 01:02:03:04:05:06:07:08:09 etag 0 label 100 rd 10.255.0.4:1 rt 65001:100 encap vxlan",
      "esi 10.255.0.4 esi ARBITRARY 01:02:03:04:05:06:07:08:09 rd 10.255.0.4:1 rt 65001:100",
      "prefix 10.60.0.0/24 gw 10.1.1.9 etag 7 label 4000 rd 10.255.0.4:2 rt 65001:4001 192.0.2.4:7 encap vxlan router-mac 02:02:02:02:02:02",
      "macadv 02:bb:00:00:00:09 2001:db8:bb::9 etag 0 esi ARBITRARY 01:02:03:04:05:06:07:08:09 label 100,4000 rd 10.255.0.4:2 rt 65001:101 encap vxlan",
    ])
      await net.ask("go", `global rib add -a evpn ${route}`);
    const there = async () => net.ask("gone", "global rib -a evpn");
    await until(
      "all four are there",
      async () => (await there()).split("\n").filter((line) => line.includes("10.255.0.4:")).length === 4,
    );
    const theirs = (await net.ask("go", "global rib -a evpn")).split("\n");
    for (const line of (await there()).split("\n").filter((one) => one.includes("10.255.0.4:"))) {
      expect(line).toContain("{Originator: 10.255.0.4}");
      expect(line).toContain("{ClusterList: [10.99.0.1]}");
      const route = line.slice(line.indexOf("["), line.indexOf("]  ") + 1);
      const origin = theirs.find((one) => one.includes(route.trim()));
      const extcomms = /\{Extcomms: (\[.*?\])\}/.exec(line)?.[1];
      expect([route, extcomms]).toEqual([route, /\{Extcomms: (\[.*?\])\}/.exec(origin ?? "")?.[1]]);
    }
  });

  test.skipIf(bird === undefined)(
    "BIRD prints ORIGINATOR_ID, CLUSTER_LIST and PMSI, and has a route of a type that we do not know",
    async () => {
      await net.established("192.0.2.6");
      await net.sh("gone", "ip address add 192.0.2.7/24 dev eth0");
      using netns = net.lab.netns("gone");
      using sender = new Speaker({ netns, listen: [] });
      sender.io.add({
        name: "us",
        remote: { kind: "address", address: parseIp("192.0.2.1") },
        source: parseIp("192.0.2.7"),
        session: session(1, {
          routerId: parseIp("10.255.0.7"),
          remoteAs: "internal",
          families: [{ family: EVPN }],
        }),
      });
      const up = await sender.up("us");
      const extended = "0002fde900000064";
      // S-PMSI A-D, type 10 (RFC 9572): to most a number and octets.
      const reach = `001946 04 c0000207 00 0a 10 00010aff00070001 0000000000000000`;
      const unknown = attribute(0xc0, 200, "0123");
      const attributes = [
        plain.origin,
        attribute(0x40, 2, ""),
        plain.localPreference,
        attribute(0x80, 14, reach),
        attribute(0xc0, 16, extended),
        unknown,
      ];
      up.send(encodeMessage(MESSAGE.update, updateBody({ attributes })));
      const table = () => net.ask("bird", "show route all table evpntab");
      await until("BIRD has it", async () => (await table()).includes("evpn type 10 10.255.0.7:1"));
      const text = await table();
      const ours = text.slice(text.indexOf("evpn type 10"));
      expect(ours).toMatch(/BGP.next_hop: 192.0.2.7\n/);
      expect(ours).toMatch(/BGP.originator_id: 10.255.0.7\n/);
      expect(ours).toMatch(/BGP.cluster_list: 10.99.0.1\n/);
      expect(ours).toMatch(/BGP.c8 \[t\]: 01 23/);
      expect(text).toMatch(
        /evpn imet 10.255.0.2:2 0 10.255.0.2 [^]*?BGP.pmsi_tunnel: ingress-replication 10.255.0.2 mpls 100/,
      );
      expect(text).toMatch(/\(rt, 65001, 4000\)/);
      const [seen] = await net.json("us", "evpn --type 10 --json");
      expect(seen).toMatchObject({ neighbor: "192.0.2.7", best: true });
      // FRR passes over what it does not know.
      expect((await net.neighbor("192.0.2.2")).state).toBe("established");
    },
  );

  test("one session with each VTEP went through it all", async () => {
    const [router] = await net.json("us", "summary --json");
    const counts = router.neighbors.map(({ name, established }: Json) => [name, established]);
    for (const name of ["192.0.2.2", "192.0.2.3"]) expect(counts).toContainEqual([name, 1]);
  });
});
