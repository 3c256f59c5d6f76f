/**
 * Pods and namespaces from files, where there is no API to ask: manifests of kind Pod, Namespace or List in a folder, YAML or JSON, as
 * `kubectl get -o yaml` writes them. A pod that no file tells of has what its namespace has.
 */
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { listDirectory, readText } from "../sys/mod.ts";
import { annotationsOf, fieldOf, type Metadata, parseMetadata, type Texts } from "./metadata.ts";

const MANIFEST = /\.(?:ya?ml|json)$/;

/** Whoever may write there may also fill the disk; this only keeps a mistake from filling the memory. */
const MOST_BYTES = 16 * 2 ** 20;
const MOST_FILES = 1_000;

/** PodFiles reads a folder each time it is asked. */
export class PodFiles {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** podFacts knows nothing without reading. */
  podFacts(): undefined {
    return undefined;
  }

  /** find reads the files; rejects with an Error that names the file that cannot be read. */
  async find(namespace: string, name: string): Promise<{ labels: Texts; annotations: Texts }> {
    const objects = this.#read();
    const pod = objects.find(
      ({ kind, metadata }) => kind === "Pod" && metadata.namespace === namespace && metadata.name === name,
    );
    const home = objects.find(({ kind, metadata }) => kind === "Namespace" && metadata.name === namespace);
    return {
      labels: pod?.metadata.labels ?? {},
      annotations: annotationsOf(pod?.metadata.annotations ?? {}, home?.metadata.annotations ?? {}),
    };
  }

  #read(): { readonly kind: unknown; readonly metadata: Metadata }[] {
    const files = listDirectory(this.#folder)
      .filter((file) => MANIFEST.test(file))
      .sort();
    if (files.length > MOST_FILES)
      throw new Error(`Cannot read ${this.#folder}: it has more than ${MOST_FILES} files`);
    return files.flatMap((file) => {
      const path = join(this.#folder, file);
      const text = readText(path) ?? "";
      const documents = text.length > MOST_BYTES ? [] : parseAllDocuments(text);
      const problem =
        text.length > MOST_BYTES ? `it is longer than ${MOST_BYTES} bytes` : problemOf(documents);
      if (problem !== undefined) throw new Error(`Cannot read ${path}: ${problem}`);
      return [...documents].flatMap((document) => objectsOf(document.toJS()));
    });
  }
}

function problemOf(documents: ReturnType<typeof parseAllDocuments>): string | undefined {
  return [...documents].flatMap(({ errors }) => errors)[0]?.message;
}

/** A list holds objects; a namespace that a manifest leaves out is `default`, as for kubectl. */
function objectsOf(value: unknown): { kind: unknown; metadata: Metadata }[] {
  const items = fieldOf(value, "items");
  if (Array.isArray(items)) return items.flatMap(objectsOf);
  const [kind, metadata] = [fieldOf(value, "kind"), parseMetadata(value)];
  if (metadata === undefined) return [];
  return [{ kind, metadata: kind === "Pod" ? { namespace: "default", ...metadata } : metadata }];
}
