import { describe, expect, test } from "bun:test";
import { createSharedMemory, mapSharedMemory } from "../../sys/mod.ts";
import { SESSION } from "../wireguard/mod.ts";
import { COUNTERS, MOST_WORKERS, SessionStore, STORE_BYTES } from "./session-store.ts";

/** Writes a session into a slot, as wireguard/session.ts does. */
function fill(memory: Uint8Array<ArrayBuffer>, localIndex: number): void {
  memory.fill(0xaa);
  new DataView(memory.buffer, memory.byteOffset).setUint32(SESSION.localIndex, localIndex, true);
}

/** Takes a slot for a session. */
function taken(store: SessionStore, localIndex: number): number {
  const memory = store.take();
  fill(memory, localIndex);
  return store.slotOf(memory);
}

const isClean = (store: SessionStore, slot: number) => store.memory(slot).every((byte) => byte === 0);

describe("the shared memory of sessions", () => {
  test("each slot is zeros, is its own, and lies at an offset that 8 divides", () => {
    const store = SessionStore.create();
    for (let i = 0; i < 100; i++) {
      const memory = store.take();
      expect(memory).toHaveLength(SESSION.bytes);
      expect(memory.byteOffset % 8).toBe(0);
      expect(memory.every((byte) => byte === 0)).toBe(true);
      expect(store.slotOf(memory)).toBe(i);
      memory.fill(i + 1);
    }
    for (let i = 0; i < 100; i++) expect(store.memory(i).every((byte) => byte === i + 1)).toBe(true);
    // Nor does any of it lie in the header or in the counters.
    expect(store.counters(MOST_WORKERS - 1).every((count) => count === 0)).toBe(true);
    expect(store.generation).toBe(0);
  });

  test("what is given back is wiped and used again, before anything new", () => {
    const store = SessionStore.create();
    const slots = [1, 2, 3].map((index) => taken(store, index));
    store.give(store.memory(slots[1] as number));
    expect(isClean(store, slots[1] as number)).toBe(true);
    expect(store.slotOf(store.take())).toBe(slots[1] as number);
    expect(store.slotOf(store.take())).toBe(3);
    // Once given, it is nobody's: a second time changes nothing.
    store.give(store.memory(0));
    store.give(store.memory(0));
    expect(store.slotOf(store.take())).toBe(0);
    expect(store.slotOf(store.take())).toBe(4);
  });

  test("a slot that threads use is wiped when the last of them and the protocol have let go, in any order", () => {
    for (const order of ["protocol first", "protocol last", "protocol between"]) {
      const store = SessionStore.create();
      const slot = taken(store, 7);
      store.hold(slot, 3);
      const steps = [() => store.letGo(slot), () => store.letGo(slot), () => store.letGo(slot)];
      const give = () => store.give(store.memory(slot));
      steps.splice(order === "protocol first" ? 0 : order === "protocol last" ? 3 : 1, 0, give);
      for (const step of steps.slice(0, -1)) {
        step();
        expect([order, isClean(store, slot)]).toEqual([order, false]);
        expect(store.slotOf(store.take())).not.toBe(slot);
      }
      steps.at(-1)?.();
      expect([order, isClean(store, slot)]).toEqual([order, true]);
      expect(store.slotOf(store.take())).toBe(slot);
    }
  });

  test("two mappings are one memory, and each change of the generation is seen in both", () => {
    const one = SessionStore.create();
    const other = SessionStore.open(one.fd);
    const slot = taken(one, 0xdeadbeef);
    expect([...other.memory(slot)]).toEqual([...one.memory(slot)]);
    other.memory(slot)[5] = 99;
    expect(one.memory(slot)[5]).toBe(99);
    const before = other.generation;
    one.change();
    expect(other.generation).not.toBe(before);
    one.counters(3)[COUNTERS - 1] = 12.5;
    expect(other.counters(3)[COUNTERS - 1]).toBe(12.5);
    expect([2, 4].map((worker) => other.counters(worker).some((count) => count !== 0))).toEqual([
      false,
      false,
    ]);
  });

  test("the counters of the last worker end before the first session", () => {
    const store = SessionStore.create();
    store.counters(MOST_WORKERS - 1).fill(1);
    expect(isClean(store, 0)).toBe(true);
    expect(() => store.counters(MOST_WORKERS + 16)).toThrow(RangeError);
  });

  test("a successor claims what its sessions are in, and wipes the rest", () => {
    const before = SessionStore.create();
    const slots = Array.from({ length: 40 }, (_, i) => taken(before, 1000 + i));
    const after = SessionStore.open(before.fd);
    // In an order that is not theirs.
    for (const slot of [17, 3, 39, 0]) expect(after.claim(slots[slot] as number, 1000 + slot)).toBe(true);
    after.sweep();
    for (const slot of slots) expect(isClean(after, slot)).toBe(![17, 3, 39, 0].includes(slot));
    const news = Array.from({ length: 40 }, () => after.slotOf(after.take()));
    expect(new Set([...news, 17, 3, 39, 0]).size).toBe(44);
    expect(Math.max(...news)).toBe(43);
  });

  test("what nobody claims is wiped however far behind others, and no slot of a predecessor is taken before", () => {
    const before = SessionStore.create();
    const memories = Array.from({ length: 400 }, () => before.take());
    const last = before.slotOf(memories[399] as Uint8Array);
    memories[399]?.fill(1);
    const after = SessionStore.open(before.fd);
    expect(after.slotOf(after.take())).toBe(400);
    expect(isClean(after, last)).toBe(false);
    after.sweep();
    expect(isClean(after, last)).toBe(true);
  });

  test("a slot of another session, or one that is claimed already, is not given", () => {
    const before = SessionStore.create();
    const slot = taken(before, 5);
    const after = SessionStore.open(before.fd);
    expect(after.claim(slot, 6)).toBe(false);
    expect(after.claim(slot, 5)).toBe(true);
    expect(after.claim(slot, 5)).toBe(false);
    expect(after.slotOf(after.take())).not.toBe(slot);
  });

  test("numbers that are no slots are refused", () => {
    const store = SessionStore.create();
    for (const slot of [-1, 0.5, Number.NaN, 262_144, 2 ** 40])
      expect(() => store.memory(slot)).toThrow(RangeError);
    expect(store.memory(262_143)).toHaveLength(SESSION.bytes);
  });

  test("memory of another size, kind or version is refused", () => {
    const bytes = STORE_BYTES;
    using small = createSharedMemory("small", bytes - 4096);
    expect(() => SessionStore.open(small.number)).toThrow("not a sealed memory");
    using empty = createSharedMemory("empty", bytes);
    expect(() => SessionStore.open(empty.number)).toThrow("not one of sessions of version");
    const other = SessionStore.create();
    new Int32Array(mapSharedMemory(other.fd, { bytes, at: 0, length: 4096 }), 0, 3)[1] = 99;
    expect(() => SessionStore.open(other.fd)).toThrow(RangeError);
  });
});
