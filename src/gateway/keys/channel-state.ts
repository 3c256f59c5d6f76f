/** A channel: one way to a route's peer with its exchange and its associations; and a channel in the middle of a step. */
import type { Spis } from "../../exchange/mod.ts";
import type { OursParty, OursState, Path } from "../../exchange/ours/mod.ts";
import type { Ske5State } from "../../exchange/ske5/mod.ts";
import type { Bytes, Primitives } from "../../noise/mod.ts";
import type { AssociationEffect, Associations, AssociationStep } from "./associations.ts";
import type { KeeperCounter, KeeperEffect, KeeperNews } from "./keeper-event.ts";
import type { KeyChannel, KeyRoute } from "./key-route.ts";

/** Exchanging is an exchange of either protocol. */
export type Exchanging =
  { readonly kind: "ske5"; readonly state: Ske5State } | { readonly kind: "ours"; readonly state: OursState };

/** ChannelState is all that a channel remembers. */
export interface ChannelState {
  readonly exchange: Exchanging;
  readonly associations: Associations;
  /** Index of the gateway that is tried or used. */
  readonly gateway: number;
  /** Exchanges that failed since one did not. */
  readonly failures: number;
  /** No exchange is begun before. */
  readonly beginMs: number;
  /** Counts the exchanges of vita-ske, which have no session to be named by. */
  readonly sessions: number;
  readonly up: boolean;
  /** Why there is no peer, as long as there is none. */
  readonly reason?: string;
  readonly rttMs?: number;
  /** Messages that may be worked on (RATE), as of a moment. */
  readonly tokens: number;
  readonly tokensMs: number;
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
    this.#state = { ...rest, up: true, failures: 0 };
  }

  /** down notes that there is none, and why; it is news when the reason is. */
  down(reason: string): void {
    const { up, reason: before } = this.#state;
    if (up || before !== reason) this.news({ kind: "down", reason });
    this.set({ up: false, reason });
  }
}
