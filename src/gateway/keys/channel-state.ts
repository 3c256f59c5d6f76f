/** A channel: one way to a route's peer with its exchange and its associations; and a channel in the middle of a step. */
import type { Spis } from "../../exchange/mod.ts";
import type { OursParty, OursState, Path } from "../../exchange/ours/mod.ts";
import type { Ske5State, Ske5Work } from "../../exchange/ske5/mod.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";
import type { AssociationEffect, Associations, AssociationStep } from "./associations.ts";
import type { KeeperCounter, KeeperEffect, KeeperNews } from "./keeper-event.ts";
import type { KeyChannel, KeyRoute } from "./key-route.ts";

/** Exchanging is an exchange of either protocol. */
export type Exchanging =
  { readonly kind: "ske5"; readonly state: Ske5State } | { readonly kind: "ours"; readonly state: OursState };

/** RATE works of a kind are done a second, and as many at once: Vita's, but for each channel. */
export const RATE = 100;

/** ChannelState is all that a channel remembers. */
export interface ChannelState {
  readonly exchange: Exchanging;
  readonly associations: Associations;
  /** Index of the gateway that is tried or used. */
  readonly gateway: number;
  /** Exchanges that failed since one came to an end. */
  readonly failures: number;
  /** No exchange is begun before. */
  readonly beginMs: number;
  /** Counts the exchanges of vita-ske, which have no session to be named by. */
  readonly sessions: number;
  readonly up: boolean;
  /** Why there is no peer, as long as there is none. */
  readonly reason?: string;
  readonly rttMs?: number;
  /** What may be worked on (RATE), each kind by itself. */
  readonly budgets: Readonly<Record<Work, Budget>>;
}

/**
 * Work is what costs something. A handshake is worked on for nobody who has not proved to be the peer; knocks and agreements of vita-ske prove
 * nothing before, and have budgets of their own: no forged message delays another kind.
 */
export type Work = Ske5Work;

/** Budget is how many there were left at a moment. */
export interface Budget {
  readonly left: number;
  readonly atMs: number;
}

/** ChannelAround comes with each step. */
export interface ChannelAround {
  readonly route: KeyRoute;
  readonly channel: KeyChannel;
  /** Of our own exchange. */
  readonly party?: OursParty;
  readonly primitives: Primitives;
  readonly spis: Spis;
  readonly boot: Bytes;
  /** Names what the ends trust (trustName). */
  readonly trust: string;
  readonly nowMs: number;
}

/** ChannelEffect is asked for, or counted. */
export type ChannelEffect = KeeperEffect | { readonly kind: "count"; readonly leaf: KeeperCounter };

/** ChannelDraft lives for one step. */
export class ChannelDraft {
  #state: ChannelState;
  readonly effects: ChannelEffect[] = [];
  readonly around: ChannelAround;

  constructor(state: ChannelState, around: ChannelAround) {
    this.#state = state;
    this.around = around;
  }

  get state(): ChannelState {
    return this.#state;
  }

  set(change: Partial<ChannelState>): void {
    this.#state = { ...this.#state, ...change };
  }

  get at() {
    return { route: this.around.route.id, nowMs: this.around.nowMs };
  }

  send(bytes: Uint8Array, { local, remote }: Path): void {
    const { route, channel } = this.around;
    this.effects.push({
      kind: "send",
      route: route.id,
      queue: channel.queue,
      from: local,
      to: remote,
      bytes,
    });
  }

  /** allow takes one work of a kind from its budget; false: none is left now. */
  readonly allow = (work: Work): boolean => {
    const { nowMs } = this.around;
    const { left, atMs } = this.#state.budgets[work];
    const full = Math.min(RATE, left + ((nowMs - atMs) / 1000) * RATE);
    const budget = { left: full < 1 ? full : full - 1, atMs: nowMs };
    this.set({ budgets: { ...this.#state.budgets, [work]: budget } });
    return full >= 1;
  };

  count(leaf: KeeperCounter): void {
    this.effects.push({ kind: "count", leaf });
  }

  news(news: KeeperNews): void {
    const { route, channel } = this.around;
    this.effects.push({ kind: "news", route: route.id, queue: channel.queue, news });
  }

  /** adopt takes over what became of the associations. SPIs of ours that are removed are free again. */
  adopt([associations, effects]: AssociationStep): void {
    this.set({ associations });
    for (const effect of effects) this.effects.push(effect);
    this.#free(effects);
  }

  #free(effects: readonly AssociationEffect[]): void {
    for (const effect of effects)
      if (effect.kind === "remove" && effect.direction === "inbound") this.around.spis.release(effect.spi, 1);
  }

  /** up notes that there is a peer. */
  up(): void {
    const { reason: _, ...rest } = this.#state;
    if (!this.#state.up) this.news({ kind: "up" });
    this.#state = { ...rest, up: true };
  }

  /** succeeded notes that an exchange came to an end: the next failure is the first. */
  succeeded(): void {
    this.set({ failures: 0 });
    this.up();
  }

  /** down notes that there is none, and why; it is news when the reason is. */
  down(reason: string): void {
    const { up, reason: before } = this.#state;
    if (up || before !== reason) this.news({ kind: "down", reason });
    this.set({ up: false, reason });
  }
}
