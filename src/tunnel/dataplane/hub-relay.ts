/** The relay (../relay) in the control thread: it is told what the device knows of its peers, and tells the workers. */
import { type Endpoint, type PublicKey, publicKeyBytes } from "../../net/mod.ts";
import {
  imageChange,
  imageCircuits,
  Relay,
  relayCounters,
  type RelayChange,
  type RelayImage,
  relayImage,
  type RelayStep,
  type RelayVerdict,
} from "../relay/mod.ts";
import { macKeys } from "../wireguard/mac.ts";
import type { Device } from "../wireguard/mod.ts";
import { provenMs } from "./round-trip.ts";

/** Circuits and nodes that are over are looked for so often. */
const LOOK_MS = 1000;
const [INITIATION, COOKIE] = [1, 3];

/** HubRelay goes between a device and a relay. */
export class HubRelay {
  readonly #device: Device;
  readonly #relay: Relay;
  #ownKeys: readonly PublicKey[] | undefined;
  #lookedMs = 0;

  constructor(device: Device) {
    this.#device = device;
    this.#relay = new Relay({
      primitives: device.primitives,
      isOwnIndex: (index) => device.owns(index),
    });
  }

  get isOn(): boolean {
    return this.#relay.config.enabled;
  }

  /** configure changes the configuration; throws, with nothing changed, if it cannot be. */
  configure(change: RelayChange, nowMs: number): void {
    const before = this.#relay.config;
    this.#relay.configure(change);
    const { enabled, classes } = this.#relay.config;
    this.#ownKeys = undefined;
    this.#followOwn();
    const all = enabled && !before.enabled;
    for (const key of classes.keys()) {
      if (!all && before.classes.get(key) === classes.get(key)) continue;
      const number = this.#device.numberOf(key);
      if (number !== undefined) this.update(number, nowMs);
    }
  }

  /** update tells what a peer is now. */
  update(number: number, nowMs: number): void {
    if (!this.isOn) return;
    this.#followOwn();
    const state = this.#device.peer(number);
    if (state === undefined) return this.#relay.peer(number, undefined, nowMs);
    const { identity, endpoint, keypairs } = state;
    // While the hub changes its key the session before only receives, and proves as much.
    const session = keypairs.current ?? keypairs.previous;
    const proven = provenMs(session, endpoint);
    const untilMs = (session?.bornMs ?? Number.NEGATIVE_INFINITY) + this.#device.timing.rejectAfterMs;
    this.#relay.peer(
      number,
      {
        publicKey: identity.publicKey,
        macKeys: identity.macKeys,
        ...(endpoint === undefined || untilMs <= nowMs
          ? {}
          : { live: { endpoint, untilMs, ...(proven === undefined ? {} : { provenMs: proven }) } }),
      },
      nowMs,
    );
  }

  #followOwn(): void {
    const { publicKey, formerPublicKey, primitives } = this.#device;
    const keys = [publicKey, formerPublicKey].filter((key) => key !== undefined);
    if (keys.length === this.#ownKeys?.length && keys.every((key, i) => key === this.#ownKeys?.[i])) return;
    this.#ownKeys = keys;
    this.#relay.own(keys.map((key) => macKeys(primitives, publicKeyBytes(key))));
  }

  /** take decides on a datagram that is no data message; undefined if it is no business of the relay's. */
  take(datagram: Uint8Array, from: Endpoint, nowMs: number): RelayVerdict {
    const kind = datagram[0] as number;
    if (!this.isOn || kind < INITIATION || kind > COOKIE) return undefined;
    return this.#relay.take({ datagram, from, nowMs });
  }

  /** carries tells whether data from an address goes on to another node. */
  carries(from: Endpoint, index: number): boolean {
    return this.isOn && this.#relay.carries(from, index);
  }

  /** endpoint returns where a node is. */
  endpoint(node: number): Endpoint | undefined {
    return this.#relay.endpoint(node);
  }

  /** steps returns what workers have to hear of. */
  steps(): readonly RelayStep[] {
    return this.#relay.drain();
  }

  /** all returns what somebody has to hear of who knows nothing yet. */
  all(): readonly RelayStep[] {
    return this.#relay.all();
  }

  /** Interfaces at which the kernel is to send on. */
  get xdpLinks(): readonly string[] {
    return this.isOn ? (this.#relay.config.xdpLinks ?? []) : [];
  }

  /** tick ends what is over. */
  tick(nowMs: number): void {
    if (!this.isOn || nowMs - this.#lookedMs < LOOK_MS) return;
    this.#lookedMs = nowMs;
    this.#relay.due(nowMs);
  }

  /** waitMs returns when to call `tick` at the latest. */
  get waitMs(): number {
    const { liveNodes, circuits } = this.#relay.counts;
    return liveNodes > 0 || circuits > 0 ? LOOK_MS : Number.POSITIVE_INFINITY;
  }

  /** Numbers for get_dataplane. */
  get counters(): Record<string, number> {
    const { forwarded, ...drops } = this.#relay.counters;
    return this.isOn || forwarded > 0
      ? relayCounters({ ...this.#relay.counts, handshakes: forwarded, drops })
      : {};
  }

  /** image returns what a successor begins with. */
  image(): RelayImage {
    return relayImage(this.#relay, (node) => this.#device.peer(node)?.identity.publicKey);
  }

  /** restore goes on with an image, after the device was restored. */
  restore(image: RelayImage, nowMs: number): void {
    this.configure(imageChange(image), nowMs);
    this.#relay.restore(
      imageCircuits(image, (key) => this.#device.numberOf(key)),
      nowMs,
    );
  }
}
