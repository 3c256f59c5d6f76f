/**
 * The register's addresses of subnets as a member asks for them: over its connection to a hub. What was asked waits for a connection, and is
 * asked again on the next one, since all requests may come twice; after ASK_MS nobody waits any more, and an answer that comes later is
 * passed over.
 */
import type { AddressWish, BlockClaims, BlockWish, ClaimedAddress, Grant } from "../ipam/mod.ts";
import { ClaimError } from "../ipam/mod.ts";
import { formatIp } from "../net/mod.ts";
import { after } from "../sys/mod.ts";
import { MAX_KNOWN, MAX_RETURNED_AT_ONCE, MAX_TOLD_USES } from "./claim-limits.ts";
import type { ClaimAnswer } from "./sync-protocol.ts";

/** ASK_MS is how long an answer is waited for: longer than another hub takes to be found, shorter than container runtimes wait for a pod's network. */
export const ASK_MS = 8_000;
/** MAX_ASKED is how many answers are waited for at once: a node in as many subnets. */
const MAX_ASKED = 512;

interface Asked {
  readonly message: { readonly [field: string]: unknown };
  readonly settle: (answer: ClaimAnswer | ClaimError) => void;
}

/** NodeClaims asks a hub. */
export class NodeClaims implements BlockClaims {
  readonly #tell: (message: unknown) => void;
  readonly #connected: () => boolean;
  readonly #asked = new Map<number, Asked>();
  #id = 0;

  /** `tell` sends to a hub that is connected. */
  constructor(hub: { readonly tell: (message: unknown) => void; readonly connected: () => boolean }) {
    this.#tell = hub.tell;
    this.#connected = hub.connected;
  }

  get reachable(): boolean {
    return this.#connected();
  }

  /** claim implements BlockClaims. */
  async claim({ subnet, wants, have }: BlockWish): Promise<readonly Grant[]> {
    // What is left out comes once more, and changes nothing.
    const { grants } = await this.#ask({ type: "claim", subnet, wants, have: have.slice(-MAX_KNOWN) });
    return grants ?? [];
  }

  /** claimAddress implements BlockClaims. */
  async claimAddress({ subnet, family, address, owner, outOf }: AddressWish): Promise<ClaimedAddress> {
    const { owned, grants } = await this.#ask({
      type: "claim-address",
      subnet,
      family,
      ...(address === undefined ? {} : { address: formatIp(address) }),
      ...(owner === undefined ? {} : { owner }),
      ...(outOf === undefined ? {} : { outOf }),
    });
    if (owned !== undefined) return { kind: "owned", address: owned };
    const grant = grants?.[0];
    if (grant === undefined)
      throw new ClaimError(
        "unanswered",
        "the hub's answer holds no address; install the same version of causeway on both",
      );
    return { kind: "grant", grant };
  }

  /** giveBack implements BlockClaims. */
  async giveBack(numbers: readonly number[]): Promise<void> {
    for (let i = 0; i < numbers.length; i += MAX_RETURNED_AT_ONCE)
      await this.#ask({ type: "return", numbers: numbers.slice(i, i + MAX_RETURNED_AT_ONCE) });
  }

  /** held implements BlockClaims. */
  async held(): Promise<readonly Grant[]> {
    const { grants } = await this.#ask({ type: "grants" });
    return grants ?? [];
  }

  /** tellUsage implements BlockClaims. */
  tellUsage(used: ReadonlyMap<number, number>): void {
    const all = [...used];
    for (let i = 0; i < all.length && this.#connected(); i += MAX_TOLD_USES)
      this.#tell({ type: "usage", used: all.slice(i, i + MAX_TOLD_USES) });
  }

  #ask(message: Asked["message"]): Promise<ClaimAnswer> {
    if (this.#asked.size >= MAX_ASKED)
      return Promise.reject(new ClaimError("unanswered", `${MAX_ASKED} requests wait for a hub already`));
    const id = ++this.#id;
    const { promise, resolve, reject } = Promise.withResolvers<ClaimAnswer>();
    const deadline = after(ASK_MS, () =>
      this.#settle(id, new ClaimError("unanswered", `no hub answered in ${ASK_MS / 1000} s`)),
    );
    const settle = (answer: ClaimAnswer | ClaimError) => {
      deadline[Symbol.dispose]();
      if (answer instanceof ClaimError) reject(answer);
      else resolve(answer);
    };
    const asked = { message: { ...message, id }, settle };
    this.#asked.set(id, asked);
    if (this.#connected()) this.#tell(asked.message);
    return promise;
  }

  #settle(id: number, answer: ClaimAnswer | ClaimError): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.settle(answer);
  }

  /** online asks again what was not answered; to be called when a hub is connected. */
  online(): void {
    for (const { message } of this.#asked.values()) this.#tell(message);
  }

  /** answered takes a hub's answer. */
  answered(answer: ClaimAnswer): void {
    const { refused } = answer;
    this.#settle(answer.id, refused === undefined ? answer : claimError(refused.code, refused.message));
  }

  /** close rejects whatever waits. */
  close(): void {
    for (const id of [...this.#asked.keys()])
      this.#settle(id, new ClaimError("unanswered", "the agent stops"));
  }
}

/** Words of the register that say nothing of the wish: the same may be granted in a moment, and may even be granted already. */
const PASSING: ReadonlySet<string> = new Set(["read-only", "too-many", "failed"]);

/** claimError says why nothing was claimed, in the register's words. */
export function claimError(code: string, message: string): ClaimError {
  return new ClaimError(PASSING.has(code) ? "unanswered" : "refused", message, { code });
}
