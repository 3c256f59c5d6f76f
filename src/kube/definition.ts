/** Custom resource definitions (apiextensions.k8s.io/v1), generated from `resources`. */
import { API_VERSION, type Json, type TenantKind, tenantKinds } from "../resources/mod.ts";
import { type CustomKind, customKinds, type PrintColumn } from "./custom-kinds.ts";
import type { KubernetesVersion } from "./kubeadm-config.ts";
import { type StructuralSchema, structuralSchema } from "./structural-schema.ts";

/** Manifest is an object of Kubernetes. */
export interface Manifest {
  readonly [field: string]: Json;
}

/** GROUP and SERVED are the two halves of the resources' apiVersion. */
export const [GROUP, SERVED] = API_VERSION.split("/") as [string, string];

/** resourcePath returns where the API has all objects of a kind, or one of them, or its status. */
export function resourcePath(kind: TenantKind, name?: string, part?: "status"): string {
  const all = `/apis/${API_VERSION}/${customKinds[kind].plural}`;
  const one = name === undefined ? "" : `/${encodeURIComponent(name)}`;
  return `${all}${one}${part === undefined ? "" : `/${part}`}`;
}

/** The condition that says whether the register has what the object asks for. */
export const ACCEPTED = "Accepted";

/** The first release with `x-kubernetes-validations` that are on by default. */
const RULES_SINCE = 25;

const condition = (field: string) => `.status.conditions[?(@.type=="${ACCEPTED}")].${field}`;

const COMMON: readonly PrintColumn[] = [
  { name: ACCEPTED, type: "string", jsonPath: condition("status") },
  { name: "Reason", type: "string", jsonPath: condition("reason") },
  { name: "Message", type: "string", jsonPath: condition("message"), wide: true },
  { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
];

const text = (maxLength: number): StructuralSchema => ({ type: "string", maxLength });

/** metav1.Condition. */
const CONDITION: StructuralSchema = {
  type: "object",
  required: ["type", "status", "reason", "message", "lastTransitionTime"],
  properties: {
    type: text(316),
    status: { type: "string", enum: ["True", "False", "Unknown"] },
    reason: text(1024),
    message: text(32_768),
    lastTransitionTime: { type: "string", format: "date-time" },
    observedGeneration: { type: "integer", format: "int64", minimum: 0 },
  },
};

const STATUS: StructuralSchema = {
  type: "object",
  properties: {
    observedGeneration: { type: "integer", format: "int64", minimum: 0 },
    vni: { type: "integer", description: "The VNI that the register gave it." },
    conditions: {
      type: "array",
      items: CONDITION,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["type"],
    },
  },
};

/** customDefinitions returns the definitions of all kinds, for an API server of a release. */
export function customDefinitions(version: KubernetesVersion): Manifest[] {
  return (Object.keys(customKinds) as TenantKind[]).map((kind) => customDefinition(kind, version));
}

function customDefinition(kind: TenantKind, version: KubernetesVersion): Manifest {
  const custom = customKinds[kind];
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${custom.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      // Tenants' networks have one space of names, in the register as here.
      scope: "Cluster",
      names: {
        kind,
        listKind: `${kind}List`,
        plural: custom.plural,
        singular: kind.toLowerCase(),
        shortNames: custom.shortNames,
        categories: ["causeway"],
      },
      versions: [
        {
          name: SERVED,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [...custom.columns, ...COMMON].map(printColumn),
          schema: { openAPIV3Schema: schemaOf(kind, custom, version) },
        },
      ],
    },
  };
}

function printColumn({ name, type, jsonPath, wide }: PrintColumn): Manifest {
  return { name, type, jsonPath, ...(wide === true && { priority: 1 }) };
}

function schemaOf(kind: TenantKind, custom: CustomKind, version: KubernetesVersion): StructuralSchema {
  const rules = version.major > 1 || version.minor >= RULES_SINCE ? custom.rules : [];
  const spec = structuralSchema(tenantKinds[kind].fields);
  return {
    type: "object",
    description: custom.about,
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: {
        ...spec,
        ...(rules.length > 0 && {
          "x-kubernetes-validations": rules.map(({ rule, message }) => ({ rule, message })),
        }),
      },
      status: STATUS,
    },
  };
}
