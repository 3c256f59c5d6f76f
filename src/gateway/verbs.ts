/**
 * The verbs of `causeway config`, as Vita's `snabb config` has them: pure functions from a configuration and a request to an answer and the
 * configuration after it. What is refused throws ConfigError, and has changed nothing.
 */
import { keepSecrets } from "./keep-secrets.ts";
import { keyPath, parsePath, type Target } from "./path.ts";
import { ConfigError, type ConfigProblem, refuse } from "./problem.ts";
import { readAt, readRoot } from "./read-text.ts";
import { checkConfig, type Findings } from "./rules.ts";
import { AUTO_MANAGED } from "./rules-associations.ts";
import { configSchema, type GatewayConfig } from "./schema.ts";
import type { Entries, Struct, Value } from "./schema-node.ts";
import { type GatewayState, stateSchema } from "./state-schema.ts";
import { findAt, putAt, removeAt } from "./tree.ts";
import { printAt, type PrintOptions } from "./write-text.ts";

/** ReadRequest asks what is there. */
export interface ReadRequest {
  readonly verb: "get" | "get-state";
  readonly path: string;
  readonly print?: PrintOptions;
}

/** ChangeRequest asks for a change. What is in a path is not in its value. */
export type ChangeRequest =
  | { readonly verb: "set" | "add"; readonly path: string; readonly value: string }
  | { readonly verb: "remove"; readonly path: string }
  | { readonly verb: "load"; readonly value: string };

/** ConfigRequest is one verb with what it needs. */
export type ConfigRequest = ReadRequest | ChangeRequest;

/** ConfigStore is what the verbs work on. */
export interface ConfigStore {
  readonly config: GatewayConfig;
  readonly state: GatewayState;
  /** Who alone may write, while somebody is attached by `listen`. */
  readonly listener?: string;
  /** Why what a path leads to is not changed by verbs; undefined: it is. Default: all is. */
  readonly refusal?: (path: string) => string | undefined;
}

/** ConfigAnswer is what a verb comes to. */
export interface ConfigAnswer {
  /** What is printed; "" for verbs that change. */
  readonly text: string;
  /** The configuration after it; the same object where nothing was asked to change. */
  readonly config: GatewayConfig;
  /** What was accepted, and is likely not what somebody wanted. */
  readonly warnings: readonly ConfigProblem[];
}

/** verbs are all of them. */
export const verbs = ["get", "get-state", "set", "add", "remove", "load"] as const;

/** defaultConfig is that of a gateway to which nothing was said. */
export const defaultConfig: GatewayConfig = readRoot(configSchema, "") as GatewayConfig;

/** readConfig reads a whole configuration and judges it; throws ConfigError. `before` is where `(hidden)` comes from. */
export function readConfig(
  text: string,
  before: GatewayConfig = defaultConfig,
): { readonly config: GatewayConfig; readonly warnings: Findings["warnings"] } {
  return admit(readRoot(configSchema, text), before);
}

/** Takes away the lists of SAs where the key keeper has them, as Vita does with what it printed itself. */
function withoutManaged(config: GatewayConfig, warnings: ConfigProblem[]): GatewayConfig {
  if (config["data-plane"] === true) return config;
  const lists = (["outbound-sa", "inbound-sa"] as const).filter((name) => config[name].size > 0);
  for (const name of lists) warnings.push({ path: `/${name}`, rule: `was not taken: ${AUTO_MANAGED}` });
  return lists.length === 0
    ? config
    : { ...config, ...Object.fromEntries(lists.map((name) => [name, new Map()])) };
}

/** Judges the whole after a change. */
function admit(
  next: Struct,
  before: GatewayConfig,
): { readonly config: GatewayConfig; readonly warnings: readonly ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigProblem[] = [];
  const whole = withoutManaged(next as GatewayConfig, warnings);
  const config = keepSecrets(configSchema, whole, { before, path: "", problems }) as GatewayConfig;
  if (problems.length > 0) throw new ConfigError(problems);
  const findings = checkConfig(config);
  if (findings.problems.length > 0) throw new ConfigError(findings.problems);
  return { config, warnings: [...warnings, ...findings.warnings] };
}

/** Finds the place that is to change; SAs are nobody's but the key keeper's where it runs. */
function writable(config: GatewayConfig, path: string): Target {
  const target = parsePath(configSchema, path);
  const [first] = target.steps;
  if ((first?.name === "outbound-sa" || first?.name === "inbound-sa") && config["data-plane"] !== true)
    refuse(target.path, AUTO_MANAGED);
  return target;
}

function set(config: GatewayConfig, path: string, text: string): Struct {
  const target = writable(config, path);
  const [above, step] = [target.steps.at(-2), target.steps.at(-1)];
  if (step !== undefined && above?.node.kind === "list" && above.node.keys.includes(step.name))
    refuse(target.path, "is the key of its entry; remove the entry, and add one of the other key");
  const named = step?.key !== undefined || step?.index !== undefined;
  if (named && findAt(config, target) === undefined) refuse(target.path, "is not there; add it");
  return putAt(config, target, readAt(configSchema, target, text));
}

function add(config: GatewayConfig, path: string, text: string): Struct {
  const target = writable(config, path);
  const step = target.steps.at(-1);
  const several = step?.node.kind === "list" || step?.node.kind === "leaf-list";
  if (!several || step.key !== undefined || step.index !== undefined)
    refuse(target.path, "Add only allowed on arrays and tables");
  const more = readAt(configSchema, target, text);
  const there = findAt(config, target);
  if (there === undefined) refuse(target.path, "is not below anything that is there");
  if (step.node.kind === "leaf-list")
    return putAt(config, target, [...(there as readonly Value[]), ...(more as readonly Value[])]);
  const entries = new Map(there as Entries);
  for (const [key, entry] of more as Entries) {
    if (entries.has(key))
      refuse(
        `${target.path}${keyPath(step.node, key)}`,
        "already-existing entry; set it, or remove it before",
      );
    entries.set(key, entry);
  }
  return putAt(config, target, entries);
}

function remove(config: GatewayConfig, path: string): Struct {
  const target = writable(config, path);
  const step = target.steps.at(-1);
  const { kind } = step?.node ?? {};
  if (kind !== "list" && kind !== "leaf-list")
    refuse(target.path, "Remove only allowed on arrays and tables");
  if (step?.key === undefined && step?.index === undefined)
    refuse(target.path, "names no entry; write which one in brackets");
  if (findAt(config, target) === undefined) refuse(target.path, "is not there");
  return removeAt(config, target);
}

function get(schema: typeof configSchema | typeof stateSchema, data: Struct, request: ReadRequest): string {
  const target = parsePath(schema, request.path);
  const value = findAt(data, target);
  if (value === undefined) refuse(target.path, "is not there");
  return printAt(schema, target, value, request.print);
}

function next(config: GatewayConfig, request: ChangeRequest): Struct {
  switch (request.verb) {
    case "set":
      return set(config, request.path, request.value);
    case "add":
      return add(config, request.path, request.value);
    case "remove":
      return remove(config, request.path);
    case "load":
      return readRoot(configSchema, request.value);
  }
}

/** isRead tells requests that change nothing. */
export function isRead(request: ConfigRequest): request is ReadRequest {
  return request.verb === "get" || request.verb === "get-state";
}

/** perform answers one request. `from` names who asks, where somebody may be attached by `listen`. Throws ConfigError, and then nothing changes. */
export function perform(store: ConfigStore, request: ConfigRequest, from?: string): ConfigAnswer {
  const { config, state, listener } = store;
  if (isRead(request)) {
    const [schema, data] = request.verb === "get" ? [configSchema, config] : [stateSchema, state];
    return { text: get(schema, data, request), config, warnings: [] };
  }
  if (listener !== undefined && listener !== from)
    refuse("/", "Attempt to modify configuration while listener attached");
  const path = "path" in request ? request.path : "/";
  const refusal = store.refusal?.(path);
  if (refusal !== undefined) refuse(path, refusal);
  return { text: "", ...admit(next(config, request), config) };
}
