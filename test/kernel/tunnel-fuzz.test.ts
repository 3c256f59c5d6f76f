/**
 * The fuzzing under guard pages of the unit tests, with each library that encrypts: there it is the one that would be chosen. Here the others
 * are fetched. (Needs nothing of the kernel.)
 */
import { describe, expect, test } from "bun:test";
import { Arena, run } from "../../src/sys/mod.ts";
import { aeadNames, openAead } from "../../src/tunnel/path/mod.ts";
import { fetchIpsecMb, ipsecMbFolders } from "../support/ipsec-mb.ts";
import { newSeed } from "../support/random.ts";

const fetched = fetchIpsecMb();
const seed = newSeed();

function lacks(name: (typeof aeadNames)[number]): string | undefined {
  try {
    openAead(name, new Arena({ bytes: 4 << 20 }), ipsecMbFolders());
    return undefined;
  } catch (error) {
    return fetched ?? (error as Error).message.slice(0, 80);
  }
}

async function fuzz(program: string, ...argv: readonly string[]): Promise<Record<string, number>> {
  const path = `${import.meta.dir}/../support/${program}.ts`;
  const done = await run([process.execPath, path, String(seed), "500", ...argv]);
  if (done.status !== 0) throw new Error(`${program} ended with ${done.status}: ${done.stderr.slice(-2000)}`);
  return JSON.parse(done.stdout).counters as Record<string, number>;
}

for (const name of aeadNames) {
  const reason = lacks(name);
  describe.skipIf(reason !== undefined)(
    `fuzzing under guard pages by ${name} (SEED=${seed})${reason === undefined ? "" : ` (skipped: ${reason})`}`,
    () => {
      test.each([
        ["path-fuzz", "chacha20-poly1305"],
        ["path-fuzz", "aes-256-gcm"],
        ["esp-fuzz", "aes-128-gcm"],
      ])(
        "%s, %s",
        async (program, algorithm) => {
          const counters = await fuzz(program, algorithm, name);
          // It went everywhere.
          for (const count of ["forged", "replayed", "unknown", "malformed", "unreadable"])
            expect([count, (counters[count] as number) > 3]).toEqual([count, true]);
        },
        120_000,
      );
    },
  );
}
