/** Networks that carry datagrams: delay, jitter, disorder, loss, cuts in one direction, and a largest packet. */
import { type Endpoint, type Ip, ipCompare } from "../../src/net/mod.ts";
import type { Random } from "../support/random.ts";
import type { VirtualTime } from "./virtual-time.ts";

/** Datagram is on its way; `content` is whatever the ends understand. */
export interface Datagram {
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** UDP payload. */
  readonly bytes: number;
  readonly content: unknown;
}

/** Weather is what the way of one attachment does to datagrams. */
export interface Weather {
  readonly delayMs: number;
  readonly jitterMs?: number;
  readonly loss?: number;
  /** Largest IP packet. */
  readonly mtuBytes?: number;
}

/** Attachment is one plug in a network. */
export interface Attachment {
  /** Whose it is: cuts are between owners. */
  readonly owner: string;
  readonly ip: Ip;
  weather: Weather;
  readonly receive: (datagram: Datagram) => void;
}

const HEADERS_BYTES = { 4: 28, 6: 48 } as const;

/** addressKey is an address as the key of a map. */
export function addressKey(ip: Ip): string {
  return `${ip.family}/${ip.value}`;
}

/** Network joins attachments; what is for nobody goes to the gateway, if there is one. */
export class Network {
  gateway: ((datagram: Datagram) => void) | undefined;
  readonly #time: VirtualTime;
  readonly #random: Random;
  readonly #attached = new Map<string, Attachment>();
  readonly #cuts = new Set<string>();

  constructor(time: VirtualTime, random: Random) {
    this.#time = time;
    this.#random = random;
  }

  attach(attachment: Attachment): void {
    this.#attached.set(addressKey(attachment.ip), attachment);
  }

  detach(ip: Ip): void {
    this.#attached.delete(addressKey(ip));
  }

  has(ip: Ip): boolean {
    return this.#attached.has(addressKey(ip));
  }

  /** cut lets nothing more through from one owner to another. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  mend(): void {
    this.#cuts.clear();
  }

  /** send takes a datagram from an attachment. */
  send(datagram: Datagram, from: Attachment): void {
    const to = this.#attached.get(addressKey(datagram.to.ip));
    if (to === undefined) {
      if (ipCompare(datagram.to.ip, from.ip) !== 0) this.gateway?.(datagram);
      return;
    }
    if (this.#cuts.has(`${from.owner}>${to.owner}`)) return;
    const size = datagram.bytes + HEADERS_BYTES[datagram.to.ip.family];
    let delay = 0;
    for (const { delayMs, jitterMs = 0, loss = 0, mtuBytes = 1500 } of [from.weather, to.weather]) {
      if (size > mtuBytes || (loss > 0 && this.#random.chance(loss))) return;
      delay += delayMs + (jitterMs > 0 ? this.#random.below(jitterMs) : 0);
    }
    this.#time.after(delay, () => {
      // Who had the address may have gone meanwhile.
      if (this.#attached.get(addressKey(datagram.to.ip)) === to) to.receive(datagram);
    });
  }
}
