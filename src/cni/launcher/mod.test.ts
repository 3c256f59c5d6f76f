import { describe, expect, test } from "bun:test";
import { assemble, at } from "./assembler.ts";
import { arm64 } from "./arm64.ts";
import { originsOf } from "./elf.ts";
import { launcherFor } from "./mod.ts";

test("there is none for other architectures", () => {
  for (const name of ["arm", "riscv64", "", "toString", "__proto__"])
    expect(launcherFor(name)).toBeUndefined();
});

describe.each([
  ["x64", 62],
  ["arm64", 183],
] as const)("the launcher for %s", (architecture, machine) => {
  const file = launcherFor(architecture) as Uint8Array<ArrayBuffer>;
  const view = new DataView(file.buffer);
  const word = (offset: number) => Number(view.getBigUint64(offset, true));

  test("is small, and the same every time", () => {
    expect(file.length).toBeLessThan(3072);
    expect(launcherFor(architecture)).toEqual(file);
  });

  test("is a 64-bit little-endian executable of that machine", () => {
    expect([...file.subarray(0, 8)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0]);
    expect([view.getUint16(16, true), view.getUint16(18, true)]).toEqual([2, machine]);
    expect([view.getUint16(54, true), view.getUint16(56, true)]).toEqual([56, 3]);
  });

  const segments = [0, 1, 2].map((index) => {
    const header = word(32) + 56 * index;
    return {
      type: view.getUint32(header, true),
      flags: view.getUint32(header + 4, true),
      offset: word(header + 8),
      address: word(header + 16),
      fileBytes: word(header + 32),
      memoryBytes: word(header + 40),
      align: word(header + 48),
    };
  });
  const [code, data, stack] = segments as [(typeof segments)[0], (typeof segments)[0], (typeof segments)[0]];

  test("maps nothing writable and executable, and has no executable stack", () => {
    const [READ, WRITE, EXECUTE] = [4, 2, 1];
    expect([code, data, stack].map(({ type, flags }) => [type, flags])).toEqual([
      [1, READ | EXECUTE],
      [1, READ | WRITE],
      [0x6474e551, READ | WRITE],
    ]);
    // Not even by sharing a page of any size that arm64 has.
    const page = 0x10000;
    expect(Math.floor((code.address + code.memoryBytes - 1) / page)).toBeLessThan(
      Math.floor(data.address / page),
    );
    for (const { offset, address, align } of [code, data]) expect(address % align).toBe(offset % align);
  });

  test("covers its whole file, starts in its code, and has room for question and answer", () => {
    expect(data.offset + data.fileBytes).toBe(file.length);
    expect(code.offset + code.fileBytes).toBeLessThanOrEqual(data.offset);
    expect(word(24)).toBe(code.address + 64 + 3 * 56);
    expect(data.memoryBytes - data.fileBytes).toBeGreaterThanOrEqual(20 * 2 ** 20);
  });
});

test("labels: data, room and code find their addresses; one that is missing or there twice is a mistake", () => {
  const image = assemble(
    arm64,
    ({ label, jump, words, room }) => {
      label("here");
      jump("end");
      jump("here");
      label("end");
      words("table", [at("table"), at("room", 5), 7]);
      room("first", 16);
      room("room", 8);
    },
    originsOf,
  );
  const origins = originsOf(image);
  expect([...new Uint32Array(image.code.buffer)]).toEqual([0x14000002, 0x17ffffff]);
  expect([...new BigUint64Array(image.data.buffer)].map(Number)).toEqual([
    origins.data,
    origins.room + 16 + 5,
    7,
  ]);
  expect(image.roomBytes).toBe(24);
  expect(() => assemble(arm64, ({ jump }) => jump("nowhere"), originsOf)).toThrow(
    "there is no label nowhere",
  );
  expect(() =>
    assemble(
      arm64,
      ({ label }) => {
        label("a");
        label("a");
      },
      originsOf,
    ),
  ).toThrow("label a is there twice");
});
