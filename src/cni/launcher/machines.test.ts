/**
 * Encodings against those of GNU as 2.40 (x86-64) and LLVM 14 (arm64). Where as would take a shorter form (`83 /0 ib`, no SIB), the bytes
 * are by Intel's manual, volume 2: `81 /digit id`, and ModRM with SIB and disp8.
 */
import { describe, expect, test } from "bun:test";
import { arm64 } from "./arm64.ts";
import { type Condition, type Register, registers } from "./assembler.ts";
import { x86_64 } from "./x86-64.ts";

const hex = (code: readonly number[]) =>
  Buffer.from(code)
    .toString("hex")
    .replaceAll(/..(?=.)/g, "$& ");

describe("x86-64", () => {
  const known: readonly (readonly [text: string, code: readonly number[], bytes: string])[] = [
    ["mov $0x600a90,%r12d", x86_64.set("k3", 0x600a90), "41 bc 90 0a 60 00"],
    ["mov $-100,%edi", x86_64.set("a1", -100), "40 bf 9c ff ff ff"],
    ["mov %rsp,%r8", x86_64.move("a5", "stack"), "49 89 e0"],
    ["mov %r8,%rbx", x86_64.move("k1", "a5"), "4c 89 c3"],
    ["add $-10,%r13", x86_64.add("k4", -10), "49 81 c5 f6 ff ff ff"],
    ["add %rax,%r12", x86_64.add("k3", "result"), "49 01 c4"],
    ["sub %rcx,%r13", x86_64.subtract("k4", "v1"), "49 29 cd"],
    ["cmp $-4,%rax", x86_64.compare("result", -4), "48 81 f8 fc ff ff ff"],
    ["cmp %r12,%r13", x86_64.compare("k4", "k3"), "4d 39 e5"],
    ["movzbl 0(%r12),%r11d", x86_64.load(8, "v2", "k3"), "45 0f b6 5c 24 00"],
    ["mov 0(%rsp),%rcx", x86_64.load(64, "v1", "stack"), "48 8b 4c 24 00"],
    ["mov 0(%rbp),%rdi", x86_64.load(64, "a1", "k2"), "48 8b 7c 25 00"],
    ["mov %sil,0(%rdi)", x86_64.store(8, "a2", "a1"), "40 88 74 27 00"],
    ["mov %r11,0(%r13)", x86_64.store(64, "v2", "k4"), "4d 89 5c 25 00"],
    ["je .+300", x86_64.branch(300, "equal"), "0f 84 26 01 00 00"],
    ["jne .-12", x86_64.branch(-12, "different"), "0f 85 ee ff ff ff"],
    ["jl .+8", x86_64.branch(8, "less"), "0f 8c 02 00 00 00"],
    ["jmp .-32", x86_64.branch(-32), "e9 db ff ff ff"],
    ["mov $267,%eax; syscall", x86_64.trap(267), "b8 0b 01 00 00 0f 05"],
  ];
  test.each(known)("%s", (_text, code, bytes) => expect(hex(code)).toBe(bytes));
});

describe("arm64", () => {
  const known: readonly (readonly [text: string, code: readonly number[], bytes: string])[] = [
    ["movz w3, #0xa90; movk w3, #0x60, lsl #16", arm64.set("a4", 0x600a90), "03 52 81 52 03 0c a0 72"],
    ["movz w0, #0xff9c; movk w0, #0xffff, lsl #16", arm64.set("a1", -100), "80 f3 9f 52 e0 ff bf 72"],
    ["mov x4, sp", arm64.move("a5", "stack"), "e4 03 00 91"],
    ["add x19, x4, #0", arm64.move("k1", "a5"), "93 00 00 91"],
    ["add x4, x4, #8", arm64.add("a5", 8), "84 20 00 91"],
    ["sub x22, x22, #10", arm64.add("k4", -10), "d6 2a 00 d1"],
    ["add x21, x21, x0", arm64.add("k3", "result"), "b5 02 00 8b"],
    ["sub x22, x22, x9", arm64.subtract("k4", "v1"), "d6 02 09 cb"],
    ["cmn x0, #4", arm64.compare("result", -4), "1f 10 00 b1"],
    ["cmp x0, #3", arm64.compare("result", 3), "1f 0c 00 f1"],
    ["cmp x22, x21", arm64.compare("k4", "k3"), "df 02 15 eb"],
    ["ldrb w10, [x2]", arm64.load(8, "v2", "a3"), "4a 00 40 39"],
    ["ldr x9, [sp]", arm64.load(64, "v1", "stack"), "e9 03 40 f9"],
    ["strb w10, [x21]", arm64.store(8, "v2", "k3"), "aa 02 00 39"],
    ["str x0, [x9]", arm64.store(64, "result", "v1"), "20 01 00 f9"],
    ["b.eq .+300", arm64.branch(300, "equal"), "60 09 00 54"],
    ["b.ne .-12", arm64.branch(-12, "different"), "a1 ff ff 54"],
    ["b.lt .+8", arm64.branch(8, "less"), "4b 00 00 54"],
    ["b .-32", arm64.branch(-32), "f8 ff ff 17"],
    ["movz w8, #78; movk w8, #0, lsl #16; svc #0", arm64.trap(78), "c8 09 80 52 08 00 a0 72 01 00 00 d4"],
  ];
  test.each(known)("%s", (_text, code, bytes) => expect(hex(code)).toBe(bytes));
});

describe.each([
  ["x86-64", x86_64],
  ["arm64", arm64],
] as const)("%s: two passes agree, because an instruction's length does not depend on", (_name, machine) => {
  const lengths = (codes: readonly (readonly number[])[]) =>
    [...new Set(codes.map((code) => code.length))].length;
  const others = registers.filter((register) => register !== "stack");

  test("what it says", () => {
    const numbers = [0, 1, -1, 255, 4095, -4095];
    expect(lengths([...numbers, 0x600000, 2 ** 32 - 1].map((value) => machine.set("a1", value)))).toBe(1);
    expect(lengths(numbers.map((value) => machine.add("a1", value)))).toBe(1);
    expect(lengths(numbers.map((value) => machine.compare("a1", value)))).toBe(1);
    for (const condition of ["equal", "different", "less", undefined] as (Condition | undefined)[])
      expect(lengths([0, 4, -4, 4000, -4000].map((far) => machine.branch(far, condition)))).toBe(1);
  });

  test("which registers it names; and no two are encoded alike", () => {
    const pairs: [Register, Register][] = others.flatMap((to) =>
      registers.map((from) => [to, from] as [Register, Register]),
    );
    const forms = [
      pairs.map(([to, from]) => machine.move(to, from)),
      pairs.map(([to, from]) => machine.load(8, to, from)),
      pairs.map(([to, from]) => machine.load(64, to, from)),
      pairs.map(([to, from]) => machine.store(8, to, from)),
      pairs.map(([to, from]) => machine.store(64, to, from)),
    ];
    const distinct = machine === arm64 ? (others.length - 1) * (registers.length - 1) : pairs.length;
    for (const form of forms) {
      expect(lengths(form)).toBe(1);
      // On arm64 `result` and `a1` are one register, as the vocabulary says.
      expect(new Set(form.map(hex)).size).toBe(distinct);
    }
  });
});
