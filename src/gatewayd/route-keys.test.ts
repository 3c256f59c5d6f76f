import { afterEach, beforeEach, expect, test } from "bun:test";
import { GatewayBed, INTERFACES } from "../../test/support/gateway-bed.ts";
import { readConfig } from "../gateway/mod.ts";
import { soon } from "../sys/mod.ts";

/** More than a slice has room for. */
const MANY = 300;

let bed: GatewayBed;
/** By what its number was: how often a route called. */
let calls: Map<number, number>;
beforeEach(() => {
  bed = new GatewayBed(INTERFACES);
  calls = new Map();
  bed.backEnd.refusal = (order) => {
    if (order.kind !== "exchange") return undefined;
    const number = new DataView(order.bytes.buffer, order.bytes.byteOffset).getUint32(0);
    calls.set(number, (calls.get(number) ?? 0) + 1);
    return undefined;
  };
});
afterEach(() => bed?.[Symbol.dispose]());

const route = (number: number, spi = 1000 + number) =>
  `route { id r${number}; spi ${spi}; net 10.${number >> 8}.${number & 255}.0/24; preshared-key ${`${1000 + number}`.repeat(16)}; gateway { ip 203.0.113.1; } }\n`;
const routes = (count: number) => Array.from({ length: count }, (_, i) => route(i)).join("");
const keep = (text: string) => bed.gateway.keep(readConfig(`${INTERFACES}${text}`).config);
const turn = () =>
  new Promise<void>((resolve) => {
    soon(resolve);
  });
const told = () => bed.backEnd.orders.filter(({ kind }) => kind === "route").length;

test("routes that come all at once are told in slices, each once", async () => {
  keep(routes(MANY));
  await turn();
  expect(calls.size).toBeLessThan(MANY);
  // One that comes meanwhile waits for none of the others' keys, only for its turn.
  keep(routes(MANY + 1));
  await bed.gateway.settled();
  expect(told()).toBe(MANY + 1);
  expect(calls.size).toBe(MANY + 1);
});

test("a queue that goes and comes meanwhile has all routes, and asks for their keys anew", async () => {
  keep(routes(MANY));
  await turn();
  bed.backEnd.down(1, "it is tested");
  bed.backEnd.orders.length = 0;
  calls.clear();
  bed.backEnd.up(1);
  await bed.gateway.settled();
  expect(told()).toBe(MANY);
  expect(calls.size).toBe(MANY);
});

test("numbers go from one route to the other in one change", async () => {
  keep(route(1) + route(2));
  await bed.gateway.settled();
  calls.clear();
  keep(route(1, 1002) + route(2, 1001));
  await bed.gateway.settled();
  expect([...calls.keys()].sort()).toEqual([1001, 1002]);
  for (const id of ["r1", "r2"]) expect((await bed.route(id))?.["last-error"]).toBeUndefined();
  expect(bed.log.filter(({ event }) => event === "route cannot work")).toEqual([]);
});

test("one that is removed meanwhile is not told of", async () => {
  keep(routes(MANY));
  keep(route(0));
  await bed.gateway.settled();
  expect([...(await bed.gateway.report()).values()].map((report) => report.routes.length)).toEqual([1]);
  const before = new Map(calls);
  expect(before.has(1000)).toBe(true);
  expect(before.size).toBeLessThan(MANY);
});
