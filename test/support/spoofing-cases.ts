/**
 * What a pod may send and what not, as frames made by hand: the same for the default network and for VPCs, and for all that judges them. An honest frame follows
 * each tested one: once it has arrived, the one before has arrived or never will.
 */
import {
  arp,
  bytes,
  ethernet,
  type FrameSocket,
  icmp6,
  ipv4,
  ipv6,
  join,
  sameFrame,
  udp6,
} from "./frames.ts";

const ALL_NODES = "ff02::1";
const ALL_NODES_MAC = "33:33:00:00:00:01";

/** Pair is who sends and who listens, with the addresses that they have, that their gateway has, and that somebody else has or might have. */
export interface Pair {
  readonly me: { readonly mac: string; readonly ip: string; readonly ip6: string; readonly link: string };
  readonly you: { readonly mac: string; readonly ip: string; readonly ip6: string };
  readonly gateway: { readonly ip: string; readonly ip6: string };
  readonly others: { readonly ip: string; readonly ip6: string };
}

type Frame = Uint8Array<ArrayBuffer>;

/** SpoofingCase is a frame, and whether it may pass. */
export type SpoofingCase = readonly [what: string, allowed: boolean, make: () => Frame];

/** spoofingCases returns what is tried. */
export function spoofingCases({ me, you, gateway, others }: Pair): SpoofingCase[] {
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

  return [
    ["IPv4 with the own source", true, () => ethernet(me.mac, you.mac, 0x0800, ipv4(me.ip, you.ip, "x"))],
    [
      "IPv4 with another pod's source",
      false,
      () => ethernet(me.mac, you.mac, 0x0800, ipv4(others.ip, you.ip, "x")),
    ],
    [
      "IPv4 with the gateway's source",
      false,
      () => ethernet(me.mac, you.mac, 0x0800, ipv4(gateway.ip, you.ip, "x")),
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
      () => ethernet(me.mac, you.mac, 0x0806, arp(2, { mac: me.mac, ip: gateway.ip }, you)),
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
      () => ethernet(me.mac, you.mac, 0x86dd, udp6(others.ip6, you.ip6, "x")),
    ],
    [
      "IPv6 with the gateway's source",
      false,
      () => ethernet(me.mac, you.mac, 0x86dd, udp6(gateway.ip6, you.ip6, "x")),
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
    ["neighbour solicitation from another's address", false, () => neighbour(135, others.ip6, you.ip6)],
    ["neighbour solicitation from :: (DAD)", true, () => neighbour(135, "::", me.ip6)],
    ["neighbour advertisement of the own address", true, () => neighbour(136, me.ip6, me.ip6)],
    ["neighbour advertisement of the link-local address", true, () => neighbour(136, me.link, me.link)],
    ["neighbour advertisement of another's address", false, () => neighbour(136, me.ip6, others.ip6)],
    [
      "neighbour advertisement of the gateway from the link-local address",
      false,
      () => neighbour(136, me.link, gateway.ip6),
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
            body: join([0, 0, 0, 0], bytes(gateway.ip6)),
            hopByHop: true,
          }),
        ),
    ],
    [
      "neighbour advertisement of another's address behind two headers of options",
      false,
      () => {
        const inner = neighbour(136, me.ip6, gateway.ip6).subarray(54);
        const options = join([60, 0, 5, 2, 0, 0, 1, 0], [58, 0, 1, 4, 0, 0, 0, 0], inner);
        return ethernet(me.mac, ALL_NODES_MAC, 0x86dd, ipv6(me.ip6, ALL_NODES, 0, options, 255));
      },
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
    [
      "a service tag with a tag inside (802.1ad)",
      false,
      () => ethernet(me.mac, you.mac, 0x88a8, join([0, 5, 0x81, 0, 0, 6, 8, 0], ipv4(me.ip, you.ip, "x"))),
    ],
    ["a bridge's own protocol", false, () => ethernet(me.mac, "01:80:c2:00:00:00", 38, new Uint8Array(46))],
    ["an unknown protocol", false, () => ethernet(me.mac, you.mac, 0x88b5, new Uint8Array(46))],
  ];
}

/** fragmentCases are those of fragments, for where nothing puts them together on their way. */
export function fragmentCases({ me, you, gateway, others }: Pair): SpoofingCase[] {
  const later = (source: string) => {
    const fragment = join([17, 0, 0, 16, 0, 0, 0, 9], new Uint8Array(24));
    return ethernet(me.mac, you.mac, 0x86dd, ipv6(source, you.ip6, 44, fragment));
  };
  return [
    [
      "neighbour advertisement of another's address in a first fragment",
      false,
      () => {
        const body = join([0, 0, 0, 0], bytes(gateway.ip6));
        const advert = icmp6(me.ip6, ALL_NODES, { type: 136, body }).subarray(40);
        const fragment = join([58, 0, 0, 1, 0, 0, 0, 9], advert);
        return ethernet(me.mac, ALL_NODES_MAC, 0x86dd, ipv6(me.ip6, ALL_NODES, 44, fragment, 255));
      },
    ],
    ["a later fragment with the own source", true, () => later(me.ip6)],
    ["a later fragment with another's source", false, () => later(others.ip6)],
  ];
}

/** Ears are where frames leave, and where they are looked for. */
export interface Ears {
  readonly sender: FrameSocket;
  readonly receiver: FrameSocket;
}

let serial = 0;

/** arrives sends a frame and tells whether it comes out at the other end. */
export function arrives({ sender, receiver }: Ears, { me, you }: Pair, frame: Frame): boolean {
  const last = ethernet(me.mac, you.mac, 0x0800, ipv4(me.ip, you.ip, `last ${serial++}`));
  sender.send(frame);
  sender.send(last);
  // The kernel takes a VLAN tag out of the frame before anybody sees it.
  const tagged = [0x8100, 0x88a8].includes(((frame[12] ?? 0) << 8) | (frame[13] ?? 0));
  const expected = tagged ? join(frame.subarray(0, 12), frame.subarray(16)) : frame;
  let seen = false;
  for (;;) {
    const got = receiver.receive(10_000);
    if (got === undefined) throw new Error("the honest frame did not arrive");
    if (sameFrame(got, last)) return seen;
    if (sameFrame(got, expected)) seen = true;
  }
}
