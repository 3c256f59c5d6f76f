/**
 * Keeps the elements of the guard before VXLAN (domain/guard.ts) in the host's namespace. The sets themselves are part of the table that the
 * mesh sets.
 */
import { GUARD_SETS, guardPort } from "../domain/mod.ts";
import type { Engine, KernelObject, ScopeChange } from "../engine/mod.ts";

const PORTS = "domains/ports";
const PAIRS = "domains/pairs";
const HELD = "domains/held";

/** VxlanGuard owns the scopes `domains/…` of the host's engine. */
export class VxlanGuard {
  readonly #home: Engine;
  /** UDP port → how many segments use it. */
  readonly #ports = new Map<number, number>();

  /** What an earlier agent let through stays so until `settle`: EVPN has not told yet who is there. */
  constructor(home: Engine) {
    this.#home = home;
    home.set(
      HELD,
      Object.values(GUARD_SETS).flatMap((set) =>
        home
          .elements("inet", set)
          .map((key): KernelObject => ({ kind: "element", family: "inet", set, key })),
      ),
    );
    home.set(PORTS, []);
    home.set(PAIRS, []);
  }

  /** open puts a UDP port under the guard; throws when that cannot be. */
  open(port: number): void {
    const count = (this.#ports.get(port) ?? 0) + 1;
    this.#ports.set(port, count);
    if (count > 1) return;
    this.#home.change(PORTS, { put: [guardPort(port)] });
    this.#home.apply(PORTS);
    const bad = this.#home.status(PORTS).find(({ state }) => state !== "ready");
    if (bad === undefined) return;
    this.close(port);
    throw new Error(`Cannot guard UDP port ${port} of VXLAN: ${bad.reason ?? bad.key}`);
  }

  /** close is the reverse of open. */
  close(port: number): void {
    const count = (this.#ports.get(port) ?? 1) - 1;
    if (count > 0) this.#ports.set(port, count);
    else if (this.#ports.delete(port)) this.#home.change(PORTS, { drop: [guardPort(port)] });
    if (count <= 0) this.#home.apply(PORTS);
  }

  /** change says who may send with which VNI from now on. */
  change(change: ScopeChange): void {
    if ((change.put?.length ?? 0) + (change.drop?.length ?? 0) === 0) return;
    this.#home.change(PAIRS, change);
    this.#home.apply(PAIRS);
  }

  /** settle forgets what was held of an earlier agent. */
  settle(): void {
    this.#home.remove(HELD);
    this.#home.apply(HELD);
  }
}
