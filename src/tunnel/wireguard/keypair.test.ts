import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  cleared,
  derived,
  type Keypairs,
  keypairsOf,
  NO_KEYPAIRS,
  received,
  released,
  retired,
} from "./keypair.ts";
import { ownMemory, Session } from "./session.ts";

let last = 0;
function session(initiator: boolean, bornMs = 0): Session {
  const keys = { send: new Uint8Array(32), receive: new Uint8Array(32) };
  return new Session(ownMemory.take(), {
    keys,
    peer: 1,
    localIndex: ++last,
    remoteIndex: 0,
    initiator,
    bornMs,
  });
}

/** A packet under a session, long after everything else. */
const packet = (one: Session, yields = false, nowMs = 1e6) => ({ session: one, yields, nowMs });

const LET = { hold: false };

/** The slots as numbers of sessions. */
const slots = ({ previous, current, next, crossing }: Keypairs) => [
  previous?.localIndex,
  current?.localIndex,
  next?.localIndex,
  ...(crossing === undefined ? [] : [crossing]),
];

describe("one handshake after the other", () => {
  test("the initiator uses its session at once and keeps the one before", () => {
    const [a, b, c] = [session(true), session(true), session(true)];
    const one = derived(NO_KEYPAIRS, a);
    expect([slots(one.keypairs), one.ended]).toEqual([[undefined, a.localIndex, undefined], []]);
    const two = derived(one.keypairs, b);
    expect([slots(two.keypairs), two.ended]).toEqual([[a.localIndex, b.localIndex, undefined], []]);
    const three = derived(two.keypairs, c);
    expect([slots(three.keypairs), three.ended]).toEqual([[b.localIndex, c.localIndex, undefined], [a]]);
  });

  test("the responder waits for the first packet; until then it sends under the one before", () => {
    const [a, b] = [session(false), session(false)];
    const one = derived(NO_KEYPAIRS, a).keypairs;
    expect(slots(one)).toEqual([undefined, undefined, a.localIndex]);
    const two = received(one, packet(a));
    expect([slots(two.keypairs), two.confirmed]).toEqual([[undefined, a.localIndex, undefined], true]);
    expect(received(two.keypairs, packet(a))).toEqual({
      keypairs: two.keypairs,
      ended: [],
      confirmed: false,
    });
    const three = derived(two.keypairs, b).keypairs;
    expect(slots(three)).toEqual([undefined, a.localIndex, b.localIndex]);
    expect(received(three, packet(a)).keypairs).toBe(three);
    expect(slots(received(three, packet(b)).keypairs)).toEqual([a.localIndex, b.localIndex, undefined]);
  });

  test("retired sessions receive and are not sent under, whatever comes; a new one goes before them", () => {
    const [a, b, c] = [session(true), session(false, 1000), session(true, 1500)];
    const both = derived(derived(NO_KEYPAIRS, a).keypairs, b).keypairs;
    const old = retired(both, LET);
    expect([slots(old.keypairs), old.ended]).toEqual([
      [a.localIndex, undefined, b.localIndex, "settled"],
      [],
    ]);
    expect(received(old.keypairs, packet(b)).keypairs).toBe(old.keypairs);
    const renewed = derived(old.keypairs, c).keypairs;
    expect(slots(renewed)).toEqual([a.localIndex, c.localIndex, b.localIndex]);
    expect(received(renewed, packet(b)).keypairs).toBe(renewed);
    const answered = derived(retired(derived(NO_KEYPAIRS, a).keypairs, LET).keypairs, b).keypairs;
    expect(slots(answered)).toEqual([a.localIndex, undefined, b.localIndex]);
    expect(slots(received(answered, packet(b)).keypairs)).toEqual([a.localIndex, b.localIndex, undefined]);
  });

  test("retired while the peer may still send under the one before: that receives too", () => {
    const [a, b, c] = [session(true), session(true, 1000), session(true, 1500)];
    const two = derived(derived(NO_KEYPAIRS, a).keypairs, b).keypairs;
    const old = retired(two, LET);
    expect([slots(old.keypairs), old.ended]).toEqual([
      [b.localIndex, undefined, a.localIndex, "settled"],
      [],
    ]);
    const renewed = derived(old.keypairs, c).keypairs;
    expect(slots(renewed)).toEqual([b.localIndex, c.localIndex, a.localIndex]);
    expect(received(renewed, packet(a)).keypairs).toBe(renewed);
  });

  test("the first one after those that were retired is held until the peer is heard under it", () => {
    const [a, b, c] = [session(true), session(true, 1000), session(false, 1100)];
    const first = derived(NO_KEYPAIRS, a).keypairs;
    expect(first.held).toBeUndefined();
    const held = derived(retired(first, { hold: true }).keypairs, b).keypairs;
    expect([held.held, received(held, packet(a)).keypairs]).toEqual([true, held]);
    expect(received(held, packet(b)).keypairs).toEqual({ previous: a, current: b });
    expect(released(held).keypairs).toEqual({ previous: a, current: b });
    // What the peer begins meanwhile changes nothing about that.
    const both = derived(held, c).keypairs;
    expect([both.held, slots(both)]).toEqual([true, [a.localIndex, b.localIndex, c.localIndex, "open"]]);
    expect(received(both, packet(c)).keypairs.held).toBeUndefined();
    expect(received(both, packet(c)).keypairs.current).toBe(c);
    // Also where the one that crossed is not the one to send with.
    const crossed = derived(held, session(false, 1000)).keypairs;
    const heard = received(crossed, packet(crossed.next as Session, false, 1010)).keypairs;
    expect(heard).toEqual(released(crossed).keypairs);
  });

  test("a session that was never confirmed is replaced by the next", () => {
    const [a, b] = [session(false), session(false)];
    const step = derived(derived(NO_KEYPAIRS, a).keypairs, b);
    expect([slots(step.keypairs), step.ended]).toEqual([[undefined, undefined, b.localIndex], [a]]);
  });

  test("all end at once", () => {
    const [a, b, c] = [session(true), session(true), session(false, 200_000)];
    const all = [a, b, c].reduce((keypairs, one) => derived(keypairs, one).keypairs, NO_KEYPAIRS);
    expect(cleared(all)).toEqual({ keypairs: NO_KEYPAIRS, ended: [a, b, c], confirmed: false });
  });
});

describe("initiations that crossed", () => {
  const [old, ours, theirs] = [session(true), session(true, 120_100), session(false, 120_050)];
  const derive = (sessions: readonly Session[]) =>
    sessions.reduce((keypairs, one) => derived(keypairs, one).keypairs, NO_KEYPAIRS);
  const crossed = derive([old, theirs, ours]);
  const swapped = [old.localIndex, theirs.localIndex, ours.localIndex];

  test("all three are kept, whichever came first: packets under each may be on their way", () => {
    expect(slots(crossed)).toEqual([old.localIndex, ours.localIndex, theirs.localIndex, "open"]);
    const late = session(false, 120_150);
    expect(slots(derive([old, ours, late]))).toEqual([
      old.localIndex,
      ours.localIndex,
      late.localIndex,
      "open",
    ]);
  });

  test("the smaller key changes over at once and for good, and no session is lost", () => {
    const step = received(crossed, packet(theirs, true, 120_200));
    expect([slots(step.keypairs), step.ended, step.confirmed]).toEqual([[...swapped, "settled"], [], true]);
    for (const one of [old, ours, theirs])
      expect(received(step.keypairs, packet(one, true, 130_000)).keypairs).toBe(step.keypairs);
  });

  test("the greater key keeps its own for good when the peer uses it", () => {
    const step = received(crossed, packet(ours, false, 120_200));
    expect([slots(step.keypairs), step.confirmed]).toEqual([
      [old.localIndex, ours.localIndex, theirs.localIndex, "settled"],
      false,
    ]);
    expect(received(step.keypairs, packet(theirs, false, 130_000)).keypairs).toBe(step.keypairs);
  });

  test("the greater key changes over only if packets under the other one do not cease, and back when they do", () => {
    expect(received(crossed, packet(theirs, false, 120_200)).keypairs).toBe(crossed);
    expect(received(crossed, packet(theirs, false, 121_049)).keypairs).toBe(crossed);
    const step = received(crossed, packet(theirs, false, 121_050));
    expect([slots(step.keypairs), step.ended, step.confirmed]).toEqual([[...swapped, "open"], [], true]);
    const back = received(step.keypairs, packet(ours, false, 121_060));
    expect([slots(back.keypairs), back.confirmed]).toEqual([
      [old.localIndex, ours.localIndex, theirs.localIndex, "settled"],
      false,
    ]);
  });

  test("what the peer begins after ours was answered is changed to at once, and back if it uses ours", () => {
    const late = session(false, 120_150);
    const both = derive([old, ours, late]);
    const step = received(both, packet(late, false, 120_160));
    const [first, second, third] = [old, late, ours].map((one) => one.localIndex);
    expect([slots(step.keypairs), step.ended, step.confirmed]).toEqual([
      [first, second, third, "open"],
      [],
      true,
    ]);
    const back = received(step.keypairs, packet(ours, false, 120_170));
    expect(slots(back.keypairs)).toEqual([first, third, second, "settled"]);
  });

  test("what the peer begins after it has sent under ours is the successor", () => {
    const used = session(true, 120_100);
    used.window.next[0] = 1;
    const late = session(false, 120_150);
    const both = derive([old, used, late]);
    expect(slots(both)).toEqual([old.localIndex, used.localIndex, late.localIndex]);
    const step = received(both, packet(late, false, 120_160));
    expect([slots(step.keypairs), step.ended]).toEqual([
      [used.localIndex, late.localIndex, undefined],
      [old],
    ]);
    // What is still on its way under the one before comes in, and changes nothing.
    expect(received(step.keypairs, packet(used, false, 120_170)).keypairs).toBe(step.keypairs);
  });

  test("the greater key, while nothing is settled, keeps both when it answers the next initiation", () => {
    const next = session(false, 240_000);
    const step = derived(crossed, next);
    expect([slots(step.keypairs), step.ended]).toEqual([
      [theirs.localIndex, ours.localIndex, next.localIndex],
      [old],
    ]);
  });

  test("sessions that are further apart did not cross; an older one that waits is received with, and not changed to", () => {
    expect(slots(derive([ours, session(false, 125_100)]))).toHaveLength(3);
    const next = session(true, 240_000);
    const step = derived(crossed, next);
    expect([slots(step.keypairs), step.ended]).toEqual([
      [ours.localIndex, next.localIndex, theirs.localIndex],
      [old],
    ]);
    expect(received(step.keypairs, packet(theirs, true)).keypairs).toBe(step.keypairs);
  });
});

const seed = newSeed();
test(`whatever happens: no session is lost or in two places, and what ended does not come back (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 500; round++) {
    let keypairs = NO_KEYPAIRS;
    const [made, ended] = [new Set<Session>(), new Set<Session>()];
    let nowMs = 0;
    for (let i = 0; i < 40; i++) {
      nowMs += random.pick([0, 50, 4000, 120_000]);
      const live = keypairsOf(keypairs);
      const before = keypairs;
      const fresh = session(random.chance(0.5), nowMs);
      const what = random.below(20);
      if (what < 9) made.add(fresh);
      const step =
        what < 9
          ? derived(keypairs, fresh)
          : what < 19 && live.length > 0
            ? received(keypairs, packet(random.pick(live), random.chance(0.5), nowMs))
            : cleared(keypairs);
      for (const one of step.ended) {
        expect(ended.has(one)).toBe(false);
        ended.add(one);
      }
      keypairs = step.keypairs;
      const now = keypairsOf(keypairs);
      expect(new Set(now).size).toBe(now.length);
      expect(new Set([...now, ...ended])).toEqual(made);
      if (step.confirmed) expect(keypairs.current).toBe(before.next as Session);
      if (keypairs.crossing !== undefined)
        expect(keypairs.current?.initiator).not.toBe(keypairs.next?.initiator as boolean);
    }
  }
});
