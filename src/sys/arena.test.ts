import { describe, expect, test } from "bun:test";
import { Arena, ArenaPool } from "./arena.ts";
import { readPacket, storePart, writePacket } from "./arena-calls.ts";
import { run } from "./process.ts";

describe("arena", () => {
  test("parts are zeroed, aligned, apart, and end with the arena", () => {
    const arena = new Arena({ bytes: 65536 });
    const parts = [1, 64, 65, 1000].map((bytes) => [arena.allocate(bytes), bytes] as const);
    for (const [at] of parts) expect(at % 64).toBe(0);
    expect(parts.every(([at, bytes], i) => at > 0 && at + bytes <= (parts[i + 1]?.[0] ?? arena.bytes))).toBe(
      true,
    );
    expect(() => arena.allocate(arena.free + 1)).toThrow("make it larger");
    arena.allocate(arena.free);
    expect(arena.free).toBe(0);
    for (const wrong of [0, -1, 1.5, Number.NaN]) expect(() => arena.allocate(wrong)).toThrow(RangeError);
  });

  test("pages begin where the machine's do, guarded or not", () => {
    for (const guarded of [false, true]) {
      const arena = new Arena({ bytes: 1 << 18, guarded });
      arena.allocate(100);
      const parts = [1, 4096, 10_000].map((bytes) => [arena.allocatePages(bytes), bytes] as const);
      for (const [at, bytes] of parts) expect(Number(arena.address(at, bytes)) % 4096).toBe(0);
      expect(parts.every(([at, bytes], i) => at + bytes <= (parts[i + 1]?.[0] ?? arena.bytes))).toBe(true);
      expect(() => arena.allocatePages(1 << 18)).toThrow("make it larger");
      for (const wrong of [0, -1, 1.5, Number.NaN])
        expect(() => arena.allocatePages(wrong)).toThrow(RangeError);
    }
  });

  test("no address without a length that lies inside", () => {
    const arena = new Arena({ bytes: 65536 });
    const base = arena.address(0, 65536);
    expect(arena.address(10, 65526) - base).toBe(10);
    expect(arena.address(65536, 0) - base).toBe(65536);
    for (const [at, length] of [
      [0, 65537],
      [65536, 1],
      [-1, 1],
      [0, -1],
      [1, 65536],
      [Number.NaN, 1],
      [0, Number.NaN],
      [0.5, 1],
      [2 ** 32, 1],
      [undefined, 1],
    ] as [number, number][]) {
      expect(() => arena.address(at, length)).toThrow(RangeError);
      expect(() => arena.storeAddress(0, at, length)).toThrow(RangeError);
      expect(() => storePart(arena, 0, at, length)).toThrow(RangeError);
    }
    expect(() => readPacket(0, arena, 65000, 1000)).toThrow(RangeError);
    expect(() => writePacket(1, arena, 65000, 1000)).toThrow(RangeError);
  });

  test("addresses are stored as the machine has them, and found again", () => {
    const arena = new Arena({ bytes: 65536 });
    arena.storeAddress(128, 4096, 16);
    expect(arena.view.getBigUint64(128, true)).toBe(BigInt(arena.address(4096, 16)));
    expect(arena.offsetOf(128, 16)).toBe(4096);
    expect(() => arena.offsetOf(128, 65536)).toThrow(RangeError);
    arena.view.setBigUint64(128, BigInt(arena.address(0, 0)) - 1n, true);
    expect(() => arena.offsetOf(128, 1)).toThrow(RangeError);
    arena.view.setBigUint64(128, 8n, true);
    expect(() => arena.offsetOf(128, 1)).toThrow("outside");
  });

  test("bytes go in and out, and are wiped", () => {
    const arena = new Arena({ bytes: 65536 });
    arena.store(100, new Uint8Array([1, 2, 3]));
    expect([...arena.copy(99, 5)]).toEqual([0, 1, 2, 3, 0]);
    arena.wipe(101, 1);
    expect([...arena.copy(99, 5)]).toEqual([0, 1, 0, 3, 0]);
    expect(() => arena.store(65535, new Uint8Array(2))).toThrow(RangeError);
  });

  test("a pool wipes what comes back, and has a limit", () => {
    const arena = new Arena({ bytes: 65536 });
    const pool = new ArenaPool(arena, { bytes: 32, most: 2 });
    const [a, b] = [pool.take(), pool.take()];
    expect(() => pool.take()).toThrow("limit is 2");
    arena.u8.fill(7, a, a + 32);
    pool.give(a);
    expect(pool.take()).toBe(a);
    expect(arena.copy(a, 32).every((byte) => byte === 0)).toBe(true);
    pool.give(b);
    expect(() => pool.give(b)).toThrow("not a part");
  });
});

/** Runs a line of code on a guarded allocation of 100 bytes, `at`, in a process of its own, and returns its status. */
async function onGuarded(code: string): Promise<number> {
  const source = `
    import { Arena } from "${import.meta.dir}/arena.ts";
    const arena = new Arena({ bytes: 1 << 20, guarded: true });
    const at = arena.allocate(100);
    ${code}`;
  return (await run([process.execPath, "-e", source], { timeoutMs: 60_000 })).status;
}

describe("guarded arena", () => {
  const SIGSEGV = 139;

  test("inside all is well", async () => {
    expect(
      await onGuarded("arena.u8.fill(1, at, at + 100); arena.allocate(5000); arena.allocate(4096)"),
    ).toBe(0);
  });

  test("one byte after the end, or a page before, ends the process", async () => {
    const statuses = await Promise.all([
      onGuarded("arena.u8[at + 100] = 1"),
      onGuarded("if (arena.u8[at + 100] === 77) console.log(1)"),
      onGuarded("arena.u8[at - 4096] = 1"),
      onGuarded("arena.u8.fill(0, at, at + 101)"),
    ]);
    expect(statuses).toEqual([SIGSEGV, SIGSEGV, SIGSEGV, SIGSEGV]);
  });
});
