/**
 * One gateway at work: its configuration, the model that follows from it, the keepers of keys and the data path.
 *
 * ```
 *   set, add, … ─▶ configuration ─▶ model ── differences ─┬─▶ queues (back-end)
 *                  (kept first)                           ├─▶ routes (data path)
 *   links, key files ─▶ tried again ──────────────────────┴─▶ keys ── effects, in a route's order ─▶ data path
 *                                       keys ◀── datagrams, limits, first packets ── back-end
 * ```
 */
import {
  type ConfigProblem,
  diffModels,
  formatConfigProblem,
  type Difference,
  type GatewayAspect,
  type GatewayConfig,
  type GatewayModel,
  type GatewayStateTree,
  planGateway,
  secretFiles,
} from "../gateway/mod.ts";
import { type KeeperNews, planManaged } from "../gateway/keys/mod.ts";
import { formatEndpoint, type PrivateKey } from "../net/mod.ts";
import type { GatewayNews, GatewayReport } from "../tunnel/gateway/mod.ts";
import type { BackEndNews, GatewayBackEnd, Tell } from "./back-end.ts";
import { DataPath } from "./data-path.ts";
import { type Detour, Detours, planDetours } from "./detours.ts";
import { type GatewayFiles, readSecrets } from "./files.ts";
import { Keys } from "./keys.ts";
import type { Log } from "./log.ts";
import { namesPlaces, planQueues, type PlanOptions, type QueuePlan } from "./queue-plan.ts";
import { RouteBook } from "./route-book.ts";
import { RouteKeys } from "./route-keys.ts";
import { Slices } from "./slices.ts";
import { stateOf } from "./state-tree.ts";

/** GatewayParts are what a gateway is made of. */
export interface GatewayParts extends PlanOptions {
  readonly files: GatewayFiles;
  readonly log: Log;
  /** Makes what carries packets. */
  readonly backEnd: (tell: Tell) => GatewayBackEnd;
}

/** QueueState is what became of a queue. */
export interface QueueState {
  readonly up: boolean;
  /** Why it is down, or does not do all that it should; else with which library it encrypts. */
  readonly text: string;
  /** With which library it encrypts, once it ran. */
  readonly by?: string;
}

/** Carrier is who carries packets, and why. */
export type Carrier = Pick<Extract<BackEndNews, { readonly kind: "chosen" }>, "by" | "reason">;

/** What of a gateway its keeper of keys is told with each route. */
const OF_ALL_ROUTES: ReadonlySet<GatewayAspect> = new Set(["dataPlane", "negotiationMs", "lifetime", "port"]);

function isAny({ added, removed, changed }: Difference<unknown, unknown>): boolean {
  return added.length + removed.length + changed.size > 0;
}

const prefixesOf = ({ routes }: GatewayModel) => [...routes.values()].flatMap(({ prefixes }) => prefixes);

/** Gateway owns its back-end and keys. To end one that works, `close` it. */
export class Gateway implements Disposable {
  readonly privateKey: PrivateKey;
  readonly routes = new RouteBook();
  readonly queues = new Map<number, QueueState>();
  readonly #parts: GatewayParts;
  readonly #backEnd: GatewayBackEnd;
  readonly #path: DataPath;
  readonly #keys: Keys;
  #carrier: Carrier | undefined;
  readonly #detours: Detours;
  /** Routes whose detours are to be looked at when what is under way is done. */
  readonly #unsure = new Set<string>();
  readonly #slices = new Slices();
  readonly #routeKeys: RouteKeys;
  #config: GatewayConfig;
  #model: GatewayModel;
  /** Next hops that one queue has learnt, for those that begin later. */
  readonly #nextHops = new Map<string, Extract<GatewayNews, { readonly kind: "next-hop" }>>();
  /** By route: operators' associations that must not be used, each with the reason. */
  readonly #refused = new Map<string, ReadonlyMap<string, string>>();
  /** Queues whose public next hop is known: before, what a keeper sends would be lost, and it would wait for an answer in vain. */
  readonly #reaching = new Set<number>();

  constructor(parts: GatewayParts, config: GatewayConfig) {
    this.#parts = parts;
    this.privateKey = parts.files.privateKey();
    this.#backEnd = parts.backEnd((news) => this.#hear(news));
    this.#path = new DataPath({
      backEnd: this.#backEnd,
      slices: this.#slices,
      arrivalQueue: (route, queue) => this.#arrivalQueue(route, queue),
      installed: (effect, error) => this.#keys.installed(effect, error),
      refused: (route, queue, reason) => {
        if (this.routes.refused(route, queue, reason)) this.#lookAtDetours([route]);
      },
      used: (route) => this.#lookAtDetours([route]),
      failed: (route, error) => this.#failed(route, error.message),
    });
    this.#detours = new Detours({
      tell: (queue, route, by) => this.#path.detour(queue, route, by),
      changed: (route, queue, detour) => this.#detoured(route, queue, detour),
    });
    this.#keys = new Keys({
      files: parts.files,
      perform: (effects) => this.#path.perform(effects),
      news: (route, queue, news) => this.#news(route, queue, news),
      refused: (route, association, reason) => this.#refuse(route, association, reason),
      wanted: () => this.#setManaged(),
    });
    this.#routeKeys = new RouteKeys({
      slices: this.#slices,
      keys: this.#keys,
      model: () => this.#model,
      privateKey: () => this.privateKey,
      reaching: this.#reaching,
      refusalOf: (route) => this.#refusalOf(route),
      problem: (route, problem) => this.#problem(route, problem),
      told: (routes) => this.#lookAtDetours(routes),
    });
    this.#config = config;
    try {
      this.#model = planGateway(config, { secrets: readSecrets(secretFiles(config)) });
      this.#backEnd.choose?.(config.backend);
      this.#setQueues();
      this.#replan(this.#model.routes.keys());
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get config(): GatewayConfig {
    return this.#config;
  }

  get model(): GatewayModel {
    return this.#model;
  }

  /**
   * keep makes a configuration durable and takes it; where the disk or the machine refuses, it throws and nothing has changed. Returns what of the
   * change has no effect while this process runs.
   */
  keep(config: GatewayConfig): readonly ConfigProblem[] {
    const before = this.#config;
    if (config === before) return [];
    this.#choosing(config, () => this.#backEnd.claim?.(config.backend));
    this.#parts.files.saveConfig(config);
    try {
      this.#take(config);
    } catch (error) {
      if (this.#config === before) this.#parts.files.saveConfig(before);
      throw error;
    }
    const isIdle = this.#parts.cpus.length > 0 && `${config.cpu}` !== `${before.cpu}`;
    return isIdle ? [{ path: "/cpu", rule: "has no effect now: the gateway was started with --cpu" }] : [];
  }

  /** What is in the way of a back-end is told with its place in the configuration. */
  #choosing({ backend }: GatewayConfig, work: () => void): void {
    try {
      work();
    } catch (error) {
      const rule = `cannot be here: ${(error as Error).message}`;
      throw new Error(formatConfigProblem({ path: "/backend", value: backend, rule }), { cause: error });
    }
  }

  /** look tries again what could not be: interfaces that came, files that can be read now, routes that a queue refused. */
  look(): void {
    if (namesPlaces(this.#model)) this.#setQueues();
    else this.#backEnd.look();
    if (secretFiles(this.#config).length > 0) this.#take(this.#config);
    if (this.#keys.readBook()) this.#setManaged();
    this.#path.setRoutes(this.#model.routes);
    this.#lookAtDetours(this.#model.routes.keys());
  }

  #take(config: GatewayConfig): void {
    const before = this.#model;
    const after = planGateway(config, {
      secrets: readSecrets(secretFiles(config)),
      before: { config: this.#config, model: before },
    });
    const { aspects, queues, routes, associations } = diffModels(before, after);
    if (aspects.includes("backend")) this.#choose(config, after);
    this.#config = config;
    this.#model = after;
    this.routes.keep(after.routes);
    const all = aspects.some((aspect) => OF_ALL_ROUTES.has(aspect));
    const touched = all ? [...after.routes.keys()] : [...routes.added, ...routes.changed.keys()];
    this.#routeKeys.change([], routes.removed);
    for (const route of routes.removed) this.#detours.forget({ route });
    if (aspects.length > 0 || isAny(queues)) this.#setQueues();
    this.#replan(touched);
    const isManaged = before.dataPlane || after.dataPlane;
    if (isManaged && (aspects.includes("dataPlane") || isAny(associations) || isAny(routes)))
      this.#setManaged();
  }

  /** Before anything else changes: another back-end protects first what it will carry, and can be refused. */
  #choose(config: GatewayConfig, model: GatewayModel): void {
    const next = { plans: this.#plans(model), prefixes: prefixesOf(model) };
    this.#choosing(config, () => this.#backEnd.choose?.(config.backend, next));
  }

  #plans(model: GatewayModel): QueuePlan[] {
    return planQueues(model, this.#parts);
  }

  #setQueues(): void {
    this.#backEnd.set(this.#plans(this.#model));
    // A queue that was removed is no reason for anything.
    const numbers = new Set(this.#model.queues.map(({ number }) => number));
    for (const number of [...this.queues.keys()]) if (!numbers.has(number)) this.queues.delete(number);
  }

  /** Tells data path and keeper of routes that may be another. */
  #replan(ids: Iterable<string>): void {
    this.#backEnd.protect?.(prefixesOf(this.#model));
    this.#path.setRoutes(this.#model.routes);
    this.#routeKeys.plan([...ids]);
  }

  /** Looks at them when what is asked for now stands in line: packets come back to a queue after what they are to leave by is used there. */
  #lookAtDetours(routes: Iterable<string>): void {
    const isFirst = this.#unsure.size === 0;
    for (const route of routes) this.#unsure.add(route);
    if (isFirst && this.#unsure.size > 0) queueMicrotask(() => this.#setDetours());
  }

  #setDetours(): void {
    const queues = [...this.#path.up].sort((a, b) => a - b);
    for (const id of this.#unsure)
      if (this.#model.routes.has(id))
        this.#detours.set(
          id,
          planDetours(queues, (queue) => this.#awayFor(id, queue)),
        );
    this.#unsure.clear();
  }

  /** Why a queue does not reach a route's peer; undefined: it does. */
  #awayFor(route: string, queue: number): string | undefined {
    const { up = false, text = "it does not run" } = this.queues.get(queue) ?? {};
    if (!up) return text;
    if (!this.#reaching.has(queue)) return "its next hop does not answer";
    const refusal = this.routes.of(route).refusals.get(queue);
    if (refusal !== undefined) return refusal;
    if (!this.#model.dataPlane) return this.#keys.reasonOf(route, queue);
    return this.#path.used(queue, route) ? undefined : "it has no SA of outbound-sa in use";
  }

  #detoured(route: string, queue: number, detour: Detour | undefined): void {
    const { log } = this.#parts;
    if (detour === undefined) log("packets of a queue go by itself again", { route, queue });
    else
      log("packets of a queue go by another one", {
        ...{ route, queue, reason: detour.reason, to: `queue ${detour.by}` },
      });
  }

  #problem(route: string, problem: string | undefined): void {
    if (!this.routes.problem(route, problem)) return;
    if (problem === undefined) this.#parts.log("nothing is in the route's way", { route });
    else this.#parts.log("route cannot work", { route, reason: problem });
  }

  #failed(route: string, reason: string): void {
    if (this.routes.failed(route, reason)) this.#parts.log("route failed", { route, reason });
  }

  /** Packets of all queues that a pair carries come back to its own address. */
  #arrivalQueue(id: string, queue: number): number {
    return this.#model.routes.get(id)?.carriers.get(queue) ?? queue;
  }

  #hear(news: BackEndNews): void {
    const { log } = this.#parts;
    switch (news.kind) {
      case "up":
        this.queues.set(news.queue, { up: true, text: news.by, by: news.by });
        log("queue is up", { queue: news.queue, by: news.by });
        return this.#came(news.queue);
      case "down":
        this.queues.set(news.queue, { up: false, text: news.reason });
        log("queue is down", { queue: news.queue, reason: news.reason });
        this.#reaching.delete(news.queue);
        if (!this.#path.up.has(news.queue)) return;
        this.#path.went(news.queue);
        this.#detours.forget({ queue: news.queue });
        this.routes.went(news.queue);
        // Before it can come again: what it had is gone.
        this.#routeKeys.planNow(this.#model.routes.keys());
        return this.#setManaged();
      case "chosen":
        this.#carrier = { by: news.by, reason: news.reason };
        return log("it is chosen who carries packets", this.#carrier);
      case "failed":
        return log("the kernel refused something", { reason: news.reason });
      case "hindered":
        return this.#hindered(news);
      case "news":
        return this.#pathNews(news.queue, news.news);
    }
  }

  #hindered({ queue, reason, passes = false }: Extract<BackEndNews, { readonly kind: "hindered" }>): void {
    const { by = "", up: wasUp } = this.queues.get(queue) ?? {};
    const up = reason === undefined || passes;
    this.queues.set(queue, { up, text: reason ?? by, by });
    if (!up) this.#parts.log("queue is down", { queue, reason });
    else if (!wasUp) this.#parts.log("queue is up", { queue, by });
    this.#lookAtDetours(this.#model.routes.keys());
  }

  #came(number: number): void {
    this.#path.came(number);
    const queue = this.#model.queues.find((one) => one.number === number);
    const sides = [queue?.public4, queue?.public6].filter((side) => side !== undefined);
    if (sides.every(({ nextHopMac }) => nextHopMac !== undefined)) this.#reaching.add(number);
    this.#queuesChanged();
    for (const hop of this.#nextHops.values()) this.#obey(number, hop);
  }

  #queuesChanged(): void {
    this.#replan(this.#model.routes.keys());
    this.#setManaged();
  }

  #setManaged(): void {
    this.#keys.setManaged(planManaged(this.#model, this.#path.up));
  }

  #refuse(route: string, association: string, reason: string | undefined): void {
    const refused = new Map(this.#refused.get(route));
    if (reason === undefined) refused.delete(association);
    else refused.set(association, reason);
    if (refused.size === 0) this.#refused.delete(route);
    else this.#refused.set(route, refused);
    const known = this.#model.routes.get(route);
    if (this.#model.dataPlane && known !== undefined)
      this.#problem(route, known.unusable ?? this.#refusalOf(route));
  }

  #refusalOf(route: string): string | undefined {
    const [first] = this.#refused.get(route) ?? [];
    return first === undefined ? undefined : `${first[0]}: ${first[1]}`;
  }

  /** What a queue may refuse because it is of another configuration by now. */
  #obey(queue: number, order: Parameters<GatewayBackEnd["obey"]>[1]): void {
    this.#backEnd
      .obey(queue, order)
      .catch((error: Error) => this.#parts.log("queue did not obey", { queue, reason: error.message }));
  }

  #pathNews(queue: number, news: GatewayNews): void {
    switch (news.kind) {
      case "exchange": {
        const { from, fromPort, to, toPort, bytes } = news;
        return this.#keys.step({
          kind: "datagram",
          queue,
          from: { ip: from, port: fromPort },
          to: { ip: to, port: toPort },
          bytes,
        });
      }
      case "heard":
        return this.#keys.step({ ...news, queue });
      case "limit": {
        const { limit, route, spi } = news;
        if (limit === "sequence") return this.#keys.runningOut(route, queue, spi);
        return this.#keys.step({ ...news, queue, limit });
      }
      case "next-hop": {
        if (news.side === "public") return this.#reaches(queue);
        this.#nextHops.set(`${news.family}`, news);
        for (const other of this.#path.up) if (other !== queue) this.#obey(other, news);
      }
    }
  }

  #reaches(queue: number): void {
    if (this.#reaching.has(queue) || !this.#path.up.has(queue)) return;
    this.#reaching.add(queue);
    this.#replan(this.#model.routes.keys());
  }

  #news(route: string, queue: number, news: KeeperNews): void {
    const { log } = this.#parts;
    switch (news.kind) {
      case "up":
        this.#lookAtDetours([route]);
        return log("route is up", { route, queue });
      case "down":
        this.#lookAtDetours([route]);
        this.routes.failed(route, news.reason);
        return log("route is down", { route, queue, reason: news.reason });
      case "agreed":
        this.routes.agreed(route);
        return log("keys are agreed on", {
          route,
          queue,
          by: news.role,
          ...(news.restarted ? { reason: "the peer has restarted" } : {}),
        });
      case "gateway":
        return log("route goes to another gateway", { route, queue, to: formatEndpoint(news.to) });
      case "round-trip":
    }
  }

  /** settled resolves when the data path has all that it was told so far. */
  async settled(): Promise<void> {
    for (let isSure = false; !isSure;) {
      await this.#routeKeys.settled();
      isSure = this.#unsure.size === 0;
      await this.#path.settled();
      isSure &&= this.#unsure.size === 0 && this.#routeKeys.isSettled && this.#path.isSettled;
    }
  }

  /** report asks the queues what they have carried. */
  report(): Promise<ReadonlyMap<number, GatewayReport>> {
    return this.#backEnd.report();
  }

  /** state returns all below `gateway-state`; no secrets are in it. */
  state(reports: ReadonlyMap<number, GatewayReport>): GatewayStateTree {
    const { associations } = this.#path;
    const { routes, queues } = this;
    const reaching = this.#reaching;
    const channels = this.#keys.status();
    const { counters } = this.#keys;
    return stateOf({
      model: this.#model,
      reports,
      associations,
      channels,
      counters,
      routes,
      queues,
      reaching,
      detours: this.#detours,
      cpus: this.#parts.cpus,
      carrier: this.#carrier,
    });
  }

  /** close ends all; `forGood` peers are told, and call no more. */
  async close(forGood: boolean): Promise<void> {
    this.#routeKeys[Symbol.dispose]();
    if (forGood) {
      this.#keys.step({ kind: "close" });
      await this.#path.settled();
    }
    this.#keys[Symbol.dispose]();
    await this.#backEnd.close(forGood);
  }

  [Symbol.dispose](): void {
    this.#routeKeys[Symbol.dispose]();
    this.#keys[Symbol.dispose]();
    this.#backEnd[Symbol.dispose]();
  }
}
