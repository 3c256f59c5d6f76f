/** One queue of a gateway: its two ports, its routes and associations, and the two steps between them. */
import { macBytes } from "../../net/mod.ts";
import type { AeadProvider } from "../../sys/mod.ts";
import { EspFraming } from "../esp/mod.ts";
import { checksumOf } from "../path/checksum.ts";
import { Exchange, type ExchangePorts } from "./exchange.ts";
import type { FramePort } from "./frame-port.ts";
import { GatewayContext } from "./gateway-context.ts";
import { type GatewayReport, reportOf } from "./gateway-report.ts";
import { InboundStep } from "./inbound-step.ts";
import type { GatewayNews, GatewayOrder } from "./order.ts";
import { OutboundStep } from "./outbound-step.ts";
import { RouteBook } from "./route-book.ts";
import type { SideConfiguration } from "./side.ts";

/** So often neighbours are thought of; a turn may take microseconds. */
const NEIGHBOURS_MS = 50;
/** Batches of one direction before the other has its turn. */
const MOST_BATCHES = 8;
/** What a frame needs besides the packet: Ethernet before it; padding, trailer and tag behind. */
const FRAME_OVERHEAD = 14 + 3 + 2 + 16;

/** GatewayOptions are what a queue is made of. */
export interface GatewayOptions {
  readonly provider: AeadProvider;
  readonly privatePort: FramePort;
  readonly publicPort: FramePort;
  readonly private: SideConfiguration;
  readonly public: SideConfiguration;
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
    const { arena } = privatePort.frames;
    const framing = new EspFraming(arena);
    this.#context = new GatewayContext({
      framing,
      sum: checksumOf(arena),
      book: new RouteBook(arena, provider, options.mtuBytes),
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
    this.#setMtu(options.mtuBytes, options.tfc ?? false);
  }

  /** mostMtuBytes is the largest MTU that the frames have room for. */
  get mostMtuBytes(): number {
    return this.#context.privatePort.frames.roomBytes - FRAME_OVERHEAD;
  }

  /** obey changes something between two turns; throws, with nothing changed, where that cannot be. */
  obey(order: GatewayOrder): void {
    const { book, publicHost } = this.#context;
    switch (order.kind) {
      case "mtu":
        return this.#setMtu(order.mtuBytes, order.tfc);
      case "side":
        return this.#context.setSide(order.side, order.configuration);
      case "next-hop":
        return this.#setNextHop(order);
      case "route":
        this.#checkMtu(order.route.mtuBytes ?? book.mtuBytes);
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

  #checkMtu(mtuBytes: number): void {
    if (!Number.isInteger(mtuBytes) || mtuBytes < 0 || mtuBytes > this.mostMtuBytes)
      throw new RangeError(
        `An MTU of ${mtuBytes} bytes is not 0 to ${this.mostMtuBytes}, which the frames have room for; choose a smaller one`,
      );
  }

  #setMtu(mtuBytes: number, tfc: boolean): void {
    this.#checkMtu(mtuBytes);
    this.#context.book.setMtu(mtuBytes);
    this.#context.framing.tfcBytes = tfc ? mtuBytes : 0;
  }

  #setNextHop({ side, family, mac }: Extract<GatewayOrder, { kind: "next-hop" }>): void {
    const host = side === "private" ? this.#context.privateHost : this.#context.publicHost;
    const found = host.side.family(family);
    if (found === undefined)
      throw new Error(`Cannot set a next hop: the ${side} side has no IPv${family} address`);
    if (found.isFixed) return;
    found.resolve(macBytes(mac));
    if (side === "public") this.#context.book.aimAll(host.side);
  }

  /** tick makes it `nowMs`, and does what is due by then. Call it at least each second, and before frames are worked on. */
  tick(nowMs: number): void {
    const context = this.#context;
    context.nowMs = nowMs;
    if (nowMs < this.#neighboursMs) return;
    this.#neighboursMs = nowMs + NEIGHBOURS_MS;
    context.privateHost.neighbour.tick(nowMs);
    context.publicHost.neighbour.tick(nowMs);
  }

  /** runOutbound works on what the private port has, for a while, and returns how many frames that were. */
  runOutbound(): number {
    const { privatePort } = this.#context;
    let frames = 0;
    for (let batch = 0; batch < MOST_BATCHES; batch++) {
      const count = privatePort.receive();
      if (count === 0) break;
      this.#outbound.run(count);
      frames += count;
    }
    return frames;
  }

  /** runInbound works on what the public port has, for a while, and returns how many frames that were. */
  runInbound(): number {
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
