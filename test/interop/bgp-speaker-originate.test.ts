/** EVPN routes of our own, from a manifest, as a real FRR VTEP takes them: into its kernel, and against an address that it has too. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { daemonRoots, routerOf, SpeakerLab, until } from "../support/bgp-lab.ts";
import { ethernet, FrameSocket } from "../support/frames.ts";
import type { Json } from "../support/scratch.ts";

setDefaultTimeout(180_000);
const { lacks } = daemonRoots();

const MAC = "02:aa:00:00:00:05";
const STICKY = "02:aa:00:00:00:06";

const US = routerOf({
  evpn: {
    segments: [
      {
        vni: 100,
        vtep: "10.255.0.1",
        l3vni: 4000,
        macs: [
          { mac: MAC, ip: "10.1.1.5" },
          { mac: STICKY, sticky: true },
        ],
      },
    ],
    routed: [{ vni: 4000, vtep: "10.255.0.1", routerMac: "02:00:00:00:0f:a0", prefixes: ["10.50.0.0/24"] }],
  },
  neighbors: [{ address: "192.0.2.2", asn: "internal", connectRetry: "1s", families: { "l2vpn-evpn": {} } }],
});

const FRR = `
router bgp 65001
 bgp router-id 10.255.0.2
 no bgp default ipv4-unicast
 timers bgp 20 60
 neighbor 192.0.2.1 remote-as 65001
 neighbor 192.0.2.1 timers connect 1
 address-family l2vpn evpn
  neighbor 192.0.2.1 activate
  advertise-all-vni
 exit-address-family
`;

const VTEP = `
ip route add 10.255.0.1/32 via 192.0.2.1
ip link add br100 type bridge; ip link set br100 addrgenmode none
ip link add vni100 type vxlan id 100 local 10.255.0.2 dstport 4789 nolearning
ip link set vni100 master br100 addrgenmode none
ip link set dev vni100 type bridge_slave neigh_suppress on learning off
ip link add h0 type veth peer name h1; ip link set h0 master br100
for link in br100 vni100 h0 h1; do ip link set $link up; done
`;

describe.skipIf(lacks !== undefined)(`EVPN of our own${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let net: SpeakerLab;
  beforeAll(async () => {
    net = await SpeakerLab.up("bgp-own", {
      us: { kind: "causeway", host: 1, config: US, loopback: ["10.255.0.1"] },
      leaf: { kind: "frr", host: 2, config: FRR, loopback: ["10.255.0.2"] },
    });
    await net.sh("leaf", VTEP);
    await net.established("192.0.2.2");
  });
  afterAll(async () => await net?.[Symbol.asyncDispose]());

  const fdb = async () => await net.sh("leaf", "bridge fdb show dev vni100");
  const ours = async (): Promise<Json> => {
    const list: Json[] = await net.json("us", `evpn --mac ${MAC} --json`);
    return list.find(({ neighbor }) => neighbor === "local");
  };

  test("FRR puts addresses, a sticky one and the place for broadcast into its kernel", async () => {
    await until("the kernel has them", async () => {
      const text = await fdb();
      return [`${MAC} dst 10.255.0.1`, `${STICKY} dst 10.255.0.1`, "00:00:00:00:00:00 dst 10.255.0.1"].every(
        (line) => text.includes(line),
      );
    });
    expect(await fdb()).toMatch(new RegExp(`${STICKY} dst 10.255.0.1 .*sticky`));
  });

  test("FRR shows what it was told: both labels, the router's MAC, the prefix", async () => {
    const text: string = await net.ask("leaf", "show bgp l2vpn evpn");
    expect(text).toContain(`[2]:[0]:[48]:[${MAC}]:[32]:[10.1.1.5]`);
    expect(text).toMatch(/RT:65001:100 RT:65001:4000 ET:8 Rmac:02:00:00:00:0f:a0/);
    expect(text).toContain("[5]:[0]:[24]:[10.50.0.0]");
    expect(text).toContain("sticky MAC");
  });

  test("an address that FRR learns too is announced with a higher sequence; after five moves it is a duplicate", async () => {
    using netns = net.lab.netns("leaf");
    const [{ ifindex }]: Json = JSON.parse(await net.sh("leaf", "ip -j link show h1"));
    using host = new FrameSocket(netns, ifindex);
    // An EtherType for experiments (IEEE 802).
    const frame = ethernet(MAC, "ff:ff:ff:ff:ff:ff", 0x88b5, new Uint8Array(46));
    await until("the duplicate is told", async () => {
      host.send(frame);
      return net.log("us", "bgp").includes("evpn address is a duplicate");
    });
    const { communities } = await ours();
    const sequence = Number(/^MM:(\d+)/.exec(communities.find((one: string) => one.startsWith("MM:")))?.[1]);
    expect(sequence).toBeGreaterThanOrEqual(4);
  });
});
