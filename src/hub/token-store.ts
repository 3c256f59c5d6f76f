/**
 * Rows of the tables `token` and `token_use`: hashes, public keys, addresses, and until it is bound a secret of each use, for pre-shared keys;
 * nothing from which a token could be made again.
 */
import { formatIp, type Ip, parseIp, parsePublicKey, type PublicKey, type Secret } from "../net/mod.ts";
import type { Database, Statement } from "../sys/mod.ts";
import { sha256 } from "../sys/mod.ts";
import { formatToken, type Token, tokenUse, useSecret } from "./token.ts";

/** Rows of tokens that ended so long ago are deleted. */
const KEEP_ENDED_MS = 30 * 24 * 3600_000;
/** MAX_LIVE_USES bounds the uses of all live tokens together that are not spent, and the WireGuard peers of a hub that they are. */
export const MAX_LIVE_USES = 4096;

/** TokenInfo is what may be shown of a token. */
export interface TokenInfo {
  readonly id: string;
  readonly uses: number;
  /** Uses through which a node has registered. */
  readonly used: number;
  /** Uses whose node was heard with its own key. */
  readonly spent: number;
  readonly expiresAtMs: number;
  readonly revoked: boolean;
  /** Why it was revoked, in the operator's words. */
  readonly reason?: string;
  readonly node?: string;
  /** What newcomers become. */
  readonly role: string;
  readonly site?: string;
}

/** StoredUse is one use with its token. */
export interface StoredUse {
  readonly token: string;
  readonly number: number;
  readonly boundKey?: PublicKey;
  readonly revoked: boolean;
  readonly expiresAtMs: number;
  readonly node?: string;
  readonly role: string;
  readonly site?: string;
}

/** NewToken is what is stored of a token: nothing from which it could be made again. */
export interface NewToken {
  readonly id: string;
  /** SHA-256 of the text, hex. */
  readonly hash: string;
  readonly uses: readonly {
    readonly publicKey: PublicKey;
    readonly address: Ip;
    readonly secret?: Secret | undefined;
  }[];
  readonly expiresAtMs: number;
  readonly node?: string | undefined;
  readonly role: string;
  readonly site?: string | undefined;
}

/** storedToken returns what is stored of a token. */
export function storedToken(token: Token): NewToken {
  return {
    id: token.id,
    hash: Buffer.from(sha256(formatToken(token))).toString("hex"),
    uses: Array.from({ length: token.uses }, (_, number) => {
      const { privateKey, address } = tokenUse(token, number);
      return { publicKey: privateKey.publicKey, address, secret: useSecret(token, number) };
    }),
    expiresAtMs: token.expiresAtMs,
    node: token.node,
    role: token.role ?? "node",
    site: token.site,
  };
}

interface InfoRow {
  readonly id: string;
  readonly uses: number;
  readonly used: number;
  readonly spent: number | null;
  readonly expires_at_ms: number;
  readonly revoked: number;
  readonly reason: string | null;
  readonly node: string | null;
  readonly role: string;
  readonly site: string | null;
}

interface UseRow {
  readonly token: string;
  readonly number: number;
  readonly bound_key: string | null;
  readonly revoked: number;
  readonly expires_at_ms: number;
  readonly node: string | null;
  readonly role: string;
  readonly site: string | null;
}

interface PeerRow {
  readonly token: string;
  readonly public_key: string;
  readonly address: string;
}

const LIVE = "revoked = 0 AND expires_at_ms > ?";

/** TokenStore reads and writes tokens; call its writing methods inside a transaction. */
export class TokenStore {
  readonly #insert: Statement;
  readonly #insertUse: Statement;
  readonly #infos: Statement<InfoRow>;
  readonly #use: Statement<UseRow>;
  readonly #free: Statement<{ number: number }>;
  readonly #bind: Statement;
  readonly #spend: Statement;
  readonly #revoke: Statement;
  readonly #peers: Statement<PeerRow>;
  readonly #isUseKey: Statement;
  readonly #isUnspent: Statement;
  readonly #countLive: Statement<{ n: number }>;
  readonly #purge: Statement;

  constructor(database: Database) {
    this.#insert = database.prepare(
      "INSERT INTO token (id, hash, uses, expires_at_ms, node, role, site) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    this.#insertUse = database.prepare(
      "INSERT INTO token_use (token, number, public_key, address, secret) VALUES (?, ?, ?, ?, ?)",
    );
    this.#infos = database.prepare(
      "SELECT t.*, count(u.bound_key) AS used, sum(u.spent) AS spent FROM token t JOIN token_use u ON u.token = t.id GROUP BY t.id ORDER BY expires_at_ms, id",
    );
    this.#use = database.prepare(
      "SELECT u.token, u.number, u.bound_key, t.revoked, t.expires_at_ms, t.node, t.role, t.site FROM token_use u JOIN token t ON t.id = u.token WHERE u.address = ?",
    );
    this.#free = database.prepare(
      "SELECT number FROM token_use WHERE token = ? AND bound_key IS NULL ORDER BY number",
    );
    this.#bind = database.prepare(
      "UPDATE token_use SET bound_key = ? WHERE token = ? AND number = ? AND bound_key IS NULL",
    );
    this.#spend = database.prepare("UPDATE token_use SET spent = 1 WHERE bound_key = ? AND spent = 0");
    this.#revoke = database.prepare(
      // The first reason stays.
      "UPDATE token SET reason = CASE revoked WHEN 0 THEN ?2 ELSE reason END, revoked = 1 WHERE id = ?1",
    );
    this.#peers = database.prepare(
      `SELECT token, public_key, address FROM (SELECT u.token, u.number, u.public_key, u.address FROM token_use u JOIN token t ON t.id = u.token WHERE ${LIVE} ORDER BY u.spent, t.expires_at_ms DESC, u.token, u.number LIMIT ${MAX_LIVE_USES}) ORDER BY token, number`,
    );
    this.#isUseKey = database.prepare("SELECT 1 FROM token_use WHERE public_key = ?");
    this.#isUnspent = database.prepare("SELECT 1 FROM token_use WHERE bound_key = ? AND spent = 0");
    this.#countLive = database.prepare(
      `SELECT count(*) AS n FROM token_use u JOIN token t ON t.id = u.token WHERE ${LIVE} AND u.spent = 0`,
    );
    this.#purge = database.prepare("DELETE FROM token WHERE expires_at_ms < ?");
  }

  /** add stores hash, public keys and addresses of a new token. */
  add(token: NewToken): void {
    const { id, hash, uses, expiresAtMs, node, role, site } = token;
    this.#insert.run(id, hash, uses.length, expiresAtMs, node ?? null, role, site ?? null);
    for (const [number, use] of uses.entries())
      this.#insertUse.run(
        id,
        number,
        use.publicKey,
        formatIp(use.address),
        use.secret?.toFile().trim() ?? null,
      );
  }

  infos(): TokenInfo[] {
    return this.#infos.all().map((row) => ({
      id: row.id,
      uses: row.uses,
      used: row.used,
      spent: row.spent ?? 0,
      expiresAtMs: row.expires_at_ms,
      revoked: row.revoked === 1,
      ...(row.reason === null ? {} : { reason: row.reason }),
      ...(row.node === null ? {} : { node: row.node }),
      role: row.role,
      ...(row.site === null ? {} : { site: row.site }),
    }));
  }

  /** useAt finds the use whose address this is. */
  useAt(address: Ip): StoredUse | undefined {
    const row = this.#use.get(formatIp(address));
    if (row === undefined) return undefined;
    return {
      token: row.token,
      number: row.number,
      ...(row.bound_key === null ? {} : { boundKey: parsePublicKey(row.bound_key) }),
      revoked: row.revoked === 1,
      expiresAtMs: row.expires_at_ms,
      ...(row.node === null ? {} : { node: row.node }),
      role: row.role,
      ...(row.site === null ? {} : { site: row.site }),
    };
  }

  freeUses(token: string): number[] {
    return this.#free.all(token).map((row) => row.number);
  }

  bind(use: StoredUse, key: PublicKey): void {
    if (this.#bind.run(key, use.token, use.number) !== 1)
      throw new Error(`use ${use.number} of token ${use.token} is bound already`);
  }

  /** spend marks the use of a key as spent; true the first time. */
  spend(key: PublicKey): boolean {
    return this.#spend.run(key) > 0;
  }

  /** revoke ends a token; false when there is no such token. */
  revoke(id: string, reason?: string): boolean {
    return this.#revoke.run(id, reason ?? null) > 0;
  }

  /**
   * live returns the WireGuard peers of tokens that are neither expired nor revoked, by token. Spent ones are among them as long as there is room:
   * who tries one again is told why it is refused, and else gets no answer.
   */
  live(nowMs: number): ReadonlyMap<string, { publicKey: PublicKey; address: Ip }[]> {
    const tokens = new Map<string, { publicKey: PublicKey; address: Ip }[]>();
    for (const row of this.#peers.all(nowMs)) {
      const uses = tokens.get(row.token) ?? [];
      uses.push({ publicKey: parsePublicKey(row.public_key), address: parseIp(row.address) });
      tokens.set(row.token, uses);
    }
    return tokens;
  }

  isUseKey(key: PublicKey): boolean {
    return this.#isUseKey.get(key) !== undefined;
  }

  /** isUnspent tells whether a use belongs to this key and is not spent. */
  isUnspent(key: PublicKey): boolean {
    return this.#isUnspent.get(key) !== undefined;
  }

  /** countLive counts the uses through which a node may still come. */
  countLive(nowMs: number): number {
    return this.#countLive.get(nowMs)?.n ?? 0;
  }

  purge(nowMs: number): void {
    this.#purge.run(nowMs - KEEP_ENDED_MS);
  }
}
