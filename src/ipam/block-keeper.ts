/** BlockKeeper claims and returns a node's blocks of subnets, and compares them with the register. */
import { type Family, formatIp, type Ip, type Prefix } from "../net/mod.ts";
import type { Database } from "../sys/mod.ts";
import { type AddressWish, type BlockClaims, ClaimError, type Grant } from "./block-claims.ts";
import { dueReturns } from "./due-returns.ts";
import { EmptyBlocks } from "./empty-blocks.ts";
import type { Missing } from "./lease-choice.ts";
import type { Lease, LeaseStore } from "./lease-store.ts";
import { reconcile } from "./reconcile.ts";
import { blockLength, blockSize, isUsableIn, ones, type SubnetRanges } from "./subnet-ranges.ts";
import { Turns } from "./turns.ts";

/** AHEAD is how many free addresses make the node claim another block already. */
export const AHEAD = 4;
/** Blocks of a family that one claim asks for at most: what the register takes. */
const MAX_CLAIMED = 64;

/** COMPARE_MS is how often this node compares with the register: a claim that was carried out after nobody waited for it any more is found by it. */
const COMPARE_MS = 600_000;

/** KeeperOptions is what a keeper needs. */
export interface KeeperOptions {
  readonly database: Database;
  readonly store: LeaseStore;
  readonly claims: BlockClaims;
  /** What is wrong and nobody waits for. */
  readonly onProblem: (problem: string) => void;
}

/** BlockKeeper keeps blocks. What it does to one subnet, it does one after the other. */
export class BlockKeeper {
  readonly #database: Database;
  readonly #store: LeaseStore;
  readonly #claims: BlockClaims;
  readonly #problem: (problem: string) => void;
  readonly #empty = new EmptyBlocks();
  /** Subnet and family of which another block is being claimed, or was refused since the last sweep. */
  readonly #ahead = new Set<string>();
  /** How many addresses of blocks are leased, as it was told last. */
  #told: ReadonlyMap<number, number> = new Map();
  /** The register was not compared with since a hub was reached. */
  #unsure = true;
  #comparedMs = Number.NEGATIVE_INFINITY;
  /** Work that claims is done in these, by subnet. */
  readonly turns = new Turns();

  constructor({ database, store, claims, onProblem }: KeeperOptions) {
    this.#database = database;
    this.#store = store;
    this.#claims = claims;
    this.#problem = onProblem;
  }

  /** claim claims what is missing, in its subnet's turn; `waiting` is how many attachments want an address. Rejects with ClaimError. */
  async claim(subnet: SubnetRanges, { families, addresses }: Missing, waiting: number): Promise<void> {
    if (families.length > 0) {
      const wants = families.map((family) => ({ family, count: this.#needed(subnet, family, waiting) }));
      await this.#claimBlocks(subnet.name, wants);
    }
    for (const address of addresses)
      await this.claimOne({ subnet: subnet.name, family: address.family, address });
  }

  /** claimOne claims one address, in its subnet's turn, and returns it. Rejects with ClaimError. */
  async claimOne(wish: AddressWish): Promise<Ip> {
    const claimed = await this.#claims.claimAddress(wish);
    if (claimed.kind === "owned") return claimed.address;
    this.#adopt([claimed.grant]);
    return wish.address as Ip;
  }

  /** claimAhead claims another block in the background when what is held is nearly used up: the next pods need not wait. */
  claimAhead(subnet: string, { family }: Prefix): void {
    const key = `${subnet} ${family}`;
    if (this.#ahead.has(key) || !this.#claims.reachable || !this.#isShort(subnet, family)) return;
    this.#ahead.add(key);
    const claim = async () => {
      if (this.#isShort(subnet, family)) await this.#claimBlocks(subnet, [{ family, count: 1 }]);
    };
    this.turns.run(subnet, claim).then(
      () => this.#ahead.delete(key),
      // The pod that needs it will be told why; until the next sweep nobody asks again.
      () => undefined,
    );
  }

  /** Whether another block is to be claimed. Where single addresses are granted, they are scarce: none is kept that nobody needs. */
  #isShort(subnet: string, family: Family): boolean {
    const last = this.#store
      .blocks(subnet)
      .filter(({ block, returning }) => block.family === family && !returning)
      .at(-1);
    return last !== undefined && blockSize(last.block) > 1 && this.#room(subnet, family) < AHEAD;
  }

  #room(subnet: string, family: Family): number {
    return this.#store.free(subnet, family).reduce((sum, { usable, used }) => sum + ones(usable & ~used), 0);
  }

  #needed(subnet: SubnetRanges, family: Family, waiting: number): number {
    const prefix = subnet.prefixes.find((one) => one.family === family) as Prefix;
    const size = blockSize({ ...prefix, length: blockLength(prefix) });
    const blocks = Math.ceil((waiting - this.#room(subnet.name, family)) / size);
    return Math.min(Math.max(1, blocks), MAX_CLAIMED);
  }

  async #claimBlocks(
    subnet: string,
    wants: readonly { readonly family: Family; readonly count: number }[],
  ): Promise<void> {
    const have = this.#store.blocks(subnet).map(({ number }) => number);
    this.#adopt(await this.#claims.claim({ subnet, wants, have }));
  }

  #adopt(grants: readonly Grant[]): void {
    this.#database.transaction(() => {
      for (const grant of grants) this.#store.put(grant);
    });
  }

  /** released says that something of a block was leased until now. */
  released(number: number): void {
    this.#empty.forget(number);
  }

  /** sweep returns what is not needed any more. Never rejects. */
  async sweep(nowMs: number, subnetOf: (name: string) => SubnetRanges | undefined): Promise<void> {
    this.#ahead.clear();
    // What cannot be told now can still be used.
    if (!this.#claims.reachable) return;
    if (this.#unsure || nowMs - this.#comparedMs >= COMPARE_MS) {
      this.#comparedMs = nowMs;
      await this.reconcile();
    }
    const blocks = this.#store.blocks();
    const due = new Set(dueReturns(this.#empty.look(blocks, { nowMs, subnetOf }), nowMs));
    const leaving = blocks.filter(({ number, returning }) => returning || due.has(number));
    const subnets = new Set(leaving.map(({ subnet }) => subnet));
    await Promise.all(
      [...subnets].map((subnet) => this.turns.run(subnet, () => this.#giveBack(subnet, due))),
    );
    this.#tellUsage();
  }

  #tellUsage(): void {
    const now = new Map(this.#store.blocks().map(({ number, used }) => [number, ones(used)]));
    const news = [...now].filter(([number, used]) => this.#told.get(number) !== used);
    if (news.length > 0) this.#claims.tellUsage(new Map(news));
    this.#told = now;
  }

  async #giveBack(subnet: string, due: ReadonlySet<number>): Promise<void> {
    try {
      // Stored first: once the register may know, nothing of it is leased any more.
      const numbers = this.#database.transaction(() =>
        this.#store
          .blocks(subnet)
          .filter(
            ({ number, returning }) => returning || (due.has(number) && this.#store.setReturning(number)),
          )
          .map(({ number }) => number),
      );
      if (numbers.length === 0) return;
      await this.#claims.giveBack(numbers);
      this.#database.transaction(() => {
        for (const number of numbers) this.#store.drop(number);
      });
    } catch (error) {
      this.#problem(
        `Cannot return blocks of Subnet ${subnet}: ${(error as Error).message}; it is tried again`,
      );
    }
  }

  /** reconcile compares with the register. Never rejects. */
  reconcile(): Promise<void> {
    this.#unsure = true;
    this.#told = new Map();
    return this.turns.runAlone(async () => {
      try {
        const granted = await this.#claims.held();
        this.#database.transaction(() => {
          const { drop, put } = reconcile(this.#store.blocks(), granted);
          for (const number of drop) this.#store.drop(number);
          for (const grant of put) this.#store.put(grant);
        });
        for (const lease of this.#homeless()) await this.#claimAnew(lease);
        this.#unsure = false;
      } catch (error) {
        this.#problem(
          `Cannot compare this node's addresses with the register: ${(error as Error).message}; it is tried again`,
        );
      }
    });
  }

  /** Leases of addresses that are in no block of this node. */
  #homeless(): Lease[] {
    return this.#store
      .leases()
      .filter(
        ({ subnet, address, owner }) =>
          owner === undefined &&
          !this.#store.around(subnet, address).some((block) => isUsableIn(block, address)),
      );
  }

  async #claimAnew({ subnet, address, attachment }: Lease): Promise<void> {
    try {
      await this.claimOne({ subnet, family: address.family, address });
    } catch (error) {
      if (!(error instanceof ClaimError) || error.reason !== "refused") throw error;
      const { containerId, ifname } = attachment;
      this.#problem(
        `${formatIp(address)} of Subnet ${subnet} is not this node's any more, though ${ifname} of container ${containerId} has it; delete the pod: ${error.message}`,
      );
    }
  }
}
