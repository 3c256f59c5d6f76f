/** Numbers that cannot be are refused with object, field, value and what they should be, and nothing has changed. */
import { expect, test } from "bun:test";
import { ADDRESS, GatewayLoop, KEY, MAC, SPI } from "../../../test/support/gateway-loop.ts";
import { parseIp, parsePrefix, type Prefix } from "../../net/mod.ts";
import type { GatewayOrder } from "./order.ts";

const to = parseIp(ADDRESS[4].public);
const association = { route: "far", spi: 999, algorithm: "aes-128-gcm", keyMaterial: KEY } as const;
const bare = { route: "far", spi: SPI };
const four = { ip: to, nextHop: to };
const nonsense = [Number.NaN, Number.POSITIVE_INFINITY, -1, 1.5, 2 ** 53, undefined, "7"] as const;

/** Makes an order with a value in one place; the object and the field that the error names. */
type Place = readonly [
  object: string,
  field: string,
  make: (value: never) => unknown,
  extra?: readonly unknown[],
];

const places: readonly Place[] = [
  ["the gateway's MTU", "mtuBytes", (mtuBytes) => ({ kind: "mtu", mtuBytes, tfc: false }), [65_536]],
  ["the private side", "mac", (mac) => side({ mac, four }), [0, 2 ** 48, 0x01_00_00_00_00_00]],
  [
    "the private side",
    "the IPv4 nextHopMac",
    (nextHopMac) => side({ mac: MAC.private, four: { ...four, nextHopMac: nextHopMac ?? null } }),
    [0, 2 ** 48],
  ],
  [
    "the public side",
    "the IPv4 next hop's mac",
    (mac) => ({ kind: "next-hop", side: "public", family: 4, mac }),
    [0xffff_ffff_ffff],
  ],
  [
    "the public side",
    "family",
    (family) => ({ kind: "next-hop", side: "public", family, mac: MAC.host }),
    [5 - 2, 7],
  ],
  ["route far", "mtuBytes", (mtuBytes) => route({ mtuBytes: mtuBytes ?? null }), [65_536]],
  [
    "route far",
    "the length of an IPv4 prefix",
    (length) => route({ prefixes: [{ ...parsePrefix("10.9.0.0/16"), length }] }),
    [33],
  ],
  ...(["inbound", "outbound"] as const).flatMap((kind): Place[] => {
    const object = (spi: unknown = 999) => `${kind} association ${String(spi)} of far`;
    const make = (more: object) => ({ kind, association: { ...association, to, next: 1, ...more } });
    return [
      ["association", "spi", (spi) => make({ spi }), [0, 255, 2 ** 32]],
      [object(), "soft.packets", (packets) => make({ soft: { packets: packets ?? null } }), [0]],
      [object(), "hard.bytes", (bytes) => make({ hard: { bytes: bytes ?? null } }), [0]],
    ];
  }),
  [
    "inbound association 999",
    "windowPackets",
    (value) => inbound({ windowPackets: value ?? null }),
    [31, 8193],
  ],
  ["inbound association 999", "newest", (newest) => inbound({ newest: newest ?? null }), [2 ** 53 - 1]],
  [
    "inbound association 999",
    "newest",
    (newest) => inbound({ newest: newest ?? null, extended: false }),
    [2 ** 32],
  ],
  ["outbound association 999", "next", (next) => outbound({ next }), [0]],
  ["outbound association 999", "next", (next) => outbound({ next, extended: false }), [2 ** 32]],
  ["outbound association 999", "last", (last) => outbound({ next: 100, last: last ?? null }), [98]],
  ["outbound association 999", "udp.from", (from) => outbound({ udp: { from, to: 1 } }), [0, 65_536]],
  [
    `outbound association ${SPI}`,
    "udp.to",
    (port) => ({ kind: "endpoint", ...bare, to, udp: { from: 1, to: port } }),
    [65_536],
  ],
  [`outbound association ${SPI}`, "last", (last) => ({ kind: "reserve", ...bare, last }), [0]],
  ["an outbound association of far", "spi", (spi) => ({ kind: "reserve", ...bare, spi, last: 5 }), [2 ** 32]],
  ["an outbound association of far", "spi", (spi) => ({ kind: "move-outbound", ...bare, spi })],
  ["an outbound association of far", "spi", (spi) => ({ kind: "remove-outbound", ...bare, spi })],
  ["an inbound association", "spi", (spi) => ({ kind: "remove-inbound", spi })],
  [
    "a message",
    "toPort",
    (toPort) => ({ kind: "exchange", to, toPort, fromPort: 1, bytes: KEY }),
    [0, 65_536],
  ],
  ["a message", "fromPort", (fromPort) => ({ kind: "exchange", to, toPort: 1, fromPort, bytes: KEY })],
];

function side(configuration: object) {
  return { kind: "side", side: "private", configuration };
}
function route(more: object) {
  return { kind: "route", route: { name: "far", prefixes: [], ...more } };
}
function inbound(more: object) {
  return { kind: "inbound", association: { ...association, ...more } };
}
function outbound(more: object) {
  return { kind: "outbound", association: { ...association, to, next: 1, ...more } };
}

test.each(places)("%s: %s", (object, field, make, extra = []) => {
  const loop = new GatewayLoop().join();
  const before = loop.path.report();
  for (const value of [...nonsense, ...extra]) {
    const obey = () => loop.obey(make(value as never) as GatewayOrder);
    expect(obey).toThrow(RangeError);
    expect(obey).toThrow(object);
    expect(obey).toThrow(`${field} is ${value === undefined ? "" : String(value)}`);
    expect(obey).toThrow("; give ");
  }
  expect(loop.path.report()).toEqual(before);
  expect(loop.wire.taken()).toEqual([]);
});

test("what is no number elsewhere", () => {
  const loop = new GatewayLoop().join();
  const refused = (order: unknown, text: string) =>
    expect(() => loop.obey(order as GatewayOrder)).toThrow(text);
  refused(inbound({ endsMs: Number.NaN }), "endsMs is NaN; give milliseconds of the path's clock");
  refused(inbound({ algorithm: "rot13" }), "algorithm is rot13; give one of");
  const odd: Prefix = { ...parsePrefix("10.9.0.0/16"), length: 8 };
  refused(route({ prefixes: [odd] }), "prefix 10.9.0.0/8 has bits behind its length; give 10.0.0.0/8");
  expect(() => new GatewayLoop({ mtuBytes: Number.NaN })).toThrow("mtuBytes is NaN");
});
