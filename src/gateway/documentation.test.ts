/** What docs/gateway.md shows is as it says, and the examples are valid. */
import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { formatProblem, type Gateway, parseManifest, type Route } from "../resources/mod.ts";
import { configOfResources, diffModels, noState, perform, planGateway, readConfig, verbs } from "./mod.ts";
import { algorithms, backends, configSchema, encapsulations, exchanges } from "./schema.ts";
import type { Members } from "./schema-node.ts";

const file = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const page = file("docs/gateway.md");
const blocks = (language: string) =>
  [...page.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].flatMap(([, name, body]) =>
    name === language ? [body as string] : [],
  );

function resources(text: string) {
  const { resources: all, problems } = parseManifest(text);
  expect(problems.map(formatProblem)).toEqual([]);
  const gateway = all.find(({ kind }) => kind === "Gateway")?.value as Gateway;
  const routes = all.flatMap((one): Route[] => (one.kind === "Route" ? [one.value] : []));
  return configOfResources(gateway, routes);
}

test("the example of mod.ts", () => {
  const { config } = readConfig(blocks("")[0] as string);
  const store = { config, state: { "gateway-state": noState } };
  const { config: next } = perform(store, { verb: "set", path: "/mtu", value: "1420" });
  expect(diffModels(planGateway(config), planGateway(next)).aspects).toEqual(["mtuBytes"]);
});

test("the text of the page is a configuration, and nothing is in the way of its route", () => {
  const [text] = blocks("");
  const { config, warnings } = readConfig(text as string);
  expect(warnings).toEqual([]);
  expect(planGateway(config).routes.get("tokyo")?.unusable).toBeUndefined();
});

test("mistakes are told as the page shows them", () => {
  const wrong = '\n\n\n\nmtu 9000;\nroute4 { id tokyo; spi 1234; net 10.0.0.0/8; preshared-key "" }';
  const [first] = (blocks("text")[0] as string).split("\n");
  expect(() => readConfig(wrong.replace('preshared-key "" ', ""))).toThrow(first as string);
  const [, second] = (blocks("text")[0] as string).split("\n");
  expect(() =>
    readConfig(`route4 { id tokyo; spi 1234; net 10.0.0.0/8; preshared-key ${"0".repeat(64)}; }`),
  ).toThrow(second as string);
});

test("the resources of the page are valid together", () => {
  const { config, problems, warnings } = resources(blocks("yaml")[0] as string);
  expect([problems, warnings]).toEqual([[], []]);
  expect(config?.route.get("tokyo")?.exchange).toBe("vita");
});

test("every name and word of the schema, and every verb, stands in the page", () => {
  const names = (members: Members): string[] =>
    Object.entries(members).flatMap(([name, node]) => [
      name,
      ...("members" in node ? names(node.members) : []),
    ]);
  const words = [...names(configSchema), ...exchanges, ...algorithms, ...backends, ...encapsulations];
  expect(words.filter((word) => !page.includes(`\`${word}`))).toEqual([]);
  expect(verbs.filter((verb) => !page.includes(`| \`${verb} `))).toEqual([]);
});

describe("examples", () => {
  for (const name of ["paris", "tokyo"])
    test(`${name}.conf`, () => {
      const { config, warnings } = readConfig(file(`examples/gateway/${name}.conf`));
      expect(warnings).toEqual([]);
      const model = planGateway(config);
      const [route] = model.routes.values();
      expect([model.queues.length, route?.pairs.length, route?.unusable]).toEqual([2, 2, undefined]);
    });
  test("the two ends name each other", () => {
    const ends = ["paris", "tokyo"].map((name) => {
      const [route] = planGateway(readConfig(file(`examples/gateway/${name}.conf`)).config).routes.values();
      return route;
    });
    const [here, there] = ends;
    const key = there?.exchange.credential.presharedKey;
    expect(key && here?.exchange.credential.presharedKey?.equals(key)).toBe(true);
    expect(here?.spi).toBe(there?.spi as number);
    expect(here?.pairs.map(({ gateways }) => gateways[0])).toEqual(
      there?.pairs.map(({ local }) => local.identity),
    );
    expect(there?.pairs.map(({ gateways }) => gateways[0])).toEqual(
      here?.pairs.map(({ local }) => local.identity),
    );
  });
  test("paris.yaml", () => {
    const { config, problems, warnings } = resources(file("examples/gateway/paris.yaml"));
    expect([problems, warnings]).toEqual([[], []]);
    if (config === undefined) throw new Error("refused");
    expect(planGateway(config).routes.get("tokyo")?.unusable).toBeUndefined();
  });
});
