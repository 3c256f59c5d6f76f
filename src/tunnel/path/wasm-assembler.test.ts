import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  assemble,
  block,
  branch,
  branchIf,
  i32,
  localGet,
  localSet,
  loop,
  signed,
  unsigned,
  v128,
  when,
} from "./wasm-assembler.ts";

function run(functions: Parameters<typeof assemble>[0]["functions"]) {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const module = new WebAssembly.Module(assemble({ pages: 1, functions }));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return { memory, ...(exports as Record<string, (...values: number[]) => number>) } as {
    memory: WebAssembly.Memory;
    [name: string]: unknown;
  } & Record<string, (...values: number[]) => number>;
}

test("LEB128, WebAssembly Core 5.2.2", () => {
  expect(unsigned(0)).toEqual([0]);
  expect(unsigned(127)).toEqual([0x7f]);
  expect(unsigned(128)).toEqual([0x80, 0x01]);
  expect(unsigned(624485)).toEqual([0xe5, 0x8e, 0x26]);
  expect(unsigned(2 ** 32 - 1)).toEqual([0xff, 0xff, 0xff, 0xff, 0x0f]);
  expect(signed(63)).toEqual([0x3f]);
  expect(signed(64)).toEqual([0xc0, 0x00]);
  expect(signed(-64)).toEqual([0x40]);
  expect(signed(-123456)).toEqual([0xc0, 0xbb, 0x78]);
});

const seed = newSeed();
test(`numbers arrive as they were written (SEED=${seed})`, () => {
  const random = new Random(seed);
  const values = [
    0,
    1,
    -1,
    63,
    64,
    -64,
    -65,
    2 ** 31 - 1,
    -(2 ** 31),
    ...Array.from({ length: 40 }, () => random.u32() | 0),
  ];
  const got = run(values.map((value, i) => ({ name: `f${i}`, parameters: 0, body: i32.const(value) })));
  values.forEach((value, i) => expect(got[`f${i}`]?.()).toBe(value));
});

test("control: a loop that counts, a condition, and early leaving", () => {
  const { count } = run([
    {
      name: "count",
      parameters: 1,
      integers: 1,
      body: [
        block(
          loop(
            [localGet(1), localGet(0), i32.greaterEqualUnsigned, branchIf(1)],
            [localGet(1), i32.const(1), i32.add, localSet(1)],
            branch(0),
          ),
        ),
        localGet(0),
        when(localGet(1), i32.const(1000), i32.add, localSet(1)),
        localGet(1),
      ],
    },
  ]);
  expect([count?.(0), count?.(1), count?.(17)]).toEqual([0, 1001, 1017]);
});

test("memory and vectors: pairs of 16 bits are added into lanes", () => {
  const got = run(
    [0, 1, 2, 3].map((lane) => ({
      name: `lane${lane}`,
      parameters: 1,
      vectors: 1,
      body: [
        localGet(0),
        v128.load(16),
        v128.addPairs16,
        localSet(1),
        localGet(1),
        localGet(1),
        v128.add32,
        v128.lane32(lane),
      ],
    })),
  );
  new Uint16Array(got.memory.buffer).set([1, 2, 65535, 65535, 0, 9, 40000, 3], 8);
  expect([0, 1, 2, 3].map((lane) => got[`lane${lane}`]?.(0))).toEqual([6, 262140, 18, 80006]);
});
