import { describe, expect, test } from "bun:test";
import { parseEndpoint } from "../net/mod.ts";
import { FactBook, type Fact } from "./facts.ts";

const says = (mtuBytes: number) => ({ local: [], mapped: [], hubs: [], mtuBytes, version: "x" });
const seen = (hub: string, port: number) => ({ hub, endpoint: parseEndpoint(`192.0.2.1:${port}`) });

describe("a book of facts", () => {
  test("what a node says and what each hub sees make its status", () => {
    const book = new FactBook();
    expect(book.of("a")).toEqual({ observed: [], mapped: [], hubs: [], local: [] });
    expect(book.say("a", says(1420), 10)).toBe(true);
    book.observe("a", seen("h2", 2), 10);
    book.observe("a", seen("h1", 1), 10);
    expect(book.of("a")).toMatchObject({ mtuBytes: 1420, observed: [seen("h1", 1), seen("h2", 2)] });
    // The same again is no change.
    const { version } = book;
    expect(book.say("a", says(1420), 20)).toBe(false);
    expect(book.observe("a", seen("h1", 1), 20)).toBe(false);
    expect(book.version).toBe(version);
  });

  test("a hub whose clock is behind is believed all the same when it learns something newer", () => {
    const one = new FactBook();
    const other = new FactBook();
    one.say("a", says(1420), 5000);
    for (const fact of one.all()) other.merge(fact);
    // The node moved to the other hub, whose clock says 1000.
    other.say("a", says(1380), 1000);
    for (const fact of other.all()) one.merge(fact);
    expect(one.of("a").mtuBytes).toBe(1380);
  });

  test("any order and any repetition of the same facts gives the same book", () => {
    let random = 7;
    const next = (n: number) => {
      random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
      return (random >> 8) % n;
    };
    const facts: Fact[] = Array.from({ length: 400 }, () =>
      next(2) === 0
        ? { node: `n${next(5)}`, at: next(20), says: says(1280 + next(100)) }
        : { node: `n${next(5)}`, by: `h${next(3)}`, at: next(20), seen: seen("", next(1000) + 1).endpoint },
    );
    const expected = new FactBook();
    for (const fact of facts) expected.merge(fact);
    const sorted = (book: FactBook) =>
      JSON.parse(book.format())
        .map((fact: unknown) => JSON.stringify(fact))
        .sort();
    for (let round = 0; round < 10; round++) {
      const book = new FactBook();
      for (let i = 0; i < 3000; i++) book.merge(facts[next(facts.length)] as Fact);
      for (const fact of [...facts].reverse()) book.merge(fact);
      expect(sorted(book)).toEqual(sorted(expected));
    }
  });

  test("readers get what changed since they read, each fact once; who read another life's numbers gets all", () => {
    const book = new FactBook();
    for (let i = 0; i < 5; i++) book.observe(`n${i}`, seen("h", i + 1), 1);
    const { version } = book;
    expect(book.since(version)).toEqual([]);
    for (let port = 10; port < 20; port++) book.observe("n1", seen("h", port), port);
    expect(book.since(version).map((fact) => [fact.node, fact.seen?.port])).toEqual([["n1", 19]]);
    expect(book.since(0)).toHaveLength(5);
    expect(book.since(10 ** 9)).toHaveLength(5);
  });

  test("what is known of a node ends with it; a file brings the rest back", () => {
    const book = new FactBook();
    book.say("a", says(1400), 1);
    book.say("b", says(1300), 1);
    book.observe("a", seen("gone", 1), 1);
    book.keepOnly(new Set(["a", "h"]));
    expect(book.all().map(({ node, by }) => [node, by])).toEqual([["a", undefined]]);
    const again = new FactBook();
    again.load(book.format());
    expect(again.of("a")).toEqual(book.of("a"));
    again.load("damaged");
    expect(again.of("a").mtuBytes).toBe(1400);
  });

  test("a flood of names takes no more memory than the limit", () => {
    const book = new FactBook();
    for (let i = 0; i < 40_000; i++) book.observe(`n${i}`, seen("h", 1), 1);
    expect(book.all()).toHaveLength(32_768);
    // What is there goes on changing.
    for (let i = 0; i < 40_000; i++) book.observe("n0", seen("h", (i % 60_000) + 2), i);
    expect(book.of("n0").observed[0]?.endpoint.port).toBe(40_001);
    expect(book.since(book.version - 3)).toHaveLength(1);
  });
});
