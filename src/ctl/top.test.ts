/** A look at a gateway, as people read it. */
import { expect, test } from "bun:test";
import type { Top } from "../gatewayd/mod.ts";
import { topText } from "./top.ts";

const carried = { rxpackets: 10, rxbytes: 1000, txpackets: 0, txbytes: 0 };

const look = (drops: { readonly rxdrop?: number; readonly txdrop?: number }): Top => ({
  ...{ gateway: "paris", interfaces: [], associations: [], history: [] },
  configuration: { source: "paris.conf", problems: [] },
  queues: [{ queue: 1, up: true, about: "kernel", ...carried }],
  routes: [{ id: "tokyo", up: true, rekeys: 2, drops: { replay: 1 }, ...carried, ...drops }],
});

const columns = (text: string, first: string) =>
  text
    .split("\n")
    .find((line) => line.startsWith(first))
    ?.split(/ {2,}/);

test("what was dropped is said as far as it is counted, and rates are since the look before", () => {
  const before = look({ rxdrop: 3 });
  const now = { ...before, routes: before.routes.map((one) => ({ ...one, rxpackets: 30, rxbytes: 4000 })) };
  const text = topText(now, before, 2);
  expect(columns(text, "tokyo")).toEqual(
    expect.arrayContaining(["up", "2", "10/s", "1.5 KiB/s", "3 in: 1 replay"]),
  );
  expect(columns(text, "1 ")?.slice(-2)).toEqual(["0 B/s", "kernel"]);
  expect(columns(topText(look({ rxdrop: 3, txdrop: 4 }), undefined, 1), "tokyo")).toContain("7: 1 replay");
});
