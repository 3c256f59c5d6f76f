/** The tunnel over TLS with the kernel's WireGuard, alone and with our engine as the other end. */
import { describe, expect, test } from "bun:test";
import { formatEndpoint } from "../../src/net/mod.ts";
import { kernelHasWireguard } from "../../src/netlink/mod.ts";
import { kernelBackend } from "../../src/tunnel/kernel.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { ownLacks } from "../support/own-needs.ts";
import { TlsPair } from "../support/tls-pair.ts";
import { until } from "../support/tunnel-pair.ts";

const kernel =
  process.getuid?.() !== 0
    ? "needs root"
    : kernelHasWireguard()
      ? undefined
      : "needs a kernel with WireGuard";
const own = () => ownBackend();
const kinds = [
  ["kernel at both ends", kernelBackend, kernelBackend, kernel],
  ["kernel at our engine's hub", kernelBackend, own, kernel ?? ownLacks],
  ["our engine at the kernel's hub", own, kernelBackend, kernel ?? ownLacks],
] as const;

for (const [title, near, far, lacks] of kinds)
  describe.skipIf(lacks !== undefined)(`TLS: ${title}${lacks === undefined ? "" : ` (${lacks})`}`, () => {
    test("packets both ways, and after the connection was lost; not one UDP datagram outside", async () => {
      await using tls = await TlsPair.open(near(), far());
      const { pair } = tls;
      expect(await pair.pings(pair.near)).toBe(true);
      expect(await pair.pings(pair.far)).toBe(true);
      expect(tls.seenAt).toMatch(/^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+:\d+$/);
      expect(formatEndpoint(pair.seen(pair.near)?.endpoint as never)).toBe(`127.0.0.1:${tls.localPort}`);
      const { seenAt } = tls;
      // Serving anew ends all connections.
      tls.hub.configure({ tunnelPort: 51820, hubs: [] });
      tls.hub.configure(tls.hubConfig);
      await until("it is open again", () => tls.uplink.state === "open" && tls.uplink.opened === 2);
      expect(await pair.pings(pair.far)).toBe(true);
      expect(tls.seenAt).toBe(seenAt);
      expect(tls.blocked).toEqual([0, 0]);
    });
  });
