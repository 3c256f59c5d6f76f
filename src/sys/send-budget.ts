/**
 * What may wait to be sent over TCP (tcp.ts), for each address at the other end and for all together. Within the tunnel an address is a node, so one
 * that reads nothing costs what a slow one may, however many connections it opens; and many of them cost no more than all may.
 *
 * ```
 * more waits for one address ─▶ too much? ─▶ its connection with most to send is given up
 *                                    └────▶ too much in all? ─▶ the same of the address for which most waits
 * ```
 */

/** SEND_BUDGET are the bounds, in bytes. */
export const SEND_BUDGET = {
  /** Two of the longest lines, each a whole register: one for a connection that the other side has given up, and one for the next. */
  ofOne: 128 * 1024 * 1024,
  /** Eight of the longest lines. */
  inAll: 512 * 1024 * 1024,
} as const;

/** Sender is a connection that something may wait for. */
export interface Sender {
  readonly waitingBytes: number;
  /** giveUp ends the connection, and throws away what waits. */
  giveUp(): void;
}

/** SendBudget keeps the books. */
export class SendBudget {
  readonly #bounds: Readonly<Record<keyof typeof SEND_BUDGET, number>>;
  readonly #waiting = new Map<string, Set<Sender>>();
  #bytes = 0;

  constructor(bounds: Partial<Record<keyof typeof SEND_BUDGET, number>> = {}) {
    this.#bounds = { ...SEND_BUDGET, ...bounds };
  }

  /** Bytes that wait in all. */
  get bytes(): number {
    return this.#bytes;
  }

  /** note is told after what waits for a sender at an address became so many bytes more, or less. */
  note(address: string, sender: Sender, bytes: number): void {
    this.#bytes += bytes;
    const senders = this.#waiting.get(address) ?? new Set();
    if (sender.waitingBytes > 0) this.#waiting.set(address, senders.add(sender));
    else if (senders.delete(sender) && senders.size === 0) this.#waiting.delete(address);
    if (bytes <= 0) return;
    if (sum(senders) > this.#bounds.ofOne) largest(senders)?.giveUp();
    while (this.#bytes > this.#bounds.inAll) {
      const most = largest(this.#greediest());
      if (most === undefined) return;
      most.giveUp();
    }
  }

  #greediest(): ReadonlySet<Sender> {
    let [found, most]: [ReadonlySet<Sender>, number] = [new Set(), 0];
    for (const senders of this.#waiting.values()) {
      const bytes = sum(senders);
      if (bytes > most) [found, most] = [senders, bytes];
    }
    return found;
  }
}

function sum(senders: ReadonlySet<Sender>): number {
  let bytes = 0;
  for (const { waitingBytes } of senders) bytes += waitingBytes;
  return bytes;
}

function largest(senders: ReadonlySet<Sender>): Sender | undefined {
  let found: Sender | undefined;
  for (const sender of senders) if (sender.waitingBytes > (found?.waitingBytes ?? 0)) found = sender;
  return found;
}
