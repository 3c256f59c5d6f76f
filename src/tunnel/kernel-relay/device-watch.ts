/**
 * The peers of the kernel's WireGuard, as the relay needs them: who has a session, and where. The kernel tells nobody when a peer moves, so it is asked once
 * a second, and before that when a handshake comes from where nobody is known to be.
 */
import { publicKeyBytes, type PublicKey, type WireguardDevice } from "../../net/mod.ts";
import type { Relay } from "../relay/mod.ts";
import { type MacKeys, macKeys } from "../wireguard/mac.ts";
import type { Primitives } from "../wireguard/mod.ts";
import { SPECIFIED } from "../wireguard/specification.ts";

const LOOK_MS = 1000;
/** Looking is at most this part of the time, however often it is asked for. */
const SHARE = 10;

interface Known {
  readonly number: number;
  readonly keys: MacKeys;
}

/** DeviceWatchOptions are what it works with. */
export interface DeviceWatchOptions {
  readonly device: WireguardDevice;
  readonly relay: Relay;
  readonly primitives: Primitives;
  readonly wallMs: () => number;
  /** Told when the device has another port. */
  readonly onPort: (port: number) => void;
}

/** DeviceWatch tells a relay what the device knows. */
export class DeviceWatch {
  readonly #options: DeviceWatchOptions;
  readonly #known = new Map<PublicKey, Known>();
  #numbers = 0;
  #own: { readonly publicKey: PublicKey; readonly keys: MacKeys } | undefined;
  #port = 0;
  #nextMs = 0;
  #soonestMs = 0;

  constructor(options: DeviceWatchOptions) {
    this.#options = options;
  }

  /** hurry: a peer may have moved. */
  hurry(): void {
    this.#nextMs = Math.min(this.#nextMs, this.#soonestMs);
  }

  /** waitMs returns when to call `look` at the latest. */
  waitMs(nowMs: number): number {
    return Math.max(0, Math.ceil(this.#nextMs - nowMs));
  }

  /** look asks the device if that is due. Throws what the kernel says: the link may be gone. */
  look(clock: () => number): boolean {
    const nowMs = clock();
    if (nowMs < this.#nextMs) return false;
    this.#nextMs = nowMs + LOOK_MS;
    this.#read(nowMs);
    this.#soonestMs = clock() + SHARE * (clock() - nowMs);
    return true;
  }

  #read(nowMs: number): void {
    const { device, relay, primitives, wallMs, onPort } = this.#options;
    const { publicKey, listenPort, peers } = device.read();
    if (publicKey !== this.#own?.publicKey)
      this.#own =
        publicKey === undefined
          ? undefined
          : { publicKey, keys: macKeys(primitives, publicKeyBytes(publicKey)) };
    // Each time: a relay that was off has forgotten it.
    relay.own(this.#own === undefined ? [] : [this.#own.keys]);
    if (listenPort !== this.#port) {
      this.#port = listenPort;
      onPort(listenPort);
    }
    const sinceMs = wallMs() - nowMs;
    const here = new Set<PublicKey>();
    for (const { publicKey, endpoint, lastHandshakeMs } of peers) {
      here.add(publicKey);
      const { number, keys } = this.#knownOf(publicKey);
      const untilMs = lastHandshakeMs === undefined ? 0 : lastHandshakeMs - sinceMs + SPECIFIED.rejectAfterMs;
      relay.peer(
        number,
        {
          publicKey,
          macKeys: keys,
          ...(endpoint === undefined || untilMs <= nowMs ? {} : { live: { endpoint, untilMs } }),
        },
        nowMs,
      );
    }
    for (const [key, { number }] of this.#known)
      if (!here.has(key)) {
        this.#known.delete(key);
        relay.peer(number, undefined, nowMs);
      }
  }

  #knownOf(key: PublicKey): Known {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const { primitives } = this.#options;
    const made = { number: ++this.#numbers, keys: macKeys(primitives, publicKeyBytes(key)) };
    this.#known.set(key, made);
    return made;
  }
}
