/**
 * Which sequence numbers of operator-managed associations were ever given out: a small text that is written durably before a block of numbers
 * is used. AES-GCM under one key and salt with one number twice gives both texts away (RFC 4106, section 2), and an operator's key outlives
 * our processes; so after a restart numbers go on behind the block, and what is missing is refused and not begun at 1.
 *
 * ```
 *   causeway sequence numbers 1
 *   salt 64 hex digits             makes that fingerprints say nothing of keys
 *   64 hex digits 16777217         fingerprint of algorithm, key and salt; the first number that was not given out
 *   sum 64 hex digits              of all above
 * ```
 * Entries are never removed: a key that comes back goes on.
 */
import { type Bytes, type Primitives, systemPrimitives } from "../../noise/mod.ts";
import type { SaAlgorithm } from "../../exchange/mod.ts";
import type { KeyMaterial } from "../../net/mod.ts";

/** BLOCK is how many numbers are reserved by one write: more than a second of ten million packets a second. */
export const BLOCK = 2 ** 24;
/** MOST_ENTRIES keys are remembered. */
export const MOST_ENTRIES = 65_536;
/** LAST_NUMBER is the greatest that is an exact number here. */
export const LAST_NUMBER: number = Number.MAX_SAFE_INTEGER;

const TITLE = "causeway sequence numbers 1";
const SALT_BYTES = 32;

/** SequenceBook is what the text says. */
export interface SequenceBook {
  readonly salt: Bytes;
  /** By fingerprint: the first number that was not given out. */
  readonly next: ReadonlyMap<string, number>;
}

/** newSequenceBook returns the book of a gateway that never had an operator-managed association. */
export function newSequenceBook(primitives: Primitives = systemPrimitives): SequenceBook {
  return { salt: primitives.random(SALT_BYTES), next: new Map() };
}

/** fingerprintOf returns what the book knows a key by. */
export function fingerprintOf(
  { salt }: Pick<SequenceBook, "salt">,
  key: { readonly algorithm: SaAlgorithm; readonly keyMaterial: KeyMaterial },
): string {
  const input = new Uint8Array([
    ...new TextEncoder().encode(`${key.algorithm} `),
    ...key.keyMaterial.reveal(),
  ]);
  const code = hex(systemPrimitives.hmac(salt, input));
  input.fill(0);
  return code;
}

/** formatSequenceBook returns the text. */
export function formatSequenceBook({ salt, next }: SequenceBook): string {
  const lines = [TITLE, `salt ${hex(salt)}`, ...[...next].map(([print, number]) => `${print} ${number}`)];
  const text = `${lines.join("\n")}\n`;
  return `${text}sum ${sumOf(text)}\n`;
}

/** parseSequenceBook reads the text; throws with the reason if it is not whole. */
export function parseSequenceBook(text: string): SequenceBook {
  const match = /^([^]*\n)sum ([0-9a-f]{64})\n$/.exec(text);
  if (match === null || sumOf(match[1] as string) !== match[2])
    throw new Error("its checksum is missing or another: it was cut or changed");
  const [title, salt, ...rows] = (match[1] as string).trimEnd().split("\n");
  const key = /^salt ([0-9a-f]{64})$/.exec(salt ?? "");
  if (title !== TITLE || key === null) throw new Error(`it does not begin with "${TITLE}" and a salt`);
  const next = new Map<string, number>();
  for (const row of rows) {
    const entry = /^([0-9a-f]{64}) ([1-9][0-9]{0,15})$/.exec(row);
    const number = Number(entry?.[2]);
    if (entry === null || number > LAST_NUMBER || next.has(entry[1] as string))
      throw new Error(`"${row}" is not a fingerprint and a number, or there twice`);
    next.set(entry[1] as string, number);
  }
  if (next.size > MOST_ENTRIES) throw new Error(`it has ${next.size} entries, more than ${MOST_ENTRIES}`);
  return { salt: new Uint8Array(Buffer.from(key[1] as string, "hex")), next };
}

/** Reserved is a block of numbers, and the book that has to be stored before one of them is used. */
export interface Reserved {
  readonly book: SequenceBook;
  readonly first: number;
  readonly last: number;
}

/** reserve takes the next block of a key; a string is why there is none. */
export function reserve(book: SequenceBook, fingerprint: string): Reserved | string {
  const first = book.next.get(fingerprint) ?? 1;
  if (first > LAST_NUMBER - BLOCK) return "its sequence numbers are used up; give it a new key";
  if (!book.next.has(fingerprint) && book.next.size >= MOST_ENTRIES)
    return `${MOST_ENTRIES} keys were used on this gateway, and none may be forgotten; use negotiated keys`;
  const next = new Map(book.next).set(fingerprint, first + BLOCK);
  return { book: { ...book, next }, first, last: first + BLOCK - 1 };
}

function sumOf(text: string): string {
  return hex(systemPrimitives.hash(new TextEncoder().encode(text)));
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
