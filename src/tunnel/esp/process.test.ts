/** What is run in processes of their own: the count of garbage, and the fuzzing in a guarded arena, where a fault is a SIGSEGV. */
import { expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { run } from "../../sys/mod.ts";

const support = `${import.meta.dir}/../../../test/support`;

async function child(program: string, ...argv: string[]): Promise<Record<string, unknown>> {
  const done = await run([process.execPath, `${support}/${program}.ts`, ...argv]);
  if (done.status !== 0)
    throw new Error(`${program} ${argv.join(" ")} ended with ${done.status}: ${done.stderr.slice(-2000)}`);
  return JSON.parse(done.stdout) as Record<string, unknown>;
}

test("a million ESP packets, sealed and opened, across 2^32, make no garbage", async () => {
  const seen = await child("esp-heap", "1000000");
  expect(seen["packets"] as number).toBeGreaterThanOrEqual(1_000_000);
  expect(seen["counters"]).toMatchObject({ forged: 0, replayed: 0, malformed: 0, unreadable: 0 });
  expect(seen["window"] as number).toBeGreaterThan(2 ** 32);
  // No collection was needed, and all the new blocks together are less than one byte for a packet.
  expect(seen["collected"]).toBe(0);
  expect(seen["capacityBytes"] as number).toBeLessThan(1_000_000);
}, 120_000);

const seed = newSeed();
test.each(["aes-128-gcm", "aes-256-gcm"])(
  `ESP, fuzzing under guard pages: %s (SEED=${seed})`,
  async (algorithm) => {
    const seen = await child("esp-fuzz", String(seed), "1500", algorithm);
    // It went everywhere.
    expect(seen["written"] as number).toBeGreaterThan(1000);
    expect(seen["joined"] as number).toBeGreaterThan(100);
    expect(seen["frames"] as number).toBeGreaterThan(500);
    for (const kind of ["keepalive", "ike", "malformed"])
      expect((seen["kinds"] as Record<string, number>)[kind]).toBeGreaterThan(10);
    for (const count of ["forged", "replayed", "unknown", "malformed", "unreadable"])
      expect((seen["counters"] as Record<string, number>)[count]).toBeGreaterThan(10);
  },
  120_000,
);
