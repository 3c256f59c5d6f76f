/**
 * XfrmOutbound: an association of the kernel that seals.
 *
 * Its sequence numbers go on wherever the kernel's association is made anew (the remote gateway has moved, padding has changed, more numbers
 * were reserved): what was used is told by the kernel when the one before ends. Where that word is lost, it is not made again.
 */
import { formatIp, type Ip } from "../../net/mod.ts";
import type { SaChange, SaInfo } from "../../netlink/mod.ts";
import { LAST_SEQUENCE } from "../esp/mod.ts";
import type { Encapsulation, OutboundOrder } from "../gateway/mod.ts";
import { type CarrierLimit, XfrmCarrier } from "./xfrm-carrier.ts";

/** OutboundEnds are what the kernel's association is made with, apart from the order. */
export interface OutboundEnds {
  /** The public side's address; absent: it has none of that family. */
  readonly from: Ip | undefined;
  /** All packets are padded to this length; 0 is none. */
  readonly tfcBytes: number;
  readonly nowMs: number;
}

/** XfrmOutbound owns its association in the kernel, and its key. */
export class XfrmOutbound extends XfrmCarrier {
  readonly keyId: string;
  to: Ip;
  udp: Encapsulation | undefined;
  /** The public side's address that it was made with. */
  from: Ip | undefined;
  tfcBytes = 0;
  /** The sequence number that the kernel's association began with, and the last that may be used. */
  #first: number;
  #most: number;
  /** From this sequence number on there is news that they run out, once. */
  #warnAt: number;
  #isWarned = false;
  /** Nobody knows which sequence numbers were used: it is never made again. */
  #isLost = false;

  constructor(
    parts: ConstructorParameters<typeof XfrmCarrier>[0] & { readonly keyId: string },
    order: OutboundOrder,
  ) {
    super(parts, order);
    const greatest = LAST_SEQUENCE[this.extended ? "extended" : "plain"];
    this.keyId = parts.keyId;
    this.to = order.to;
    this.udp = order.udp;
    this.#first = order.next;
    this.#most = Math.min(order.last ?? greatest, greatest);
    this.#warnAt = this.#middle();
  }

  #middle(): number {
    return Math.floor(this.next + (this.#most - this.next) / 2);
  }

  /** The next sequence number, as of when the kernel was looked at last. */
  get next(): number {
    return this.#isLost ? LAST_SEQUENCE.extended : this.#first + this.packets - this.beforePackets;
  }

  /** The last that may be used. */
  get most(): number {
    return this.#most;
  }

  /** install makes the kernel's association; nothing if there is nothing left that it may carry. */
  install(ends: OutboundEnds): void {
    if (this.#isLost) throw new Error(`${this.#name()} ended with its count unknown; agree on a new key`);
    if (this.isWorn || this.#first > this.#most || this.isInstalled) return;
    const change = this.#change(ends);
    this.kernel.add(change);
    this.installed({ destination: change.destination, spi: this.spi }, ends.nowMs);
    this.from = change.source;
    this.tfcBytes = ends.tfcBytes;
  }

  /** check throws where it could not be made with these ends. */
  check(ends: OutboundEnds): void {
    this.#change(ends);
  }

  /** hasEnds tells whether the kernel's association was made with these. */
  hasEnds({ from, tfcBytes }: OutboundEnds): boolean {
    return this.from?.value === from?.value && this.tfcBytes === tfcBytes;
  }

  /** move makes it anew with other ends. What could not be before it is taken away is refused before. */
  move(where: { readonly to: Ip; readonly udp?: Encapsulation | undefined }, ends: OutboundEnds): void {
    const before = { to: this.to, udp: this.udp };
    Object.assign(this, { to: where.to, udp: where.udp });
    try {
      this.#change(ends);
    } catch (error) {
      Object.assign(this, before);
      throw error;
    }
    if (!this.isInstalled) return;
    this.take();
    this.install(ends);
  }

  /** reserve allows sequence numbers up to `last`, never fewer than before. */
  reserve(last: number, ends: OutboundEnds): void {
    const greatest = LAST_SEQUENCE[this.extended ? "extended" : "plain"];
    this.#most = Math.max(this.#most, Math.min(last, greatest));
    this.look();
    this.#warnAt = this.#middle();
    this.#isWarned = false;
    this.renew(ends);
  }

  /** expired takes the kernel's news of a limit, and returns what that is for the gateway; after a soft one it is to be renewed. */
  expired(sa: SaInfo, hard: boolean): (CarrierLimit | "sequence")[] {
    this.count(sa);
    if (hard) this.ended();
    const news: (CarrierLimit | "sequence")[] = [];
    for (let limit = this.reached(); limit !== undefined; limit = this.reached()) news.push(limit);
    if (!this.#isWarned && this.next > this.#warnAt) {
      this.#isWarned = true;
      news.push("sequence");
    }
    // By its time, which the kernel measures with a clock that can be set.
    if (hard && news.length === 0 && this.#first <= this.#most) {
      this.wear();
      news.push("hard");
    }
    return news;
  }

  /** renew gives the kernel's association the limits of now, or makes it again if it ended for lack of numbers. */
  renew(ends: OutboundEnds): void {
    if (this.isInstalled && this.kernel.update(this.#change(ends))) return;
    if (this.isInstalled) this.take();
    this.install(ends);
  }

  #change({ from, tfcBytes, nowMs }: OutboundEnds): SaChange {
    if (from === undefined)
      throw new Error(
        `Cannot send to ${formatIp(this.to)}: the public side has no IPv${this.to.family} address; give it one`,
      );
    const until = (number: number) => Math.max(0, number - this.#first + 1);
    return {
      source: from,
      destination: this.to,
      spi: this.spi,
      algorithm: this.algorithm,
      material: this.material,
      extended: this.extended,
      direction: "out",
      reqid: this.route.reqid,
      sent: BigInt(this.#first - 1),
      limits: this.limits(nowMs, {
        soft: this.#isWarned ? Number.POSITIVE_INFINITY : until(this.#warnAt),
        hard: until(this.#most),
      }),
      ...(this.udp !== undefined && {
        encapsulation: { sourcePort: this.udp.from, destinationPort: this.udp.to },
      }),
      ...(tfcBytes > 0 && { tfcBytes }),
    };
  }

  /** What the kernel had used is used. */
  protected override ended(): void {
    this.#first += this.packets - this.beforePackets;
    super.ended();
  }

  protected override take(): boolean {
    const isKnown = super.take();
    if (!isKnown) this.#isLost = true;
    return isKnown;
  }

  override vanished(): void {
    super.vanished();
    this.#isLost = true;
  }

  #name(): string {
    return `Outbound association ${this.spi} of ${this.route.name}`;
  }
}
