import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Admission, type AdmissionLimits, type Place, sourceOf } from "./admission.ts";

const limits: AdmissionLimits = {
  connections: 20,
  perSource: 6,
  guests: 8,
  guestsPerSource: 3,
  burst: 5,
  perSecond: 2,
};

describe("who may have a connection", () => {
  const none = () => {};

  test("a source has so many guests, and so many connections", () => {
    const admission = new Admission({ ...limits, burst: 100 });
    const admit = () => admission.admit("192.0.2.1", { nowMs: 0, evict: none });
    const places = [admit(), admit(), admit()] as Place[];
    expect(admit()).toBeUndefined();
    for (const place of places) place.settle();
    places.push(admit() as Place, admit() as Place, admit() as Place);
    for (const place of places) place.settle();
    expect(admit()).toBeUndefined();
    expect(admission.admit("192.0.2.2", { nowMs: 0, evict: none })).toBeDefined();
    places[0]?.[Symbol.dispose]();
    places[0]?.[Symbol.dispose]();
    expect(admit()).toBeDefined();
    expect(admit()).toBeUndefined();
    expect([admission.connections, admission.guests, admission.refused]).toEqual([7, 2, 3]);
  });

  test("too many guests: the oldest goes; members never do", () => {
    const admission = new Admission(limits);
    const gone: number[] = [];
    const admit = (i: number) =>
      admission.admit(`192.0.2.${i}`, { nowMs: 0, evict: () => void gone.push(i) }) as Place;
    admit(0).settle();
    for (let i = 1; i <= 11; i++) admit(i);
    expect(gone).toEqual([1, 2, 3]);
    expect(admission.guests).toBe(8);
  });

  test("a source's rate: a burst, then so many a second; others do not feel it", () => {
    const admission = new Admission(limits);
    let admitted = 0;
    for (let ms = 0; ms < 10_000; ms += 10) {
      const place = admission.admit("192.0.2.1", { nowMs: ms, evict: none });
      if (place !== undefined) admitted++;
      place?.[Symbol.dispose]();
    }
    expect(admitted).toBeWithin(24, 26);
    expect(admission.admit("192.0.2.2", { nowMs: 10_000, evict: none })).toBeDefined();
  });

  test("a source is an IPv4 address or a /64", () => {
    expect(sourceOf("192.0.2.1")).toBe("192.0.2.1");
    expect(sourceOf("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2::");
    expect(sourceOf("not an address")).toBe("unknown");
  });

  const seed = newSeed();
  test(`no bound is ever passed, and the books are empty in the end (seed ${seed})`, () => {
    const random = new Random(seed);
    const admission = new Admission({ ...limits, burst: 1000 });
    const open = new Set<Place>();
    for (let round = 0; round < 5000; round++) {
      const choice = random.below(4);
      if (choice < 2) {
        const place = admission.admit(`192.0.2.${random.below(9)}`, { nowMs: round, evict: none });
        if (place !== undefined) open.add(place);
      } else if (open.size > 0) {
        const place = random.pick([...open]);
        if (choice === 2) place.settle();
        else {
          place[Symbol.dispose]();
          open.delete(place);
        }
      }
      expect(admission.connections).toBe(open.size);
      expect(admission.connections).toBeLessThanOrEqual(limits.connections);
      expect(admission.guests).toBeLessThanOrEqual(limits.guests);
    }
    for (const place of open) place[Symbol.dispose]();
    expect([admission.connections, admission.guests]).toEqual([0, 0]);
  });
});
