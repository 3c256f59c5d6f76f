/** When all has been told that EVPN can tell, so that what an earlier agent or speaker knew may go. */
import type { Speaker } from "../bgp/mod.ts";
import { every } from "../sys/mod.ts";

const LOOK_MS = 2_000;
/** After a restart the reflectors have told all that they know by then, also those that restart themselves. */
const RESTART_MS = 60_000;
/** Another speaker of the same agent: reflectors go on, and their deferral has an end by then. */
const RENEWED_MS = 16_000;
/** What is chosen at last takes so long to be known wherever it goes. */
const CHOSEN_MS = 4_000;

/** SettlingOptions say who tells, and who forgets. */
export interface SettlingOptions {
  readonly speaker: () => Speaker | undefined;
  /** Whether speakers that it tells of, and hears from, wait for neighbors after a restart. */
  readonly areOthersDeferring?: () => boolean;
  readonly onSettled: () => void;
}

/** VpcSettling counts the time in which somebody is there who tells: as long as no reflector answers, what was known is the best that there is. */
export class VpcSettling implements Disposable {
  readonly #options: SettlingOptions;
  #leftMs = 0;
  #timer: Disposable | undefined;

  constructor(options: SettlingOptions) {
    this.#options = options;
  }

  /** begin waits anew, after a restart of the agent, or of its speaker alone. */
  begin(what: "agent" | "speaker"): void {
    this.#leftMs = Math.max(this.#leftMs, what === "agent" ? RESTART_MS : RENEWED_MS);
    this.#timer ??= every(LOOK_MS, () => this.#look());
  }

  #look(): void {
    const { speaker, areOthersDeferring } = this.#options;
    const { neighbors = [], restart } = speaker() ?? {};
    const isAlone =
      neighbors.length > 0 && !neighbors.some(({ session }) => session.negotiated !== undefined);
    if (!isAlone) this.#leftMs -= LOOK_MS;
    if ((restart?.deferred.length ?? 0) > 0 || areOthersDeferring?.() === true)
      this.#leftMs = Math.max(this.#leftMs, CHOSEN_MS);
    if (this.#leftMs > 0) return;
    this[Symbol.dispose]();
    this.#options.onSettled();
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
  }
}
