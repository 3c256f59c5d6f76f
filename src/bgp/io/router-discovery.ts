/**
 * Who is at the other end of a link, for unnumbered sessions: the router whose advertisements arrive; and our own advertisements, so that it finds us.
 *
 * A link has one peer. While it goes on advertising, another router on the link is not listened to; when it has been silent for three intervals, or the
 * interface has gone, the next one to be heard takes its place.
 */
import { type Ip, ipEqual, parseIp, ipBytes } from "../../net/mod.ts";
import { after, Icmp6Link, isErrno, monotonicMs, type Netns } from "../../sys/mod.ts";
import {
  decodeRouterMessage,
  encodeAdvertisement,
  encodeSolicitation,
  ROUTER_ADVERTISEMENT,
  ROUTER_SOLICITATION,
} from "./router-advertisement.ts";

/** RFC 4861 section 6.2.1 has 200 to 600 s; FRR's interval where BGP runs is 10 s. */
const INTERVAL_MS = 10_000;
/** While nobody is known (RFC 4861 section 10: MAX_INITIAL_RTR_ADVERT_INTERVAL is 16 s; here somebody waits). */
const SEARCH_MS = 1_000;
/** MIN_DELAY_BETWEEN_RAS is 3 s for those that go to all; a newcomer gets its answer sooner, so that both sides know each other at once. */
const ANSWER_MS = 500;
const SILENCE_MS = 3 * INTERVAL_MS + 1_000;

const ALL_NODES = ipBytes(parseIp("ff02::1"));
const ALL_ROUTERS = ipBytes(parseIp("ff02::2"));

/** RouterDiscoveryOptions say which link, and who wants to know. */
export interface RouterDiscoveryOptions {
  readonly netns?: Netns | undefined;
  readonly device: string;
  /** The peer is there, or is another one now. */
  readonly found: (address: Ip) => void;
}

/** RouterDiscovery owns the link's ICMPv6 sockets; an interface that is not there yet, or comes back, is taken when it is. */
export class RouterDiscovery implements Disposable {
  readonly #options: RouterDiscoveryOptions;
  #link: Icmp6Link | undefined;
  #peer: { readonly address: Ip; readonly heardMs: number } | undefined;
  #timer: Disposable | undefined;
  #sentMs = Number.NEGATIVE_INFINITY;
  #disposed = false;

  constructor(options: RouterDiscoveryOptions) {
    this.#options = options;
    this.#tick();
  }

  /** The peer's address, once it has been heard. */
  get peer(): Ip | undefined {
    return this.#peer?.address;
  }

  /** Index of the interface while there is one. */
  get index(): number | undefined {
    return this.#link?.index;
  }

  /** saw is told of a peer that made a connection before it was heard. */
  saw(address: Ip): void {
    this.#hear(address);
  }

  #tick(): void {
    if (this.#disposed) return;
    this.#open();
    const sent = this.#advertise();
    if (this.#peer === undefined) this.#link?.send(encodeSolicitation(), ALL_ROUTERS);
    this.#timer?.[Symbol.dispose]();
    const settled = sent && this.#peer !== undefined;
    this.#timer = after(settled ? INTERVAL_MS : SEARCH_MS, () => this.#tick());
  }

  #open(): void {
    if (this.#link !== undefined) return;
    const { netns, device } = this.#options;
    try {
      this.#link = Icmp6Link.open({
        netns,
        device,
        types: [ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT],
        group: ALL_ROUTERS,
        onPacket: (packet) => this.#packet(packet),
        onFailure: () => this.#close(),
      });
    } catch (error) {
      if (!isErrno(error, "ENODEV", "ENXIO", "ENETDOWN", "EADDRNOTAVAIL")) throw error;
    }
  }

  #close(): void {
    const link = this.#link;
    this.#link = undefined;
    link?.[Symbol.dispose]();
    // Whatever is at the other end when the interface comes back may be another one.
    this.#peer = undefined;
    if (this.#disposed) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = after(SEARCH_MS, () => this.#tick());
  }

  #advertise(): boolean {
    if (this.#link?.send(encodeAdvertisement(), ALL_NODES) !== true) return false;
    this.#sentMs = monotonicMs();
    return true;
  }

  #packet(packet: Uint8Array): void {
    const message = decodeRouterMessage(packet);
    if (message === undefined) return;
    if (message.kind === "advertisement") this.#hear(message.source);
    else this.#answer();
  }

  #hear(address: Ip): void {
    const nowMs = monotonicMs();
    const before = this.#peer;
    if (before !== undefined && !ipEqual(before.address, address) && nowMs - before.heardMs < SILENCE_MS)
      return;
    this.#peer = { address, heardMs: nowMs };
    if (before !== undefined && ipEqual(before.address, address)) return;
    this.#answer();
    this.#options.found(address);
  }

  /** Somebody new is there, or asks: it shall know of us before the interval is over. */
  #answer(): void {
    if (monotonicMs() - this.#sentMs >= ANSWER_MS) this.#advertise();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#timer?.[Symbol.dispose]();
    this.#link?.[Symbol.dispose]();
    this.#link = undefined;
  }
}
