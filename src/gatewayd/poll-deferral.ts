/**
 * How often the kernel polls an interface of AF_XDP while packets come: not at each, but every so many microseconds, so that a batch costs what one did
 * (software IRQ coalescing of Documentation/networking/napi.rst). The first packet after a while without any comes at once.
 *
 * Whoever has set such values already knows better: theirs stay. A gateway that was killed leaves ours, which the next one takes for its own.
 */
import { type Napi, type NapiSettings, NapiTable, NetlinkError } from "../netlink/mod.ts";

/** GRO_FLUSH_TIMEOUT_NS is the time between two polls where nothing else is said: 100 packets at a million in a second. */
export const GRO_FLUSH_TIMEOUT_NS = 100_000;
const DEFER_HARD_IRQS = 2;
const NONE: NapiSettings = { deferHardIrqs: 0, groFlushTimeoutNs: 0 };

const equal = (one: NapiSettings, other: NapiSettings) =>
  one.deferHardIrqs === other.deferHardIrqs && one.groFlushTimeoutNs === other.groFlushTimeoutNs;

/** PollDeferral is that of one gateway. */
export class PollDeferral {
  readonly #wanted: NapiSettings | undefined;

  /** With 0 all interfaces stay as they are. */
  constructor(groFlushTimeoutNs: number) {
    if (groFlushTimeoutNs > 0) this.#wanted = { deferHardIrqs: DEFER_HARD_IRQS, groFlushTimeoutNs };
  }

  /** defer sets what is as the kernel makes it, of all queues of an interface; where that cannot be it stays. */
  defer(ifindex: number): void {
    this.#change(ifindex, NONE, this.#wanted);
  }

  /** restore gives back what `defer` set. */
  restore(ifindex: number): void {
    this.#change(ifindex, this.#wanted, NONE);
  }

  #change(ifindex: number, from: NapiSettings | undefined, to: NapiSettings | undefined): void {
    if (from === undefined || to === undefined) return;
    try {
      using table = NapiTable.open();
      const found: readonly Napi[] = table?.of(ifindex) ?? [];
      for (const napi of found) if (equal(napi, from)) table?.set(napi.id, to);
    } catch (error) {
      // It is slower then, and carries all the same: an interface that goes, a kernel that refuses.
      if (!(error instanceof NetlinkError)) throw error;
    }
  }
}
