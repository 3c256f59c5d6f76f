/** A data plane is handed to a successor while packets flow: none is lost, no counter is used twice, no session is made anew. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Secret } from "../../src/net/mod.ts";
import {
  connectUnix,
  isAlive,
  type Netns,
  receiveWithDescriptors,
  runSync,
  sendAll,
  spawnDetached,
  terminate,
  unixPeer,
} from "../../src/sys/mod.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { ownLacks } from "../support/own-needs.ts";
import { type Side, tool, TunnelPair, until } from "../support/tunnel-pair.ts";

const executable = process.env.CAUSEWAY_EXECUTABLE ?? "dist/causeway";
const cannot = ownLacks ?? (existsSync(executable) ? undefined : "needs dist/causeway: npm run build");
const backend = () => ownBackend({ command: [executable], build: "any" });

let pair: TunnelPair;
const started: number[] = [];

const serving = (side: Side) => unixPeer(`/var/run/wireguard/${side.link}.sock`).pid;

/** Starts a successor; resolves with its process when it serves. */
async function succeed(side: Side, ...options: string[]): Promise<number> {
  const before = serving(side);
  const pid = start(side.netns, [side.link, "--take-over", ...options]);
  await until("a successor serves", () => serving(side) === pid || !isAlive(pid));
  expect(serving(side)).toBe(pid);
  await until("the predecessor ends", () => !isAlive(before));
  return pid;
}

function start(netns: Netns, argv: readonly string[]): number {
  const pid = spawnDetached([executable, "dataplane", ...argv], { netns, cwd: "/" });
  started.push(pid);
  return pid;
}

beforeEach(async () => {
  if (cannot !== undefined) return;
  pair = await TunnelPair.open({ near: backend(), far: backend() });
  pair.meet();
  expect(await pair.pings(pair.near)).toBe(true);
});

afterEach(async () => {
  if (cannot !== undefined) return;
  for (const pid of started.splice(0)) await terminate(pid);
  await pair[Symbol.asyncDispose]();
});

describe.skipIf(cannot !== undefined)(
  `take-over${cannot === undefined ? "" : ` (skipped: ${cannot})`}`,
  () => {
    test("no packet is lost in either direction, and the sessions go on", async () => {
      const { near, far } = pair;
      const to = (side: Side, port: number) => ({
        netns: side.netns,
        address: side.overlay4,
        port,
        perSecond: 2000,
      });
      using there = new CountedFlow(near.netns, to(far, 7001));
      using back = new CountedFlow(far.netns, { ...to(near, 7002), address: near.overlay6 });
      const handshake = pair.seen(near)?.lastHandshakeMs;
      for (const side of [near, far, near, far]) {
        await Bun.sleep(300);
        await succeed(side);
      }
      await Bun.sleep(300);
      const none = { lost: 0, duplicates: 0 };
      expect([await there.stop(), await back.stop()]).toMatchObject([none, none]);
      expect(there.received).toBeGreaterThan(1000);
      expect(pair.seen(near)?.lastHandshakeMs).toBe(handshake as number);
      // Bytes were counted through all of it.
      expect(pair.seen(near)?.txBytes).toBeGreaterThan(there.received * 64);
    }, 60_000);

    test("a successor that is killed at any moment changes nothing", async () => {
      const { near, far } = pair;
      using flow = new CountedFlow(near.netns, {
        netns: far.netns,
        address: far.overlay4,
        port: 7001,
        perSecond: 1000,
      });
      const before = serving(near);
      for (const ms of [5, 20, 40, 60, 80, 120]) {
        const pid = start(near.netns, [near.link, "--take-over"]);
        await Bun.sleep(ms);
        // From the moment on in which it serves it is no successor any more.
        if (serving(near) === pid) break;
        process.kill(pid, "SIGKILL");
        await until("it is gone", () => !isAlive(pid));
      }
      expect(await flow.stop()).toMatchObject({ lost: 0, duplicates: 0 });
      expect(isAlive(before) || serving(near) !== before).toBe(true);
      expect(await pair.pings(far)).toBe(true);
      // And it can still be succeeded.
      await succeed(near);
      expect(await pair.pings(far)).toBe(true);
    }, 60_000);

    test("all that was configured is the successor's, and can be changed there", async () => {
      const { near, far } = pair;
      const psk = Secret.random();
      for (const side of [near, far])
        side.tunnel.device.change({
          peers: [{ ...pair.peer(side), presharedKey: psk, keepaliveSeconds: 25 }],
        });
      tool(near.netns, `wg set ${near.link} fwmark 0x77`);
      const show = () => tool(near.netns, `wg showconf ${near.link}`);
      const before = show();
      expect(before).toContain("PresharedKey");
      await succeed(near, "--workers", "1");
      expect(show()).toBe(before);
      tool(near.netns, `wg set ${near.link} listen-port 51999`);
      expect(await pair.pings(near)).toBe(true);
      await until("the peer moves", () => pair.seen(far)?.endpoint?.port === 51999);
    }, 60_000);

    test("without a predecessor it says so; while one is being succeeded, another successor is refused", async () => {
      const { near } = pair;
      const run = (link: string) =>
        runSync([executable, "dataplane", link, "--take-over"], { netns: near.netns });
      const alone = run("nobody9");
      expect([alone.status, alone.stderr]).toEqual([
        1,
        "Cannot take over link nobody9: no process serves it; start one without --take-over\n",
      ]);
      // This one asks, and says no more.
      using connection = connectUnix(`/var/run/wireguard/${near.link}.sock`, { timeoutMs: 5000 });
      sendAll(connection, new Uint8Array(Buffer.from("take_over=1\n\n")));
      expect(receiveWithDescriptors(connection.number, new Uint8Array(new ArrayBuffer(4)))?.length ?? 4).toBe(
        4,
      );
      const second = run(near.link);
      expect([second.status, second.stderr]).toEqual([
        1,
        `Cannot take over link ${near.link}: the process that serves it ended the hand-over; it goes on\n`,
      ]);
      connection.close();
      await until("the first one is forgotten", () => run("nobody9").status === 1);
      await succeed(near);
    }, 60_000);
  },
);
