/**
 * A Helm chart of the same objects. A template differs from the manifest in one thing only: where a setting stands, there is
 * `{{ toJson .Values.NAME }}`, which is YAML whatever the value is.
 */
import { stringify } from "yaml";
import type { Json } from "../resources/mod.ts";
import { type PodSettings, usualSettings } from "./agent-pod.ts";
import type { Manifest } from "./definition.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";
import { formatKubeManifests, kubeManifests } from "./manifests.ts";

/** ChartFile is one file below the chart's folder. */
export interface ChartFile {
  readonly path: string;
  readonly text: string;
}

/** Settings have the form of the first release whose API knows all of their fields. */
const SINCE: KubernetesVersion = { major: 1, minor: 30 };

const MARK = "causeway-setting-";

const about: { readonly [K in keyof PodSettings]: string } = {
  image: "The agent's image, with a tag or a digest. There is none by default.",
  imagePullPolicy: "IfNotPresent, Always or Never.",
  nodeSelector: "Labels of the nodes that get an agent.",
  resources: "Requests and limits of the agent's container.",
  hub: "Key of a label: nodes that have it are hubs, and control the cluster.",
  extraArguments: "Further words of `causeway agent`, such as --tls, auto.",
};

const types: { readonly [K in keyof PodSettings]: Json } = {
  image: { type: "string", minLength: 1 },
  imagePullPolicy: { enum: ["IfNotPresent", "Always", "Never"] },
  nodeSelector: { type: "object", additionalProperties: { type: "string" } },
  resources: { type: "object" },
  hub: { type: "string", minLength: 1 },
  extraArguments: { type: "array", items: { type: "string" } },
};

const names = Object.keys(about) as (keyof PodSettings)[];

/** Definitions stay when the chart goes: with them, what tenants have would go. */
function kept(manifest: Manifest): Manifest {
  if (manifest.kind !== "CustomResourceDefinition") return manifest;
  const annotations = { "helm.sh/resource-policy": "keep" };
  return { ...manifest, metadata: { ...(manifest.metadata as Manifest), annotations } };
}

/** templateOf returns manifests as Helm's template language has them. */
function templateOf(manifests: readonly Manifest[]): string {
  const text = formatKubeManifests(manifests.map(kept));
  if (text.includes("{{"))
    throw new Error("Cannot make a chart: a manifest has {{ in it, which begins an action of a template");
  return text.replaceAll(new RegExp(`${MARK}(\\w+)`, "g"), "{{ toJson .Values.$1 }}");
}

function valuesText(): string {
  const values: PodSettings = { image: "", ...usualSettings };
  return names.map((name) => `# ${about[name]}\n${stringify({ [name]: values[name] })}`).join("\n");
}

/** chartFiles returns the chart of a version of ours. */
export function chartFiles(version: string): ChartFile[] {
  const marked = Object.fromEntries(names.map((name) => [name, `${MARK}${name}`]));
  const manifests = kubeManifests(SINCE, marked as never);
  const isDefinition = ({ kind }: Manifest) => kind === "CustomResourceDefinition";
  const chart = {
    ...{ apiVersion: "v2", name: "causeway", type: "application", version, appVersion: version },
    description: "The agent of Causeway on every node, its rights, and the definitions of its resources",
    kubeVersion: `>=${SINCE.major}.${SINCE.minor}.0-0`,
  };
  const schema = { type: "object", required: names, additionalProperties: false, properties: types };
  return [
    { path: "Chart.yaml", text: stringify(chart) },
    { path: "values.yaml", text: valuesText() },
    { path: "values.schema.json", text: `${JSON.stringify(schema, null, 2)}\n` },
    { path: "templates/definitions.yaml", text: templateOf(manifests.filter(isDefinition)) },
    { path: "templates/agents.yaml", text: templateOf(manifests.filter((one) => !isDefinition(one))) },
  ];
}
