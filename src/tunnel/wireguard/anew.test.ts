/** One end is made anew while packets flow: it has lost all sessions, and the other end finds that out from its handshake. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { type End, Network } from "../../../test/support/wireguard-ends.ts";
import type { PeerState } from "./peer-state.ts";

const ROUND_TRIP_MS = 40;
const EVERY_MS = 10;

/** Removed, and added again with a keepalive, by two requests: one that was made anew by one request goes on receiving (way-change.test.ts). */
function makeAnew(network: Network, end: End, other: End): void {
  const { publicKey } = other.key;
  network.step(end, { kind: "configure", configuration: { peers: [{ publicKey, remove: true }] } });
  network.introduce(end, other, { keepaliveSeconds: 25 });
}

/** Packets from one end to the other, each answered if `answered`; returns the numbers that came, by end. */
function flow(
  network: Network,
  ends: readonly [from: End, to: End],
  options: { readonly first: number; readonly count: number; readonly answered: boolean },
): void {
  const [from, to] = ends;
  const { first, count, answered } = options;
  for (let number = first; number < first + count; number++) {
    network.send(from, to, number);
    const heard = to.heard.length;
    network.pass(EVERY_MS);
    if (answered) for (const one of to.heard.slice(heard)) network.send(to, from, one);
  }
}

/** The most packets in a row that did not come. */
function longestLoss(heard: readonly number[], from: number, to: number): number {
  const came = new Set(heard);
  let [longest, run] = [0, 0];
  for (let number = from; number < to; number++) {
    run = came.has(number) ? 0 : run + 1;
    longest = Math.max(longest, run);
  }
  return longest;
}

const currentOf = (end: End) => (end.device.peer(1) as PeerState).keypairs.current;
const seed = newSeed();

describe(`an end that is made anew, seed ${seed}`, () => {
  for (const greater of [true, false])
    for (const began of ["the one that stays", "the one made anew"])
      for (const answered of [true, false])
        for (const spreadMs of [0, 15])
          test(`flow ${answered ? "with" : "without"} answers; ${began} began the session before; the one that stays has the ${
            greater ? "greater" : "smaller"
          } key${spreadMs === 0 ? "" : "; packets overtake each other"}`, () => {
            for (let round = 0; round < 8; round++) {
              using network = new Network(seed + round);
              const pair = [network.add("a"), network.add("b")] as const;
              network.meet(...pair);
              network.weather = { delayMs: ROUND_TRIP_MS / 2, spreadMs };
              const [small, great] = [...pair].sort((x, y) =>
                Buffer.compare(
                  Buffer.from(x.key.publicKey, "base64"),
                  Buffer.from(y.key.publicKey, "base64"),
                ),
              ) as [End, End];
              const [stays, anew] = greater ? [great, small] : [small, great];
              const [first, second] = began === "the one that stays" ? [stays, anew] : [anew, stays];
              network.send(first, second, 1_000_000);
              network.pass(500 + 300 * round);
              expect(currentOf(stays)?.initiator).toBe(began === "the one that stays");
              flow(network, [stays, anew], { first: 0, count: 20, answered });
              makeAnew(network, anew, stays);
              flow(network, [stays, anew], { first: 20, count: 300, answered });
              network.pass(500);
              // Until the new session's first packet was there: a round trip and a half, each way as long as it can take.
              const mostMs = 1.5 * ROUND_TRIP_MS + 4 * spreadMs + 2 * EVERY_MS;
              expect(longestLoss(anew.heard, 0, 320) * EVERY_MS).toBeLessThanOrEqual(mostMs);
              if (answered)
                expect(longestLoss(stays.heard, 0, 320) * EVERY_MS).toBeLessThanOrEqual(
                  mostMs + ROUND_TRIP_MS,
                );
            }
          });
});
