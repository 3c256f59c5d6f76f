/**
 * OpenPERouter's manifests as they lie in files: Kubernetes' objects of both names of its API group, lists of them, and its static files
 * (`openpe_*.yaml`, `node-config.yaml`). Field names were spelled in two ways over time, so their case means nothing here.
 */
import { parseAllDocuments } from "yaml";
import type { ManifestProblem } from "../resources/mod.ts";

/** SourceText is a file. */
export interface SourceText {
  readonly name: string;
  readonly text: string;
}

/** sourceKinds are OpenPERouter's kinds; the last is that of a node's static file. */
export const sourceKinds = [
  "Underlay",
  "L3VNI",
  "L2VNI",
  "L3Passthrough",
  "L3VPN",
  "RawFRRConfig",
  "OpenPERouter",
  "RouterNodeConfigurationStatus",
  "NodeConfig",
] as const;

/** SourceKind is one of them. */
export type SourceKind = (typeof sourceKinds)[number];

/** Source is one object of a file. */
export interface Source {
  readonly kind: SourceKind;
  readonly name: string;
  readonly namespace: string;
  /** As it was written. */
  readonly spec: unknown;
  /** Where it was found, for people. */
  readonly where: string;
}

const GROUPS = ["network.openperouter.io/", "openpe.openperouter.github.io/"];
/** Where OpenPERouter is installed unless somebody says otherwise. */
const NAMESPACE = "openperouter-system";
const MAX_TEXT = 4 * 1024 * 1024;

/** Sources are all objects of the files. */
export interface Sources {
  readonly sources: readonly Source[];
  readonly problems: readonly ManifestProblem[];
  /** What was passed over, as sentences. */
  readonly notes: readonly string[];
}

type Plain = Readonly<Record<string, unknown>>;

const isPlain = (value: unknown): value is Plain =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** member returns a member whatever the case of its name is. */
export function member(value: unknown, name: string): unknown {
  if (!isPlain(value)) return undefined;
  const key = Object.keys(value).find((one) => one.toLowerCase() === name);
  return key === undefined ? undefined : value[key];
}

/** Lists of a static file, and the kind of what is in them. */
const staticLists = {
  underlays: "Underlay",
  l3vnis: "L3VNI",
  l2vnis: "L2VNI",
  l3vpns: "L3VPN",
  rawfrrconfigs: "RawFRRConfig",
} as const satisfies Readonly<Record<string, SourceKind>>;

class Reader {
  readonly sources: Source[] = [];
  readonly problems: ManifestProblem[] = [];
  readonly notes: string[] = [];

  refuse(where: string, problem: string): void {
    this.problems.push({ object: where, problem });
  }

  object(data: unknown, where: string): void {
    if (data === null || data === undefined) return;
    if (!isPlain(data)) return this.refuse(where, "is not an object; give a manifest of OpenPERouter");
    const { apiVersion, kind, metadata, spec } = data;
    if (Array.isArray(data["items"]) && typeof kind === "string" && kind.endsWith("List")) {
      // What an API server gives as L3VNIList says it only once.
      const each = { apiVersion, kind: kind.slice(0, -4) };
      return data["items"].forEach((item, i) =>
        this.object(isPlain(item) ? { ...each, ...item } : item, `${where}, item ${i + 1}`),
      );
    }
    if (apiVersion === undefined && kind === undefined) return this.staticFile(data, where);
    const name = member(metadata, "name");
    const label = `${String(kind)} "${String(name ?? "")}"`;
    const ours = GROUPS.some((group) => String(apiVersion).startsWith(group));
    if (!ours) {
      this.notes.push(`${where}: ${label} is not OpenPERouter's, and is left out`);
      return;
    }
    // Nothing of a router may be missing without a word.
    if (!sourceKinds.some((one) => one === kind))
      return this.refuse(
        label,
        `(${where}) is of a kind of OpenPERouter that is not known; ${newKind(kind)}`,
      );
    if (typeof name !== "string") return this.refuse(where, `${String(kind)} has no metadata.name; add it`);
    const namespace = member(metadata, "namespace");
    this.sources.push({
      kind: kind as SourceKind,
      name,
      namespace: typeof namespace === "string" ? namespace : NAMESPACE,
      spec: spec ?? {},
      where,
    });
  }

  staticFile(data: Plain, where: string): void {
    const add = (kind: SourceKind, spec: unknown, fallback: string) => {
      const { name: given, ...rest } = isPlain(spec) ? spec : {};
      const name = typeof given === "string" ? given : fallback;
      this.sources.push({ kind, name, namespace: NAMESPACE, spec: isPlain(spec) ? rest : spec, where });
    };
    for (const [key, value] of Object.entries(data)) {
      const word = key.toLowerCase();
      const kind = Object.hasOwn(staticLists, word)
        ? staticLists[word as keyof typeof staticLists]
        : undefined;
      if (kind !== undefined) {
        if (value === null) continue;
        if (!Array.isArray(value)) this.refuse(where, `${key} is not a list; write one`);
        else value.forEach((spec: unknown, i) => add(kind, spec, fallbackName(kind, spec, i)));
      } else if (word === "bgppassthrough") {
        // There is none without an AS number.
        if (member(member(value, "hostsession"), "asn")) add("L3Passthrough", value, "passthrough");
      } else if (!["nodeindex", "nodeindexinterfacename", "nodename", "loglevel"].includes(word))
        this.refuse(where, `${key} is not a field of OpenPERouter's static files; remove it`);
    }
    if (member(data, "nodeindex") !== undefined || member(data, "nodeindexinterfacename") !== undefined)
      this.sources.push({ kind: "NodeConfig", name: "node", namespace: NAMESPACE, spec: data, where });
  }
}

/** VNI was both before there were L3VNI and L2VNI. */
function newKind(kind: unknown): string {
  return kind === "VNI" ? "write an L3VNI or an L2VNI" : `give ${sourceKinds.slice(0, 4).join(", ")}`;
}

/** Older static files have no names. */
function fallbackName(kind: SourceKind, spec: unknown, index: number): string {
  const vrf = member(spec, "vrf");
  if (kind === "L3VNI" && typeof vrf === "string") return vrf.toLowerCase().replaceAll("_", "-");
  const vni = member(spec, "vni");
  if (vni !== undefined) return `${kind.toLowerCase()}-${String(vni)}`;
  return index === 0 ? kind.toLowerCase() : `${kind.toLowerCase()}-${index + 1}`;
}

/** readSources reads files. What is not OpenPERouter's is passed over. */
export function readSources(texts: readonly SourceText[]): Sources {
  const reader = new Reader();
  for (const { name, text } of texts) {
    if (text.length > MAX_TEXT) {
      reader.refuse(name, `is longer than ${MAX_TEXT} characters; split it`);
      continue;
    }
    const documents = parseAllDocuments(text, { prettyErrors: true, logLevel: "error" });
    (Array.isArray(documents) ? documents : []).forEach((document, i) => {
      const where = `${name}, document ${i + 1}`;
      const error = document.errors[0];
      if (error !== undefined)
        return reader.refuse(where, `is not YAML: ${error.message.split("\n")[0]}; mend the text there`);
      try {
        reader.object(document.toJS({ maxAliasCount: 100 }), where);
      } catch (cause) {
        reader.refuse(where, `cannot be read: ${(cause as Error).message}; write it without aliases`);
      }
    });
  }
  return reader;
}
