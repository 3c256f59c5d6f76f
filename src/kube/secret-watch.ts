/** SecretWatch knows one Secret as the API tells of it (core/v1): asked for by its name, so that the right to see this one is enough. */
import type { KubeAccess } from "./access.ts";
import { Collection } from "./collection.ts";
import { fieldOf, type Named, parseMetadata } from "./metadata.ts";
import type { NamedSecret } from "./rights.ts";

interface Secret extends Named {
  readonly data: ReadonlyMap<string, string>;
}

/** SecretValue is what is known of a key of a Secret. */
export type SecretValue =
  | { readonly kind: "known"; readonly bytes: Uint8Array }
  /** The API says that there is none. */
  | { readonly kind: "absent"; readonly problem: string }
  /** The API has not said, or cannot be asked. */
  | { readonly kind: "unknown"; readonly problem: string };

/** SecretWatchOptions say which, and who is told. */
export interface SecretWatchOptions extends NamedSecret {
  readonly access: KubeAccess;
  /** Something is another, or cannot be asked for. */
  readonly onChange: () => void;
}

/** SecretWatch owns the watch. */
export class SecretWatch implements Disposable {
  readonly #secret: NamedSecret;
  readonly #collection: Collection<Secret>;

  private constructor({ access, namespace, name, onChange }: SecretWatchOptions) {
    this.#secret = { namespace, name };
    this.#collection = Collection.start({
      ...{ access, parse, most: 1, onChange },
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`,
      fieldSelector: `metadata.name=${name}`,
    });
  }

  /** start begins to watch. */
  static start(options: SecretWatchOptions): SecretWatch {
    return new SecretWatch(options);
  }

  /** value returns that of a key. No problem has anything of it. */
  value(key: string): SecretValue {
    const { namespace, name } = this.#secret;
    const what = `Secret ${namespace}/${name}`;
    const { cache, problem } = this.#collection;
    const data = cache.get(`${namespace}/${name}`)?.data;
    const text = data?.get(key);
    if (text !== undefined) return { kind: "known", bytes: Buffer.from(text, "base64") };
    if (!cache.listed) return { kind: "unknown", problem: `${what} is not known: ${problem}` };
    if (data === undefined) return { kind: "absent", problem: `there is no ${what}; make it` };
    const keys = [...data.keys()].sort().join(", ");
    return {
      kind: "absent",
      problem: `${what} has no key ${key}; ${keys === "" ? "it is empty" : `it has ${keys}`}`,
    };
  }

  [Symbol.dispose](): void {
    this.#collection[Symbol.dispose]();
  }
}

function parse(object: unknown): Secret | undefined {
  const metadata = parseMetadata(object);
  if (metadata === undefined) return undefined;
  const { name, namespace } = metadata;
  const data = fieldOf(object, "data");
  const entries = typeof data === "object" && data !== null ? Object.entries(data) : [];
  return {
    ...(namespace !== undefined && { namespace }),
    name,
    data: new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string")),
  };
}
