/** Our WireGuard core against Debian's wireguard-go, on real sockets, in namespaces. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { parsePrefix, PrivateKey, publicKeyBytes, Secret } from "../../src/net/mod.ts";
import { libc, run } from "../../src/sys/mod.ts";
import { wireguardGoBackend } from "../../src/tunnel/wireguard-go.ts";
import { type DeviceOptions, SPECIFIED } from "../../src/tunnel/wireguard/mod.ts";
import { decodeMessage } from "../../src/tunnel/wireguard/message.ts";
import { backendSuite } from "../support/backend-suite.ts";
import { sendDatagram } from "../support/datagrams.ts";
import { type Side, TunnelPair, until } from "../support/tunnel-pair.ts";
import { Hand } from "../support/wireguard-hand.ts";
import { loopBackend, type LoopTunnel } from "../support/wireguard-loop.ts";
import { lostPings } from "../support/lost-pings.ts";

const go = wireguardGoBackend();
const skip =
  process.getuid?.() !== 0
    ? "needs root"
    : go === undefined
      ? "needs wireguard-go"
      : existsSync("/dev/net/tun")
        ? undefined
        : "needs /dev/net/tun";
const theirs = () => go as NonNullable<typeof go>;

backendSuite("our core with wireguard-go", { near: loopBackend, far: theirs, skip, talkOnly: true });
backendSuite("wireguard-go with our core", { near: theirs, far: loopBackend, skip, talkOnly: true });

/** Ours is near, wireguard-go is far; what passes is written down. */
async function meet(options: { readonly device?: DeviceOptions; readonly psk?: Secret } = {}) {
  const pair = await TunnelPair.open({ near: loopBackend(options.device), far: theirs() });
  const { loop } = pair.near.tunnel as LoopTunnel;
  const wire: string[] = [];
  const kindOf = (bytes: Uint8Array) =>
    decodeMessage(bytes)?.kind ?? (bytes.length === 32 ? "keepalive" : "data");
  loop.onWire = (direction, bytes) => wire.push(`${direction} ${kindOf(bytes)}`) > 0;
  pair.meet();
  if (options.psk !== undefined)
    for (const side of [pair.near, pair.far])
      side.tunnel.device.change({
        peers: [{ publicKey: pair.other(side).key.publicKey, presharedKey: options.psk }],
      });
  const count = (what: string) => wire.filter((line) => line === what).length;
  const handshakes = () => wire.filter((line) => !/data|keepalive/.test(line));
  return { pair, loop, wire, count, handshakes, [Symbol.asyncDispose]: () => pair[Symbol.asyncDispose]() };
}

/** Pings without a pause; resolves with those that were lost. */
async function pings(
  pair: TunnelPair,
  options: { from: Side; count: number; everySeconds: number },
): Promise<number[]> {
  const { from, count, everySeconds } = options;
  const argv = [
    "ping",
    "-n",
    "-i",
    `${everySeconds}`,
    "-c",
    `${count}`,
    "-W",
    "10",
    pair.other(from).overlay4,
  ];
  return lostPings((await run(argv, { netns: from.netns })).stdout);
}

/** Initiations that wireguard-go has to work on, and that are from nobody. */
function flood(pair: TunnelPair, bad: Uint8Array<ArrayBuffer>, count: number): void {
  const AF_INET = 2;
  const SOCK_DGRAM_CLOEXEC = 0o2000002;
  const address = new Uint8Array(new ArrayBuffer(16));
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, 51820);
  address.set([192, 0, 2, 2], 4);
  pair.near.netns.run((): void => {
    const fd = libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
    try {
      libc.connect(fd, address);
      for (let i = 0; i < count; i++) libc.send(fd, bad);
    } finally {
      libc.close(fd);
    }
  });
}

describe.skipIf(skip !== undefined)(`wireguard-go and us${skip === undefined ? "" : ` (${skip})`}`, () => {
  test.concurrent("we renew in the middle of a flow, again and again, and no packet is lost", async () => {
    const timing = { ...SPECIFIED, rekeyAfterMs: 1000, rekeyTimeoutMs: 900 };
    await using met = await meet({ device: { timing }, psk: Secret.random() });
    const { pair, count } = met;
    expect(await pair.pings(pair.near)).toBe(true);
    const before = count("in response");
    expect(await pings(pair, { from: pair.near, count: 400, everySeconds: 0.01 })).toEqual([]);
    expect(await pings(pair, { from: pair.far, count: 400, everySeconds: 0.01 })).toEqual([]);
    expect(count("in response")).toBeGreaterThanOrEqual(before + 3);
    expect(count("out response")).toBe(0);
  });

  test.concurrent("it renews in the middle of a flow, when it has not heard from us for 15 s", async () => {
    await using met = await meet();
    const { pair, loop, count, wire } = met;
    expect(await pair.pings(pair.far)).toBe(true);
    expect(count("in initiation")).toBe(1);
    const deaf = loop.onWire;
    loop.onWire = (direction, bytes, other) => {
      deaf?.(direction, bytes, other);
      // Packets of ours are lost until it begins anew.
      return direction === "in" || count("in initiation") > 1;
    };
    const flow = pings(pair, { from: pair.far, count: 100, everySeconds: 0.2 });
    await until("wireguard-go begins", () => count("in initiation") > 1);
    const at = wire.length;
    // Some are answered, or it throws.
    await flow;
    expect(wire.slice(at).filter((line) => line === "in data").length).toBeGreaterThan(5);
    expect(await pair.pings(pair.far)).toBe(true);
    expect(count("out response")).toBe(2);
  });

  test.concurrent("both begin at once, and both get through", async () => {
    await using met = await meet();
    const { pair } = met;
    expect(await Promise.all([pair.pings(pair.near), pair.pings(pair.far)])).toEqual([true, true]);
    expect(await pings(pair, { from: pair.near, count: 50, everySeconds: 0.02 })).toEqual([]);
    expect(await pings(pair, { from: pair.far, count: 50, everySeconds: 0.02 })).toEqual([]);
  });

  test.concurrent("under its load we get a cookie, and with it an answer", async () => {
    // Whether our initiation meets its load is a matter of scheduling: until it does, from the beginning.
    for (let tries = 0; ; tries++) {
      expect(tries).toBeLessThan(10);
      await using met = await meet();
      const { pair, handshakes, count } = met;
      const { publicKey } = pair.far.key;
      const bad = new Hand(publicKeyBytes(publicKey)).initiation({ seconds: 1 }).bytes;
      flood(pair, bad, 1000);
      // This makes us begin at once.
      pair.near.tunnel.device.change({ peers: [{ publicKey, keepaliveSeconds: 25 }] });
      while (count("in response") === 0) {
        flood(pair, bad, 1000);
        await Bun.sleep(100);
      }
      if (count("in cookie") === 0) continue;
      expect(handshakes().slice(-2)).toEqual(["out initiation", "in response"]);
      expect(await pair.pings(pair.near)).toBe(true);
      return;
    }
  });

  test.concurrent("under our load it gets a cookie, and with it an answer", async () => {
    await using met = await meet();
    const { pair, loop, handshakes } = met;
    loop.backlog = 10_000;
    expect(await pair.pings(pair.far)).toBe(true);
    expect(handshakes()).toEqual(["in initiation", "out cookie", "in initiation", "out response"]);
  });

  test.concurrent("each says after 10 s that it heard what the other one sent", async () => {
    await using met = await meet();
    const { pair, count } = met;
    // Nobody answers a datagram to a port that has a socket and no reader.
    using _near = openPort(pair.near);
    using _far = openPort(pair.far);
    sendDatagram(pair.near.netns, { to: pair.far.overlay4, port: 7777, text: "x" });
    await until("wireguard-go's keepalive", () => count("in keepalive") > 0);
    expect(count("out data")).toBeGreaterThan(0);
    const before = count("out keepalive");
    sendDatagram(pair.far.netns, { to: pair.near.overlay4, port: 7777, text: "x" });
    await until("our keepalive", () => count("out keepalive") > before);
  });

  test.concurrent(
    "a peer that is not known to it hears nothing, and neither does one that is not known to us",
    async () => {
      await using met = await meet();
      const { pair, wire, handshakes } = met;
      expect(await pair.pings(pair.near)).toBe(true);
      const stranger = PrivateKey.random();
      pair.near.tunnel.device.change({ privateKey: stranger });
      wire.length = 0;
      expect(await pair.pings(pair.near, { waitSeconds: 2 })).toBe(false);
      expect(handshakes()).toEqual(["out initiation"]);
      pair.near.tunnel.device.change({
        privateKey: pair.near.key,
        peers: [{ publicKey: pair.far.key.publicKey, remove: true }],
      });
      pair.near.tunnel.device.change({
        peers: [{ publicKey: stranger.publicKey, allowedIps: [parsePrefix("10.9.0.2/32")] }],
      });
      wire.length = 0;
      expect(await pair.pings(pair.far, { waitSeconds: 7 })).toBe(false);
      expect(wire.filter((line) => line.startsWith("out"))).toEqual([]);
    },
  );
});

/** A UDP socket that nobody reads. */
function openPort(side: Side): Disposable {
  const AF_INET = 2;
  const SOCK_DGRAM_CLOEXEC = 0o2000002;
  const address = new Uint8Array(new ArrayBuffer(16));
  const view = new DataView(address.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, 7777);
  const fd = side.netns.run((): number => {
    const opened = libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
    libc.bind(opened, address);
    return opened;
  });
  return { [Symbol.dispose]: () => libc.close(fd) };
}
