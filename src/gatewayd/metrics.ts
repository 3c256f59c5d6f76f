/** A gateway's counts in the text format of Prometheus, version 0.0.4. */
import { DROP_REASONS, type GatewayStateTree } from "../gateway/mod.ts";
import { PrometheusText } from "../wire/mod.ts";
import type { Counted, Top } from "./control-protocol.ts";

const carried = ["rxpackets", "rxbytes", "rxdrop", "txpackets", "txbytes", "txdrop"] as const;

/** Leaves of containers such as `private-router/route-errors`, each a number that only grows. */
function* containers(
  state: GatewayStateTree,
): Generator<readonly [container: string, leaf: string, value: bigint]> {
  for (const [container, leaves] of Object.entries(state)) {
    if (leaves instanceof Map || typeof leaves !== "object") continue;
    for (const [leaf, value] of Object.entries(leaves))
      if (typeof value === "bigint") yield [container, leaf, value];
  }
}

/** metricsText returns all of them; labels hold names, addresses and numbers, and nothing secret. */
export function metricsText(state: GatewayStateTree, top: Top): string {
  const text = new PrometheusText("causeway_gateway_", { gateway: top.gateway });
  const put: PrometheusText["put"] = (...line) => text.put(...line);
  const all = (of: string, labels: Readonly<Record<string, string>>, counts: Counted) => {
    for (const name of carried) {
      const value = counts[name];
      if (value !== undefined) put(`${of}_${name}_total`, labels, value);
    }
  };
  for (const [container, leaf, value] of containers(state)) put("count_total", { container, leaf }, value);
  put("configuration_problems", {}, top.configuration.problems.length);
  for (const { side, ...counts } of top.interfaces) all("interface", { side }, counts);
  for (const queue of top.queues) {
    const labels = { queue: `${queue.queue}` };
    put("queue_up", labels, queue.up ? 1 : 0);
    all("queue", labels, queue);
  }
  for (const route of top.routes) {
    const labels = { route: route.id };
    put("route_up", labels, route.up ? 1 : 0);
    put("route_rekeys_total", labels, route.rekeys);
    if (route.roundTripMicroseconds !== undefined)
      put("route_round_trip_seconds", labels, route.roundTripMicroseconds / 1e6);
    if (route.silentSeconds !== undefined) put("route_silent_seconds", labels, route.silentSeconds);
    const { drops = {} } = state.route.get(route.id) ?? {};
    all("route", labels, route);
    for (const reason of DROP_REASONS) {
      const dropped = drops[reason];
      if (dropped !== undefined) put("route_drops_total", { ...labels, reason }, dropped);
    }
  }
  for (const one of top.associations) {
    const { direction, queue, spi, route = "" } = one;
    const labels = { direction, queue: `${queue}`, spi: `${spi}`, route };
    put("sa_packets_total", labels, one.packets);
    put("sa_bytes_total", labels, one.bytes);
    put("sa_errors_total", labels, one.errors);
    if (one.ageSeconds !== undefined) put("sa_age_seconds", labels, one.ageSeconds);
    if (one.secondsLeft !== undefined) put("sa_seconds_left", labels, one.secondsLeft);
  }
  return text.text();
}
