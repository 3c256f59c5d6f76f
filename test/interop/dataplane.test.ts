/** Our data-plane process and Debian's wireguard-go: who renews, and when; what the shared suite (wireguard-go.test.ts) has is not repeated. */
import { describe, expect, test } from "bun:test";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { dataplaneBackend } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { PacedFlow } from "../support/paced-flow.ts";
import { renewalSuite } from "../support/renewal-suite.ts";
import { ip, TunnelPair, until } from "../support/tunnel-pair.ts";

const backend = wireguardGoBackend();
const skip = ownLacks ?? (backend === undefined ? "needs wireguard-go" : undefined);
const go = () => backend as TunnelBackend;
const own = () => dataplaneBackend("--workers", "2");

renewalSuite("the data plane with wireguard-go, and with itself", {
  pairs: [
    { near: own, far: go, psk: true },
    { near: go, far: own },
    { near: own, far: own, psk: true },
  ],
  skip,
});

describe.skipIf(skip !== undefined)(
  `the data plane and wireguard-go${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    test.concurrent(
      "each follows the other one when it moves, in the middle of flows",
      async () => {
        for (const [near, far] of [
          [own, go],
          [go, own],
        ] as const) {
          await using pair = await TunnelPair.open({ near: near(), far: far() });
          pair.meet();
          expect(await pair.pings(pair.near)).toBe(true);
          const flow = new PacedFlow({
            from: pair.near.netns,
            to: pair.far.netns,
            target: pair.far.overlay4,
            perSecond: 200,
          });
          flow.start();
          await Bun.sleep(300);
          ip(pair.near.netns, "addr add 192.0.2.44/24 dev eth0");
          ip(pair.near.netns, `addr del ${pair.near.underlay4}/24 dev eth0`);
          // It may have gone with the first address of its subnet.
          ip(pair.near.netns, "addr replace 192.0.2.44/24 dev eth0");
          await until("it follows", () => pair.seen(pair.far)?.endpoint?.ip.value === 0xc000022cn);
          expect(await pair.pings(pair.far)).toBe(true);
          await Bun.sleep(300);
          const { received, sent, twice } = await flow.stop();
          flow[Symbol.dispose]();
          expect(twice).toBe(0);
          expect(received).toBeGreaterThan(sent * 0.5);
        }
      },
      100_000,
    );
  },
);
