/** Rows of a node's blocks of subnets and of what is leased of them. The database is the only state. */
import {
  type Family,
  formatIp,
  formatPrefix,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
} from "../net/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import type { Grant } from "./block-claims.ts";
import type { Attachment } from "./pod-pool.ts";
import { addressAt, blocksAround, indexIn } from "./subnet-ranges.ts";

/** subnetPoolSchema is the step of a database's schema that the pool of subnets needs. */
export const subnetPoolSchema = `
  CREATE TABLE subnet_block (
    number INTEGER PRIMARY KEY,
    subnet TEXT NOT NULL, family INTEGER NOT NULL, block TEXT NOT NULL,
    -- Which addresses the node may hand out, and which are leased: bit 0 is the first one's.
    usable INTEGER NOT NULL, used INTEGER NOT NULL,
    -- 1: the register was told, or will be, that it has it back; nothing of it is leased any more.
    leaving INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX subnet_block_place ON subnet_block (subnet, block);
  CREATE INDEX subnet_block_free ON subnet_block (subnet, family) WHERE leaving = 0 AND usable & ~used <> 0;
  CREATE TABLE subnet_lease (
    subnet TEXT NOT NULL, address TEXT NOT NULL,
    -- To whom the address belongs on whatever node; empty: to nobody but the attachment.
    owner TEXT NOT NULL,
    network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (subnet, address, network, container, ifname)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX subnet_lease_alone ON subnet_lease (subnet, address) WHERE owner = '';
  CREATE INDEX subnet_lease_attachment ON subnet_lease (network, container, ifname);
`;

/** LeasedBlock is a block that the node holds, and which of its addresses are leased. */
export interface LeasedBlock extends Grant {
  readonly used: number;
  readonly returning: boolean;
}

/** Lease is an address that an attachment has. */
export interface Lease {
  readonly subnet: string;
  readonly address: Ip;
  /** To whom the address belongs on whatever node; absent: to nobody but the attachment. */
  readonly owner?: string;
  readonly attachment: Attachment;
}

interface BlockRow {
  readonly number: number;
  readonly subnet: string;
  readonly block: string;
  readonly usable: number;
  readonly used: number;
  readonly leaving: number;
}

interface LeaseRow {
  readonly subnet: string;
  readonly address: string;
  readonly owner: string;
  readonly network: string;
  readonly container: string;
  readonly ifname: string;
}

/** LeaseStore reads and writes them; call its writing methods inside a transaction. */
export class LeaseStore {
  readonly #blocks: Statement<BlockRow>;
  readonly #blocksIn: Statement<BlockRow>;
  readonly #free: Statement<BlockRow>;
  readonly #at: Statement<BlockRow>;
  readonly #put: Statement;
  readonly #setUsable: Statement;
  readonly #use: Statement;
  readonly #unuse: Statement;
  readonly #setReturning: Statement;
  readonly #drop: Statement;
  readonly #leases: Statement<LeaseRow>;
  readonly #leasesAt: Statement<LeaseRow>;
  readonly #leasesOf: Statement<LeaseRow>;
  readonly #insert: Statement;
  readonly #delete: Statement;

  /** The database must hold subnetPoolSchema. */
  constructor(database: Database) {
    const key = "network = ? AND container = ? AND ifname = ?";
    const block = "SELECT * FROM subnet_block";
    this.#blocks = database.prepare(`${block} ORDER BY number`);
    this.#blocksIn = database.prepare(`${block} WHERE subnet = ? ORDER BY number`);
    this.#free = database.prepare(
      `${block} WHERE subnet = ? AND family = ? AND leaving = 0 AND usable & ~used <> 0 ORDER BY number`,
    );
    this.#at = database.prepare(`${block} WHERE subnet = ? AND block = ? AND leaving = 0`);
    this.#put = database.prepare("INSERT OR REPLACE INTO subnet_block VALUES (?, ?, ?, ?, ?, ?, 0)");
    this.#setUsable = database.prepare("UPDATE subnet_block SET usable = ? WHERE number = ?");
    this.#use = database.prepare("UPDATE subnet_block SET used = used | ? WHERE number = ?");
    this.#unuse = database.prepare("UPDATE subnet_block SET used = used & ~? WHERE number = ?");
    this.#setReturning = database.prepare(
      "UPDATE subnet_block SET leaving = 1 WHERE number = ? AND used = 0",
    );
    this.#drop = database.prepare("DELETE FROM subnet_block WHERE number = ?");
    this.#leases = database.prepare("SELECT * FROM subnet_lease ORDER BY subnet, address");
    this.#leasesAt = database.prepare("SELECT * FROM subnet_lease WHERE subnet = ? AND address = ?");
    this.#leasesOf = database.prepare(`SELECT * FROM subnet_lease WHERE ${key} ORDER BY position`);
    this.#insert = database.prepare("INSERT INTO subnet_lease VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#delete = database.prepare(`DELETE FROM subnet_lease WHERE ${key}`);
  }

  /** blocks returns all blocks, of one subnet or of all, the oldest first. */
  blocks(subnet?: string): LeasedBlock[] {
    return (subnet === undefined ? this.#blocks.all() : this.#blocksIn.all(subnet)).map(leasedBlock);
  }

  /** free returns the blocks of which something can be leased, the oldest first. */
  free(subnet: string, family: Family): LeasedBlock[] {
    return this.#free.all(subnet, family).map(leasedBlock);
  }

  /** at returns the held block of exactly this place. */
  at(subnet: string, block: Prefix): LeasedBlock | undefined {
    const row = this.#at.get(subnet, formatPrefix(block));
    return row && leasedBlock(row);
  }

  /** around returns the held blocks that an address is in: a single one, one of 16, or both. */
  around(subnet: string, address: Ip): LeasedBlock[] {
    return blocksAround(address).flatMap((block) => this.at(subnet, block) ?? []);
  }

  /**
   * put stores a grant; what is leased of it counts as used. Whatever was known of the same place before is gone. Of a known grant no more can
   * be handed out than before: what the node has stopped handing out may become an owner's any moment, by a request that comes late.
   */
  put({ number, subnet, block, usable: granted }: Grant): void {
    let usable = granted;
    for (const row of this.#blocksIn.all(subnet))
      if (row.block === formatPrefix(block)) {
        if (row.number === number) usable &= row.usable;
        else this.#drop.run(row.number);
      }
    this.#put.run(
      number,
      subnet,
      block.family,
      formatPrefix(block),
      usable,
      this.#usedOf(subnet, block, usable),
    );
  }

  #usedOf(subnet: string, block: Prefix, usable: number): number {
    let used = 0;
    for (let index = 0; usable >> index !== 0; index++)
      if (((usable >> index) & 1) === 1 && this.leasesAt(subnet, addressAt(block, index)).length > 0)
        used |= 1 << index;
    return used;
  }

  setUsable(number: number, usable: number): void {
    this.#setUsable.run(usable, number);
  }

  /** setReturning says that a block is given back; false when something of it is leased. */
  setReturning(number: number): boolean {
    return this.#setReturning.run(number) > 0;
  }

  drop(number: number): void {
    this.#drop.run(number);
  }

  /** leases returns everything that is leased. */
  leases(): Lease[] {
    return this.#leases.all().map(lease);
  }

  /** leasesAt returns the leases of one address: several only of an owner's. */
  leasesAt(subnet: string, address: Ip): Lease[] {
    return this.#leasesAt.all(subnet, formatIp(address)).map(lease);
  }

  /** leasesOf returns what an attachment has, in the order of allocation. */
  leasesOf({ network, containerId, ifname }: Attachment): Lease[] {
    return this.#leasesOf.all(network, containerId, ifname).map(lease);
  }

  /** add leases an address of a held block, or without one an owner's. */
  add(
    { subnet, address, owner, attachment }: Lease,
    { position, block }: { readonly position: number; readonly block?: LeasedBlock },
  ): void {
    const { network, containerId, ifname } = attachment;
    this.#insert.run(subnet, formatIp(address), owner ?? "", network, containerId, ifname, position);
    if (block !== undefined) this.#use.run(1 << indexIn(block.block, address), block.number);
  }

  /** remove ends an attachment's leases and returns them. */
  remove(attachment: Attachment): Lease[] {
    const { network, containerId, ifname } = attachment;
    const gone = this.leasesOf(attachment);
    this.#delete.run(network, containerId, ifname);
    for (const { subnet, address } of gone)
      for (const block of this.around(subnet, address))
        this.#unuse.run(1 << indexIn(block.block, address), block.number);
    return gone;
  }
}

function leasedBlock({ number, subnet, block, usable, used, leaving }: BlockRow): LeasedBlock {
  return { number, subnet, block: parsePrefix(block), usable, used, returning: leaving === 1 };
}

function lease({ subnet, address, owner, network, container, ifname }: LeaseRow): Lease {
  return {
    subnet,
    address: parseIp(address),
    attachment: { network, containerId: container, ifname },
    ...(owner === "" ? {} : { owner }),
  };
}
