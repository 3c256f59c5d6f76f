/**
 * XfrmInbound: an association of the kernel that opens.
 *
 * The kernel must know how its packets come: to which of our addresses, and whether in UDP. Where the order does not say it, and when the remote
 * gateway has moved since, they come as the same queue's packets go out. Where that changes, the kernel's association is made anew with what was
 * seen, so that nothing is opened twice.
 */
import type { Ip } from "../../net/mod.ts";
import { MOST_WINDOW, type SaChange, type SaInfo } from "../../netlink/mod.ts";
import { DEFAULT_WINDOW } from "../esp/mod.ts";
import type { Arrival, Encapsulation, InboundOrder } from "../gateway/mod.ts";
import { type CarrierLimit, XfrmCarrier } from "./xfrm-carrier.ts";

/** Way is how packets come. */
export interface Way {
  /** Who sends; absent: not known yet. */
  readonly from?: Ip | undefined;
  /** The public side's address. */
  readonly to: Ip;
  /** Ports as the packets have them. */
  readonly udp?: Encapsulation | undefined;
}

type Seen = NonNullable<SaChange["seen"]>;

/** XfrmInbound owns its association in the kernel, and its key. */
export class XfrmInbound extends XfrmCarrier {
  /** When the last authentic packet came; absent: none has. */
  heardMs: number | undefined;
  /** Packets that the kernel refused: not authentic, and come again or too late (struct xfrm_stats). */
  forged = 0;
  replayed = 0;
  /** How its packets come, as was said; absent: as those of its route go. */
  arrival: Arrival | undefined;
  #way: Way | undefined;
  #seen: Seen;
  #forgedBefore = 0;
  #replayedBefore = 0;

  constructor(parts: ConstructorParameters<typeof XfrmCarrier>[0], order: InboundOrder) {
    super(parts, order);
    const window = Math.min(order.windowPackets ?? DEFAULT_WINDOW, MOST_WINDOW);
    const { newest } = order;
    this.arrival = order.arrival;
    this.#seen = {
      received: BigInt(newest ?? 0),
      window,
      // All up to the newest count as seen.
      bitmap: new Array<number>(Math.ceil(window / 32)).fill(newest === undefined ? 0 : 0xffff_ffff),
    };
  }

  /** The greatest sequence number that was seen, as of when the kernel was looked at last. */
  get newest(): number {
    return Number(this.#seen.received);
  }

  get decryptErrors(): number {
    return this.forged + this.replayed;
  }

  /** The kernel does not say how many were opened and no packets. */
  readonly protocolErrors = 0;

  /** install makes the kernel's association for packets that come this way, anew if they came another. */
  install(way: Way, nowMs: number): void {
    if (this.isWorn || (this.isInstalled && sameWay(this.#way, way))) return;
    if (!this.take()) return;
    // What it came to while it was taken away may be its limit.
    if (this.isWorn) return;
    const { from, to, udp } = way;
    this.kernel.add({
      source: from ?? (to.family === 4 ? ANY_4 : ANY_6),
      destination: to,
      spi: this.spi,
      algorithm: this.algorithm,
      material: this.material,
      extended: this.extended,
      direction: "in",
      reqid: this.route.reqid,
      seen: this.#seen,
      limits: this.limits(nowMs, { soft: Number.POSITIVE_INFINITY, hard: Number.POSITIVE_INFINITY }),
      ...(udp !== undefined && { encapsulation: { sourcePort: udp.from, destinationPort: udp.to } }),
    });
    this.installed({ destination: to, spi: this.spi }, nowMs);
    this.#way = way;
  }

  /** expired takes the kernel's news of a limit, and returns what that is for the gateway. */
  expired(sa: SaInfo, hard: boolean): CarrierLimit[] {
    this.count(sa);
    if (hard) this.ended();
    const news: CarrierLimit[] = [];
    for (let limit = this.reached(); limit !== undefined; limit = this.reached()) news.push(limit);
    // By its time, which the kernel measures with a clock that can be set.
    if (hard && news.length === 0) {
      this.wear();
      news.push("hard");
    }
    return news;
  }

  override count(sa: SaInfo): void {
    super.count(sa);
    this.forged = this.#forgedBefore + sa.forged;
    this.replayed = this.#replayedBefore + sa.replayed + sa.late;
    if (sa.replay !== undefined) this.#seen = sa.replay;
  }

  protected override ended(): void {
    this.#forgedBefore = this.forged;
    this.#replayedBefore = this.replayed;
    super.ended();
  }
}

const ANY_4: Ip = { family: 4, value: 0n };
const ANY_6: Ip = { family: 6, value: 0n };

function sameWay(a: Way | undefined, b: Way): boolean {
  return (
    a !== undefined &&
    a.from?.value === b.from?.value &&
    a.to.value === b.to.value &&
    a.to.family === b.to.family &&
    a.udp?.from === b.udp?.from &&
    a.udp?.to === b.udp?.to
  );
}
