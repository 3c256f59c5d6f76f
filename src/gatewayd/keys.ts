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
import type { PathEffect } from "./data-path.ts";
import type { GatewayFiles } from "./files.ts";

/** KeysParts are what the keepers work with. */
export interface KeysParts {
  readonly files: GatewayFiles;
  readonly perform: (effects: readonly PathEffect[]) => void;
  readonly news: (route: string, queue: number, news: KeeperNews) => void;
  /** An operator's association that must not be used, and why. */
  readonly refused: (route: string, queue: number, reason: string) => void;
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

  #step(event: ManagedEvent): void {
    const asked: PathEffect[] = [];
    const effects: ManagedEffect[] = [...(this.#managed as ManagedKeeper).step(event)];
    for (const effect of effects)
      if (effect.kind === "store") effects.push(...this.#store(effect));
      else if (effect.kind === "refused") this.#parts.refused(effect.route, effect.queue, effect.reason);
      else asked.push(effect);
    this.#parts.perform(asked);
  }

  #store({ version, text }: { readonly version: number; readonly text: string }): readonly ManagedEffect[] {
    const managed = this.#managed as ManagedKeeper;
    try {
      this.#parts.files.saveSequenceBook(text);
    } catch (error) {
      return managed.step({ kind: "not stored", version, reason: (error as Error).message });
    }
    return managed.step({ kind: "stored", version });
  }

  /** status describes all channels; secrets are not in it. */
  status(): readonly ChannelStatus[] {
    return this.#keeper.describe({ nowMs: boottimeMs() });
  }

  get counters(): ReadonlyMap<KeeperCounter, number> {
    return this.#keeper.counters;
  }

  #setTimer(): void {
    this.#timer?.[Symbol.dispose]();
    const { nextMs } = this.#keeper;
    if (nextMs === undefined) this.#timer = undefined;
    else
      this.#timer = after(Math.min(Math.max(0, nextMs - boottimeMs()), MOST_WAIT_MS), () =>
        this.step({ kind: "due" }),
      );
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]();
    this.#keeper[Symbol.dispose]();
  }
}
