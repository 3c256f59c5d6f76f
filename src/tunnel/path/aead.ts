/**
 * Which AEAD provider moves the packets: the fastest that loads here and gives right answers.
 *
 * Order: ipsec-mb 2, ipsec-mb 1, libcrypto. A provider must give the known answers, refuse what was tampered with, and agree with
 * libcrypto on a whole batch: a provider that agrees only with itself would pass every test but one against another.
 */
import {
  AEAD_BATCH,
  AEAD_KEY_BYTES,
  AEAD_TAG,
  type AeadAlgorithm,
  AeadBatch,
  type AeadKey,
  type AeadProvider,
  type Arena,
  IPSEC_MB_1,
  IPSEC_MB_2,
  openIpsecMb1,
  openIpsecMb2,
  openLibcrypto,
} from "../../sys/mod.ts";
import { type KnownAnswer, knownAnswers } from "./aead-vectors.ts";

/** AeadName names a provider's kind, in the order of preference. */
export const aeadNames = ["ipsec-mb-2", "ipsec-mb-1", "libcrypto"] as const;
export type AeadName = (typeof aeadNames)[number];

/** AeadOptions say where to look. */
export interface AeadOptions {
  /** Folders beside the system's own in which libraries may lie, such as one beside the executable. */
  readonly folders?: readonly string[];
  /** Only this one; default the best. */
  readonly only?: AeadName;
}

/** AeadChoice is the provider in use, with what was passed over and why: for `status`. */
export interface AeadChoice {
  readonly provider: AeadProvider;
  readonly passedOver: readonly { readonly name: AeadName; readonly reason: string }[];
}

type Open = (arena: Arena, path?: string) => AeadProvider;

const openers: Readonly<Record<AeadName, { readonly open: Open; readonly library?: string }>> = {
  "ipsec-mb-2": { open: openIpsecMb2, library: IPSEC_MB_2 },
  "ipsec-mb-1": { open: openIpsecMb1, library: IPSEC_MB_1 },
  libcrypto: { open: openLibcrypto },
};

/** chooseAead opens the best provider for an arena; throws when none works. */
export function chooseAead(arena: Arena, options: AeadOptions = {}): AeadChoice {
  const passedOver: { name: AeadName; reason: string }[] = [];
  for (const name of options.only === undefined ? aeadNames : [options.only]) {
    try {
      const provider = openAead(name, arena, options.folders);
      verifyAead(provider, arena);
      if (name !== "libcrypto") compareAead(provider, openLibcrypto(arena), arena);
      return { provider, passedOver };
    } catch (error) {
      passedOver.push({ name, reason: error instanceof Error ? error.message : String(error) });
    }
  }
  const reasons = passedOver.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
  throw new Error(
    `Cannot encrypt packets: ${reasons}; install libcrypto, on Debian: apt-get install libssl3`,
  );
}

/** openAead opens one kind of provider: the system's library, or one in a folder. */
export function openAead(name: AeadName, arena: Arena, folders: readonly string[] = []): AeadProvider {
  const { open, library } = openers[name];
  if (library === undefined) return open(arena);
  let first: unknown;
  for (const path of [library, ...folders.map((folder) => `${folder}/${library}`)]) {
    try {
      return open(arena, path);
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}

/** verifyAead throws unless a provider gives all known answers, alone and in a full batch, and refuses what was tampered with. */
export function verifyAead(provider: AeadProvider, arena: Arena): void {
  const longest = Math.max(...knownAnswers.map(({ sealed }) => sealed.length / 2));
  const stride = (longest + 63) & -64;
  const work = { at: arena.allocate(stride * AEAD_BATCH), stride };
  const seal = new AeadBatch(arena, "seal");
  const open = new AeadBatch(arena, "open");
  for (const answer of knownAnswers)
    for (const count of [1, AEAD_BATCH]) {
      const wrong = (what: string) => new Error(`${provider.name} ${what} (${answer.source})`);
      const key = hex(answer.key);
      using sealing = provider.key(answer.algorithm, key, "seal");
      using opening = provider.key(answer.algorithm, key, "open");
      const texts = fill(seal, { answer, count, ...work });
      sealing.run(seal);
      for (const at of texts)
        if (Buffer.from(arena.copy(at, answer.sealed.length / 2)).toString("hex") !== answer.sealed)
          throw wrong("gives a wrong answer");
      fill(open, { answer, count, ...work, sealed: true });
      // One wrong bit in the last tag: the others must not suffer.
      const last = texts.at(-1) as number;
      const bit = last + answer.sealed.length / 2 - 1;
      arena.u8[bit] = (arena.u8[bit] as number) ^ 1;
      opening.run(open);
      for (let i = 0; i < count; i++) {
        const right = i === count - 1 ? 0 : 1;
        if (open.verdicts[i] !== right)
          throw wrong(right === 1 ? "refuses a right tag" : "accepts a wrong tag");
        const plain = arena.copy(texts[i] as number, answer.plain.length / 2);
        if (right === 1 && Buffer.from(plain).toString("hex") !== answer.plain)
          throw wrong("opens to something else");
      }
    }
}

interface Filling {
  readonly answer: KnownAnswer;
  readonly count: number;
  readonly at: number;
  readonly stride: number;
  readonly sealed?: boolean;
}

/** Fills a batch with one known answer several times; returns where the texts are. */
function fill(batch: AeadBatch, { answer, count, at, stride, sealed = false }: Filling): number[] {
  batch.clear();
  const additional = hex(answer.additional);
  batch.additionalBytes = additional.length;
  return Array.from({ length: count }, (_, i) => {
    const text = at + i * stride;
    batch.arena.store(text, hex(sealed ? answer.sealed : answer.plain));
    batch.add(text, answer.plain.length / 2);
    batch.arena.store(batch.nonceAt(i), hex(answer.nonce));
    batch.arena.store(batch.additionalAt(i), additional);
    return text;
  });
}

/** compareAead throws unless what one provider seals the other opens, both ways, for texts of many lengths in one batch. */
export function compareAead(one: AeadProvider, other: AeadProvider, arena: Arena): void {
  const lengths = Array.from({ length: AEAD_BATCH }, (_, i) => i * i * (i % 3 === 0 ? 1 : 0) + i);
  const stride = (Math.max(...lengths) + AEAD_TAG + 63) & -64;
  const at = arena.allocate(stride * AEAD_BATCH);
  const seal = new AeadBatch(arena, "seal");
  const open = new AeadBatch(arena, "open");
  for (const batch of [seal, open]) {
    batch.additionalBytes = 12;
    lengths.forEach((length, i) => {
      batch.add(at + i * stride, length);
      batch.setNonce(i, 0, i, 7);
      arena.u8.fill(i, batch.additionalAt(i), batch.additionalAt(i) + 12);
    });
  }
  for (const algorithm of Object.keys(AEAD_KEY_BYTES) as AeadAlgorithm[])
    for (const [sealer, opener] of [
      [one, other],
      [other, one],
    ] as const) {
      const bytes = new Uint8Array(AEAD_KEY_BYTES[algorithm]).fill(0x5a);
      using sealing: AeadKey = sealer.key(algorithm, bytes, "seal");
      using opening: AeadKey = opener.key(algorithm, bytes, "open");
      lengths.forEach((length, i) => arena.u8.fill(i + 1, at + i * stride, at + i * stride + length));
      sealing.run(seal);
      opening.run(open);
      lengths.forEach((length, i) => {
        const text = arena.u8.subarray(at + i * stride, at + i * stride + length);
        if (open.verdicts[i] !== 1 || !text.every((byte) => byte === i + 1))
          throw new Error(`${sealer.name} and ${opener.name} disagree on ${algorithm} of ${length} bytes`);
      });
    }
}

const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
