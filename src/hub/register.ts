/**
 * The register: a hub's memory of the mesh, one SQLite file. It is changed by commands alone, in one order at all hubs; addresses
 * and ranges belong to a node until it is removed; every change of what nodes may see has a number.
 *
 * It holds no private key and no token: public keys, hashes, and secrets from which pre-shared keys come, which are never published. It is read here; `Registrar` writes it.
 */
import type { Grant } from "../ipam/mod.ts";
import { type Enrolment } from "../mesh/mod.ts";
import { formatIp, type Ip, type PublicKey, type Secret } from "../net/mod.ts";
import type { ExternalPeer, Mesh, Node } from "../resources/mod.ts";
import { after, Database, isDatabaseFailure, type Statement } from "../sys/mod.ts";
import { applyCommand } from "./apply.ts";
import type { OwnedAddress, StoredGrant } from "./claim-store.ts";
import { type Command, type CommandJson, parseCommand } from "./command.ts";
import type { FactBook } from "./facts.ts";
import type { PublishedEntry } from "./ledger.ts";
import { pairKeyOf, sealPairKey } from "./pair-key.ts";
import type { SealedKey } from "./pair-keys.ts";
import { registerSchema } from "./schema.ts";
import { dumpTables, type RegisterDump, restoreTables } from "./register-dump.ts";
import { type Revocation, Tables } from "./tables.ts";
import type { Owners } from "./tenant-store.ts";
import type { TokenInfo } from "./token-store.ts";
import { concerns, type MeshView, meshView, type ViewCache } from "./view.ts";

/** Changes that come together are told together. */
const NOTIFY_MS = 20;

/** Registration is what a newcomer asks for. */
export interface Registration {
  /** Source address in the tunnel, which proves the token's use. */
  readonly address: Ip;
  readonly publicKey: PublicKey;
  readonly name: string;
  /** `host:port`, reachable from anywhere. */
  readonly endpoints: readonly string[];
  readonly site?: string;
}

/** Outcome is what applying a command gave: a value, or why it was refused. */
export type Outcome = { readonly value: unknown } | { readonly error: Error };

/** Claims is who has which addresses of subnets. */
export interface Claims {
  readonly blocks: readonly StoredGrant[];
  readonly owned: readonly OwnedAddress[];
}

/** Commands after which nothing is told to nodes. */
const QUIET: ReadonlySet<Command["op"]> = new Set([
  "claim-block",
  "claim-address",
  "return-block",
  "release-address",
]);

/** Register owns the file. */
export class Register implements Disposable {
  readonly #database: Database;
  readonly #tables: Tables;
  readonly #listeners = new Set<() => void>();
  readonly #getPosition: Statement<{ number: number }>;
  readonly #setPosition: Statement;
  readonly #parsed: ViewCache = new Map();
  #notice: Disposable | undefined;

  private constructor(database: Database) {
    this.#database = database;
    this.#tables = new Tables(database);
    this.#getPosition = database.prepare("SELECT number FROM log_position");
    this.#setPosition = database.prepare("UPDATE log_position SET number = ?");
  }

  /** open opens or makes the file; `:memory:` for none. */
  static open(path: string): Register {
    return new Register(Database.open(path, { synchronous: "full", schema: registerSchema }));
  }

  /** Whether there is a mesh in it. */
  get initialised(): boolean {
    return this.#tables.ledger.head() !== undefined;
  }

  /** Identity of this register's history; a new one has another. */
  get epoch(): string {
    return this.#head().epoch;
  }

  /** Number of the last change. */
  get revision(): number {
    return this.#head().revision;
  }

  /** Number of the last entry of the log that was applied; 0 without a log. */
  get position(): number {
    return this.#getPosition.get()?.number ?? 0;
  }

  #head() {
    const head = this.#tables.ledger.head();
    if (head === undefined)
      throw new Error("Cannot use the register: it holds no mesh yet; run causeway init");
    return head;
  }

  /** apply applies one command and returns what it gave; what it throws changed nothing. */
  apply(command: CommandJson): unknown {
    const [outcome] = this.applyEntry(undefined, [command]) as [Outcome];
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  /**
   * applyEntry applies the commands of one entry of the log, and moves the position on with them. Throws, and changes nothing, when
   * this hub cannot go on: its disk fails, or it does not know a command.
   */
  applyEntry(number: number | undefined, commands: readonly unknown[]): Outcome[] {
    const parsed = commands.map(parseCommand);
    try {
      const outcomes = this.#database.transaction(() => {
        const done = parsed.map((command) => this.#outcome(command));
        if (number !== undefined) this.#setPosition.run(number);
        return done;
      });
      if (parsed.some(({ op }) => !QUIET.has(op))) this.#changed();
      return outcomes;
    } catch (error) {
      this.#tables.forget();
      throw error;
    }
  }

  #outcome(command: ReturnType<typeof parseCommand>): Outcome {
    try {
      return { value: this.#database.transaction(() => applyCommand(this.#tables, command) as never) };
    } catch (error) {
      // The disk's trouble is this hub's own; all else is the same everywhere.
      if (isDatabaseFailure(error)) throw error;
      this.#tables.refused();
      return { error: error as Error };
    }
  }

  #changed(): void {
    this.#notice ??= after(NOTIFY_MS, () => {
      this.#notice = undefined;
      for (const listener of [...this.#listeners]) listener();
    });
  }

  /** dump returns all that commands have made, for a snapshot; two registers that applied the same commands give the same. */
  dump(): RegisterDump {
    return this.#database.transaction(() => dumpTables(this.#database));
  }

  /** restore replaces everything by a dump, which was made after entry `position` of the log. */
  restore(dump: RegisterDump, position: number): void {
    try {
      this.#database.transaction(() => {
        restoreTables(this.#database, dump);
        this.#setPosition.run(position);
      });
    } finally {
      this.#tables.forget();
    }
    this.#changed();
  }

  /** moveTo sets the position without a change: the log of a register begins anew elsewhere. */
  moveTo(position: number): void {
    this.#setPosition.run(position);
  }

  /** mesh returns the mesh. */
  mesh(): Mesh {
    this.#head();
    const mesh = this.#tables.mesh();
    if (mesh === undefined)
      throw new Error("Cannot read the register: its mesh is damaged; restore the file from a backup");
    return mesh;
  }

  /** nodes returns all nodes in order of their numbers; the first hub is the first. */
  nodes(): Node[] {
    return this.#tables.nodes.all();
  }

  /** names returns the names of all nodes. */
  names(): ReadonlySet<string> {
    return this.#tables.nodes.names();
  }

  node(name: string): Node | undefined {
    return this.#tables.nodes.byName(name);
  }

  nodeByKey(key: PublicKey): Node | undefined {
    return this.#tables.nodes.byKey(key);
  }

  /** nodeByNextKey finds the node that announced a key. */
  nodeByNextKey(key: PublicKey): Node | undefined {
    return this.#tables.nodes.byNextKey(key);
  }

  /** nodeByFormerKey finds the hub that had a key before its present one, and answers to it. */
  nodeByFormerKey(key: PublicKey): Node | undefined {
    return this.#tables.nodes.byFormerKey(key);
  }

  /** nodeByAddress finds a node by one of its overlay addresses. */
  nodeByAddress(address: Ip): Node | undefined {
    return this.#tables.nodes.byAddress(formatIp(address));
  }

  /** hubs returns all hubs, the oldest number first. */
  hubs(): Node[] {
    return this.#tables.nodes.hubs();
  }

  /** peers returns all external peers, in order of their numbers. */
  peers(): ExternalPeer[] {
    return this.#tables.peers.all();
  }

  tokens(): TokenInfo[] {
    return this.#tables.tokens.infos();
  }

  /** enrolments returns who may register now, for the hub's WireGuard device. */
  enrolments(nowMs: number): Enrolment[] {
    return [...this.#tables.tokens.live(nowMs)].map(([id, uses]) => ({ id, uses }));
  }

  /** registered returns the node that was registered with this key through this very use of a token. */
  registered({ address, publicKey }: Pick<Registration, "address" | "publicKey">): Node | undefined {
    const use = this.#tables.tokens.useAt(address);
    return use?.boundKey === publicKey && !use.revoked ? this.nodeByKey(publicKey) : undefined;
  }

  /** tokenAt returns the id of the token of whose uses this is an address. */
  tokenAt(address: Ip): string | undefined {
    return this.#tables.tokens.useAt(address)?.token;
  }

  /** pskGenerations returns the numbers of the generations of pre-shared keys that are kept, newest first. */
  pskGenerations(): number[] {
    return this.#tables.secrets.generations().map(({ generation }) => generation);
  }

  /**
   * pairKeys returns the pre-shared keys of two nodes by generation, newest first; none when one of them has no secret in common with
   * the hubs. Never publish, log or answer with them: sealedKeys is for that.
   */
  pairKeys(a: Pick<Node, "name" | "hub">, b: Pick<Node, "name" | "hub">): ReadonlyMap<number, Secret> {
    const { secrets } = this.#tables;
    const keys = new Map<number, Secret>();
    for (const { generation, secret } of secrets.generations()) {
      const key = pairKeyOf([a, b].map((node) => ({ ...node, secret: secrets.ofNode(node.name) })) as never, {
        generation,
        secret,
      });
      if (key !== undefined) keys.set(generation, key);
    }
    return keys;
  }

  /** sealedKeys returns a node's keys with others, sealed for it; those of pairs with a hub it has by itself. */
  sealedKeys(node: string, peers: readonly Node[]): SealedKey[] {
    const secret = this.#tables.secrets.ofNode(node);
    if (secret === undefined) return [];
    return peers
      .filter((peer) => !peer.hub)
      .flatMap((peer) =>
        [...this.pairKeys({ name: node, hub: false }, peer)].map(([generation, key]) => ({
          peer: peer.name,
          generation,
          sealed: sealPairKey(key, secret, { node, peer: peer.name, generation }),
        })),
      );
  }

  /** isUnspent tells whether a node was registered with this key, and was not heard with it yet. */
  isUnspent(key: PublicKey): boolean {
    return this.#tables.tokens.isUnspent(key);
  }

  isRevoked(key: PublicKey): boolean {
    return this.#tables.isRevoked(key);
  }

  /** revocations returns the keys revoked by changes after a number, newest last, and of very many the newest. */
  revocations(after: number, limit: number): Revocation[] {
    return this.#tables.revocations(after, limit);
  }

  /** grantsOf returns the blocks of subnets that a node has. */
  grantsOf(node: string): Grant[] {
    return this.#tables.claims.ofNode(node);
  }

  /** claims returns who has which addresses of a subnet, or of all. */
  claims(subnet?: string): Claims {
    const { claims } = this.#tables;
    const wanted = (one: { readonly subnet: string }) => subnet === undefined || one.subnet === subnet;
    return { blocks: claims.all().filter(wanted), owned: claims.allOwned().filter(wanted) };
  }

  /** owners says which resources of tenants' networks belong to which Kubernetes cluster. */
  owners(): Owners {
    return this.#tables.tenants.owners();
  }

  /** changesSince returns what changed for a node, or undefined when it must get everything. */
  changesSince(name: string, revision: number): PublishedEntry[] | undefined {
    return this.#tables.ledger.since(revision)?.filter((entry) => concerns(entry.key, name));
  }

  /** entries returns everything that is published, in order of keys. */
  entries(): ReadonlyMap<string, string> {
    return new Map(this.#tables.ledger.all().map((entry) => [entry.key, entry.value as string]));
  }

  /** view returns what a node may see, parsed. */
  view(name: string, facts?: FactBook): MeshView {
    return meshView(this.entries(), name, { facts, cache: this.#parsed });
  }

  /** subscribe calls `listener` shortly after changes, once for those that come together. */
  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  close(): void {
    this.#notice?.[Symbol.dispose]();
    this.#listeners.clear();
    this.#database.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
