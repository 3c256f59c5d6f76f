/** FRR as the route reflector of our nodes, and as a VTEP in a VPC of theirs: what its kernel has of us, and what we are told of it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Netns } from "../../src/sys/mod.ts";
import { Foreign, foreignRoot } from "../support/bgp-foreign.ts";
import { EvpnCluster, type Member, until } from "../support/evpn-cluster.ts";
import { ethernet, FrameSocket } from "../support/frames.ts";

setDefaultTimeout(180_000);
const { root, lacks } = foreignRoot("frr");

const FRR = `
router bgp 64512
 bgp router-id 10.90.0.10
 bgp cluster-id 10.90.0.10
 no bgp default ipv4-unicast
 no bgp network import-check
 timers bgp 20 60
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 bgp listen range 10.90.0.0/16 peer-group nodes
 address-family ipv4 unicast
  network 10.9.0.0/24
 exit-address-family
 address-family l2vpn evpn
  neighbor nodes activate
  neighbor nodes route-reflector-client
  advertise-all-vni
  advertise ipv4 unicast
 exit-address-family
vni 5000
`;

/** Subnet 5001 and the L3VNI of VPC red, with a host (h1) in the subnet. */
const VTEP = `
link add br5001 type bridge
link add vx5001 type vxlan id 5001 local 10.90.0.10 dstport 4789 nolearning
link set vx5001 master br5001
link set dev vx5001 type bridge_slave neigh_suppress on learning off
link add br5000 type bridge
link set br5000 address 02:00:00:00:50:10
link add vx5000 type vxlan id 5000 local 10.90.0.10 dstport 4789 nolearning
link set vx5000 master br5000
link set dev vx5000 type bridge_slave learning off
link add h0 type veth peer name h1
link set h0 master br5001
${["br5001", "vx5001", "br5000", "vx5000", "h0", "h1"].map((link) => `link set ${link} addrgenmode none`).join("\n")}
link set br5001 up
link set vx5001 up
link set br5000 up
link set vx5000 up
link set h0 up
link set h1 up`;

const MAC = "02:aa:00:00:00:05";
const HOST = "02:bb:00:00:00:07";

describe.skipIf(lacks !== undefined)(`FRR reflects${lacks === undefined ? "" : ` (${lacks})`}`, () => {
  let cluster: EvpnCluster;
  let frr: Foreign;
  let box: Netns;
  let a: Member;
  let b: Member;
  beforeAll(async () => {
    cluster = new EvpnCluster({ names: ["a", "b"], hubs: ["a"], reflectors: ["10.90.0.10"] });
    box = cluster.box(10);
    for (const line of VTEP.trim().split("\n")) cluster.scratch.text(`ip ${line}`, box);
    frr = await Foreign.start("frr", { root: root as string, netns: box, config: FRR });
    a = cluster.member("a");
    b = cluster.member("b");
    for (const member of [a, b]) {
      member.start();
      await until(
        `${member.name} meets FRR`,
        async () => (await member.state()).sessions["10.90.0.10"] === "up",
      );
    }
  });
  afterAll(async () => {
    await frr?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  const fdb = () => cluster.scratch.text("bridge fdb show", box);
  const FLOOD = "5001 flood 10.90.0.10";
  const PREFIX = "5000 10.9.0.0/24 via 10.90.0.10";
  /** What a frame teaches FRR's bridge. */
  function speak(mac: string): void {
    const [{ ifindex }] = cluster.scratch.json("ip -j link show h1", box);
    using port = new FrameSocket(box, ifindex);
    // An EtherType for experiments (IEEE 802).
    port.send(ethernet(mac, "ff:ff:ff:ff:ff:ff", 0x88b5, new Uint8Array(46)));
  }

  test("our nodes see each other through it, and it as a VTEP with its prefix", async () => {
    await a.order({ do: "activate", segments: [5001] });
    await b.order({ do: "activate", segments: [5001] });
    await a.order({ do: "host", vni: 5001, mac: MAC, ip: "10.1.0.5" });
    await b.sees(
      "5001 flood 10.90.0.1",
      FLOOD,
      `5001 ${MAC} 10.1.0.5 dst 10.90.0.1`,
      "5000 10.1.0.0/24 via 10.90.0.1",
      PREFIX,
    );
  });

  test("its kernel has our hosts, where broadcast goes, and our prefixes by the router's MAC", async () => {
    await until("the host", async () => fdb().includes(`${MAC} dev vx5001 dst 10.90.0.1 self extern_learn`));
    for (const node of ["10.90.0.1", "10.90.0.2"])
      expect(fdb()).toContain(`00:00:00:00:00:00 dev vx5001 dst ${node} self`);
    await until("the prefix", async () =>
      /10\.1\.0\.0\/24 [^]*via 10\.90\.0\.[12] dev br5000 .*onlink/.test(
        cluster.scratch.text("ip route show", box),
      ),
    );
    expect(fdb()).toContain("02:00:0a:5a:00:01 dev vx5000 dst 10.90.0.1 self extern_learn");
  });

  test("its kernel has the neighbours of both families, and loses them", async () => {
    const six = { vni: 5001, mac: MAC, ip: "fd00:1::5" } as const;
    await a.order({ do: "host", ...six });
    const neighbours = () => cluster.scratch.text("ip neigh show dev br5001", box);
    for (const ip of ["10.1.0.5", "fd00:1::5"])
      await until(ip, async () => new RegExp(`^${ip} lladdr ${MAC} .*extern_learn`, "m").test(neighbours()));
    await until("b has it too", async () =>
      (await b.state()).remotes.includes(`5001 ${MAC} fd00:1::5 dst 10.90.0.1`),
    );
    await a.order({ do: "unhost", ...six });
    await until("it is gone", async () => !neighbours().includes("fd00:1::5"));
  });

  test("its host is ours too; when it comes to us, its kernel follows, and when it goes back, we do", async () => {
    speak(HOST);
    const remote = `5001 ${HOST} - dst 10.90.0.10`;
    await until("b sees the host", async () => (await b.state()).remotes.includes(remote));
    await a.order({ do: "host", vni: 5001, mac: HOST, ip: "10.1.0.7" });
    await until("FRR sends it to us", async () =>
      fdb().includes(`${HOST} dev vx5001 dst 10.90.0.1 self extern_learn`),
    );
    await until("b sends it to a", async () => {
      const { remotes } = await b.state();
      return remotes.includes(`5001 ${HOST} 10.1.0.7 dst 10.90.0.1`) && !remotes.includes(remote);
    });
    // Known from before: it holds no more than anything else.
    await a.order({ do: "host", vni: 5001, mac: HOST, ip: "10.1.0.7", claim: "known" });
    speak(HOST);
    await until("b sends it to FRR again", async () => (await b.state()).remotes.includes(remote));
    await until(
      "we have taken ours back",
      async () => !(await b.state()).remotes.join().includes("10.1.0.7"),
    );
  });

  test("FRR is killed and comes back: all is there again", async () => {
    const before = (await b.state()).remotes;
    await frr[Symbol.asyncDispose]();
    await until("b knows", async () => (await b.state()).sessions["10.90.0.10"] === "down");
    frr = await Foreign.start("frr", { root: root as string, netns: box, config: FRR });
    await until("b meets it again", async () => (await b.state()).sessions["10.90.0.10"] === "up");
    await until("all is there again", async () => {
      const { remotes } = await b.state();
      return before.filter((one) => !one.includes(HOST)).every((one) => remotes.includes(one));
    });
  });
});
