/** Hub links: this hub's connections to the other hubs, on which it tells them facts and passes invitations on. */
import { SYNC_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip } from "../net/mod.ts";
import type { Json, Node } from "../resources/mod.ts";
import { after, connectTcp, every, monotonicMs, randomBytes, type TcpConnection } from "../sys/mod.ts";
import { edgeFactJson } from "./edge-book.ts";
import { factJson, type FactBook } from "./facts.ts";
import { NODE_LINE_BYTES } from "./sync-protocol.ts";
import { HUB_PING_MS, HUB_SILENCE_MS, HUB_VERSION, hubAnswer, type HubHealth } from "./hub-protocol.ts";

const CONNECT_MS = 3_000;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 5_000;
const MAX_LINE_BYTES = 16 * 1024;
/** A link that has never answered is taken to be so far away. */
const UNKNOWN_RTT_MS = 20;

/** HubLinksOptions is what links need. */
export interface HubLinksOptions {
  readonly facts: FactBook;
  /** Names this life of the book, for readers of its numbers. */
  readonly book: string;
  /** What this hub says of its register. */
  readonly health: () => HubHealth;
  /** A hub was reached or lost. */
  readonly onLink?: (name: string, connected: boolean, reason?: string) => void;
  /** For tests. */
  readonly port?: number;
}

/** One wrong resource is so on thousands of nodes at once. */
const EDGES_MS = 1_000;

/** LinkState is another hub as this one sees it. */
export interface LinkState {
  readonly name: string;
  readonly connected: boolean;
  readonly rttMs?: number;
  readonly health?: HubHealth;
}

/** HubLinks owns a connection to each other hub. */
export class HubLinks implements Disposable {
  readonly #options: HubLinksOptions;
  readonly #links = new Map<string, HubLink>();
  /** The version of edges that was seen last, and when it is told. */
  #edges = 0;
  #later: Disposable | undefined;

  constructor(options: HubLinksOptions) {
    this.#options = options;
  }

  /** follow makes links to these hubs, and ends all others. */
  follow(hubs: readonly Node[]): void {
    const wanted = new Map(hubs.map((hub) => [hub.name, hub]));
    for (const [name, link] of this.#links) {
      const hub = wanted.get(name);
      if (hub !== undefined && formatIp(hub.overlay4) === formatIp(link.addresses[0])) continue;
      link[Symbol.dispose]();
      this.#links.delete(name);
    }
    for (const hub of hubs)
      if (!this.#links.has(hub.name))
        this.#links.set(hub.name, new HubLink(hub.name, [hub.overlay4, hub.overlay6], this.#options));
  }

  /** tell sends the facts that changed to every hub that is connected. */
  tell(): void {
    for (const link of this.#links.values()) link.tell();
  }

  /** tellEdges tells them a little later what nodes say of their edges, if anything of that is new. */
  tellEdges(): void {
    const { version } = this.#options.facts.edges;
    if (version === this.#edges) return;
    this.#edges = version;
    this.#later ??= after(EDGES_MS, () => {
      this.#later = undefined;
      this.tell();
    });
  }

  /** invite passes an invitation on, and returns how long it takes at most until it is there; undefined when no hub is connected. */
  invite(from: string, to: string): number | undefined {
    const ways = [...this.#links.values()].flatMap((link) => link.invite(from, to) ?? []);
    return ways.length === 0 ? undefined : Math.max(...ways);
  }

  states(): readonly LinkState[] {
    return [...this.#links.values()].map((link) => link.state());
  }

  [Symbol.dispose](): void {
    this.#later?.[Symbol.dispose]();
    for (const link of this.#links.values()) link[Symbol.dispose]();
    this.#links.clear();
  }
}

class HubLink implements Disposable {
  readonly addresses: readonly [Ip, Ip];
  readonly #name: string;
  readonly #options: HubLinksOptions;
  readonly #pinging: Disposable;
  #connection: TcpConnection | undefined;
  #retry: Disposable | undefined;
  #retryMs = FIRST_RETRY_MS;
  #attempt = 0;
  #heardMs = 0;
  #pingedMs = 0;
  #rttMs: number | undefined;
  #health: HubHealth | undefined;
  /** Version of the facts that the other hub has when it has read everything. */
  #told = 0;
  #toldEdges = 0;
  #closed = false;

  constructor(name: string, addresses: readonly [Ip, Ip], options: HubLinksOptions) {
    this.#name = name;
    this.addresses = addresses;
    this.#options = options;
    this.#pinging = every(HUB_PING_MS, () => this.#ping());
    this.#connect();
  }

  #connect(): void {
    const address = this.addresses[this.#attempt++ % 2] as Ip;
    let own: TcpConnection | undefined;
    const current = () => own !== undefined && this.#connection === own;
    connectTcp({
      address: formatIp(address),
      port: this.#options.port ?? SYNC_PORT,
      maxLineBytes: MAX_LINE_BYTES,
      timeoutMs: CONNECT_MS,
      events: {
        line: (text) => this.#onLine(text),
        closed: (reason) => {
          if (!current()) return;
          this.#connection = undefined;
          this.#lost(reason ?? "the other hub closed the connection");
        },
      },
    }).then(
      (connection) => {
        if (this.#closed) return connection.close();
        own = connection;
        this.#connection = connection;
        this.#heardMs = monotonicMs();
        connection.send(JSON.stringify({ type: "hub", version: HUB_VERSION }));
        this.#told = 0;
        this.#toldEdges = 0;
        this.tell();
        this.#ping();
        this.#options.onLink?.(this.#name, true);
      },
      (error: Error) => this.#lost(error.message),
    );
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    this.#options.onLink?.(this.#name, false, reason);
    const jitter = 0.5 + (randomBytes(1)[0] as number) / 510;
    this.#retry?.[Symbol.dispose]();
    this.#retry = after(this.#retryMs * jitter, () => this.#connect());
    this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
  }

  #onLine(text: string): void {
    const nowMs = monotonicMs();
    this.#heardMs = nowMs;
    const parsed = hubAnswer.safeParse(parseJson(text));
    if (!parsed.success) return this.#connection?.close("its answer cannot be understood");
    if (parsed.data.type === "refused") return this.#connection?.close(parsed.data.message);
    const { type: _, ...health } = parsed.data;
    this.#health = health;
    this.#rttMs = nowMs - this.#pingedMs;
    this.#retryMs = FIRST_RETRY_MS;
  }

  #ping(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const nowMs = monotonicMs();
    if (nowMs - this.#heardMs > HUB_SILENCE_MS) return connection.close("the other hub is silent");
    this.#pingedMs = nowMs;
    connection.send(JSON.stringify({ type: "ping", ...this.#options.health() }));
  }

  tell(): void {
    const { facts, book } = this.#options;
    const { version, edges } = facts;
    const connection = this.#connection;
    if (connection === undefined) return;
    const head = { type: "facts", book, version };
    for (const part of this.#told === version ? [] : inLines(facts.since(this.#told).map(factJson)))
      connection.send(JSON.stringify({ ...head, facts: part }));
    this.#told = version;
    for (const part of inLines(edges.since(this.#toldEdges).map(edgeFactJson)))
      connection.send(JSON.stringify({ ...head, facts: [], edges: part }));
    this.#toldEdges = edges.version;
  }

  invite(from: string, to: string): number | undefined {
    if (this.#connection === undefined) return undefined;
    this.#connection.send(JSON.stringify({ type: "invite", from, to }));
    return (this.#rttMs ?? UNKNOWN_RTT_MS) / 2;
  }

  state(): LinkState {
    return {
      name: this.#name,
      connected: this.#connection !== undefined,
      ...(this.#rttMs === undefined ? {} : { rttMs: this.#rttMs }),
      ...(this.#health === undefined ? {} : { health: this.#health }),
    };
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#pinging[Symbol.dispose]();
    this.#retry?.[Symbol.dispose]();
    this.#connection?.close();
    this.#connection = undefined;
  }
}

/**
 * inLines divides facts into lines. The other hub takes no longer lines from this one than from a node, so a fact that is longer by itself is left
 * out: no node can end the connections of hubs with what it says of itself.
 */
export function inLines(facts: readonly Json[]): Json[][] {
  const lines: Json[][] = [];
  const most = NODE_LINE_BYTES - 256;
  let room = 0;
  for (const fact of facts) {
    const length = Buffer.byteLength(JSON.stringify(fact)) + 1;
    if (length > most) continue;
    if (length > room) {
      lines.push([]);
      room = most;
    }
    lines.at(-1)?.push(fact);
    room -= length;
  }
  return lines;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
