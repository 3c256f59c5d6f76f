import { describe, expect, test } from "bun:test";
import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as libc from "./libc.ts";
import { createSharedMemory, mapSharedMemory } from "./shared-memory.ts";

const BYTES = 64 << 10;
const WHOLE = { bytes: BYTES, at: 0, length: BYTES };

describe("memory that is shared", () => {
  test("is zeros at first, and one memory in all mappings, also of another descriptor", () => {
    using memory = createSharedMemory("test", BYTES);
    const [one, other] = [mapSharedMemory(memory.number, WHOLE), mapSharedMemory(memory.number, WHOLE)];
    expect(one.byteLength).toBe(BYTES);
    expect(new Uint8Array(one).every((byte) => byte === 0)).toBe(true);
    new Uint8Array(one)[BYTES - 1] = 7;
    expect(new Uint8Array(other)[BYTES - 1]).toBe(7);
    const copy = openSync(`/proc/self/fd/${memory.number}`, "r+");
    expect(new Uint8Array(mapSharedMemory(copy, WHOLE))[BYTES - 1]).toBe(7);
    libc.close(copy);
  });

  test("outlives its descriptor", () => {
    const memory = createSharedMemory("test", BYTES);
    const mapped = new Uint8Array(mapSharedMemory(memory.number, WHOLE));
    memory.close();
    mapped.fill(9);
    expect(mapped.every((byte) => byte === 9)).toBe(true);
  });

  test("is changed atomically", () => {
    using memory = createSharedMemory("test", BYTES);
    const [one, other] = [0, 1].map(() => new Int32Array(mapSharedMemory(memory.number, WHOLE))) as [
      Int32Array,
      Int32Array,
    ];
    expect([Atomics.add(one, 3, 5), Atomics.add(other, 3, 5), Atomics.load(one, 3)]).toEqual([0, 5, 10]);
  });

  test("cannot be made smaller or larger by whoever has it: reading it never ends a process", () => {
    using memory = createSharedMemory("test", BYTES);
    for (const bytes of [0, BYTES - 1, BYTES * 2])
      expect(() => truncateSync(`/proc/self/fd/${memory.number}`, bytes)).toThrow("EPERM");
  });

  test("a part can be mapped, and nothing outside", () => {
    using memory = createSharedMemory("test", BYTES);
    new Uint8Array(mapSharedMemory(memory.number, WHOLE))[8192 + 5] = 1;
    const part = new Uint8Array(mapSharedMemory(memory.number, { bytes: BYTES, at: 8192, length: 4096 }));
    expect([part.length, part[5]]).toEqual([4096, 1]);
    for (const [at, length] of [
      [0, BYTES + 1],
      [4096, BYTES],
      [-4096, 4096],
      [0, 0],
      [BYTES, 4096],
    ] as const)
      expect(() => mapSharedMemory(memory.number, { bytes: BYTES, at, length })).toThrow(RangeError);
  });

  test("other sizes, and descriptors of something else, are refused", () => {
    using memory = createSharedMemory("test", BYTES);
    expect(() => mapSharedMemory(memory.number, { ...WHOLE, bytes: BYTES + 4096 })).toThrow(RangeError);
    expect(() => mapSharedMemory(memory.number, { ...WHOLE, bytes: BYTES - 4096 })).toThrow(RangeError);
    const folder = mkdtempSync(`${tmpdir()}/causeway-memory-`);
    writeFileSync(`${folder}/file`, new Uint8Array(BYTES));
    const file = openSync(`${folder}/file`, "r+");
    // Somebody could shorten it.
    expect(() => mapSharedMemory(file, WHOLE)).toThrow("not a sealed memory");
    libc.close(file);
    rmSync(folder, { recursive: true });
    const socket = libc.socket(1, 1, 0);
    expect(() => mapSharedMemory(socket, WHOLE)).toThrow(RangeError);
    libc.close(socket);
  });
});
