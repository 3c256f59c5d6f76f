/** Datagrams of ours beside our engine and wireguard-go. The kernel's WireGuard: test/vm/probe-port.test.ts. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { formatEndpoint, parseEndpoint } from "../../src/net/mod.ts";
import { runSync, spawnDetached } from "../../src/sys/mod.ts";
import type { TunnelBackend } from "../../src/tunnel/backend.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { ownLacks } from "../support/own-needs.ts";
import { bytesOf, Ear, probeSuite } from "../support/probe-suite.ts";
import { tool, TunnelPair, until } from "../support/tunnel-pair.ts";
import { pidOf } from "../support/user-suite.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");
const found = wireguardGoBackend();
const withGo = cannot ?? (found === undefined ? "needs wireguard-go" : undefined);
const own = () => ownBackend({ command: [executable], build: "any" });
const go = () => found as TunnelBackend;
const bytesText = (bytes: Uint8Array) => Buffer.from(bytes).toString();
/** So many datagrams a listener's buffer holds for sure, while its process waits for a processor. */
const ROOM = 50;
const TRIES = 5;

probeSuite("probes beside our engine", { near: own, far: own, skip: cannot });
probeSuite("probes beside wireguard-go", { near: go, far: go, skip: withGo });
probeSuite("probes between our engine and wireguard-go", { near: own, far: go, skip: withGo });

describe.skipIf(withGo !== undefined)(
  `probes and the rest of the machine${withGo === undefined ? "" : ` (skipped: ${withGo})`}`,
  () => {
    for (const far of ["our engine", "wireguard-go"] as const)
      test(`${far} hears every probe where the kernel joins the datagrams of a flow`, async () => {
        // wireguard-go of Debian 12 sends one by one; what our engine sends is joined already, and is not joined any more.
        await using pair = await TunnelPair.open({ near: go(), far: far === "wireguard-go" ? go() : own() });
        for (const feature of ["gro on", "rx-gro-list on"])
          tool(pair.far.netns, `ethtool -K eth0 ${feature}`);
        // The kernel waits so many nanoseconds for more of a flow before it hands it on.
        const settings = "echo 3000000 > gro_flush_timeout && echo 1000 > napi_defer_hard_irqs";
        const inside = `mount -t sysfs sysfs /sys && cd /sys/class/net/eth0 && ${settings}`;
        expect(runSync(["unshare", "-m", "sh", "-c", inside], { netns: pair.far.netns }).stderr).toBe("");
        for (const family of [4, 6] as const) {
          pair.meet(family);
          expect(await pair.pings(pair.near)).toBe(true);
          using ears = new DisposableStack();
          const [here, there] = [ears.use(new Ear(pair.near)), ears.use(new Ear(pair.far))];
          const address = family === 4 ? pair.far.underlay4 : `[${pair.far.underlay6}]`;
          const to = parseEndpoint(`${address}:51820`);
          await here.say(to, "first", there);
          there.heard.length = 0;
          using flow = new CountedFlow(pair.near.netns, {
            netns: pair.far.netns,
            address: pair.far.overlay4,
            port: 7000 + family,
            perSecond: 10_000,
          });
          // Shorter than, as long as, and longer than the datagrams that it lies between, and than the one before.
          const lengths = Array.from({ length: 500 }, (_, i) => 16 + ((i * 7) % 200));
          const heard = () => new Set(there.heard.map(({ bytes }) => Number.parseInt(bytesText(bytes), 10)));
          // On a busy machine some are lost, which are sent again; joined ones would be of another length, or not be seen, each time.
          for (let first = 0; first < lengths.length; first += ROOM)
            for (let tries = 0; tries < TRIES; tries++) {
              const all = Array.from({ length: ROOM }, (_, i) => first + i);
              const missing = all.filter((i) => !heard().has(i));
              if (missing.length === 0) break;
              for (const i of missing) {
                expect(here.port.send(to, bytesOf(`${i} `), { datagramBytes: lengths[i] as number })).toBe(
                  "sent",
                );
                await Bun.sleep(1);
              }
              for (let waits = 0; waits < 20 && all.some((i) => !heard().has(i)); waits++)
                await Bun.sleep(10);
            }
          for (const { bytes, datagramBytes } of there.heard)
            expect(datagramBytes).toBe(lengths[Number.parseInt(bytesText(bytes), 10)] as number);
          expect(heard().size).toBe(lengths.length);
          await flow.stop();
        }
      });

    for (const inside of ["our engine", "wireguard-go"] as const)
      test(`through a NAT a probe beside ${inside} comes from where WireGuard's packets come from`, async () => {
        await using pair = await TunnelPair.open({
          near: inside === "wireguard-go" ? go() : own(),
          far: own(),
        });
        const { near, far } = pair;
        // A NAT of the host itself: ports are chosen at random for each pair of addresses and ports.
        tool(near.netns, "nft add table ip nat");
        tool(near.netns, "nft add chain ip nat post { type nat hook postrouting priority 100 ; }");
        tool(
          near.netns,
          "nft add rule ip nat post oifname eth0 udp sport 51820 masquerade to :30000-60000 random",
        );
        pair.meet();
        expect(await pair.pings(near)).toBe(true);
        using ears = new DisposableStack();
        const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
        const question = await here.say(parseEndpoint(`${far.underlay4}:51820`), "through", there);
        const seen = pair.seen(far)?.endpoint;
        expect(seen?.port).not.toBe(51820);
        expect(formatEndpoint(question.from)).toBe(formatEndpoint(seen ?? question.from));
        there.port.send(question.from, bytesOf("back"), { from: question.local });
        await until("the answer is heard", () => here.texts.includes("back"));
        expect(formatEndpoint(here.heard.at(-1)?.from ?? question.from)).toBe(`${far.underlay4}:51820`);
      });

    test("a data plane that ends, or is succeeded, is listened to again", async () => {
      await using pair = await TunnelPair.open({ near: own(), far: own() });
      const { near, far } = pair;
      pair.meet();
      using ears = new DisposableStack();
      const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
      const to = parseEndpoint(`${far.underlay4}:51820`);
      await here.say(to, "before", there);
      const first = pidOf(far.link);
      process.kill(first, "SIGKILL");
      await until("it runs again", () => far.tunnel.state.kind === "waiting");
      await until("it runs again", () => far.tunnel.state.kind === "running");
      far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: [pair.peer(far)] });
      await here.say(to, "after", there);
      const second = pidOf(far.link);
      spawnDetached([executable, "dataplane", far.link, "--take-over"], { netns: far.netns, cwd: "/" });
      await until("it is succeeded", () => {
        try {
          return pidOf(far.link) !== second;
        } catch {
          return false;
        }
      });
      await here.say(to, "after that", there);
      expect(there.texts).toEqual(expect.arrayContaining(["before", "after", "after that"]));
    });

    test("a flood costs the event loop little, and what comes afterwards is heard", async () => {
      await using pair = await TunnelPair.open({ near: go(), far: go() });
      const { near, far } = pair;
      pair.meet();
      using ears = new DisposableStack();
      const [here, there] = [ears.use(new Ear(near)), ears.use(new Ear(far))];
      for (const [address, family] of [
        [far.underlay4, 4],
        [`[${far.underlay6}]`, 6],
      ] as const) {
        const to = parseEndpoint(`${address}:51820`);
        await here.say(to, `before ${family}`, there);
        there.heard.length = 0;
        const count = 10_000;
        for (let i = 0; i < count; i++) here.port.send(to, bytesOf("flood"));
        await here.say(to, `after ${family}`, there);
        expect(there.heard.length).toBeLessThan(count);
        expect(await pair.pings(near)).toBe(true);
      }
    });
  },
);
