/**
 * Rows of what hubs have in common with nodes in secret, for pre-shared keys: a secret of each use of a token until it is bound, of
 * each node, and of each generation of keys. Never published, in no answer; the file is 0600.
 */
import { type PublicKey, Secret } from "../net/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import { nodeSecret } from "./pair-key.ts";

/** Generations that are kept: the present and the one before, which a pair may still use. */
const KEPT_GENERATIONS = 2;

/** PskGeneration is a number with the secret from which the keys of all pairs come. */
export interface PskGeneration {
  readonly generation: number;
  readonly secret: Secret;
}

/** SecretStore reads and writes secrets; call its writing methods inside a transaction. */
export class SecretStore {
  readonly #use: Statement<{ secret: string | null }>;
  readonly #forgetUse: Statement;
  readonly #setNode: Statement;
  readonly #node: Statement<{ secret: string }>;
  readonly #forgetNode: Statement;
  readonly #addGeneration: Statement;
  readonly #pruneGenerations: Statement;
  readonly #generations: Statement<{ generation: number; secret: string }>;

  constructor(database: Database) {
    this.#use = database.prepare("SELECT secret FROM token_use WHERE token = ? AND number = ?");
    this.#forgetUse = database.prepare("UPDATE token_use SET secret = NULL WHERE token = ? AND number = ?");
    this.#setNode = database.prepare(
      "INSERT INTO node_secret (name, secret) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET secret = excluded.secret",
    );
    this.#node = database.prepare("SELECT secret FROM node_secret WHERE name = ?");
    this.#forgetNode = database.prepare("DELETE FROM node_secret WHERE name = ?");
    this.#addGeneration = database.prepare("INSERT INTO psk (generation, secret) VALUES (?, ?)");
    this.#pruneGenerations = database.prepare("DELETE FROM psk WHERE generation <= ?");
    this.#generations = database.prepare("SELECT generation, secret FROM psk ORDER BY generation DESC");
  }

  /** bind makes a node's secret from that of its use, which is forgotten; a token of an older version has none. */
  bind(
    use: { readonly token: string; readonly number: number },
    node: { name: string; publicKey: PublicKey },
  ): void {
    const text = this.#use.get(use.token, use.number)?.secret;
    if (text === undefined || text === null) return void this.#forgetNode.run(node.name);
    const secret = nodeSecret(Secret.fromBase64(text), node.publicKey);
    this.#setNode.run(node.name, secret.toFile().trim());
    this.#forgetUse.run(use.token, use.number);
  }

  /** ofNode returns a node's secret; absent of the first hub, and of nodes that joined with a token that had none. */
  ofNode(name: string): Secret | undefined {
    const text = this.#node.get(name)?.secret;
    return text === undefined ? undefined : Secret.fromBase64(text);
  }

  /** addGeneration stores the next generation, and forgets all but the newest. */
  addGeneration({ generation, secret }: PskGeneration): void {
    this.#addGeneration.run(generation, secret.toFile().trim());
    this.#pruneGenerations.run(generation - KEPT_GENERATIONS);
  }

  /** generations returns those that are kept, newest first. */
  generations(): PskGeneration[] {
    return this.#generations
      .all()
      .map(({ generation, secret }) => ({ generation, secret: Secret.fromBase64(secret) }));
  }
}
