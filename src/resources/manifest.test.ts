import { describe, expect, test } from "bun:test";
import { formatPrefix } from "../net/mod.ts";
import { canonicalJson } from "./canonical.ts";
import {
  formatManifest,
  formatProblem,
  formatResource,
  newMesh,
  parseManifest,
  parseObject,
} from "./manifest.ts";
import { type Mesh, meshExample } from "./mesh.ts";
import { type Node, nodeExample } from "./node.ts";

const mesh = (spec: string) =>
  parseManifest(`apiVersion: causeway.network/v1alpha1\nkind: Mesh\nmetadata: {name: home}\nspec: ${spec}\n`);
const problemsOf = (spec: string) => mesh(spec).problems.map(formatProblem);
const ENDPOINTS = 'endpoints: ["hub.example.com:51820"]';

describe("examples", () => {
  for (const [name, text] of Object.entries({ meshExample, nodeExample }))
    test(`${name} is valid and comes back the same`, () => {
      const { resources, problems } = parseManifest(text);
      expect(problems).toEqual([]);
      expect(resources).toHaveLength(1);
      const again = parseManifest(formatManifest(resources));
      expect(again.problems).toEqual([]);
      expect(again.resources).toEqual(resources);
      expect(parseManifest(resources.map(formatResource).join("")).resources).toEqual(resources);
    });
});

describe("defaults of a Mesh", () => {
  test("IPv4 is fixed, IPv6 comes from one random /48", () => {
    const value = mesh(`{${ENDPOINTS}}`).resources[0]?.value as Mesh;
    expect(formatPrefix(value.overlay4)).toBe("10.90.0.0/16");
    expect(value.pods4 && formatPrefix(value.pods4)).toBe("10.244.0.0/16");
    expect(value.services.map(formatPrefix)).toEqual(["10.96.0.0/12"]);
    expect([value.nodeBits, value.listenPort, value.exposedPorts, value.mtuBytes]).toEqual([
      8,
      51820,
      [],
      undefined,
    ]);
    const six = [value.overlay6, value.enrol6, value.pods6 as never].map(formatPrefix);
    expect(new Set(six.map((text) => text.split(":").slice(0, 3).join(":"))).size).toBe(1);
    expect(six[0]).toMatch(/^fd[0-9a-f]{2}:/);
    expect(six.map((text) => text.split("/")[1])).toEqual(["64", "64", "56"]);
    const other = mesh(`{${ENDPOINTS}}`).resources[0]?.value as Mesh;
    expect(formatPrefix(other.overlay6)).not.toBe(six[0] as string);
  });

  test("a given IPv6 network gives its /48 to the others", () => {
    const value = mesh(`{${ENDPOINTS}, overlay6: "fd01:2:3:4::/64"}`).resources[0]?.value as Mesh;
    expect(formatPrefix(value.enrol6)).toBe("fd01:2:3:1::/64");
    expect(value.pods6 && formatPrefix(value.pods6)).toBe("fd01:2:3:100::/56");
  });

  test("what a pair may be relayed is not bounded, or written in the largest unit", () => {
    const value = (spec: string) => mesh(spec).resources[0]?.value as Mesh;
    expect(value(`{${ENDPOINTS}}`).relayBitsPerSecond).toBeUndefined();
    const limited = value(`{${ENDPOINTS}, relayRate: 2000mbit}`);
    expect(limited.relayBitsPerSecond).toBe(2e9);
    expect(formatManifest([{ kind: "Mesh", value: limited }])).toContain("relayRate: 2Gbit\n");
  });

  test("a family without pods is null", () => {
    const value = mesh(`{${ENDPOINTS}, pods6: null}`).resources[0]?.value as Mesh;
    expect(value.pods6).toBeUndefined();
    expect(formatManifest([{ kind: "Mesh", value }])).toContain("pods6: null");
  });
});

describe("a bad Mesh is refused with field, value and fix", () => {
  const cases: [string, string][] = [
    ["{}", 'Mesh "home": spec.endpoints is missing; add it'],
    ["{endpoints: []}", 'Mesh "home": spec.endpoints [] names no endpoint; add the hub\'s public host:port'],
    ['{endpoints: ["hub"]}', 'Mesh "home": spec.endpoints[0] "hub" is not host:port; write it like'],
    ['{endpoints: ["1.2.3.400:5"]}', 'Mesh "home": spec.endpoints[0] "1.2.3.400:5" is not host:port'],
    [
      `{${ENDPOINTS}, pods4: 10.244.0.16/16}`,
      'Mesh "home": spec.pods4 "10.244.0.16/16" has bits set after its length; write 10.244.0.0/16',
    ],
    [`{${ENDPOINTS}, pods4: "fd00::/64"}`, 'Mesh "home": spec.pods4 "fd00::/64" is not an IPv4 network'],
    [
      `{${ENDPOINTS}, overlay4: 10.250.0.0/15, pods4: 10.251.0.0/16}`,
      'Mesh "home": spec.pods4 10.251.0.0/16 overlaps spec.overlay4 10.250.0.0/15',
    ],
    [
      `{${ENDPOINTS}, services: [10.244.128.0/17]}`,
      'Mesh "home": spec.services[0] 10.244.128.0/17 overlaps spec.pods4 10.244.0.0/16',
    ],
    [
      `{${ENDPOINTS}, overlay4: 127.0.0.0/16}`,
      'Mesh "home": spec.overlay4 127.0.0.0/16 overlaps 127.0.0.0/8, which is reserved',
    ],
    [
      `{${ENDPOINTS}, nodeBits: "8"}`,
      'Mesh "home": spec.nodeBits "8" is not a whole number from 0 to 30; write one without quotes',
    ],
    [
      `{${ENDPOINTS}, nodeBits: 15}`,
      'Mesh "home": spec.nodeBits 15 leaves less than 2 host bits in ranges of 10.244.0.0/16; use at most 14',
    ],
    [`{${ENDPOINTS}, pods4: 192.168.7.0/24, nodeBits: 7}`, "use at most 6"],
    [`{${ENDPOINTS}, exposedPorts: [80]}`, "spec.exposedPorts[0] 80 expected a port such as tcp/443 as text"],
    [
      `{${ENDPOINTS}, exposedPorts: [tcp/9-3]}`,
      'spec.exposedPorts[0] "tcp/9-3" is not a port; write it like tcp/443',
    ],
    [
      `{${ENDPOINTS}, podCidr: 10.0.0.0/8}`,
      'Mesh "home": spec.podCidr is not a field; the fields are overlay4, overlay6,',
    ],
    [`{${ENDPOINTS}, listenPort: 0}`, "spec.listenPort 0 is not a whole number from 1 to 65535"],
    [`{${ENDPOINTS}, mtuBytes: 1000}`, "spec.mtuBytes 1000 is not a whole number from 1280"],
    [`{${ENDPOINTS}, enrol6: "fd00:1::/96"}`, "is too small for newcomers"],
    [
      `{${ENDPOINTS}, relayRate: fast}`,
      'Mesh "home": spec.relayRate "fast" is not a rate; write it like 500Mbit, 1Gbit or 800kbit',
    ],
    [`{${ENDPOINTS}, relayRate: 5000000}`, "spec.relayRate 5000000 expected a rate such as 500Mbit as text"],
    [`{${ENDPOINTS}, relayRate: 9kbit}`, 'spec.relayRate "9kbit" is less than 64kbit; write 64kbit or more'],
  ];
  for (const [spec, expected] of cases)
    test(spec, () => {
      const problems = problemsOf(spec);
      expect(problems.some((problem) => problem.includes(expected)) ? expected : problems.join("\n")).toBe(
        expected,
      );
      expect(mesh(spec).resources).toEqual([]);
    });
});

describe("manifests", () => {
  test("one bad document does not take the others with it", () => {
    const { resources, problems } = parseManifest(`${meshExample}---\nkind: Foo\n---\n${nodeExample}`);
    expect(resources.map((resource) => resource.kind)).toEqual(["Mesh", "Node"]);
    expect(problems.map(formatProblem)).toEqual([
      "document 2: apiVersion is not known; write causeway.network/v1alpha1",
    ]);
  });

  test("text that is not YAML is named with its place", () => {
    expect(parseManifest("a: [1\n").problems.map(formatProblem)[0]).toMatch(
      /^document 1: is not YAML: .*line/,
    );
  });

  test("the same object twice is refused", () => {
    const { resources, problems } = parseManifest(`${meshExample}---\n${meshExample}`);
    expect(resources).toHaveLength(1);
    expect(problems.map(formatProblem)).toEqual(['Mesh "home": is there twice; keep one']);
  });

  test("names are checked", () => {
    expect(parseManifest(nodeExample.replace("attic", "Attic_1")).problems.map(formatProblem)[0]).toContain(
      'Node "Attic_1": metadata.name "Attic_1" is not a name',
    );
  });

  test("fields of a newer version are passed over where the hub sends them", () => {
    const problems: never[] = [];
    const data = parseManifest(nodeExample).resources[0];
    const json = JSON.parse(formatResource(data as never));
    json.spec.future = 1;
    expect((parseObject(json, { problems, strict: false })?.value as Node).name).toBe("attic");
  });

  test("newMesh throws everything that is wrong at once", () => {
    expect(() => newMesh("home", { nodeBits: 40, endpoints: [] })).toThrow(/nodeBits 40[^]*endpoints/);
  });

  test("canonical JSON sorts keys and keeps lists", () => {
    expect(canonicalJson({ b: [2, 1], a: { d: null, c: "x" } })).toBe('{"a":{"c":"x","d":null},"b":[2,1]}');
  });

  test("an alias inside of what it stands for, and what is nested too deep, are refused and not followed", () => {
    const head = "apiVersion: causeway.network/v1alpha1\nkind: Route\nmetadata: {name: b}\n";
    for (const text of [
      `${head}spec: &x {gateway: *x}\n`,
      `${head}spec: &x {gateways: [{ip: [*x]}]}\n`,
      "&k {kind: *k}\n",
    ])
      expect(parseManifest(text).problems.map(formatProblem)).toEqual([
        "document 1: cannot be read: an alias stands for what it is in; write it plainly, without aliases",
      ]);
    expect(
      parseManifest(`${head}spec: ${"[".repeat(200)}${"]".repeat(200)}\n`).problems.map(formatProblem),
    ).toEqual([
      "document 1: cannot be read: it is nested deeper than 100; write it plainly, without aliases",
    ]);
    expect(parseManifest(`${head}spec: {a: &x {b: c}, d: *x, e: *x}\n`).problems[0]?.object).toBe(
      'Route "b"',
    );
  });

  test("garbage never throws", () => {
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff);
    for (let i = 0; i < 500; i++) {
      const text = [...meshExample]
        .map((c) => (random() % 23 === 0 ? String.fromCharCode(random() % 127) : c))
        .join("");
      expect(() => parseManifest(text)).not.toThrow();
    }
  });
});
