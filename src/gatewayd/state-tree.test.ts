import { afterEach, beforeEach, expect, test } from "bun:test";
import { GatewayBed, INTERFACES } from "../../test/support/gateway-bed.ts";
import type { GatewayReport } from "../tunnel/gateway/mod.ts";
import { metricsText } from "./metrics.ts";
import { topOf } from "./top.ts";

let bed: GatewayBed;
beforeEach(() => {
  bed = new GatewayBed(INTERFACES);
});
afterEach(() => bed?.[Symbol.dispose]());

/** What is read of a gateway whose one queue reports something else than it does. */
async function read(change: (report: GatewayReport) => GatewayReport) {
  const report = (await bed.gateway.report()).get(1) as GatewayReport;
  const state = bed.gateway.state(new Map([[1, change(report)]]));
  const top = topOf(state, { gateway: "paris", queues: bed.gateway.queues, history: [] });
  return { state, top, metrics: metricsText(state, top) };
}

test("frames that are dropped before they are received are drops of their interface and queue", async () => {
  const { state, top, metrics } = await read((report) => {
    Object.assign(report.counters.privateInterface, { rxTooLong: 3, rxNoRoom: 4, notOurs: 50 });
    Object.assign(report.counters.publicInterface, { rxNoRoom: 600 });
    return report;
  });
  expect(state["private-interface"]).toMatchObject({ rxdrop: 7n });
  expect(state["public-interface"]).toMatchObject({ rxdrop: 600n });
  expect(top.interfaces).toMatchObject([
    { side: "private", rxdrop: 7 },
    { side: "public", rxdrop: 600 },
  ]);
  expect(top.queues).toMatchObject([{ rxdrop: 657 }]);
  expect(metrics).toContain('causeway_gateway_interface_rxdrop_total{gateway="paris",side="private"} 7\n');
});

test("frames to everybody and to groups are counted; what nobody counts of an interface is absent", async () => {
  const { state } = await read((report) => {
    Object.assign(report.counters.publicInterface, { rxmcast: 1, rxbcast: 2, txmcast: 3, txbcast: 4 });
    return report;
  });
  const side = state["public-interface"] ?? {};
  expect(side).toMatchObject({ rxmcast: 1n, rxbcast: 2n, txmcast: 3n, txbcast: 4n });
  for (const leaf of ["rxerrors", "txerrors", "rxdmapackets"]) expect(side).not.toHaveProperty(leaf);
});

test("what a back-end that sees no frames has carried is its queue's", async () => {
  const carried = { rxpackets: 2, rxbytes: 300, txpackets: 4, txbytes: 5000 };
  const route = {
    ...{ name: "tokyo", mtuBytes: 1400, ...carried, txdrop: 0, mtuErrors: 0, unready: 0, exhausted: 0 },
    ...{ refusedSource: 0, protocolErrors: 0, decryptErrors: 3, replayed: 1 },
  };
  const { state, top, metrics } = await read((report) => ({ ...report, carried, routes: [route] }));
  expect(state.queue.get("1")).toMatchObject({ rxpackets: 2n, rxbytes: 300n, txpackets: 4n, txbytes: 5000n });
  expect(top.queues).toMatchObject([carried]);
  expect(top.routes).toMatchObject([{ ...carried, rxdrop: 3 }]);
  expect([...top.queues, ...top.routes].map((one) => [one.rxdrop, one.txdrop])).toEqual([
    [undefined, undefined],
    [3, undefined],
  ]);
  expect(metrics).toContain('causeway_gateway_queue_txbytes_total{gateway="paris",queue="1"} 5000\n');
  // What it cannot count is absent, not 0.
  expect(Object.keys(state).filter((name) => /interface|hop|dispatch|ttl|icmp|router/.test(name))).toEqual([
    ...["private-router", "public-router"],
  ]);
  expect(top.interfaces).toEqual([]);
  expect(metrics).not.toMatch(/interface|icmp|ttl|mtu/);
  expect(state["private-router"]).not.toHaveProperty("mtu-errors");
  expect(state.route.get("tokyo")).toMatchObject({ rxdrop: 3n, drops: { replay: 1n, integrity: 2n } });
  expect(Object.keys(state.route.get("tokyo")?.drops ?? {})).toEqual(["replay", "integrity"]);
  expect(metrics).toContain('causeway_gateway_route_rxdrop_total{gateway="paris",route="tokyo"} 3\n');
  expect(metrics).not.toMatch(/route_txdrop|queue_.xdrop|reason="unready"/);
});
