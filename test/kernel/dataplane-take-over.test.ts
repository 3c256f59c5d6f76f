/** A data plane is handed to a successor while packets flow: none is lost, no counter is used twice, no session is made anew. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isAlive, type Netns, spawnDetached, terminate, unixPeer } from "../../src/sys/mod.ts";
import { ownBackend } from "../../src/tunnel/own.ts";
import { CountedFlow } from "../support/counted-flow.ts";
import { ownLacks } from "../support/own-needs.ts";
import { type Side, TunnelPair, until } from "../support/tunnel-pair.ts";

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

describe.skipIf(cannot !== undefined)(`take-over${cannot === undefined ? "" : ` (skipped: ${cannot})`}`, () => {
  test("no packet is lost in either direction, and the sessions go on", async () => {
    const { near, far } = pair;
    const to = (side: Side, port: number) => ({ netns: side.netns, address: side.overlay4, port, perSecond: 2000 });
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
});
