/** What a pod may send: frames made by hand leave one pod, and are looked for in another. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Netns } from "../../src/sys/mod.ts";
import { CniNode } from "../support/cni-node.ts";
import { arp, bytes, ethernet, FrameSocket, icmp6, ipv4, join, sameFrame, udp6 } from "../support/frames.ts";
import { notRoot } from "../support/scratch.ts";

const suffix = notRoot === undefined ? "" : ` (skipped: ${notRoot})`;
const ALL_NODES = "ff02::1";
const ALL_NODES_MAC = "33:33:00:00:00:01";

describe.skipIf(notRoot !== undefined)(`CNI: spoofing${suffix}`, () => {
  let node: CniNode;
  let sender: FrameSocket;
  let receiver: FrameSocket;
  // The pods' addresses follow from the ranges.
  const me = {
    mac: "0a:58:0a:f4:01:02",
    ip: "10.244.1.2",
    ip6: "fd00:244:1::2",
    link: "fe80::858:aff:fef4:102",
  };
  const you = { mac: "0a:58:0a:f4:01:03", ip: "10.244.1.3", ip6: "fd00:244:1::3" };

  async function open(pod: string): Promise<FrameSocket> {
    using netns = Netns.open(node.netnsPath(pod));
    const [link] = await node.ip("link show eth0", pod);
    return new FrameSocket(netns, link.ifindex);
  }

  beforeAll(async () => {
    node = await CniNode.create();
    await node.startAgent();
    for (const name of ["me", "you"]) await node.add(name);
    sender = await open("me");
    receiver = await open("you");
  });
  afterAll(async () => {
    sender?.[Symbol.dispose]();
    receiver?.[Symbol.dispose]();
    await node?.[Symbol.asyncDispose]();
  });

  let serial = 0;
  /** An honest frame follows each tested one: once it has arrived, the one before has arrived or never will. */
  function arrives(frame: Uint8Array<ArrayBuffer>): boolean {
    const last = ethernet(me.mac, you.mac, 0x0800, ipv4(me.ip, you.ip, `last ${serial++}`));
    sender.send(frame);
    sender.send(last);
    // The kernel takes a VLAN tag out of the frame before anybody sees it.
    const tagged = frame[12] === 0x81 && frame[13] === 0;
    const expected = tagged ? join(frame.subarray(0, 12), frame.subarray(16)) : frame;
    let seen = false;
    for (;;) {
      const got = receiver.receive(10_000);
      if (got === undefined) throw new Error("the honest frame did not arrive");
      if (sameFrame(got, last)) return seen;
      if (sameFrame(got, expected)) seen = true;
    }
  }

  const neighbour = (type: 135 | 136, source: string, target: string) =>
    ethernet(
      me.mac,
      ALL_NODES_MAC,
      0x86dd,
      icmp6(source, ALL_NODES, { type, body: join([0, 0, 0, 0], bytes(target)) }),
    );
  const multicastListener = (type: number, source: string, hopByHop: boolean) =>
    ethernet(
      me.mac,
      ALL_NODES_MAC,
      0x86dd,
      icmp6(source, ALL_NODES, { type, body: new Uint8Array(20), hopByHop }),
    );

  const cases: [string, boolean, () => Uint8Array<ArrayBuffer>][] = [
    ["IPv4 with the own source", true, () => ethernet(me.mac, you.mac, 0x0800, ipv4(me.ip, you.ip, "x"))],
    [
      "IPv4 with another pod's source",
      false,
      () => ethernet(me.mac, you.mac, 0x0800, ipv4("10.244.1.77", you.ip, "x")),
    ],
    [
      "IPv4 with the gateway's source",
      false,
      () => ethernet(me.mac, you.mac, 0x0800, ipv4("10.244.1.1", you.ip, "x")),
    ],
    ["IPv4 with no source", false, () => ethernet(me.mac, you.mac, 0x0800, ipv4("0.0.0.0", you.ip, "x"))],
    [
      "IPv4 with another Ethernet source",
      false,
      () => ethernet("02:00:00:00:00:01", you.mac, 0x0800, ipv4(me.ip, you.ip, "x")),
    ],
    [
      "IPv4 with the receiver's Ethernet source",
      false,
      () => ethernet(you.mac, you.mac, 0x0800, ipv4(me.ip, you.ip, "x")),
    ],
    [
      "ARP with the own addresses",
      true,
      () =>
        ethernet(me.mac, "ff:ff:ff:ff:ff:ff", 0x0806, arp(1, me, { mac: "00:00:00:00:00:00", ip: you.ip })),
    ],
    [
      "ARP with another's address",
      false,
      () => ethernet(me.mac, you.mac, 0x0806, arp(2, { mac: me.mac, ip: "10.244.1.1" }, you)),
    ],
    [
      "ARP with another's Ethernet address inside",
      false,
      () => ethernet(me.mac, you.mac, 0x0806, arp(2, { mac: "02:00:00:00:00:01", ip: me.ip }, you)),
    ],
    ["IPv6 with the own source", true, () => ethernet(me.mac, you.mac, 0x86dd, udp6(me.ip6, you.ip6, "x"))],
    [
      "IPv6 with another's source",
      false,
      () => ethernet(me.mac, you.mac, 0x86dd, udp6("fd00:244:1::77", you.ip6, "x")),
    ],
    [
      "IPv6 with the gateway's source",
      false,
      () => ethernet(me.mac, you.mac, 0x86dd, udp6("fd00:244:1::1", you.ip6, "x")),
    ],
    [
      "IPv6 from the link-local address",
      true,
      () => ethernet(me.mac, you.mac, 0x86dd, udp6(me.link, you.ip6, "x")),
    ],
    [
      "IPv6 from the link-local address with another Ethernet source",
      false,
      () => ethernet("02:00:00:00:00:01", you.mac, 0x86dd, udp6(me.link, you.ip6, "x")),
    ],
    ["UDP from ::", false, () => ethernet(me.mac, you.mac, 0x86dd, udp6("::", you.ip6, "x"))],
    ["neighbour solicitation from :: (DAD)", true, () => neighbour(135, "::", me.ip6)],
    ["neighbour advertisement of the own address", true, () => neighbour(136, me.ip6, me.ip6)],
    ["neighbour advertisement of the link-local address", true, () => neighbour(136, me.link, me.link)],
    ["neighbour advertisement of another's address", false, () => neighbour(136, me.ip6, "fd00:244:1::77")],
    [
      "neighbour advertisement of the gateway from the link-local address",
      false,
      () => neighbour(136, me.link, "fd00:244:1::1"),
    ],
    [
      "neighbour advertisement of another's address behind a hop-by-hop header",
      false,
      () =>
        ethernet(
          me.mac,
          ALL_NODES_MAC,
          0x86dd,
          icmp6(me.ip6, ALL_NODES, {
            type: 136,
            body: join([0, 0, 0, 0], bytes("fd00:244:1::1")),
            hopByHop: true,
          }),
        ),
    ],
    ["router advertisement", false, () => multicastListener(134, me.link, false)],
    ["redirect", false, () => multicastListener(137, me.link, false)],
    [
      "multicast listener report from ::, behind a hop-by-hop header",
      true,
      () => multicastListener(143, "::", true),
    ],
    ["echo request from ::", false, () => multicastListener(128, "::", false)],
    [
      "a VLAN tag",
      false,
      () => ethernet(me.mac, you.mac, 0x8100, join([0, 5, 8, 0], ipv4(me.ip, you.ip, "x"))),
    ],
    ["a bridge's own protocol", false, () => ethernet(me.mac, "01:80:c2:00:00:00", 38, new Uint8Array(46))],
    ["an unknown protocol", false, () => ethernet(me.mac, you.mac, 0x88b5, new Uint8Array(46))],
  ];
  for (const [what, allowed, make] of cases)
    test(`${what} is ${allowed ? "let through" : "dropped"}`, () => expect(arrives(make())).toBe(allowed));

  test("the gateway does not answer a pod that uses another address", async () => {
    await node.must(
      "ip -n me addr add 10.244.1.66/32 dev lo; ip -n me -6 addr add fd00:244:1::66/128 dev lo nodad",
    );
    expect(await node.in("me", "ping -c1 -W1 -I 10.244.1.66 10.244.1.1")).toBe(false);
    expect(await node.in("me", "ping -c1 -W1 -I fd00:244:1::66 fd00:244:1::1")).toBe(false);
    expect(await node.in("me", "ping -c1 -w10 10.244.1.1 && ping -c1 -w10 fd00:244:1::1")).toBe(true);
  });

  test("a pod that changes its Ethernet address is heard no more", async () => {
    await node.must("ip -n me link set eth0 address 02:00:00:00:00:07");
    expect(await node.in("me", "ping -c1 -W1 10.244.1.1")).toBe(false);
    await node.must(`ip -n me link set eth0 address ${me.mac}`);
    expect(await node.in("me", "ping -c1 -w10 10.244.1.1")).toBe(true);
  });

  test("without the rules the same frames would arrive: the witness sees them", async () => {
    const dropped = cases.filter(
      ([what, allowed]) => !allowed && !what.includes("bridge's own") && !what.includes("receiver's"),
    );
    for (const [what, , make] of dropped) {
      let seen = false;
      // The agent puts the rules back.
      for (let tries = 0; tries < 10 && !seen; tries++) {
        await node.must("nft flush chain bridge causeway prerouting");
        seen = arrives(make());
      }
      expect([what, seen]).toEqual([what, true]);
    }
  });
});
