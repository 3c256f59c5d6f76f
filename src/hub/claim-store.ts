/** Rows of `address_block` and `owned_address`: which node, or which owner, has which addresses of subnets. */
import { addressAt, blockSize, type Grant, type NextBlock } from "../ipam/mod.ts";
import { type Family, type Ip, ip, type Prefix, prefixLast } from "../net/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";

interface BlockRow {
  readonly number: number;
  readonly subnet: string;
  readonly family: Family;
  readonly first: string;
  readonly length: number;
  readonly usable: number;
  readonly node: string;
}

interface OwnedRow {
  readonly subnet: string;
  readonly family: Family;
  readonly address: string;
  readonly owner: string;
  readonly node: string | null;
}

/** StoredGrant is a grant and whose it is. */
export interface StoredGrant extends Grant {
  readonly node: string;
}

/** ClaimCounts is how much of a subnet is claimed, by how many nodes. */
export interface ClaimCounts {
  /** Of 16 addresses. */
  readonly blocks: number;
  readonly singles: number;
  readonly nodes: number;
}

/** OwnedAddress is an address that stays with its owner. */
export interface OwnedAddress {
  readonly subnet: string;
  readonly address: Ip;
  readonly owner: string;
  /** Where the owner asked last; absent when that node was removed. */
  readonly node?: string;
}

/** ClaimStore reads and writes claims; call its writing methods inside a transaction. */
export class ClaimStore {
  readonly #all: Statement<BlockRow>;
  readonly #ofNode: Statement<BlockRow>;
  readonly #ofNodeIn: Statement<BlockRow>;
  readonly #at: Statement<BlockRow>;
  readonly #within: Statement<BlockRow>;
  readonly #counts: Statement<ClaimCounts>;
  readonly #countOfLength: Statement<{ n: number }>;
  readonly #countOfNode: Statement<{ n: number }>;
  readonly #insert: Statement;
  readonly #setUsable: Statement;
  readonly #remove: Statement;
  readonly #next: Statement<{ number: number }>;
  readonly #cursor: Statement<{ block: number }>;
  readonly #setCursor: Statement;
  readonly #allOwned: Statement<OwnedRow>;
  readonly #owned: Statement<OwnedRow>;
  readonly #ownedWithin: Statement<OwnedRow>;
  readonly #ownedBy: Statement<OwnedRow>;
  readonly #countOwned: Statement<{ n: number }>;
  readonly #putOwned: Statement;
  readonly #removeOwned: Statement;
  readonly #removeOwners: Statement;

  constructor(database: Database) {
    const sort = "ORDER BY subnet, family, first, length";
    const [here, at] = [
      "subnet = ? AND family = ?",
      "subnet = ? AND family = ? AND first = ? AND length = ?",
    ];
    const single = "length = (CASE family WHEN 4 THEN 32 ELSE 128 END)";
    this.#all = database.prepare(`SELECT * FROM address_block ${sort}`);
    this.#ofNode = database.prepare(`SELECT * FROM address_block WHERE node = ? ${sort}`);
    this.#ofNodeIn = database.prepare(
      "SELECT * FROM address_block WHERE node = ? AND subnet = ? AND family = ? ORDER BY number",
    );
    this.#at = database.prepare(`SELECT * FROM address_block WHERE ${at}`);
    this.#within = database.prepare(
      `SELECT * FROM address_block WHERE ${here} AND first BETWEEN ? AND ? ORDER BY first, length`,
    );
    this.#counts = database.prepare(
      `SELECT count(*) FILTER (WHERE NOT ${single}) AS blocks, count(*) FILTER (WHERE ${single}) AS singles, count(DISTINCT node) AS nodes FROM address_block WHERE ${here}`,
    );
    this.#countOfLength = database.prepare(
      `SELECT count(*) AS n FROM address_block WHERE ${here} AND length = ?`,
    );
    this.#countOfNode = database.prepare("SELECT count(*) AS n FROM address_block WHERE node = ?");
    this.#insert = database.prepare("INSERT INTO address_block VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#setUsable = database.prepare("UPDATE address_block SET usable = ? WHERE number = ?");
    this.#remove = database.prepare("DELETE FROM address_block WHERE number = ?1 AND (?2 = '' OR node = ?2)");
    // Made by the first claim: a snapshot of an older hub has no row.
    this.#next = database.prepare(
      "INSERT INTO grant_counter VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET next = next + 1 RETURNING next - 1 AS number",
    );
    this.#cursor = database.prepare(`SELECT block FROM block_cursor WHERE ${here}`);
    this.#setCursor = database.prepare("INSERT OR REPLACE INTO block_cursor VALUES (?, ?, ?)");
    this.#allOwned = database.prepare("SELECT * FROM owned_address ORDER BY subnet, family, address");
    this.#owned = database.prepare(`SELECT * FROM owned_address WHERE ${here} AND address = ?`);
    this.#ownedWithin = database.prepare(
      `SELECT * FROM owned_address WHERE ${here} AND address BETWEEN ? AND ? ORDER BY address`,
    );
    this.#ownedBy = database.prepare(
      "SELECT * FROM owned_address WHERE subnet = ? AND owner = ? AND family = ? ORDER BY address",
    );
    this.#countOwned = database.prepare(`SELECT count(*) AS n FROM owned_address WHERE ${here}`);
    this.#putOwned = database.prepare("INSERT OR REPLACE INTO owned_address VALUES (?, ?, ?, ?, ?)");
    this.#removeOwned = database.prepare(`DELETE FROM owned_address WHERE ${here} AND address = ?`);
    this.#removeOwners = database.prepare("DELETE FROM owned_address WHERE subnet = ?");
  }

  /** all returns all grants, in order of subnets and addresses. */
  all(): StoredGrant[] {
    return this.#all.all().map(grant);
  }

  /** ofNode returns the grants of a node. */
  ofNode(node: string): StoredGrant[] {
    return this.#ofNode.all(node).map(grant);
  }

  /** ofNodeIn returns the grants of a node in one family of a subnet, the oldest first. */
  ofNodeIn(node: string, subnet: string, family: Family): StoredGrant[] {
    return this.#ofNodeIn.all(node, subnet, family).map(grant);
  }

  /** countOfNode returns how many grants a node has. */
  countOfNode(node: string): number {
    return this.#countOfNode.get(node)?.n ?? 0;
  }

  /** at returns the grant of exactly this block. */
  at(subnet: string, block: Prefix): StoredGrant | undefined {
    const row = this.#at.get(subnet, block.family, hex(block.value), block.length);
    return row && grant(row);
  }

  /** countOfLength returns how many blocks of a size are claimed. */
  countOfLength(subnet: string, family: Family, length: number): number {
    return this.#countOfLength.get(subnet, family, length)?.n ?? 0;
  }

  /** counts returns how much of a subnet is claimed. */
  counts(subnet: string, family: Family): ClaimCounts {
    return this.#counts.get(subnet, family) as ClaimCounts;
  }

  /** held returns which addresses of a block are somebody's: all, when it is claimed itself. */
  held(subnet: string, block: Prefix): "all" | number {
    if (this.at(subnet, block) !== undefined) return "all";
    if (blockSize(block) === 1) return this.owned(subnet, addressAt(block, 0)) === undefined ? 0 : 1;
    const range = [subnet, block.family, hex(block.value), hex(prefixLast(block).value)] as const;
    const taken = [...this.#within.all(...range), ...this.#ownedWithin.all(...range)];
    return taken.reduce((mask, row) => mask | (1 << Number(addressOf(row) - block.value)), 0);
  }

  /** add grants a block to a node. */
  add(node: string, subnet: string, { block, usable }: Omit<NextBlock, "index">): StoredGrant {
    const number = this.#next.get()?.number as number;
    this.#insert.run(number, subnet, block.family, hex(block.value), block.length, usable, node);
    return { number, subnet, block, usable, node };
  }

  /** setUsable changes which addresses of a grant the node may hand out. */
  setUsable(number: number, usable: number): void {
    this.#setUsable.run(usable, number);
  }

  /** remove ends a grant if it is the node's, or anybody's without one; true when there was one. */
  remove(number: number, node = ""): boolean {
    return this.#remove.run(number, node) > 0;
  }

  /** cursor is the index of the block that was claimed last. */
  cursor(subnet: string, family: Family): number | undefined {
    return this.#cursor.get(subnet, family)?.block;
  }

  setCursor(subnet: string, family: Family, index: number): void {
    this.#setCursor.run(subnet, family, index);
  }

  /** allOwned returns the addresses of all owners. */
  allOwned(): OwnedAddress[] {
    return this.#allOwned.all().map(ownedAddress);
  }

  /** owned returns to which owner an address belongs. */
  owned(subnet: string, address: Ip): OwnedAddress | undefined {
    const row = this.#owned.get(subnet, address.family, hex(address.value));
    return row && ownedAddress(row);
  }

  /** ownedBy returns the addresses of an owner. */
  ownedBy(subnet: string, owner: string, family: Family): OwnedAddress[] {
    return this.#ownedBy.all(subnet, owner, family).map(ownedAddress);
  }

  /** countOwned returns how many addresses of a subnet have an owner. */
  countOwned(subnet: string, family: Family): number {
    return this.#countOwned.get(subnet, family)?.n ?? 0;
  }

  /** putOwned gives an address to an owner, or moves it to another node. */
  putOwned({ subnet, address, owner, node }: OwnedAddress): void {
    this.#putOwned.run(subnet, address.family, hex(address.value), owner, node ?? null);
  }

  /** removeOwned takes an address from its owner; true when it had one. */
  removeOwned(subnet: string, address: Ip): boolean {
    return this.#removeOwned.run(subnet, address.family, hex(address.value)) > 0;
  }

  /** removeOwners takes a subnet's addresses from all owners. */
  removeOwners(subnet: string): void {
    this.#removeOwners.run(subnet);
  }
}

function grant({ number, subnet, family, first, length, usable, node }: BlockRow): StoredGrant {
  return { number, subnet, block: { family, value: BigInt(`0x${first}`), length }, usable, node };
}

function ownedAddress({ subnet, family, address, owner, node }: OwnedRow): OwnedAddress {
  const at = ip(family, BigInt(`0x${address}`));
  return { subnet, address: at, owner, ...(node === null ? {} : { node }) };
}

function addressOf(row: BlockRow | OwnedRow): bigint {
  return BigInt(`0x${"first" in row ? row.first : row.address}`);
}

function hex(value: bigint): string {
  return value.toString(16).padStart(32, "0");
}
