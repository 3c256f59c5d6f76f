import { describe, expect, test } from "bun:test";
import { edgeState } from "./edge-book.ts";
import { FactBook, factJson, factsJson, factsSchema, type RouteFact, routeFacts } from "./facts.ts";
import { inLines } from "./hub-links.ts";
import { NODE_LINE_BYTES } from "./sync-protocol.ts";

test("a fact that no line holds is left out: one node must not end the hubs' connections", () => {
  const book = new FactBook();
  const says = (name: string) => {
    const hubs = Array.from({ length: 16 }, () => ({ hub: name, rttMs: 1 }));
    return factsSchema.parse({ local: [], mapped: [], hubs, version: "1" });
  };
  book.say("a", says("hub"), 1);
  // 253 characters of six bytes each.
  book.say("b", says("\u0001".repeat(253)), 2);
  book.say("c", says("hub"), 3);
  const lines = inLines(book.all().map(factJson));
  for (const facts of lines) {
    const line = JSON.stringify({ type: "facts", book: "0".repeat(16), version: 2 ** 40, facts });
    expect(Buffer.byteLength(line)).toBeLessThan(NODE_LINE_BYTES);
  }
  expect(lines.flat().map((fact) => (fact as { node: string }).node)).toEqual(["a", "c"]);
});

describe("a thousand Routes leave a node its line", () => {
  const hubs = Array.from({ length: 16 }, (_, i) => ({ hub: `hub-${i}.example.net`, rttMs: 100 }));
  const announced = Array.from({ length: 64 }, (_, i) => `2001:db8:1234:${i}::/64`);
  const local = Array.from({ length: 16 }, (_, i) => `[2001:db8:1234:5678:1234:5678:1234:${1000 + i}]:51820`);

  function lineOf(routes: readonly RouteFact[]): number {
    const told = factsSchema.parse({
      local,
      mapped: local.slice(8),
      announced,
      hubs,
      routes,
      // As much as a node can have to tell of its edge.
      edge: edgeState(
        Array.from({ length: 500 }, (_, i) => ({
          ...{ kind: "VPC", name: `${i}`.padEnd(253, "x") },
          ...{ reason: "dependency" as const, message: "\u2026".repeat(1000) },
        })),
      ),
      version: "1.0.0",
    });
    const book = new FactBook();
    book.say("node", told, 1);
    expect(inLines(book.all().map(factJson)).flat()).toHaveLength(1);
    return Buffer.byteLength(JSON.stringify({ type: "hello", version: 2, facts: factsJson(told) }));
  }
  const all = (count: number, reason?: string): RouteFact[] =>
    Array.from({ length: count }, (_, i) => ({
      ...{ name: `route-${i}`, up: i % 10 !== 0 },
      ...(reason !== undefined && i % 10 === 0 && { reason }),
    }));

  test("few are told whole", () => {
    const few = all(40, "its peer does not answer");
    expect(routeFacts(few)).toEqual(few);
    const [long] = routeFacts([{ name: "a", up: false, reason: "x".repeat(1000) }]);
    expect(long?.reason).toHaveLength(300);
  });

  test("of more, reasons are shorter; of too many, those that are down are told first", () => {
    const more = routeFacts(all(120, "x".repeat(1000)));
    expect(more.map(({ name }) => name)).toEqual(all(120).map(({ name }) => name));
    expect(lineOf(more)).toBeLessThan(NODE_LINE_BYTES - 1024);
    const most = routeFacts(all(1024, "\u2026".repeat(1000)));
    expect(most.filter(({ up }) => !up)).toHaveLength(103);
    expect(most.length).toBeGreaterThan(200);
    expect(lineOf(most)).toBeLessThan(NODE_LINE_BYTES - 1024);
    // Names of the greatest length, all down.
    const long = routeFacts(all(1024).map((_, i) => ({ name: `${i}`.padEnd(253, "x"), up: false })));
    expect(lineOf(long)).toBeLessThan(NODE_LINE_BYTES - 1024);
  });
});
