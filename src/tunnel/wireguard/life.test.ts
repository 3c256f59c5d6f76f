/** Two days in the life of two devices, in seconds: renewals, a bad network, sleep, clocks that jump, an address that changes. */
import { expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network, peerOf } from "../../../test/support/wireguard-ends.ts";
import { parseEndpoint } from "../../net/mod.ts";

const HOUR = 3600_000;

const seed = newSeed();
test(`two days (seed ${seed})`, () => {
  using network = new Network(seed);
  const { random } = network;
  const [laptop, server] = [network.add("laptop"), network.add("server")];
  // The server learns where the laptop is.
  network.meet(laptop, server, { known: "by a" });
  network.introduce(laptop, server, { keepaliveSeconds: 25 });
  const start = network.nowMs;
  const handshakes = { initiation: 0, response: 0, cookie: 0 };
  network.onDatagram = ({ bytes }) => {
    if (bytes.length === 148) handshakes.initiation++;
    if (bytes.length === 92) handshakes.response++;
    if (bytes.length === 64) handshakes.cookie++;
    return true;
  };
  const sent = new Map<End, number>([
    [laptop, 0],
    [server, 0],
  ]);
  const send = (from: End, to: End) => {
    const number = sent.get(from) as number;
    sent.set(from, number + 1);
    network.send(from, to, number);
  };
  const log: string[] = [];
  let most = 0;
  /** Traffic for some time, in fits and starts; then the share of packets that came through. */
  const busy = (name: string, ms: number) => {
    const before = [sent.get(laptop) as number, server.heard.length] as const;
    const end = network.nowMs + ms;
    while (network.nowMs < end) {
      for (let burst = random.below(6); burst > 0; burst--) {
        send(laptop, server);
        if (random.chance(0.8)) send(server, laptop);
        network.pass(random.below(200));
      }
      network.pass(random.pick([1000, 5000, 30_000, 240_000]));
      for (const { device } of [laptop, server]) most = Math.max(most, device.counts().indices);
    }
    network.pass(1000);
    const share = (server.heard.length - before[1]) / ((sent.get(laptop) as number) - before[0]);
    log.push(`${name}: ${share.toFixed(2)}`);
    return share;
  };
  for (let day = 0; day < 2; day++) {
    network.weather = { delayMs: 20, spreadMs: 10 };
    expect(busy("good network", 6 * HOUR)).toBeGreaterThan(0.99);
    network.weather = { delayMs: 150, spreadMs: 300, loss: 0.05, twice: 0.01 };
    expect(busy("bad network", 3 * HOUR)).toBeGreaterThan(0.9);
    laptop.endpoint = parseEndpoint(`198.51.100.${day + 1}:${4000 + day}`);
    network.weather = { delayMs: 40, spreadMs: 5 };
    expect(busy("another network", 3 * HOUR)).toBeGreaterThan(0.99);
    laptop.asleep = true;
    network.pass(8 * HOUR);
    laptop.asleep = false;
    // While it slept the battery of its clock was empty, then it was set.
    laptop.wallOffsetMs = day === 0 ? -400 * 24 * HOUR : 90 * 24 * HOUR;
    expect(busy("after sleep", HOUR)).toBeGreaterThan(0.98);
    laptop.wallOffsetMs = 0;
    network.pass(3 * HOUR);
  }
  expect(network.nowMs - start).toBeGreaterThan(47 * HOUR);
  // 40 hours awake, and a session lasts two minutes while anything is sent; keepalives are.
  expect(handshakes.response).toBeGreaterThan(900);
  expect(handshakes.response).toBeLessThan(1500);
  expect(handshakes.initiation).toBeLessThan(handshakes.response * 2);
  expect(handshakes.cookie).toBe(0);
  expect(most).toBeLessThanOrEqual(4);
  for (const end of [laptop, server]) expect(new Set(end.heard).size).toBe(end.heard.length);
  const report = peerOf(server, laptop.key.publicKey);
  expect(report?.rxBytes).toBeGreaterThan(server.heard.length * 80);
  // Left alone, everything is forgotten.
  network.introduce(laptop, server, { keepaliveSeconds: 0 });
  network.pass(HOUR);
  for (const { device } of [laptop, server])
    expect(device.counts()).toEqual({ peers: 1, indices: 0, sources: 0, sessions: 0 });
});
