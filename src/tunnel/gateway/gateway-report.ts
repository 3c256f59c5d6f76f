/** What a queue of a gateway has carried, as plain values: for `get-state`, metrics, and whoever watches limits and liveness. No secrets. */
import type { GatewayCounters } from "./counters.ts";
import type { Inbound, Outbound } from "./gateway-association.ts";
import type { GatewayContext } from "./gateway-context.ts";
import type { GatewayRoute } from "./gateway-route.ts";

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

/** InboundReport is an association that opens. */
export interface InboundReport extends AssociationReport {
  readonly decryptErrors: number;
  readonly replayed: number;
  readonly protocolErrors: number;
  readonly refusedSource: number;
  /** When something authentic came last. */
  readonly heardMs?: number;
}

/** RouteReport is a route. */
export interface RouteReport {
  readonly name: string;
  readonly txpackets: number;
  readonly txbytes: number;
  readonly rxpackets: number;
  readonly rxbytes: number;
  readonly mtuErrors: number;
  readonly unready: number;
  readonly exhausted: number;
  readonly refusedSource: number;
}

/** GatewayReport is everything. */
export interface GatewayReport {
  readonly counters: GatewayCounters;
  readonly routes: readonly RouteReport[];
  readonly outbound: readonly OutboundReport[];
  readonly inbound: readonly InboundReport[];
  /** Whether the neighbours' link addresses are known, by side and family; absent where there is no such family. */
  readonly nextHops: {
    readonly private: { readonly 4?: boolean; readonly 6?: boolean };
    readonly public: { readonly 4?: boolean; readonly 6?: boolean };
  };
}

/** reportOf reads a queue. */
export function reportOf({ book, counters, privateHost, publicHost }: GatewayContext): GatewayReport {
  const hops = ({ four, six }: typeof privateHost.side) => ({
    ...(four === undefined ? {} : { 4: four.isResolved }),
    ...(six === undefined ? {} : { 6: six.isResolved }),
  });
  const routes = [...book.routes];
  return {
    counters: structuredClone(counters),
    routes: routes.map(routeReport),
    outbound: routes.flatMap((route) =>
      [...route.waiting.values(), ...(route.outbound === undefined ? [] : [route.outbound])].map(
        outboundReport,
      ),
    ),
    inbound: [...book.inbound.values()].map(inboundReport),
    nextHops: { private: hops(privateHost.side), public: hops(publicHost.side) },
  };
}

function routeReport(route: GatewayRoute): RouteReport {
  const { name, txpackets, txbytes, rxpackets, rxbytes } = route;
  const { mtuErrors, unready, exhausted, refusedSource } = route;
  return { name, txpackets, txbytes, rxpackets, rxbytes, mtuErrors, unready, exhausted, refusedSource };
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
  const { decryptErrors, replayed, protocolErrors, refusedSource, heardMs } = inbound;
  return {
    ...associationReport(inbound),
    decryptErrors,
    replayed,
    protocolErrors,
    refusedSource,
    ...(heardMs === undefined ? {} : { heardMs }),
  };
}
