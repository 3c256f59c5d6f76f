/**
 * The register: the hub's memory of the mesh, one SQLite file. Everything is stored before it is answered or used; addresses
 * and ranges belong to a node until it is removed; every change of what nodes may see has a number.
 *
 * It holds no private key and no token: only public keys and hashes.
 */
import { type Enrolment } from "../mesh/mod.ts";
import {
  type Endpoint,
  endpointEqual,
  formatIp,
  formatPrefix,
  type Ip,
  prefixEqual,
  type Prefix,
  type PublicKey,
  Secret,
  type SigningKey,
} from "../net/mod.ts";
import { type Mesh, type Node, type Observation, nameProblem, parseObject, resourceJson } from "../resources/mod.ts";
import { after, Database, randomBytes, type Statement } from "../sys/mod.ts";
import { Ledger, type PublishedEntry } from "./ledger.ts";
import { type NewNode, NodeStore } from "./node-store.ts";
import { Refusal } from "./refusal.ts";
import { registerSchema } from "./schema.ts";
import { formatToken, MAX_USES, type Token } from "./token.ts";
import { type TokenInfo, TokenStore } from "./token-store.ts";
import { concerns, type MeshView, meshView } from "./view.ts";

/** Uses of all live tokens together; each is a WireGuard peer of the hub. */
const MAX_LIVE_USES = 4096;
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

/** Register owns the file. */
export class Register implements Disposable {
  readonly #database: Database;
  readonly #ledger: Ledger;
  readonly #nodes: NodeStore;
  readonly #tokens: TokenStore;
  readonly #listeners = new Set<() => void>();
  readonly #insertRegister: Statement;
  readonly #setMesh: Statement;
  readonly #getMesh: Statement<{ mesh: string }>;
  readonly #revokeKey: Statement;
  readonly #isRevoked: Statement;
  #notice: Disposable | undefined;
  #mesh: Mesh | undefined;

  private constructor(database: Database) {
    this.#database = database;
    this.#ledger = new Ledger(database);
    this.#nodes = new NodeStore(database);
    this.#tokens = new TokenStore(database);
    this.#insertRegister = database.prepare(
      "INSERT INTO register (id, epoch, revision, mesh) VALUES (1, ?, 0, ?)",
    );
    this.#setMesh = database.prepare("UPDATE register SET mesh = ?");
    this.#getMesh = database.prepare("SELECT mesh FROM register");
    this.#revokeKey = database.prepare(
      "INSERT INTO revoked_key (public_key, node) VALUES (?, ?) ON CONFLICT DO NOTHING",
    );
    this.#isRevoked = database.prepare("SELECT 1 FROM revoked_key WHERE public_key = ?");
  }

  /** open opens or makes the file; `:memory:` for none. */
  static open(path: string): Register {
    return new Register(Database.open(path, { synchronous: "full", schema: registerSchema }));
  }

  /** Whether there is a mesh in it. */
  get initialised(): boolean {
    return this.#ledger.head() !== undefined;
  }

  /** Identity of this register's history; a new one has another. */
  get epoch(): string {
    return this.#head().epoch;
  }

  /** Number of the last change. */
  get revision(): number {
    return this.#head().revision;
  }

  #head() {
    const head = this.#ledger.head();
    if (head === undefined)
      throw new Error("Cannot use the register: it holds no mesh yet; run causeway init");
    return head;
  }

  /** init stores a new mesh and its hub, which gets the first number. */
  init(mesh: Mesh, hub: Omit<NewNode, "hub">): Node {
    if (this.initialised)
      throw new Error(
        `Cannot make mesh ${mesh.name}: this node holds mesh ${this.mesh().name} already; leave it first`,
      );
    checkName(hub.name);
    return this.#write(() => {
      this.#insertRegister.run(Buffer.from(randomBytes(8)).toString("hex"), "");
      this.#storeMesh(mesh);
      this.#nodes.add(mesh, { ...hub, hub: true });
      return this.#publishNode(hub.name);
    });
  }

  /** mesh returns the mesh. */
  mesh(): Mesh {
    if (this.#mesh !== undefined) return this.#mesh;
    this.#head();
    const problems: never[] = [];
    const resource = parseObject(JSON.parse(this.#getMesh.get()?.mesh ?? "null"), {
      problems,
      strict: false,
    });
    if (resource?.kind !== "Mesh")
      throw new Error("Cannot read the register: its mesh is damaged; restore the file from a backup");
    this.#mesh = resource.value;
    return this.#mesh;
  }

  /** updateMesh stores changed settings; networks and nodeBits cannot change, since nothing is ever renumbered. */
  updateMesh(mesh: Mesh): void {
    const old = this.mesh();
    const same = (a: Prefix | undefined, b: Prefix | undefined) =>
      a === undefined || b === undefined ? a === b : prefixEqual(a, b);
    for (const field of ["overlay4", "overlay6", "enrol6", "pods4", "pods6"] as const)
      if (!same(old[field], mesh[field]))
        throw new Error(
          `Cannot change mesh ${old.name}: ${field} is ${old[field] === undefined ? "absent" : formatPrefix(old[field])} and in use; make a new mesh instead`,
        );
    if (old.nodeBits !== mesh.nodeBits || old.name !== mesh.name)
      throw new Error(
        `Cannot change mesh ${old.name}: its name and nodeBits are in use; make a new mesh instead`,
      );
    this.#write(() => this.#storeMesh(mesh));
  }

  #storeMesh(mesh: Mesh): void {
    this.#mesh = undefined;
    const json = resourceJson({ kind: "Mesh", value: mesh });
    this.#setMesh.run(JSON.stringify(json));
    this.#ledger.publish("mesh", json);
  }

  /** nodes returns all nodes in order of their numbers; the hub is the first. */
  nodes(): Node[] {
    return this.#nodes.all();
  }

  node(name: string): Node | undefined {
    return this.#nodes.byName(name);
  }

  nodeByKey(key: PublicKey): Node | undefined {
    return this.#nodes.byKey(key);
  }

  /** nodeByAddress finds a node by one of its overlay addresses. */
  nodeByAddress(address: Ip): Node | undefined {
    return this.#nodes.byAddress(formatIp(address));
  }

  hub(): Node {
    const hub = this.#nodes.all().find((node) => node.hub);
    if (hub === undefined)
      throw new Error("Cannot use the register: it holds no hub; restore the file from a backup");
    return hub;
  }

  /** createToken makes a token and stores its hash, public keys and addresses; the text is returned and never stored. */
  createToken(options: {
    readonly uses: number;
    readonly nowMs: number;
    readonly expiresAtMs: number;
    readonly signingKey: SigningKey;
    /** An existing node whose machine was made anew. */
    readonly node?: string;
    readonly endpoints?: readonly string[];
  }): { readonly token: Token; readonly text: string } {
    const { uses, nowMs, expiresAtMs, node } = options;
    const mesh = this.mesh();
    const refuse = (cause: string) => new Error(`Cannot create a token: ${cause}`);
    if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES)
      throw refuse(`${uses} uses; give 1 to ${MAX_USES}`);
    if (node !== undefined && uses !== 1) throw refuse(`${uses} uses for the one node ${node}; give 1`);
    if (node !== undefined && this.node(node) === undefined)
      throw refuse(`no node is named ${node}; see causeway node list, or leave the name out for a new node`);
    if (node !== undefined && this.node(node)?.hub)
      throw refuse(
        `${node} is the hub, which is restored from its files and not by a token; copy /var/lib/causeway`,
      );
    if (!(expiresAtMs > nowMs)) throw refuse("it would have expired already; give a time in the future");
    if (this.#tokens.countLive(nowMs) + uses > MAX_LIVE_USES)
      throw refuse(`more than ${MAX_LIVE_USES} uses would be open; revoke tokens that are not needed`);
    const token: Token = {
      id: Buffer.from(randomBytes(5)).toString("hex"),
      mesh: mesh.name,
      endpoints: options.endpoints ?? mesh.endpoints,
      hubKey: this.hub().publicKey,
      signingKey: options.signingKey,
      enrol6: mesh.enrol6,
      seed: Secret.random(),
      uses,
      expiresAtMs,
      ...(node === undefined ? {} : { node }),
    };
    this.#write(() => {
      this.#tokens.purge(nowMs);
      this.#tokens.add(token);
    });
    return { token, text: formatToken(token) };
  }

  tokens(): TokenInfo[] {
    return this.#tokens.infos();
  }

  /** revokeToken ends a token at once; nodes that registered through it stay. */
  revokeToken(id: string): void {
    if (!this.#write(() => this.#tokens.revoke(id)))
      throw new Error(`Cannot revoke token ${id}: there is none with this id; see causeway token list`);
  }

  /** enrolments returns who may register now, for the hub's WireGuard device. */
  enrolments(nowMs: number): Enrolment[] {
    return [...this.#tokens.live(nowMs)].map(([id, uses]) => ({ id, uses }));
  }

  /**
   * registerNode registers a newcomer, or gives the same answer again to the same key at the same use. Throws Refusal.
   * The proof of possession is checked by the caller.
   */
  registerNode(registration: Registration, nowMs: number): Node {
    return this.#write(() => this.#register(registration, nowMs));
  }

  #register(wanted: Registration, nowMs: number): Node {
    const { publicKey } = wanted;
    const use = this.#tokens.useAt(wanted.address);
    if (use === undefined)
      throw new Refusal(
        "unknown-source",
        `${formatIp(wanted.address)} is no address of a token; use a token of this mesh`,
      );
    if (use.revoked) throw new Refusal("token-revoked", "The token was revoked; ask for a new one");
    if (use.boundKey === publicKey) {
      const node = this.#nodes.byKey(publicKey);
      if (node === undefined) throw keyRevoked();
      return node;
    }
    if (use.expiresAtMs <= nowMs)
      throw new Refusal("token-expired", "The token has expired; ask for a new one");
    if (use.boundKey !== undefined) {
      const freeUses = this.#tokens.freeUses(use.token);
      const fix =
        freeUses.length === 0
          ? "all uses of the token are taken; ask for a new one"
          : "another use of the token is free";
      throw new Refusal("use-taken", `This use of the token belongs to another node; ${fix}`, { freeUses });
    }
    if (this.isRevoked(publicKey)) throw keyRevoked();
    const same = this.#nodes.byKey(publicKey);
    if (same !== undefined || this.#tokens.isUseKey(publicKey))
      throw new Refusal(
        "key-exists",
        `This key belongs to ${same === undefined ? "a token" : `node ${same.name}`} already; if the machine was cloned, delete its key and join again`,
      );
    if (use.node !== undefined) this.#replaceKey(use.node, wanted);
    else this.#addNode(wanted);
    this.#tokens.bind(use, publicKey);
    return this.#publishNode(use.node ?? wanted.name);
  }

  #addNode(wanted: Registration): void {
    checkName(wanted.name);
    if (this.#nodes.byName(wanted.name) !== undefined)
      throw new Refusal(
        "name-taken",
        `Another node is named ${wanted.name}; join with --name, or, if this machine replaces it, ask for a token made with --node ${wanted.name}`,
      );
    this.#nodes.add(this.mesh(), { ...wanted, hub: false });
  }

  #replaceKey(name: string, wanted: Registration): void {
    const old = this.#nodes.byName(name);
    if (old === undefined)
      throw new Refusal(
        "no-such-node",
        `The token is for node ${name}, which was removed; ask for a token without --node`,
      );
    this.#revokeKey.run(old.publicKey, name);
    this.#nodes.setKey(name, wanted.publicKey);
    this.#nodes.setConfigured(name, wanted);
  }

  /** handshakeSeen tells the register that WireGuard made a handshake with this key, which spends its use of a token. */
  handshakeSeen(publicKey: PublicKey): void {
    this.#tokens.spend(publicKey);
  }

  isRevoked(key: PublicKey): boolean {
    return this.#isRevoked.get(key) !== undefined;
  }

  /** removeNode releases a node's addresses and ranges and revokes its key. */
  removeNode(name: string): void {
    const node = this.#nodes.byName(name);
    if (node === undefined)
      throw new Error(`Cannot remove node ${name}: there is none with this name; see causeway node list`);
    if (node.hub) throw new Error(`Cannot remove node ${name}: it is the hub; without it there is no mesh`);
    this.#write(() => {
      this.#revokeKey.run(node.publicKey, name);
      this.#nodes.remove(name);
      this.#ledger.withdraw(`node/${name}`);
      });
  }

  /** observe stores where a hub's WireGuard device hears a node. */
  observe(name: string, seen: Observation): void {
    const known = this.#nodes.byName(name)?.observed.find(({ hub }) => hub === seen.hub);
    if (this.#nodes.byName(name) === undefined) return;
    if (known !== undefined && endpointEqual(known.endpoint, seen.endpoint)) return;
    this.#write(() => {
      this.#nodes.setObserved(name, seen);
      this.#publishNode(name);
    });
  }

  /** setFacts stores what a node says of itself. */
  setFacts(
    name: string,
    facts: Pick<Node, "local" | "mapped"> & { readonly mtuBytes?: number | undefined },
  ): void {
    const node = this.#nodes.byName(name);
    if (node === undefined) return;
    const alike = (a: readonly Endpoint[], b: readonly Endpoint[]) =>
      a.length === b.length && a.every((endpoint, i) => endpointEqual(endpoint, b[i] as Endpoint));
    const same =
      node.mtuBytes === facts.mtuBytes && alike(node.local, facts.local) && alike(node.mapped, facts.mapped);
    // A write costs a flush of the disk; nodes say the same again at each connection.
    if (same) return;
    this.#write(() => {
      this.#nodes.setFacts(name, facts);
      this.#publishNode(name);
    });
  }

  /** setConfigured stores a node's reachable endpoints and site. */
  setConfigured(
    name: string,
    values: { readonly endpoints: readonly string[]; readonly site?: string },
  ): void {
    if (this.#nodes.byName(name) === undefined) return;
    this.#write(() => {
      this.#nodes.setConfigured(name, values);
      this.#publishNode(name);
    });
  }

  #publishNode(name: string): Node {
    const node = this.#nodes.byName(name) as Node;
    this.#ledger.publish(`node/${name}`, resourceJson({ kind: "Node", value: node }));
    return node;
  }

  /** raiseRevision makes the next number higher than one that nodes have seen from this register before it was restored from a copy. */
  raiseRevision(seen: number): void {
    if (seen > this.revision) this.#write(() => this.#ledger.raise(seen + 1));
  }

  /** changesSince returns what changed for a node, or undefined when it must get everything. */
  changesSince(name: string, revision: number): PublishedEntry[] | undefined {
    return this.#ledger.since(revision)?.filter((entry) => concerns(entry.key, name));
  }

  /** entries returns everything that is published, in order of keys. */
  entries(): ReadonlyMap<string, string> {
    return new Map(this.#ledger.all().map((entry) => [entry.key, entry.value as string]));
  }

  /** view returns what a node may see, parsed. */
  view(name: string): MeshView {
    return meshView(this.entries(), name);
  }

  /** subscribe calls `listener` shortly after changes, once for those that come together. */
  subscribe(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  #write<T>(work: () => T extends Promise<unknown> ? never : T): T {
    try {
      const result = this.#database.transaction<T>(work);
      this.#notice ??= after(NOTIFY_MS, () => {
        this.#notice = undefined;
        for (const listener of [...this.#listeners]) listener();
      });
      return result;
    } catch (error) {
      // A rolled back write may have changed what is remembered.
      this.#mesh = undefined;
      throw error;
    }
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

function keyRevoked(): Refusal {
  return new Refusal(
    "key-revoked",
    "This key was revoked, because its node left or was removed or replaced; delete the key and join again",
  );
}

function checkName(name: string): void {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Refusal("bad-request", `"${name}" ${problem}`);
}
