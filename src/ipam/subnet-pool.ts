/**
 * Addresses of subnets on one node. The register grants the node blocks; within a block the node hands out addresses alone, so that most
 * pods start without asking anybody, also while all hubs are away.
 *
 * ```
 *  register ── grant ──▶ block ── lease ──▶ attachment
 *      ▲                  │ ▲                   │
 *      └──── returned ────┘ └───── release ─────┘
 * ```
 * What is granted is stored before anything of it is leased, a lease before anybody uses it, and that a block is returned before the
 * register is told. A process that dies between any two of these steps, and a reply that is lost, leave an address without use for a while,
 * until the two are compared (reconcile.ts); they never give it to two.
 */
import type { Ip } from "../net/mod.ts";
import type { Database } from "../sys/mod.ts";
import type { AddressWish, BlockClaims } from "./block-claims.ts";
import { BlockKeeper } from "./block-keeper.ts";
import { chooseLeases, isMissing, type Missing, requestedOf, type SubnetWish } from "./lease-choice.ts";
import { type Lease, type LeasedBlock, LeaseStore } from "./lease-store.ts";
import type { Attachment } from "./pod-pool.ts";
import { Resting } from "./resting.ts";
import { indexIn, type SubnetRanges } from "./subnet-ranges.ts";
import { alreadyAllocated, leasedHere, mustBeUsable, nothingUsable, ofClaim } from "./subnet-pool-error.ts";

/** A grant of which nothing can be used, since the subnet has changed meanwhile, is followed by another claim; so often. */
const MAX_CLAIMS = 8;

/** SubnetPoolOptions is what a pool needs beside its database. */
export interface SubnetPoolOptions {
  readonly claims: BlockClaims;
  /** What is wrong and nobody waits for. */
  readonly onProblem?: (problem: string) => void;
}

type OwnedWish = SubnetWish & { readonly owner: string };

/** SubnetPool hands out addresses of subnets. */
export class SubnetPool {
  readonly #database: Database;
  readonly #store: LeaseStore;
  readonly #keeper: BlockKeeper;
  /** How many wait for room, by subnet. */
  readonly #crowds = new Map<string, number>();
  readonly #resting = new Resting();

  /** The database must hold subnetPoolSchema; it stays the caller's to close. */
  constructor(database: Database, { claims, onProblem = () => {} }: SubnetPoolOptions) {
    this.#database = database;
    this.#store = new LeaseStore(database);
    this.#keeper = new BlockKeeper({ database, store: this.#store, claims, onProblem });
  }

  /**
   * allocate leases one address of each of the subnet's prefixes, or those that are requested; all or none, in the order of the prefixes.
   * They are on disk when it resolves. An attachment that has addresses already is refused. Rejects with SubnetPoolError.
   */
  async allocate(attachment: Attachment, wish: SubnetWish): Promise<Ip[]> {
    const { subnet, owner } = wish;
    for (const address of wish.requested ?? []) mustBeUsable(subnet, address);
    const inTurn = (work: () => Promise<Ip[]>) => this.#keeper.turns.run(subnet.name, work);
    if (owner !== undefined) return inTurn(() => this.#allocateOwned(attachment, { ...wish, owner }));
    // Who comes later must not take what was claimed for those who wait.
    if (this.#crowd(subnet) === 0) {
      const leased = this.#lease(attachment, wish);
      if (!isMissing(leased)) return this.#leased(subnet, leased);
      if (leased.families.length === 0) return inTurn(() => this.#claimAndLease(attachment, wish));
    }
    this.#crowds.set(subnet.name, this.#crowd(subnet) + 1);
    try {
      return await inTurn(() => this.#claimAndLease(attachment, wish));
    } finally {
      const others = this.#crowd(subnet) - 1;
      if (others === 0) this.#crowds.delete(subnet.name);
      else this.#crowds.set(subnet.name, others);
    }
  }

  /** release ends an attachment's leases; true when there were any; a power loss may undo it. An owner keeps its addresses. */
  release(attachment: Attachment): boolean {
    const gone = this.#database.relaxed(() => this.#store.remove(attachment));
    for (const { subnet, address } of gone) {
      this.#resting.add(subnet, address);
      for (const { number } of this.#store.around(subnet, address)) this.#keeper.released(number);
    }
    return gone.length > 0;
  }

  /** addressesOf returns what an attachment has, in the order of allocation. */
  addressesOf(attachment: Attachment): Ip[] {
    return this.#store.leasesOf(attachment).map(({ address }) => address);
  }

  /** leases returns all leases, to be compared with the pods that there are. */
  leases(): Lease[] {
    return this.#store.leases();
  }

  /** keepOnly ends the leases of all other attachments; to be called before the first is made: nobody was told of these. */
  keepOnly(isThere: (attachment: Attachment) => boolean): void {
    for (const { attachment } of this.leases()) if (!isThere(attachment)) this.release(attachment);
  }

  /** blocks returns what this node holds, the oldest first. */
  blocks(): LeasedBlock[] {
    return this.#store.blocks();
  }

  /** forgetBlocks is to be called when the node has left its mesh, or joins one: nothing that it held is its own any more. Leases stay. */
  forgetBlocks(): void {
    this.#database.transaction(() => {
      for (const { number } of this.#store.blocks()) this.#store.drop(number);
    });
  }

  /** reconcile compares with the register; to be called each time that a hub was reached. Never rejects. */
  reconcile(): Promise<void> {
    return this.#keeper.reconcile();
  }

  /**
   * sweep returns what is not needed any more; to be called about every five seconds, with the time of any clock. `subnetOf` finds a Subnet as
   * it is now. Never rejects.
   */
  sweep(nowMs: number, subnetOf: (name: string) => SubnetRanges | undefined): Promise<void> {
    this.#resting.age();
    return this.#keeper.sweep(nowMs, subnetOf);
  }

  #crowd({ name }: SubnetRanges): number {
    return this.#crowds.get(name) ?? 0;
  }

  /** Leases what is held: all that is wished, or nothing, and tells what is missing. */
  #lease(attachment: Attachment, wish: SubnetWish): readonly Ip[] | Missing {
    const { name } = wish.subnet;
    return this.#database.transaction((): readonly Ip[] | Missing => {
      this.#mustHaveNone(attachment);
      const choice = chooseLeases(wish, {
        free: (family) => this.#store.free(name, family),
        around: (address) => this.#store.around(name, address),
        rests: (address) => this.#resting.has(name, address),
      });
      if (isMissing(choice)) return choice;
      for (const { address } of choice) this.#mustBeFree(name, address);
      for (const [position, { address, block }] of choice.entries())
        this.#store.add({ subnet: name, address, attachment }, { position, block });
      const leased = choice.map(({ address }) => address);
      wish.onLeased?.(leased);
      return leased;
    });
  }

  #mustHaveNone(attachment: Attachment): void {
    const has = this.addressesOf(attachment);
    if (has.length > 0) throw alreadyAllocated(attachment, has);
  }

  /** An address of an owner may be leased again for it: a virtual machine's next pod starts before its last one is gone. */
  #mustBeFree(subnet: string, address: Ip, owner?: string): void {
    const leases = this.#store.leasesAt(subnet, address);
    const other = leases.find((lease) => owner === undefined || lease.owner !== owner);
    if (other !== undefined) throw leasedHere(subnet, address, other.attachment);
  }

  #leased(subnet: SubnetRanges, addresses: readonly Ip[]): Ip[] {
    for (const prefix of subnet.prefixes) this.#keeper.claimAhead(subnet.name, prefix);
    return [...addresses];
  }

  async #claimAndLease(attachment: Attachment, wish: SubnetWish): Promise<Ip[]> {
    const { subnet } = wish;
    for (let claims = 0; claims < MAX_CLAIMS; claims++) {
      const leased = this.#lease(attachment, wish);
      if (!isMissing(leased)) return this.#leased(subnet, leased);
      await this.#keeper.claim(subnet, leased, this.#crowd(subnet)).catch((error: unknown) => {
        throw ofClaim(subnet.name, error);
      });
    }
    throw nothingUsable(subnet.name);
  }

  async #allocateOwned(attachment: Attachment, wish: OwnedWish): Promise<Ip[]> {
    const { name } = wish.subnet;
    const { owner } = wish;
    this.#mustHaveNone(attachment);
    const addresses = await this.#claimAllOwned(wish).catch((error: unknown) => {
      throw ofClaim(name, error);
    });
    this.#database.transaction(() => {
      this.#mustHaveNone(attachment);
      for (const [position, address] of addresses.entries()) {
        this.#mustBeFree(name, address, owner);
        this.#store.add({ subnet: name, address, owner, attachment }, { position });
      }
      wish.onLeased?.(addresses);
    });
    return addresses;
  }

  async #claimAllOwned({ subnet, owner, requested = [] }: OwnedWish): Promise<Ip[]> {
    const addresses: Ip[] = [];
    for (const { family } of subnet.prefixes) {
      const wish = { subnet: subnet.name, family, owner };
      const named = requestedOf(requested, family);
      if (named.length === 0) addresses.push(await this.#keeper.claimOne(wish));
      for (const address of named) addresses.push(await this.#claimOwned({ ...wish, address }));
    }
    return addresses;
  }

  /**
   * An address that the node may hand out itself stops being one before it is claimed for its owner, for as long as the node has the block:
   * the request may be carried out late, when nobody waits for it any more.
   */
  async #claimOwned(wish: AddressWish & { readonly address: Ip; readonly owner: string }): Promise<Ip> {
    const { subnet, address, owner } = wish;
    const outOf = this.#database.transaction(() => {
      this.#mustBeFree(subnet, address, owner);
      const own = this.#store.around(subnet, address);
      for (const { number, usable, block } of own)
        this.#store.setUsable(number, usable & ~(1 << indexIn(block, address)));
      return own.map(({ number }) => number);
    });
    return this.#keeper.claimOne({ ...wish, outOf });
  }
}
