import { expect, test } from "bun:test";
import { FactBook, factJson, factsSchema } from "./facts.ts";
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
