/** A look at a gateway for `causeway top`, from its state: what is there, what it has carried, and how that went over time. */
import type { GatewayStateTree } from "../gateway/mod.ts";
import { formatIp } from "../net/mod.ts";
import type { Counted, Top } from "./control-protocol.ts";
import type { QueueState } from "./gateway.ts";
import type { Rates, Totals } from "./history.ts";

type Counts = { readonly [name in keyof Counted]?: bigint };

function counted(from: Counts | undefined): Counted {
  const { rxpackets = 0n, rxbytes = 0n, txpackets = 0n, txbytes = 0n, rxdrop, txdrop } = from ?? {};
  return {
    rxpackets: Number(rxpackets),
    rxbytes: Number(rxbytes),
    txpackets: Number(txpackets),
    txbytes: Number(txbytes),
    ...(rxdrop === undefined ? {} : { rxdrop: Number(rxdrop) }),
    ...(txdrop === undefined ? {} : { txdrop: Number(txdrop) }),
  };
}

type RouteState = GatewayStateTree["route"] extends ReadonlyMap<string, infer E> ? E : never;
type InboundState = GatewayStateTree["inbound-sa"] extends ReadonlyMap<string, infer E> ? E : never;
type OutboundState = GatewayStateTree["outbound-sa"] extends ReadonlyMap<string, infer E> ? E : never;

function routeRow(route: RouteState): Top["routes"][number] {
  const { id, up = false, detour, gateway, rekeys = 0n, drops = {} } = route;
  const reason = route.reason ?? detour;
  const [lastError, roundTrip, silent] = [
    route["last-error"],
    route["round-trip-microseconds"],
    route["silent-seconds"],
  ];
  return {
    ...counted(route),
    id,
    up,
    ...(reason === undefined ? {} : { reason }),
    ...(gateway === undefined ? {} : { gateway: formatIp(gateway) }),
    ...(lastError === undefined ? {} : { lastError }),
    ...(roundTrip === undefined ? {} : { roundTripMicroseconds: roundTrip }),
    ...(silent === undefined ? {} : { silentSeconds: silent }),
    rekeys: Number(rekeys),
    drops: Object.fromEntries(
      Object.entries(drops).flatMap(([reason, count]) => (count ? [[reason, Number(count)]] : [])),
    ),
  };
}

function associationRow(
  direction: "inbound" | "outbound",
  one: InboundState | OutboundState,
): Top["associations"][number] {
  const { queue, spi, route, algorithm, packets = 0n, bytes = 0n } = one;
  const [age, left] = [one["age-seconds"], one["seconds-left"]];
  return {
    ...{ direction, queue, spi },
    ...(route === undefined ? {} : { route }),
    ...(algorithm === undefined ? {} : { algorithm }),
    ...("use" in one && one.use !== undefined ? { use: one.use } : {}),
    packets: Number(packets),
    bytes: Number(bytes),
    errors: "sa-state" in one ? Number(one["sa-state"]?.rxerrors ?? 0n) : 0,
    ...(age === undefined ? {} : { ageSeconds: age }),
    ...(left === undefined ? {} : { secondsLeft: left }),
  };
}

/** totalsOf returns what a gateway has carried between its sides, for the history. */
export function totalsOf(state: GatewayStateTree): Totals {
  const routes = [...state.route.values()].map(counted);
  const sum = (name: keyof Counted) => routes.reduce((all, route) => all + (route[name] ?? 0), 0);
  return {
    rxpackets: sum("rxpackets"),
    rxbytes: sum("rxbytes"),
    txpackets: sum("txpackets"),
    txbytes: sum("txbytes"),
    drops: sum("rxdrop") + sum("txdrop"),
  };
}

/** topOf returns the look. */
export function topOf(
  state: GatewayStateTree,
  at: {
    readonly gateway: string;
    readonly queues: ReadonlyMap<number, QueueState>;
    readonly history: readonly Rates[];
  },
): Top {
  return {
    gateway: at.gateway,
    interfaces: (["private", "public"] as const).flatMap((side) => {
      const counts = state[`${side}-interface`];
      return counts === undefined ? [] : [{ side, ...counted(counts) }];
    }),
    queues: [...state.queue.values()].map(({ queue, cpu, ...counts }) => ({
      ...counted(counts),
      queue,
      up: at.queues.get(queue)?.up ?? false,
      about: at.queues.get(queue)?.text ?? "starts",
      ...(cpu === undefined ? {} : { cpu }),
    })),
    routes: [...state.route.values()].map(routeRow),
    associations: [
      ...[...state["outbound-sa"].values()].map((one) => associationRow("outbound", one)),
      ...[...state["inbound-sa"].values()].map((one) => associationRow("inbound", one)),
    ],
    history: at.history,
    configuration: {
      source: state.configuration?.source ?? "",
      problems: state.configuration?.problem ?? [],
    },
  };
}
