/** A custom resource as the API tells of it: what its user wants, and what we wrote into its status. */
import { API_VERSION, type Json, type TenantKind } from "../resources/mod.ts";
import { fieldOf, type Named } from "./metadata.ts";

/** Condition is a metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** One word, for programs. */
  readonly reason: string;
  readonly message: string;
  /** When `status` changed last, RFC 3339. */
  readonly lastTransitionTime: string;
  readonly observedGeneration: number;
}

/** CustomStatus is what we write. */
export interface CustomStatus {
  readonly observedGeneration: number;
  readonly vni?: number;
  readonly conditions: readonly Condition[];
}

/** CustomObject is one object of a kind. */
export interface CustomObject extends Named {
  readonly kind: TenantKind;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  /** Somebody deleted it; it stays until nobody's finalizer is there. */
  readonly deleting: boolean;
  readonly finalizers: readonly string[];
  /** As a user would write it. */
  readonly manifest: Json;
  /** As it is there, whoever wrote it. */
  readonly status: unknown;
}

/** parseCustomObject returns the reader of one kind's objects; undefined for what is none. */
export function parseCustomObject(kind: TenantKind): (object: unknown) => CustomObject | undefined {
  return (object) => {
    const metadata = fieldOf(object, "metadata");
    const [name, uid, version, generation] = ["name", "uid", "resourceVersion", "generation"].map((key) =>
      fieldOf(metadata, key),
    );
    if (typeof name !== "string" || typeof version !== "string") return undefined;
    const finalizers = fieldOf(metadata, "finalizers");
    return {
      ...{ kind, name, resourceVersion: version, uid: typeof uid === "string" ? uid : "" },
      generation: typeof generation === "number" ? generation : 0,
      deleting: fieldOf(metadata, "deletionTimestamp") !== undefined,
      finalizers: Array.isArray(finalizers) ? finalizers.filter((one) => typeof one === "string") : [],
      manifest: {
        apiVersion: API_VERSION,
        kind,
        metadata: { name },
        spec: (fieldOf(object, "spec") ?? {}) as Json,
      },
      status: fieldOf(object, "status"),
    };
  };
}
