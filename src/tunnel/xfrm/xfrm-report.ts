/** What the kernel's ESP has carried, in the form that the data path in user space reports. */
import type { NeighbourInfo } from "../../netlink/mod.ts";
import { type Ip, ipEqual } from "../../net/mod.ts";
import {
  addRefused,
  type AssociationReport,
  type Carried,
  type GatewayReport,
  newGatewayCounters,
  type NextHopReport,
  NOTHING_REFUSED,
  type Refused,
  refusedByRoute,
  type RouteReport,
  type SideConfiguration,
} from "../gateway/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import type { XfrmBook } from "./xfrm-book.ts";
import type { XfrmCarrier } from "./xfrm-carrier.ts";
import type { XfrmRoute } from "./xfrm-route.ts";

/** Longest inner packet. */
const MOST_PACKET = 65_535;
const STATISTICS = "/proc/thread-self/net/xfrm_stat";

/** XfrmStatistics are the namespace's counters of drops (Documentation/networking/xfrm_proc.rst), from when they were made. */
export class XfrmStatistics {
  readonly #kernel: KernelEsp;
  readonly #before: ReadonlyMap<string, number>;

  constructor(kernel: KernelEsp) {
    this.#kernel = kernel;
    this.#before = this.#read();
  }

  #read(): ReadonlyMap<string, number> {
    const text = this.#kernel.text(STATISTICS) ?? "";
    return new Map(
      [...text.matchAll(/^(\S+)\s+(\d+)$/gm)].map(([, name, count]) => [name as string, Number(count)]),
    );
  }

  /** since returns the sum of some counters. */
  since(...names: readonly string[]): number {
    const now = this.#read();
    return names.reduce((sum, name) => sum + (now.get(name) ?? 0) - (this.#before.get(name) ?? 0), 0);
  }
}

/**
 * reportOf reads a queue. What the kernel counts for the namespace only is not told apart by route: packets for which there was no association, or
 * that a policy blocked (it counts those of no policy), and those that were opened and came from an address that is not their route's.
 */
export function reportOf(
  book: XfrmBook,
  about: {
    readonly queue: number;
    readonly exchange: GatewayReport["counters"]["exchange"];
    readonly statistics: Pick<XfrmStatistics, "since">;
    readonly neighbours: readonly NeighbourInfo[];
  },
): GatewayReport {
  const { queue, statistics, neighbours } = about;
  const sides = book.queue(queue);
  const those = (one: XfrmCarrier) => one.queue === queue;
  const active = [...book.active].filter(those);
  const refused = refusedByRoute([...book.inbound].filter(those));
  const hops = (side: SideConfiguration) => ({
    ...(side.four && { 4: hopOf(neighbours, side.four.nextHop) }),
    ...(side.six && { 6: hopOf(neighbours, side.six.nextHop) }),
  });
  const { mtuBytes } = sides;
  return {
    // The kernel puts fragments together in memory of its own: any packet has room.
    mtu: { bytes: mtuBytes, askedBytes: mtuBytes, mostBytes: MOST_PACKET },
    counters: { ...countersOf(statistics), exchange: { ...about.exchange } },
    carried: carriedBy(book, those, book.carried.get(queue)),
    routes: [...book.routes.values()]
      .filter(({ queues }) => queues.has(queue))
      .map((route) => ({
        ...routeReport(book, route, { queue, mtuBytes: route.ownMtuBytes ?? mtuBytes }),
        ...addRefused(route.refused.get(queue) ?? NOTHING_REFUSED, refused.get(route) ?? NOTHING_REFUSED),
      })),
    outbound: [...[...book.waiting].filter(those), ...active].map((one) => ({
      ...associationReport(one),
      isActive: book.active.has(one),
      next: one.next,
      last: one.most,
    })),
    inbound: [...book.inbound].filter(those).map((one) => ({
      ...associationReport(one),
      decryptErrors: one.decryptErrors,
      replayed: one.replayed,
      protocolErrors: one.protocolErrors,
      refusedSource: 0,
      newest: one.newest,
      ...(one.heardMs !== undefined && { heardMs: one.heardMs }),
    })),
    nextHops: { private: hops(sides.private), public: hops(sides.public) },
  };
}

function hopOf(neighbours: readonly NeighbourInfo[], nextHop: Ip): NextHopReport {
  const mac = neighbours.find((one) => one.mac !== undefined && ipEqual(one.ip, nextHop))?.mac;
  return mac === undefined ? {} : { mac };
}

/** What some associations have carried, with what those of them that are gone had. */
function carriedBy(
  { waiting, active, retired, inbound }: XfrmBook,
  those: (one: XfrmCarrier) => boolean,
  gone: Carried = { txpackets: 0, txbytes: 0, rxpackets: 0, rxbytes: 0 },
): Carried {
  const sum = (all: Iterable<XfrmCarrier>, of: "packets" | "bytes") =>
    [...all].filter(those).reduce((total, one) => total + one[of], 0);
  const out = [...waiting, ...active, ...retired.keys()];
  return {
    txpackets: gone.txpackets + sum(out, "packets"),
    txbytes: gone.txbytes + sum(out, "bytes"),
    rxpackets: gone.rxpackets + sum(inbound, "packets"),
    rxbytes: gone.rxbytes + sum(inbound, "bytes"),
  };
}

function countersOf(statistics: Pick<XfrmStatistics, "since">): GatewayReport["counters"] {
  const counters = newGatewayCounters();
  const unready = statistics.since(
    "XfrmOutNoStates",
    "XfrmOutPolBlock",
    "XfrmOutStateExpired",
    "XfrmOutStateInvalid",
  );
  const refusedSource = statistics.since("XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolBlock");
  Object.assign(counters.privateRouter, { routeErrors: unready, unready });
  Object.assign(counters.publicRouter, { routeErrors: statistics.since("XfrmInNoStates"), refusedSource });
  return counters;
}

function associationReport({ route, spi, packets, bytes, endsMs }: XfrmCarrier): AssociationReport {
  return { route: route.name, spi, packets, bytes, ...(Number.isFinite(endsMs) && { endsMs }) };
}

function routeReport(
  book: XfrmBook,
  route: XfrmRoute,
  { queue, mtuBytes }: { readonly queue: number; readonly mtuBytes: number },
): Omit<RouteReport, keyof Refused> {
  const those = (one: XfrmCarrier) => one.route === route && one.queue === queue;
  return {
    name: route.name,
    mtuBytes,
    txdrop: 0,
    ...carriedBy(book, those, route.carried.get(queue)),
    mtuErrors: 0,
    unready: 0,
    exhausted: 0,
    refusedSource: 0,
  };
}
