/** Whatever comes from the network, in every state: no error, no session that changes, and the exchange goes on. */
import { describe, expect, test } from "bun:test";
import { carry, endOf, only, type OursEnd, sentBy } from "../../../test/support/ours-ends.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { parseEndpoint } from "../../net/mod.ts";
import { decodeOurs, encodeOurs, OURS_BYTES } from "./message.ts";
import { currentSession, MOST_SESSIONS } from "./state.ts";

/** Begins, and lets time pass until the peer has answered: who is senior and waits for a response is deaf meanwhile. */
function settle(left: OursEnd, right: OursEnd): void {
  const expired = left.nowMs + 11_000;
  carry(left, right, left.begin(right));
  while (currentSession(left.state)?.answered !== true && left.nowMs < expired) {
    left.nowMs += 250;
    right.nowMs = left.nowMs;
    carry(left, right, left.step({ kind: "due" }));
    carry(right, left, right.step({ kind: "due" }));
  }
  expect(currentSession(left.state)?.answered).toBe(true);
}

const seed = newSeed();
const elsewhere = parseEndpoint("198.51.100.9:1234");

/** States by name, and how an end gets there. */
const states: Readonly<Record<string, () => readonly [OursEnd, OursEnd]>> = {
  idle: () => [endOf(0), endOf(1)],
  initiating: () => {
    const [left, right] = [endOf(0), endOf(1)];
    left.begin(right);
    return [left, right];
  },
  "with a cookie": () => {
    const [left, right] = [endOf(0), endOf(1)];
    left.hear(only(right.hear(only(left.begin(right)), left.endpoint)), right.endpoint);
    return [left, right];
  },
  unconfirmed: () => {
    const [left, right] = [endOf(0), endOf(1)];
    const cookie = only(left.hear(only(right.begin(left)), right.endpoint));
    left.hear(only(right.hear(cookie, left.endpoint)), right.endpoint);
    return [left, right];
  },
  joined: () => {
    const [left, right] = [endOf(0), endOf(1)];
    carry(left, right, left.begin(right));
    return [left, right];
  },
  "joined and initiating": () => {
    const [left, right] = [endOf(0), endOf(1)];
    carry(left, right, left.begin(right));
    left.begin(right);
    return [left, right];
  },
};

describe(`seed ${seed}`, () => {
  const random = new Random(seed);

  test("what is decoded is encoded to the same bytes, but for the reserved ones and the version", () => {
    for (let round = 0; round < 20_000; round++) {
      const bytes = random.bytes(random.pick([...Object.values(OURS_BYTES), random.below(200)]));
      if (bytes.length > 4 && random.chance(0.9)) bytes[4] = 20 + random.below(6);
      const decoded = decodeOurs(bytes);
      if (decoded === undefined) continue;
      bytes.set([1, 0, 0], 5);
      expect(encodeOurs(decoded.route, decoded.message)).toEqual(bytes);
    }
  });

  for (const [name, make] of Object.entries(states))
    test(`${name}: every event is answered, and afterwards an exchange comes about`, () => {
      for (const kind of ["begin", "due", "heard", "unknown", "abandon", "close"] as const) {
        const [left, right] = make();
        left.nowMs += random.below(1000);
        if (kind === "begin") left.begin(right);
        else if (kind === "heard") left.step({ kind, session: left.state.sessions[0]?.id ?? 5 });
        else if (kind === "unknown") left.step({ kind: "heard", session: 12_345 });
        else left.step({ kind });
        if (kind === "close") expect(left.state.sessions).toEqual([]);
        if (kind === "abandon" || kind === "close") expect(left.state.initiating).toBeUndefined();
        settle(left, right);
      }
    });

  for (const [name, make] of Object.entries(states))
    test(`${name}: messages of other exchanges, mutated and random ones`, () => {
      const others = Object.values(states).flatMap((state) => state().flatMap((end) => sentBy(end.effects)));
      for (let round = 0; round < 20; round++) {
        const [left, right] = make();
        const own = [left, right].flatMap((end) => sentBy(end.effects));
        const before = currentSession(left.state);
        for (let n = 0; n < 30; n++) {
          const original = random.pick([...others, ...own]);
          const mutated = random.mutate(original);
          const bytes = random.chance(0.1) ? random.bytes(random.below(200)) : mutated;
          // What is the same but for reserved bytes is as good as the original.
          bytes.fill(0, 6, 8);
          if (own.some((datagram) => Buffer.compare(datagram, bytes) === 0)) continue;
          left.hear(bytes, random.pick([right.endpoint, elsewhere]));
        }
        expect(left.state.sessions.length).toBeLessThanOrEqual(MOST_SESSIONS);
        expect(currentSession(left.state)?.id).toBe(before?.id);
        expect(currentSession(left.state)?.path.remote).toEqual(before?.path.remote);
        settle(left, right);
      }
    });
});
