/**
 * TargetWishes: which route targets this router asks its neighbors for (RFC 4684), as routes of that family. Those of its own segments and domains; all of
 * them where a reflector keeps the wishes of its clients to itself, and while something is imported whoever exported it (`*:100`): RFC 4684 cannot say that.
 */
import { anyTarget, isAnyTarget } from "../../net/mod.ts";
import { targetWish } from "../evpn/mod.ts";
import { type Nlri, parseAdministered, type PathAttributes } from "../wire/mod.ts";
import type { WishAnswers } from "./wish-answers.ts";

const OURS: PathAttributes = { origin: "igp", asPath: [] };

/** TargetWishesOptions say who asks. */
export interface TargetWishesOptions {
  readonly asn: number;
  readonly announce: (nlri: Nlri, attributes: PathAttributes) => void;
  readonly withdraw: (nlri: Nlri) => void;
  /** A target is imported that was not, or is not any more. */
  readonly onChange: () => void;
  readonly answers: WishAnswers;
}

/** TargetWishes counts who imports a target. */
export class TargetWishes {
  readonly #options: TargetWishesOptions;
  readonly #counts = new Map<string, number>();
  /** In which batch of wishes each was asked for. */
  readonly #batches = new Map<string, number>();
  #all = false;
  /** How many reasons there are to ask for all targets. */
  #reasons = 0;
  /** How many targets of `counts` are met by any administrator's. */
  #anys = 0;

  constructor(options: TargetWishesOptions) {
    this.#options = options;
  }

  /** has tells whether one of these is imported here. */
  has(targets: readonly string[]): boolean {
    for (const target of targets)
      if (this.#counts.has(target) || (this.#anys > 0 && this.#counts.has(anyTarget(target)))) return true;
    return false;
  }

  /** add counts an importer. */
  add(targets: Iterable<string>): void {
    for (const target of targets) {
      const count = this.#counts.get(target) ?? 0;
      this.#counts.set(target, count + 1);
      if (count > 0) continue;
      this.#batches.set(target, this.#options.answers.wish());
      if (isAnyTarget(target)) {
        this.#anys += 1;
        this.#wantAll(1);
      } else this.#options.announce(this.#route(target), OURS);
      this.#options.onChange();
    }
  }

  /** remove counts one less. */
  remove(targets: Iterable<string>): void {
    for (const target of targets) {
      const count = this.#counts.get(target) ?? 0;
      if (count > 1) this.#counts.set(target, count - 1);
      if (count !== 1) continue;
      this.#counts.delete(target);
      this.#batches.delete(target);
      // That is answered too.
      this.#options.answers.wish();
      if (isAnyTarget(target)) {
        this.#anys -= 1;
        this.#wantAll(-1);
      } else this.#options.withdraw(this.#route(target));
      this.#options.onChange();
    }
  }

  /** batchOf returns the last batch of wishes that asked for one of these. */
  batchOf(targets: readonly string[]): number {
    return Math.max(0, ...targets.map((target) => this.#batches.get(target) ?? 0));
  }

  /** setAll asks for all targets, or does not any more. */
  setAll(all: boolean): void {
    if (all === this.#all) return;
    this.#all = all;
    this.#options.answers.wish();
    this.#wantAll(all ? 1 : -1);
  }

  #wantAll(change: 1 | -1): void {
    const before = this.#reasons;
    this.#reasons += change;
    const route = targetWish(this.#options.asn, undefined);
    if (before === 0) this.#options.announce(route, OURS);
    else if (this.#reasons === 0) this.#options.withdraw(route);
  }

  #route(target: string): Nlri {
    return targetWish(this.#options.asn, parseAdministered(target));
  }
}
