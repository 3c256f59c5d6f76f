/** Two devices on bad networks: datagrams are lost, come twice, and in another order. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network } from "../../../test/support/wireguard-ends.ts";
import { keypairsOf } from "./keypair.ts";
import type { PeerState } from "./peer-state.ts";

const stateOf = (end: End) => end.device.peer(1) as PeerState;

/** What must hold at any moment. */
function check({ ends }: Network, sent: ReadonlyMap<End, number>): void {
  for (const end of ends) {
    const { keypairs, pending } = stateOf(end);
    const sessions = keypairsOf(keypairs);
    expect(end.device.counts().indices).toBe(sessions.length + (pending === undefined ? 0 : 1));
    for (const session of sessions) expect(end.device.session(session.localIndex)).toBe(session);
    const [other] = ends.filter((one) => one !== end) as [End];
    expect(new Set(end.heard).size).toBe(end.heard.length);
    expect(Math.max(-1, ...end.heard.slice(-100))).toBeLessThan(sent.get(other) ?? 0);
  }
}

const seed = newSeed();
describe(`seed ${seed}`, () => {
  test("loss, repetition and disorder: nothing comes twice, and when the weather clears everything comes", () => {
    for (let round = 0; round < 25; round++) {
      using network = new Network(seed + round);
      const { random } = network;
      const [a, b] = [network.add("a"), network.add("b")];
      network.meet(a, b, { ...(random.chance(0.3) ? { keepaliveSeconds: 5 + random.below(30) } : {}) });
      const sent = new Map<End, number>();
      const send = (from: End, to: End) => {
        const number = sent.get(from) ?? 0;
        sent.set(from, number + 1);
        network.send(from, to, number);
      };
      for (let i = 0; i < 400; i++) {
        if (random.chance(0.05)) {
          const loss = random.pick([0, 0.1, 0.5, 0.9]);
          network.weather = {
            loss,
            twice: random.pick([0, 0.3]),
            delayMs: random.below(300),
            spreadMs: random.below(2000),
          };
        }
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const)
          if (random.chance(0.4)) send(from, to);
        network.pass(random.pick([0, 1, 100, 2000, 10_000, random.below(60_000)]));
        check(network, sent);
      }
      network.weather = { delayMs: 20 };
      // The longest wait: an initiation was just lost (5 s), or the other side is about to notice that its session is not ours (15 s).
      for (let second = 0; second < 40; second++) {
        send(a, b);
        send(b, a);
        network.pass(1000);
      }
      const before = [a.heard.length, b.heard.length];
      for (let i = 0; i < 20; i++) {
        send(a, b);
        send(b, a);
        network.pass(50);
      }
      expect([a.heard.length, b.heard.length]).toEqual(before.map((n) => n + 20));
      // Both send under the same session, when no handshake is just under way.
      network.pass(1000);
      const [left, right] = [stateOf(a), stateOf(b)].map(({ keypairs }) => keypairs.current);
      expect([left?.localIndex, left?.remoteIndex]).toEqual([right?.remoteIndex, right?.localIndex]);
    }
  });

  test("a network that only delays and disorders loses nothing, in an hour of renewals from both sides", () => {
    for (let round = 0; round < 3; round++) {
      using network = new Network(seed + round);
      const { random } = network;
      const [a, b] = [network.add("a"), network.add("b")];
      network.meet(a, b);
      network.weather = {
        delayMs: random.below(200),
        spreadMs: 1 + random.below(400),
        twice: random.pick([0, 0.2]),
      };
      const sent = new Map<End, number>([
        [a, 0],
        [b, 0],
      ]);
      const end = network.nowMs + 3600_000;
      while (network.nowMs < end) {
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          if (!random.chance(0.7)) continue;
          const number = sent.get(from) as number;
          sent.set(from, number + 1);
          network.send(from, to, number);
        }
        network.pass(random.pick([0, 10, 500, 3000]));
      }
      network.pass(5000);
      check(network, sent);
      expect([a.heard.length, b.heard.length]).toEqual([sent.get(b) as number, sent.get(a) as number]);
    }
  });

  test("both begin at once, again and again: one session is agreed on, and nothing is lost", () => {
    for (let round = 0; round < 60; round++) {
      using network = new Network(seed + round);
      const { random } = network;
      const [a, b] = [network.add("a"), network.add("b")];
      network.meet(a, b);
      network.weather = { delayMs: 50, spreadMs: random.pick([0, 10, 200]) + 1 };
      let number = 0;
      for (let i = 0; i < 30; i++) {
        network.send(a, b, number);
        network.pass(random.below(60));
        network.send(b, a, number);
        number++;
        network.pass(random.pick([1, 100, 1000]));
        // To the moment at which both may renew.
        if (i % 10 === 9) network.pass(Math.max(0, 119_950 - (network.nowMs % 120_000)));
      }
      network.pass(2000);
      expect([a.heard.length, b.heard.length]).toEqual([number, number]);
      const [left, right] = [stateOf(a), stateOf(b)].map(({ keypairs }) => keypairs.current);
      expect([left?.localIndex, left?.remoteIndex]).toEqual([right?.remoteIndex, right?.localIndex]);
    }
  });
});
