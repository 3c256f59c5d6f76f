/** What the AF_XDP path leaves to the garbage collector: nothing. */
import { expect, test } from "bun:test";
import { run } from "../../src/sys/mod.ts";
import { lacksXdp } from "../support/xdp-pair.ts";

const skip = lacksXdp();

test.skipIf(skip !== undefined)(
  `half a million packets through all sources and sinks make no garbage${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  async () => {
    const done = await run([process.execPath, `${import.meta.dir}/../support/xdp-heap.ts`, "500000"]);
    expect(done.stderr).toBe("");
    const seen = JSON.parse(done.stdout) as Record<string, number>;
    expect(seen["arrived"]).toBeGreaterThanOrEqual(500_000);
    // No collection was needed, and all the new blocks together are less than one byte for a packet.
    expect(seen["collected"]).toBe(0);
    expect(seen["capacityBytes"]).toBeLessThan(500_000);
    expect([seen["garbled"], seen["dropped"]]).toEqual([0, 0]);
    const rest = { free: 3072, held: 0, received: 0, fill: 1024, transmit: 0 };
    expect(seen["census"] as unknown).toEqual([rest, rest]);
  },
  120_000,
);
