/** The keepers of a gateway's keys with their timer: what was negotiated, and what an operator gave. What they ask for goes to the data path. */
import {
  type ChannelStatus,
  type KeeperCounter,
  type KeeperEffect,
  type KeeperEvent,
  type KeeperNews,
  KeyKeeper,
  type KeyRoute,
  type ManagedEffect,
  type ManagedEvent,
  ManagedKeeper,
  type ManagedSa,
} from "../gateway/keys/mod.ts";
import { after, boottimeMs } from "../sys/mod.ts";
import type { ManagedInstall, PathEffect } from "./data-path.ts";
import type { GatewayFiles } from "./files.ts";

/** KeysParts are what the keepers work with. */
export interface KeysParts {
  readonly files: GatewayFiles;
  readonly perform: (effects: readonly PathEffect[]) => void;
  readonly news: (route: string, queue: number, news: KeeperNews) => void;
  /** An operator's association that must not be used, or no more of, and why; without a reason nothing is in its way any more. */
  readonly refused: (route: string, association: string, reason: string | undefined) => void;
  /** All that an operator has given has to be said again (setManaged). */
  readonly wanted: () => void;
}

/** The longest time that a timer is set for. */
const MOST_WAIT_MS = 60_000;

/** Keys owns the keepers, and their secrets. */
export class Keys implements Disposable {
  readonly #parts: KeysParts;
  readonly #keeper = new KeyKeeper();
  /** Made when the first such association is configured. */
  #managed: ManagedKeeper | undefined;
  #timer: Disposable | undefined;

  constructor(parts: KeysParts) {
    this.#parts = parts;
  }

  /** step lets the keeper hear of something. Throws for routes that cannot be. */
  step(event: KeeperEvent): void {
    const effects = this.#keeper.step(event, { nowMs: boottimeMs() });
    const asked: Exclude<KeeperEffect, { readonly kind: "news" }>[] = [];
    for (const effect of effects)
      if (effect.kind === "news") this.#parts.news(effect.route, effect.queue, effect.news);
      else asked.push(effect);
    this.#parts.perform(asked);
    this.#setTimer();
  }

  /** change puts routes and removes others; what is wrong with one is thrown, and nothing has changed. */
  change(put: readonly KeyRoute[], remove: readonly string[]): void {
    if (put.length + remove.length > 0) this.step({ kind: "change", put, remove });
  }

  /** setManaged says which associations an operator has given, all of them. */
  setManaged(associations: readonly ManagedSa[]): void {
    if (this.#managed === undefined && associations.length === 0) return;
    this.#managed ??= new ManagedKeeper(this.#parts.files.sequenceBook());
    this.#step({ kind: "configure", associations });
  }

  /** runningOut: half of the numbers that an operator's association may use are used. */
  runningOut(route: string, queue: number, spi: number): void {
    if (this.#managed !== undefined) this.#step({ kind: "sequence", route, queue, spi });
  }

  /** installed: the data path has an operator's association, or could not take it. */
  installed({ kind, route, sa }: ManagedInstall, error: Error | undefined): void {
    if (this.#managed === undefined) return;
    const named = { direction: kind, route, sa };
    if (error === undefined) this.#step({ kind: "installed", ...named });
    else this.#step({ kind: "not installed", ...named, reason: error.message });
  }

  /** readBook reads the book of sequence numbers again where it could not be read; true if it can now. */
  readBook(): boolean {
    if (this.#managed?.lacksBook !== true) return false;
    const book = this.#parts.files.sequenceBook();
    if (typeof book !== "string") this.#step({ kind: "book", book });
    return typeof book !== "string";
  }

  #step(event: ManagedEvent): void {
    const asked: PathEffect[] = [];
    let isWanted = false;
    const effects: ManagedEffect[] = [
      ...(this.#managed as ManagedKeeper).step(event, { nowMs: boottimeMs() }),
    ];
    for (const effect of effects)
      if (effect.kind === "store") effects.push(...this.#store(effect));
      else if (effect.kind === "refused" || effect.kind === "mended") this.#tell(effect);
      else if (effect.kind === "wanted") isWanted = true;
      else asked.push(effect);
    this.#parts.perform(asked);
    this.#setTimer();
    if (isWanted) this.#parts.wanted();
  }

  #tell(effect: Extract<ManagedEffect, { readonly kind: "refused" | "mended" }>): void {
    const { direction, route, queue, spi } = effect;
    const name = `queue ${queue}, ${direction} SPI ${spi}`;
    this.#parts.refused(route, name, effect.kind === "refused" ? effect.reason : undefined);
  }

  #store({ version, text }: { readonly version: number; readonly text: string }): readonly ManagedEffect[] {
    const managed = this.#managed as ManagedKeeper;
    try {
      this.#parts.files.saveSequenceBook(text);
    } catch (error) {
      const reason = (error as Error).message;
      return managed.step({ kind: "not stored", version, reason }, { nowMs: boottimeMs() });
    }
    return managed.step({ kind: "stored", version }, { nowMs: boottimeMs() });
  }

  /** status describes all channels; secrets are not in it. */
  status(): readonly ChannelStatus[] {
    return this.#keeper.describe({ nowMs: boottimeMs() });
  }

  /** reasonOf tells why a queue of a route has no peer; undefined: it has. */
  reasonOf(route: string, queue: number): string | undefined {
    return this.#keeper.reasonOf({ route, queue });
  }

  get counters(): ReadonlyMap<KeeperCounter, number> {
    return this.#keeper.counters;
  }

  #setTimer(): void {
    this.#timer?.[Symbol.dispose]();
    const nextMs = Math.min(
      this.#keeper.nextMs ?? Number.POSITIVE_INFINITY,
      this.#managed?.nextMs ?? Number.POSITIVE_INFINITY,
    );
    const waitMs = Math.min(Math.max(0, nextMs - boottimeMs()), MOST_WAIT_MS);
    this.#timer = nextMs === Number.POSITIVE_INFINITY ? undefined : after(waitMs, () => this.#due());
  }

  #due(): void {
    if (this.#managed?.nextMs !== undefined) this.#step({ kind: "due" });
    this.step({ kind: "due" });
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
    this.#managed?.[Symbol.dispose]();
    this.#managed = undefined;
  }
}
