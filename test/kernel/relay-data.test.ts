/** Two nodes that cannot reach each other, and a hub that sends their WireGuard messages on. */
import { describe, expect, test } from "bun:test";
import { run } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { RelayLab } from "../support/relay-lab.ts";

const go = wireguardGoBackend();
const own = () => dataplaneBackend("--workers", "1");

/** The hub has sessions with both ends, and none of what they say to each other came out of its link. */
function expectBlind(lab: RelayLab): void {
  const peers = lab.hubTunnel.device.read().peers;
  expect(peers).toHaveLength(2);
  // Handshakes, keepalives and some pings; the ends moved much more.
  for (const { rxBytes } of peers) expect(rxBytes).toBeLessThan(50_000);
}

describe.skipIf(skip !== undefined)(`relay of data${skip === undefined ? "" : ` (${skip})`}`, () => {
  const ends: readonly (readonly [
    string,
    (() => TunnelBackend) | undefined,
    (() => TunnelBackend) | undefined,
  ])[] = [
    ["ours and ours", own, own],
    ["wireguard-go and ours", go === undefined ? undefined : () => go, own],
    ["ours and wireguard-go", own, go === undefined ? undefined : () => go],
    [
      "wireguard-go and wireguard-go",
      go === undefined ? undefined : () => go,
      go === undefined ? undefined : () => go,
    ],
  ];
  for (const [name, a, b] of ends)
    for (const families of [
      [4, 4],
      [4, 6],
      [6, 6],
    ] as const)
      test.skipIf(a === undefined || b === undefined)(
        `${name}, over IPv${families[0]} and IPv${families[1]}: handshake, data both ways, TCP${a === undefined || b === undefined ? " (needs wireguard-go)" : ""}`,
        async () => {
          await using lab = await RelayLab.open({ a: (a ?? own)(), b: (b ?? own)(), families });
          await lab.meet();
          lab.join();
          expect(await lab.pings(lab.a)).toBe(true);
          expect(await lab.pings(lab.b)).toBe(true);
          expect(lab.status).toMatchObject({ nodes: 2, liveNodes: 2, pairs: 1 });
          expect(lab.status.circuits).toBeGreaterThanOrEqual(2);
          const before = lab.status.bytes;
          const server = lab.b.netns.run(() => ({
            child: Bun.spawn(["iperf3", "-s", "-1", "--forceflush"], { stdout: "pipe" }),
          }));
          await server.child.stdout.getReader().read();
          const { stdout } = await run(["iperf3", "-c", lab.b.overlay, "-n", "20M", "-J"], {
            netns: lab.a.netns,
          });
          await server.child.exited;
          expect(JSON.parse(stdout).end.sum_received.bytes).toBeGreaterThan(10e6);
          expect(lab.status.bytes - before).toBeGreaterThan(15e6);
          expectBlind(lab);
        },
      );
});
