/**
 * UDP of the public sides: messages of a key exchange, and the sockets by which the kernel opens ESP in UDP (RFC 3948).
 *
 * ```
 * port of the exchange:       | UDP | message |
 * port of the encapsulation:  | UDP | 00 00 00 00 | message |      what is ESP or a keepalive stays in the kernel
 * ```
 */
import { formatIp, type Ip, ipBytes, ipEqual, ipFromBytes } from "../../net/mod.ts";
import { HopReceiver, type Netns } from "../../sys/mod.ts";
import { NON_ESP_MARKER_BYTES } from "../esp/mod.ts";
import type { ExchangePorts, GatewayNews, GatewayOrder, SideConfiguration } from "../gateway/mod.ts";
import { TokenBucket } from "../gateway/token-bucket.ts";

/** Messages that are passed on, each second and queue; the longest one. As in user space (../gateway/exchange.ts). */
const LIMIT = { perSecond: 100, burst: 100, first: 100 } as const;
const MOST_MESSAGE = 1200;

interface Port {
  readonly socket: HopReceiver;
  readonly queue: number;
  readonly own: Ip;
  readonly marker: number;
  /** An association needs it, whatever ports the queue has. */
  readonly isAsked: boolean;
}

/** XfrmExchangeParts are what it works with. */
export interface XfrmExchangeParts {
  readonly netns?: Netns;
  readonly nowMs: () => number;
  readonly tell: (news: GatewayNews, queue: number) => void;
}

/** XfrmExchange owns the sockets; they wake up the process's first thread. */
export class XfrmExchange implements Disposable {
  readonly #parts: XfrmExchangeParts;
  /** By address and port. */
  readonly #ports = new Map<string, Port>();
  readonly #buckets = new Map<number, TokenBucket>();
  /** Messages to the key keeper, beyond the rate or too long, and sent; by queue. */
  readonly #counters = new Map<number, { received: number; limited: number; sent: number }>();

  constructor(parts: XfrmExchangeParts) {
    this.#parts = parts;
  }

  /** set gives a queue its sockets; those that it has already stay. Throws for a port that is taken, and then nothing has changed. */
  set(queue: number, side: SideConfiguration, { exchange, encapsulation }: ExchangePorts): void {
    const wanted = new Set<string>();
    const opened: string[] = [];
    try {
      for (const own of [side.four?.ip, side.six?.ip])
        for (const port of [exchange, encapsulation]) {
          if (own === undefined || port === undefined) continue;
          const name = nameOf(own, port);
          wanted.add(name);
          if (this.#ports.has(name)) continue;
          this.#open(queue, own, {
            port,
            marker: port === encapsulation ? NON_ESP_MARKER_BYTES : 0,
            isAsked: false,
          });
          opened.push(name);
        }
    } catch (error) {
      for (const name of opened) this.#close(name);
      throw error;
    }
    for (const [name, { queue: of, isAsked, own }] of [...this.#ports]) {
      const stays =
        wanted.has(name) || (isAsked && [side.four, side.six].some((one) => one && ipEqual(one.ip, own)));
      if (of === queue && !stays) this.#close(name);
    }
  }

  /** encapsulate makes sure that the kernel opens ESP in UDP that comes to an address and port. */
  encapsulate(queue: number, own: Ip, port: number): void {
    const known = this.#ports.get(nameOf(own, port));
    if (known === undefined)
      return this.#open(queue, own, { port, marker: NON_ESP_MARKER_BYTES, isAsked: true });
    if (known.marker === 0)
      throw new Error(
        `Cannot take ESP in UDP on port ${port}: messages go there without a marker; take another port`,
      );
  }

  #open(
    queue: number,
    own: Ip,
    { port, marker, isAsked }: { readonly port: number; readonly marker: number; readonly isAsked: boolean },
  ): void {
    const { netns } = this.#parts;
    const socket = HopReceiver.open(own.family, {
      ...(netns !== undefined && { netns }),
      address: ipBytes(own),
      port,
      opensEsp: marker > 0,
      onDatagram: ({ bytes, source, sourcePort }) =>
        this.#pass(queue, {
          ...{ from: ipFromBytes(source), fromPort: sourcePort, to: own, toPort: port },
          bytes: marker === 0 ? bytes : unmarked(bytes),
        }),
    });
    this.#ports.set(nameOf(own, port), { socket, queue, own, marker, isAsked });
  }

  #pass(
    queue: number,
    {
      bytes,
      ...rest
    }: Omit<Extract<GatewayNews, { kind: "exchange" }>, "kind" | "bytes"> & { bytes: Uint8Array | undefined },
  ): void {
    if (bytes === undefined) return;
    const counters = this.counters(queue);
    const bucket = this.#buckets.get(queue) ?? new TokenBucket(LIMIT);
    this.#buckets.set(queue, bucket);
    if (bytes.length > MOST_MESSAGE || !bucket.take(this.#parts.nowMs())) {
      counters.limited++;
      return;
    }
    counters.received++;
    this.#parts.tell({ kind: "exchange", ...rest, bytes: new Uint8Array(bytes) }, queue);
  }

  /** counters returns what a queue has counted. */
  counters(queue: number): { received: number; limited: number; sent: number } {
    const counters = this.#counters.get(queue) ?? { received: 0, limited: 0, sent: 0 };
    this.#counters.set(queue, counters);
    return counters;
  }

  /** send sends a message; one that cannot leave now is lost, as on any network. Throws for what could never be sent. */
  send(queue: number, own: Ip | undefined, order: Extract<GatewayOrder, { kind: "exchange" }>): void {
    const { to, toPort, fromPort, bytes } = order;
    if (own === undefined)
      throw new Error(`Cannot send a message: the public side has no IPv${to.family} address; give it one`);
    if (bytes.length > MOST_MESSAGE)
      throw new RangeError(`Cannot send a message of ${bytes.length} bytes: at most ${MOST_MESSAGE} can be`);
    const port = this.#ports.get(nameOf(own, fromPort));
    if (port === undefined)
      throw new Error(
        `Cannot send a message from port ${fromPort}: it is none of the queue's; give it that port`,
      );
    const datagram = new Uint8Array(port.marker + bytes.length);
    datagram.set(bytes, port.marker);
    if (port.socket.send(datagram, { address: ipBytes(to), port: toPort })) this.counters(queue).sent++;
  }

  /** remove closes a queue's sockets. */
  remove(queue: number): void {
    for (const [name, port] of [...this.#ports]) if (port.queue === queue) this.#close(name);
  }

  #close(name: string): void {
    this.#ports.get(name)?.socket[Symbol.dispose]();
    this.#ports.delete(name);
  }

  [Symbol.dispose](): void {
    for (const name of [...this.#ports.keys()]) this.#close(name);
  }
}

const nameOf = (own: Ip, port: number) => `${formatIp(own)} ${port}`;

/** What stands behind the marker; undefined for what has none: what the kernel does not take for ESP, nobody wants. */
function unmarked(bytes: Uint8Array): Uint8Array | undefined {
  const has =
    bytes.length >= NON_ESP_MARKER_BYTES &&
    bytes.subarray(0, NON_ESP_MARKER_BYTES).every((byte) => byte === 0);
  return has ? bytes.subarray(NON_ESP_MARKER_BYTES) : undefined;
}
