import { expect, test } from "bun:test";
import { formatEndpoint, parseEndpoint } from "../net/mod.ts";
import type { Node } from "../resources/mod.ts";
import { HubEndpoints, seenNodes } from "./hub-endpoints.ts";

const at = parseEndpoint;
const hub = (name: string, ...endpoints: string[]) =>
  ({ name, hub: true, endpoints, observed: [] }) as unknown as Node;
const resolved = new Map([
  ["a.example:1", [at("192.0.2.1:1"), at("[2001:db8::1]:1")]],
  ["198.51.100.1:2", [at("198.51.100.1:2")]],
]);
const found = { resolved, fallback: ["198.51.100.1:2"] };
const shown = (endpoints: HubEndpoints, name: string) => {
  const endpoint = endpoints.of(name);
  return endpoint && formatEndpoint(endpoint);
};

test("an address stays in use while the hub has it, and the next has its turn after the hub was down for a while", () => {
  const endpoints = new HubEndpoints();
  expect(endpoints.follow([hub("h", "a.example:1", "198.51.100.1:2")], found)).toEqual(["h"]);
  expect(shown(endpoints, "h")).toBe("192.0.2.1:1");
  const down = [{ name: "h", state: "down" }];
  expect(endpoints.rotate(down, 1_000)).toEqual([]);
  expect(endpoints.rotate(down, 4_999)).toEqual([]);
  expect(endpoints.rotate(down, 5_000)).toEqual(["h"]);
  expect(shown(endpoints, "h")).toBe("[2001:db8::1]:1");
  expect(endpoints.follow([hub("h", "a.example:1")], found)).toEqual([]);
  expect(shown(endpoints, "h")).toBe("[2001:db8::1]:1");
  expect(endpoints.follow([hub("h", "198.51.100.1:2")], found)).toEqual(["h"]);
  // It answered meanwhile: the time begins anew.
  endpoints.follow([hub("h", "a.example:1")], found);
  endpoints.rotate(down, 10_000);
  endpoints.rotate([{ name: "h", state: "up" }], 11_000);
  expect(endpoints.rotate(down, 14_500)).toEqual([]);
  expect(endpoints.known(1500).map(({ name, linkMtuBytes }) => [name, linkMtuBytes])).toEqual([["h", 1500]]);
});

test("what the token said serves where there is one hub that the register names no endpoint of", () => {
  const endpoints = new HubEndpoints();
  endpoints.follow([hub("h")], found);
  expect(shown(endpoints, "h")).toBe("198.51.100.1:2");
  endpoints.follow([hub("h"), hub("i")], found);
  expect(shown(endpoints, "h")).toBeUndefined();
});

test("a hub sends to where it saw a node, else to where the node says that it is", () => {
  const node = (name: string, more: Partial<Node>) =>
    ({ name, hub: false, endpoints: [], observed: [], ...more }) as unknown as Node;
  const seen = seenNodes(
    "h",
    [
      node("a", { observed: [{ hub: "h", endpoint: at("203.0.113.1:7") }], endpoints: ["198.51.100.1:2"] }),
      node("b", {
        observed: [{ hub: "other", endpoint: at("203.0.113.1:8") }],
        endpoints: ["198.51.100.1:2"],
      }),
      node("c", {}),
    ],
    found,
  );
  expect([...seen].map(([name, endpoint]) => [name, formatEndpoint(endpoint)])).toEqual([
    ["a", "203.0.113.1:7"],
    ["b", "198.51.100.1:2"],
  ]);
});
