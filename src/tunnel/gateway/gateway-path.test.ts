/** The behaviours of section 7 of Vita's inventory, and what a gateway must never do, in memory. */
import { describe, expect, test } from "bun:test";
import { handOpen, handSeal, trailed } from "../../../test/support/esp-memory.ts";
import { ADDRESS, ether, GatewayLoop, icmp, ip, KEY, MAC, SPI } from "../../../test/support/gateway-loop.ts";
import { onesSum } from "../../../test/support/packets.ts";
import { parsePrefix } from "../../net/mod.ts";

const [four, six] = [ADDRESS[4], ADDRESS[6]];
const UDP = 17;
const payload = (bytes: number) => new Uint8Array(bytes).fill(0x55);
/** What a hand on the wire seals for the gateway. */
const sealed = (packet: Uint8Array, sequence: bigint, next = 4) =>
  ip({
    from: "192.0.2.9",
    to: four.public,
    protocol: 50,
    payload: handSeal({
      algorithm: "aes-128-gcm",
      keyMaterial: KEY,
      spi: SPI,
      sequence,
      extended: true,
      text: trailed(packet, next),
    }),
  });
/** Addresses of a frame's packet, its type and code of ICMP, and what it says in its second word. */
function said(frame: Uint8Array | undefined) {
  if (frame === undefined) return undefined;
  const packet = frame.subarray(14);
  const six = (packet[0] as number) >>> 4 === 6;
  const message = packet.subarray(six ? 40 : 20);
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  return {
    ttl: packet[six ? 7 : 8],
    type: message[0],
    code: message[1],
    word: view.getUint32(4),
    bytes: packet.length,
  };
}

describe.each([4, 6] as const)("IPv%d", (family) => {
  const own = ADDRESS[family];
  const [request, reply] = family === 4 ? [8, 0] : [128, 129];
  const counter = (loop: GatewayLoop, where: "private" | "public" | "inbound") =>
    loop.counters[`${where}Icmp${family}`];

  test("a packet goes through with one hop less at each end, and otherwise as it was", () => {
    const loop = new GatewayLoop({ mtuBytes: 1400 }).join();
    for (const bytes of [1, 2, 3, 4, 100, 1300]) {
      const packet = ip({ from: own.host, to: own.remote, protocol: UDP, payload: payload(bytes) });
      const [frame] = loop.around(packet);
      const expected = ip({
        from: own.host,
        to: own.remote,
        protocol: UDP,
        payload: payload(bytes),
        ttl: 62,
      });
      expect(frame?.slice(14)).toEqual(expected);
      expect(frame?.slice(0, 6)).toEqual(ether(MAC.host, expected).slice(0, 6));
    }
    const { routes, outbound, inbound } = loop.path.report();
    expect(routes[0]).toMatchObject({ txpackets: 6, rxpackets: 6, rxbytes: routes[0]?.txbytes as number });
    expect(outbound[0]).toMatchObject({ packets: 6, next: 7, isActive: true });
    expect(inbound[0]).toMatchObject({ packets: 6, decryptErrors: 0, heardMs: 1000 });
    expect(loop.allFree()).toBe(true);
  });

  test("echo requests are answered: private, public, and through the tunnel (8)", () => {
    const loop = new GatewayLoop().join();
    const echo = (to: string) => icmp({ from: own.host, to, type: request });
    expect(said(loop.fromHost(echo(own.private)).host[0])).toMatchObject({ type: reply, ttl: 64 });
    expect(said(loop.fromWire(echo(own.public)).wire[0])).toMatchObject({ type: reply, ttl: 64 });
    // Sealed by hand of the remote end: the answer is sealed too.
    const next = family === 4 ? 4 : 41;
    const asked = icmp({ from: own.remote, to: own.private, type: request });
    const [answer] = loop.fromWire(sealed(asked, 1n, next)).wire;
    const text = handOpen((answer as Uint8Array).slice(34), {
      algorithm: "aes-128-gcm",
      keyMaterial: KEY,
      spi: SPI,
      sequence: 1n,
      extended: true,
    });
    expect(said(new Uint8Array([...new Uint8Array(14), ...text]))).toMatchObject({ type: reply, ttl: 64 });
    for (const where of ["private", "public", "inbound"] as const)
      expect(counter(loop, where).echoRequest).toBe(1);
    expect(loop.allFree()).toBe(true);
  });

  test("a protocol that nobody listens to is refused: private, public, and through the tunnel (10)", () => {
    const loop = new GatewayLoop().join();
    const odd = (from: string, to: string) => ip({ from, to, protocol: 42, payload: payload(30) });
    const error = family === 4 ? { type: 3, code: 2 } : { type: 4, code: 1, word: 6 };
    expect(said(loop.fromHost(odd(own.host, own.private)).host[0])).toMatchObject(error);
    expect(said(loop.fromWire(odd(own.host, own.public)).wire[0])).toMatchObject(error);
    expect(loop.fromWire(sealed(odd(own.remote, own.private), 1n, family === 4 ? 4 : 41)).wire).toHaveLength(
      1,
    );
    expect(counter(loop, "inbound").errorsSent).toBe(1);
  });

  test("what is longer than the MTU is refused with it (11)", () => {
    const loop = new GatewayLoop().join();
    const long = (fragment: number) =>
      ip({ from: own.host, to: own.remote, protocol: UDP, payload: payload(1500), fragment });
    const error =
      family === 4
        ? { type: 3, code: 4, word: 500, bytes: 576 }
        : { type: 2, code: 0, word: 500, bytes: 1280 };
    const { host, wire } = loop.fromHost(long(0x4000));
    expect(said(host[0])).toMatchObject(error);
    expect(wire).toEqual([]);
    // Without "don't fragment" it is dropped without a word.
    if (family === 4) expect(loop.fromHost(long(0)).host).toEqual([]);
    expect(loop.counters.privateRouter.mtuErrors).toBe(family === 4 ? 2 : 1);
  });

  test("a packet whose hops are used up: from the private side, and out of the tunnel (12)", () => {
    const loop = new GatewayLoop().join();
    for (const ttl of [0, 1]) {
      const dead = ip({ from: own.host, to: own.remote, protocol: UDP, payload: payload(9), ttl });
      expect(said(loop.fromHost(dead).host[0])).toMatchObject({
        type: family === 4 ? 11 : 3,
        code: 0,
        ttl: 64,
      });
    }
    const inside = ip({ from: own.remote, to: own.host, protocol: UDP, payload: payload(9), ttl: 1 });
    const { host, wire } = loop.fromWire(sealed(inside, 1n, family === 4 ? 4 : 41));
    expect([host.length, wire.length]).toEqual([0, 1]);
    expect(counter(loop, "inbound").errorsSent).toBe(1);
  });

  test("nothing is said of errors, groups, and what has no address to answer to", () => {
    const loop = new GatewayLoop().join();
    const group = family === 4 ? "224.0.0.9" : "ff02::9";
    const about = (from: string, to: string, type: number) => icmp({ from, to, type, ttl: 1 });
    const silent = [
      about(own.host, own.remote, family === 4 ? 3 : 1),
      about(own.host, group, request),
      about(group, own.remote, request),
      about(family === 4 ? "0.0.0.0" : "::", own.remote, request),
    ];
    expect(loop.fromHost(...silent).host).toEqual([]);
    expect(loop.fromHost(about(own.host, own.remote, request)).host).toHaveLength(1);
  });

  test("errors and answers are limited to 50 at once", () => {
    const loop = new GatewayLoop().join();
    const echo = icmp({ from: own.host, to: own.private, type: request });
    expect(loop.fromHost(...Array.from({ length: 80 }, () => echo)).host).toHaveLength(50);
    loop.nowMs += 100;
    expect(loop.fromHost(...Array.from({ length: 80 }, () => echo)).host).toHaveLength(5);
    expect(counter(loop, "private").limited).toBe(80 - 50 + 75);
  });

  test("an address that is not its route's is refused, and no route or association drops", () => {
    const loop = new GatewayLoop().join();
    const next = family === 4 ? 4 : 41;
    const elsewhere = family === 4 ? "10.9.0.1" : "fd09::1";
    const forged = ip({ from: elsewhere, to: own.host, protocol: UDP, payload: payload(9) });
    expect(loop.fromWire(sealed(forged, 1n, next)).host).toEqual([]);
    expect(loop.counters.publicRouter.refusedSource).toBe(1);
    loop.fromHost(ip({ from: own.host, to: elsewhere, protocol: UDP, payload: payload(9) }));
    loop.obey({ kind: "remove-outbound", route: "far", spi: SPI });
    loop.fromHost(ip({ from: own.host, to: own.remote, protocol: UDP, payload: payload(9) }));
    expect(loop.counters.privateRouter).toMatchObject({ routeErrors: 2, unready: 1 });
    expect(loop.path.report().routes[0]).toMatchObject({ unready: 1, refusedSource: 1 });
  });
});

test("outer IPv4: TTL 64, never fragmented, no number; IPv6: hop limit 64 (4.1)", () => {
  for (const outer of [4, 6] as const) {
    const loop = new GatewayLoop().join({}, outer);
    const { wire } = loop.fromHost(
      ip({ from: four.host, to: four.remote, protocol: UDP, payload: payload(50) }),
    );
    const frame = wire[0] as Uint8Array;
    const header = frame.subarray(14, outer === 4 ? 34 : 54);
    if (outer === 4) {
      expect([...header.subarray(0, 2), ...header.subarray(4, 10)]).toEqual([0x45, 0, 0, 0, 0x40, 0, 64, 50]);
      expect(onesSum(header)).toBe(0xffff);
    } else expect([...header.subarray(0, 4), header[6], header[7]]).toEqual([0x60, 0, 0, 0, 50, 64]);
    expect(loop.fromWire(frame.slice(14)).host).toHaveLength(1);
  }
});

test("with TFC all are as long, and padding behind a packet is cut off (16)", () => {
  const loop = new GatewayLoop({ tfc: true }).join();
  const packet = ip({ from: four.host, to: four.remote, protocol: UDP, payload: payload(6) });
  const padded = new Uint8Array([...packet, ...new Uint8Array(20)]);
  const { wire } = loop.fromHost(padded);
  expect(wire[0]).toHaveLength(14 + 20 + 16 + 500 + 2 + 2 + 16);
  expect(loop.fromWire((wire[0] as Uint8Array).slice(14)).host[0]).toHaveLength(14 + packet.length);
});

test("with TFC a route's packets are as long as its own MTU, not as the gateway's", () => {
  const loop = new GatewayLoop({ tfc: true }).join();
  const prefixes = ["10.0.0.0/24", "10.1.0.0/16"].map(parsePrefix);
  for (const mtuBytes of [300, 700]) {
    loop.obey({ kind: "route", route: { name: "far", prefixes, mtuBytes } });
    const { wire } = loop.fromHost(
      ip({ from: four.host, to: four.remote, protocol: UDP, payload: payload(6) }),
    );
    expect(wire[0]).toHaveLength(14 + 20 + 16 + mtuBytes + 2 + 2 + 16);
  }
});

test.each([4, 6] as const)("IPv%d: addresses that nothing is forwarded from or to, and our own", (family) => {
  const own = ADDRESS[family];
  const never =
    family === 4
      ? ["127.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.0.9", "0.0.0.0"]
      : ["::1", "ff0e::1", "fe80::9", "::"];
  const loop = new GatewayLoop().join();
  loop.obey({
    kind: "route",
    route: { name: "far", prefixes: [parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0")] },
  });
  const packets = (from: string, to: string) => [
    ...never.map((address) => ip({ from, to: address, protocol: UDP, payload: payload(9) })),
    ...[...never, own.private, own.public].map((address) =>
      ip({ from: address, to, protocol: UDP, payload: payload(9) }),
    ),
  ];
  const out = packets(own.host, own.remote);
  expect(loop.fromHost(...out)).toEqual({ host: [], wire: [] });
  expect(loop.counters.privateRouter.refusedAddress).toBe(out.length);
  const next = family === 4 ? 4 : 41;
  const opened = packets(own.remote, own.host);
  const frames = opened.map((packet, i) => sealed(packet, BigInt(i + 1), next));
  expect(loop.fromWire(...frames)).toEqual({ host: [], wire: [] });
  expect(loop.counters.publicRouter.refusedAddress).toBe(opened.length);
});

test("a packet that says it is shorter than its header is dropped, and nothing is said of it", () => {
  const loop = new GatewayLoop().join();
  for (const to of [four.remote, four.private])
    for (const total of [0, 12, 19]) {
      const { host, wire } = loop.fromHost(
        ip({ from: four.host, to, protocol: UDP, payload: payload(30), total }),
      );
      expect([host, wire]).toEqual([[], []]);
    }
  expect(loop.counters.outboundTtl.protocolErrors).toBe(6);
});

test("a replayed packet is not opened, whatever it says now", () => {
  const loop = new GatewayLoop().join();
  const good = sealed(ip({ from: four.remote, to: four.host, protocol: UDP, payload: payload(9) }), 1n);
  expect(loop.fromWire(good).host).toHaveLength(1);
  const forged = good.slice();
  forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
  loop.fromWire(good, forged);
  // Both are known by their number alone.
  expect(loop.path.report().inbound[0]).toMatchObject({ decryptErrors: 2, replayed: 2 });
});

test("fragments, wrong checksums and lengths are dropped and counted (8, 9, 13, 15)", () => {
  const loop = new GatewayLoop().join();
  const echo = { from: four.host, to: four.private, type: 8 };
  for (const fragment of [0x2000, 17]) loop.fromHost(icmp({ ...echo, fragment }));
  const bad = icmp(echo);
  bad[25] = 0;
  loop.fromHost(bad);
  expect(loop.counters.privateIcmp4).toMatchObject({ protocolErrors: 3, echoRequest: 0 });
  // It says it is longer than it is: what is there is answered.
  expect(loop.fromHost(icmp({ ...echo, total: 200 })).host).toHaveLength(1);
  const header = ip({ from: four.host, to: four.remote, protocol: UDP, payload: payload(9) });
  header[10] = (header[10] as number) ^ 1;
  loop.fromHost(header);
  expect(loop.counters.outboundTtl.checksumErrors).toBe(1);
  for (const fragment of [0x2000, 17])
    loop.fromWire(ip({ from: "192.0.2.9", to: four.public, protocol: 50, payload: payload(64), fragment }));
  expect(loop.counters.publicDispatch.fragmentErrors).toBe(2);
  expect(loop.allFree()).toBe(true);
});

test("unknown SPIs, replayed packets and other contents are dropped and counted (14)", () => {
  const loop = new GatewayLoop().join();
  const esp = (bytes: Uint8Array) => ip({ from: "192.0.2.9", to: four.public, protocol: 50, payload: bytes });
  loop.fromWire(esp(new Uint8Array(64)), esp(payload(64)));
  expect(loop.counters.publicRouter.routeErrors).toBe(2);
  const packet = ip({ from: four.remote, to: four.host, protocol: UDP, payload: payload(9) });
  const good = sealed(packet, 5n);
  expect(loop.fromWire(good, good).host).toHaveLength(1);
  loop.fromWire(sealed(packet, 6n, 42), sealed(packet, 7n, 41));
  const forged = sealed(packet, 8n);
  forged[forged.length - 1] = (forged.at(-1) as number) ^ 1;
  loop.fromWire(forged);
  // Without a packet: a text of nothing that is said to be one, and a dummy (RFC 4303, section 2.6).
  loop.fromWire(sealed(payload(0), 9n), sealed(payload(0), 10n, 59), sealed(payload(40), 11n, 59));
  const refused = { decryptErrors: 2, replayed: 1, protocolErrors: 5 };
  expect(loop.path.report().inbound[0]).toMatchObject(refused);
  expect(loop.path.report().routes[0]).toMatchObject(refused);
  expect(loop.fromWire(sealed(packet, 8n)).host).toHaveLength(1);
  const { spi } = loop.path.report().inbound[0] as { spi: number };
  loop.path.obey({ kind: "remove-inbound", spi });
  // What an association has refused stays its route's.
  expect(loop.path.report().routes[0]).toMatchObject(refused);
});

test("ICMP that comes is counted by type and code (17)", () => {
  const loop = new GatewayLoop();
  const send = (type: number, code: number) =>
    loop.fromHost(icmp({ from: four.host, to: four.private, type, code }));
  for (const [type, codes] of [
    [3, 6],
    [11, 2],
    [12, 1],
    [5, 4],
  ] as const)
    for (let code = 0; code < codes; code++) send(type, code);
  for (const type of [3, 11, 5]) send(type, 100);
  loop.nowMs += 10_000;
  for (const type of [0, 4, 13, 14, 15, 16, 100]) send(type, 0);
  expect(loop.counters.privateIcmp4).toMatchObject({
    destinationUnreachable: 7,
    fragmentationNeeded: 1,
    timeExceeded: 3,
    parameterProblem: 1,
    redirect: 5,
    redirectTosHost: 1,
    codeNotImplementedErrors: 3,
    typeNotImplementedErrors: 7,
  });
});

test("ICMPv6 that comes is counted by type and code, or as wrong (8, 15, 17)", () => {
  const loop = new GatewayLoop();
  const about = { from: six.host, to: six.private };
  const send = (type: number, code: number) => loop.fromHost(icmp({ ...about, type, code }));
  for (const [type, codes] of [
    [1, 7],
    [2, 1],
    [3, 2],
    [4, 3],
  ] as const)
    for (let code = 0; code < codes; code++) send(type, code);
  for (const type of [1, 3, 4]) send(type, 100);
  for (const type of [0, 5, 100, 129, 200]) send(type, 0);
  // It says it is longer than it is, or is another than its sum: nothing is answered.
  const bad = icmp({ ...about, type: 128 });
  bad[43] = (bad[43] as number) ^ 1;
  expect(loop.fromHost(bad, icmp({ ...about, type: 128, total: 200 }))).toEqual({ host: [], wire: [] });
  expect(loop.counters.privateIcmp6).toMatchObject({
    destinationUnreachable: 8,
    netDenied: 1,
    packetTooBig: 1,
    timeExceeded: 3,
    parameterProblem: 4,
    optionProblem: 1,
    codeNotImplementedErrors: 3,
    typeNotImplementedErrors: 5,
    echoRequest: 0,
  });
  expect(loop.counters.privateIcmp6.protocolErrors + loop.counters.outboundTtl.protocolErrors).toBe(2);
});

test("IPv6: an error is no longer than 1280 bytes, whatever it is about", () => {
  const loop = new GatewayLoop({ mtuBytes: 1600 }).join();
  const long = ip({ from: six.host, to: six.private, protocol: 42, payload: payload(1500) });
  const [error] = loop.fromHost(long).host;
  expect(said(error)).toMatchObject({ type: 4, code: 1, word: 6, bytes: 1280 });
  expect(error?.slice(14 + 48)).toEqual(long.slice(0, 1280 - 48));
});
