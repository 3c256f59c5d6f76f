/** Malformed UPDATEs and refused routes in the log: one in a second for each neighbor, since one that sends nothing else must not fill it. */
import type { SpeakerLog } from "./speaker-options.ts";

const FAULT_MS = 1000;

/** FaultLog remembers when it said something last. */
export class FaultLog {
  readonly #log: SpeakerLog;
  readonly #toldMs = new Map<string, number>();

  constructor(log: SpeakerLog) {
    this.#log = log;
  }

  /** tell says the first fault of an UPDATE, unless something was said of that neighbor within a second. */
  tell(neighbor: string, faults: readonly string[], nowMs: number, event = "bgp update is malformed"): void {
    const [fault] = faults;
    if (fault === undefined || nowMs - (this.#toldMs.get(neighbor) ?? Number.NEGATIVE_INFINITY) < FAULT_MS)
      return;
    this.#toldMs.set(neighbor, nowMs);
    this.#log(event, { neighbor, fault });
  }

  /** forget drops what is known of a neighbor that is gone. */
  forget(neighbor: string): void {
    this.#toldMs.delete(neighbor);
  }
}
