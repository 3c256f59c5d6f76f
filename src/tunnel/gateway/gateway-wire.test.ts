/** What else the gateway says and hears: ARP, Neighbor Discovery, key exchange and ESP in UDP. */
import { describe, expect, test } from "bun:test";
import { ADDRESS, ether, GatewayLoop, icmp, ip, MAC } from "../../../test/support/gateway-loop.ts";
import { onesSum } from "../../../test/support/packets.ts";
import { ipBytes, type Mac, macBytes, parseIp } from "../../net/mod.ts";

const { host, remote } = ADDRESS[4];
const BROADCAST = 0xffff_ffff_ffff;

function arp(what: { operation: number; sender: string; mac: Mac; target: string; to?: number }): Uint8Array {
  const { operation, sender, mac, target, to = BROADCAST } = what;
  return new Uint8Array([
    ...macBytes(to as Mac),
    ...macBytes(mac),
    ...[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation],
    ...macBytes(mac),
    ...ipBytes(parseIp(sender)),
    ...[0, 0, 0, 0, 0, 0],
    ...ipBytes(parseIp(target)),
  ]);
}

/** Neighbor Discovery with one option; 135 asks, 136 says. */
function discovery(what: {
  type: 135 | 136;
  from: string;
  to: string;
  target: string;
  mac: Mac;
  hops?: number;
}) {
  const { type, from, to, target, mac, hops = 255 } = what;
  const data = new Uint8Array([...ipBytes(parseIp(target)), type === 135 ? 1 : 2, 1, ...macBytes(mac)]);
  // The second word is reserved, or flags.
  return icmp({ from, to, type, data, ttl: hops });
}

describe("neighbours", () => {
  test("they are asked for each second until they answer, then every five; only the next hop is believed", () => {
    const loop = new GatewayLoop({ asks: true });
    const asked = () => {
      loop.work();
      return [...loop.host.taken(), ...loop.wire.taken()].length;
    };
    expect([asked(), asked()]).toEqual([4, 0]);
    loop.nowMs += 1000;
    expect(asked()).toBe(4);
    const other = 0x02_00_00_00_00_44 as Mac;
    loop.host.put(arp({ operation: 2, sender: "10.0.0.66", mac: other, target: ADDRESS[4].private }));
    loop.work();
    expect(loop.path.report().nextHops.private).toEqual({ 4: {}, 6: {} });
    loop.host.put(arp({ operation: 2, sender: host, mac: MAC.host, target: ADDRESS[4].private }));
    const said = {
      type: 136,
      from: ADDRESS[6].host,
      to: ADDRESS[6].private,
      target: ADDRESS[6].host,
    } as const;
    loop.host.put(ether(MAC.private, discovery({ ...said, mac: MAC.host, hops: 254 })));
    loop.work();
    expect(loop.path.report().nextHops.private).toEqual({ 4: { mac: MAC.host }, 6: {} });
    expect(loop.counters.privateNextHop).toMatchObject({ ndErrors: 1, addressesAdded: 1 });
    loop.host.put(ether(MAC.private, discovery({ ...said, mac: MAC.host })));
    loop.work();
    expect(loop.path.report().nextHops.private).toEqual({ 4: { mac: MAC.host }, 6: { mac: MAC.host } });
    loop.host.put(arp({ operation: 1, sender: host, mac: other, target: "10.0.0.9" }));
    loop.work();
    expect(loop.counters.privateNextHop).toMatchObject({ addressesAdded: 2, addressesUpdated: 1 });
    expect(loop.news.at(-1)).toEqual({ kind: "next-hop", side: "private", family: 4, mac: other });
  });

  test("frames to everybody and to groups are counted, both ways", () => {
    const loop = new GatewayLoop({ asks: true });
    loop.work();
    const group = (six: Uint8Array) => ether(0x3333_ff00_0001, six);
    const { four, six } = {
      four: arp({ operation: 1, sender: host, mac: MAC.host, target: "10.0.0.9" }),
      six: discovery({
        ...{ type: 135, from: ADDRESS[6].host, to: "ff02::1:ff00:1", target: ADDRESS[6].private },
        mac: MAC.host,
      }),
    };
    for (const side of [loop.host, loop.wire]) for (const frame of [four, four, group(six)]) side.put(frame);
    loop.fromHost(icmp({ from: host, to: ADDRESS[4].private, type: 8 }));
    // It has asked for a neighbour of each family; who asks it is answered alone.
    const counted = { rxbcast: 2, rxmcast: 1, txbcast: 1, txmcast: 1 };
    expect(loop.counters.privateInterface).toMatchObject({ ...counted, rxpackets: 4 });
    expect(loop.counters.publicInterface).toMatchObject({ ...counted, rxpackets: 3 });
  });

  const asked = (loop: GatewayLoop) => loop.work().host.taken().length;
  const says = (mac: Mac = MAC.host) =>
    arp({ operation: 2, sender: host, mac, target: ADDRESS[4].private, to: MAC.private });

  test("of several queues one asks again; the others ask as long as they know nothing, or are told", () => {
    const loop = new GatewayLoop({ asks: true, asksPrivate: false });
    expect([asked(loop), asked(loop)]).toEqual([2, 0]);
    loop.nowMs += 1000;
    expect(asked(loop)).toBe(2);
    loop.obey({ kind: "next-hop", side: "private", family: 4, mac: MAC.host });
    loop.nowMs += 1000;
    // IPv6 is still not known.
    expect(asked(loop)).toBe(1);
    loop.obey({ kind: "next-hop", side: "private", family: 6, mac: MAC.host });
    loop.nowMs += 10_000;
    expect(asked(loop)).toBe(0);
  });

  test("a neighbour that says the same again is told of, at most each second, for queues that began since", () => {
    const loop = new GatewayLoop({ asks: true });
    const told = (...frames: readonly Uint8Array[]) => {
      for (const frame of frames) loop.host.put(frame);
      loop.work();
      return loop.news.splice(0).length;
    };
    expect([told(), told(says()), told(says(), says())]).toEqual([0, 1, 0]);
    loop.nowMs += 5000;
    expect([told(), told(says(), says()), told(says())]).toEqual([0, 1, 0]);
    const other = 0x02_00_00_00_00_44 as Mac;
    expect([told(says(other)), told(says(other))]).toEqual([1, 0]);
    expect(loop.counters.privateNextHop).toMatchObject({ addressesAdded: 1, addressesUpdated: 1 });
  });

  test("a side that gets other addresses keeps the neighbour that stays, and forgets the one that goes", () => {
    const loop = new GatewayLoop({ asks: true });
    loop.work();
    loop.host.put(says());
    loop.work();
    const [ip, nextHop] = [parseIp("10.0.0.77"), parseIp(host)];
    const put = (four: object) =>
      loop.obey({
        kind: "side",
        side: "private",
        configuration: { mac: MAC.private, four: { ip, nextHop, ...four } },
      });
    put({});
    expect(loop.path.report().nextHops.private).toEqual({ 4: { mac: MAC.host } });
    put({ nextHop: parseIp("10.0.0.3") });
    expect(loop.path.report().nextHops.private).toEqual({ 4: {} });
    // One that was given is not learnt.
    put({ nextHopMac: MAC.public });
    put({});
    expect(loop.path.report().nextHops.private).toEqual({ 4: {} });
  });

  test("what the gateway says itself is counted as sent, and what finds no room as dropped", () => {
    const loop = new GatewayLoop();
    const question = arp({ operation: 1, sender: host, mac: MAC.host, target: ADDRESS[4].private });
    const echo = icmp({ from: host, to: ADDRESS[4].private, type: 8 });
    loop.host.put(question);
    loop.fromHost(echo);
    expect(loop.counters.privateInterface).toMatchObject({ txpackets: 2, txbytes: 42 + 14 + echo.length });
    loop.privatePort.room = 0;
    loop.host.put(question);
    loop.work();
    expect(loop.counters.privateInterface).toMatchObject({ txpackets: 2, txdrop: 1 });
    expect(loop.counters.privateNextHop.arpReplies).toBe(1);
  });

  test("questions for our addresses are answered, others are not", () => {
    const loop = new GatewayLoop();
    loop.host.put(arp({ operation: 1, sender: host, mac: MAC.host, target: ADDRESS[4].private }));
    loop.host.put(arp({ operation: 1, sender: host, mac: MAC.host, target: "10.0.0.9" }));
    const group = "ff02::1:ff00:1";
    const asks = { type: 135, to: group, mac: MAC.host } as const;
    loop.host.put(
      ether(0x3333_ff00_0001, discovery({ ...asks, from: ADDRESS[6].host, target: ADDRESS[6].private })),
    );
    loop.host.put(ether(0x3333_ff00_0001, discovery({ ...asks, from: "::", target: ADDRESS[6].private })));
    loop.host.put(ether(0x3333_ff00_0001, discovery({ ...asks, from: ADDRESS[6].host, target: "fd00::77" })));
    loop.work();
    const answers = loop.host.taken();
    expect(answers).toHaveLength(3);
    expect(answers[0]?.subarray(0, 32)).toEqual(
      new Uint8Array([
        ...macBytes(MAC.host),
        ...macBytes(MAC.private),
        ...[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2],
        ...macBytes(MAC.private),
        ...ipBytes(parseIp(ADDRESS[4].private)),
      ]),
    );
    const [advertisement, toAll] = [answers[1], answers[2]] as [Uint8Array, Uint8Array];
    expect([advertisement[21], advertisement[54], advertisement[58]]).toEqual([255, 136, 0xe0]);
    expect([...toAll.subarray(0, 6), toAll[58]]).toEqual([0x33, 0x33, 0, 0, 0, 1, 0xa0]);
    expect(loop.counters.privateNextHop).toMatchObject({ arpReplies: 1, naReplies: 2, ndErrors: 0 });
    expect(loop.allFree()).toBe(true);
  });

  test("frames for others are not forwarded", () => {
    const loop = new GatewayLoop().join();
    const packet = ip({ from: host, to: remote, protocol: 17, payload: new Uint8Array(9) });
    for (const to of [MAC.host, BROADCAST]) loop.host.put(ether(to, packet));
    loop.work();
    expect(loop.wire.taken()).toEqual([]);
    expect(loop.counters.privateInterface.notOurs).toBe(2);
  });
});

describe("UDP", () => {
  const ports = { exchange: 303, encapsulation: 4500 };
  const message = new Uint8Array([0, 0, 3, 0xe9, 11, 0, 0, 0, 0, 0, 0, 5]);

  test.each([4, 6] as const)(
    "messages of a key exchange go out over IPv%d and come in, with and without marker",
    (family) => {
      const loop = new GatewayLoop({ ports });
      const to = parseIp(ADDRESS[family].public);
      for (const port of [303, 4500])
        loop.obey({ kind: "exchange", to, toPort: port, fromPort: port, bytes: message });
      const frames = loop.wire.taken();
      const header = family === 4 ? 34 : 54;
      expect(frames.map((frame) => frame.length - header - 8)).toEqual([12, 16]);
      loop.fromWire(...frames.map((frame) => frame.slice(14)));
      expect(loop.news).toHaveLength(2);
      for (const [i, port] of [303, 4500].entries())
        expect(loop.news[i]).toEqual({
          kind: "exchange",
          from: to,
          to,
          fromPort: port,
          toPort: port,
          bytes: message,
        });
      // A wrong checksum, or none, is refused where nothing authenticates it.
      const wrong = (frames[0] as Uint8Array).slice(14);
      wrong[wrong.length - 1] = 9;
      loop.fromWire(wrong);
      expect(loop.news).toHaveLength(2);
      expect(loop.counters.exchange).toEqual({ received: 2, limited: 0, sent: 2 });
      expect(loop.allFree()).toBe(true);
    },
  );

  test("at most 100 messages a second of a stranger are passed on, and they delay none of who was sent to", () => {
    const loop = new GatewayLoop({ ports });
    const to = parseIp(ADDRESS[4].public);
    loop.obey({ kind: "exchange", to, toPort: 303, fromPort: 303, bytes: message });
    const packet = (loop.wire.taken()[0] as Uint8Array).slice(14);
    const other = packet.slice();
    // The number of a route that nobody was told of, and one's complement of a sum that is less by as much.
    other[31] = 1;
    const view = new DataView(other.buffer);
    const sum = view.getUint16(26) + 0xe8;
    view.setUint16(26, sum > 0xffff ? sum - 0xffff : sum);
    for (let i = 0; i < 3; i++) loop.fromWire(...Array.from({ length: 64 }, () => other));
    expect(loop.counters.exchange).toMatchObject({ received: 100, limited: 92 });
    for (let i = 0; i < 3; i++) loop.fromWire(...Array.from({ length: 64 }, () => packet));
    expect(loop.counters.exchange).toMatchObject({ received: 292, limited: 92 });
  });

  test("ESP in UDP over IPv6 has a checksum (RFC 8200 section 8.1), of any length and with any of them", () => {
    const loop = new GatewayLoop({ ports }).join({ outbound: { udp: { from: 4500, to: 4500 } } }, 6);
    const packets = Array.from({ length: 64 }, (_, i) =>
      ip({ from: host, to: remote, protocol: 17, payload: new Uint8Array(5 * i).fill(i) }),
    );
    const { wire } = loop.fromHost(...packets);
    expect(wire).toHaveLength(64);
    for (const frame of wire) {
      const udp = frame.subarray(54);
      expect([frame[20], frame.length - 54]).toEqual([17, new DataView(udp.buffer, 58).getUint16(0)]);
      const pseudo = onesSum(
        new Uint8Array([...frame.subarray(22, 54), 0, 0, frame[58], frame[59], 0, 0, 0, 17] as number[]),
      );
      expect(onesSum(udp, pseudo)).toBe(0xffff);
    }
    expect(loop.fromWire(...wire.map((frame) => frame.slice(14))).host).toHaveLength(64);
    // Without one, as some tunnels have it (RFC 6935): what is in there is authenticated.
    const zero = (loop.fromHost(packets[9] as Uint8Array).wire[0] as Uint8Array).slice(14);
    zero[46] = zero[47] = 0;
    expect(loop.fromWire(zero).host).toHaveLength(1);
  });

  test("ESP in UDP passes both ways, a keepalive is nothing, and other ports are unreachable", () => {
    const loop = new GatewayLoop({ ports }).join({ outbound: { udp: { from: 4500, to: 4500 } } });
    const packet = ip({ from: host, to: remote, protocol: 17, payload: new Uint8Array(30) });
    const { wire } = loop.fromHost(packet);
    expect(wire[0]?.[23]).toBe(17);
    expect(loop.fromWire((wire[0] as Uint8Array).slice(14)).host).toHaveLength(1);
    const udp = (port: number, ...data: number[]) =>
      ip({
        from: "192.0.2.9",
        to: ADDRESS[4].public,
        protocol: 17,
        payload: new Uint8Array([0x11, 0x94, port >> 8, port & 255, 0, 8 + data.length, 0, 0, ...data]),
      });
    expect(loop.fromWire(udp(4500, 0xff))).toEqual({ host: [], wire: [] });
    expect(loop.fromWire(udp(9, 1, 2)).wire).toHaveLength(1);
    expect(loop.counters.publicIcmp4.errorsSent).toBe(1);
  });
});
