/** A gateway's state with the names of `get-state`, from what its queues report and its keeper of keys knows. Nothing secret is in either. */
import {
  type DROP_REASONS,
  type GatewayModel,
  type GatewayStateTree,
  noState,
  stateSchema,
  sumStates,
} from "../gateway/mod.ts";
import { type ChannelStatus, type KeeperCounter, natObstacle } from "../gateway/keys/mod.ts";
import { formatIp } from "../net/mod.ts";
import { boottimeMs } from "../sys/mod.ts";
import type {
  Carried,
  GatewayCounters,
  GatewayReport,
  InboundReport,
  OutboundReport,
} from "../tunnel/gateway/mod.ts";
import type { AssociationFacts } from "./data-path.ts";
import type { Detours } from "./detours.ts";
import type { Carrier, QueueState } from "./gateway.ts";
import type { RouteBook } from "./route-book.ts";

/** StateFacts are what a state is made from. */
export interface StateFacts {
  readonly model: GatewayModel;
  /** By queue, of those that are up. */
  readonly reports: ReadonlyMap<number, GatewayReport>;
  /** By `direction queue spi`. */
  readonly associations: ReadonlyMap<string, AssociationFacts>;
  readonly channels: readonly ChannelStatus[];
  readonly counters: ReadonlyMap<KeeperCounter, number>;
  readonly routes: RouteBook;
  readonly queues: ReadonlyMap<number, QueueState>;
  /** Queues whose public next hop is known. */
  readonly reaching: ReadonlySet<number>;
  readonly detours: Detours;
  readonly cpus: readonly number[];
  readonly carrier: Carrier | undefined;
}

type SaFacts = StateFacts & { readonly softLeftMs: ReadonlyMap<string, number> };
type Tree = Record<string, unknown>;
type Counters = { readonly [name: string]: number };

const members = stateSchema["gateway-state"].members;
const camel = (name: string) => name.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const seconds = (ms: number) => Math.max(0, Math.round(ms / 1000));
const count = (value: number) => BigInt(Math.round(value));

/** Leaves that are sums of others, by container. */
const SUMS: { readonly [container: string]: readonly string[] } = {
  "public-dispatch": ["ethertypeErrors", "protocolErrors", "fragmentErrors"],
  "private-router": ["routeErrors", "mtuErrors"],
};
const ICMP_SUM = ["protocolErrors", "typeNotImplementedErrors"];

/** Frames that the system dropped before an interface's queue received them. */
const dropped = ({ rxTooLong = 0, rxNoRoom = 0 }: Counters) => rxTooLong + rxNoRoom;

/** A container of counters; what nobody counts is not in it. */
function counted(name: keyof typeof members, counters: Counters): Tree {
  const node = members[name];
  if (node.kind !== "container") throw new Error(`${name} is no container`);
  const parts = SUMS[name] ?? (name.includes("icmp") ? ICMP_SUM : []);
  const value = (leaf: string) => {
    if (leaf === "rxerrors" && parts.length > 0)
      return parts.reduce((sum, part) => sum + (counters[part] ?? 0), 0);
    if (leaf === "source-errors") return counters["refusedSource"] ?? 0;
    if (leaf === "rxdrop") return dropped(counters);
    return counters[camel(leaf)];
  };
  return Object.fromEntries(
    Object.keys(node.members).flatMap((leaf) => {
      const known = value(leaf);
      return known === undefined ? [] : [[leaf, count(known)]];
    }),
  );
}

/** Containers that every queue has, and those of one family. */
const COMMON = [
  ...(["private-interface", "public-interface", "private-next-hop", "public-next-hop"] as const),
  ...(["private-dispatch", "public-dispatch", "inbound-dispatch", "outbound-ttl", "inbound-ttl"] as const),
  ...(["private-router", "public-router"] as const),
];
/** And those of a back-end that sees no frames. */
const WITHOUT_FRAMES = ["private-router", "public-router"] as const;
const FAMILIES = {
  4: ["private-icmp4", "public-icmp4", "inbound-icmp4"],
  6: ["private-icmp6", "public-icmp6", "inbound-icmp6"],
} as const;

function queueTree(number: number, report: GatewayReport, facts: SaFacts): Tree {
  const { counters, nextHops, carried } = report;
  const families = ([4, 6] as const).filter(
    (family) => nextHops.private[family] !== undefined || nextHops.public[family] !== undefined,
  );
  const names =
    carried === undefined ? [...COMMON, ...families.flatMap((family) => FAMILIES[family])] : WITHOUT_FRAMES;
  const { mtuErrors: _, ...privateRouter } = counters.privateRouter;
  const seen = carried === undefined ? counters : { ...counters, privateRouter };
  const of = (name: string) => seen[camel(name) as keyof GatewayCounters] as Counters;
  const inbound = report.inbound.map((one) => inboundTree(number, one, facts));
  const outbound = report.outbound.map((one) => outboundTree(number, one, facts));
  return {
    ...noState,
    ...Object.fromEntries(names.map((name) => [name, counted(name, of(name))])),
    "inbound-sa": new Map(inbound.map((one) => [`${number} ${one["spi"]}`, one])),
    "outbound-sa": new Map(outbound.map((one) => [`${number} ${one["spi"]}`, one])),
    route: new Map(report.routes.map((route) => [route.name, trafficOfRoute(route, carried === undefined)])),
  };
}

/** Of a back-end that sees no frames, what leaves nowhere is counted for no route. */
function trafficOfRoute({ name, ...route }: GatewayReport["routes"][number], seesFrames: boolean): Tree {
  const { txpackets, txbytes, rxpackets, rxbytes, mtuErrors, unready, exhausted, refusedSource } = route;
  const { protocolErrors, decryptErrors, replayed } = route;
  const drops: { readonly [R in (typeof DROP_REASONS)[number]]?: number } = {
    ...(seesFrames && { mtu: mtuErrors, unready, exhausted }),
    ...(seesFrames && { source: refusedSource, protocol: protocolErrors }),
    ...{ replay: replayed, integrity: decryptErrors - replayed },
  };
  return {
    id: name,
    rxpackets: count(rxpackets),
    rxbytes: count(rxbytes),
    rxdrop: count(refusedSource + protocolErrors + decryptErrors),
    txpackets: count(txpackets),
    txbytes: count(txbytes),
    ...(seesFrames && { txdrop: count(mtuErrors + unready + exhausted) }),
    drops: Object.fromEntries(Object.entries(drops).map(([reason, value]) => [reason, count(value)])),
  };
}

function common(
  direction: string,
  queue: number,
  one: InboundReport | OutboundReport,
  facts: StateFacts,
): Tree {
  const known = facts.associations.get(`${direction} ${queue} ${one.spi}`);
  const nowMs = boottimeMs();
  return {
    queue,
    spi: one.spi,
    route: one.route,
    ...(known?.gateway === undefined ? {} : { gateway: known.gateway }),
    ...(known === undefined
      ? {}
      : { algorithm: known.algorithm, "age-seconds": seconds(nowMs - known.bornMs) }),
    packets: count(one.packets),
    bytes: count(one.bytes),
    ...(one.endsMs === undefined ? {} : { "seconds-left": seconds(one.endsMs - nowMs) }),
  };
}

function inboundTree(queue: number, one: InboundReport, facts: StateFacts): Tree {
  const { decryptErrors, replayed, protocolErrors } = one;
  return {
    ...common("inbound", queue, one, facts),
    sequence: count(one.newest),
    "sa-state": {
      rxerrors: count(protocolErrors + decryptErrors),
      "protocol-errors": count(protocolErrors),
      // Vita's counts what came again too.
      "decrypt-errors": count(decryptErrors),
      "replay-errors": count(replayed),
    },
  };
}

function outboundTree(queue: number, one: OutboundReport, facts: SaFacts): Tree {
  const soft = facts.softLeftMs.get(`${one.route} ${queue} ${one.spi}`);
  return {
    ...common("outbound", queue, one, facts),
    ...(soft === undefined ? {} : { "soft-seconds-left": seconds(soft) }),
    sequence: count(one.next - 1),
    use: one.isActive ? "active" : "waiting",
  };
}

/** Vita's exchange tells nothing of the peer between two of them: there, what is agreed on counts. */
function isUp({ up, rttMs, associations }: ChannelStatus): boolean {
  const inUse = associations.some(({ direction, state }) => direction === "outbound" && state === "used");
  return up || (rttMs === undefined && inUse);
}

/** Whether packets of a route leave, by an association that an operator gave. */
function leaves(id: string, { reports }: StateFacts): boolean {
  return [...reports.values()].some(({ outbound }) =>
    outbound.some(({ route, isActive }) => route === id && isActive),
  );
}

/** What keeps queues from carrying anything. */
function inTheWay({ model, queues, reaching, reports }: StateFacts): string | undefined {
  const down = [...queues].find(([, { up }]) => !up);
  if (down !== undefined) return `queue ${down[0]}: ${down[1].text}`;
  const stuck = [...queues.keys()].find((queue) => !reports.has(queue));
  if (stuck !== undefined) return `queue ${stuck} does not answer; look at the log, or restart the gateway`;
  const mute = model.queues.find(({ number }) => !reaching.has(number));
  const hop = mute?.public4?.nextHop ?? mute?.public6?.nextHop;
  if (mute === undefined || hop === undefined) return undefined;
  return `queue ${mute.number}: its next hop ${formatIp(hop)} does not answer; check nexthop-ip and the cable`;
}

/** What a route's channels, queues and obstacles come to. */
function routeTree(id: string, facts: StateFacts): Tree {
  const { model, channels, routes } = facts;
  const route = model.routes.get(id);
  const own = channels.filter((channel) => channel.route === id);
  const best = own.find(isUp) ?? own[0];
  const note = routes.of(id);
  const refusals = [...note.refusals];
  const isRefused = refusals.length > 0 && refusals.length >= facts.reports.size;
  const up = !isRefused && (model.dataPlane ? leaves(id, facts) : own.some(isUp));
  const waits = model.dataPlane
    ? "no SA of outbound-sa is in use for it; add one, or look at the log"
    : "keys are being agreed on";
  const detour = [...facts.detours.of(id)]
    .map(([queue, { by, reason }]) => `packets of queue ${queue} go by queue ${by}: ${reason}`)
    .join("; ");
  const refusal = refusals.map(([queue, reason]) => `queue ${queue}: ${reason}`)[0];
  const obstacle = route === undefined || model.dataPlane ? undefined : natObstacle(route);
  const silence = best?.reason === undefined ? undefined : [best.reason, obstacle].filter(Boolean).join("; ");
  const reason = note.problem ?? refusal ?? (up ? undefined : (silence ?? inTheWay(facts) ?? waits));
  return {
    id,
    up,
    ...(reason === undefined ? {} : { reason: sentence(reason) }),
    ...(detour === "" ? {} : { detour: sentence(detour) }),
    ...(route === undefined || model.dataPlane ? {} : { exchange: route.exchange.protocol }),
    ...(best?.gateway === undefined ? {} : { gateway: best.gateway.ip }),
    ...(note.lastError === undefined ? {} : { "last-error": note.lastError }),
    ...(note.lastErrorMs === undefined
      ? {}
      : { "last-error-time": new Date(note.lastErrorMs).toISOString() }),
    ...(best?.rttMs === undefined ? {} : { "round-trip-microseconds": Math.round(best.rttMs * 1000) }),
    ...(best?.heardAgoMs === undefined ? {} : { "silent-seconds": seconds(best.heardAgoMs) }),
    rekeys: count(note.rekeys),
  };
}

const sentence = (text: string) => text.replaceAll(/\p{C}/gu, "?").slice(0, 1000);

/** Frames that came to a side and were for nobody, or were dropped before. */
const lost = (counters?: GatewayCounters["privateInterface"]) =>
  counters === undefined ? 0 : counters.notOurs + dropped(counters);

function queueEntry(number: number, index: number, facts: StateFacts): Tree {
  const { counters, carried } = facts.reports.get(number) ?? {};
  const cpu = facts.cpus[index] ?? (facts.cpus.length > 0 ? undefined : facts.model.cpus[index]);
  const [inner, outer] = [counters?.privateInterface, counters?.publicInterface];
  const both = (name: keyof Carried) => count(carried?.[name] ?? (inner?.[name] ?? 0) + (outer?.[name] ?? 0));
  const { up = false, text, by } = facts.queues.get(number) ?? {};
  return {
    queue: number,
    up,
    ...(text === undefined || (up && text === by) ? {} : { reason: sentence(text) }),
    ...(by === undefined ? {} : { by: sentence(by) }),
    ...(cpu === undefined ? {} : { cpu }),
    rxpackets: both("rxpackets"),
    rxbytes: both("rxbytes"),
    txpackets: both("txpackets"),
    txbytes: both("txbytes"),
    // The kernel drops for no queue.
    ...(carried === undefined && {
      rxdrop: count(lost(inner) + lost(outer)),
      txdrop: count((inner?.txdrop ?? 0) + (outer?.txdrop ?? 0)),
    }),
  };
}

/** By route, queue and SPI of what goes out: how long until the next one is agreed on. */
function softLeft(channels: readonly ChannelStatus[]): ReadonlyMap<string, number> {
  return new Map(
    channels.flatMap(({ route, associations }) =>
      associations.flatMap(({ queue, spi, softLeftMs }) =>
        softLeftMs === undefined ? [] : [[`${route} ${queue} ${spi}`, softLeftMs] as const],
      ),
    ),
  );
}

/** stateOf returns all of it: counters of queues added up, routes and queues with what is known of them. */
export function stateOf(facts: StateFacts): GatewayStateTree {
  const { model, reports } = facts;
  const { carrier } = facts;
  const saFacts = { ...facts, softLeftMs: softLeft(facts.channels) };
  const trees = [...reports].map(([number, report]) => queueTree(number, report, saFacts));
  const about: Tree = {
    ...noState,
    ...(carrier === undefined ? {} : { backend: { used: carrier.by, reason: sentence(carrier.reason) } }),
    ...(model.dataPlane
      ? {}
      : {
          "key-manager": Object.fromEntries(
            Object.keys(members["key-manager"].members).map((leaf) => [
              leaf,
              count(facts.counters.get(leaf as KeeperCounter) ?? 0),
            ]),
          ),
        }),
    route: new Map([...model.routes.keys()].map((id) => [id, routeTree(id, facts)])),
    queue: new Map(model.queues.map(({ number }, index) => [`${number}`, queueEntry(number, index, facts)])),
  };
  return sumStates([about, ...trees] as unknown as GatewayStateTree[])["gateway-state"] ?? noState;
}
