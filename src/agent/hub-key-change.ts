/**
 * A hub's change of its own key. It begins as a node's (key-change.ts); but nobody need hear of it in time, because the hub goes on to answer to
 * the key before:
 *
 * ```
 *  made ─▶ announced ── OVERLAP_MS ──▶ switched: both keys ── nodes moved ──▶ promoted in the register ── all were seen ──▶ dropped
 * ```
 * Nodes are moved by the hub, each with what it sends waiting for a moment; one that has not heard of the next key is gone on with under the one
 * before. That is kept until every node and external peer was heard with the new one and the tokens of its time are over, or FORMER_KEPT_MS.
 */
import type { MeshView, Registrar } from "../hub/mod.ts";
import type { PeerState, PrivateKey, PublicKey } from "../net/mod.ts";
import { monotonicMs, wallMs } from "../sys/mod.ts";
import { type FormerKey, formerKey, removeFormerKey, storeFormerKey } from "./former-key.ts";
import { formerKeyNeed } from "./former-key-need.ts";
import { nodeKey } from "./identity.ts";
import { KeyChange } from "./key-change.ts";
import { info, warn } from "./log.ts";
import type { RoleTunnel } from "./role.ts";

/**
 * PROMOTE_MS: the register has the next key at the latest so long after its first use: who was not moved by then reads of it. It is less than the 15 s
 * after which the engine of a node that was moved asks for the key before again, since nothing came under that: the node would take its word back.
 */
export const PROMOTE_MS = 12_000;
/** Nodes that are moved in one second: each is a handshake. */
const MOST_MOVED = 100;
/** A node that was not moved is tried again after this time. */
const MOVE_AGAIN_MS = 5_000;
/** A peer whose last handshake is older is not there. */
const LIVE_MS = 180_000;
/** Writes that failed are tried again after this time. */
const WRITE_AGAIN_MS = 10_000;

/** HubKeyHooks are what it asks of the rest of the hub. */
export interface HubKeyHooks {
  readonly registrar: Registrar;
  readonly view: () => MeshView;
  readonly tunnel: RoleTunnel;
  /** The hub's key is another one now, stored: take it up. */
  readonly switched: () => void;
  /** The former key is no more. */
  readonly dropped: () => void;
}

/** HubKeyChange keeps where it is. */
export class HubKeyChange {
  readonly #hooks: HubKeyHooks;
  readonly #change: KeyChange;
  #former = formerKey();
  readonly #moved = new Map<PublicKey, number>();
  #switchedMs: number | undefined;
  #wroteMs = Number.NEGATIVE_INFINITY;
  #isWarned = false;
  /** As the device said it last. */
  #peers: readonly PeerState[] = [];

  constructor(hooks: HubKeyHooks) {
    this.#hooks = hooks;
    this.#change = new KeyChange({
      announce: (keys) => this.#write("announce", (name) => hooks.registrar.announceHubKey(name, keys)),
      switching: (key) => {
        const nowMs = wallMs();
        const tokens = hooks.registrar.register.enrolments(nowMs).map(({ id }) => id);
        storeFormerKey({ key, untilMs: nowMs, tokens });
      },
      switched: hooks.switched,
    });
  }

  /** The key before, while the hub answers to it. */
  get former(): PrivateKey | undefined {
    return this.#former?.key;
  }

  /** want asks for another key; throws when this hub cannot have one now. */
  want(): void {
    const problem = this.#hooks.tunnel.twoKeysProblem;
    if (problem !== undefined) throw new Error(`Cannot change this hub's key: ${problem}`);
    const { self } = this.#hooks.view();
    const other = this.#hooks.view().nodes.find((node) => node.hub && node.nextPublicKey !== undefined);
    if (other !== undefined)
      throw new Error(
        `Cannot change this hub's key: hub ${other.name} changes its own now, and hubs do so one after the other; try again in some minutes`,
      );
    if (this.#former !== undefined && self?.nextPublicKey === undefined)
      throw new Error(
        `Cannot change this hub's key: it still answers to the one before, for ${this.#need(this.#former) ?? "some seconds"}; to end that now: causeway node rotate --drop-former`,
      );
    this.#change.want();
  }

  /** drop ends the former key, whoever still needs it. Rejects when the register cannot be written. */
  async drop(): Promise<void> {
    const { self } = this.#hooks.view();
    if (this.#former === undefined)
      throw new Error("Cannot drop the former key: this hub answers to its present one only");
    if (self === undefined || self.publicKey !== nodeKey().publicKey)
      throw new Error(
        "Cannot drop the former key: the register does not have the present one yet; try again in a minute",
      );
    await this.#drop(this.#former, self.name);
  }

  async #drop({ key }: FormerKey, name: string): Promise<void> {
    await this.#hooks.registrar.dropHubKey(name, key.publicKey);
    removeFormerKey();
    this.#former = undefined;
    info("this hub answers to its former key no more");
    this.#hooks.dropped();
  }

  /** look does what is due, once a second. */
  look(peers: readonly PeerState[]): void {
    this.#peers = peers;
    const view = this.#hooks.view();
    const { self } = view;
    if (self === undefined) return;
    const present = nodeKey().publicKey;
    const problem = this.#hooks.tunnel.twoKeysProblem;
    this.#warn(problem);
    const isChanging = this.#change.changing;
    const others = view.nodes.some((node) => node.hub && node.nextPublicKey !== undefined);
    this.#change.look({
      connected:
        problem === undefined &&
        (self.nextPublicKey !== undefined || (!others && (isChanging || this.#former === undefined))),
      self,
      epoch: this.#hooks.registrar.register.epoch,
      hubKey: present,
      maxAgeMs: view.mesh.keyMaxAgeMs,
    });
    if (this.#former === undefined) return;
    if (self.nextPublicKey === present)
      this.#takeAlong(view, peers, { present, former: this.#former.key.publicKey });
    else if (self.publicKey === present) this.#dropWhenDue(this.#former);
  }

  #warn(problem: string | undefined): void {
    if (this.#former === undefined || problem === undefined || this.#isWarned) return;
    this.#isWarned = true;
    warn("this hub does not answer to its former key, which some still know it by", { reason: problem });
  }

  /** The device has both keys: nodes are moved, then the register has the present one. */
  #takeAlong(
    view: MeshView,
    peers: readonly PeerState[],
    { present, former }: { readonly present: PublicKey; readonly former: PublicKey },
  ): void {
    // What cannot be set there yet must not be what nodes go by.
    if (!this.#hooks.tunnel.answersTo(present, former)) return;
    const nowMs = monotonicMs();
    this.#switchedMs ??= nowMs;
    const keys = new Set(view.nodes.flatMap(({ publicKey, nextPublicKey }) => [publicKey, nextPublicKey]));
    const left = peers.filter((peer) => keys.has(peer.publicKey) && peer.former === true && isLive(peer));
    const due = left.filter(
      ({ publicKey }) => nowMs - (this.#moved.get(publicKey) ?? Number.NEGATIVE_INFINITY) >= MOVE_AGAIN_MS,
    );
    const moved = due.slice(0, MOST_MOVED).map(({ publicKey }) => publicKey);
    for (const key of moved) this.#moved.set(key, nowMs);
    if (moved.length > 0) this.#hooks.tunnel.movePeers(moved);
    const isLate = nowMs - this.#switchedMs >= PROMOTE_MS && due.length <= MOST_MOVED;
    // The reading may be from before the switch.
    const isDone = left.length === 0 && nowMs > this.#switchedMs;
    if (isDone || isLate)
      this.#write("promote", async (name) => {
        await this.#hooks.registrar.promoteHubKey(name, present);
        this.#noteTokens();
      });
  }

  /** Until the register has the present key, tokens are made with the one before. */
  #noteTokens(): void {
    const former = this.#former;
    if (former === undefined) return;
    const live = this.#hooks.registrar.register.enrolments(wallMs()).map(({ id }) => id);
    const tokens = [...new Set([...former.tokens, ...live])];
    if (tokens.length === former.tokens.length) return;
    this.#former = { ...former, tokens };
    storeFormerKey(this.#former);
  }

  #dropWhenDue(former: FormerKey): void {
    if (this.#need(former) === undefined) this.#write("drop", (name) => this.#drop(former, name));
  }

  /** Who still needs the key before. */
  #need(former: FormerKey): string | undefined {
    const { self, nodes, peers } = this.#hooks.view();
    const nowMs = wallMs();
    const { register } = this.#hooks.registrar;
    return formerKeyNeed({
      former,
      wallMs: nowMs,
      peers: this.#peers,
      nodes,
      external: peers.filter((peer) => peer.hub === self?.name),
      liveTokens: register.enrolments(nowMs).map(({ id }) => id),
    });
  }

  #write(what: string, write: (name: string) => Promise<void>): void {
    const name = this.#hooks.view().self?.name;
    const nowMs = monotonicMs();
    if (name === undefined || nowMs - this.#wroteMs < WRITE_AGAIN_MS) return;
    this.#wroteMs = nowMs;
    write(name).then(
      () => void (this.#wroteMs = Number.NEGATIVE_INFINITY),
      (error: unknown) => warn(`cannot ${what} this hub's key`, { error }),
    );
  }
}

function isLive({ lastHandshakeMs }: PeerState): boolean {
  return lastHandshakeMs !== undefined && wallMs() - lastHandshakeMs < LIVE_MS;
}
