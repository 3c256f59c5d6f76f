/** What both directions of a gateway work with, and whom they tell. */
import type { Arena } from "../../sys/mod.ts";
import { macFromBytes } from "../../net/mod.ts";
import type { EspFraming } from "../esp/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { newGatewayCounters } from "./counters.ts";
import type { FramePort } from "./frame-port.ts";
import type { Inbound, Outbound } from "./gateway-association.ts";
import { Host, Speakers } from "./host.ts";
import type { GatewayNews, SideName } from "./order.ts";
import type { RouteBook } from "./route-book.ts";
import type { SideConfiguration } from "./side.ts";

/** ContextParts are what a context is made of. */
export interface ContextParts {
  readonly framing: EspFraming;
  readonly sum: Checksum;
  readonly book: RouteBook;
  readonly privatePort: FramePort;
  readonly publicPort: FramePort;
  readonly private: SideConfiguration;
  readonly public: SideConfiguration;
  /** Whether this queue asks for the private neighbour. */
  readonly asksPrivate: boolean;
  readonly tell: (news: GatewayNews) => void;
}

/** GatewayContext changes only between turns. */
export class GatewayContext {
  readonly arena: Arena;
  readonly framing: EspFraming;
  readonly sum: Checksum;
  readonly book: RouteBook;
  readonly privatePort: FramePort;
  readonly publicPort: FramePort;
  readonly counters = newGatewayCounters();
  /** The moment of this turn, in milliseconds of a clock that never goes back. */
  nowMs = 0;
  privateHost: Host;
  publicHost: Host;
  /** What speaks through the tunnel for the private side's addresses. */
  inner: Speakers;
  readonly #parts: ContextParts;
  readonly #view: DataView;
  #privateHigh = 0;
  #privateLow = 0;
  #publicHigh = 0;
  #publicLow = 0;

  constructor(parts: ContextParts) {
    this.#parts = parts;
    this.arena = parts.privatePort.frames.arena;
    this.#view = this.arena.view;
    this.framing = parts.framing;
    this.sum = parts.sum;
    this.book = parts.book;
    this.privatePort = parts.privatePort;
    this.publicPort = parts.publicPort;
    this.privateHost = this.#privateHost(parts.private);
    this.inner = this.#speakers();
    this.publicHost = this.#publicHost(parts.public);
  }

  /** setSide gives a side other addresses. */
  setSide(name: SideName, configuration: SideConfiguration): void {
    if (name === "public") {
      this.publicHost = this.#publicHost(configuration);
      this.book.aimAll(this.publicHost.side);
    } else {
      this.privateHost = this.#privateHost(configuration);
      this.inner = this.#speakers();
    }
  }

  #privateHost(configuration: SideConfiguration): Host {
    const { counters } = this;
    const view = new DataView(new ArrayBuffer(8));
    const host = new Host(configuration, {
      port: this.privatePort,
      sum: this.sum,
      nextHop: counters.privateNextHop,
      icmp4: counters.privateIcmp4,
      icmp6: counters.privateIcmp6,
      asks: this.#parts.asksPrivate,
      learnt: (family) => this.#learnt("private", family),
    });
    new Uint8Array(view.buffer).set(host.side.mac);
    [this.#privateHigh, this.#privateLow] = [view.getInt32(0), view.getUint16(4)];
    return host;
  }

  #publicHost(configuration: SideConfiguration): Host {
    const { counters } = this;
    const view = new DataView(new ArrayBuffer(8));
    const host = new Host(configuration, {
      port: this.publicPort,
      sum: this.sum,
      nextHop: counters.publicNextHop,
      icmp4: counters.publicIcmp4,
      icmp6: counters.publicIcmp6,
      learnt: (family) => this.#learnt("public", family),
    });
    new Uint8Array(view.buffer).set(host.side.mac);
    [this.#publicHigh, this.#publicLow] = [view.getInt32(0), view.getUint16(4)];
    return host;
  }

  #speakers(): Speakers {
    const { arena, sum, counters } = this;
    const { inboundIcmp4: four, inboundIcmp6: six } = counters;
    return new Speakers(arena, this.privateHost.side, { sum, four, six });
  }

  /** isForPrivate tells whether a frame of the private port is for our link address. */
  isForPrivate(at: number): boolean {
    return this.#view.getInt32(at) === this.#privateHigh && this.#view.getUint16(at + 4) === this.#privateLow;
  }

  /** isForPublic tells the same of the public port. */
  isForPublic(at: number): boolean {
    return this.#view.getInt32(at) === this.#publicHigh && this.#view.getUint16(at + 4) === this.#publicLow;
  }

  #learnt(side: SideName, family: 4 | 6): void {
    const host = side === "private" ? this.privateHost : this.publicHost;
    if (side === "public") this.book.aimAll(host.side);
    const mac = host.side.family(family)?.nextHopMac;
    if (mac !== undefined) this.tell({ kind: "next-hop", side, family, mac: macFromBytes(mac) });
  }

  /** tell passes on news. */
  tell(news: GatewayNews): void {
    this.#parts.tell(news);
  }

  /** sealed counts what left by an association, once for each batch. */
  sealed(outbound: Outbound, packets: number, bytes: number): void {
    const { route, spi } = outbound;
    route.txpackets += packets;
    route.txbytes += bytes;
    const limit = outbound.used(packets, bytes);
    if (limit !== undefined)
      this.tell({ kind: "limit", direction: "outbound", route: route.name, spi, limit });
  }

  /** runningOut tells, once, that half of the sequence numbers that may be used are. */
  runningOut(outbound: Outbound): void {
    outbound.warnAt = Number.POSITIVE_INFINITY;
    const { route, spi } = outbound;
    this.tell({ kind: "limit", direction: "outbound", route: route.name, spi, limit: "sequence" });
  }

  /** opened counts what came by an association, once for each batch with something authentic. */
  opened(inbound: Inbound, packets: number, bytes: number): void {
    const { route, spi } = inbound;
    if (inbound.heardMs === undefined) this.tell({ kind: "heard", route: route.name, spi });
    inbound.heardMs = this.nowMs;
    route.rxpackets += packets;
    route.rxbytes += bytes;
    const limit = inbound.used(packets, bytes);
    if (limit !== undefined)
      this.tell({ kind: "limit", direction: "inbound", route: route.name, spi, limit });
  }
}
