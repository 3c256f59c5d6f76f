/** What a queue of a gateway has carried, as plain values: for `get-state`, metrics, and whoever watches limits and liveness. No secrets. */
import { type Mac, macFromBytes } from "../../net/mod.ts";
import type { GatewayCounters, InterfaceCounters } from "./counters.ts";
import type { FramePort } from "./frame-port.ts";
import type { Inbound, Outbound } from "./gateway-association.ts";
import type { GatewayContext } from "./gateway-context.ts";
import type { GatewayRoute } from "./gateway-route.ts";
import type { Side, SideFamily } from "./side.ts";

/** AssociationReport is what both directions have. Bytes are of inner packets; `endsMs` absent: never. */
export interface AssociationReport {
  readonly route: string;
  readonly spi: number;
  readonly packets: number;
  readonly bytes: number;
  readonly endsMs?: number;
}

/** OutboundReport is an association that seals; `next` is its next sequence number, `last` the last that may be used. */
export interface OutboundReport extends AssociationReport {
  readonly isActive: boolean;
  readonly next: number;
  readonly last: number;
}

/** Refused are packets that came for an association, or those of a route, and were not passed on. */
export interface Refused {
  /** Not authentic, or `replayed`. */
  readonly decryptErrors: number;
  /** Came again, or so late that nobody knows. */
  readonly replayed: number;
  /** Opened, and no packet: dummy packets too. */
  readonly protocolErrors: number;
}

/** InboundReport is an association that opens. */
export interface InboundReport extends AssociationReport, Refused {
  readonly refusedSource: number;
  /** The greatest sequence number that was seen, for InboundOrder.newest; 0 before the first. */
  readonly newest: number;
  /** When something authentic came last. */
  readonly heardMs?: number;
}

/** Carried is what associations carried each way, of inner packets: `tx…` were sealed, `rx…` authentic. */
export interface Carried {
  readonly txpackets: number;
  readonly txbytes: number;
  readonly rxpackets: number;
  readonly rxbytes: number;
}

/**
 * RouteReport is a route. Of what was sealed, `txdrop` are those that no port took; of what was authentic, `refusedSource` are those that were dropped
 * for their source. What was refused counts all its associations, also those that are gone.
 */
export interface RouteReport extends Carried, Refused {
  readonly name: string;
  /** Largest inner packet. */
  readonly mtuBytes: number;
  readonly txdrop: number;
  readonly mtuErrors: number;
  readonly unready: number;
  readonly exhausted: number;
  readonly refusedSource: number;
}

/** MtuReport is the gateway's MTU: what it is, what was asked for, and the most that the frames have room for. */
export interface MtuReport {
  readonly bytes: number;
  readonly askedBytes: number;
  readonly mostBytes: number;
}

/** NextHopReport is a neighbour; without a link address as long as it is not known. */
export interface NextHopReport {
  readonly mac?: Mac;
}

/** GatewayReport is everything. */
export interface GatewayReport {
  readonly mtu: MtuReport;
  readonly counters: GatewayCounters;
  /** By whom sees no frames: what the queue has carried, in place of counters of its interfaces. */
  readonly carried?: Carried;
  readonly routes: readonly RouteReport[];
  readonly outbound: readonly OutboundReport[];
  readonly inbound: readonly InboundReport[];
  /** The neighbours, by side and family; absent where there is no such family. */
  readonly nextHops: {
    readonly private: { readonly 4?: NextHopReport; readonly 6?: NextHopReport };
    readonly public: { readonly 4?: NextHopReport; readonly 6?: NextHopReport };
  };
}

/** reportOf reads a queue. */
export function reportOf(context: GatewayContext): GatewayReport {
  const { book, mtu, privateHost, publicHost } = context;
  const routes = [...book.routes];
  const refused = refusedByRoute(book.inbound.values());
  return {
    mtu,
    counters: countersOf(context),
    routes: routes.map((route) => routeReport(route, refused.get(route) ?? NOTHING_REFUSED)),
    outbound: routes.flatMap((route) =>
      [...route.waiting.values(), ...(route.outbound === undefined ? [] : [route.outbound])].map(
        outboundReport,
      ),
    ),
    inbound: [...book.inbound.values()].map(inboundReport),
    nextHops: { private: hopsOf(privateHost.side), public: hopsOf(publicHost.side) },
  };
}

function countersOf({ counters, privatePort, publicPort }: GatewayContext): GatewayCounters {
  const copy = structuredClone(counters);
  addLosses(copy.privateInterface, privatePort);
  addLosses(copy.publicInterface, publicPort);
  return copy;
}

function addLosses(counters: InterfaceCounters, port: FramePort): void {
  const lost = port.lost?.();
  if (lost === undefined) return;
  const { tooLong, noRoom, unsent, unsentBytes } = lost;
  Object.assign(counters, {
    rxTooLong: tooLong,
    rxNoRoom: noRoom,
    txpackets: counters.txpackets - unsent,
    txbytes: counters.txbytes - unsentBytes,
    txdrop: counters.txdrop + unsent,
  });
}

function hopsOf({ four, six }: Side): { readonly 4?: NextHopReport; readonly 6?: NextHopReport } {
  return {
    ...(four === undefined ? {} : { 4: hopOf(four) }),
    ...(six === undefined ? {} : { 6: hopOf(six) }),
  };
}

function hopOf({ isResolved, nextHopMac }: SideFamily): NextHopReport {
  return isResolved ? { mac: macFromBytes(nextHopMac) } : {};
}

function routeReport(route: GatewayRoute, refused: Refused): RouteReport {
  const { name, mtuBytes, txpackets, txbytes, txdrop, rxpackets, rxbytes } = route;
  const { mtuErrors, unready, exhausted, refusedSource } = route;
  const traffic = { txpackets, txbytes, txdrop, rxpackets, rxbytes };
  const dropped = { mtuErrors, unready, exhausted, refusedSource };
  return { name, mtuBytes, ...traffic, ...dropped, ...addRefused(route, refused) };
}

/** NOTHING_REFUSED is what a new association has refused. */
export const NOTHING_REFUSED: Refused = { decryptErrors: 0, replayed: 0, protocolErrors: 0 };

/** addRefused adds up what was refused. */
export function addRefused(a: Refused, b: Refused): Refused {
  return {
    decryptErrors: a.decryptErrors + b.decryptErrors,
    replayed: a.replayed + b.replayed,
    protocolErrors: a.protocolErrors + b.protocolErrors,
  };
}

/** refusedByRoute adds up what associations have refused, by their route. */
export function refusedByRoute<R>(
  inbound: Iterable<Refused & { readonly route: R }>,
): ReadonlyMap<R, Refused> {
  const all = new Map<R, Refused>();
  for (const one of inbound) all.set(one.route, addRefused(all.get(one.route) ?? NOTHING_REFUSED, one));
  return all;
}

function associationReport({ route, spi, packets, bytes, endsMs }: Inbound | Outbound): AssociationReport {
  return {
    route: route.name,
    spi,
    packets,
    bytes,
    ...(Number.isFinite(endsMs) ? { endsMs } : {}),
  };
}

function outboundReport(outbound: Outbound): OutboundReport {
  const { route, next, association } = outbound;
  return {
    ...associationReport(outbound),
    isActive: route.outbound === outbound,
    next,
    last: association.last,
  };
}

function inboundReport(inbound: Inbound): InboundReport {
  const { decryptErrors, replayed, protocolErrors, refusedSource, newest, heardMs } = inbound;
  return {
    ...associationReport(inbound),
    decryptErrors,
    replayed,
    protocolErrors,
    refusedSource,
    newest,
    ...(heardMs === undefined ? {} : { heardMs }),
  };
}
