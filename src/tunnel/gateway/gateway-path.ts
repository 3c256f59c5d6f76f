/** One queue of a gateway: its two ports, its routes and associations, and the two steps between them. */
import { macBytes, macFromBytes } from "../../net/mod.ts";
import type { AeadProvider } from "../../sys/mod.ts";
import { EspFraming } from "../esp/mod.ts";
import { checksumOf } from "../path/checksum.ts";
import type { Detour } from "./detour.ts";
import { Exchange, type ExchangePorts } from "./exchange.ts";
import type { FramePort } from "./frame-port.ts";
import { GatewayContext } from "./gateway-context.ts";
import { type GatewayReport, reportOf } from "./gateway-report.ts";
import { InboundStep } from "./inbound-step.ts";
import { refuseLong } from "./long-frames.ts";
import type { GatewayNews, GatewayOrder, RouteOrder } from "./order.ts";
import { checkOrder, checkSide } from "./order-check.ts";
import { OutboundStep } from "./outbound-step.ts";
import { RouteBook } from "./route-book.ts";
import type { SideConfiguration } from "./side.ts";

/** So often neighbours are thought of; a turn may take microseconds. */
const NEIGHBOURS_MS = 50;
/** Batches of one direction before the other has its turn. */
const MOST_BATCHES = 8;
/**
 * What a frame needs besides the inner packet when it is sealed: Ethernet, IPv6, UDP, SPI with number and IV; padding, trailer and tag. It is more
 * than what is needed here, where headers grow into the headroom: another gateway with the same frames is to receive it.
 */
const FRAME_OVERHEAD = 14 + 40 + 8 + 16 + 3 + 2 + 16;

/** mostMtuOf returns the largest MTU that frames with so many bytes behind the headroom have room for. */
export function mostMtuOf(roomBytes: number): number {
  return roomBytes - FRAME_OVERHEAD;
}

/** GatewayOptions are what a queue is made of. */
export interface GatewayOptions {
  readonly provider: AeadProvider;
  readonly privatePort: FramePort;
  readonly publicPort: FramePort;
  readonly private: SideConfiguration;
  readonly public: SideConfiguration;
  /** Largest inner packet; what the frames have no room for is not carried (GatewayReport.mtu). */
  readonly mtuBytes: number;
  /** Whether all packets are padded to the MTU; default false. */
  readonly tfc?: boolean;
  readonly ports?: ExchangePorts;
  /** Whether this queue asks for the private side's neighbour; of several on one interface one does. Default true. */
  readonly asksPrivate?: boolean;
  /** Hears news, during a turn: it must not give orders then. */
  readonly tell: (news: GatewayNews) => void;
}

/** GatewayPath owns the associations. */
export class GatewayPath implements Disposable {
  readonly #context: GatewayContext;
  readonly #outbound: OutboundStep;
  readonly #inbound: InboundStep;
  readonly #exchange: Exchange;
  #neighboursMs = 0;

  constructor(options: GatewayOptions) {
    const { privatePort, publicPort, provider, tell, asksPrivate = true } = options;
    if (privatePort.frames !== publicPort.frames)
      throw new RangeError("The ports of a gateway have different frames; give both the same");
    checkSide("private", options.private);
    checkSide("public", options.public);
    const { arena } = privatePort.frames;
    const framing = new EspFraming(arena);
    this.#context = new GatewayContext({
      framing,
      sum: checksumOf(arena),
      book: new RouteBook(arena, provider),
      privatePort,
      publicPort,
      private: options.private,
      public: options.public,
      asksPrivate,
      tell,
    });
    this.#exchange = new Exchange(this.#context, options.ports ?? {});
    this.#outbound = new OutboundStep(this.#context);
    this.#inbound = new InboundStep(this.#context, { outbound: this.#outbound, exchange: this.#exchange });
    this.obey({ kind: "mtu", mtuBytes: options.mtuBytes, tfc: options.tfc ?? false });
  }

  /** mostMtuBytes is the largest MTU that the frames have room for. */
  get mostMtuBytes(): number {
    return mostMtuOf(this.#context.privatePort.frames.roomBytes);
  }

  /** obey changes something between two turns; throws, with nothing changed, where that cannot be. */
  obey(order: GatewayOrder): void {
    const { book, publicHost } = this.#context;
    checkOrder(order);
    switch (order.kind) {
      case "mtu":
        return this.#setMtu(order.mtuBytes, order.tfc);
      case "side":
        return this.#context.setSide(order.side, order.configuration);
      case "next-hop":
        return this.#setNextHop(order);
      case "route":
        this.#checkRoom(order.route);
        return book.setRoute(order.route);
      case "remove-route":
        return book.removeRoute(order.name);
      case "inbound":
        return book.addInbound(order.association);
      case "remove-inbound":
        return book.removeInbound(order.spi);
      case "outbound":
        return book.addOutbound(order.association, publicHost.side);
      case "move-outbound":
        return book.moveOutbound(order.route, order.spi);
      case "remove-outbound":
        return book.removeOutbound(order.route, order.spi);
      case "reserve":
        return book.outbound(order.route, order.spi).reserve(order.last);
      case "endpoint":
        return book.retarget(book.outbound(order.route, order.spi), order, publicHost.side);
      case "exchange":
        return this.#exchange.send(order);
    }
  }

  /** setPorts has it listen to other ports of the exchange; associations stay. */
  setPorts(ports: ExchangePorts): void {
    this.#exchange.ports = ports;
  }

  /** detour hands a route's packets of the private side over to another queue; without one they leave by its own association. Throws without the route. */
  detour(route: string, detour: Detour | undefined): void {
    this.#context.book.detour(route, detour);
    if (detour !== undefined) this.#context.detours.add(detour);
  }

  /** isDetoured tells whether any route's packets go by another queue. */
  get isDetoured(): boolean {
    return this.#context.book.isDetoured;
  }

  #checkRoom({ name, mtuBytes }: RouteOrder): void {
    if (mtuBytes !== undefined && mtuBytes > this.mostMtuBytes)
      throw new RangeError(
        `Cannot obey an order about route ${name}: mtuBytes is ${mtuBytes}, and the frames have room for ${this.mostMtuBytes}; choose a smaller one, or larger frames`,
      );
  }

  #setMtu(askedBytes: number, tfc: boolean): void {
    const bytes = Math.min(askedBytes, this.mostMtuBytes);
    this.#context.mtu = { bytes, askedBytes, mostBytes: this.mostMtuBytes };
    this.#context.book.setMtu(bytes);
    this.#context.framing.tfcBytes = tfc ? bytes : 0;
  }

  #setNextHop({ side, family, mac }: Extract<GatewayOrder, { kind: "next-hop" }>): void {
    const host = side === "private" ? this.#context.privateHost : this.#context.publicHost;
    const found = host.side.family(family);
    if (found === undefined)
      throw new Error(`Cannot set a next hop: the ${side} side has no IPv${family} address`);
    // Told again and again by another queue: only what is new costs anything.
    if (found.isFixed || (found.isResolved && macFromBytes(found.nextHopMac) === mac)) return;
    found.resolve(macBytes(mac));
    if (side === "public") this.#context.book.aimAll(host.side);
  }

  /** tick makes it `nowMs` (a clock that goes back stands still), and does what is due by then. Call it each second when nothing comes. */
  tick(nowMs: number): void {
    const context = this.#context;
    if (nowMs > context.nowMs) context.nowMs = nowMs;
    if (context.nowMs < this.#neighboursMs) return;
    this.#neighboursMs = context.nowMs + NEIGHBOURS_MS;
    context.privateHost.neighbour.tick(context.nowMs);
    context.publicHost.neighbour.tick(context.nowMs);
  }

  /** runOutbound works on what the private port has, for a while, and returns how many frames that were. It is `nowMs`, as for `tick`. */
  runOutbound(nowMs: number): number {
    this.tick(nowMs);
    const { privatePort } = this.#context;
    let frames = 0;
    for (let batch = 0; batch < MOST_BATCHES; batch++) {
      const count = privatePort.receive();
      if (privatePort.cuts !== undefined && privatePort.cuts > 0) this.#refuseLong();
      if (count === 0) break;
      this.#outbound.run(count);
      frames += count;
    }
    return frames;
  }

  /** runHanded works on what other queues have handed over, for a while, and returns how many frames that were. */
  runHanded(inbox: FramePort, nowMs: number): number {
    this.tick(nowMs);
    let frames = 0;
    for (let batch = 0; batch < MOST_BATCHES; batch++) {
      const count = inbox.receive();
      if (count === 0) break;
      this.#outbound.runHanded(inbox, count);
      frames += count;
    }
    return frames;
  }

  #refuseLong(): void {
    refuseLong(this.#context);
    this.#context.privatePort.flush();
  }

  /** runInbound works on what the public port has, for a while, and returns how many frames that were. It is `nowMs`, as for `tick`. */
  runInbound(nowMs: number): number {
    this.tick(nowMs);
    const { publicPort } = this.#context;
    let frames = 0;
    for (let batch = 0; batch < MOST_BATCHES; batch++) {
      const count = publicPort.receive();
      if (count === 0) break;
      this.#inbound.run(count);
      frames += count;
    }
    return frames;
  }

  /** report tells what was carried so far. */
  report(): GatewayReport {
    return reportOf(this.#context);
  }

  [Symbol.dispose](): void {
    this.#context.book[Symbol.dispose]();
  }
}
