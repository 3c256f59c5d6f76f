/**
 * Passwords of the edge's sessions: in files of the operator, or in Secrets of Kubernetes, which are kept in files of our own (0600), because the
 * cluster may be reached by the very session that needs the password. A password is in nothing else that is written or told.
 */
import { passwordKey, type PasswordState } from "../edge/mod.ts";
import { inCluster, type KubeAccess, kubeconfigAccess, SecretWatch } from "../kube/mod.ts";
import type { PasswordReference } from "../resources/mod.ts";
import {
  ensureDirectory,
  every,
  exists,
  listDirectory,
  readPasswordFile,
  readText,
  removeTree,
  writeAtomic,
} from "../sys/mod.ts";
import { IN_CLUSTER } from "./pod-facts.ts";

type SecretReference = Extract<PasswordReference, { secret: unknown }>["secret"];

/** How often is looked whether what a session waits for has come. */
const LOOK_MS = 2_000;

/** EdgePasswordsOptions say where. */
export interface EdgePasswordsOptions {
  /** Folder of the files. */
  readonly folder: string;
  /** How Secrets are read; throws with the reason where they cannot be. */
  readonly access: () => KubeAccess;
}

/** EdgePasswords owns the files and the watches. */
export class EdgePasswords implements Disposable {
  readonly #options: EdgePasswordsOptions;
  readonly #timer: Disposable;
  readonly #watches = new Map<string, SecretWatch>();
  #wanted: readonly PasswordReference[] = [];
  #told = "[]";
  /** Files of operators that were well once. */
  readonly #seen = new Set<string>();
  /** onChange is called when what is known is another than `follow` has returned. */
  onChange: () => void = () => {};

  constructor(options: EdgePasswordsOptions) {
    this.#options = options;
    this.#timer = every(LOOK_MS, () => {
      if (this.#wanted.length > 0) this.#look();
    });
  }

  /** follow makes these the passwords that are wanted, and returns what is known of each, by passwordKey. */
  follow(wanted: readonly PasswordReference[]): ReadonlyMap<string, PasswordState> {
    this.#wanted = wanted;
    const secrets = new Set(wanted.flatMap((one) => ("secret" in one ? [watchKey(one.secret)] : [])));
    for (const [key, watch] of this.#watches)
      if (!secrets.has(key)) {
        watch[Symbol.dispose]();
        this.#watches.delete(key);
      }
    const states = this.#states();
    this.#told = JSON.stringify([...states]);
    return states;
  }

  /** sweep removes files of Secrets that nobody wants. */
  sweep(): void {
    const { folder } = this.#options;
    const names = new Set(this.#wanted.flatMap((one) => ("secret" in one ? [nameOf(one.secret)] : [])));
    if (names.size === 0) return removeTree(folder);
    for (const name of listDirectory(folder)) if (!names.has(name)) removeTree(`${folder}/${name}`);
  }

  #look(): void {
    if (JSON.stringify([...this.#states()]) !== this.#told) this.onChange();
  }

  #states(): Map<string, PasswordState> {
    return new Map(
      this.#wanted.map((one) => [
        passwordKey(one),
        "file" in one ? this.#ofFile(one.file) : this.#ofSecret(one.secret),
      ]),
    );
  }

  #ofFile(file: string): PasswordState {
    try {
      readPasswordFile(file);
      this.#seen.add(file);
      return { file };
    } catch (error) {
      const { message } = error as Error;
      return this.#seen.has(file) ? { file, note: message } : { problem: message };
    }
  }

  #ofSecret(secret: SecretReference): PasswordState {
    const file = `${this.#options.folder}/${nameOf(secret)}`;
    const value = this.#valueOf(secret);
    const problem =
      value.kind === "known"
        ? (problemOf(secret, value.bytes) ?? this.#keep(file, value.bytes))
        : value.problem;
    if (problem === undefined) return { file };
    if (!exists(file)) return { problem };
    // Only what the cluster says is wrong with the Secret; that it is away is no news of it.
    return { file, ...(value.kind === "unknown" ? {} : { note: problem }) };
  }

  #valueOf(secret: SecretReference): ReturnType<SecretWatch["value"]> {
    const key = watchKey(secret);
    try {
      const { namespace, name, key: entry } = secret;
      const onChange = () => this.#look();
      const watch =
        this.#watches.get(key) ??
        SecretWatch.start({ namespace, name, access: this.#options.access(), onChange });
      this.#watches.set(key, watch);
      return watch.value(entry);
    } catch (error) {
      return { kind: "unknown", problem: `Secret ${key} is not known: ${(error as Error).message}` };
    }
  }

  /** Returns why it cannot: a full disk is looked at again and again, as everything here. */
  #keep(file: string, bytes: Uint8Array): string | undefined {
    const line = `${firstLine(bytes)}\n`;
    try {
      if (readText(file) === line) return undefined;
      ensureDirectory(this.#options.folder, 0o700);
      writeAtomic(file, line, 0o600);
      return undefined;
    } catch (error) {
      return `Cannot keep the password: ${(error as Error).message}`;
    }
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]();
    for (const watch of this.#watches.values()) watch[Symbol.dispose]();
    this.#watches.clear();
  }
}

/** clusterAccess returns how an agent reaches the cluster, by what it was told of pods' annotations. Throws where it cannot. */
export function clusterAccess(kubeconfig: string | undefined): KubeAccess {
  if (kubeconfig === undefined)
    throw new Error(
      "this agent knows no cluster; start it with --kubeconfig, or write password: {file: …} in its place",
    );
  return kubeconfig === IN_CLUSTER ? inCluster() : kubeconfigAccess(kubeconfig);
}

function watchKey({ namespace, name }: SecretReference): string {
  return `${namespace}/${name}`;
}

/** No name or key has a comma. */
function nameOf({ namespace, name, key }: SecretReference): string {
  return [namespace, name, key].join();
}

function firstLine(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).split("\n")[0] ?? "";
}

/** TCP takes 1 to 80 bytes (TCP_MD5SIG_MAXKEYLEN). */
function problemOf({ namespace, name, key }: SecretReference, bytes: Uint8Array): string | undefined {
  const { length } = new TextEncoder().encode(firstLine(bytes));
  if (length >= 1 && length <= 80) return undefined;
  return `key ${key} of Secret ${namespace}/${name} has a first line of ${length} bytes; write 1 to 80`;
}
