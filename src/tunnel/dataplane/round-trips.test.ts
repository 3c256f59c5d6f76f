import { expect, test } from "bun:test";
import { parseEndpoint } from "../../net/mod.ts";
import { RoundTrips, type RoundTripState } from "./round-trips.ts";

const home = parseEndpoint("192.0.2.1:1");
const forged = parseEndpoint("198.51.100.7:7");
const session = (localIndex: number) => ({ localIndex });

/** What a device goes through, one state after the other; what is proved at the end. */
function proven(...states: readonly RoundTripState[]): number | undefined {
  const trips = new RoundTrips();
  let last: number | undefined;
  states.forEach((state, i) => (last = trips.look(1, state, 1000 + i)));
  return last;
}

test("the first data of a session from where its response went proves a place", () => {
  expect(
    proven(
      { endpoint: home, keypairs: { next: session(5) } },
      { endpoint: home, keypairs: { current: session(5) } },
      { endpoint: home, keypairs: { current: session(5) } },
    ),
  ).toBe(1001);
});

test("an answer from where our initiation went proves it, and from elsewhere nothing", () => {
  const asked: RoundTripState = { endpoint: home, pending: { index: 9 }, keypairs: {} };
  expect(proven(asked, { endpoint: home, keypairs: { current: session(9) } })).toBe(1001);
  expect(proven(asked, { endpoint: forged, keypairs: { current: session(9) } })).toBeUndefined();
});

test("data with a forged address proves nothing, neither the first of a session nor a later one", () => {
  const answered: RoundTripState = { endpoint: home, keypairs: { next: session(5) } };
  expect(proven(answered, { endpoint: forged, keypairs: { current: session(5) } })).toBeUndefined();
  const atHome: RoundTripState = { endpoint: home, keypairs: { current: session(5) } };
  const away: RoundTripState = { endpoint: forged, keypairs: { current: session(5) } };
  expect(proven(answered, atHome, away)).toBeUndefined();
  // What was proved of the first place is true of it still.
  expect(proven(answered, atHome, away, atHome)).toBe(1001);
  // A session that nobody saw begin.
  expect(proven(atHome)).toBeUndefined();
});

test("each session proves anew, and a peer that goes is forgotten", () => {
  const trips = new RoundTrips();
  for (const [at, index] of [
    [10, 1],
    [20, 2],
  ] as const) {
    trips.look(1, { endpoint: home, keypairs: { next: session(index) } }, at);
    expect(trips.look(1, { endpoint: home, keypairs: { current: session(index) } }, at + 1)).toBe(at + 1);
  }
  trips.forget(1);
  expect(trips.look(1, { endpoint: home, keypairs: { current: session(2) } }, 30)).toBeUndefined();
});
