/** Of a folder of manifests, what one gateway makes of them, and what of that stays as it was. */
import { describe, expect, test } from "bun:test";
import { formatProblem, gatewayExample, parseManifest, routeExample } from "../resources/mod.ts";
import { configOfManifests, gatewaysOfNode, type ManifestFile } from "./from-manifests.ts";
import { sameValue } from "./identity.ts";
import type { GatewayConfig } from "./schema.ts";
import { defaultConfig, readConfig } from "./verbs.ts";

const WISH = { path: "/m", name: "paris", node: "gw-paris" };
const file = (text: string, path = "/m/a.yaml"): ManifestFile => ({ path, ...parseManifest(text) });
const route = (name: string, n: number, more = "") =>
  `---\napiVersion: causeway.network/v1alpha1\nkind: Route\nmetadata: {name: ${name}}\nspec: {gateway: paris, spi: ${1000 + n}, prefixes: [10.${n}.0.0/16], presharedKeyFile: /k${n}${more}}\n`;

function read(texts: string | readonly ManifestFile[], before: GatewayConfig = defaultConfig) {
  const files = typeof texts === "string" ? [file(texts)] : texts;
  const { config, problems } = configOfManifests(files, WISH, before);
  return { config, routes: [...(config?.route.keys() ?? [])], said: problems.map(formatProblem) };
}
function configOf(text: string): GatewayConfig {
  const { config, said } = read(text);
  expect(said).toEqual([]);
  if (config === undefined) throw new Error("refused");
  return config;
}

describe("which Gateway", () => {
  test("that of the name, on this node", () => {
    expect(read(gatewayExample).said).toEqual([]);
    expect(gatewaysOfNode([file(gatewayExample)], "gw-paris")).toEqual(["paris"]);
    expect(gatewaysOfNode([file(gatewayExample)], "gw-rome")).toEqual([]);
    const cases = [
      [
        gatewayExample.replace("name: paris", "name: rome"),
        'Gateway "paris": is not in /m; add it there, with spec.node gw-paris',
      ],
      [
        gatewayExample.replace("node: gw-paris", "node: gw-rome"),
        'Gateway "paris": spec.node gw-rome is not this node, whose name is gw-paris; write that, or start the gateway with --node gw-rome',
      ],
      [
        gatewayExample.replace(/ {2}private:[^]*?(?= {2}public:)/, "  vpc: team-a\n"),
        'Gateway "paris": spec.vpc team-a is made by the agent of its node, which then runs this Gateway itself; put it into the register (causeway apply), or give private in its place',
      ],
      [gatewayExample.replace("mtuBytes: 1440", "mtuBytes: 9000"), 'Gateway "paris": spec.mtuBytes 9000'],
      ["a: [1", "/m/a.yaml, document 1: is not YAML"],
    ] as const;
    for (const [text, expected] of cases) {
      const { config, said } = read(text);
      expect(config).toBeUndefined();
      expect(said).toHaveLength(1);
      expect(said[0]).toStartWith(expected);
    }
  });

  test("one that is there twice is none", () => {
    const { config, said } = read([file(gatewayExample), file(gatewayExample, "/m/b.yaml")]);
    expect([config, said]).toEqual([undefined, ['Gateway "paris": is there twice, in two files; keep one']]);
  });

  test("one that is there twice in one file, or is wrong in another one, is none", () => {
    const wrong = gatewayExample.replace("mtuBytes: 1440", "mtuBytes: 9000");
    for (const texts of [
      [`${gatewayExample}---\n${gatewayExample.replace("mtuBytes: 1440", "mtuBytes: 1400")}`],
      [gatewayExample, wrong],
    ]) {
      const { config, said } = read(texts.map((text, i) => file(text, `/m/${i}.yaml`)));
      expect(config).toBeUndefined();
      expect(said).toHaveLength(1);
    }
  });

  test("resources of others in the folder are no affair of it", () => {
    const others = [
      gatewayExample.replace("name: paris", "name: rome").replace("mtuBytes: 1440", "mtuBytes: 9000"),
      gatewayExample.replace("name: paris", "name: oslo"),
      routeExample.replace("name: tokyo", "name: b").replace("gateway: paris", "gateway: rome"),
      routeExample
        .replace("name: tokyo", "name: c")
        .replace("gateway: paris", "gateway: oslo")
        .replace("spi: 1234", "spi: 1"),
      "apiVersion: causeway.network/v1alpha1\nkind: BgpRouter\nmetadata: {name: r}\nspec: {}\n",
    ].map((text, i) => file(text, `/m/${i}.yaml`));
    expect(read([...others, file(gatewayExample)])).toMatchObject({ routes: [], said: [] });
  });
});

describe("a Route that is wrong", () => {
  const before = configOf(gatewayExample + route("a", 1) + route("b", 2));

  test("is told, and the others are used", () => {
    const text =
      gatewayExample +
      route("a", 1) +
      route("b", 2, ", algorithm: rot13") +
      route("c", 3).replace("paris", "pariss");
    expect(read(text)).toMatchObject({
      routes: ["a"],
      said: [
        'Route "b": spec.algorithm "rot13" is none of aes-128-gcm, aes-256-gcm, chacha20-poly1305',
        'Route "c": spec.gateway pariss is no Gateway in /m; write the name of one (paris), or add it',
      ],
    });
  });

  test.each([
    ["by itself", route("b", 2, ", algorithm: rot13")],
    ["by the other", route("b", 1)],
    ["by its Gateway", route("b", 2).replace("paris", "pariss")],
    ["by its kind's spelling", route("b", 2).replace("kind: Route", "kind: Rout")],
    ["by a text that is no YAML", "---\na: [1\n"],
    ["by being there twice in one file", route("b", 2) + route("b", 2)],
    ["by being there twice in one file, and other in the first", route("b", 3) + route("b", 2)],
  ])("stays as it was: %s", (_name, wrong) => {
    const { config, said } = read(gatewayExample + route("a", 1) + wrong, before);
    expect(said).not.toEqual([]);
    expect(sameValue(config, before)).toBe(true);
  });

  test("stays as it was in two files, and in one that cannot be read", () => {
    const rest = file(gatewayExample + route("a", 1));
    const two = read([rest, file(route("b", 2), "/m/b.yaml"), file(route("b", 3), "/m/c.yaml")], before);
    expect(two.said).toEqual(['Route "b": is there twice, in two files; keep one']);
    expect(sameValue(two.config, before)).toBe(true);
    const none = read([rest, { path: "/m/b.yaml", error: "EIO" }], before);
    expect(none.said).toEqual(["/m/b.yaml: cannot be read: EIO"]);
    expect(sameValue(none.config, before)).toBe(true);
  });

  test("a newcomer does not take what another has, wherever it stands", () => {
    const { config, said } = read(gatewayExample + route("new", 1) + route("a", 1) + route("b", 2), before);
    expect(said).toEqual([
      'Route "new": spec.spi 1001 is not unique: Route "a" has it; write another',
      'Route "new": spec.prefixes 10.1.0.0/16 is not unique: Route "a" has it; write another',
      'Route "new": spec.presharedKeyFile /k1 is not unique: Route "a" has it; write another',
    ]);
    expect(sameValue(config, before)).toBe(true);
  });

  test("keeps its place until it is mended or gone", () => {
    const takes = gatewayExample + route("a", 2) + route("c", 3);
    const { config, said, routes } = read(takes + route("b", 4, ", algorithm: rot13"), before);
    expect(said).toContain('Route "a": spec.spi 1002 is not unique: Route "b" has it; write another');
    expect(routes.toSorted()).toEqual(["a", "b", "c"]);
    for (const id of ["a", "b"]) expect(config?.route.get(id)).toBe(before.route.get(id) as never);
    expect(read(takes, before)).toMatchObject({ said: [], routes: ["a", "c"] });
  });
});

test("a Route that is gone goes, and one that has not changed is the same", () => {
  const before = configOf(gatewayExample + route("a", 1) + route("b", 2));
  const { config, routes, said } = read(gatewayExample + route("b", 2) + route("c", 3), before);
  expect([routes, said]).toEqual([["b", "c"], []]);
  expect(config?.route.get("b")).toBe(before.route.get("b") as never);
  expect(config?.["public-interface4"]).toBe(before["public-interface4"]);
});

test("associations of an operator stay, as long as the Gateway has them given", () => {
  const sa = `outbound-sa { spi 1000; route a; aead aes-gcm-16-icv; key "${"1000".repeat(8)}"; salt "00001000"; }`;
  const before = readConfig(`data-plane true; ${sa}`).config;
  const managed = gatewayExample.replace("  mtuBytes", "  dataPlane: true\n  mtuBytes") + route("a", 1);
  expect(read(managed, before).config?.["outbound-sa"]).toBe(before["outbound-sa"]);
  expect(read(gatewayExample + route("a", 1), before).config?.["outbound-sa"].size).toBe(0);
});
