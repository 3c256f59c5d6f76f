/** Metadata of an object of the Kubernetes API (metav1.ObjectMeta), as much as is kept of it. */

/** Only annotations of ours are kept: those of others may have 256 KiB in each object. */
const OURS = "causeway.network/";

/** A static pod's own identity, which the runtime knows; the API has a copy of it with another one. */
const STATIC_UID = "kubernetes.io/config.hash";

/** Texts are labels or annotations. */
export type Texts = Readonly<Record<string, string>>;

/** Named is what objects are told apart by. */
export interface Named {
  /** Absent for what is in none. */
  readonly namespace?: string;
  readonly name: string;
}

/** Metadata is what is kept of a pod or a namespace. */
export interface Metadata extends Named {
  /** Those that the runtime may know it by. */
  readonly uids: readonly string[];
  /** Opaque: compared for equality by the server only. */
  readonly resourceVersion: string;
  readonly labels: Texts;
  readonly annotations: Texts;
}

/** parseMetadata reads an object; undefined for what is none. */
export function parseMetadata(object: unknown): Metadata | undefined {
  const metadata = fieldOf(object, "metadata");
  const [name, namespace, uid, version] = ["name", "namespace", "uid", "resourceVersion"].map((key) => {
    const value = fieldOf(metadata, key);
    return typeof value === "string" && value !== "" ? value : undefined;
  });
  if (name === undefined) return undefined;
  const annotations = textsOf(fieldOf(metadata, "annotations"));
  const uids = [uid, annotations[STATIC_UID]].filter((text) => text !== undefined);
  const ours = Object.entries(annotations).filter(([key]) => key.startsWith(OURS));
  return {
    ...(namespace !== undefined && { namespace }),
    ...{ name, uids, resourceVersion: version ?? "" },
    labels: textsOf(fieldOf(metadata, "labels")),
    annotations: Object.fromEntries(ours),
  };
}

/** fieldOf returns a field of what may be an object. */
export function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== "object" || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
  );
}

const VPC = `${OURS}vpc`;
const SUBNET = `${OURS}subnet`;

/**
 * annotationsOf returns what holds for a pod: its own, and those of its namespace of which it has none. A subnet belongs to the VPC beside it.
 * An empty one is none, so that no pod leaves the VPC of its namespace by it.
 */
export function annotationsOf(pod: Texts, namespace: Texts): Texts {
  const filled = (texts: Texts) =>
    Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== ""));
  const [own, inherited] = [filled(pod), filled(namespace)];
  if (own[VPC] === undefined) return { ...inherited, ...own };
  const { [VPC]: _vpc, [SUBNET]: _subnet, ...others } = inherited;
  return { ...others, ...own };
}
