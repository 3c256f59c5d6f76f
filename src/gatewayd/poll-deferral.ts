/**
 * How often the kernel polls an interface of AF_XDP while packets come: not at each, but every so many microseconds, so that a batch costs what one did
 * (software IRQ coalescing of Documentation/networking/napi.rst). The first packet after a while without any comes at once.
 *
 * Whoever has set such values already knows better: theirs stay. Ours are known by how many polls find nothing before interrupts are on again, also
 * those that a gateway has left that was killed.
 */
import { type NapiSettings, NapiTable, NetlinkError } from "../netlink/mod.ts";
import { SystemError } from "../sys/mod.ts";

/** GRO_FLUSH_TIMEOUT_NS is the time between two polls where nothing else is said: 100 packets at a million in a second. */
export const GRO_FLUSH_TIMEOUT_NS = 100_000;
/** Ours, and of three nobody else thinks: 1, 2 and 10 are in use. */
const DEFER_HARD_IRQS = 3;
const NONE: NapiSettings = { deferHardIrqs: 0, groFlushTimeoutNs: 0 };

const equal = (one: NapiSettings, other: NapiSettings) =>
  one.deferHardIrqs === other.deferHardIrqs && one.groFlushTimeoutNs === other.groFlushTimeoutNs;

/** PollDeferral is that of one gateway. */
export class PollDeferral {
  readonly #wanted: NapiSettings;

  /** With 0 the kernel polls at each packet. */
  constructor(groFlushTimeoutNs: number) {
    this.#wanted = groFlushTimeoutNs === 0 ? NONE : { deferHardIrqs: DEFER_HARD_IRQS, groFlushTimeoutNs };
  }

  /** defer sets all queues of an interface; where that cannot be they stay as they are. */
  defer(ifindex: number): void {
    change(ifindex, this.#wanted);
  }

  /** restore gives back what `defer` set. */
  restore(ifindex: number): void {
    change(ifindex, NONE);
  }
}

/** It is slower where it cannot be, and carries all the same: an interface that goes, a kernel that refuses. */
function change(ifindex: number, to: NapiSettings): void {
  try {
    using table = NapiTable.open();
    for (const napi of table?.of(ifindex) ?? []) {
      const isFree = equal(napi, NONE) || napi.deferHardIrqs === DEFER_HARD_IRQS;
      if (isFree && !equal(napi, to)) table?.set(napi.id, to);
    }
  } catch (error) {
    if (!(error instanceof NetlinkError || error instanceof SystemError)) throw error;
  }
}
