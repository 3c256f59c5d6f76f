import { expect, test } from "bun:test";
import {
  add,
  addRegister,
  and,
  assembleBpf,
  type BpfLine,
  call,
  copy,
  exit,
  jump,
  jumpIf,
  jumpIfBehind,
  label,
  load,
  loadMap,
  move,
  R0,
  R1,
  R2,
  R3,
  R4,
  R5,
  shiftLeft,
} from "./bpf-assembler.ts";

const hex = (...lines: BpfLine[]) =>
  (Buffer.from(assembleBpf(lines)).toString("hex").match(/.{16}/g) ?? []).join(" ");

test("instructions, as include/linux/filter.h of the kernel makes them", () => {
  // BPF_MOV64_IMM, BPF_MOV64_REG, BPF_ALU64_IMM, BPF_ALU64_REG
  expect(hex(move(R0, 2))).toBe("b700000002000000");
  expect(hex(move(R0, -1))).toBe("b7000000ffffffff");
  expect(hex(copy(R4, R2))).toBe("bf24000000000000");
  expect(hex(add(R4, 14))).toBe("070400000e000000");
  expect(hex(addRegister(R2, R5))).toBe("0f52000000000000");
  expect(hex(and(R5, 15), shiftLeft(R5, 2))).toBe("570500000f000000 6705000002000000");
  // BPF_LDX_MEM with BPF_B, BPF_H, BPF_W
  expect(hex(load(R5, 1, R2, 23), load(R5, 2, R2, 12), load(R2, 4, R1, 16))).toBe(
    "7125170000000000 69250c0000000000 6112100000000000",
  );
  // BPF_EMIT_CALL(BPF_FUNC_redirect_map), BPF_EXIT_INSN
  expect(hex(call(51), exit)).toBe("8500000033000000 9500000000000000");
});

test("jumps count instructions from behind themselves, a wide one as two", () => {
  // BPF_JMP_IMM(BPF_JEQ), BPF_JMP_REG(BPF_JGT), BPF_JMP_A, BPF_JMP_IMM(BPF_JNE), BPF_JMP_IMM(BPF_JLT)
  expect(
    hex(
      label("top"),
      jumpIf(R5, "=", 0x608, "end"),
      jumpIfBehind(R4, R3, "end"),
      loadMap(R1, 7),
      jumpIf(R5, "≠", 0, "top"),
      jumpIf(R5, "<", 20, "end"),
      jump("top"),
      label("end"),
      exit,
    ),
  ).toBe(
    "1505060008060000 2d34050000000000 1811000007000000 0000000000000000 " +
      "5505fbff00000000 a505010014000000 0500f9ff00000000 9500000000000000",
  );
});

test("libbpf's program for AF_XDP (tools/lib/bpf/xsk.c, Linux 5.3) comes out the same", () => {
  expect(hex(load(R2, 4, R1, 16), loadMap(R1, 5), move(R3, 2), call(51), exit)).toBe(
    "6112100000000000 1811000005000000 0000000000000000 b703000002000000 8500000033000000 9500000000000000",
  );
});

test("names must be there, once, and near", () => {
  expect(() => hex(jump("nowhere"))).toThrow("No place is named nowhere");
  expect(() => hex(label("a"), label("a"))).toThrow("Two places are named a");
  const far = Array.from({ length: 32_768 }, () => exit);
  expect(() => hex(jump("end"), ...far, label("end"))).toThrow("too far away");
});
