/** wireguard-go forgets us in the middle of a flow and begins anew at once: our core takes its new session up, whoever has the greater key. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { publicKeyBytes } from "../../src/net/mod.ts";
import { run } from "../../src/sys/mod.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { TunnelPair } from "../support/tunnel-pair.ts";
import { loopBackend } from "../support/wireguard-loop.ts";

const go = wireguardGoBackend();
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : go === undefined
      ? "needs wireguard-go"
      : existsSync("/dev/net/tun")
        ? undefined
        : "needs /dev/net/tun";

/** Ours is near; its key is the greater one, or the smaller. */
async function open(greater: boolean): Promise<TunnelPair> {
  for (;;) {
    const pair = await TunnelPair.open({ near: loopBackend(), far: go as NonNullable<typeof go> });
    const [ours, theirs] = [pair.near, pair.far].map(({ key }) => publicKeyBytes(key.publicKey));
    if (Buffer.compare(ours as Uint8Array, theirs as Uint8Array) > 0 === greater) return pair;
    await pair[Symbol.asyncDispose]();
  }
}

describe.skipIf(skip !== undefined)(
  `a peer that begins anew${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    test.each([
      ["greater", true],
      ["smaller", false],
    ])("our key is the %s one", async (_, greater) => {
      await using pair = await open(greater);
      const { near, far } = pair;
      pair.meet();
      // We begin the first session.
      expect(await pair.pings(near)).toBe(true);
      const argv = ["ping", "-n", "-q", "-i", "0.01", "-c", "400", "-W", "1", far.overlay4];
      const flow = run(argv, { netns: near.netns });
      await Bun.sleep(500);
      far.tunnel.device.change({ peers: [{ publicKey: near.key.publicKey, remove: true }] });
      far.tunnel.device.change({ peers: [{ ...pair.peer(far), keepaliveSeconds: 25 }] });
      const [, received] = / (\d+) received/.exec((await flow).stdout) ?? [];
      // Those of a round trip are lost, where otherwise all would be that follow.
      expect(Number(received)).toBeGreaterThan(300);
    });
  },
);
