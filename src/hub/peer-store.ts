/** Rows of the table `peer`: external peers, which share names, numbers and addresses with nodes. */
import {
  bitsOf,
  formatEndpoint,
  formatIp,
  formatPrefix,
  ipPlus,
  parseEndpoint,
  parseIp,
  parsePrefix,
  parsePublicKey,
  prefixAddress,
  type PublicKey,
} from "../net/mod.ts";
import type { ExternalPeer, Mesh } from "../resources/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";

interface Row {
  readonly name: string;
  readonly number: number;
  readonly public_key: string;
  readonly hub: string;
  readonly overlay4: string | null;
  readonly overlay6: string | null;
  readonly allowed: string;
  readonly preshared_key: number;
  readonly endpoint: string | null;
  readonly role: string | null;
  readonly site: string | null;
}

/** StoredPeer is an external peer with its number. */
export interface StoredPeer {
  readonly number: number;
  readonly peer: ExternalPeer;
}

/** highestNumber returns the last number that both of a mesh's overlays have an address for. */
export function highestNumber(mesh: Mesh): number {
  const bits = [mesh.overlay4, mesh.overlay6].map((prefix) => bitsOf(prefix.family) - prefix.length);
  return 2 ** Math.min(...bits, 24) - 2;
}

/** peerAddresses returns the addresses that belong to a number, of the families asked for. */
export function peerAddresses(
  mesh: Mesh,
  number: number,
  families: readonly (4 | 6)[],
): Pick<ExternalPeer, "overlay4" | "overlay6"> {
  return {
    ...(families.includes(4) ? { overlay4: ipPlus(prefixAddress(mesh.overlay4), BigInt(number)) } : {}),
    ...(families.includes(6) ? { overlay6: ipPlus(prefixAddress(mesh.overlay6), BigInt(number)) } : {}),
  };
}

/** PeerStore reads and writes external peers; call its writing methods inside a transaction. */
export class PeerStore {
  readonly #all: Statement<Row>;
  readonly #byName: Statement<Row>;
  readonly #byKey: Statement<Row>;
  readonly #taken: Statement<{ n: number }>;
  readonly #free: Statement<{ number: number | null }>;
  readonly #insert: Statement;
  readonly #delete: Statement;

  constructor(database: Database) {
    this.#all = database.prepare("SELECT * FROM peer ORDER BY number");
    this.#byName = database.prepare("SELECT * FROM peer WHERE name = ?");
    this.#byKey = database.prepare("SELECT * FROM peer WHERE public_key = ?");
    const numbers = "SELECT number FROM node UNION ALL SELECT number FROM peer";
    this.#taken = database.prepare(`SELECT count(*) AS n FROM (${numbers}) WHERE number = ?`);
    // From the end: the numbers from 1 are nodes', which have a pod range each.
    this.#free = database.prepare(
      `SELECT max(n) AS number FROM (SELECT ?1 AS n UNION SELECT number - 1 FROM (${numbers})) WHERE n >= 1 AND n <= ?1 AND n NOT IN (${numbers})`,
    );
    this.#insert = database.prepare(
      "INSERT INTO peer (name, number, public_key, hub, overlay4, overlay6, allowed, preshared_key, endpoint, role, site) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#delete = database.prepare("DELETE FROM peer WHERE name = ?");
  }

  all(): ExternalPeer[] {
    return this.#all.all().map((row) => stored(row).peer);
  }

  byName(name: string): StoredPeer | undefined {
    const row = this.#byName.get(name);
    return row && stored(row);
  }

  byKey(key: PublicKey): ExternalPeer | undefined {
    const row = this.#byKey.get(key);
    return row && stored(row).peer;
  }

  /** isTaken tells whether a node or a peer has a number. */
  isTaken(number: number): boolean {
    return (this.#taken.get(number)?.n ?? 0) > 0;
  }

  /** free returns the highest number that nobody has, or undefined when all are given. */
  free(highest: number): number | undefined {
    return this.#free.get(highest)?.number ?? undefined;
  }

  add({ number, peer }: StoredPeer): void {
    this.#insert.run(
      peer.name,
      number,
      peer.publicKey,
      peer.hub,
      peer.overlay4 === undefined ? null : formatIp(peer.overlay4),
      peer.overlay6 === undefined ? null : formatIp(peer.overlay6),
      JSON.stringify(peer.allowed.map(formatPrefix)),
      peer.presharedKey,
      peer.endpoint === undefined ? null : formatEndpoint(peer.endpoint),
      peer.role ?? null,
      peer.site ?? null,
    );
  }

  remove(name: string): void {
    this.#delete.run(name);
  }
}

function stored(row: Row): StoredPeer {
  const peer: ExternalPeer = {
    name: row.name,
    publicKey: parsePublicKey(row.public_key),
    hub: row.hub,
    ...(row.overlay4 === null ? {} : { overlay4: parseIp(row.overlay4) }),
    ...(row.overlay6 === null ? {} : { overlay6: parseIp(row.overlay6) }),
    allowed: (JSON.parse(row.allowed) as string[]).map(parsePrefix),
    presharedKey: row.preshared_key === 1,
    ...(row.endpoint === null ? {} : { endpoint: parseEndpoint(row.endpoint) }),
    ...(row.role === null ? {} : { role: row.role }),
    ...(row.site === null ? {} : { site: row.site }),
  };
  return { number: row.number, peer };
}
