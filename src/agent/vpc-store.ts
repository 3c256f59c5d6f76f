/**
 * What is attached to VPCs on this node, and which addresses it has, on disk. A row is written before the kernel is touched, so that what a dead
 * agent left half made is found by it. As with pods no row outlives a boot, since no container does, so that what a power loss can undo is not
 * waited for; grants of addresses do.
 */
import type { LocalAttachment } from "../domain/mod.ts";
import { type Attachment, subnetPoolSchema } from "../ipam/mod.ts";
import { formatIp, formatMac, type InterfaceAddress, type Mac, parseIp, parseMac } from "../net/mod.ts";
import { bootId, Database, type Statement } from "../sys/mod.ts";

/** VPC_FILE is the name of the file, in the folder of the agent's state. */
export const VPC_FILE = "vpcs.db";

/** StoredPodName is how Kubernetes names a pod. */
export interface StoredPodName {
  readonly namespace: string;
  readonly name: string;
}

/** StoredVpcPod is an attachment with all that is needed to take it over. */
export interface StoredVpcPod extends Attachment {
  readonly local: LocalAttachment;
  /** With lengths, where the segment has no prefixes. */
  readonly addresses?: readonly InterfaceAddress[];
  /** UDP port of a segment that no Subnet describes. */
  readonly dstPort?: number;
  /** In a VPC of a fabric: the node's edge has it. */
  readonly fabric?: true;
  /** Path of the container's namespace. */
  readonly netns: string;
  /** Whose it is, where the runtime said so. */
  readonly pod?: StoredPodName;
  /** Rises with each that comes: of two pods of one virtual machine the last one is it. */
  readonly order: number;
  /** With which its address was announced last, once it has moved (RFC 7432 section 15). */
  readonly sequence?: number;
  /** `adding` until ADD has succeeded. */
  readonly state: "adding" | "ready";
}

const schema = [
  `${subnetPoolSchema}
  CREATE TABLE vpc_attachment (
    network TEXT NOT NULL, container TEXT NOT NULL, ifname TEXT NOT NULL,
    netns TEXT NOT NULL, state TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (network, container, ifname)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE boot (id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;`,
];

interface Row {
  readonly network: string;
  readonly container: string;
  readonly ifname: string;
  readonly netns: string;
  readonly state: "adding" | "ready";
  readonly value: string;
}

/** The value of a row: addresses as text. */
interface Value {
  readonly id: string;
  readonly domain: number;
  readonly segment: number;
  readonly mac: string;
  readonly ips: readonly string[];
  readonly lengths?: readonly number[];
  readonly dstPort?: number;
  readonly fabric?: true;
  readonly mtuBytes: number;
  readonly defaultRoute: boolean;
  readonly groups: readonly string[];
  readonly pod?: StoredPodName;
  readonly order?: number;
  readonly sequence?: number;
}

/** What a row is made of. */
type NewPod = Omit<StoredVpcPod, "state" | "order" | "sequence">;

/** VpcStore owns the database. */
export class VpcStore implements Disposable {
  /** For the pool of addresses. */
  readonly database: Database;
  readonly #put: Statement;
  readonly #setReady: Statement;
  readonly #delete: Statement;
  readonly #get: Statement<Row>;
  readonly #all: Statement<Row>;
  readonly #change: Statement;
  readonly #sequence: Statement<{ readonly sequence: number | null }>;
  #last: number;

  private constructor(database: Database) {
    this.database = database;
    this.#put = database.prepare(
      "INSERT INTO vpc_attachment (network, container, ifname, netns, state, value) VALUES (?, ?, ?, ?, ?, ?)",
    );
    const key = "WHERE network = ? AND container = ? AND ifname = ?";
    this.#setReady = database.prepare(`UPDATE vpc_attachment SET state = 'ready' ${key}`);
    this.#delete = database.prepare(`DELETE FROM vpc_attachment ${key}`);
    this.#get = database.prepare(`SELECT * FROM vpc_attachment ${key}`);
    this.#all = database.prepare("SELECT * FROM vpc_attachment ORDER BY network, container, ifname");
    this.#change = database.prepare(`UPDATE vpc_attachment SET value = ? ${key}`);
    this.#sequence = database.prepare(
      "SELECT max(value ->> 'sequence') AS sequence FROM vpc_attachment WHERE value ->> 'segment' = ? AND value ->> 'mac' = ?",
    );
    this.#last = this.all().at(-1)?.order ?? 0;
  }

  /** open opens the file of a folder; `isNewBoot` tells that what was attached is gone. */
  static open(folder: string): { readonly store: VpcStore; readonly isNewBoot: boolean } {
    const database = Database.open(`${folder}/${VPC_FILE}`, { synchronous: "full", schema });
    const boot = bootId();
    const known = database.prepare<{ id: string }>("SELECT id FROM boot").get()?.id;
    database.transaction(() => {
      database.prepare("DELETE FROM boot").run();
      database.prepare("INSERT INTO boot (id) VALUES (?)").run(boot);
    });
    return { store: new VpcStore(database), isNewBoot: known !== boot };
  }

  /** add writes an attachment that is being made. */
  add(pod: NewPod): void {
    const { network, containerId, ifname, netns, local } = pod;
    // Of another pod of the same virtual machine, which may go before this one.
    const sequence = this.#sequence.get(local.segment, formatMac(local.mac))?.sequence ?? undefined;
    const value = valueOf({ ...pod, order: ++this.#last, ...(sequence === undefined ? {} : { sequence }) });
    this.#put.run(network, containerId, ifname, netns, "adding", JSON.stringify(value));
  }

  /** raise writes the sequence down with which an address is announced from now on. */
  raise(segment: number, mac: Mac, sequence: number): void {
    for (const pod of this.all()) {
      const { network, containerId, ifname, local } = pod;
      if (local.segment !== segment || local.mac !== mac) continue;
      const value = JSON.stringify(valueOf({ ...pod, sequence }));
      this.#change.run(value, network, containerId, ifname);
    }
  }

  setReady({ network, containerId, ifname }: Attachment): void {
    this.database.relaxed(() => this.#setReady.run(network, containerId, ifname));
  }

  delete({ network, containerId, ifname }: Attachment): void {
    this.database.relaxed(() => this.#delete.run(network, containerId, ifname));
  }

  get({ network, containerId, ifname }: Attachment): StoredVpcPod | undefined {
    const row = this.#get.get(network, containerId, ifname);
    return row && podOf(row);
  }

  /** all returns them in the order in which they came. */
  all(): StoredVpcPod[] {
    const pods = this.#all.all().map(podOf);
    return pods.sort((a, b) => a.order - b.order);
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}

function valueOf(stored: Omit<StoredVpcPod, "state">): Value {
  const { local, addresses, dstPort, fabric, pod, order, sequence } = stored;
  const { id, domain, segment, mac, mtuBytes, defaultRoute, groups } = local;
  return {
    ...{ id, domain, segment, mac: formatMac(mac), mtuBytes, defaultRoute, groups },
    ips: local.addresses.map(formatIp),
    order,
    ...(sequence === undefined ? {} : { sequence }),
    ...(addresses === undefined ? {} : { lengths: addresses.map(({ length }) => length) }),
    ...(dstPort === undefined ? {} : { dstPort }),
    ...(fabric === undefined ? {} : { fabric }),
    ...(pod === undefined ? {} : { pod: { namespace: pod.namespace, name: pod.name } }),
  };
}

function podOf({ network, container, ifname, netns, state, value }: Row): StoredVpcPod {
  const {
    ips,
    lengths,
    dstPort,
    fabric,
    mac,
    pod,
    order = 0,
    sequence,
    ...rest
  } = JSON.parse(value) as Value;
  const addresses = ips.map(parseIp);
  return {
    ...{ network, containerId: container, ifname, netns, state, order },
    ...(sequence === undefined ? {} : { sequence }),
    local: { ...rest, ifname, mac: parseMac(mac), addresses },
    ...(lengths === undefined
      ? {}
      : { addresses: addresses.map((ip, i) => ({ ip, length: lengths[i] as number })) }),
    ...(dstPort === undefined ? {} : { dstPort }),
    ...(fabric === undefined ? {} : { fabric }),
    ...(pod === undefined ? {} : { pod }),
  };
}
