import { describe, expect, test } from "bun:test";
import { gatewayExample } from "./gateway.ts";
import { formatManifest, formatProblem, formatResource, parseManifest, resourceJson } from "./manifest.ts";
import { routeExample } from "./route.ts";

const parse = (kind: string, spec: string) =>
  parseManifest(`apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: x}\nspec: ${spec}\n`);

describe("examples", () => {
  for (const [name, text] of Object.entries({ gatewayExample, routeExample }))
    test(`${name} is valid and comes back the same`, () => {
      const { resources, problems } = parseManifest(text);
      expect(problems.map(formatProblem)).toEqual([]);
      expect(resources).toHaveLength(1);
      for (const again of [formatManifest(resources), resources.map(formatResource).join("")])
        expect(parseManifest(again)).toEqual({ resources, problems: [], refused: [] });
    });
});

const SIDES = "node: a, vpc: b, public: [{interface: eth0, address4: {ip: 192.0.2.1, nextHop: 192.0.2.2}}]";

test("what is left out is filled in", () => {
  const [gateway] = parse("Gateway", `{${SIDES}}`).resources;
  expect(gateway && resourceJson(gateway).spec).toEqual({
    node: "a",
    vpc: "b",
    public: [{ interface: "eth0", address4: { ip: "192.0.2.1", nextHop: "192.0.2.2" }, queue: 1 }],
    mtuBytes: 8923,
    tfc: false,
    port: 303,
    negotiationTime: "5s",
    associationTime: "10m",
    dataPlane: false,
    backend: "auto",
  });
  const [route] = parse(
    "Route",
    "{gateway: x, spi: 256, prefixes: [10.0.0.0/8], presharedKeyFile: /k}",
  ).resources;
  expect(route && resourceJson(route).spec).toEqual({
    gateway: "x",
    prefixes: ["10.0.0.0/8"],
    gateways: [],
    spi: 256,
    exchange: "causeway",
    presharedKeyFile: "/k",
  });
});

test("a key that is written where its file belongs is in no message", () => {
  const key = "5a".repeat(32);
  const fields = ["presharedKeyFile", "presharedKey", "preshared-key", "psk", "pre-shared-key"];
  const wrong = [
    ...fields.map((field) => `${field}: ${key}`),
    ...fields.map((field) => `gateways: [{ip: 192.0.2.1, ${field}: ${key}}]`),
    `gateways: {ip: [{secret: ${key}}]}`,
  ];
  for (const field of wrong) {
    const { problems } = parse("Route", `{gateway: x, spi: 256, prefixes: [10.0.0.0/8], ${field}}`);
    expect(problems).not.toEqual([]);
    expect(problems.map(formatProblem).join("\n")).not.toContain("5a5a");
  }
});

const ROUTE = "gateway: x, spi: 256, prefixes: [10.0.0.0/8]";
const one = (fields: string) => `{${SIDES.replace("interface: eth0", fields)}}`;

describe("mistakes are named with the place and the fix", () => {
  const cases: [kind: string, spec: string, expected: string][] = [
    ["Gateway", "{vpc: b, public: []}", 'Gateway "x": spec.node is missing; add it'],
    ["Gateway", "{node: a, vpc: b, public: []}", "spec.public [] names no interface; add one"],
    [
      "Gateway",
      `{${SIDES.replace("vpc: b, ", "")}}`,
      "spec.private is missing, and vpc too; add one of them",
    ],
    [
      "Gateway",
      `{${SIDES}, private: {interface: e, address4: {ip: 10.0.0.1, nextHop: 10.0.0.2}}}`,
      "spec.vpc b is the private side, and so is private",
    ],
    [
      "Gateway",
      one("mac: '02:00:00:00:00:01'"),
      "spec.public[0].interface is missing, and pci too; add one of them",
    ],
    [
      "Gateway",
      one("interface: e, pci: '00:06.0'"),
      "spec.public[0].pci 00:06.0 stands beside interface; keep one",
    ],
    ["Gateway", one("pci: '6'"), 'spec.public[0].pci "6" is not a PCI address'],
    [
      "Gateway",
      one("interface: a/b"),
      'spec.public[0].interface "a/b" is not the name of a network interface',
    ],
    [
      "Gateway",
      "{node: a, vpc: b, public: [{interface: e}]}",
      "spec.public[0].address4 is missing, and address6 too",
    ],
    ["Gateway", `{${SIDES.replace("192.0.2.2", "192.0.2.1")}}`, "spec.public[0].address4 "],
    [
      "Gateway",
      `{${SIDES.replace("192.0.2.2", "fd00::1")}}`,
      'spec.public[0].address4.nextHop "fd00::1" is not an IPv4 address',
    ],
    ["Gateway", `{${SIDES}, mtuBytes: 9000}`, "spec.mtuBytes 9000 is not a whole number from 0 to 8923"],
    [
      "Gateway",
      `{${SIDES}, associationTime: 500ms}`,
      "spec.associationTime 500ms is not whole seconds; write them like 5s",
    ],
    ["Gateway", `{${SIDES}, cpus: [2, 2]}`, "spec.cpus 2, 2 names a processor twice; keep one"],
    ["Gateway", `{${SIDES}, backend: dpdk}`, 'spec.backend "dpdk" is none of auto, kernel, user'],
    [
      "Route",
      "{gateway: x, spi: 255, prefixes: [10.0.0.0/8]}",
      "spec.spi 255 is not a whole number from 256",
    ],
    ["Route", `{${ROUTE}}`, "spec.publicKey is missing, and presharedKeyFile too; add one of them"],
    ["Route", `{${ROUTE}, exchange: vita}`, "spec.presharedKeyFile is missing; add it"],
    ["Route", `{${ROUTE}, exchange: vita, presharedKeyFile: /k}`, "spec.gateways names no gateway; add one"],
    [
      "Route",
      `{${ROUTE}, exchange: vita, presharedKeyFile: /k, gateways: [{ip: 192.0.2.1}], algorithm: aes-256-gcm}`,
      "spec.algorithm aes-256-gcm is not what Vita's exchange can agree on",
    ],
    ["Route", `{${ROUTE}, presharedKey: secret}`, "spec.presharedKey is not a field"],
    ["Route", `{${ROUTE}, presharedKeyFile: k}`, "spec.presharedKeyFile is not an absolute path"],
    [
      "Route",
      `{${ROUTE.replace("/8", "/8, 10.0.0.0/8")}, presharedKeyFile: /k}`,
      "spec.prefixes[1] 10.0.0.0/8 is there twice",
    ],
    [
      "Route",
      `{${ROUTE}, presharedKeyFile: /k, gateways: [{ip: 192.0.2.1}, {ip: 192.0.2.1}]}`,
      "spec.gateways[1].ip 192.0.2.1 is there twice",
    ],
    [
      "Route",
      `{${ROUTE}, presharedKeyFile: /k, gateways: [{ip: 192.0.2.1}, {ip: 192.0.2.2, queue: 1}]}`,
      "spec.gateways[1].queue 1 is there twice",
    ],
  ];
  for (const [kind, spec, expected] of cases)
    test(`${kind} ${spec.slice(0, 90)}`, () => {
      const { resources, problems } = parse(kind, spec);
      expect(problems.map(formatProblem).join("\n")).toContain(expected);
      expect(resources).toEqual([]);
    });
});
