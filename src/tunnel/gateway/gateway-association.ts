/** Associations of a gateway: those of ../esp with their route, limits, and counters. */
import { formatIp } from "../../net/mod.ts";
import type { AeadProvider, Arena, ArenaPool } from "../../sys/mod.ts";
import {
  DEFAULT_WINDOW,
  InboundAssociation,
  newSequenceWindow,
  OutboundAssociation,
  SEQUENCE_WORDS,
  type SequenceWindow,
  storeSequence,
} from "../esp/mod.ts";
import { setXdpEndpoint, XDP_ENDPOINT } from "../xdp/xdp-endpoint.ts";
import type { GatewayRoute } from "./gateway-route.ts";
import type { Encapsulation, GatewayAssociation, InboundOrder, OutboundOrder } from "./order.ts";
import { type Group, newGroup } from "./packet-groups.ts";
import type { Side } from "./side.ts";

const ANY = Number.POSITIVE_INFINITY;
/** Longest inner packet. */
const MOST_PACKET = 65_535;

/** What both directions have. */
abstract class Carrier {
  readonly route: GatewayRoute;
  readonly group: Group = newGroup();
  readonly spi: number;
  readonly endsMs: number;
  /** Inner packets and their bytes. */
  packets = 0;
  bytes = 0;
  readonly #soft: { readonly packets: number; readonly bytes: number };
  readonly #hard: { readonly packets: number; readonly bytes: number };
  #isSoft = false;
  #isHard = false;
  /** Whether the hard limit is reached; `#isHard`: and was told. */
  #isFull = false;

  constructor(route: GatewayRoute, { spi, endsMs = ANY, soft = {}, hard = {} }: GatewayAssociation) {
    this.route = route;
    this.spi = spi;
    this.endsMs = endsMs;
    this.#soft = { packets: soft.packets ?? ANY, bytes: soft.bytes ?? ANY };
    this.#hard = { packets: hard.packets ?? ANY, bytes: hard.bytes ?? ANY };
  }

  /** Whether it may carry something at this moment. */
  isUsable(nowMs: number): boolean {
    return !this.#isFull && nowMs < this.endsMs;
  }

  /** isNear tells whether so many packets may be more than the hard limit lets through: then ask `admits` for each. */
  isNear(packets: number): boolean {
    return (
      this.packets + packets > this.#hard.packets || this.bytes + packets * MOST_PACKET > this.#hard.bytes
    );
  }

  /** admits tells whether so much in all may be carried before `used` is called; if not, the limit is reached. */
  admits(packets: number, bytes: number): boolean {
    if (this.packets + packets > this.#hard.packets || this.bytes + bytes > this.#hard.bytes)
      this.#isFull = true;
    return !this.#isFull;
  }

  /** used counts, and returns which limit was reached by that, if one was. */
  used(packets: number, bytes: number): "soft" | "hard" | undefined {
    this.packets += packets;
    this.bytes += bytes;
    if (this.packets >= this.#hard.packets || this.bytes >= this.#hard.bytes) this.#isFull = true;
    if (this.#isFull && !this.#isHard) {
      this.#isHard = true;
      return "hard";
    }
    if (!this.#isSoft && (this.packets >= this.#soft.packets || this.bytes >= this.#soft.bytes)) {
      this.#isSoft = true;
      return "soft";
    }
    return undefined;
  }
}

/** Outbound seals, and knows the headers that go before what it sealed. */
export class Outbound extends Carrier implements Disposable {
  readonly association: OutboundAssociation;
  readonly keyId: string;
  /** Memory of an XDP_ENDPOINT, and the length of its headers. */
  readonly endpoint: number;
  headerBytes = 0;
  to: OutboundOrder["to"];
  udp: Encapsulation | undefined;
  /** From this sequence number on there is news that they run out, and from which moment on it is told again. */
  warnAt: number;
  warnMs = 0;
  readonly #arena: Arena;
  readonly #pool: ArenaPool;

  constructor(
    parts: { provider: AeadProvider; arena: Arena; pool: ArenaPool; route: GatewayRoute; keyId: string },
    order: OutboundOrder,
  ) {
    super(parts.route, order);
    const sequence = new Int32Array(SEQUENCE_WORDS);
    storeSequence(sequence, order.next);
    this.association = new OutboundAssociation(parts.provider, {
      ...order,
      extended: order.extended ?? true,
      sequence,
    });
    this.#arena = parts.arena;
    this.#pool = parts.pool;
    this.keyId = parts.keyId;
    this.to = order.to;
    this.udp = order.udp;
    this.endpoint = parts.pool.take();
    this.warnAt = this.#middle();
  }

  #middle(): number {
    const { sent, last } = this.association;
    return sent + (last - sent) / 2;
  }

  /** The next sequence number. */
  get next(): number {
    return this.association.sent + 1;
  }

  /** reserve allows sequence numbers up to `last`. */
  reserve(last: number): void {
    const before = this.association.last;
    this.association.reserve(last);
    if (this.association.last === before) return;
    this.warnAt = this.#middle();
    this.warnMs = 0;
  }

  /** aim writes the headers: from the public side to the remote gateway. */
  aim(side: Side): void {
    const family = side.family(this.to.family);
    if (family === undefined)
      throw new Error(
        `Cannot send to ${formatIp(this.to)}: the public side has no IPv${this.to.family} address; give it one`,
      );
    setXdpEndpoint(this.#arena, this.endpoint, {
      nextHop: family.nextHopMac,
      mac: side.mac,
      from: family.own.ip,
      to: this.to,
      ...(this.udp === undefined ? {} : { udp: this.udp }),
    });
    this.headerBytes = this.#arena.view.getInt32(this.endpoint + XDP_ENDPOINT.headerBytes, true);
  }

  [Symbol.dispose](): void {
    this.association[Symbol.dispose]();
    this.#pool.give(this.endpoint);
  }
}

/** Marks all numbers up to the newest as seen. */
function seeAll(window: SequenceWindow, newest: number): void {
  window.next[0] = newest + 1;
  window.bits.fill(0xffff_ffff);
  // Those behind it in its word of the bitmap are not seen; further words are cleared when the window moves.
  window.bits[Math.floor(newest / 32) % window.bits.length] = 2 ** ((newest % 32) + 1) - 1;
}

/** What an association begins with: what it was displaced by knew, or nothing but the greatest number that was seen. */
function windowAfter(order: InboundOrder, newest: number, before: Inbound | undefined): SequenceWindow {
  const size = order.windowPackets ?? DEFAULT_WINDOW;
  const known = before?.association.window;
  if (known !== undefined && known.size === size && newest < (known.next[0] as number)) return known;
  const window = newSequenceWindow(size);
  if (newest > 0) seeAll(window, newest);
  return window;
}

/** Inbound opens. */
export class Inbound extends Carrier implements Disposable {
  readonly association: InboundAssociation;
  /** The name of its key under its SPI. */
  readonly keyId: string;
  /** Packets that were not authentic, that came again or too late, or with a number that cannot be. */
  decryptErrors = 0;
  replayed = 0;
  /** What was opened and is no packet (dummy packets too), or from an address that is not its route's. */
  protocolErrors = 0;
  refusedSource = 0;
  /** When the last authentic packet came; absent: none has. */
  heardMs: number | undefined;

  /** `newest`: numbers up to it are refused. `before` is the association of the same key that it goes on for. */
  constructor(
    parts: { provider: AeadProvider; route: GatewayRoute; keyId: string; newest: number; before?: Inbound },
    order: InboundOrder,
  ) {
    super(parts.route, order);
    const { before } = parts;
    this.keyId = parts.keyId;
    this.association = new InboundAssociation(parts.provider, {
      ...order,
      extended: order.extended ?? true,
      peer: parts.route.index,
      window: windowAfter(order, parts.newest, before),
    });
    if (before === undefined) return;
    const { packets, bytes, decryptErrors, replayed, protocolErrors, refusedSource } = before;
    Object.assign(this, { packets, bytes, decryptErrors, replayed, protocolErrors, refusedSource });
  }

  /** The greatest sequence number that was seen; 0 before the first. */
  get newest(): number {
    return Math.max(0, (this.association.window.next[0] as number) - 1);
  }

  [Symbol.dispose](): void {
    this.association[Symbol.dispose]();
  }
}
