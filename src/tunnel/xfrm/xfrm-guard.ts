/**
 * XfrmGuard: nothing of a prefix passes in the plain while no route has it.
 *
 * ```
 *   of a gateway before ─┐              ┌─ took ─▶ a route's policies
 *   protect ─────────────┼─▶ blocked ◀──┤
 *   a queue went down ───┘       │      └─ hold, release of what is protected
 *                                └─ neither protected nor a route's any more ─▶ removed
 * ```
 * What blocks is a policy with the selector of the route's: the one replaces the other in one step, and packets see either.
 */
import { formatPrefix, type Prefix } from "../../net/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import { leftoverPolicies, type XfrmMarks } from "./xfrm-marks.ts";
import { blocked, isShare } from "./xfrm-route.ts";

type Prefixes = Map<string, Prefix>;

const byName = (prefixes: readonly Prefix[]): Prefixes =>
  new Map(prefixes.map((prefix) => [formatPrefix(prefix), prefix]));

/** XfrmGuard keeps account of the prefixes of an instance. It leaves policies as they are when nobody asks it any more. */
export class XfrmGuard {
  readonly #kernel: KernelEsp;
  readonly #marks: XfrmMarks;
  /** Blocked, since no route has them. */
  readonly #held: Prefixes = new Map();
  readonly #routed = new Set<string>();
  #protected: ReadonlyMap<string, Prefix> = new Map();

  /** What a gateway of the same instance left is blocked: its associations may end then. */
  constructor(kernel: KernelEsp, marks: XfrmMarks) {
    this.#kernel = kernel;
    this.#marks = marks;
    const left = leftoverPolicies(kernel, marks);
    this.hold(
      left.map(({ direction, selector }) => (direction === "out" ? selector.destination : selector.source)),
    );
    kernel.removePolicies(left.filter(isShare));
  }

  /** protect says of which prefixes nothing may pass in the plain, whether or not a route has them; others are let go unless a route has them. */
  protect(prefixes: readonly Prefix[]): void {
    const wanted = byName(prefixes);
    const isNew = (name: string) => !this.#held.has(name) && !this.#routed.has(name);
    this.hold([...wanted].flatMap(([name, prefix]) => (isNew(name) ? [prefix] : [])));
    this.#protected = wanted;
    this.#remove([...this.#held].flatMap(([name, prefix]) => (wanted.has(name) ? [] : [prefix])));
  }

  /** hold blocks prefixes that no route has now. */
  hold(prefixes: readonly Prefix[]): void {
    const held = byName(prefixes);
    this.#kernel.setPolicies(blocked([...held.values()], this.#marks.priority));
    for (const [name, prefix] of held) {
      this.#held.set(name, prefix);
      this.#routed.delete(name);
    }
  }

  /** took notes that a route has them: its policies are in the place of those that blocked. */
  took(prefixes: readonly Prefix[]): void {
    for (const name of byName(prefixes).keys()) {
      this.#held.delete(name);
      this.#routed.add(name);
    }
  }

  /** release is for prefixes that a route has let go of, or could not take: those that are protected, or were blocked before, are blocked. */
  release(prefixes: readonly Prefix[]): void {
    const stays = (prefix: Prefix) => {
      const name = formatPrefix(prefix);
      return this.#protected.has(name) || this.#held.has(name);
    };
    this.hold(prefixes.filter(stays));
    this.#remove(prefixes.filter((prefix) => !stays(prefix)));
  }

  /** removeAll lets go of all: the gateway has ended for good, and no route has any. */
  removeAll(): void {
    this.#protected = new Map();
    this.#remove([...this.#held.values()]);
  }

  #remove(prefixes: readonly Prefix[]): void {
    this.#kernel.removePolicies(blocked(prefixes, this.#marks.priority));
    for (const name of byName(prefixes).keys()) {
      this.#held.delete(name);
      this.#routed.delete(name);
    }
  }
}
