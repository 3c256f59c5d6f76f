/** What is run in a process of its own: fuzzing in a guarded arena, where a fault is a SIGSEGV. */
import { expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { run } from "../../sys/mod.ts";

const program = `${import.meta.dir}/../../../test/support/gateway-fuzz.ts`;
/** An ICMPv6 packet without a message, about which an error was asked for, at the end of what there is. */
const KEPT = [2_385_821_542];

test.each([newSeed(), ...KEPT])(
  "whatever comes from both sides, nothing is touched outside of its frame, thrown or lost (SEED=%d)",
  async (seed) => {
    const done = await run([process.execPath, program, String(seed), "10000"]);
    if (done.status !== 0)
      throw new Error(`seed ${seed} ended with ${done.status}: ${done.stderr.slice(-2000)}`);
    const seen = JSON.parse(done.stdout);
    // It went everywhere.
    expect(seen.hosts).toBeGreaterThan(50);
    expect(seen.wire).toBeGreaterThan(100);
    expect(seen.orders).toBeGreaterThan(20);
    expect(seen.route.txpackets).toBeGreaterThan(20);
    expect(seen.inbound.packets).toBeGreaterThan(20);
    expect(seen.inbound.decryptErrors).toBeGreaterThan(10);
    expect(seen.counters.privateRouter.mtuErrors).toBeGreaterThan(10);
    expect(seen.counters.exchange.received).toBeGreaterThan(5);
    expect(seen.counters.privateNextHop.arpReplies).toBeGreaterThan(5);
  },
  120_000,
);
