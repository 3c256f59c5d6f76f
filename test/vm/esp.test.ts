/** Our ESP against the kernel's: associations set by ip-xfrm(8) in one namespace, our process in the other. */
import { describe, expect, test } from "bun:test";
import { EspProcess, KernelEsp, lacksKernelEsp, pings } from "../support/esp-nodes.ts";
import { PathNodes } from "../support/path-nodes.ts";
import { Scratch } from "../support/scratch.ts";

function lacks(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root";
  using scratch = new Scratch();
  const words = lacksKernelEsp(scratch.netns);
  return words === undefined ? undefined : `needs a kernel with ESP: ${words}`;
}
const skip = lacks();

const kinds = [
  ["IP protocol 50 over IPv4, AES-128, ESN", { outer: 4, algorithm: "aes-128-gcm", extended: true }],
  ["IP protocol 50 over IPv6, AES-256, ESN", { outer: 6, algorithm: "aes-256-gcm", extended: true }],
  [
    "IP protocol 50 over IPv4, AES-256, 32 bits, TFC from us",
    { outer: 4, algorithm: "aes-256-gcm", extended: false, tfcBytes: 1400 },
  ],
  [
    "IP protocol 50 over IPv4, ESN across 2^32",
    { outer: 4, algorithm: "aes-128-gcm", extended: true, sent: 2 ** 32 - 10 },
  ],
  ["in UDP over IPv4, ESN", { outer: 4, algorithm: "aes-128-gcm", extended: true, udp: true }],
] as const;

describe.skipIf(skip !== undefined)(
  `ESP with the kernel's${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    test.each(kinds)("%s", async (_, options) => {
      await using nodes = new PathNodes();
      nodes.cable(1500);
      const { near, far } = nodes;
      using kernel = new KernelEsp(far, { ...options, peer: near });
      await using ours = await EspProcess.start(near, { ...options, peer: far });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const)
        for (const address of [to.overlay4, to.overlay6])
          for (const bytes of [0, 1300, 5000])
            expect([address, bytes, await pings(from, address, bytes)]).toEqual([address, bytes, 3]);
      const report = await ours.report();
      expect(report.counters).toMatchObject({
        forged: 0,
        replayed: 0,
        unknown: 0,
        malformed: 0,
        unreadable: 0,
      });
      expect(report).toMatchObject({ refused: 0, others: { keepalive: 0, ike: 0, malformed: 0 } });
      expect(kernel.trouble()).toBe("");
      if ("sent" in options) expect(Math.min(report.sent, report.received)).toBeGreaterThan(2 ** 32);
    });
  },
);
