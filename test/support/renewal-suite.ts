/** What takes two minutes of real time: the renewal of a session for its age, for all pairs of implementations at once. */
import { describe, expect, test } from "bun:test";
import { Secret } from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { PacedFlow } from "./paced-flow.ts";
import { type Side, TunnelPair, until } from "./tunnel-pair.ts";

/** Rekey-After-Time of the whitepaper, and some seconds for the handshake. */
const REKEY_AFTER_MS = 120_000;
const HANDSHAKE_MS = 6_000;

/** Renewal is one pair; the near side begins, and so is the one that renews. */
export interface Renewal {
  readonly near: () => TunnelBackend;
  readonly far: () => TunnelBackend;
  readonly psk?: boolean;
}

/** renewalSuite declares the test. */
export function renewalSuite(
  title: string,
  options: { readonly pairs: readonly Renewal[]; readonly skip?: string | undefined },
): void {
  const { pairs, skip } = options;
  describe.skipIf(skip !== undefined)(`${title}${skip === undefined ? "" : ` (${skip})`}`, () => {
    test("sessions are renewed after 120 s in the middle of flows, by either of them, and no packet is lost", async () => {
      await using open = new AsyncDisposableStack();
      const all = await Promise.all(
        pairs.map(async ({ near, far, psk }) => {
          const pair = open.use(await TunnelPair.open({ near: near(), far: far() }));
          begin(pair, psk === true ? { presharedKey: Secret.random() } : {});
          expect(await pair.pings(pair.near)).toBe(true);
          return pair;
        }),
      );
      const before = all.map((pair) => handshakeMs(pair, pair.near));
      const flows = all.map((pair) =>
        [pair.near, pair.far].map((from) => {
          const to = pair.other(from);
          const flow = { from: from.netns, to: to.netns, target: to.overlay4, perSecond: 50 };
          return open.use(new PacedFlow(flow));
        }),
      );
      for (const flow of flows.flat()) flow.start();
      await until(
        "all have a new session",
        () => all.every((pair, i) => handshakeMs(pair, pair.near) > (before[i] as number)),
        REKEY_AFTER_MS + HANDSHAKE_MS,
      );
      // The old ones are good for a while; the new ones are used now.
      await Bun.sleep(1500);
      const reports = await Promise.all(flows.map((both) => Promise.all(both.map((flow) => flow.stop()))));
      for (const [i, both] of reports.entries()) {
        for (const { sent, received, twice } of both) {
          expect([i, received, twice]).toEqual([i, sent, 0]);
          expect(sent).toBeGreaterThan(2000);
        }
        // Not for another reason before.
        const pair = all[i] as TunnelPair;
        expect(handshakeMs(pair, pair.near) - (before[i] as number)).toBeGreaterThan(REKEY_AFTER_MS - 2000);
      }
    }, 250_000);
  });
}

/** Only the near side knows where the other one is: it begins, and so it renews. */
function begin(pair: TunnelPair, psk: { readonly presharedKey?: Secret }): void {
  const { near, far } = pair;
  const { endpoint: _, ...waits } = pair.peer(far);
  far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: [{ ...waits, ...psk }] });
  near.tunnel.device.change({
    privateKey: near.key,
    listenPort: 51820,
    peers: [{ ...pair.peer(near), ...psk }],
  });
}

const handshakeMs = (pair: TunnelPair, side: Side) => pair.seen(side)?.lastHandshakeMs ?? 0;
