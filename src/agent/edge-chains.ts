/**
 * Links of the edge that chains of CNI plugins make. Plugins may take long (DHCP), so that they run beside everything else: whoever wants links
 * says so again and again, is told what is not there yet, and called when that is another.
 *
 * Each link is one machine, of which one call runs at a time. It is wanted or not, and on disk or not (edge-chain-store.ts):
 *
 * ```
 *   wanted, not on disk ── ADD ──▶ there ── CHECK ──▶ well ──▶ CHECK when it looks otherwise, and every 5 minutes
 *        ▲                  └ fails: DEL        └ fails: told, and asked again
 *        └───────────────────────── DEL ◀── CHECK was well and is not any more, gone from its namespace, another configuration,
 *                                           half made, wanted no more; goes on until it is done
 * ```
 * Another configuration waits until its plugins, and those of DEL, are there. What CHECK has never found well stays: made again it would be no other. So does what a plugin cannot tell of (isFinding), since packets may go on.
 */
import {
  addChain,
  type ChainAttachment,
  chainNeedsDhcp,
  type ChainOptions,
  checkChain,
  checkPlugins,
  delChain,
  isLeased,
} from "../cni/mod.ts";
import { type EdgeLink, routerNamespace } from "../edge/mod.ts";
import { sameValue } from "../engine/mod.ts";
import { formatInterfaceAddress } from "../net/mod.ts";
import { Rtnetlink, setLink } from "../netlink/mod.ts";
import { canonicalJson } from "../resources/mod.ts";
import { bootId, every, isAlive, isNetns, monotonicMs, Netns, programOf, sleep } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";
import { isFinding, mayRemake, type Remade, remadeAt } from "./edge-chain-remaking.ts";
import { chainKey, ChainStore, isOfThisBoot, type StoredChain } from "./edge-chain-store.ts";
import { NAMESPACES } from "./domain-namespaces.ts";
import { EdgeDhcp } from "./edge-dhcp.ts";

/** A name of a program as the kernel keeps it (TASK_COMM_LEN). */
const COMM = 15;

/** How long a plugin of an earlier agent may go on; those of ours get as much. */
const PATIENCE_MS = 60_000;
const LOOK_MS = 20;

/** What has failed is left alone for so long, unless something else is wanted. */
const PAUSE_MS = 4_000;

/**
 * A link that is up and has its addresses is broken when CHECK has found it so often in a row, PAUSE_MS apart: upstream's plugins give all that
 * fails of them one code (999), also what passes, such as a server or a program that is not there just then.
 */
const FINDINGS = 3;

/** What nothing tells of, such as a route or a kernel setting that somebody took away, CHECK finds after so long. */
const CHECK_MS = 300_000;

/** EdgeChainsOptions say where. */
export interface EdgeChainsOptions {
  /** The file with what plugins have made. */
  readonly path: string;
  /** The host's namespace. */
  readonly home: Netns;
  /** Where namespaces are bound; default NAMESPACES. */
  readonly folder?: string | undefined;
  /** Where plugins are; default PLUGIN_FOLDERS. */
  readonly folders?: readonly string[] | undefined;
  /** Name of this node. */
  readonly node: string;
  /** A folder for the socket of the plugin dhcp's daemon. */
  readonly run: string;
  /** Something has come, gone or failed. */
  readonly onChange: () => void;
}

interface Wish {
  readonly config: StoredChain["config"];
  readonly runtime: StoredChain["runtime"];
  readonly containerId: string;
  readonly mtuBytes: number | undefined;
}

interface Work {
  wish: Wish | undefined;
  isBusy: boolean;
  /** CHECK was well, and what the link looked like then. */
  isWell: boolean;
  seen: string | undefined;
  /** CHECK is to be asked again. */
  isDue: boolean;
  /** How often in a row CHECK was refused with a finding. */
  findings: number;
  /** CHECK has found what only DEL and ADD put right. */
  isBroken: boolean;
  remade: Remade | undefined;
  problem: string | undefined;
  /** By the monotonic clock. */
  notBeforeMs: number;
}

/** EdgeChains owns the file and the calls; closing it lets a plugin that runs end by itself. */
export class EdgeChains implements Disposable {
  readonly #options: EdgeChainsOptions;
  readonly #store: ChainStore;
  readonly #dhcp: EdgeDhcp;
  readonly #work = new Map<string, Work>();
  readonly #rounds: Disposable;
  #isClosed = false;

  /** Throws where the file cannot be read. */
  constructor(options: EdgeChainsOptions) {
    this.#options = options;
    this.#store = new ChainStore(options.path);
    const { run, folders } = options;
    this.#dhcp = new EdgeDhcp({ run, folders, onRestart: () => this.#leasesLost() });
    this.#rounds = every(CHECK_MS, () => this.#checkAgain([...this.#work.keys()]));
  }

  /** routers returns the names of those that plugins have made something for. */
  routers(): string[] {
    return this.#store.routers();
  }

  /** left returns the names of links of a router that DEL is still owed for. */
  left(router: string): string[] {
    return this.#store.of(router).map(({ name }) => name);
  }

  /** want makes these the links of a router, soon, and all others of it none. */
  want(router: string, links: readonly EdgeLink[]): void {
    const wishes = new Map(
      links.flatMap(({ name, made, mtuBytes }): [string, Wish][] =>
        made.type === "cni"
          ? [[chainKey({ router, name }), { ...made, mtuBytes, containerId: this.#idOf(router) }]]
          : [],
      ),
    );
    const stored = this.#store.of(router).map(chainKey);
    const others = [...stored, ...this.#keysOf(router)].filter((key) => !wishes.has(key));
    // DEL first: a new one may need what it frees.
    for (const key of new Set([...others, ...wishes.keys()])) {
      const work = this.#workOf(key);
      const wish = wishes.get(key);
      if (!sameValue(wish, work.wish)) [work.wish, work.notBeforeMs] = [wish, 0];
      this.#step(key, work);
    }
  }

  /** look sees after links of a router that somebody may have removed, or changed. */
  look(router: string): void {
    const isOther = (key: string) => {
      const stored = this.#store.get(key);
      try {
        const seen = stored === undefined ? undefined : seenOf(this.#path(router), stored.name);
        return seen !== this.#work.get(key)?.seen;
      } catch {
        // CHECK looks again, and tells what keeps it from it.
        return true;
      }
    };
    this.#checkAgain(this.#keysOf(router).filter(isOther));
  }

  /** What has failed waits for the next attempt. */
  #checkAgain(keys: readonly string[]): void {
    for (const key of keys) {
      const work = this.#work.get(key);
      if (work?.isWell !== true) continue;
      work.isDue = true;
      this.#step(key, work);
      if (work.problem !== undefined) this.#options.onChange();
    }
  }

  /** state returns what is wrong of a router's links, and what is not done yet, each as sentences. */
  state(router: string): { readonly problems: string[]; readonly waiting: string[] } {
    const all = this.#keysOf(router).map((key) => ({ key, work: this.#work.get(key) as Work }));
    const problems = all.flatMap(({ work }) => work.problem ?? []);
    const waiting = all
      .filter(({ work }) => work.problem === undefined && work.isBusy && !work.isWell)
      .map(({ key }) => `CNI plugins are at work for link ${nameIn(key)}`);
    return { problems, waiting };
  }

  #keysOf(router: string): string[] {
    return [...this.#work.keys()].filter((key) => key.startsWith(`${router}/`));
  }

  #workOf(key: string): Work {
    const work = this.#work.get(key) ?? {
      wish: undefined,
      isBusy: false,
      isWell: false,
      seen: undefined,
      isDue: false,
      findings: 0,
      isBroken: false,
      remade: undefined,
      problem: undefined,
      notBeforeMs: 0,
    };
    this.#work.set(key, work);
    return work;
  }

  #step(key: string, work: Work): void {
    if (work.isBusy || this.#isClosed || monotonicMs() < work.notBeforeMs) return;
    try {
      const call = this.#next(key, work);
      if (call === undefined) {
        work.problem = undefined;
        if (work.wish === undefined) this.#work.delete(key);
        return;
      }
      work.isBusy = true;
      void this.#call(key, work, call);
    } catch (error) {
      this.#failed(key, work, error as Error);
    }
  }

  #failed(key: string, work: Work, { message }: Error): void {
    work.problem = `link ${nameIn(key)}: ${message}`;
    work.notBeforeMs = work.isBroken ? 0 : monotonicMs() + PAUSE_MS;
  }

  async #call(key: string, work: Work, call: () => Promise<void>): Promise<void> {
    const { wish } = work;
    try {
      await call();
      work.problem = undefined;
    } catch (error) {
      this.#failed(key, work, error as Error);
    }
    work.isBusy = false;
    if (this.#isClosed) return;
    // What was wanted meanwhile is tried at once.
    if (work.problem === undefined || work.wish !== wish) {
      work.notBeforeMs = 0;
      this.#step(key, work);
    }
    if (!work.isBusy) this.#options.onChange();
  }

  /** What has to be called; undefined where all is as it should be. */
  #next(key: string, work: Work): (() => Promise<void>) | undefined {
    const { wish } = work;
    const stored = this.#store.get(key);
    if (stored === undefined) {
      const isWaiting = wish === undefined || this.#isEnding(routerIn(key));
      return isWaiting ? undefined : () => this.#add(key, wish);
    }
    const isWhole = stored.result !== undefined && stored.isEnding === undefined;
    const isWanted = wish !== undefined && isSame(wish, stored) && isWhole;
    const isDone = work.isWell && !work.isDue;
    if (isWanted && !work.isBroken && this.#isThere(stored))
      return isDone ? undefined : () => this.#check(work, stored);
    work.isWell = false;
    // Without plugins it would be gone half, and the other configuration no link at all.
    if (wish !== undefined && isWhole && this.#isThere(stored))
      for (const { config } of [stored, wish]) checkPlugins(config, this.#chainOptions);
    work.isBroken = false;
    if (isWanted && !mayRemake(work.remade, monotonicMs()))
      throw new Error("somebody removes it again and again; it is made again later");
    if (isWanted) work.remade = remadeAt(work.remade, monotonicMs());
    return () => this.#del(key, stored);
  }

  /** DEL is under way for a link of the router that nobody wants. */
  #isEnding(router: string): boolean {
    return this.#keysOf(router).some((key) => {
      const work = this.#work.get(key);
      return work?.isBusy === true && work.wish === undefined;
    });
  }

  /** As far as can be seen without plugins. */
  #isThere(stored: StoredChain): boolean {
    return this.#netns(stored) !== "";
  }

  /** Empty where nothing of the link can be left in it: plugins refuse DEL in a namespace that they do not find the link in. */
  #netns(stored: StoredChain): string {
    const path = this.#path(stored.router);
    return isOfThisBoot(stored) && hasLink(path, stored.name) ? path : "";
  }

  #path(router: string): string {
    return `${this.#options.folder ?? NAMESPACES}/${routerNamespace(router)}`;
  }

  /** Servers of DHCP tell nodes by it, so that it is the same after a reboot. */
  #idOf(router: string): string {
    return `causeway-${router}-${this.#options.node}`.replaceAll(/[^A-Za-z0-9_.-]/g, "_");
  }

  async #add(key: string, wish: Wish): Promise<void> {
    const [router, name] = [routerIn(key), nameIn(key)];
    const netns = this.#path(router);
    // A plugin that fails on such a name removes the link that has it.
    if (hasLink(netns, name))
      throw new Error("there is one already that no plugin of ours has made; give this one another name");
    checkPlugins(wish.config, this.#chainOptions);
    await this.#dhcpFor(wish.config);
    const { mtuBytes, ...made } = wish;
    const chain = { router, name, ...made, boot: bootId() };
    this.#store.put(chain);
    const attachment = { ...wish, ifName: name, netns };
    try {
      const onStart = this.#writeDown(chain);
      const result = (await addChain(attachment, {
        ...this.#chainOptions,
        onStart,
      })) as StoredChain["result"];
      // The next agent has the file, and asks for what was not there yet.
      if (this.#isClosed) return;
      this.#store.put({ ...chain, ...(result && { result }) });
    } catch (error) {
      if (!this.#isClosed) await this.#takeBack(key, attachment);
      throw error;
    }
    // CHECK is to find it as it stays.
    if (mtuBytes !== undefined) sizeIn(netns, name, mtuBytes);
  }

  /** What it has made until it failed; where that cannot be, it stays on disk, and the next attempt begins with it. */
  async #takeBack(key: string, attachment: ChainAttachment): Promise<void> {
    try {
      await delChain(attachment, undefined, this.#chainOptions);
      this.#store.remove(key);
    } catch {
      // Why ADD has failed is what people need to know; DEL is tried again, and told of then.
    }
  }

  async #check(work: Work, stored: StoredChain): Promise<void> {
    const seen = seenOf(this.#path(stored.router), stored.name);
    work.isDue = false;
    try {
      await this.#dhcpFor(stored.config);
      await checkChain(this.#attachmentOf(stored), stored.result ?? {}, this.#chainOptions);
    } catch (error) {
      work.isWell = false;
      // Gone meanwhile: that is seen without plugins.
      if (!this.#isThere(stored)) return;
      throw new Error(`${(error as Error).message}; ${this.#follows(work, stored, error)}`, { cause: error });
    }
    // The next agent has the file.
    if (this.#isClosed) return;
    if (stored.wasWell === undefined) this.#store.put({ ...stored, wasWell: true });
    [work.isWell, work.seen, work.findings] = [true, seen, 0];
    work.isDue ||= seenOf(this.#path(stored.router), stored.name) !== seen;
  }

  /** What follows from a CHECK that is refused. */
  #follows(work: Work, stored: StoredChain, error: unknown): string {
    if (stored.wasWell === undefined) return "it was never well, and stays as it is";
    const isWhole = hasResult(this.#path(stored.router), stored);
    // Without a lease, which a server gives that may be away, it carries on as long as it has its addresses.
    const isBroken = isLeased(stored.config) ? !isWhole : isFinding(error);
    work.findings = isBroken ? work.findings + 1 : 0;
    if (!isBroken) return "it stays as it is";
    if (isWhole && work.findings < FINDINGS) return "CHECK is asked again first";
    // Without one of them it would be gone for good.
    checkPlugins(stored.config, this.#chainOptions);
    work.isBroken = mayRemake(work.remade, monotonicMs());
    return work.isBroken ? "it is made again" : "it is made again later";
  }

  async #del(key: string, stored: StoredChain): Promise<void> {
    await isOver(stored);
    await this.#dhcpFor(stored.config);
    if (this.#isClosed) return;
    const ending: StoredChain = { ...stored, isEnding: true };
    this.#store.put(ending);
    const onStart = this.#writeDown(ending);
    await delChain(this.#attachmentOf(stored), stored.result, { ...this.#chainOptions, onStart });
    if (!this.#isClosed) this.#store.remove(key);
  }

  /** Each plugin that is started is on disk with its link, as long as the file is ours. */
  #writeDown(chain: StoredChain): NonNullable<ChainOptions["onStart"]> {
    return (running) => {
      if (!this.#isClosed) this.#store.put({ ...chain, running });
    };
  }

  #attachmentOf(stored: StoredChain): ChainAttachment {
    const { config, runtime, containerId, name } = stored;
    return { config, runtime, containerId, ifName: name, netns: this.#netns(stored) };
  }

  get #chainOptions(): ChainOptions {
    const { folders, home } = this.#options;
    return {
      ...{ home, dhcpSocket: this.#dhcp.socket },
      ...(folders === undefined ? {} : { folders }),
    };
  }

  async #dhcpFor(config: StoredChain["config"]): Promise<void> {
    if (chainNeedsDhcp(config)) await this.#dhcp.open();
  }

  /** The daemon of DHCP was started anew, and knows no lease: CHECK gets them again. */
  #leasesLost(): void {
    const isOurs = ({ wish }: Work) => wish !== undefined && chainNeedsDhcp(wish.config);
    this.#checkAgain([...this.#work].flatMap(([key, work]) => (isOurs(work) ? [key] : [])));
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#rounds[Symbol.dispose]();
    this.#dhcp[Symbol.dispose]();
  }
}

function routerIn(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

function nameIn(key: string): string {
  return key.slice(key.indexOf("/") + 1);
}

/** Nothing where there is no such namespace. */
function within<T>(path: string, work: (route: Rtnetlink) => T): T | undefined {
  if (!isNetns(path)) return undefined;
  using netns = Netns.open(path);
  using route = Rtnetlink.open({ netns });
  return work(route);
}

function hasLink(path: string, name: string): boolean {
  return within(path, (route) => route.link(name)) !== undefined;
}

function addressesOf(route: Rtnetlink, linkIndex: number): string[] {
  return route.addresses({ linkIndex }).map(({ address }) => formatInterfaceAddress(address));
}

/** What a link looks like, to be compared; undefined where there is none. */
function seenOf(path: string, name: string): string | undefined {
  return within(path, (route) => {
    const link = route.link(name);
    if (link === undefined) return undefined;
    const { index, up, mtuBytes, mac = "" } = link;
    return [index, up, mtuBytes, mac, ...addressesOf(route, index).sort()].join(" ");
  });
}

/** Whether a link is up and has the addresses that ADD has told of. */
function hasResult(path: string, { name, result = {} }: StoredChain): boolean {
  return (
    within(path, (route) => {
      const link = route.link(name);
      if (link?.up !== true) return false;
      const told = (result.ips ?? []) as readonly { readonly address: string }[];
      const has = addressesOf(route, link.index);
      return told.every(({ address }) => has.includes(address));
    }) === true
  );
}

/** What the kernel refuses of it is told with the router's other links (edge-router-links.ts). */
function sizeIn(path: string, name: string, mtuBytes: number): void {
  new Bearing().bear(() => within(path, (route) => sizeLink(route, { name, mtuBytes })));
}

/** sizeLink says how large packets of a link may be; one that is not there has no size. */
export function sizeLink(route: Rtnetlink, { name, mtuBytes }: Pick<EdgeLink, "name" | "mtuBytes">): void {
  const link = mtuBytes === undefined ? undefined : route.link(name);
  if (link !== undefined && mtuBytes !== undefined && link.mtuBytes !== mtuBytes)
    route.request(setLink({ index: link.index, mtuBytes }));
}

/** Order and spaces of JSON mean nothing. */
function isSame({ config, runtime }: Wish, stored: StoredChain): boolean {
  return (
    canonicalJson(config) === canonicalJson(stored.config) &&
    canonicalJson(runtime) === canonicalJson(stored.runtime)
  );
}

/** An agent that was killed leaves its plugin running: what that one makes is there only when it has ended. */
async function isOver({ running, ...stored }: StoredChain): Promise<void> {
  if (running === undefined || !isOfThisBoot(stored)) return;
  const { pid, type } = running;
  const until = monotonicMs() + PATIENCE_MS;
  while (isAlive(pid) && programOf(pid) === type.slice(0, COMM) && monotonicMs() < until)
    await sleep(LOOK_MS);
}
