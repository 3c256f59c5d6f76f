/** What both directions of the kernel's associations have: a key, limits, what was carried, and what the kernel is asked for. */
import { formatIp, KeyMaterial } from "../../net/mod.ts";
import type { Limits, SaId, SaInfo } from "../../netlink/mod.ts";
import type { GatewayAssociation, UseLimit } from "../gateway/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import type { XfrmRoute } from "./xfrm-route.ts";

const ANY = Number.POSITIVE_INFINITY;
/** The kernel ends what nobody came to end: so much later, since its clock can be set. */
const LATE_SECONDS = 60;

/** CarrierLimit is what a carrier has come to. */
export type CarrierLimit = "soft" | "hard";

/** nameOf names an association of the kernel, among those of a namespace. */
export function nameOf({ destination, spi }: SaId): string {
  return `${spi} ${formatIp(destination)}`;
}

/** XfrmCarrier is one association, over all that the kernel has had for it. */
export abstract class XfrmCarrier implements Disposable {
  readonly route: XfrmRoute;
  readonly queue: number;
  readonly spi: number;
  readonly endsMs: number;
  readonly kernel: KernelEsp;
  protected readonly algorithm: GatewayAssociation["algorithm"];
  protected readonly extended: boolean;
  protected readonly material: KeyMaterial;
  /** Where the kernel has it, and since when; absent: it has none. */
  protected id: SaId | undefined;
  #sinceMs = 0;
  /** What the kernel said of the one before. */
  protected last: SaInfo | undefined;
  /** Carried by those of the kernel that are gone, and by the one that is there when it was looked at last. */
  #beforePackets = 0;
  #beforeBytes = 0;
  packets = 0;
  bytes = 0;
  protected readonly soft: Required<UseLimit>;
  protected readonly hard: Required<UseLimit>;
  #isSoft = false;
  #isHard = false;

  constructor(parts: { kernel: KernelEsp; route: XfrmRoute; queue: number }, order: GatewayAssociation) {
    const { spi, endsMs = ANY, soft = {}, hard = {}, extended = true } = order;
    this.kernel = parts.kernel;
    this.route = parts.route;
    this.queue = parts.queue;
    this.spi = spi;
    this.endsMs = endsMs;
    this.algorithm = order.algorithm;
    this.extended = extended;
    this.material = new KeyMaterial(order.keyMaterial);
    this.soft = { packets: soft.packets ?? ANY, bytes: soft.bytes ?? ANY };
    this.hard = { packets: hard.packets ?? ANY, bytes: hard.bytes ?? ANY };
  }

  /** Whether it has come to its hard limit: it carries nothing more. */
  get isWorn(): boolean {
    return this.#isHard;
  }

  /** Whether the kernel has it. */
  get isInstalled(): boolean {
    return this.id !== undefined;
  }

  /** name is what the kernel's association is found by; undefined when it has none. */
  get name(): string | undefined {
    return this.id && nameOf(this.id);
  }

  /** is tells whether the kernel speaks of this one. */
  is(sa: SaId): boolean {
    return this.id?.spi === sa.spi && this.name === nameOf(sa);
  }

  /** look takes what the kernel counts now; undefined when it has none. */
  look(): SaInfo | undefined {
    const sa = this.id && this.kernel.sa(this.id);
    if (sa !== undefined) this.count(sa);
    return sa;
  }

  /** count takes what the kernel says that its association has carried. */
  count({ usage }: SaInfo): void {
    this.packets = this.#beforePackets + Number(usage.packets);
    this.bytes = this.#beforeBytes + Number(usage.bytes);
  }

  /** take removes the kernel's association; false when the kernel's word on what it had carried was lost. */
  protected take(): boolean {
    const { id } = this;
    if (id === undefined) return true;
    this.last = this.kernel.remove(id);
    // A limit that it had come to before was told meanwhile.
    if (this.id === undefined) return true;
    if (this.last !== undefined) this.count(this.last);
    this.ended();
    return this.last !== undefined;
  }

  /** installed notes what the kernel has from now on. */
  protected installed(id: SaId, nowMs: number): void {
    this.id = id;
    this.#sinceMs = nowMs;
  }

  /** ended keeps the count of the kernel's association, which is gone. */
  protected ended(): void {
    this.id = undefined;
    this.#beforePackets = this.packets;
    this.#beforeBytes = this.bytes;
  }

  /** reached returns the limit that was reached now, if one was: each once. */
  protected reached(): CarrierLimit | undefined {
    const has = (limit: Required<UseLimit>) => this.packets >= limit.packets || this.bytes >= limit.bytes;
    if (!this.#isHard && has(this.hard)) {
      this.#isHard = true;
      return "hard";
    }
    if (!this.#isSoft && has(this.soft)) {
      this.#isSoft = true;
      return "soft";
    }
    return undefined;
  }

  /** What the kernel's association may still carry; `packets` are bounds besides. */
  protected limits(nowMs: number, packets: { readonly soft: number; readonly hard: number }): Limits {
    const left = (limit: number, carried: number) => Math.max(0, limit - carried);
    // The kernel counts from when it was made, also where limits are changed later.
    const fromMs = this.isInstalled ? this.#sinceMs : nowMs;
    const soft = this.#isSoft ? { packets: ANY, bytes: ANY } : this.soft;
    return {
      soft: limit(
        Math.min(left(soft.packets, this.#beforePackets), packets.soft),
        left(soft.bytes, this.#beforeBytes),
      ),
      hard: {
        ...limit(
          Math.min(left(this.hard.packets, this.#beforePackets), packets.hard),
          left(this.hard.bytes, this.#beforeBytes),
        ),
        ...(Number.isFinite(this.endsMs) && {
          addSeconds: BigInt(Math.max(1, Math.ceil((this.endsMs - fromMs) / 1000) + LATE_SECONDS)),
        }),
      },
    };
  }

  /** wear makes it one that has come to its hard limit. */
  protected wear(): void {
    this.#isHard = true;
  }

  /** end lets it carry nothing more; its count stays. */
  end(): void {
    this.take();
    this.wear();
  }

  /** vanished is for one that the kernel has no more, and nothing was told. */
  vanished(): void {
    this.ended();
    this.wear();
  }

  /** Carried by those of the kernel that are gone. */
  protected get beforePackets(): number {
    return this.#beforePackets;
  }

  [Symbol.dispose](): void {
    this.take();
    this.material[Symbol.dispose]();
  }
}

function limit(packets: number, bytes: number): { packets?: bigint; bytes?: bigint } {
  return {
    ...(Number.isFinite(packets) && { packets: BigInt(packets) }),
    ...(Number.isFinite(bytes) && { bytes: BigInt(bytes) }),
  };
}
