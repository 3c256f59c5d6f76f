/** Rows of the table `node`: who has which addresses, ranges and key. */
import { nodeCount, nodeRange } from "../ipam/mod.ts";
import {
  bitsOf,
  formatIp,
  formatPrefix,
  ipPlus,
  parseIp,
  parsePrefix,
  parsePublicKey,
  type Prefix,
  prefixAddress,
  type PublicKey,
} from "../net/mod.ts";
import type { Mesh, Node, NodeLabels } from "../resources/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import { Refusal } from "./refusal.ts";

interface Row {
  readonly name: string;
  readonly number: number;
  readonly public_key: string;
  readonly hub: number;
  readonly overlay4: string;
  readonly overlay6: string;
  readonly pods4: string | null;
  readonly pods6: string | null;
  readonly endpoints: string;
  readonly site: string | null;
  readonly role: string | null;
  readonly next_key: string | null;
  readonly former_key: string | null;
  readonly subnets: string;
  readonly labels: string;
}

/** NewNode is what a node brings along. */
export interface NewNode {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly hub: boolean;
  readonly endpoints: readonly string[];
  readonly site?: string;
  /** What its token made it; absent: what it is says it. */
  readonly role?: string;
  /** Of a mesh or a peer that it takes the place of; absent: the lowest that is free. */
  readonly number?: number | undefined;
}

/** allotted returns the addresses and ranges that belong to a number, from 1. */
export function allotted(
  mesh: Mesh,
  number: number,
): Pick<Node, "overlay4" | "overlay6" | "pods4" | "pods6"> {
  const range = (pods: Mesh["pods4"]) => pods && nodeRange(pods, mesh.nodeBits, number - 1).network;
  const pods4 = range(mesh.pods4);
  const pods6 = range(mesh.pods6);
  return {
    overlay4: ipPlus(prefixAddress(mesh.overlay4), BigInt(number)),
    overlay6: ipPlus(prefixAddress(mesh.overlay6), BigInt(number)),
    ...(pods4 === undefined ? {} : { pods4 }),
    ...(pods6 === undefined ? {} : { pods6 }),
  };
}

/** fullMessage says what ran out when a number cannot be given, or undefined when it can. */
export function fullMessage(mesh: Mesh, number: number): string | undefined {
  const pods = mesh.pods4 ?? mesh.pods6;
  if (pods !== undefined && number > nodeCount(mesh.nodeBits))
    return `all ${nodeCount(mesh.nodeBits)} pod ranges of ${formatPrefix(pods)} (nodeBits ${mesh.nodeBits}) are given; remove a node that is gone: causeway node remove NAME`;
  for (const overlay of [mesh.overlay4, mesh.overlay6])
    if (BigInt(number) > 2n ** BigInt(bitsOf(overlay.family) - overlay.length) - 2n)
      return `all addresses of ${formatPrefix(overlay)} are given; remove a node that is gone: causeway node remove NAME`;
  return undefined;
}

/** NodeStore reads and writes nodes; call its writing methods inside a transaction. */
export class NodeStore {
  readonly #all: Statement<Row>;
  readonly #hubs: Statement<Row>;
  readonly #names: Statement<{ name: string }>;
  readonly #byName: Statement<Row>;
  readonly #byKey: Statement<Row>;
  readonly #byAddress: Statement<Row>;
  readonly #byNextKey: Statement<Row>;
  readonly #byFormerKey: Statement<Row>;
  readonly #free: Statement<{ number: number }>;
  readonly #insert: Statement;
  readonly #setKey: Statement;
  readonly #setConfigured: Statement;
  readonly #setIdentity: Statement;
  readonly #setNextKey: Statement;
  readonly #promoteKey: Statement;
  readonly #setFormerKey: Statement;
  readonly #setSubnets: Statement;
  readonly #setLabels: Statement;
  readonly #delete: Statement;

  constructor(database: Database) {
    this.#all = database.prepare("SELECT * FROM node ORDER BY number");
    this.#hubs = database.prepare("SELECT * FROM node WHERE hub = 1 ORDER BY number");
    this.#names = database.prepare("SELECT name FROM node");
    this.#byName = database.prepare("SELECT * FROM node WHERE name = ?");
    this.#byKey = database.prepare("SELECT * FROM node WHERE public_key = ?");
    this.#byNextKey = database.prepare("SELECT * FROM node WHERE next_key = ?");
    this.#byFormerKey = database.prepare("SELECT * FROM node WHERE former_key = ?");
    this.#byAddress = database.prepare("SELECT * FROM node WHERE overlay4 = ?1 OR overlay6 = ?1");
    this.#free = database.prepare(
      // Without a gap, as many as the highest are taken: that is told without a look at each.
      "WITH taken AS (SELECT number FROM node UNION ALL SELECT number FROM peer), " +
        "size AS (SELECT (SELECT count(*) FROM node) + (SELECT count(*) FROM peer) AS count, " +
        "max(coalesce((SELECT max(number) FROM node), 0), coalesce((SELECT max(number) FROM peer), 0)) AS highest) " +
        "SELECT CASE WHEN count = highest THEN highest + 1 ELSE " +
        "(SELECT min(n) FROM (SELECT 1 AS n UNION SELECT number + 1 FROM taken) WHERE n NOT IN (SELECT number FROM taken)) END AS number FROM size",
    );
    this.#insert = database.prepare(
      "INSERT INTO node (name, number, public_key, hub, overlay4, overlay6, pods4, pods6, endpoints, site, role) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#setKey = database.prepare("UPDATE node SET public_key = ?, next_key = NULL WHERE name = ?");
    this.#setConfigured = database.prepare("UPDATE node SET endpoints = ?, site = ? WHERE name = ?");
    this.#setIdentity = database.prepare("UPDATE node SET role = ?, site = ? WHERE name = ?");
    this.#setNextKey = database.prepare("UPDATE node SET next_key = ? WHERE name = ?");
    this.#promoteKey = database.prepare(
      "UPDATE node SET public_key = next_key, next_key = NULL WHERE name = ? AND next_key IS NOT NULL",
    );
    this.#setFormerKey = database.prepare("UPDATE node SET former_key = ? WHERE name = ?");
    this.#setSubnets = database.prepare("UPDATE node SET subnets = ? WHERE name = ?");
    this.#setLabels = database.prepare("UPDATE node SET labels = ? WHERE name = ?");
    this.#delete = database.prepare("DELETE FROM node WHERE name = ?");
  }

  all(): Node[] {
    return this.#all.all().map(nodeOf);
  }

  /** hubs returns all hubs in order of their numbers. */
  hubs(): Node[] {
    return this.#hubs.all().map(nodeOf);
  }

  /** names returns the names of all nodes, which costs less than the nodes. */
  names(): Set<string> {
    return new Set(this.#names.all().map(({ name }) => name));
  }

  byName(name: string): Node | undefined {
    return some(this.#byName.get(name));
  }

  byKey(key: PublicKey): Node | undefined {
    return some(this.#byKey.get(key));
  }

  /** byNextKey finds the node that announced this key. */
  byNextKey(key: PublicKey): Node | undefined {
    return some(this.#byNextKey.get(key));
  }

  /** byFormerKey finds the hub that had this key before its present one, and answers to it. */
  byFormerKey(key: PublicKey): Node | undefined {
    return some(this.#byFormerKey.get(key));
  }

  /** byAnyKey finds the node that a key belongs to, as keysOf has them. */
  byAnyKey(key: PublicKey): Node | undefined {
    return this.byKey(key) ?? this.byNextKey(key) ?? this.byFormerKey(key);
  }

  /** keysOf returns all keys that a node is known by: the present one, the next, and the former of a hub. */
  keysOf(name: string): PublicKey[] {
    const row = this.#byName.get(name);
    const keys = row === undefined ? [] : [row.public_key, row.next_key, row.former_key];
    return keys.flatMap((key) => (key === null ? [] : [parsePublicKey(key)]));
  }

  /** formerKeyOf returns the key that a hub had before its present one, and answers to. */
  formerKeyOf(name: string): PublicKey | undefined {
    const key = this.#byName.get(name)?.former_key ?? undefined;
    return key === undefined ? undefined : parsePublicKey(key);
  }

  /** byAddress finds a node by the text of one of its overlay addresses. */
  byAddress(address: string): Node | undefined {
    return some(this.#byAddress.get(address));
  }

  /** add gives the lowest free number and stores it; Refusal when none is left. */
  add(mesh: Mesh, node: NewNode): void {
    const number = node.number ?? this.#free.get()?.number ?? 1;
    const full = fullMessage(mesh, number);
    if (full !== undefined) throw new Refusal("mesh-full", `Cannot register node ${node.name}: ${full}`);
    const given = allotted(mesh, number);
    this.#insert.run(
      node.name,
      number,
      node.publicKey,
      node.hub,
      formatIp(given.overlay4),
      formatIp(given.overlay6),
      given.pods4 === undefined ? null : formatPrefix(given.pods4),
      given.pods6 === undefined ? null : formatPrefix(given.pods6),
      JSON.stringify(node.endpoints),
      node.site ?? null,
      node.role ?? null,
    );
  }

  /** setIdentity stores what rules see of a node beside its name. */
  setIdentity(
    name: string,
    identity: { readonly role?: string | undefined; readonly site?: string | undefined },
  ): void {
    this.#setIdentity.run(identity.role ?? null, identity.site ?? null, name);
  }

  /** setNextKey announces the key that is about to take the place of a node's; undefined takes it back. */
  setNextKey(name: string, key: PublicKey | undefined): void {
    this.#setNextKey.run(key ?? null, name);
  }

  /** promoteKey makes the announced key the node's; what was found out about the machine stays. */
  promoteKey(name: string): void {
    this.#promoteKey.run(name);
  }

  /** setFormerKey notes the key that a hub answers to beside its present one; undefined: none any more. */
  setFormerKey(name: string, key: PublicKey | undefined): void {
    this.#setFormerKey.run(key ?? null, name);
  }

  /** setKey gives a node a new key: another machine takes its place. */
  setKey(name: string, key: PublicKey): void {
    this.#setKey.run(key, name);
  }

  setConfigured(
    name: string,
    node: { readonly endpoints: readonly string[]; readonly site?: string | undefined },
  ): void {
    this.#setConfigured.run(JSON.stringify(node.endpoints), node.site ?? null, name);
  }

  setSubnets(name: string, subnets: readonly Prefix[]): void {
    this.#setSubnets.run(JSON.stringify(subnets.map(formatPrefix)), name);
  }

  setLabels(name: string, labels: NodeLabels): void {
    this.#setLabels.run(JSON.stringify(labels), name);
  }

  remove(name: string): void {
    this.#delete.run(name);
  }
}

function some(row: Row | undefined): Node | undefined {
  return row && nodeOf(row);
}

function nodeOf(row: Row): Node {
  return {
    name: row.name,
    publicKey: parsePublicKey(row.public_key),
    hub: row.hub === 1,
    overlay4: parseIp(row.overlay4),
    overlay6: parseIp(row.overlay6),
    ...(row.pods4 === null ? {} : { pods4: parsePrefix(row.pods4) }),
    ...(row.pods6 === null ? {} : { pods6: parsePrefix(row.pods6) }),
    ...(row.subnets === "[]" ? {} : { subnets: (JSON.parse(row.subnets) as string[]).map(parsePrefix) }),
    endpoints: JSON.parse(row.endpoints) as string[],
    observed: [],
    mapped: [],
    hubs: [],
    local: [],
    ...(row.site === null ? {} : { site: row.site }),
    ...(row.role === null ? {} : { role: row.role }),
    ...(row.labels === "{}" ? {} : { labels: JSON.parse(row.labels) as NodeLabels }),
    ...(row.next_key === null ? {} : { nextPublicKey: parsePublicKey(row.next_key) }),
  };
}
