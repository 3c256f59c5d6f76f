/** Tables: the stores that commands are applied to, all in one SQLite file. Their writing methods are called inside a transaction. */
import { parsePublicKey, type PublicKey } from "../net/mod.ts";
import { type Json, type Mesh, type Node, parseObject, resourceJson } from "../resources/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import { ClaimStore } from "./claim-store.ts";
import { Ledger } from "./ledger.ts";
import { NodeStore } from "./node-store.ts";
import { PeerStore } from "./peer-store.ts";
import { SecretStore } from "./secret-store.ts";
import { TenantStore } from "./tenant-store.ts";
import { TokenStore } from "./token-store.ts";

/** parseMesh reads a mesh of a command or of the file; undefined when it is none. */
export function parseMesh(json: unknown): Mesh | undefined {
  const resource = parseObject(json, { problems: [], strict: false });
  return resource?.kind === "Mesh" ? resource.value : undefined;
}

/** Revocation is a key that may never come back, and the number of the change that revoked it. */
export interface Revocation {
  readonly publicKey: PublicKey;
  readonly revision: number;
}

/** Tables holds the stores of one register. */
export class Tables {
  readonly ledger: Ledger;
  readonly nodes: NodeStore;
  readonly peers: PeerStore;
  readonly tokens: TokenStore;
  readonly secrets: SecretStore;
  readonly tenants: TenantStore;
  readonly claims: ClaimStore;
  readonly #insertRegister: Statement;
  readonly #setMesh: Statement;
  readonly #getMesh: Statement<{ mesh: string }>;
  readonly #revokeKey: Statement;
  readonly #isRevoked: Statement;
  readonly #revocations: Statement<{ public_key: string; revision: number }>;
  #mesh: Mesh | undefined;

  constructor(database: Database) {
    this.claims = new ClaimStore(database);
    this.ledger = new Ledger(database);
    this.nodes = new NodeStore(database);
    this.peers = new PeerStore(database);
    this.tokens = new TokenStore(database);
    this.secrets = new SecretStore(database);
    this.tenants = new TenantStore(database);
    this.#insertRegister = database.prepare(
      "INSERT INTO register (id, epoch, revision, mesh) VALUES (1, ?, 0, '')",
    );
    this.#setMesh = database.prepare("UPDATE register SET mesh = ?");
    this.#getMesh = database.prepare("SELECT mesh FROM register");
    this.#revokeKey = database.prepare(
      // Before the change that revokes it is published: the number will be the next.
      "INSERT INTO revoked_key (public_key, node, revision) SELECT ?, ?, revision + 1 FROM register WHERE true ON CONFLICT DO NOTHING",
    );
    this.#revocations = database.prepare(
      "SELECT public_key, revision FROM revoked_key WHERE revision > ? ORDER BY revision DESC, public_key DESC LIMIT ?",
    );
    this.#isRevoked = database.prepare("SELECT 1 FROM revoked_key WHERE public_key = ?");
  }

  /** begin makes the register's one row. */
  begin(epoch: string): void {
    this.#insertRegister.run(epoch);
  }

  /** mesh returns the mesh, or undefined before there is one. */
  mesh(): Mesh | undefined {
    this.#mesh ??= parseMesh(JSON.parse(this.#getMesh.get()?.mesh || "null"));
    return this.#mesh;
  }

  storeMesh(mesh: Mesh): void {
    this.#mesh = undefined;
    const json = resourceJson({ kind: "Mesh", value: mesh });
    this.#setMesh.run(JSON.stringify(json));
    this.ledger.publish("mesh", json);
  }

  /** refused is called when a command was rolled back. */
  refused(): void {
    this.#mesh = undefined;
  }

  /** forget is called when all may be another now. */
  forget(): void {
    this.#mesh = undefined;
    this.tenants.forget();
  }

  /** publishNode publishes a node's entry. What was merely found out about it is no part of it: see facts.ts. */
  publishNode(name: string): Node {
    const node = this.nodes.byName(name) as Node;
    const { status: _, ...entry } = resourceJson({ kind: "Node", value: node }) as {
      readonly [key: string]: Json;
    };
    this.ledger.publish(`node/${name}`, entry);
    return node;
  }

  /** publishPeer publishes an external peer's entry. */
  publishPeer(name: string): void {
    const stored = this.peers.byName(name);
    if (stored !== undefined)
      this.ledger.publish(`peer/${name}`, resourceJson({ kind: "Peer", value: stored.peer }));
  }

  /** revokeKey remembers a key that may never come back, with the revision that it ended with. */
  revokeKey(key: PublicKey, node: string): void {
    this.#revokeKey.run(key, node);
  }

  /** revocations returns the keys revoked by changes after a number, newest last; the newest if there are more than `limit`. */
  revocations(after: number, limit: number): Revocation[] {
    return this.#revocations
      .all(after, limit)
      .map((row) => ({ publicKey: parsePublicKey(row.public_key), revision: row.revision }))
      .reverse();
  }

  isRevoked(key: PublicKey): boolean {
    return this.#isRevoked.get(key) !== undefined;
  }
}
