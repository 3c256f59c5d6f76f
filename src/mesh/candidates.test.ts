import { describe, expect, test } from "bun:test";
import { type Endpoint, formatEndpoint, parseEndpoint, parsePrefix } from "../net/mod.ts";
import { type CandidateNode, candidatesFor, MAX_CANDIDATES, natKind } from "./candidates.ts";

function node(parts: {
  readonly local?: readonly string[];
  readonly endpoints?: readonly string[];
  readonly mapped?: readonly string[];
  readonly observed?: Readonly<Record<string, string>>;
}): CandidateNode {
  return {
    local: (parts.local ?? []).map(parseEndpoint),
    endpoints: parts.endpoints ?? [],
    mapped: (parts.mapped ?? []).map(parseEndpoint),
    observed: Object.entries(parts.observed ?? {}).map(([hub, text]) => ({
      hub,
      endpoint: parseEndpoint(text),
    })),
  };
}

const told = (...args: Parameters<typeof candidatesFor>) =>
  candidatesFor(...args).map(({ endpoint, rung, source }) => `${rung} ${source} ${formatEndpoint(endpoint)}`);

const home = node({ local: ["192.168.1.5:51820"], observed: { one: "203.0.113.1:4000" } });

describe("candidates", () => {
  test("rungs and sources, best first", () => {
    const self = node({ local: ["192.168.1.5:51820", "[2001:db8:1::5]:51820"] });
    const peer = node({
      local: ["192.168.1.7:51820", "198.51.100.7:51820", "[2001:db8:2::7]:51820", "10.9.9.9:51820"],
      endpoints: ["home.example.net:15220", "192.0.2.9:1"],
      mapped: ["203.0.113.9:7777"],
      observed: { one: "203.0.113.9:2000", two: "203.0.113.9:2001" },
    });
    const resolved = new Map([["home.example.net:15220", [parseEndpoint("203.0.113.9:15220")]]]);
    expect(told(self, peer, { resolved })).toEqual([
      "lan local 192.168.1.7:51820",
      "direct configured 203.0.113.9:15220",
      "direct configured 192.0.2.9:1",
      "direct local 198.51.100.7:51820",
      "direct ipv6 [2001:db8:2::7]:51820",
      "direct mapped 203.0.113.9:7777",
      "punched observed 203.0.113.9:2000",
      "punched observed 203.0.113.9:2001",
    ]);
  });

  test("a name that is not resolved yet is left out", () => {
    expect(told(home, node({ endpoints: ["nowhere.example:1"] }))).toEqual([]);
  });

  test("another private network is tried only behind the same NAT", () => {
    const elsewhere = { local: ["10.0.0.9:51820"] };
    expect(told(home, node({ ...elsewhere, observed: { one: "203.0.113.1:5000" } }))).toContain(
      "lan local 10.0.0.9:51820",
    );
    // A second hub saw the same NAT.
    expect(told(home, node({ ...elsewhere, observed: { two: "203.0.113.1:5000" } }))).toContain(
      "lan local 10.0.0.9:51820",
    );
    expect(told(home, node({ ...elsewhere, observed: { one: "203.0.113.2:5000" } }))).toEqual([
      "punched observed 203.0.113.2:5000",
    ]);
  });

  test("an address that both have reaches oneself", () => {
    const both = { local: ["172.17.0.1:51820"], observed: { one: "203.0.113.1:4000" } };
    expect(told(node(both), node({ ...both, observed: { one: "203.0.113.1:5000" } }))).toEqual([
      "punched observed 203.0.113.1:5000",
    ]);
  });

  test("IPv6 needs IPv6, unless somebody says that it is reachable", () => {
    const peer = node({ local: ["[2001:db8:2::7]:51820"], endpoints: ["[2001:db8:2::8]:51820"] });
    expect(told(home, peer)).toEqual(["direct configured [2001:db8:2::8]:51820"]);
  });

  test("neighbours with public addresses are on one LAN", () => {
    const self = node({ local: ["[2001:db8:1::5]:51820", "198.51.100.4:1"] });
    const peer = node({ local: ["[2001:db8:1::7]:51820", "198.51.100.9:1"] });
    expect(told(self, peer)).toEqual(["lan local [2001:db8:1::7]:51820", "lan local 198.51.100.9:1"]);
  });

  test("never inside the mesh, loopback, or this host", () => {
    const peer = node({
      local: ["10.90.0.7:51820", "192.168.1.5:51820"],
      endpoints: ["127.0.0.1:1", "169.254.1.1:2", "10.90.0.9:51820"],
      observed: { one: "127.64.3.1:900" },
    });
    expect(told(home, peer, { inside: [parsePrefix("10.90.0.0/16")] })).toEqual([]);
  });

  test("an observation inside a private network counts there only", () => {
    const peer = node({ local: ["192.168.7.7:51820"], observed: { lan: "192.168.7.7:51820" } });
    expect(told(home, peer)).toEqual([]);
  });

  test("bounded, and no source crowds out the others", () => {
    const many = Array.from({ length: 16 }, (_, i) => `198.51.100.${i + 1}:1`);
    const peer = node({
      local: many,
      endpoints: many.map((text) => text.replace(":1", ":2")),
      mapped: ["203.0.113.9:3"],
    });
    const found = told(home, { ...peer, observed: home.observed });
    expect(found.length).toBeLessThanOrEqual(MAX_CANDIDATES);
    expect(found).toContain("direct mapped 203.0.113.9:3");
    expect(found).toContain("punched observed 203.0.113.1:4000");
  });
});

describe("kind of NAT", () => {
  const seen = (...texts: string[]) =>
    texts.map((text, i) => ({ hub: `h${i}`, endpoint: parseEndpoint(text) }));
  const kind = (observed: ReturnType<typeof seen>, local: Endpoint[] = []) => natKind(observed, { local });

  test("one observer cannot tell", () => {
    expect(kind(seen("203.0.113.1:4000"))).toBe("unknown");
    expect(kind([])).toBe("unknown");
    const one = parseEndpoint("192.0.2.1:1").ip;
    const hubs = new Map([
      ["h0", one],
      ["h1", one],
    ]);
    expect(natKind(seen("203.0.113.1:4000", "203.0.113.1:4000"), { hubs })).toBe("unknown");
  });

  test("two tell", () => {
    expect(kind(seen("203.0.113.1:4000", "203.0.113.1:4000"))).toBe("endpoint-independent");
    expect(kind(seen("203.0.113.1:4000", "203.0.113.1:4001"))).toBe("endpoint-dependent");
    expect(kind(seen("203.0.113.1:4000", "[2001:db8::1]:51820"))).toBe("unknown");
  });

  test("its own address seen from outside is none", () => {
    expect(kind(seen("198.51.100.7:51820"), [parseEndpoint("198.51.100.7:51820")])).toBe("none");
  });
});
