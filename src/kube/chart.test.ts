import { expect, test } from "bun:test";
import { parse, parseAllDocuments } from "yaml";
import { type PodSettings, usualSettings } from "./agent-pod.ts";
import { chartFiles } from "./chart.ts";
import type { Manifest } from "./definition.ts";
import { kubeManifests, manifestPath } from "./manifests.ts";

const files = new Map(chartFiles("1.2.3").map(({ path, text }) => [path, text]));
const file = (path: string) => files.get(path) as string;
const version = { major: 1, minor: 30 };

/** All that our templates have of Helm's language: an action that writes one value as JSON. */
function rendered(values: { readonly [name: string]: unknown }): unknown[] {
  const templates = [...files].filter(([path]) => path.startsWith("templates/")).map(([, text]) => text);
  const text = templates
    .join("---\n")
    .replaceAll(/\{\{ toJson \.Values\.(\w+) \}\}/g, (_, name: string) => JSON.stringify(values[name]));
  expect(text).not.toContain("{{");
  return parseAllDocuments(text).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as unknown;
  });
}

const keep = { "helm.sh/resource-policy": "keep" };
/** By path: Helm has an order of its own. */
const sorted = (all: readonly unknown[]) =>
  Object.fromEntries(all.map((one) => [manifestPath(one as Manifest), one]));

/** The manifests as the chart has them. */
function expected(settings: PodSettings): unknown[] {
  return kubeManifests(version, settings).map((one) =>
    one.kind === "CustomResourceDefinition"
      ? { ...one, metadata: { ...(one.metadata as object), annotations: keep } }
      : one,
  );
}

test("a rendered chart is the manifests of the same settings", () => {
  const usual = { image: "registry.example.com/causeway:1", ...usualSettings };
  const others: PodSettings = {
    image: 'a: "b" # c',
    imagePullPolicy: "Always",
    nodeSelector: {},
    resources: { limits: { memory: "1Gi" } },
    hub: "example.com/hub",
    extraArguments: ["--tls", "auto", "- {x}"],
  };
  for (const settings of [usual, others])
    expect(sorted(rendered({ ...settings }))).toEqual(sorted(expected(settings)));
});

test("the usual values of the chart are those of the manifests, and an image must be named", () => {
  expect(parse(file("values.yaml"))).toEqual({ image: "", ...usualSettings });
  const { required, properties } = JSON.parse(file("values.schema.json"));
  expect(required).toEqual(Object.keys(parse(file("values.yaml"))));
  expect(Object.keys(properties)).toEqual(required);
  expect(properties.image).toEqual({ type: "string", minLength: 1 });
  expect(parse(file("Chart.yaml"))).toMatchObject({ version: "1.2.3", kubeVersion: ">=1.30.0-0" });
});
