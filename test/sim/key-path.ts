/**
 * A gateway's data path as far as keys go: what is installed, what is used, which numbers were sent. It is where the simulation looks for what
 * must never happen.
 */
import type { KeeperEffect, KeeperEvent } from "../../src/gateway/keys/mod.ts";
import type { Path } from "../../src/exchange/ours/mod.ts";

/** Packet is an ESP packet: the key stands for what it was sealed with. */
export interface Packet {
  readonly spi: number;
  readonly key: string;
  readonly sequence: number;
  /** When its association was installed. */
  readonly bornMs: number;
}

interface Sealing {
  readonly bornMs: number;
  readonly spi: number;
  readonly key: string;
  readonly endsMs: number;
  readonly soft: number;
  readonly hard: number;
  path: Path;
  sequence: number;
}

interface Opening {
  readonly key: string;
  readonly route: string;
  readonly queue: number;
  readonly endsMs: number;
  readonly seen: Set<number>;
}

type Order = Exclude<KeeperEffect, { readonly kind: "send" | "news" }>;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** KeyPath obeys a keeper. */
export class KeyPath {
  /** Installed and not used yet, or used, by route, queue and SPI. */
  readonly outbound = new Map<string, Sealing>();
  /** What a route's queue sends with: the place in `outbound`. */
  readonly used = new Map<string, string>();
  readonly inbound = new Map<number, Opening>();
  /** Every key that was ever sealed with here. */
  readonly everSealed: Set<string>;
  readonly #tell: (event: KeeperEvent) => void;

  constructor(tell: (event: KeeperEvent) => void, everSealed = new Set<string>()) {
    this.#tell = tell;
    this.everSealed = everSealed;
  }

  obey(order: Order, nowMs: number): void {
    const place = (queue: number, spi: number) => `${order.route} ${queue} ${spi}`;
    switch (order.kind) {
      case "inbound": {
        const { sa, route, endsMs } = order;
        const key = hex(sa.keyMaterial.reveal());
        if (this.inbound.has(sa.spi)) throw new Error(`inbound SPI ${sa.spi} is there twice`);
        this.inbound.set(sa.spi, { key, route, queue: sa.queue, endsMs, seen: new Set() });
        sa.keyMaterial[Symbol.dispose]();
        break;
      }
      case "outbound": {
        const { sa, path, endsMs, soft, hard } = order;
        const key = hex(sa.keyMaterial.reveal());
        if (this.everSealed.has(key)) throw new Error(`a key for SPI ${sa.spi} is installed a second time`);
        this.everSealed.add(key);
        const limits = { soft: soft.packets, hard: hard.packets };
        this.outbound.set(place(sa.queue, sa.spi), {
          spi: sa.spi,
          key,
          endsMs,
          path,
          sequence: 0,
          bornMs: nowMs,
          ...limits,
        });
        sa.keyMaterial[Symbol.dispose]();
        break;
      }
      case "use": {
        const next = place(order.queue, order.spi);
        if (!this.outbound.has(next)) throw new Error(`${next} is used, and is not there`);
        const queue = `${order.route} ${order.queue}`;
        const before = this.used.get(queue);
        if (before !== undefined && before !== next) this.outbound.delete(before);
        this.used.set(queue, next);
        break;
      }
      case "remove":
        if (order.direction === "inbound") {
          if (!this.inbound.delete(order.spi))
            throw new Error(`inbound SPI ${order.spi} is removed, and is not there`);
        } else if (!this.outbound.delete(place(order.queue, order.spi)))
          throw new Error(`${place(order.queue, order.spi)} is removed, and is not there`);
        break;
      case "endpoint": {
        const sealing = this.outbound.get(place(order.queue, order.spi));
        if (sealing === undefined)
          throw new Error(`${place(order.queue, order.spi)} moves, and is not there`);
        sealing.path = order.path;
      }
    }
  }

  /** seal sends a packet of a route's queue; undefined while there is nothing to send with. */
  seal(route: string, queue: number, nowMs: number): (Packet & { readonly path: Path }) | undefined {
    const sealing = this.outbound.get(this.used.get(`${route} ${queue}`) ?? "");
    if (sealing === undefined || nowMs >= sealing.endsMs || sealing.sequence >= sealing.hard)
      return undefined;
    const { spi, key, path, bornMs } = sealing;
    const sequence = ++sealing.sequence;
    const limit = sequence === sealing.hard ? "hard" : sequence === sealing.soft ? "soft" : undefined;
    if (limit !== undefined) this.#tell({ kind: "limit", route, queue, spi, direction: "outbound", limit });
    return { spi, key, sequence, path, bornMs };
  }

  /** canOpen tells whether a packet would be taken. */
  canOpen({ spi, key }: Packet, nowMs: number): boolean {
    const opening = this.inbound.get(spi);
    return opening !== undefined && opening.key === key && nowMs < opening.endsMs;
  }

  /** open takes a packet; false for what is unknown or came before. */
  open(packet: Packet, nowMs: number): boolean {
    const opening = this.inbound.get(packet.spi);
    if (opening === undefined || !this.canOpen(packet, nowMs) || opening.seen.has(packet.sequence))
      return false;
    opening.seen.add(packet.sequence);
    const { route, queue } = opening;
    if (opening.seen.size === 1) this.#tell({ kind: "heard", route, queue, spi: packet.spi });
    return true;
  }
}
