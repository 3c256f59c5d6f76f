/**
 * What the numbers of an order must be, looked at before anything is done: an order comes from another thread or process as it is, and what is
 * no number (NaN) would pass comparisons, and be cut to some other value where it is written.
 */
import { bitsOf, formatPrefix, type Prefix, prefixEqual, prefixOf } from "../../net/mod.ts";
import { AEAD_KEY_BYTES } from "../../sys/mod.ts";
import { LAST_SEQUENCE, LEAST_SPI, LEAST_WINDOW, MOST_WINDOW } from "../esp/mod.ts";
import type {
  Encapsulation,
  GatewayAssociation,
  GatewayOrder,
  InboundOrder,
  OutboundOrder,
  RouteOrder,
  UseLimit,
} from "./order.ts";
import type { SideConfiguration } from "./side.ts";

/** MOST_MTU is the longest IP packet. */
const MOST_MTU = 65_535;
const MOST_PORT = 65_535;
const MOST_MAC = 2 ** 48 - 1;
const MOST_SPI = 2 ** 32 - 1;
const MOST_COUNT = Number.MAX_SAFE_INTEGER;
/** The bit of a group's link address. */
const GROUP = 2 ** 40;

/** Range is what a number may be, both ends included. */
interface Range {
  readonly least: number;
  readonly most: number;
}

const RANGE = {
  spi: { least: LEAST_SPI, most: MOST_SPI },
  port: { least: 1, most: MOST_PORT },
  mtu: { least: 0, most: MOST_MTU },
  count: { least: 1, most: MOST_COUNT },
  window: { least: LEAST_WINDOW, most: MOST_WINDOW },
  mac: { least: 1, most: MOST_MAC },
} as const satisfies Record<string, Range>;

/** Throws unless the field of an object is a whole number in a range. */
function whole(object: string, field: string, value: unknown, { least, most }: Range): void {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return;
  throw new RangeError(
    `Cannot obey an order about ${object}: ${field} is ${String(value)}; give a whole number from ${least} to ${most}`,
  );
}

type Checks = {
  readonly [Kind in GatewayOrder["kind"]]: (order: Extract<GatewayOrder, { kind: Kind }>) => void;
};

const checks: Checks = {
  mtu: ({ mtuBytes }) => whole("the gateway's MTU", "mtuBytes", mtuBytes, RANGE.mtu),
  side: ({ side, configuration }) => checkSide(side, configuration),
  "next-hop": ({ side, family, mac }) => {
    const object = `the ${side} side`;
    whole(object, "family", family, { least: 4, most: 6 });
    checkNeighbour(object, `the IPv${family} next hop's mac`, mac);
  },
  route: ({ route }) => checkRoute(route),
  "remove-route": () => {},
  inbound: ({ association }) => checkInbound(association),
  "remove-inbound": ({ spi }) => whole("an inbound association", "spi", spi, RANGE.spi),
  outbound: ({ association }) => checkOutbound(association),
  "move-outbound": (order) => checkSpi(order),
  "remove-outbound": (order) => checkSpi(order),
  reserve: (order) => {
    checkSpi(order);
    whole(outboundName(order), "last", order.last, RANGE.count);
  },
  endpoint: (order) => {
    checkSpi(order);
    checkPorts(outboundName(order), order.udp);
  },
  exchange: ({ fromPort, toPort }) => {
    whole("a message", "fromPort", fromPort, RANGE.port);
    whole("a message", "toPort", toPort, RANGE.port);
  },
};

/** checkOrder throws RangeError, with object, field, value and what it should be, for a number that cannot be. */
export function checkOrder(order: GatewayOrder): void {
  (checks[order.kind] as (order: GatewayOrder) => void)(order);
}

/** checkSide does so for a side's configuration. */
export function checkSide(side: string, { mac, four, six }: SideConfiguration): void {
  const object = `the ${side} side`;
  checkNeighbour(object, "mac", mac);
  for (const address of [four, six])
    if (address?.nextHopMac !== undefined)
      checkNeighbour(object, `the IPv${address.ip.family} nextHopMac`, address.nextHopMac);
}

/** One host's link address. */
function checkNeighbour(object: string, field: string, mac: number): void {
  whole(object, field, mac, RANGE.mac);
  if (Math.floor(mac / GROUP) % 2 === 1)
    throw new RangeError(
      `Cannot obey an order about ${object}: ${field} is ${mac}, a group's address; give one host's`,
    );
}

function checkRoute({ name, prefixes, mtuBytes }: RouteOrder): void {
  const object = `route ${name}`;
  if (mtuBytes !== undefined) whole(object, "mtuBytes", mtuBytes, RANGE.mtu);
  for (const prefix of prefixes) checkPrefix(object, prefix);
}

function checkPrefix(object: string, prefix: Prefix): void {
  const { family, value, length } = prefix;
  whole(object, `the length of an IPv${family} prefix`, length, { least: 0, most: bitsOf(family) });
  const network = prefixOf({ family, value }, length);
  if (!prefixEqual(network, prefix))
    throw new RangeError(
      `Cannot obey an order about ${object}: prefix ${formatPrefix(prefix)} has bits behind its length; give ${formatPrefix(network)}`,
    );
}

const outboundName = ({ route, spi }: { readonly route: string; readonly spi: number }) =>
  `outbound association ${spi} of ${route}`;

function checkSpi(order: { readonly route: string; readonly spi: number }): void {
  whole(`an outbound association of ${order.route}`, "spi", order.spi, RANGE.spi);
}

function checkAssociation(object: string, association: GatewayAssociation): void {
  const { spi, algorithm, endsMs, soft, hard } = association;
  whole(object, "spi", spi, RANGE.spi);
  if (AEAD_KEY_BYTES[algorithm] === undefined)
    throw new RangeError(
      `Cannot obey an order about ${object}: algorithm is ${algorithm}; give one of ${Object.keys(AEAD_KEY_BYTES).join(", ")}`,
    );
  // Written so that NaN fails as well.
  if (endsMs !== undefined && !(endsMs >= 0))
    throw new RangeError(
      `Cannot obey an order about ${object}: endsMs is ${endsMs}; give milliseconds of the path's clock, or nothing`,
    );
  checkLimit(object, "soft", soft);
  checkLimit(object, "hard", hard);
}

function checkLimit(object: string, name: string, limit: UseLimit | undefined): void {
  for (const field of ["packets", "bytes"] as const)
    if (limit?.[field] !== undefined) whole(object, `${name}.${field}`, limit[field], RANGE.count);
}

function checkInbound(association: InboundOrder): void {
  const { route, spi, windowPackets, newest } = association;
  const object = `inbound association ${spi} of ${route}`;
  checkAssociation(object, association);
  if (windowPackets !== undefined) whole(object, "windowPackets", windowPackets, RANGE.window);
  if (newest !== undefined) whole(object, "newest", newest, { least: 0, most: greatest(association) - 1 });
}

function checkOutbound(association: OutboundOrder): void {
  const { next, last, udp } = association;
  const object = outboundName(association);
  checkAssociation(object, association);
  whole(object, "next", next, { least: 1, most: greatest(association) });
  if (last !== undefined) whole(object, "last", last, { least: next - 1, most: MOST_COUNT });
  checkPorts(object, udp);
}

/** The greatest sequence number of an association. */
function greatest({ extended = true }: GatewayAssociation): number {
  return LAST_SEQUENCE[extended ? "extended" : "plain"];
}

function checkPorts(object: string, udp: Encapsulation | undefined): void {
  if (udp === undefined) return;
  whole(object, "udp.from", udp.from, RANGE.port);
  whole(object, "udp.to", udp.to, RANGE.port);
}
