/**
 * WireGuard devices on a network that is only time: datagrams take a while, get lost, come twice or in another order, and hours pass
 * in milliseconds. Everything that is random comes from one seed.
 */
import {
  type Endpoint,
  ip,
  type Ip,
  ipBytes,
  parsePrefix,
  PrivateKey,
  type PublicKey,
} from "../../src/net/mod.ts";
import {
  act,
  Device,
  type DeviceEvent,
  type Outcome,
  type Primitives,
  receiveDatagram,
  sendPacket,
  systemPrimitives,
  type Timing,
} from "../../src/tunnel/wireguard/mod.ts";
import { Random } from "./random.ts";

/** Weather is what the network does to a datagram. */
export interface Weather {
  readonly loss?: number;
  readonly twice?: number;
  /** Milliseconds on the way: at least, and how much more by chance, which puts datagrams out of order. */
  readonly delayMs?: number;
  readonly spreadMs?: number;
}

/** End is one device with its place in the network. */
export interface End {
  readonly name: string;
  readonly device: Device;
  readonly key: PrivateKey;
  /** Address of the packets inside. */
  readonly inner: Ip;
  endpoint: Endpoint;
  /** Difference of its wall clock. */
  wallOffsetMs: number;
  /** While asleep it neither hears nor acts. */
  asleep: boolean;
  /** Packets that came out, by their number. */
  readonly heard: number[];
}

interface Flight {
  readonly atMs: number;
  readonly order: number;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** ipv4Packet returns a minimal packet whose payload is a number. */
export function ipv4Packet(
  source: Ip,
  options: { readonly to: Ip; readonly number: number; readonly length?: number },
): Uint8Array<ArrayBuffer> {
  const packet = new Uint8Array(new ArrayBuffer(options.length ?? 40));
  const view = new DataView(packet.buffer);
  packet[0] = 0x45;
  view.setUint16(2, packet.length);
  packet.set(ipBytes(source), 12);
  packet.set(ipBytes(options.to), 16);
  view.setUint32(20, options.number);
  return packet;
}

/** seeded returns the system's primitives with randomness that a seed repeats. */
export function seeded(random: Random): Primitives {
  return { ...systemPrimitives, random: (length) => random.bytes(length) };
}

/** Network carries datagrams between ends, in virtual time. */
export class Network implements Disposable {
  readonly random: Random;
  readonly ends: End[] = [];
  weather: Weather = {};
  nowMs = 1_000;
  /** 2023-11-14. */
  readonly #epochMs = 1_700_000_000_000;
  #flights: Flight[] = [];
  #order = 0;
  /** Called for every datagram that leaves; false takes it off the network. */
  onDatagram:
    ((flight: { from: Endpoint; to: Endpoint; bytes: Uint8Array<ArrayBuffer> }) => boolean) | undefined;
  /** Datagrams that left. */
  sent = 0;

  constructor(seed: number) {
    this.random = new Random(seed);
  }

  /** add makes an end; the n-th has 192.0.2.n:51820 outside and 10.0.0.n inside. */
  add(name: string, options: { readonly timing?: Timing; readonly primitives?: Primitives } = {}): End {
    const number = this.ends.length + 1;
    const end: End = {
      name,
      key: new PrivateKey(this.random.bytes(32)),
      device: new Device({
        primitives: options.primitives ?? seeded(this.random),
        ...(options.timing === undefined ? {} : { timing: options.timing }),
      }),
      inner: ip(4, 0x0a000000n + BigInt(number)),
      endpoint: { ip: ip(4, 0xc0000200n + BigInt(number)), port: 51820 },
      wallOffsetMs: 0,
      asleep: false,
      heard: [],
    };
    this.ends.push(end);
    this.step(end, { kind: "configure", configuration: { privateKey: end.key } });
    return end;
  }

  /** meet makes two ends peers of each other; `endpoints: "a"` leaves the second without the first one's. */
  meet(
    a: End,
    b: End,
    options: { readonly known?: "both" | "by a"; readonly keepaliveSeconds?: number } = {},
  ): void {
    this.introduce(a, b, options);
    if (options.known === "by a") this.introduce(b, a, { ...options, unknown: true });
    else this.introduce(b, a, options);
  }

  introduce(
    to: End,
    other: End,
    options: { readonly unknown?: boolean; readonly keepaliveSeconds?: number } = {},
  ): void {
    const { keepaliveSeconds } = options;
    this.step(to, {
      kind: "configure",
      configuration: {
        peers: [
          {
            publicKey: other.key.publicKey,
            allowedIps: [{ prefix: parsePrefix(`10.0.0.${Number(other.inner.value & 0xffn)}/32`) }],
            ...(options.unknown === true ? {} : { endpoint: other.endpoint }),
            ...(keepaliveSeconds === undefined ? {} : { keepaliveSeconds }),
          },
        ],
      },
    });
  }

  clock(end: End) {
    return { nowMs: this.nowMs, wallMs: this.#epochMs + this.nowMs + end.wallOffsetMs };
  }

  step(end: End, event: DeviceEvent): void {
    this.#carry(end, act(end.device, event, this.clock(end)));
  }

  /** send lets one end send a packet with a number to another. */
  send(from: End, to: End, number: number): void {
    const packet = ipv4Packet(from.inner, { to: to.inner, number });
    this.#carry(from, sendPacket(from.device, packet, this.clock(from)));
  }

  /** deliver hands a datagram to an end at once, from wherever. */
  deliver(to: End, bytes: Uint8Array, from: Endpoint): void {
    this.#carry(to, receiveDatagram(to.device, bytes, { ...this.clock(to), from }));
  }

  #carry(end: End, outcome: Outcome): void {
    for (const packet of outcome.packets)
      end.heard.push(new DataView(packet.buffer, packet.byteOffset).getUint32(20));
    for (const { to, bytes } of outcome.datagrams) {
      this.sent++;
      if (this.onDatagram?.({ from: end.endpoint, to, bytes }) === false) continue;
      this.launch({ from: end.endpoint, to, bytes });
    }
  }

  /** launch puts a datagram on its way, through the weather. */
  launch(flight: {
    readonly from: Endpoint;
    readonly to: Endpoint;
    readonly bytes: Uint8Array<ArrayBuffer>;
  }): void {
    const { loss = 0, twice = 0, delayMs = 0, spreadMs = 0 } = this.weather;
    if (this.random.chance(loss)) return;
    for (let copies = this.random.chance(twice) ? 2 : 1; copies > 0; copies--) {
      const atMs = this.nowMs + delayMs + (spreadMs > 0 ? this.random.below(spreadMs) : 0);
      this.#flights.push({ ...flight, atMs, order: this.#order++ });
    }
  }

  /** Runs everything that happens until then, in order: arrivals and timers. */
  until(endMs: number): void {
    for (;;) {
      this.#flights.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      const flight = this.#flights[0];
      const awake = this.ends.filter((end) => !end.asleep);
      const dueMs = Math.min(...awake.map((end) => end.device.nextDueMs() ?? Number.POSITIVE_INFINITY));
      const atMs = Math.max(this.nowMs, Math.min(flight?.atMs ?? Number.POSITIVE_INFINITY, dueMs));
      if (atMs > endMs) break;
      this.nowMs = atMs;
      if (flight !== undefined && flight.atMs <= atMs) {
        this.#flights.shift();
        const to = this.ends.find(({ endpoint }) => sameEndpoint(endpoint, flight.to));
        if (to !== undefined && !to.asleep) this.deliver(to, flight.bytes, flight.from);
      }
      for (const end of awake)
        if ((end.device.nextDueMs() ?? Number.POSITIVE_INFINITY) <= atMs) this.step(end, { kind: "due" });
    }
    this.nowMs = Math.max(this.nowMs, endMs);
  }

  /** pass lets time go by. */
  pass(ms: number): void {
    this.until(this.nowMs + ms);
  }

  [Symbol.dispose](): void {
    for (const { device } of this.ends) device[Symbol.dispose]();
  }
}

/** peerOf returns what a device reports of a peer. */
export function peerOf(end: End, key: PublicKey) {
  return end.device.read().peers.find(({ publicKey }) => publicKey === key);
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && a.ip.value === b.ip.value && a.ip.family === b.ip.family;
}
