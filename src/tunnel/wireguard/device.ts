/**
 * A device: one private key, its peers, and who may have which addresses. `step(event, clock)` returns what is to be done.
 *
 * It changes in place, because its tables are indexes over the states of all peers; those are values (peer.ts). It opens no
 * socket and reads no clock. The loop around it does three things:
 *
 * ```
 *   datagram ──▶ data?  session(receiver) ─▶ open, replay ─▶ addresses().find(source) ─▶ TUN   then step(received)
 *                else   step(message)
 *   packet ────▶ addresses().find(destination) ─▶ sendable(peer)?  seal ─▶ socket               then step(sent)
 *                                                 else             step(packets)
 *   clock ─────▶ nextDueMs() passed?  step(due)
 * ```
 *
 * A batch is told as one event for each session. Whatever is not authentic ends in silence: `step` returns nothing.
 * slow-path.ts is this loop for one packet at a time.
 */
import {
  type DeviceState,
  type Family,
  type PublicKey,
  publicKeyBytes,
  publicKeyFromBytes,
  Secret,
} from "../../net/mod.ts";
import type { DeviceNews } from "../device-news.ts";
import { AllowedIps } from "./allowed-ips.ts";
import { configure, type Tables } from "./configure.ts";
import type { Clock, DeviceEffect, DeviceEvent, DeviceOptions } from "./device-event.ts";
import { type DeviceImage, keyOf, keyText, peerImage, restorePeer, type SessionImage } from "./image.ts";
import { Indices } from "./indices.ts";
import { keypairsOf } from "./keypair.ts";
import { decodeMessage, type HandshakeMessage } from "./message.ts";
import { OwnIdentities } from "./own-identities.ts";
import type { OwnIdentity } from "./own-identity.ts";
import { stepPeer } from "./peer.ts";
import type { PeerEvent, PeerState, Surroundings } from "./peer-state.ts";
import { Peers } from "./peers.ts";
import { type Primitives, readInitiation, readPayload, systemPrimitives } from "../../noise/mod.ts";
import { describeDevice, describePeer, type DeviceSecrets, secretsOf } from "./report.ts";
import { canSend, ownMemory, type Session, type SessionMemory } from "./session.ts";
import { IDENTIFIER, SPECIFIED, type Timing } from "./specification.ts";

type EventOf<K extends DeviceEvent["kind"]> = Extract<DeviceEvent, { readonly kind: K }>;
type Message<K extends HandshakeMessage["kind"]> = Extract<HandshakeMessage, { readonly kind: K }>;

/** DeviceCounts are the sizes of all tables, which an attacker must not be able to fill. */
export interface DeviceCounts {
  readonly peers: number;
  readonly sessions: number;
  readonly indices: number;
  readonly sources: number;
}

/** Device owns secrets: disposing wipes all of them. */
export class Device implements Disposable {
  readonly primitives: Primitives;
  readonly timing: Timing;
  /** Of the link; set it when the link's changes. */
  mtuBytes: number;
  readonly #memory: SessionMemory;
  readonly #peers = new Peers();
  readonly #allowed = new AllowedIps();
  readonly #indices: Indices;
  readonly #own: OwnIdentities;
  #ownSinceMs = Number.NEGATIVE_INFINITY;
  #listenPort = 0;
  #fwmark = 0;
  /** Sessions that ended in the step before: only now nobody seals with them any more. */
  #ended: Session[] = [];
  #effects: DeviceEffect[] = [];
  #clock: Clock = { nowMs: 0, wallMs: 0 };

  constructor(options: DeviceOptions = {}) {
    this.primitives = options.primitives ?? systemPrimitives;
    this.timing = options.timing ?? SPECIFIED;
    this.mtuBytes = options.mtuBytes ?? 1420;
    this.#memory = options.memory ?? ownMemory;
    this.#indices = new Indices(this.primitives);
    this.#own = new OwnIdentities(this.primitives);
  }

  /** step takes in what happened, and returns what is to be done, in order. */
  step(event: DeviceEvent, clock: Clock): readonly DeviceEffect[] {
    this.#bury();
    this.#effects = [];
    // A clock that goes back would be a bug of the caller; timers must not run backwards for it.
    this.#clock = { ...clock, nowMs: Math.max(clock.nowMs, this.#clock.nowMs) };
    // What was due before comes before, however late: a handshake that begins now must not be wiped with what is over.
    for (const state of this.#peers.due(this.#clock.nowMs)) this.#apply(state, { kind: "due" });
    switch (event.kind) {
      case "due":
        break;
      case "message":
        this.#hear(event);
        break;
      case "packets":
        this.#tell(event.peer, event);
        break;
      case "sent":
      case "received":
        if (this.#lives(event.session)) this.#tell(event.session.peer, event);
        break;
      case "configure":
        this.#configure(event);
        break;
      case "bound":
        this.#listenPort = event.port;
        break;
    }
    return this.#effects;
  }

  /** nextDueMs returns when to step `due`; undefined while no timer runs. It may be early, never late. */
  nextDueMs(): number | undefined {
    return this.#peers.nextDueMs();
  }

  /** publicKey returns the device's own; undefined while it has none. */
  get publicKey(): PublicKey | undefined {
    return this.#own.present?.publicKey;
  }

  /** formerPublicKey returns that of the identity before, while the device still answers to it. */
  get formerPublicKey(): PublicKey | undefined {
    return this.#own.former?.publicKey;
  }

  /** owns tells whether messages with a receiver index are for us. */
  owns(index: number): boolean {
    return this.#indices.peer(index) !== undefined;
  }

  /** session returns the session of a receiver index. It may be over (isOver): then nothing is opened with it. */
  session(index: number): Session | undefined {
    return this.#indices.session(index);
  }

  /** addresses returns who has which addresses of a family; it stays the same object. */
  addresses(family: Family): { find(bytes: Uint8Array, at: number): number | undefined } {
    return this.#allowed.trie(family);
  }

  /** destination returns the peer to which an IP packet goes. */
  destination(packet: Uint8Array): number | undefined {
    return this.#allowed.destination(packet);
  }

  /** source returns the peer from which an IP packet may come. */
  source(packet: Uint8Array): number | undefined {
    return this.#allowed.source(packet);
  }

  /** sendable returns the session under which packets to a peer can be sealed now. */
  sendable(peer: number, nowMs: number): Session | undefined {
    const { current: session, held } = this.#peers.get(peer)?.keypairs ?? {};
    if (held === true) return undefined;
    return session !== undefined && canSend(session, nowMs, this.timing) ? session : undefined;
  }

  /** peer returns the state of a peer, to be read: `endpoint` says where packets go. */
  peer(number: number): PeerState | undefined {
    return this.#peers.get(number);
  }

  /** numberOf returns the number of a peer; undefined if there is none. */
  numberOf(publicKey: PublicKey): number | undefined {
    return this.#peers.withKey(publicKey)?.identity.number;
  }

  /** read returns the device as wg(8) shows it, without secrets. */
  read(): DeviceState {
    const peers = this.#peers.all();
    const allowedIps = this.#allowed.list();
    return describeDevice({
      publicKey: this.publicKey,
      formerPublicKey: this.formerPublicKey,
      listenPort: this.#listenPort,
      peers,
      allowedIps,
    });
  }

  /** news returns what changed since the mark of an earlier answer; everything for a mark of another device's. */
  news(since: number): DeviceNews {
    const { mark, news } = this.#peers.changes.since(since);
    const states =
      news === undefined ? [...this.#peers.all()] : news.peers.flatMap((one) => this.#peers.get(one) ?? []);
    const allowed =
      news === undefined || news.allowed.size > 0 ? this.#allowed.list(news?.allowed) : undefined;
    const allowedOf = ({ identity: { number } }: PeerState) =>
      news === undefined || news.allowed.has(number) ? { allowedIps: allowed?.get(number) ?? [] } : {};
    return {
      mark,
      whole: news === undefined,
      ...(this.publicKey === undefined ? {} : { publicKey: this.publicKey }),
      ...(this.formerPublicKey === undefined ? {} : { formerPublicKey: this.formerPublicKey }),
      listenPort: this.#listenPort,
      gone: news?.gone ?? [],
      peers: states.map((state) => ({ ...describePeer(state), ...allowedOf(state) })),
    };
  }

  /** secrets returns copies of what `read` leaves out. Whoever gets them wipes them. */
  secrets(): DeviceSecrets {
    return secretsOf({
      privateKey: this.#own.present?.secret,
      fwmark: this.#fwmark,
      peers: this.#peers.all(),
    });
  }

  /** image returns what a successor begins with. It holds secrets. `slotOf` tells where in the shared memory a session is. */
  image(slotOf: (session: Session) => number): DeviceImage {
    const allowedIps = this.#allowed.list();
    const { present, former } = this.#own;
    return {
      ...(present === undefined ? {} : { privateKey: keyText(present.secret) }),
      ...(former === undefined ? {} : { formerPrivateKey: keyText(former.secret) }),
      listenPort: this.#listenPort,
      fwmark: this.#fwmark,
      peers: [...this.#peers.all()].map((state) =>
        peerImage(state, { allowedIps: allowedIps.get(state.identity.number) ?? [], slotOf }),
      ),
    };
  }

  /**
   * restore makes this device, which must be new, that of an image, and returns what a data path has to know of it. `memoryOf` gives the
   * memory of a session that goes on.
   */
  restore(
    image: DeviceImage,
    memoryOf: (session: SessionImage) => Uint8Array<ArrayBufferLike> | undefined,
  ): readonly DeviceEffect[] {
    if (this.#own.present !== undefined || this.#peers.size > 0)
      throw new Error("Cannot restore a device that is in use");
    this.#effects = [];
    const { primitives } = this;
    const own = this.#own.setPresent(image.privateKey === undefined ? undefined : keyOf(image.privateKey));
    if (image.formerPrivateKey !== undefined) this.#own.setFormer(keyOf(image.formerPrivateKey));
    this.#listenPort = image.listenPort;
    this.#fwmark = image.fwmark;
    for (const one of image.peers) {
      const shared = own?.key.agree(publicKeyBytes(one.publicKey));
      const number = this.#peers.newNumber(one.publicKey);
      const { state, allowedIps } = restorePeer(one, {
        number,
        primitives,
        memoryOf,
        ...(shared === undefined ? {} : { staticStatic: new Secret(shared) }),
      });
      shared?.fill(0);
      this.#peers.put(state);
      this.#effects.push({ kind: "added", peer: number });
      for (const prefix of allowedIps) {
        this.#allowed.insert(prefix, number);
        this.#effects.push({ kind: "insert", prefix, peer: number });
      }
      for (const session of keypairsOf(state.keypairs)) {
        this.#indices.bind(session);
        this.#effects.push({ kind: "started", session });
      }
    }
    return this.#effects;
  }

  /** counts returns the sizes of all tables. */
  counts(): DeviceCounts {
    return {
      peers: this.#peers.size,
      sessions: this.#peers.sessions().length,
      indices: this.#indices.size,
      sources: this.#own.sources,
    };
  }

  #lives(session: Session): boolean {
    const keypairs = this.#peers.get(session.peer)?.keypairs;
    return keypairs !== undefined && keypairsOf(keypairs).includes(session);
  }

  /** Sessions may have ended before the error: whoever seals with them has to hear of it, or would do so with counters that begin anew. */
  #configure({ configuration }: EventOf<"configure">): void {
    try {
      configure(this.#tables(), configuration);
    } catch (error) {
      this.#effects.push({
        kind: "refused",
        error: error instanceof Error ? error : new Error(String(error)),
      });
    }
  }

  #hear(event: EventOf<"message">): void {
    const { datagram, from, backlog = 0 } = event;
    const message = decodeMessage(datagram);
    if (message === undefined) return;
    // An answer to nothing of ours costs one look into a table.
    const answered = message.kind === "initiation" ? 0 : this.#indices.peer(message.receiver);
    if (answered === undefined) return;
    if (message.kind === "cookie") {
      this.#tell(answered, { kind: "cookie", message });
      return;
    }
    const judged = this.#own.judge({ message, datagram, from, backlog, nowMs: this.#clock.nowMs });
    if (judged === undefined) return;
    const { verdict, own } = judged;
    if (verdict.kind === "reply") this.#effects.push({ kind: "send", to: from, datagram: verdict.datagram });
    if (verdict.kind !== "pass") return;
    if (message.kind === "response") this.#tell(answered, { kind: "response", message, from });
    else this.#meet(own, message, event);
  }

  /** Finds out which peer an initiation is from; only it can know the secret that both static keys share. */
  #meet(own: OwnIdentity, message: Message<"initiation">, { from }: EventOf<"message">): void {
    const heard = readInitiation(
      { primitives: this.primitives, key: own.key, prologue: IDENTIFIER },
      message,
    );
    if (heard === undefined) return;
    const state = this.#peers.withKey(publicKeyFromBytes(heard.remote));
    const former = own === this.#own.former;
    const known = former ? state?.formerStatic : state?.staticStatic;
    // Of the former identity it is not kept for all peers: most never speak to that again.
    const made =
      former && known === undefined && state !== undefined ? own.key.agree(heard.remote) : undefined;
    const staticStatic = known?.reveal() ?? made;
    const timestamp =
      staticStatic === undefined
        ? undefined
        : readPayload(heard, { payload: message.timestamp, staticStatic });
    made?.fill(0);
    if (state === undefined || timestamp === undefined) heard[Symbol.dispose]();
    else this.#apply(state, { kind: "initiation", message, heard, timestamp, from, former });
  }

  #tell(peer: number, event: PeerEvent): void {
    const state = this.#peers.get(peer);
    if (state !== undefined) this.#apply(state, event);
  }

  #apply(before: PeerState, event: PeerEvent): PeerState {
    const [state, effects] = stepPeer(before, event, this.#surroundings());
    this.#peers.put(state);
    for (const effect of effects) {
      if (effect.kind === "started") this.#indices.bind(effect.session);
      if (effect.kind === "ended") {
        this.#indices.release(effect.session.localIndex);
        this.#ended.push(effect.session);
      }
      this.#effects.push(effect.kind === "send" ? { ...effect, peer: state.identity.number } : effect);
    }
    return state;
  }

  #surroundings(): Surroundings {
    return {
      primitives: this.primitives,
      timing: this.timing,
      memory: this.#memory,
      mtuBytes: this.mtuBytes,
      ...this.#clock,
      ...(this.#own.present === undefined ? {} : { key: this.#own.present.key }),
      ...(this.#own.former === undefined ? {} : { formerKey: this.#own.former.key }),
      claimIndex: (peer) => this.#indices.claim(peer),
      releaseIndex: (index) => this.#indices.release(index),
    };
  }

  #tables(): Tables {
    return {
      peers: this.#peers,
      allowed: this.#allowed,
      primitives: this.primitives,
      own: this.#own,
      ownAgeMs: () => this.#clock.nowMs - this.#ownSinceMs,
      setOwnKey: (privateKey) => {
        this.#own.setPresent(privateKey);
        this.#ownSinceMs = this.#clock.nowMs;
      },
      setPort: (port) => {
        if (port !== 0 && port === this.#listenPort) return;
        this.#listenPort = port;
        this.#effects.push({ kind: "listen", port });
      },
      setMark: (mark) => {
        if (mark === this.#fwmark) return;
        this.#fwmark = mark;
        this.#effects.push({ kind: "mark", mark });
      },
      tell: (effect) => void this.#effects.push(effect),
      apply: (state, event) => this.#apply(state, event),
    };
  }

  #bury(): void {
    for (const session of this.#ended) this.#memory.give(session.memory);
    this.#ended = [];
  }

  [Symbol.dispose](): void {
    for (const state of [...this.#peers.all()]) this.#apply(state, { kind: "reset" }).psk?.reveal().fill(0);
    this.#bury();
    this.#own[Symbol.dispose]();
  }
}
