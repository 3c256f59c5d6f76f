/** A peer that is started anew has no old session: the first packet under the new one is answered under the new one. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { ownBackend } from "../../src/tunnel/own.ts";
import { ownLacks } from "../support/own-needs.ts";
import { ip, TunnelPair } from "../support/tunnel-pair.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");

test.skipIf(cannot !== undefined)(
  `after a restart of the peer the very first packet is answered${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  async () => {
    const backend = ownBackend({ command: [executable], build: "any" });
    await using pair = await TunnelPair.open({ near: backend, far: backend });
    pair.meet();
    expect(await pair.pings(pair.near)).toBe(true);
    const { near } = pair;
    // It begins a handshake at once, and has one packet to send: the one that waited for it.
    await near.tunnel.destroy();
    near.tunnel = await backend.open(near.link, { netns: near.netns });
    ip(near.netns, `addr add ${near.overlay4}/24 dev ${near.link}`);
    ip(near.netns, `addr add ${near.overlay6}/64 dev ${near.link} nodad`);
    ip(near.netns, `link set ${near.link} up`);
    near.tunnel.device.change({ privateKey: near.key, listenPort: 51820, peers: [pair.peer(near)] });
    expect(await pair.pings(near)).toBe(true);
  },
  60_000,
);
