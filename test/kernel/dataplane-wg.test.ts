/** The data-plane process and wg(8): all that can be set, shown and written down, and what it does to a flow. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { parseEndpoint, parsePrefix, PrivateKey, Secret } from "../../src/net/mod.ts";
import { runSync, which } from "../../src/sys/mod.ts";
import { dataplaneBackend, processOf } from "../support/dataplane.ts";
import { ownLacks } from "../support/own-needs.ts";
import { PacedFlow } from "../support/paced-flow.ts";
import { ip, type Side, tool, TunnelPair, until } from "../support/tunnel-pair.ts";
import { wgSuite } from "../support/wg-suite.ts";

const skip = ownLacks ?? (which("wg") === undefined ? "needs wg of wireguard-tools" : undefined);
const own = (...args: string[]) => dataplaneBackend("--workers", "2", ...args);

wgSuite("the data plane by us", { backend: own, skip });

describe.skipIf(skip !== undefined)(
  `the data plane and wg(8)${skip === undefined ? "" : ` (${skip})`}`,
  () => {
    const open = () => TunnelPair.open({ near: own(), far: own() });
    const wg = ({ netns, link }: Side, command: string, input?: string) =>
      tool(netns, `wg ${command.replace("LINK", link)}`, input);
    const index = (pair: TunnelPair, side: Side) => pair.seen(side)?.lastHandshakeMs;
    const flow = (pair: TunnelPair, options: { readonly perSecond?: number } = {}) =>
      new PacedFlow({
        from: pair.near.netns,
        to: pair.far.netns,
        target: pair.far.overlay4,
        perSecond: options.perSecond ?? 500,
      });

    test("showconf, setconf and syncconf are inverse: what one writes the others read", async () => {
      await using pair = await open();
      const { near, far } = pair;
      const lines = [`[Interface]\nListenPort = 4711\nFwMark = 0x99\nPrivateKey = ${near.key.toFile()}`];
      for (let i = 0; i < 30; i++)
        lines.push(
          [
            `[Peer]\nPublicKey = ${PrivateKey.random().publicKey}`,
            ...(i % 2 === 0 ? [`PresharedKey = ${Secret.random().toFile().trim()}`] : []),
            ...(i % 5 === 4 ? [] : [`AllowedIPs = 10.77.${i}.0/24, fd77:${i}::/64`]),
            ...(i % 3 === 0 ? [`Endpoint = 192.0.2.${i + 10}:${1000 + i}`] : []),
            ...(i % 3 === 1 ? [`Endpoint = [2001:db8::${i + 10}]:${1000 + i}`] : []),
            ...(i % 7 === 0 ? [`PersistentKeepalive = ${i + 1}`] : []),
            "",
          ].join("\n"),
        );
      wg(near, "setconf LINK /dev/stdin", lines.join("\n"));
      const sorted = (text: string) => text.trim().split("\n\n").sort();
      const written = wg(near, "showconf LINK");
      expect(written.match(/PresharedKey/g)).toHaveLength(15);
      wg(far, "setconf LINK /dev/stdin", written.replace("4711", "4712"));
      expect(sorted(wg(far, "showconf LINK").replace("4712", "4711"))).toEqual(sorted(written));
      wg(near, "syncconf LINK /dev/stdin", written);
      expect(sorted(wg(near, "showconf LINK"))).toEqual(sorted(written));
      // Fewer peers: those that are not in it go, and the others stay as they are.
      const half = sorted(written).slice(0, 16).join("\n\n");
      wg(near, "syncconf LINK /dev/stdin", half);
      expect(sorted(wg(near, "showconf LINK"))).toEqual(sorted(half));
      wg(near, "setconf LINK /dev/stdin", "[Interface]\n");
      expect(wg(near, "show LINK peers")).toBe("");
    });

    test("syncconf with what is there already disturbs nothing", async () => {
      await using pair = await open();
      pair.meet();
      expect(await pair.pings(pair.near)).toBe(true);
      const before = index(pair, pair.near);
      using sent = flow(pair);
      sent.start();
      const { near } = pair;
      for (let i = 0; i < 20; i++) {
        wg(near, "syncconf LINK /dev/stdin", wg(near, "showconf LINK"));
        await Bun.sleep(20);
      }
      const { sent: count, received } = await sent.stop();
      expect(received).toBe(count);
      expect(index(pair, near)).toBe(before);
    });

    test("a pre-shared key that only one side has keeps the next handshake from succeeding, and both have it again", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      const psk = Secret.random().toFile();
      wg(near, `set LINK peer ${far.key.publicKey} preshared-key /dev/stdin`, psk);
      expect(wg(near, "show LINK preshared-keys")).toContain(psk.trim());
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
      wg(far, `set LINK peer ${near.key.publicKey} preshared-key /dev/stdin`, psk);
      expect(await pair.pings(near)).toBe(true);
      expect(await pair.pings(far)).toBe(true);
    });

    test("an endpoint that is set holds at once, for the workers too", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      ip(far.netns, "addr add 192.0.2.22/24 dev eth0");
      ip(far.netns, "addr add 192.0.2.23/24 dev eth0");
      for (const address of ["192.0.2.22", "192.0.2.23"]) {
        // Whatever is still reported of the packets before has been.
        await Bun.sleep(300);
        wg(near, `set LINK peer ${far.key.publicKey} endpoint ${address}:51820`);
        ip(near.netns, "neigh flush dev eth0");
        const before = received(far, address);
        expect(await pair.pings(near)).toBe(true);
        // The kernel of the far side has counted by destination address.
        expect(received(far, address)).toBeGreaterThan(before);
        expect(pair.seen(near)?.endpoint).toEqual(parseEndpoint(`${address}:51820`));
      }
    });

    /** Datagrams that came to an address, counted by nftables. */
    function received(side: Side, address: string): number {
      const count = () => {
        const done = runSync(["nft", "list", "chain", "inet", "count", "in"], { netns: side.netns }).stdout;
        return Number(new RegExp(`daddr ${address} .*packets (\\d+)`).exec(done)?.[1] ?? -1);
      };
      if (count() < 0) {
        const rule = `add table inet count\nadd chain inet count in { type filter hook input priority 0; }\nadd rule inet count in ip daddr ${address} udp dport 51820 counter\n`;
        tool(side.netns, "nft -f -", rule);
      }
      return count();
    }

    test("peers that are removed and come again, and addresses that go from one to the other", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const stranger = PrivateKey.random().publicKey;
      wg(near, `set LINK peer ${far.key.publicKey} allowed-ips 10.9.0.0/24,fd09::/64`);
      // The longer prefix goes to the stranger, and back when it is removed.
      wg(near, `set LINK peer ${stranger} allowed-ips 10.9.0.2/32,fd09::2/128`);
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
      wg(near, `set LINK peer ${stranger} remove`);
      expect(await pair.pings(near)).toBe(true);
      for (let i = 0; i < 3; i++) {
        wg(near, `set LINK peer ${far.key.publicKey} remove`);
        expect(wg(near, "show LINK peers")).toBe("");
        expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
        near.tunnel.device.change({ peers: [pair.peer(near)] });
        expect(await pair.pings(near)).toBe(true);
        expect(await pair.pings(far)).toBe(true);
      }
    });

    test("a mark is on all that leaves: handshakes and data, of each worker", async () => {
      await using pair = await open();
      const { near } = pair;
      tool(
        near.netns,
        "nft -f -",
        `add table inet marks
       add chain inet marks out { type filter hook output priority 0; }
       add rule inet marks out udp dport 51820 meta mark 0xfedcba98 @th,64,8 1 counter comment "initiation"
       add rule inet marks out udp dport 51820 meta mark 0xfedcba98 @th,64,8 4 counter comment "data"
       add rule inet marks out udp dport 51820 meta mark != 0xfedcba98 counter comment "other"\n`,
      );
      const counts = () => {
        const text = tool(near.netns, "nft list table inet marks");
        return (comment: string) => Number(new RegExp(`packets (\\d+) .*"${comment}"`).exec(text)?.[1]);
      };
      wg(near, "set LINK fwmark 0xfedcba98");
      expect(wg(near, "show LINK fwmark").trim()).toBe("0xfedcba98");
      pair.meet();
      // Each of several flows is some worker's.
      const flows = Array.from({ length: 6 }, () => flow(pair, { perSecond: 50 }));
      for (const one of flows) one.start();
      await until("data have left", () => counts()("data") > 50);
      // Sockets that are made anew for another port have it too.
      wg(near, "set LINK listen-port 4999");
      const before = counts()("data");
      await until("more have left", () => counts()("data") > before + 50);
      expect(counts()("initiation")).toBeGreaterThan(0);
      expect(counts()("other")).toBe(0);
      wg(near, "set LINK fwmark 0");
      await until("none is marked any more", () => counts()("other") > 50);
      for (const one of flows) one[Symbol.dispose]();
      const { counters } = processOf(near).status;
      expect(counters.datagrams_refused).toBe(0);
    });

    test("what is marked takes the way that a rule says", async () => {
      await using pair = await open();
      const { near } = pair;
      wg(near, "set LINK fwmark 42");
      ip(near.netns, "rule add fwmark 42 prohibit");
      pair.meet();
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
      ip(near.netns, "rule del fwmark 42 prohibit");
      expect(await pair.pings(near)).toBe(true);
    });

    test("another port in the middle of a flow: the session goes on, and the far side follows", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const before = index(pair, near);
      using sent = flow(pair);
      sent.start();
      for (const port of [40_001, 40_002, 40_003, 51_820]) {
        wg(near, `set LINK listen-port ${port}`);
        expect(wg(near, "show LINK listen-port").trim()).toBe(`${port}`);
        await until("the far side follows", () => pair.seen(far)?.endpoint?.port === port);
      }
      const { sent: count, received } = await sent.stop();
      expect(received).toBe(count);
      expect(await pair.pings(far)).toBe(true);
      expect(index(pair, near)).toBe(before);
      // Nothing is left at the ports before.
      expect(
        tool(near.netns, "ss -Hlun")
          .match(/:(\d+) /g)
          ?.every((port) => port === ":51820 "),
      ).toBe(true);
    });

    test("a port that another program has: an error, and the old one stays; when it is free it can be had", async () => {
      await using pair = await open();
      const { near } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      for (const host of ["0.0.0.0", "::"]) {
        const holder = near.netns.run(() => {
          const promise = Bun.udpSocket({ hostname: host, port: 5300 });
          return { promise };
        });
        const socket = await holder.promise;
        for (let tries = 0; tries < 2; tries++) {
          const done = runSync(["wg", "set", near.link, "listen-port", "5300"], { netns: near.netns });
          expect(done.status).not.toBe(0);
          expect(done.stderr).toContain("Address already in use");
          expect(wg(near, "show LINK listen-port").trim()).toBe("51820");
        }
        expect(await pair.pings(near)).toBe(true);
        socket.close();
        wg(near, "set LINK listen-port 5300");
        expect(await pair.pings(near)).toBe(true);
        wg(near, "set LINK listen-port 51820");
        expect(await pair.pings(near)).toBe(true);
      }
    });

    test("what the same request asks for besides a port that is taken is done all the same", async () => {
      await using pair = await open();
      const { near } = pair;
      const socket = await near.netns.run(() => ({ p: Bun.udpSocket({ hostname: "0.0.0.0", port: 5300 }) }))
        .p;
      const key = PrivateKey.random().publicKey;
      const { peers } = near.tunnel.device.read();
      expect(peers).toEqual([]);
      expect(() =>
        near.tunnel.device.change({
          listenPort: 5300,
          peers: [{ publicKey: key, allowedIps: [parsePrefix("10.5.0.0/16")] }],
        }),
      ).toThrow("EADDRINUSE");
      expect(near.tunnel.device.read().peers.map(({ publicKey }) => publicKey)).toEqual([key]);
      socket.close();
    });

    test("the first handshake of a link that gets its port by the same request leaves from that port", async () => {
      await using pair = await open();
      const { near, far } = pair;
      far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: [pair.peer(far)] });
      wg(
        near,
        "setconf LINK /dev/stdin",
        `[Interface]\nPrivateKey = ${near.key.toFile()}ListenPort = 51820\n[Peer]\nPublicKey = ${far.key.publicKey}\n` +
          "Endpoint = 192.0.2.2:51820\nAllowedIPs = 10.9.0.2/32\nPersistentKeepalive = 25\n",
      );
      // From another port its answer would be lost, and the next one comes after 5 s.
      await until("a session", () => index(pair, near) !== undefined, 4000);
      expect(pair.seen(far)?.endpoint?.port).toBe(51_820);
    });

    test("another private key: nothing more leaves under the sessions of the old one, and new ones are made under the new key", async () => {
      await using pair = await open();
      const { near, far } = pair;
      pair.meet();
      expect(await pair.pings(near)).toBe(true);
      const key = PrivateKey.random();
      wg(near, "set LINK private-key /dev/stdin", key.toFile());
      expect(wg(near, "show LINK public-key").trim()).toBe(key.publicKey);
      expect(await pair.pings(near, { waitSeconds: 1 })).toBe(false);
      far.tunnel.device.change({
        peers: [
          { publicKey: near.key.publicKey, remove: true },
          { ...pair.peer(far), publicKey: key.publicKey },
        ],
      });
      expect(await pair.pings(near)).toBe(true);
      expect(await pair.pings(far)).toBe(true);
    });

    test("requests that make no sense are refused, and say so on standard error without a secret", async () => {
      await using pair = await open();
      const { near } = pair;
      mkdirSync(pair.folder, { recursive: true });
      writeFileSync(`${pair.folder}/key`, "not a key\n");
      const done = runSync(["wg", "set", near.link, "private-key", `${pair.folder}/key`], {
        netns: near.netns,
      });
      expect(done.status).not.toBe(0);
      const secret = PrivateKey.random();
      const hex = Buffer.from(secret.reveal()).toString("hex");
      const answer = await ask(near, `set=1\nprivate_key=${hex}00\n\n`);
      expect(answer).toMatch(/^errno=-?22\n\n$/);
      expect(await ask(near, "nonsense\n\n")).toMatch(/^errno=-?22\n\n$/);
      expect(await ask(near, "get=1\n\n")).toContain("errno=0\n\n");
      const started = processOf(near);
      process.kill(started.pid, "SIGTERM");
      const { said } = await started.ended();
      expect(said.split("\n").filter((line) => line.startsWith("Refused a request"))).toHaveLength(2);
      expect(said).not.toContain(hex);
    });

    /** Says something on the socket that no program would. */
    async function ask(side: Side, text: string): Promise<string> {
      let answer = "";
      const { promise, resolve } = Promise.withResolvers<void>();
      const socket = await Bun.connect({
        unix: `/var/run/wireguard/${side.link}.sock`,
        socket: {
          data: (_, data) => {
            answer += data.toString();
            if (answer.endsWith("\n\n")) resolve();
          },
          close: () => resolve(),
        },
      });
      socket.write(text);
      await promise;
      socket.end();
      return answer;
    }
  },
);
