/**
 * What the agent knows of the pods on its node, on disk. One row per attachment, written before the kernel is touched, so that
 * whatever a dead agent left behind is found by it. A commit survives `kill -9`; it need not survive a power loss, because no pod does:
 * so nothing waits for the disk, and each boot has a file of its own, since that of the last one may be torn.
 */
import { join } from "node:path";
import { type Attachment, PodPool, podPoolSchema } from "../ipam/mod.ts";
import { formatMac, type Ip, type Mac, parseMac } from "../net/mod.ts";
import type { Pod } from "../pods/mod.ts";
import { podId } from "../pods/mod.ts";
import { Database, listDirectory, removeTree, type Statement } from "../sys/mod.ts";
import { decodeExtras, encodeExtras, type Extras, NO_EXTRAS } from "./extras.ts";

/** StoredPod is an attachment with everything that is needed to make its host side again. */
export interface StoredPod extends Attachment, Pod {
  readonly ifname: string;
  /** Path of the namespace, as the runtime named it. */
  readonly netns: string;
  /** `adding` until ADD has succeeded. */
  readonly state: "adding" | "ready";
}

const schema = [
  `${podPoolSchema}
  CREATE TABLE attachment (
    network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,
    mac TEXT NOT NULL, mtu INTEGER NOT NULL, netns TEXT NOT NULL, state TEXT NOT NULL,
    extras TEXT NOT NULL,
    PRIMARY KEY (network, container, ifname)
  ) STRICT, WITHOUT ROWID;`,
];

/** PODS_FILE matches the names of the files, with those that SQLite keeps beside them. */
const PODS_FILE = /^pods\.[0-9a-f-]{36}\.db(?:-wal|-shm)?$/;

interface Row {
  readonly network: string;
  readonly container: string;
  readonly ifname: string;
  readonly mac: string;
  readonly mtu: number;
  readonly netns: string;
  readonly state: "adding" | "ready";
  readonly extras: string;
}

/** PodStore owns the database of pods. */
export class PodStore implements Disposable {
  /** Addresses, in the same database. */
  readonly pool: PodPool;
  readonly #database: Database;
  readonly #insert: Statement;
  readonly #setReady: Statement;
  readonly #delete: Statement;
  readonly #get: Statement<Row>;
  readonly #all: Statement<Row>;
  readonly #special: Statement<Row>;
  readonly #count: Statement<{ count: number }>;
  readonly #mac: Statement<Row>;

  private constructor(database: Database) {
    const key = "network = ? AND container = ? AND ifname = ?";
    this.#database = database;
    this.pool = new PodPool(database);
    this.#insert = database.prepare("INSERT INTO attachment VALUES (?, ?, ?, ?, ?, ?, 'adding', ?)");
    this.#setReady = database.prepare(`UPDATE attachment SET state = 'ready' WHERE ${key}`);
    this.#delete = database.prepare(`DELETE FROM attachment WHERE ${key}`);
    this.#get = database.prepare(`SELECT * FROM attachment WHERE ${key}`);
    this.#all = database.prepare("SELECT * FROM attachment");
    this.#special = database.prepare(`SELECT * FROM attachment WHERE extras <> '${NO_EXTRAS}'`);
    this.#mac = database.prepare("SELECT * FROM attachment WHERE mac = ?");
    this.#count = database.prepare("SELECT count(*) AS count FROM attachment WHERE state = 'ready'");
  }

  /** open opens or makes the file of this boot in the folder, and removes those of others: no pod of theirs is left. */
  static open(folder: string, options: { readonly bootId: string }): PodStore {
    const name = `pods.${options.bootId}.db`;
    for (const other of listDirectory(folder))
      if (PODS_FILE.test(other) && !other.startsWith(name)) removeTree(join(folder, other));
    return new PodStore(Database.open(join(folder, name), { schema, synchronous: "off" }));
  }

  /** add stores an attachment and gives it addresses, both or neither; it is on disk when this returns. */
  add(
    attachment: Attachment,
    allocate: (pool: PodPool) => { addresses: Ip[]; mac: Mac; mtuBytes: number; netns: string } & Extras,
  ): StoredPod {
    return this.#database.transaction((): StoredPod => {
      const { network, containerId, ifname } = attachment;
      const pod = allocate(this.pool);
      const { mac, mtuBytes, netns } = pod;
      this.#insert.run(network, containerId, ifname, formatMac(mac), mtuBytes, netns, encodeExtras(pod));
      return { ...attachment, id: podId(attachment), ...pod, state: "adding" };
    });
  }

  /** setReady notes that ADD has succeeded. */
  setReady({ network, containerId, ifname }: Attachment): void {
    this.#setReady.run(network, containerId, ifname);
  }

  /** remove forgets an attachment and releases its addresses; one that is not there is not an error. */
  remove(attachment: Attachment): void {
    this.#database.transaction(() => {
      this.pool.release(attachment);
      this.#delete.run(attachment.network, attachment.containerId, attachment.ifname);
    });
  }

  /** get returns one attachment. */
  get({ network, containerId, ifname }: Attachment): StoredPod | undefined {
    const row = this.#get.get(network, containerId, ifname);
    return row && this.#pod(row);
  }

  /** probe writes what changes nothing; throws when the disk takes nothing. */
  probe(): void {
    this.#database.execute(
      "CREATE TABLE IF NOT EXISTS probe (x ANY) STRICT; INSERT INTO probe VALUES (zeroblob(65536)); DROP TABLE probe",
    );
  }

  /** hasMac tells whether an attachment has an Ethernet address. */
  hasMac(mac: Mac): boolean {
    return this.#mac.get(formatMac(mac)) !== undefined;
  }

  /** all returns every attachment. */
  all(): StoredPod[] {
    return this.#all.all().map((row) => this.#pod(row));
  }

  /** withExtras returns the few attachments that asked for more than a network. */
  withExtras(): StoredPod[] {
    return this.#special.all().map((row) => this.#pod(row));
  }

  /** count returns how many attachments are ready. */
  get count(): number {
    return this.#count.get()?.count ?? 0;
  }

  #pod(row: Row): StoredPod {
    const attachment = { network: row.network, containerId: row.container, ifname: row.ifname };
    return {
      ...attachment,
      id: podId(attachment),
      addresses: this.pool.addressesOf(attachment),
      mac: parseMac(row.mac),
      mtuBytes: row.mtu,
      netns: row.netns,
      state: row.state,
      ...decodeExtras(row.extras),
    };
  }

  close(): void {
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
