/** Ends with the kernel's WireGuard, which know nothing of a relay, and our hub between them. */
import { describe, expect, test } from "bun:test";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownLacks } from "../support/own-needs.ts";
import { RelayLab } from "../support/relay-lab.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : kernelHasWireguard() ? ownLacks : "needs a kernel with WireGuard";

describe.skipIf(skip !== undefined)(
  `relay for the kernel's WireGuard${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    for (const families of [
      [4, 4],
      [4, 6],
    ] as const)
      for (const [name, ends] of [
        ["both ends", { a: kernelBackend(), b: kernelBackend() }],
        ["the end that begins, ours the other", { a: kernelBackend() }],
        ["the end that answers, ours the other", { b: kernelBackend() }],
      ] as const)
        test(`${name}, over IPv${families[0]} and IPv${families[1]}: handshake, data both ways, TCP`, async () => {
          await using lab = await RelayLab.open({ ...ends, families });
          await lab.meet();
          lab.join(lab.a);
          expect(await lab.pings(lab.a)).toBe(true);
          expect(await lab.pings(lab.b)).toBe(true);
          expect(lab.status).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1 });
          const before = lab.status.bytes;
          const { child } = lab.b.netns.run(() => ({
            child: Bun.spawn(["iperf3", "-s", "-1", "--forceflush"], { stdout: "pipe" }),
          }));
          await child.stdout.getReader().read();
          const { stdout } = await run(["iperf3", "-c", lab.b.overlay, "-n", "2M", "-J"], {
            netns: lab.a.netns,
          });
          await child.exited;
          expect(JSON.parse(stdout).end.sum_received.bytes).toBeGreaterThan(1e6);
          expect(lab.status.bytes - before).toBeGreaterThan(1e6);
        });
  },
);
