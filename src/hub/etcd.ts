/**
 * etcd, spoken to through the JSON gateway of its client port (etcd 3.4 and later; dev-guide/api_grpc_gateway of etcd's documentation):
 * keys and values are base64, 64-bit numbers are text. Only what the register's log needs.
 *
 * Every request goes to one member; when that does not answer, the next is asked. A member without a leader says so at once (metadata
 * `hasleader`), so that the loss of the majority is known without waiting.
 */
import { z } from "zod";
import { HttpsError, httpsPost, httpsStream, type TlsIdentity } from "../sys/mod.ts";

const REQUEST_MS = 4_000;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const HEADERS = { "Grpc-Metadata-hasleader": "true" };

/** EtcdError says in words what etcd does not do. `majority`: too few members run; `unreachable`: none answers; `untrusted`: certificates. */
export class EtcdError extends Error {
  override readonly name = "EtcdError";
  readonly kind: "majority" | "unreachable" | "untrusted" | "refused";

  constructor(kind: EtcdError["kind"], message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** EtcdOptions is where etcd is, and who we are to it. */
export interface EtcdOptions {
  /** `https://host:2379`, one for each member. */
  readonly endpoints: readonly string[];
  /** Read for each request, so that renewed certificates are used; undefined for `http:`. */
  readonly tls: () => TlsIdentity | undefined;
  readonly requestMs?: number;
}

/** KeyValue is one key with its text. */
export interface KeyValue {
  readonly key: string;
  readonly value: string;
}

/** Compare is a condition of a transaction. */
export type Compare =
  | { readonly key: string; readonly value: string }
  /** The key does not exist. */
  | { readonly key: string; readonly absent: true };

/** Operation is a part of a transaction. `end`: up to, without it, in the order of bytes. */
export type EtcdOperation =
  | { readonly put: string; readonly value: string }
  | { readonly delete: string; readonly end?: string }
  | { readonly range: string; readonly end?: string; readonly limit?: number };

const int64 = z.union([z.string(), z.number()]).transform(Number);
const header = z.object({ revision: int64.default(0) });
const keyValues = z
  .array(z.object({ key: z.string(), value: z.string().default("") }))
  .default([])
  .transform((list) => list.map(({ key, value }): KeyValue => ({ key: plain(key), value: plain(value) })));
const txnAnswer = z.object({
  header,
  succeeded: z.boolean().default(false),
  responses: z
    .array(z.object({ response_range: z.object({ kvs: keyValues }).optional() }).loose())
    .default([]),
});
const statusAnswer = z.object({ version: z.string().default("?"), leader: z.string().default("0") });

/** EtcdStore is what the log needs of etcd. */
export type EtcdStore = Pick<Etcd, "transact" | "compact" | "watch">;

/** MemberStatus is what one member says of itself, or why it says nothing. */
export type MemberStatus =
  | { readonly endpoint: string; readonly version: string; readonly leader: boolean }
  | { readonly endpoint: string; readonly problem: string };

/** Etcd speaks to a cluster. */
export class Etcd {
  readonly endpoints: readonly string[];
  readonly #tls: () => TlsIdentity | undefined;
  readonly #requestMs: number;
  /** The member that answered last. */
  #current = 0;

  constructor(options: EtcdOptions) {
    this.endpoints = options.endpoints;
    this.#tls = options.tls;
    this.#requestMs = options.requestMs ?? REQUEST_MS;
  }

  /** transact does all or nothing. What it read is in the order of the operations that were done. */
  async transact(transaction: {
    readonly compare?: readonly Compare[];
    readonly success: readonly EtcdOperation[];
    readonly failure?: readonly EtcdOperation[];
  }): Promise<{ readonly succeeded: boolean; readonly read: KeyValue[][]; readonly revision: number }> {
    const { compare = [], success, failure = [] } = transaction;
    const answer = txnAnswer.parse(
      await this.#ask("/v3/kv/txn", {
        compare: compare.map(compareJson),
        success: success.map(operationJson),
        failure: failure.map(operationJson),
      }),
    );
    const read = answer.responses.flatMap(({ response_range: range }) => (range ? [range.kvs] : []));
    return { succeeded: answer.succeeded, read, revision: answer.header.revision };
  }

  /** compact lets etcd forget what keys were before a revision. */
  async compact(revision: number): Promise<void> {
    await this.#ask("/v3/kv/compaction", { revision: String(revision) });
  }

  /** watch calls `changed` once it watches and whenever the key may have changed; `ended` once, when it cannot go on. */
  watch(
    key: string,
    events: { readonly changed: () => void; readonly ended: (error: Error) => void },
  ): Disposable {
    return httpsStream(
      {
        ...this.#request(this.#current, "/v3/watch", { create_request: { key: base64(key) } }),
        maxBytes: MAX_ANSWER_BYTES,
      },
      {
        line: (text) => (/"canceled":true|"error":/.test(text) ? undefined : events.changed()),
        ended: events.ended,
      },
    );
  }

  /** members asks every endpoint how it is. */
  async members(): Promise<MemberStatus[]> {
    return Promise.all(
      this.endpoints.map(async (endpoint, index): Promise<MemberStatus> => {
        try {
          const answer = statusAnswer.parse(await this.#askOne(index, "/v3/maintenance/status", {}));
          return { endpoint, version: answer.version, leader: answer.leader !== "0" };
        } catch (error) {
          return { endpoint, problem: (error as Error).message };
        }
      }),
    );
  }

  #request(index: number, path: string, body: unknown) {
    const tls = this.#tls();
    return {
      url: `${this.endpoints[index]}${path}`,
      body: JSON.stringify(body),
      headers: HEADERS,
      timeoutMs: this.#requestMs,
      ...(tls === undefined ? {} : { tls }),
    };
  }

  /** Asks one member after the other. A transaction that was sent twice is done once: its conditions do not hold again. */
  async #ask(path: string, body: unknown): Promise<unknown> {
    const problems: { readonly endpoint: string; readonly error: EtcdError }[] = [];
    for (let i = 0; i < this.endpoints.length; i++) {
      const index = (this.#current + i) % this.endpoints.length;
      try {
        const answer = await this.#askOne(index, path, body);
        this.#current = index;
        return answer;
      } catch (error) {
        if (!(error instanceof EtcdError) || error.kind === "refused") throw error;
        problems.push({ endpoint: this.endpoints[index] as string, error });
      }
    }
    throw together(problems);
  }

  async #askOne(index: number, path: string, body: unknown): Promise<unknown> {
    let answer: { readonly status: number; readonly text: string };
    try {
      answer = await httpsPost({ ...this.#request(index, path, body), maxBytes: MAX_ANSWER_BYTES });
    } catch (error) {
      if (!(error instanceof HttpsError)) throw error;
      throw new EtcdError(error.kind === "untrusted" ? "untrusted" : "unreachable", error.message, error);
    }
    let value: unknown;
    try {
      value = JSON.parse(answer.text);
    } catch {
      throw new EtcdError("unreachable", `its answer (status ${answer.status}) is not etcd's`);
    }
    if (answer.status === 200) return value;
    const said = String((value as { message?: unknown }).message ?? answer.text).replace("etcdserver: ", "");
    // 14 and 4 of gRPC: the member cannot now, another one or the same one later may.
    if (/no leader|leader changed|timed out/.test(said)) throw new EtcdError("majority", said);
    if (answer.status === 503 || answer.status === 504) throw new EtcdError("unreachable", said);
    throw new EtcdError("refused", `etcd refuses: ${said}`);
  }
}

function together(problems: readonly { readonly endpoint: string; readonly error: EtcdError }[]): EtcdError {
  const list = problems.map(({ endpoint, error }) => `${endpoint}: ${error.message}`).join("; ");
  const kinds = new Set(problems.map(({ error }) => error.kind));
  if (kinds.has("majority")) return new EtcdError("majority", `etcd has no majority (${list})`);
  if (kinds.has("untrusted"))
    return new EtcdError("untrusted", `etcd and this hub do not accept each other's certificates (${list})`);
  return new EtcdError("unreachable", `etcd does not answer (${list})`);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function plain(text: string): string {
  return Buffer.from(text, "base64").toString("utf8");
}

function compareJson(compare: Compare): unknown {
  const key = base64(compare.key);
  if ("absent" in compare) return { key, target: "CREATE", result: "EQUAL", create_revision: "0" };
  return { key, target: "VALUE", result: "EQUAL", value: base64(compare.value) };
}

function operationJson(operation: EtcdOperation): unknown {
  const end = "end" in operation && operation.end !== undefined ? { range_end: base64(operation.end) } : {};
  if ("put" in operation)
    return { request_put: { key: base64(operation.put), value: base64(operation.value) } };
  if ("delete" in operation) return { request_delete_range: { key: base64(operation.delete), ...end } };
  const limit = operation.limit === undefined ? {} : { limit: String(operation.limit) };
  return { request_range: { key: base64(operation.range), ...end, ...limit } };
}
