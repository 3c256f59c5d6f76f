/** The register's addresses of subnets as a hub asks for its own pods: without a connection, at the same door as all others. */
import type { AddressWish, BlockClaims, BlockWish, ClaimedAddress, Grant } from "../ipam/mod.ts";
import { claimError } from "./node-claims.ts";
import { Refusal } from "./refusal.ts";
import type { Registrar } from "./registrar.ts";

/** HubClaims asks this machine's own register. */
export class HubClaims implements BlockClaims {
  readonly #registrar: Registrar;
  readonly #node: () => string;

  /** `node` returns this hub's name as a node. */
  constructor(registrar: Registrar, node: () => string) {
    this.#registrar = registrar;
    this.#node = node;
  }

  get reachable(): boolean {
    return this.#registrar.state().problem === undefined;
  }

  /** claim implements BlockClaims. */
  claim(wish: BlockWish): Promise<readonly Grant[]> {
    return asClaim(this.#registrar.claimBlocks(this.#node(), wish));
  }

  /** claimAddress implements BlockClaims. */
  claimAddress(wish: AddressWish): Promise<ClaimedAddress> {
    return asClaim(this.#registrar.claimAddress(this.#node(), wish));
  }

  /** giveBack implements BlockClaims. */
  giveBack(numbers: readonly number[]): Promise<void> {
    return asClaim(this.#registrar.returnBlocks(this.#node(), numbers));
  }

  /** held implements BlockClaims. */
  held(): Promise<readonly Grant[]> {
    return asClaim(this.#registrar.grantsOf(this.#node()));
  }

  /** tellUsage implements BlockClaims. */
  tellUsage(used: ReadonlyMap<number, number>): void {
    this.#registrar.usage.say(this.#node(), used);
  }
}

async function asClaim<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const { message } = error as Error;
    throw claimError(error instanceof Refusal ? error.code : "failed", message);
  }
}
