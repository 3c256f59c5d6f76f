/** What wg(8) and we must agree on: each reads what the other wrote, and peers made by either talk. */
import { describe, expect, test } from "bun:test";
import {
  type DeviceState,
  formatPrefix,
  parseEndpoint,
  parsePrefix,
  parsePublicKey,
  PrivateKey,
  Secret,
  tryParseEndpoint,
} from "../../src/net/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { comparable, type Side, tool, TunnelPair } from "./tunnel-pair.ts";

/** wgDump reads a device as wg(8) shows it. */
export function wgDump(side: Side): DeviceState {
  const [device, ...peers] = tool(side.netns, `wg show ${side.link} dump`).trimEnd().split("\n");
  const [, publicKey, listenPort] = (device ?? "").split("\t") as [string, string, string];
  return {
    ...(publicKey === "(none)" ? {} : { publicKey: parsePublicKey(publicKey) }),
    listenPort: Number(listenPort),
    peers: peers.map((line) => {
      const [key, preshared, endpoint, allowed, handshake, rx, tx, keepalive] = line.split("\t") as string[];
      const where = tryParseEndpoint(endpoint ?? "");
      return {
        publicKey: parsePublicKey(key as string),
        presharedKey: preshared !== "(none)",
        ...(where === undefined ? {} : { endpoint: where }),
        allowedIps: allowed === "(none)" ? [] : (allowed ?? "").split(",").map(parsePrefix),
        ...(handshake === "0" ? {} : { lastHandshakeMs: Number(handshake) * 1000 }),
        rxBytes: Number(rx),
        txBytes: Number(tx),
        ...(keepalive === "off" ? {} : { keepaliveSeconds: Number(keepalive) }),
      };
    }),
  };
}

const seconds = (ms: number | undefined) => (ms === undefined ? undefined : Math.floor(ms / 1000));

/** wgSuite declares the tests. */
export function wgSuite(
  title: string,
  options: { readonly backend: () => TunnelBackend; readonly skip?: string | undefined },
): void {
  const { skip } = options;
  describe.skipIf(skip !== undefined)(`${title} and wg(8)${skip === undefined ? "" : ` (${skip})`}`, () => {
    const open = () => TunnelPair.open({ near: options.backend(), far: options.backend() });
    const strangers = Array.from({ length: 20 }, (_, i) => ({
      publicKey: PrivateKey.random().publicKey,
      allowedIps: [`10.3.${i}.0/24`, `fd00:3:${i}::/64`, `10.4.0.${i}/32`].slice(i % 4).map(parsePrefix),
      ...(i % 2 === 0
        ? { endpoint: parseEndpoint(i % 4 === 0 ? `192.0.2.9:${4000 + i}` : `[2001:db8::9]:${4000 + i}`) }
        : {}),
      ...(i % 3 === 0 ? { presharedKey: Secret.random() } : {}),
      ...(i % 5 === 0 ? { keepaliveSeconds: 15 + i } : {}),
    }));

    test("wg shows what we set", async () => {
      await using pair = await open();
      const { near } = pair;
      near.tunnel.device.change({ privateKey: near.key, listenPort: 51820, peers: strangers });
      const shown = wgDump(near);
      expect(shown.publicKey).toBe(near.key.publicKey);
      expect(shown.listenPort).toBe(51820);
      expect(shown.peers).toHaveLength(20);
      expect(comparable(shown)).toEqual(comparable(near.tunnel.device.read()));
      near.tunnel.device.change({
        peers: [
          { publicKey: strangers[0]?.publicKey as never, remove: true },
          {
            publicKey: strangers[5]?.publicKey as never,
            keepaliveSeconds: 0,
            allowedIps: [parsePrefix("10.4.0.4/32")],
          },
        ],
      });
      expect(wgDump(near).peers).toHaveLength(19);
      expect(comparable(wgDump(near))).toEqual(comparable(near.tunnel.device.read()));
    });

    test("we read what wg sets", async () => {
      await using pair = await open();
      const { near } = pair;
      const { netns, link } = near;
      tool(netns, `wg set ${link} listen-port 4711 private-key /dev/stdin`, near.key.toFile());
      for (const peer of strangers) {
        const parts = [`wg set ${link} peer ${peer.publicKey}`];
        if (peer.endpoint !== undefined)
          parts.push(
            `endpoint ${peer.endpoint.ip.family === 4 ? "192.0.2.9" : "[2001:db8::9]"}:${peer.endpoint.port}`,
          );
        if (peer.keepaliveSeconds !== undefined) parts.push(`persistent-keepalive ${peer.keepaliveSeconds}`);
        if (peer.allowedIps.length > 0)
          parts.push(`allowed-ips ${peer.allowedIps.map(formatPrefix).join(",")}`);
        if (peer.presharedKey !== undefined) parts.push("preshared-key /dev/stdin");
        tool(netns, parts.join(" "), peer.presharedKey?.toFile() ?? "");
      }
      expect(comparable(near.tunnel.device.read())).toEqual(
        comparable({
          publicKey: near.key.publicKey,
          listenPort: 4711,
          peers: strangers.map(({ presharedKey, ...peer }) => ({
            ...peer,
            presharedKey: presharedKey !== undefined,
            rxBytes: 0,
            txBytes: 0,
          })),
        }),
      );
      tool(netns, `wg set ${link} peer ${strangers[1]?.publicKey} remove`);
      expect(comparable(near.tunnel.device.read())).toEqual(comparable(wgDump(near)));
    });

    test("a side made by wg setconf talks with a side made by us, and both report the same", async () => {
      await using pair = await open();
      const { near, far } = pair;
      near.tunnel.device.change({ privateKey: near.key, listenPort: 51820, peers: [pair.peer(near)] });
      tool(
        far.netns,
        `wg setconf ${far.link} /dev/stdin`,
        [
          `[Interface]\nPrivateKey = ${far.key.toFile()}ListenPort = 51820`,
          `[Peer]\nPublicKey = ${near.key.publicKey}\nEndpoint = 192.0.2.1:51820`,
          `AllowedIPs = 10.9.0.1/32, fd09::1/128\n`,
        ].join("\n"),
      );
      expect(await pair.pings(near)).toBe(true);
      expect(await pair.pings(far)).toBe(true);
      for (const side of [near, far]) {
        // Bytes may be counted a moment after they passed.
        const bytes = () => side.tunnel.device.read().peers.map(({ rxBytes, txBytes }) => rxBytes + txBytes);
        for (let before = [-1]; `${before}` !== `${bytes()}`; await Bun.sleep(300)) before = bytes();
        const [ours, theirs] = [side.tunnel.device.read(), wgDump(side)];
        expect(comparable(ours)).toEqual(comparable(theirs));
        const [a, b] = [ours.peers[0], theirs.peers[0]];
        expect([seconds(a?.lastHandshakeMs), a?.rxBytes, a?.txBytes]).toEqual([
          seconds(b?.lastHandshakeMs),
          b?.rxBytes,
          b?.txBytes,
        ]);
      }
    });
  });
}
