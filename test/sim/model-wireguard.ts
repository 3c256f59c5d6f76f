/**
 * WireGuard as Linux does it (drivers/net/wireguard), without cryptography: sessions, roaming, the single handshake state that makes
 * crossing initiations fail, the timers of timers.c, and a queue that waits for a session.
 */
import type { Endpoint } from "../../src/net/mod.ts";
import type { Reading, SimTunnel, TunnelHost, WireguardDatagram } from "./tunnel.ts";

const REKEY_TIMEOUT_MS = 5_000;
const REKEY_JITTER_MS = 333;
const REKEY_AFTER_MS = 120_000;
const REJECT_AFTER_MS = 180_000;
const KEEPALIVE_MS = 10_000;
const MAX_ATTEMPTS = 18;
const MAX_STAGED = 128;
const INITIATION_BYTES = 148;
const RESPONSE_BYTES = 92;
const DATA_BYTES = 32;

interface Session {
  readonly local: number;
  readonly remote: number;
  readonly bornMs: number;
  readonly initiator: boolean;
}

interface Peer {
  readonly name: string;
  readonly generation: number;
  endpoint: Endpoint | undefined;
  keepaliveMs: number;
  current: Session | undefined;
  previous: Session | undefined;
  next: Session | undefined;
  /** Index of an own initiation that waits for its response. */
  pending: number | undefined;
  attempts: number;
  retryMs: number | undefined;
  lastInitiationMs: number;
  /** Timestamp of the peer's last initiation. */
  theirStampMs: number;
  staged: { readonly payload: number; readonly bytes: number }[];
  rx: number;
  tx: number;
  handshakeMs: number | undefined;
  /** Timers. */
  newHandshakeMs: number | undefined;
  passiveMs: number | undefined;
  persistentMs: number | undefined;
}

/** Of the message inside. */
interface Body {
  readonly from: string;
  readonly generation?: number;
  readonly stampMs?: number;
  readonly payload?: number;
}

let indices = 0;

/** ModelWireguard is one device. */
export class ModelWireguard implements SimTunnel {
  readonly #host: TunnelHost;
  readonly #peers = new Map<string, Peer>();

  constructor(host: TunnelHost) {
    this.#host = host;
  }

  set(name: string, use: Parameters<SimTunnel["set"]>[1]): void {
    const before = this.#peers.get(name);
    const keepaliveMs = (use.keepaliveSeconds ?? 0) * 1000;
    if (before === undefined || before.generation !== use.generation) {
      const peer: Peer = {
        name,
        generation: use.generation,
        endpoint: use.endpoint,
        keepaliveMs,
        current: undefined,
        previous: undefined,
        next: undefined,
        pending: undefined,
        attempts: 0,
        retryMs: undefined,
        lastInitiationMs: Number.NEGATIVE_INFINITY,
        theirStampMs: Number.NEGATIVE_INFINITY,
        staged: [],
        rx: 0,
        tx: 0,
        handshakeMs: undefined,
        newHandshakeMs: undefined,
        passiveMs: undefined,
        persistentMs: undefined,
      };
      this.#peers.set(name, peer);
      if (keepaliveMs > 0) this.#keepalive(peer);
      return;
    }
    if (use.endpoint !== undefined) before.endpoint = use.endpoint;
    const on = keepaliveMs > 0 && before.keepaliveMs === 0;
    before.keepaliveMs = keepaliveMs;
    if (keepaliveMs === 0) before.persistentMs = undefined;
    if (on) this.#keepalive(before);
  }

  send(name: string, payload: number, bytes: number): void {
    const peer = this.#peers.get(name);
    if (peer === undefined) return;
    peer.staged.push({ payload, bytes });
    if (peer.staged.length > MAX_STAGED) peer.staged.shift();
    this.#flush(peer);
  }

  receive(datagram: WireguardDatagram, bytes: number, from: Endpoint): void {
    const body = datagram.body as Body;
    const peer = this.#peers.get(body.from);
    if (peer === undefined) return;
    if (datagram.type === 1)
      this.#onInitiation(peer, datagram, { bytes, from, stampMs: body.stampMs as number });
    else if (datagram.type === 2) this.#onResponse(peer, datagram, { bytes, from });
    else this.#onData(peer, datagram, { bytes, from, payload: body.payload });
  }

  due(): void {
    const now = this.#host.nowMs();
    for (const peer of this.#peers.values()) {
      if (peer.retryMs !== undefined && now >= peer.retryMs) {
        peer.retryMs = undefined;
        if (peer.attempts >= MAX_ATTEMPTS) peer.staged = [];
        else this.#initiate(peer, peer.attempts + 1);
      }
      if (peer.newHandshakeMs !== undefined && now >= peer.newHandshakeMs) {
        peer.newHandshakeMs = undefined;
        this.#initiate(peer, 0);
      }
      if (peer.passiveMs !== undefined && now >= peer.passiveMs) {
        peer.passiveMs = undefined;
        this.#keepalive(peer);
      }
      if (peer.persistentMs !== undefined && now >= peer.persistentMs) {
        peer.persistentMs = undefined;
        this.#keepalive(peer);
      }
    }
  }

  read(name: string): Reading | undefined {
    const peer = this.#peers.get(name);
    if (peer === undefined) return undefined;
    const { rx: rxBytes, tx: txBytes, handshakeMs, endpoint } = peer;
    return {
      rxBytes,
      txBytes,
      ...(handshakeMs === undefined ? {} : { handshakeAgeMs: this.#host.nowMs() - handshakeMs }),
      ...(endpoint === undefined ? {} : { endpoint }),
    };
  }

  #usable(session: Session | undefined): session is Session {
    return session !== undefined && this.#host.nowMs() - session.bornMs < REJECT_AFTER_MS;
  }

  #keepalive(peer: Peer): void {
    if (peer.staged.length === 0) peer.staged.push({ payload: -1, bytes: 0 });
    this.#flush(peer);
  }

  #flush(peer: Peer): void {
    const session = peer.current;
    if (!this.#usable(session)) {
      this.#initiate(peer, 0);
      return;
    }
    const now = this.#host.nowMs();
    for (const { payload, bytes } of peer.staged.splice(0)) {
      const size = DATA_BYTES + ((bytes + 15) & ~15);
      this.#emit(
        peer,
        { kind: "wireguard", type: 4, receiver: session.remote, body: { from: this.#host.name, payload } },
        size,
      );
      peer.passiveMs = undefined;
      if (bytes > 0 && peer.newHandshakeMs === undefined)
        this.#arm(
          peer,
          "newHandshakeMs",
          KEEPALIVE_MS + REKEY_TIMEOUT_MS + this.#host.below(REKEY_JITTER_MS),
        );
    }
    if (session.initiator && now - session.bornMs > REKEY_AFTER_MS) this.#initiate(peer, 0);
  }

  #arm(peer: Peer, timer: "newHandshakeMs" | "passiveMs" | "persistentMs", ms: number): void {
    peer[timer] = this.#host.nowMs() + ms;
    this.#host.wake(this.#host.nowMs() + ms);
  }

  #emit(peer: Peer, datagram: WireguardDatagram, bytes: number): void {
    if (peer.endpoint === undefined) return;
    peer.tx += bytes;
    if (peer.keepaliveMs > 0) this.#arm(peer, "persistentMs", peer.keepaliveMs);
    this.#host.send(peer.endpoint, datagram, bytes);
  }

  #initiate(peer: Peer, attempts: number): void {
    const now = this.#host.nowMs();
    if (peer.endpoint === undefined || now - peer.lastInitiationMs < REKEY_TIMEOUT_MS) return;
    peer.lastInitiationMs = now;
    const local = ++indices;
    const retryMs = now + REKEY_TIMEOUT_MS + this.#host.below(REKEY_JITTER_MS);
    peer.pending = local;
    peer.attempts = attempts;
    peer.retryMs = retryMs;
    this.#host.wake(retryMs);
    const body: Body = { from: this.#host.name, stampMs: now };
    this.#emit(peer, { kind: "wireguard", type: 1, sender: local, for: peer.name, body }, INITIATION_BYTES);
  }

  #heard(peer: Peer, bytes: number, from: Endpoint): void {
    peer.rx += bytes;
    peer.endpoint = from;
    peer.newHandshakeMs = undefined;
    if (peer.keepaliveMs > 0) this.#arm(peer, "persistentMs", peer.keepaliveMs);
  }

  #onInitiation(
    peer: Peer,
    datagram: WireguardDatagram,
    arrival: { readonly bytes: number; readonly from: Endpoint; readonly stampMs: number },
  ): void {
    if (arrival.stampMs <= peer.theirStampMs) return;
    peer.theirStampMs = arrival.stampMs;
    this.#heard(peer, arrival.bytes, arrival.from);
    // One handshake state: an own initiation that is under way is forgotten (noise.c); its timer is not.
    peer.pending = undefined;
    const local = ++indices;
    const remote = datagram.sender as number;
    peer.next = { local, remote, bornMs: this.#host.nowMs(), initiator: false };
    peer.previous = undefined;
    const body: Body = { from: this.#host.name };
    this.#emit(peer, { kind: "wireguard", type: 2, sender: local, receiver: remote, body }, RESPONSE_BYTES);
  }

  #onResponse(
    peer: Peer,
    datagram: WireguardDatagram,
    arrival: { readonly bytes: number; readonly from: Endpoint },
  ): void {
    const { pending } = peer;
    if (pending === undefined || pending !== datagram.receiver) return;
    peer.pending = undefined;
    peer.retryMs = undefined;
    this.#heard(peer, arrival.bytes, arrival.from);
    const bornMs = this.#host.nowMs();
    peer.previous = peer.next ?? peer.current;
    peer.next = undefined;
    peer.current = { local: pending, remote: datagram.sender as number, bornMs, initiator: true };
    peer.handshakeMs = bornMs;
    // The first packet confirms it.
    this.#keepalive(peer);
  }

  #onData(
    peer: Peer,
    datagram: WireguardDatagram,
    arrival: { readonly bytes: number; readonly from: Endpoint; readonly payload: number | undefined },
  ): void {
    const session = [peer.current, peer.previous, peer.next].find((one) => one?.local === datagram.receiver);
    if (!this.#usable(session)) return;
    this.#heard(peer, arrival.bytes, arrival.from);
    if (session === peer.next) {
      peer.previous = peer.current;
      peer.current = session;
      peer.next = undefined;
      peer.retryMs = undefined;
      peer.handshakeMs = this.#host.nowMs();
      if (peer.staged.length > 0) this.#flush(peer);
    }
    if (arrival.bytes > DATA_BYTES) {
      if (peer.passiveMs === undefined) this.#arm(peer, "passiveMs", KEEPALIVE_MS);
      this.#host.deliver(peer.name, arrival.payload as number);
    }
    // Near its end the initiator renews what it receives with (receive.c, keep_key_fresh).
    const ageMs = this.#host.nowMs() - session.bornMs;
    if (session.initiator && ageMs > REJECT_AFTER_MS - KEEPALIVE_MS - REKEY_TIMEOUT_MS)
      this.#initiate(peer, 0);
  }
}
