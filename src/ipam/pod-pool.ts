/**
 * Addresses of the pods on one node: each belongs to an attachment, is on disk before anybody uses it, and comes back only by
 * release. All networks of a node share its ranges, so an address is unique on the node and not just in its network.
 *
 * The database is the only state: a process that dies at any instant leaves either the reservation or nothing.
 */
import { formatIp, formatPrefix, type Ip, ipEqual, parseIp, type Prefix } from "../net/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import { chooseAddress, isUsable, usableOf } from "./choose.ts";

/** Attachment is one interface of one container in one network: what an address belongs to. */
export interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** PodPoolError says why there is no address. */
export class PodPoolError extends Error {
  override readonly name = "PodPoolError";
  readonly reason: "exhausted" | "taken" | "outside" | "already-allocated";

  constructor(reason: PodPoolError["reason"], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** podPoolSchema is the step of a database's schema that the pool needs. */
export const podPoolSchema = `
  CREATE TABLE pod_address (
    address TEXT NOT NULL PRIMARY KEY,
    range TEXT NOT NULL,
    network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,
    position INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX pod_address_owner ON pod_address (network, container, ifname);
  CREATE INDEX pod_address_range ON pod_address (range);
  CREATE TABLE pod_cursor (range TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/** AllocateOptions say which addresses an attachment shall have. */
export interface AllocateOptions {
  /** The node's ranges; the attachment gets one address of each, unless addresses of that family are requested. */
  readonly ranges: readonly Prefix[];
  /** Addresses that it must have. */
  readonly requested?: readonly Ip[];
  /** Addresses that it must not be given, since it has them in another network; those that are requested are given all the same. */
  readonly avoid?: readonly Ip[];
}

interface Owner {
  readonly network: string;
  readonly container: string;
  readonly ifname: string;
}

/** PodPool hands out the addresses of a node's ranges. */
export class PodPool {
  readonly #database: Database;
  readonly #owner: Statement<Owner>;
  readonly #owned: Statement<{ address: string }>;
  readonly #count: Statement<{ count: number }>;
  readonly #insert: Statement;
  readonly #delete: Statement;
  readonly #cursor: Statement<{ address: string }>;
  readonly #setCursor: Statement;

  /** The database must hold podPoolSchema; it stays the caller's to close. */
  constructor(database: Database) {
    const key = "network = ? AND container = ? AND ifname = ?";
    this.#database = database;
    this.#owner = database.prepare("SELECT network, container, ifname FROM pod_address WHERE address = ?");
    this.#owned = database.prepare(`SELECT address FROM pod_address WHERE ${key} ORDER BY position`);
    this.#count = database.prepare("SELECT count(*) AS count FROM pod_address WHERE range = ?");
    this.#insert = database.prepare("INSERT INTO pod_address VALUES (?, ?, ?, ?, ?, ?)");
    this.#delete = database.prepare(`DELETE FROM pod_address WHERE ${key}`);
    this.#cursor = database.prepare("SELECT address FROM pod_cursor WHERE range = ?");
    this.#setCursor = database.prepare("INSERT OR REPLACE INTO pod_cursor VALUES (?, ?)");
  }

  /**
   * allocate reserves addresses, all or none, and returns them in the order of the ranges; they are on disk when it returns.
   * An attachment that has addresses already is refused (the specification's rule for a second ADD); release it first.
   */
  allocate(attachment: Attachment, options: AllocateOptions): Ip[] {
    return this.#database.transaction((): Ip[] => {
      if (this.addressesOf(attachment).length > 0)
        throw new PodPoolError(
          "already-allocated",
          `Cannot allocate an address for ${describe(attachment)}: it has ${this.addressesOf(attachment).map(formatIp).join(", ")} already; delete the attachment first`,
        );
      const requested = options.requested ?? [];
      for (const address of requested) this.#checkRequested(address, options.ranges);
      const chosen = options.ranges.flatMap((range) => {
        const wanted = requested.filter((address) => address.family === range.family);
        return wanted.length > 0
          ? wanted.map((address) => ({ range, address }))
          : [{ range, address: this.#next(range, options.avoid ?? []) }];
      });
      for (const [position, { range, address }] of chosen.entries()) {
        const { network, containerId, ifname } = attachment;
        this.#insert.run(formatIp(address), formatPrefix(range), network, containerId, ifname, position);
      }
      return chosen.map(({ address }) => address);
    });
  }

  /** release gives an attachment's addresses back; true when there were any. */
  release(attachment: Attachment): boolean {
    return this.#delete.run(attachment.network, attachment.containerId, attachment.ifname) > 0;
  }

  /** addressesOf returns what an attachment has, in the order of allocation. */
  addressesOf(attachment: Attachment): Ip[] {
    return this.#owned
      .all(attachment.network, attachment.containerId, attachment.ifname)
      .map(({ address }) => parseIp(address));
  }

  /** free returns how many addresses of a range can still be handed out. */
  free(range: Prefix): bigint {
    const usable = usableOf(range);
    return usable === undefined ? 0n : usable.last - usable.first + 1n - BigInt(this.#taken(range));
  }

  #taken(range: Prefix): number {
    return this.#count.get(formatPrefix(range))?.count ?? 0;
  }

  #next(range: Prefix, avoid: readonly Ip[]): Ip {
    const last = this.#cursor.get(formatPrefix(range))?.address;
    const address = chooseAddress(range, {
      taken: (candidate) =>
        this.#owner.get(formatIp(candidate)) !== undefined || avoid.some((one) => ipEqual(one, candidate)),
      takenCount: () => this.#taken(range) + avoid.length,
      ...(last === undefined ? {} : { after: parseIp(last) }),
    });
    if (address === undefined)
      throw new PodPoolError(
        "exhausted",
        `Cannot allocate an address of ${formatPrefix(range)}: all ${this.#taken(range)} are in use; delete pods or give the node a larger range`,
      );
    this.#setCursor.run(formatPrefix(range), formatIp(address));
    return address;
  }

  #checkRequested(address: Ip, ranges: readonly Prefix[]): void {
    if (!ranges.some((range) => isUsable(range, address)))
      throw new PodPoolError(
        "outside",
        `Cannot allocate ${formatIp(address)}: it is not a pod address of this node (${ranges.map(formatPrefix).join(", ") || "no ranges"}); request another`,
      );
    const owner = this.#owner.get(formatIp(address));
    if (owner !== undefined)
      throw new PodPoolError(
        "taken",
        `Cannot allocate ${formatIp(address)}: ${describe({ ...owner, containerId: owner.container })} has it; request another`,
      );
  }
}

function describe({ network, containerId, ifname }: Attachment): string {
  return `${ifname} of container ${containerId} in network ${network}`;
}
