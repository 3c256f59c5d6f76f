/**
 * Snapshots of the register in etcd, so that the log can be cut off and a new hub need not read all of it.
 *
 * ```
 * PREFIX/snapshot            {"number","chunks","sha256"}     the newest whole one
 * PREFIX/snapshot/NUMBER/I   a part of its text               smaller than what etcd takes in one request (1.5 MiB)
 * ```
 */
import { z } from "zod";
import { sha256 } from "../sys/mod.ts";
import type { EtcdStore, KeyValue } from "./etcd.ts";
import type { RegisterDump } from "./register-dump.ts";

const CHUNK_CHARACTERS = 256 * 1024;

const headSchema = z.object({
  number: z.number().int().min(0),
  chunks: z.number().int().min(1).max(10_000),
  sha256: z.string(),
});

/** SnapshotHead names the newest snapshot. */
export type SnapshotHead = z.output<typeof headSchema>;

/** snapshotKey is the key of the newest snapshot's head. */
export function snapshotKey(prefix: string): string {
  return `${prefix}/snapshot`;
}

/** parseSnapshotHead reads the head; undefined when there is no snapshot. */
export function parseSnapshotHead(read: KeyValue | undefined): SnapshotHead | undefined {
  return read === undefined ? undefined : headSchema.parse(JSON.parse(read.value));
}

function chunkKey(prefix: string, number: number, chunk: number): string {
  return `${prefix}/snapshot/${String(number).padStart(16, "0")}/${String(chunk).padStart(5, "0")}`;
}

/** writeSnapshot stores a dump that was made after entry `number`, and makes it the newest unless a newer one is there. */
export async function writeSnapshot(
  etcd: EtcdStore,
  prefix: string,
  snapshot: { readonly number: number; readonly dump: RegisterDump },
): Promise<void> {
  const { number, dump } = snapshot;
  const text = JSON.stringify(dump);
  const chunks = Math.max(1, Math.ceil(text.length / CHUNK_CHARACTERS));
  for (let i = 0; i < chunks; i++)
    await etcd.transact({
      success: [
        {
          put: chunkKey(prefix, number, i),
          value: text.slice(i * CHUNK_CHARACTERS, (i + 1) * CHUNK_CHARACTERS),
        },
      ],
    });
  const key = snapshotKey(prefix);
  const { read } = await etcd.transact({ success: [{ range: key }] });
  const [old] = read[0] ?? [];
  if ((parseSnapshotHead(old)?.number ?? -1) >= number) return;
  const head: SnapshotHead = { number, chunks, sha256: digest(text) };
  await etcd.transact({
    compare: [old === undefined ? { key, absent: true } : { key, value: old.value }],
    success: [
      { put: key, value: JSON.stringify(head) },
      // Parts of older ones; who reads one just now begins again with this.
      { delete: chunkKey(prefix, 0, 0), end: chunkKey(prefix, number, 0) },
    ],
  });
}

/** readSnapshot returns the newest snapshot; undefined when there is none. */
export async function readSnapshot(
  etcd: EtcdStore,
  prefix: string,
): Promise<{ readonly number: number; readonly dump: RegisterDump } | undefined> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const { read } = await etcd.transact({ success: [{ range: snapshotKey(prefix) }] });
    const head = parseSnapshotHead(read[0]?.[0]);
    if (head === undefined) return undefined;
    let text = "";
    for (let i = 0; i < head.chunks; i++) {
      const part = await etcd.transact({ success: [{ range: chunkKey(prefix, head.number, i) }] });
      text += part.read[0]?.[0]?.value ?? "";
    }
    // Another hub may have written a newer one meanwhile and removed this.
    if (digest(text) === head.sha256) return { number: head.number, dump: JSON.parse(text) as RegisterDump };
  }
  throw new Error("the register's snapshot in etcd is damaged");
}

function digest(text: string): string {
  return Buffer.from(sha256(text)).toString("hex");
}
