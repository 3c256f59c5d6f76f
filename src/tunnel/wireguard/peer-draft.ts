/** A peer in the middle of a step: its state so far, and the effects so far. */
import { type Endpoint, endpointEqual } from "../../net/mod.ts";
import { cleared, type KeypairStep, keypairsOf, released, retired } from "./keypair.ts";
import type { PeerEffect, PeerState, Surroundings } from "./peer-state.ts";
import { stepTimers, type TimerEffect, type TimerEvent } from "./timers.ts";

const RECEIVED = 0;
const SENT = 1;

/** Mutable parts of a state; undefined takes a field away. */
type Change = { readonly [K in keyof PeerState]?: PeerState[K] | undefined };

/** PeerDraft lives for one step. */
export class PeerDraft {
  #state: PeerState;
  readonly effects: PeerEffect[] = [];
  readonly around: Surroundings;

  constructor(state: PeerState, around: Surroundings) {
    this.#state = state;
    this.around = around;
  }

  get state(): PeerState {
    return this.#state;
  }

  set(change: Change): void {
    const next: Record<string, unknown> = { ...this.#state, ...change };
    for (const [name, value] of Object.entries(change)) if (value === undefined) delete next[name];
    this.#state = next as unknown as PeerState;
  }

  /** tell runs the timers' step. */
  tell(event: TimerEvent): readonly TimerEffect[] {
    const { nowMs, timing, primitives } = this.around;
    const jitterMs = () => ((primitives.random(1)[0] as number) / 256) * timing.jitterMs;
    const options = { nowMs, timing, jitterMs, persistentMs: this.#state.persistentMs };
    const [timers, effects] = stepTimers(this.#state.timers, event, options);
    if (timers !== this.#state.timers) this.set({ timers });
    return effects;
  }

  /** adopt takes over what became of the sessions. */
  adopt(step: KeypairStep): void {
    const before = keypairsOf(this.#state.keypairs);
    this.set({ keypairs: step.keypairs });
    for (const session of keypairsOf(step.keypairs))
      if (!before.includes(session)) this.effects.push({ kind: "started", session });
    for (const session of step.ended) this.effects.push({ kind: "ended", session });
    // We are for the peer who we are under the session that we send with.
    const former = step.keypairs.current?.former;
    if (former !== undefined && (this.#state.other === true || former !== (this.#state.former === true)))
      this.set({ former: former ? true : undefined, other: undefined });
  }

  /** heard notes something authentic: where from, and how much. */
  heard(bytes: number, from?: Endpoint): void {
    this.#state.traffic[RECEIVED] = (this.#state.traffic[RECEIVED] as number) + bytes;
    const { endpoint } = this.#state;
    if (from !== undefined && (endpoint === undefined || !endpointEqual(endpoint, from)))
      this.set({ endpoint: from });
  }

  /** count notes how much left. */
  count(bytes: number): void {
    this.#state.traffic[SENT] = (this.#state.traffic[SENT] as number) + bytes;
  }

  /** abandon ends a handshake that we began. */
  abandon(): void {
    const { pending } = this.#state;
    if (pending === undefined) return;
    pending.sent[Symbol.dispose]();
    this.around.releaseIndex(pending.index);
    this.set({ pending: undefined });
  }

  /** retire ends all handshakes, and sending under the sessions that there are. */
  retire(options: { readonly hold: boolean }): void {
    this.abandon();
    this.adopt(retired(this.#state.keypairs, options));
  }

  /** demoteSessions notes that all sessions are those of our former identity. */
  demoteSessions(): void {
    for (const session of keypairsOf(this.#state.keypairs)) session.former = true;
  }

  /** release lets packets go that waited for the peer to take up another identity of ours. */
  release(): void {
    if (this.#state.keypairs.held === true) this.adopt(released(this.#state.keypairs));
  }

  /** forget ends all sessions and handshakes. */
  forget(): void {
    this.abandon();
    this.adopt(cleared(this.#state.keypairs));
  }
}
