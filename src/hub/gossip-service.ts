/** Gossip over real sockets: listens on this node's overlay addresses and meets others. Thin: gossip.ts and gossip-plan.ts decide. */
import { GOSSIP_PORT } from "../mesh/mod.ts";
import { formatIp, type Ip, parseIp } from "../net/mod.ts";
import {
  after,
  connectTcp,
  listenTcp,
  monotonicMs,
  randomBytes,
  type TcpConnection,
  type TcpEvents,
} from "../sys/mod.ts";
import { Distrust } from "./distrust.ts";
import {
  GOSSIP_LINE_BYTES,
  type GossipEffect,
  type GossipLocal,
  type GossipSession,
  SHORT_LINE_BYTES,
  startGossip,
  stepGossip,
} from "./gossip.ts";
import { type GossipPlan, startPlan, stepPlan, withNews } from "./gossip-plan.ts";
import type { Loan } from "./loan.ts";
import type { Removal } from "./removal.ts";

/** A meeting that takes longer is given up. */
const MEET_MS = 10_000;
const MAX_MEETINGS = 16;
const MAX_VISITORS = 64;
/** Visits of one node in a minute; it has no need of more than a few. */
const VISITS_PER_MINUTE = 60;
/** And open at once. */
const VISITS_AT_ONCE = 2;
/** Loans that are awaited at once: each may cost the memory of a long line, and twice that while it is read. */
const LOANS_AT_ONCE = 2;
/** A little later than news are spread (gossip-plan.ts). */
const SPREAD_MS = 60;

/** GossipOptions is what a node needs to gossip. */
export interface GossipOptions {
  /** This node's overlay addresses; they must be on this machine already. */
  readonly addresses: readonly Ip[];
  readonly hooks: {
    /** What this node has, as it is told to a peer. */
    readonly local: (peer: string) => GossipLocal;
    /** The node with this overlay address; undefined for one that is not known or was removed. */
    readonly nodeAt: (address: Ip) => string | undefined;
    /** The overlay address of a node. */
    readonly addressOf: (node: string) => Ip | undefined;
    /** Take over those that hold; true when some were new. */
    readonly onRemovals: (removals: readonly Removal[], from: string) => boolean;
    /** False for one that does not hold. */
    readonly onLoan?: (loan: Loan, from: string) => boolean;
    /** For the log. */
    readonly onFailed?: (peer: string, reason: string) => void;
  };
  /** For tests. */
  readonly port?: number;
}

/** Gossip owns the listening sockets and the meetings. */
export class Gossip implements Disposable {
  readonly #options: GossipOptions;
  readonly #resources = new DisposableStack();
  readonly #meetings = new Map<string, Disposable>();
  readonly #visits = new Map<string, number[]>();
  /** How many of each node are open. */
  readonly #visiting = new Map<string, number>();
  readonly #distrust = new Distrust();
  #loans = 0;
  #plan: GossipPlan = startPlan(monotonicMs());
  #alive: ReadonlySet<string> = new Set();
  #byChance: ReadonlySet<string> = new Set();
  #spreading: Disposable | undefined;
  #closed = false;

  private constructor(options: GossipOptions) {
    this.#options = options;
    using undo = new DisposableStack();
    for (const address of options.addresses)
      undo.use(
        listenTcp({
          address: formatIp(address),
          port: options.port ?? GOSSIP_PORT,
          maxLineBytes: SHORT_LINE_BYTES,
          maxConnections: MAX_VISITORS,
          accept: (connection) => this.#accept(connection),
        }),
      );
    this.#resources.use(undo.move());
  }

  /** start listens; throws when an address is not there yet or the port is taken. */
  static start(options: GossipOptions): Gossip {
    return new Gossip(options);
  }

  /**
   * look is told once a second which nodes have a live session with this one, and which of them may be met now and then; it meets those that
   * are due.
   */
  look(alive: ReadonlySet<string>, byChance: ReadonlySet<string> = alive): void {
    this.#alive = alive;
    this.#byChance = byChance;
    const nowMs = monotonicMs();
    const [plan, due] = stepPlan(this.#plan, { nowMs, alive, byChance, random });
    this.#plan = plan;
    for (const peer of due) this.meet(peer);
    for (const [name, times] of this.#visits)
      if (times.every((time) => nowMs - time >= 60_000)) this.#visits.delete(name);
    this.#distrust.tidy(nowMs);
  }

  /** news is called when this node learnt of a removal: it is spread at once. */
  news(): void {
    this.#plan = withNews(this.#plan, monotonicMs());
    this.#spreading ??= after(SPREAD_MS, () => {
      this.#spreading = undefined;
      if (!this.#closed) this.look(this.#alive, this.#byChance);
    });
  }

  /** meet opens a connection to a node, unless there is one. */
  meet(peer: string): void {
    const address = this.#options.hooks.addressOf(peer);
    if (address === undefined || this.#meetings.has(peer) || this.#meetings.size >= MAX_MEETINGS) return;
    if (this.#distrust.refuses(peer, monotonicMs())) return;
    const { hooks, port } = this.#options;
    let connection: TcpConnection | undefined;
    let early: string[] | undefined = [];
    const end = (reason?: string) => {
      if (this.#meetings.get(peer) !== meeting) return;
      this.#meetings.delete(peer);
      deadline[Symbol.dispose]();
      talk?.ended();
      connection?.close();
      if (reason !== undefined) hooks.onFailed?.(peer, reason);
    };
    const deadline = after(MEET_MS, () => end("it takes too long"));
    const meeting: Disposable = { [Symbol.dispose]: () => end() };
    this.#meetings.set(peer, meeting);
    let talk: Talk | undefined;
    connectTcp({
      address: formatIp(address),
      port: port ?? GOSSIP_PORT,
      maxLineBytes: SHORT_LINE_BYTES,
      timeoutMs: MEET_MS,
      events: {
        line: (text) => (early === undefined ? talk?.line(text) : void early.push(text)),
        closed: (reason) => end(reason),
      },
    }).then(
      (made) => {
        connection = made;
        if (this.#meetings.get(peer) !== meeting) return made.close();
        talk = this.#talk(made, { peer, opener: true, end });
        const lines = early ?? [];
        early = undefined;
        for (const text of lines) talk.line(text);
      },
      (error: Error) => end(error.message),
    );
  }

  #accept(connection: TcpConnection): TcpEvents | string {
    const peer = this.#options.hooks.nodeAt(parseIp(connection.remoteAddress));
    if (peer === undefined) return "no node of this mesh";
    const nowMs = monotonicMs();
    if (this.#distrust.refuses(peer, nowMs)) return "too much that does not hold";
    const times = (this.#visits.get(peer) ?? []).filter((time) => nowMs - time < 60_000);
    const open = this.#visiting.get(peer) ?? 0;
    if (times.length >= VISITS_PER_MINUTE || open >= VISITS_AT_ONCE) return "too many visits";
    this.#visits.set(peer, [...times, nowMs]);
    const talk = this.#talk(connection, { peer, opener: false, end: () => connection.close() });
    const deadline = after(MEET_MS, () => connection.close("it takes too long"));
    this.#visiting.set(peer, open + 1);
    const closed = () => {
      deadline[Symbol.dispose]();
      talk.ended();
      const left = (this.#visiting.get(peer) ?? 1) - 1;
      if (left > 0) this.#visiting.set(peer, left);
      else this.#visiting.delete(peer);
    };
    return { line: (text) => talk.line(text), closed };
  }

  #talk(
    connection: TcpConnection,
    context: { readonly peer: string; readonly opener: boolean; readonly end: (reason?: string) => void },
  ): Talk {
    const { hooks } = this.#options;
    const { peer, opener, end } = context;
    let [session, effects]: readonly [GossipSession, readonly GossipEffect[]] = startGossip(
      opener,
      hooks.local(peer),
    );
    let awaits = false;
    /** Only while a loan is awaited may a line be long, and only few are awaited at a time. */
    const expect = (now: boolean) => {
      if (now === awaits) return;
      awaits = now;
      this.#loans += now ? 1 : -1;
      connection.allowLines(now ? GOSSIP_LINE_BYTES : SHORT_LINE_BYTES);
    };
    const perform = () => {
      for (const effect of effects) {
        if (effect.kind === "send") connection.send(JSON.stringify(effect.message));
        else if (effect.kind === "loan") this.#lent(effect.loan, peer);
        else if (effect.kind === "close") end(effect.reason);
        else this.#heard(effect.removals, peer);
      }
    };
    perform();
    return {
      line: (text) => {
        const may = this.#loans < LOANS_AT_ONCE && this.#distrust.mayLend(peer, monotonicMs());
        const borrows = hooks.onLoan !== undefined && may;
        [session, effects] = stepGossip(session, text, { ...hooks.local(peer), borrows });
        expect(!session.ended && session.awaited.has("loan"));
        perform();
      },
      ended: () => expect(false),
    };
  }

  #lent(loan: Loan, peer: string): void {
    if (this.#options.hooks.onLoan?.(loan, peer) === false) this.#distrust.loan(peer, monotonicMs());
  }

  #heard(removals: readonly Removal[], peer: string): void {
    const { hooks } = this.#options;
    if (hooks.onRemovals(removals, peer)) this.news();
    const known = hooks.local(peer).removals;
    const wrong = removals.filter((removal) => !known.has(removal.key)).length;
    this.#distrust.removals(peer, wrong, monotonicMs());
  }

  close(): void {
    this.#closed = true;
    this.#spreading?.[Symbol.dispose]();
    for (const meeting of [...this.#meetings.values()]) meeting[Symbol.dispose]();
    this.#resources.dispose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

interface Talk {
  line(text: string): void;
  /** The connection is over. */
  ended(): void;
}

function random(): number {
  return new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32;
}
