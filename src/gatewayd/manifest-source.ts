/**
 * A gateway's configuration from manifests of kind Gateway and Route: read at the start, then followed. What is wrong is told once, stands in the
 * state, and changes nothing.
 */
import {
  configOfManifests,
  type GatewayConfig,
  type GatewayResources,
  gatewaysOfNode,
  type ManifestFile,
  routesOf,
  sameValue,
} from "../gateway/mod.ts";
import { formatProblem, MANIFEST_FILES, type ManifestProblem, ManifestReader } from "../resources/mod.ts";
import { after, FollowedTexts, type TextChange } from "../sys/mod.ts";
import type { ConfigSource } from "./config-source.ts";
import type { Gateway } from "./gateway.ts";
import type { Log } from "./log.ts";
import { Slices } from "./slices.ts";

/** What the machine refuses is tried again. */
const RETRY_MS = 10_000;
/** The longest sentence of a state. */
const MOST_TEXT = 1000;

/** ManifestSourceOptions say where manifests are, and which are meant. */
export interface ManifestSourceOptions {
  /** A file, or a folder. */
  readonly path: string;
  /** This node's name. */
  readonly node: string;
  /** Of the Gateway; absent: the only one of this node. */
  readonly name?: string;
  /** Whether the side of its VPC is here. */
  readonly hasVpc?: boolean;
}

/** Taker takes a configuration, as a gateway does; what it throws is told. */
export type Taker = Pick<Gateway, "config" | "keep">;

const sentence = (text: string) => text.replaceAll(/\p{C}/gu, "?").slice(0, MOST_TEXT);

/** ManifestSource follows them until it is disposed. */
export class ManifestSource implements ConfigSource, Disposable {
  readonly #options: ManifestSourceOptions;
  readonly #files = new Map<string, ManifestFile>();
  /** By file. */
  readonly #readers = new Map<string, ManifestReader>();
  readonly #texts: FollowedTexts;
  /** A thousand Routes that come at once do not keep keys and peers waiting. */
  readonly #slices = new Slices();
  #unreadable: readonly ManifestFile[] = [];
  #name: string | undefined;
  #problems: readonly ManifestProblem[] = [];
  #following: { readonly gateway: Taker; readonly log: Log } | undefined;
  #retry: Disposable | undefined;
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  /** As they were told. */
  #said: ReadonlySet<string> = new Set();

  constructor(options: ManifestSourceOptions) {
    this.#options = options;
    this.#name = options.name;
    const { path } = options;
    this.#texts = new FollowedTexts({
      path,
      names: MANIFEST_FILES,
      onChange: (change) => this.#change(change),
    });
  }

  /** gateway is the name of the Gateway; throws where none was given, and this node has none or several. */
  get gateway(): string {
    if (this.#name !== undefined) return this.#name;
    const { path, node } = this.#options;
    const names = gatewaysOfNode(this.#all, node);
    const [name] = names;
    if (name === undefined || names.length > 1)
      throw new Error(
        name === undefined
          ? `No Gateway in ${path} has spec.node ${node}; name one by --name, or this node by --node`
          : `Several Gateways in ${path} have spec.node ${node}: ${names.join(", ")}; name one by --name`,
      );
    this.#name = name;
    return name;
  }

  get name(): string {
    return `Gateway "${this.gateway}" in ${this.#options.path}`;
  }

  get problems(): readonly string[] {
    return [...new Set(this.#problems.map((problem) => sentence(formatProblem(problem))))];
  }

  get problem(): string | undefined {
    const own = this.#problems.find(({ object }) => object === `Gateway "${this.gateway}"`);
    return own && sentence(formatProblem(own));
  }

  get routes(): readonly string[] {
    return routesOf(this.#all, this.gateway);
  }

  get wrongRoutes(): ReadonlyMap<string, string> {
    const wrong = new Map<string, string>();
    for (const problem of this.#problems) {
      const route = /^Route "(.*)"$/.exec(problem.object)?.[1];
      if (route !== undefined && !wrong.has(route)) wrong.set(route, sentence(formatProblem(problem)));
    }
    return wrong;
  }

  /** refusal implements ConfigSource: SAs of operators are in no manifest, since keys are not. */
  refusal(path: string): string | undefined {
    if (/^\/(?:out|in)bound-sa\b/.test(path)) return undefined;
    return `cannot be changed here: the configuration comes from ${this.name}; change it there, or start the gateway without --manifests`;
  }

  /** first returns the configuration of the start, from the one of before. */
  first(before: GatewayConfig, log: Log): GatewayConfig {
    log("configuration comes from manifests", { path: this.#options.path });
    const { config, problems, warnings } = this.#found(before);
    this.#tell(problems, warnings, log);
    return config ?? before;
  }

  /** follow gives what changes to a gateway. */
  follow(gateway: Taker, log: Log): void {
    this.#following = { gateway, log };
    this.#apply();
  }

  /** look is what is done every two seconds; resolves when what has changed is taken. */
  look(): Promise<void> {
    this.#texts.look();
    return this.#work;
  }

  get #all(): readonly ManifestFile[] {
    return [...this.#files.values(), ...this.#unreadable];
  }

  /** At the start nothing waits for it; later others have work meanwhile. */
  #change(change: TextChange): void {
    const steps = this.#read(change);
    if (this.#following === undefined) for (; steps.next().done !== true;);
    else this.#work = this.#work.then(() => this.#inSlices(steps));
  }

  async #inSlices(steps: Iterator<void>): Promise<void> {
    while (!this.#closed && !(await this.#slices.do(() => steps.next().done === true)));
    this.#apply();
  }

  *#read({ changed, gone, unreadable }: TextChange): Generator<void> {
    for (const [path, text] of changed) {
      const reader = this.#readers.get(path) ?? new ManifestReader();
      this.#readers.set(path, reader);
      this.#files.set(path, { path, ...(yield* reader.steps(text)) });
    }
    for (const path of gone) {
      this.#files.delete(path);
      this.#readers.delete(path);
    }
    this.#unreadable = [...unreadable].map(([path, { message }]) => ({ path, error: message }));
  }

  #found(before: GatewayConfig): GatewayResources {
    const { path, node, hasVpc = false } = this.#options;
    return configOfManifests(this.#all, { path, node, hasVpc, name: this.gateway }, before);
  }

  #apply(): void {
    if (this.#following === undefined || this.#closed) return;
    const { gateway, log } = this.#following;
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    const { config, problems, warnings } = this.#found(gateway.config);
    const refusal = config === undefined ? undefined : this.#take(config, gateway, log);
    this.#tell(refusal === undefined ? problems : [...problems, refusal], warnings, log);
    if (refusal === undefined) return;
    this.#retry = after(RETRY_MS, () => {
      this.#work = this.#work.then(() => this.#apply());
    });
  }

  /** Returns what the machine has against it. */
  #take(config: GatewayConfig, gateway: Taker, log: Log): ManifestProblem | undefined {
    if (sameValue(config, gateway.config)) return undefined;
    try {
      const idle = gateway.keep(config);
      log("configuration has changed", { by: "manifests" });
      for (const { path, rule } of idle) log("configuration is likely not meant so", { path, reason: rule });
      return undefined;
    } catch (error) {
      const problem = `cannot be taken now, and is tried again: ${(error as Error).message}`;
      return { object: `Gateway "${this.gateway}"`, problem };
    }
  }

  /** Each is logged once, as long as it lasts. */
  #tell(problems: readonly ManifestProblem[], warnings: readonly ManifestProblem[], log: Log): void {
    const { path } = this.#options;
    this.#problems = problems;
    const said = new Set<string>();
    for (const [event, list] of [
      ["a manifest is not used as it is now", problems],
      ["a manifest is likely not meant so", warnings],
    ] as const)
      for (const reason of list.map(formatProblem)) {
        if (!this.#said.has(reason) && !said.has(reason)) log(event, { path, reason });
        said.add(reason);
      }
    this.#said = said;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#texts[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
  }
}
