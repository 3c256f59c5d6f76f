/** What both directions of a gateway work with, and whom they tell. */
import type { Arena } from "../../sys/mod.ts";
import { macFromBytes } from "../../net/mod.ts";
import type { EspFraming } from "../esp/mod.ts";
import type { Checksum } from "../path/checksum.ts";
import { newGatewayCounters } from "./counters.ts";
import type { Detour } from "./detour.ts";
import type { FramePort } from "./frame-port.ts";
import type { Inbound, Outbound } from "./gateway-association.ts";
import type { MtuReport } from "./gateway-report.ts";
import { Host, Speakers } from "./host.ts";
import type { GatewayNews, SideName } from "./order.ts";
import type { RouteBook } from "./route-book.ts";
import type { SideConfiguration } from "./side.ts";

/** So often it is told that sequence numbers run out. */
const WARN_AGAIN_MS = 1000;

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
  /** Ways to other queues that routes have or had. */
  readonly detours = new Set<Detour>();
  /** The moment of this turn, in milliseconds of a clock that never goes back. */
  nowMs = 0;
  mtu: MtuReport = { bytes: 0, askedBytes: 0, mostBytes: 0 };
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

  /** setSide gives a side other addresses; a neighbour that stays the same keeps its link address. */
  setSide(name: SideName, configuration: SideConfiguration): void {
    if (name === "public") {
      const before = this.publicHost.side;
      this.publicHost = this.#publicHost(configuration);
      this.publicHost.side.remember(before);
      this.book.aimAll(this.publicHost.side);
    } else {
      const before = this.privateHost.side;
      this.privateHost = this.#privateHost(configuration);
      this.privateHost.side.remember(before);
      this.inner = this.#speakers();
    }
  }

  #privateHost(configuration: SideConfiguration): Host {
    const { counters } = this;
    const view = new DataView(new ArrayBuffer(8));
    const host = new Host(configuration, {
      port: this.privatePort,
      sum: this.sum,
      sent: counters.privateInterface,
      nextHop: counters.privateNextHop,
      icmp4: counters.privateIcmp4,
      icmp6: counters.privateIcmp6,
      asks: this.#parts.asksPrivate,
      learnt: (family, isNew) => this.#learnt("private", family, isNew),
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
      sent: counters.publicInterface,
      nextHop: counters.publicNextHop,
      icmp4: counters.publicIcmp4,
      icmp6: counters.publicIcmp6,
      learnt: (family, isNew) => this.#learnt("public", family, isNew),
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

  /** A neighbour has said its link address: a new one, or for the first time in a while the one that is known. */
  #learnt(side: SideName, family: 4 | 6, isNew: boolean): void {
    const host = side === "private" ? this.privateHost : this.publicHost;
    if (isNew && side === "public") this.book.aimAll(host.side);
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

  /** exhausted counts packets that an association could not carry: it has ended, or has no sequence numbers left. */
  exhausted(outbound: Outbound, packets: number): void {
    const { privateRouter } = this.counters;
    privateRouter.routeErrors += packets;
    privateRouter.exhausted += packets;
    outbound.route.exhausted += packets;
    if (outbound.isUsable(this.nowMs)) this.runningOut(outbound);
  }

  /** runningOut tells that half of the sequence numbers that may be used are: each second, until more may be. */
  runningOut(outbound: Outbound): void {
    if (this.nowMs < outbound.warnMs) return;
    outbound.warnMs = this.nowMs + WARN_AGAIN_MS;
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
