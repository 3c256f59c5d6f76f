/**
 * Who a device is: one private key, and while it changes that, the one before beside it, under which peers go on to reach it that have not heard
 * of the present one.
 */
import type { PrivateKey, PublicKey } from "../../net/mod.ts";
import type { Arrival, Verdict } from "./gate.ts";
import { OwnIdentity } from "./own-identity.ts";
import type { Primitives } from "../../noise/mod.ts";
import { LoadBook } from "./under-load.ts";

/** OwnIdentities owns both. */
export class OwnIdentities implements Disposable {
  readonly #primitives: Primitives;
  readonly #book = new LoadBook();
  #present: OwnIdentity | undefined;
  #former: OwnIdentity | undefined;

  constructor(primitives: Primitives) {
    this.#primitives = primitives;
  }

  get present(): OwnIdentity | undefined {
    return this.#present;
  }

  get former(): OwnIdentity | undefined {
    return this.#former;
  }

  /** Sources of handshakes that are remembered for their rates. */
  get sources(): number {
    return this.#book.sources.size;
  }

  /** is tells whether a public key is one of ours. */
  is(key: PublicKey): boolean {
    return key === this.#present?.publicKey || key === this.#former?.publicKey;
  }

  setPresent(key: PrivateKey | undefined): OwnIdentity | undefined {
    this.#present?.[Symbol.dispose]();
    this.#present = this.#made(key);
    return this.#present;
  }

  setFormer(key: PrivateKey | undefined): void {
    this.#former?.[Symbol.dispose]();
    this.#former = this.#made(key);
  }

  /** demote makes a key the present one, and the present one the former; whatever was the former is no more. */
  demote(key: PrivateKey): void {
    this.#former?.[Symbol.dispose]();
    this.#former = this.#present;
    this.#present = this.#made(key);
  }

  #made(key: PrivateKey | undefined): OwnIdentity | undefined {
    return key === undefined ? undefined : new OwnIdentity(key, this.#primitives, this.#book);
  }

  /** judge decides on a message, and says whose it is: mac1 names the identity, and each has cookies of its own. */
  judge(arrival: Arrival): { readonly verdict: Verdict; readonly own: OwnIdentity } | undefined {
    const own = this.#present;
    if (own === undefined) return undefined;
    const verdict = own.gate.judge(arrival);
    const former = this.#former;
    if (verdict.kind !== "drop" || former === undefined) return { verdict, own };
    return { verdict: former.gate.judge(arrival), own: former };
  }

  [Symbol.dispose](): void {
    this.#present?.[Symbol.dispose]();
    this.#former?.[Symbol.dispose]();
    this.#present = undefined;
    this.#former = undefined;
  }
}
