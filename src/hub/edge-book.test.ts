import { describe, expect, test } from "bun:test";
import type { Node } from "../resources/mod.ts";
import { listenTcp } from "../sys/mod.ts";
import { parseIp } from "../net/mod.ts";
import { EdgeBook, edgeSchema, edgeState, type FailedResource } from "./edge-book.ts";
import { FactBook, type NodeFacts } from "./facts.ts";
import { HubLinks } from "./hub-links.ts";
import { answerHub } from "./hub-session.ts";
import { NODE_LINE_BYTES } from "./sync-protocol.ts";

const failed = (name: string, message: string, kind = "VPC"): FailedResource => ({
  ...{ kind, name, message, reason: "invalid" },
});
const well = edgeState([]);
const facts: NodeFacts = { local: [], mapped: [], hubs: [], mtuBytes: 1420, version: "x" };

describe("what a node says of its edge", () => {
  test("few are told whole, of more the messages are shorter, of too many the rest is counted", () => {
    const all = (count: number, long: number) =>
      Array.from({ length: count }, (_, i) => failed(`vpc-${i}`, "x".repeat(long)));
    expect(edgeState(all(5, 200))).toEqual({ failed: all(5, 200), more: 0 });
    expect(edgeState(all(5, 1000)).failed[0]?.message).toHaveLength(240);
    const more = edgeState(all(20, 200));
    expect([more.failed.length, more.failed[0]?.message.length, more.more]).toEqual([20, 60, 0]);
    for (const one of [all(1000, 200), all(64, 0).map((one) => ({ ...one, name: "\u2026".repeat(253) }))]) {
      const most = edgeState(one);
      expect(edgeSchema.parse(most)).toEqual(most);
      expect(most.failed.length + most.more).toBe(one.length);
      expect(most.failed.length).toBeGreaterThan(2);
      expect(Buffer.byteLength(JSON.stringify(most))).toBeLessThan(NODE_LINE_BYTES / 5);
    }
  });

  test("is none of what nodes are told, and stays over a restart of the hub", () => {
    const book = new FactBook();
    expect(book.say("a", { ...facts, edge: well }, 1)).toBe(true);
    const { version } = book;
    expect(book.say("a", { ...facts, edge: edgeState([failed("red", "taken")]) }, 2)).toBe(false);
    expect(book.version).toBe(version);
    expect(book.all().map(({ says }) => says)).toEqual([facts]);
    const next = new FactBook();
    next.load(book.format());
    expect(next.edges.of("a")).toEqual(edgeState([failed("red", "taken")]));
    expect(next.all()).toEqual(book.all());
  });
});

describe("what all nodes say of a resource", () => {
  test("is not known before a node with an edge speaks, and well while none says otherwise", () => {
    const book = new EdgeBook();
    book.say("a", null, 1);
    expect([book.version, book.ofAll("VPC", "red").up]).toEqual([0, undefined]);
    book.say("a", well, 2);
    expect(book.ofAll("VPC", "red")).toEqual({ up: true });
    book.say("b", edgeState([failed("red", "taken"), failed("red.web", "awaited", "Subnet")]), 3);
    expect(book.ofAll("VPC", "red")).toEqual({ up: false, reason: "on b: taken" });
    expect(book.ofAll("Subnet", "red.web").up).toBe(false);
    expect(book.ofAll("VPC", "blue")).toEqual({ up: true });
    // What a node does not say of many it may not have.
    book.say("c", { failed: [failed("red", "taken")], more: 3 }, 4);
    expect(book.ofAll("VPC", "blue").up).toBeUndefined();
    book.keepOnly(new Set(["a"]));
    expect(book.ofAll("VPC", "red")).toEqual({ up: true });
    book.say("a", null, 5);
    expect(book.ofAll("VPC", "red").up).toBeUndefined();
  });

  test("is bounded on 5,000 nodes, whatever they say, and names the first of each message", () => {
    const book = new EdgeBook();
    const name = (i: number) => `node-${String(i).padStart(4, "0")}`;
    for (let i = 4999; i >= 0; i--) book.say(name(i), edgeState([failed("red", "spec.vni 5 is taken")]), 1);
    book.say(name(7), edgeState([failed("red", "eth1 is not there"), failed("red", "eth2 is not there")]), 2);
    expect(book.ofAll("VPC", "red").reason).toBe(
      "on node-0000, node-0001, node-0002, node-0003, node-0004 and 4994 more nodes: spec.vni 5 is taken; on node-0007: eth1 is not there; on node-0007: eth2 is not there",
    );
    for (let i = 0; i < 5000; i++)
      book.say(name(i), edgeState([failed("red", `${i} ${"x".repeat(240)}`)]), 3);
    const reason = book.ofAll("VPC", "red").reason ?? "";
    expect(reason).toEndWith("; and 4995 more messages of other nodes");
    expect(reason.length).toBeLessThan(1500);
  });

  test("is the same at two hubs in whatever order they hear it", () => {
    const [one, two] = [new EdgeBook(), new EdgeBook()];
    one.say("a", edgeState([failed("red", "taken")]), 5000);
    for (const fact of one.since(0)) expect(two.merge(fact)).toBe(true);
    // The node moved to the other hub, whose clock says 1000.
    two.say("a", well, 1000);
    for (const fact of two.since(0)) expect(one.merge(fact)).toBe(true);
    expect(one.ofAll("VPC", "red")).toEqual({ up: true });
    for (const fact of two.since(0)) expect(one.merge(fact)).toBe(false);
    expect(one.since(one.version)).toEqual([]);
    expect(one.since(one.version - 1).map(({ node }) => node)).toEqual(["a"]);
  });
});

test("hubs tell each other what nodes say of their edges, also that there is none any more", async () => {
  const [here, there] = [new FactBook(), new FactBook()];
  let heard: (() => void) | undefined;
  const health = () => ({ revision: 1, position: 1 });
  using listener = listenTcp({
    ...{ address: "127.0.0.1", port: 0, maxLineBytes: NODE_LINE_BYTES, maxConnections: 1 },
    accept: (connection) => ({
      line: (text) =>
        answerHub(text, {
          ...{ connection, health, invite: () => {} },
          facts: (told, edges) => {
            for (const fact of told) there.merge(fact);
            for (const edge of edges) there.edges.merge(edge);
            heard?.();
          },
        }),
      closed: () => {},
    }),
  });
  const until = async (done: () => boolean) => {
    while (!done()) await new Promise<void>((resolve) => (heard = resolve));
  };
  using links = new HubLinks({ facts: here, book: "b", health, port: listener.port });
  here.say("a", { ...facts, edge: edgeState([failed("red", "taken")]) }, 1);
  const address = parseIp("127.0.0.1");
  links.follow([{ name: "two", overlay4: address, overlay6: address } as Node]);
  await until(() => there.edges.ofAll("VPC", "red").reason === "on a: taken");
  // Of an agent that has not looked yet nothing is new.
  here.say("a", facts, 2);
  expect(here.edges.ofAll("VPC", "red").up).toBe(false);
  here.say("a", { ...facts, edge: null }, 2);
  links.tellEdges();
  await until(() => there.edges.of("a") === undefined);
  expect(there.all()).toEqual(here.all());
});
