import { expect, test } from "bun:test";
import { parseIp, parsePrefix } from "../net/mod.ts";
import type { RouteInfo } from "../netlink/mod.ts";
import { doorsOf } from "./own-facts.ts";

const route = (text: string, via: string | undefined, more: Partial<RouteInfo> = {}) =>
  ({
    destination: parsePrefix(text),
    table: 254,
    metric: 0,
    hops: [{ linkIndex: 2, ...(via === undefined ? {} : { via: parseIp(via) }) }],
    ...more,
  }) as unknown as RouteInfo;

test("the ways out are the default routes of the main table, the best first; other routes are none of them", () => {
  const routes = [
    route("::/0", "fe80::1"),
    route("0.0.0.0/0", "192.168.2.1", { metric: 200 }),
    route("10.0.0.0/8", "192.168.1.9"),
    route("0.0.0.0/0", "192.168.1.1", { metric: 100 }),
    route("0.0.0.0/0", "192.168.3.1", { table: 100 }),
    route("0.0.0.0/0", undefined, { metric: 300 }),
  ];
  expect(doorsOf(routes)).toEqual(["4 192.168.1.1 2", "4 192.168.2.1 2", "4  2", "6 fe80::1 2"]);
});
