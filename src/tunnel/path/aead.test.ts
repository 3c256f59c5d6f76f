import { createCipheriv } from "node:crypto";
import { describe, expect, test } from "bun:test";
import { ipsecMbFolders } from "../../../test/support/ipsec-mb.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  AEAD_BATCH,
  AEAD_KEY_BYTES,
  type AeadAlgorithm,
  AeadBatch,
  type AeadProvider,
  Arena,
} from "../../sys/mod.ts";
import { aeadNames, chooseAead, compareAead, openAead, verifyAead } from "./aead.ts";
import { knownAnswers } from "./aead-vectors.ts";

const folders = ipsecMbFolders();
const algorithms = Object.keys(AEAD_KEY_BYTES) as AeadAlgorithm[];

function lacks(name: (typeof aeadNames)[number]): string | undefined {
  try {
    openAead(name, new Arena({ bytes: 4 << 20 }), folders);
    return undefined;
  } catch (error) {
    return `${String((error as Error).message).slice(0, 80)}; bun tools/debian-suite.ts fetches it`;
  }
}

/** Seals one text alone, and returns it with its tag. */
function sealOne(
  provider: AeadProvider,
  arena: Arena,
  { algorithm, key, text }: { algorithm: AeadAlgorithm; key: Uint8Array; text: Uint8Array },
): Uint8Array {
  const batch = new AeadBatch(arena, "seal");
  const at = arena.allocate(text.length + 16);
  arena.store(at, text);
  batch.setNonce(batch.add(at, text.length), 0, 1, 2);
  using sealing = provider.key(algorithm, key, "seal");
  sealing.run(batch);
  return arena.copy(at, text.length + 16);
}

for (const name of aeadNames) {
  const reason = lacks(name);
  describe.skipIf(reason !== undefined)(
    `AEAD by ${name}${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      const open = () => {
        const arena = new Arena({ bytes: 16 << 20 });
        return { arena, provider: openAead(name, arena, folders) };
      };

      test("it is chosen when it is asked for, and says its name", () => {
        const arena = new Arena({ bytes: 16 << 20 });
        const { provider, passedOver } = chooseAead(arena, { folders, only: name });
        expect(provider.name).toStartWith(name.replace(/-[12]$/, ""));
        expect(passedOver).toEqual([]);
      });

      test.each(knownAnswers.map((answer) => [answer.source, answer] as const))("%s", (_, answer) => {
        const { arena, provider } = open();
        const hex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
        const batch = new AeadBatch(arena, "seal");
        const at = arena.allocate(answer.sealed.length / 2);
        batch.additionalBytes = answer.additional.length / 2;
        arena.store(at, hex(answer.plain));
        batch.add(at, answer.plain.length / 2);
        arena.store(batch.nonceAt(0), hex(answer.nonce));
        arena.store(batch.additionalAt(0), hex(answer.additional));
        using key = provider.key(answer.algorithm, hex(answer.key), "seal");
        key.run(batch);
        expect(Buffer.from(arena.copy(at, answer.sealed.length / 2)).toString("hex")).toBe(answer.sealed);
      });

      test("it passes what is asked of it at the start", () => {
        const { arena, provider } = open();
        verifyAead(provider, arena);
      });

      const seed = newSeed();
      test(`AES-GCM agrees with the runtime's, for lengths to 2000 (SEED=${seed})`, () => {
        const random = new Random(seed);
        const { arena, provider } = open();
        for (const algorithm of ["aes-128-gcm", "aes-256-gcm"] as const)
          for (let round = 0; round < 60; round++) {
            const key = random.bytes(AEAD_KEY_BYTES[algorithm]);
            const text = random.bytes(random.below(2000));
            const nonce = new Uint8Array(new Uint32Array([0, 1, 2]).buffer);
            const cipher = createCipheriv(algorithm, key, nonce);
            const expected = Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
            expect(Buffer.from(sealOne(provider, arena, { algorithm, key, text })).equals(expected)).toBe(
              true,
            );
          }
      });

      test.each(algorithms)(
        "%s: any wrong bit of text, tag, nonce, additional data or key is noticed",
        (algorithm) => {
          const { arena, provider } = open();
          const [seal, opening] = [new AeadBatch(arena, "seal"), new AeadBatch(arena, "open")];
          const key = new Uint8Array(AEAD_KEY_BYTES[algorithm]).fill(3);
          using sealKey = provider.key(algorithm, key, "seal");
          using openKey = provider.key(algorithm, key, "open");
          using otherKey = provider.key(
            algorithm,
            key.map((byte, i) => (i === 5 ? byte ^ 1 : byte)),
            "open",
          );
          const at = arena.allocate(64);
          const verdict = (spoil: () => void, by = openKey): number => {
            for (const batch of [seal, opening]) {
              batch.clear();
              batch.additionalBytes = 8;
              batch.add(at, 40);
              batch.setNonce(0, 1, 2, 3);
              arena.u8.fill(9, batch.additionalAt(0), batch.additionalAt(0) + 8);
            }
            arena.u8.fill(0x55, at, at + 40);
            sealKey.run(seal);
            spoil();
            opening.verdicts[0] = 7;
            by.run(opening);
            return opening.verdicts[0];
          };
          const flip = (place: number) => () => {
            arena.u8[place] = (arena.u8[place] as number) ^ 0x80;
          };
          expect(verdict(() => {})).toBe(1);
          for (let i = 0; i < 56; i++) expect(verdict(flip(at + i))).toBe(0);
          for (let i = 0; i < 12; i++) expect(verdict(flip(opening.nonceAt(0) + i))).toBe(0);
          for (let i = 0; i < 8; i++) expect(verdict(flip(opening.additionalAt(0) + i))).toBe(0);
          expect(verdict(() => {}, otherKey)).toBe(0);
          expect(verdict(() => {})).toBe(1);
        },
      );

      test("not one byte outside of text and tag is written, whatever the length", () => {
        const { arena, provider } = open();
        const at = arena.allocate(4096);
        for (const direction of ["seal", "open"] as const)
          for (const algorithm of algorithms) {
            const batch = new AeadBatch(arena, direction);
            using key = provider.key(algorithm, new Uint8Array(AEAD_KEY_BYTES[algorithm]), direction);
            for (let length = 0; length < 300; length += 7) {
              batch.clear();
              arena.u8.fill(0xee, at, at + 4096);
              for (let i = 0; i < 3; i++) batch.add(at + 64 + i * 512, length);
              key.run(batch);
              for (let i = 0; i < 3; i++) {
                const first = at + 64 + i * 512;
                const rest = arena.u8.subarray(first + length + 16, first + 448);
                expect(arena.u8[first - 1]).toBe(0xee);
                expect(rest.every((byte) => byte === 0xee)).toBe(true);
              }
            }
          }
      });

      test("keys of wrong length, used keys and foreign batches are refused", () => {
        const { arena, provider } = open();
        expect(() => provider.key("aes-128-gcm", new Uint8Array(32), "seal")).toThrow("has 16 bytes, not 32");
        expect(() => provider.key("chacha20-poly1305", new Uint8Array(16), "seal")).toThrow("has 32 bytes");
        const key = provider.key("chacha20-poly1305", new Uint8Array(32), "seal");
        expect(() => key.run(new AeadBatch(arena, "open"))).toThrow("not one for a key to seal");
        expect(() => key.run(new AeadBatch(new Arena({ bytes: 1 << 20 }), "seal"))).toThrow(TypeError);
        key[Symbol.dispose]();
        key[Symbol.dispose]();
        expect(() => key.run(new AeadBatch(arena, "seal"))).toThrow("after it was wiped");
      });

      test("a wiped key leaves nothing in the arena", () => {
        const { arena, provider } = open();
        const secret = Uint8Array.from({ length: 32 }, (_, i) => 0xa0 + i);
        const found = () => Buffer.from(arena.u8.buffer).indexOf(secret.subarray(0, 16)) >= 0;
        for (const algorithm of algorithms) {
          const key = provider.key(algorithm, secret.subarray(0, AEAD_KEY_BYTES[algorithm]), "seal");
          const batch = new AeadBatch(arena, "seal");
          batch.add(arena.allocate(64), 40);
          key.run(batch);
          key[Symbol.dispose]();
          expect(found()).toBe(false);
        }
      });
    },
  );
}

describe("AEAD", () => {
  const there = aeadNames.filter((name) => lacks(name) === undefined);

  test(`providers agree with each other: ${there.join(", ")}`, () => {
    const arena = new Arena({ bytes: 32 << 20 });
    const providers = there.map((name) => openAead(name, arena, folders));
    for (const one of providers) for (const other of providers) compareAead(one, other, arena);
  });

  test("the first that works is chosen; the others are named with the reason", () => {
    const { provider, passedOver } = chooseAead(new Arena({ bytes: 16 << 20 }), { folders });
    expect(provider.name).toStartWith((there[0] as string).replace(/-[12]$/, ""));
    expect(passedOver.map(({ name }) => name)).toEqual(
      aeadNames.slice(0, aeadNames.indexOf(there[0] as never)) as never,
    );
    for (const { reason } of passedOver) expect(reason.length).toBeGreaterThan(10);
  });

  /** A provider that makes one mistake. */
  const mistaken = (
    arena: Arena,
    mistake: (batch: AeadBatch) => void,
    direction: "seal" | "open",
  ): AeadProvider => {
    const right = openAead("libcrypto", arena);
    return {
      name: "mistaken",
      key(algorithm, bytes, of) {
        const key = right.key(algorithm, bytes, of);
        const run = (batch: AeadBatch) => {
          key.run(batch);
          if (of === direction) mistake(batch);
        };
        return { algorithm, direction: of, run, [Symbol.dispose]: () => key[Symbol.dispose]() };
      },
    };
  };
  const spoilTexts = (batch: AeadBatch): void => {
    for (let i = 0; i < batch.count; i++)
      if (batch.lengthOf(i) > 0)
        batch.arena.view.setUint8(batch.textAt(i), batch.arena.view.getUint8(batch.textAt(i)) ^ 1);
  };
  const judge = (verdict: number) => (batch: AeadBatch) => {
    batch.verdicts.fill(verdict);
  };
  test.each([
    ["gives a wrong answer", "seal", spoilTexts],
    ["accepts a wrong tag", "open", judge(1)],
    ["refuses a right tag", "open", judge(0)],
    ["opens to something else", "open", spoilTexts],
  ] as const)("a provider that %s is not used", (what, direction, mistake) => {
    const arena = new Arena({ bytes: 16 << 20 });
    expect(() => verifyAead(mistaken(arena, mistake, direction), arena)).toThrow(what);
    // What it does wrong for long texts only, the comparison finds.
    const late = (batch: AeadBatch) => {
      for (let i = 0; i < batch.count; i++) if (batch.lengthOf(i) > 1000) mistake(batch);
    };
    const other = mistaken(arena, late, direction);
    verifyAead(other, arena);
    if (what !== "accepts a wrong tag")
      expect(() => compareAead(other, openAead("libcrypto", arena), arena)).toThrow("disagree");
  });

  test.each(["seal", "open"] as const)(
    "a batch to %s that is filled at once is as if one by one",
    (direction) => {
      const arena = new Arena({ bytes: 1 << 20 });
      const [one, all] = [new AeadBatch(arena, direction), new AeadBatch(arena, direction)];
      for (let i = 0; i < AEAD_BATCH; i++) {
        const at = arena.allocate(200);
        one.add(at, i);
        all.textsAt[i] = at;
        all.textBytes[i] = i;
      }
      all.addAll(AEAD_BATCH);
      const lists = (batch: AeadBatch) =>
        // When it opens, tags are computed into memory of the batch's own.
        [batch.texts, batch.lengths, ...(direction === "seal" ? [batch.tags] : [])].map((at) =>
          arena.copy(at, AEAD_BATCH * 8),
        );
      expect(lists(all)).toEqual(lists(one));
      expect([all.count, all.textAt(7), all.lengthOf(7)]).toEqual([AEAD_BATCH, one.textAt(7), 7]);
      expect(() => all.addAll(AEAD_BATCH + 1)).toThrow("holds 64");
      for (const [at, bytes] of [
        [arena.bytes - 31, 16],
        [-1, 16],
        [1024, -1],
        [1024, 2 ** 31 - 1],
        [2 ** 31 - 1, 1],
      ] as const) {
        all.textsAt[3] = at;
        all.textBytes[3] = bytes;
        expect(() => all.addAll(4)).toThrow(RangeError);
      }
    },
  );

  test("a batch has room for 64, inside of the arena", () => {
    const arena = new Arena({ bytes: 1 << 20 });
    const batch = new AeadBatch(arena, "seal");
    for (let i = 0; i < AEAD_BATCH; i++) batch.add(arena.allocate(32), 16);
    expect(batch.full).toBe(true);
    expect(() => batch.add(1024, 16)).toThrow("holds 64");
    batch.clear();
    expect(() => batch.add(arena.bytes - 31, 16)).toThrow(RangeError);
    expect(() => batch.add(-1, 16)).toThrow(RangeError);
    expect(() => batch.add(1024, -1)).toThrow(RangeError);
    expect(() => {
      batch.additionalBytes = 33;
    }).toThrow("not 0 to 32");
  });
});
