/** The program as text; that the kernel does the same is test/kernel/dataplane-steering.test.ts. */
import { expect, test } from "bun:test";
import { BPF } from "../../sys/mod.ts";
import { steeringProgram, workerOf } from "./steering.ts";

/** The numbers of include/uapi/linux/bpf_common.h, written down once more. */
test("the codes are those of the kernel", () => {
  const codes: Record<string, number> = { ...BPF };
  expect(codes).toEqual({
    // BPF_LD | BPF_B | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_ALU | BPF_MOD, BPF_ALU | BPF_ADD, BPF_RET, BPF_RET | BPF_A
    loadByte: 0x00 | 0x10 | 0x20,
    // BPF_LD | BPF_H | BPF_IND, BPF_LD | BPF_W | BPF_IND, BPF_LDX | BPF_B | BPF_MSH, BPF_LDX | BPF_IMM
    loadHalfBehind: 0x00 | 0x08 | 0x40,
    loadWordBehind: 0x00 | 0x00 | 0x40,
    loadHeaderLength: 0x01 | 0x10 | 0xa0,
    setX: 0x01,
    jumpIfEqual: 0x05 | 0x10,
    jumpIfGreater: 0x05 | 0x20,
    modulo: 0x04 | 0x90,
    add: 0x04,
    returnNumber: 0x06,
    returnA: 0x06 | 0x10,
  });
});

/** Classic BPF as net/core/filter.c runs it; a load beyond the end returns 0. */
function run(program: ReturnType<typeof steeringProgram>, datagram: Uint8Array): number {
  let a = 0;
  for (let at = 0; ; at++) {
    const [code, ifTrue, ifFalse, operand] = program[at] as (typeof program)[number];
    if (code === BPF.loadByte) {
      if (operand >= datagram.length) return 0;
      a = datagram[operand] as number;
    } else if (code === BPF.jumpIfEqual) at += a === operand ? ifTrue : ifFalse;
    else if (code === BPF.modulo) a %= operand;
    else if (code === BPF.add) a += operand;
    else if (code === BPF.returnA) return a;
    else if (code === BPF.returnNumber) return operand;
    else throw new Error(`unknown code ${code}`);
  }
}

test("a data message goes to the worker that workerOf names, whatever else is in it", () => {
  for (const workers of [1, 2, 3, 4, 7, 64]) {
    const program = steeringProgram(workers);
    const seen = new Set<number>();
    for (let index = 0; index < 600; index++) {
      const datagram = new Uint8Array(32).fill(0xff);
      const receiver = Math.imul(index, 0x9e3779b1) >>> 0;
      datagram.set([4, 0, 0, 0]);
      new DataView(datagram.buffer).setUint32(4, receiver, true);
      const worker = workerOf(receiver, workers);
      expect(run(program, datagram)).toBe(1 + worker);
      seen.add(worker);
    }
    expect([...seen].sort((a, b) => a - b)).toEqual(Array.from({ length: workers }, (_, i) => i));
  }
});

test("everything else goes to the control thread, however short", () => {
  const program = steeringProgram(4);
  for (const kind of [0, 1, 2, 3, 5, 132, 255])
    for (const length of [1, 4, 5, 64, 92, 148]) {
      const datagram = new Uint8Array(length).fill(7);
      datagram[0] = kind;
      expect(run(program, datagram)).toBe(0);
    }
  for (const length of [0, 1, 2, 3, 4]) expect(run(program, new Uint8Array(length).fill(4))).toBe(0);
});
