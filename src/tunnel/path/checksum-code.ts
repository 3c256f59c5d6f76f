/**
 * The sum of the Internet checksum as WebAssembly: 64 bytes a round by vectors, the rest by ever smaller steps, nothing read outside.
 *
 * `sum(source, length)` adds; `copySum(target, source, length)` also copies, which costs a tenth more than adding alone.
 *
 * Words are added in the machine's order: RFC 1071 section 2(B) shows that the sum then comes out byte-swapped and otherwise right. A
 * 32-bit lane does not run over: each 64 bytes add at most 2 · 65,535 to it, so it holds 2 MiB.
 */
import {
  assemble,
  block,
  branch,
  branchIf,
  type Code,
  i32,
  localGet,
  localSet,
  loop,
  v128,
  when,
} from "./wasm-assembler.ts";

const LANES = 16;
const ACCUMULATORS = [0, 1, 2, 3] as const;

/** Numbers of the parameters; after them come one local integer, the total, and the vectors. */
interface Parameters {
  readonly target?: number;
  readonly source: number;
  readonly length: number;
}

function body({ target, source, length }: Parameters): Code {
  const total = length + 1;
  const vector = total + 1;
  const add = (local: number, by: number): Code => [localGet(local), i32.const(by), i32.add, localSet(local)];
  const step = (bytes: number): Code => [
    add(source, bytes),
    target === undefined ? [] : add(target, bytes),
    add(length, -bytes),
  ];
  const copy = (load: Code, store: Code): Code =>
    target === undefined ? [] : [localGet(target), localGet(source), load, store];
  /** While at least so many bytes are left. */
  const rounds = (bytes: number, work: Code): Code =>
    block(
      loop([localGet(length), i32.const(bytes), i32.lessUnsigned, branchIf(1)], work, step(bytes), branch(0)),
    );
  /** Four accumulators, so that one addition does not wait for the last. */
  const lanes = (index: number): Code => [
    [localGet(source), v128.load(index * LANES), v128.addPairs16],
    [localGet(vector + index), v128.add32, localSet(vector + index)],
    copy(v128.load(index * LANES), v128.store(index * LANES)),
  ];
  const addToTotal = (value: Code): Code => [localGet(total), value, i32.add, localSet(total)];
  const low = (value: Code): Code => [value, i32.const(0xffff), i32.and];
  const high = (value: Code): Code => [value, i32.const(16), i32.shiftRightUnsigned];
  const fold: Code = [low(localGet(total)), high(localGet(total)), i32.add, localSet(total)];
  return [
    rounds(LANES * ACCUMULATORS.length, ACCUMULATORS.map(lanes)),
    rounds(LANES, lanes(0)),
    [1, 2, 3].map((index) => [localGet(vector), localGet(vector + index), v128.add32, localSet(vector)]),
    // Halves of lanes, since four whole lanes could run over.
    ACCUMULATORS.map((lane) => {
      const value: Code = [localGet(vector), v128.lane32(lane)];
      return [addToTotal(low(value)), addToTotal(high(value))];
    }),
    rounds(2, [addToTotal([localGet(source), i32.load16()]), copy(i32.load16(), i32.store16())]),
    localGet(length),
    // A last odd byte is the first of a word whose second is zero.
    when(addToTotal([localGet(source), i32.load8()]), copy(i32.load8(), i32.store8())),
    fold,
    fold,
    localGet(total),
  ];
}

/** checksumCode returns the module. */
export function checksumCode(): Uint8Array<ArrayBuffer> {
  const locals = { integers: 1, vectors: ACCUMULATORS.length };
  return assemble({
    pages: 1,
    functions: [
      { name: "sum", parameters: 2, ...locals, body: body({ source: 0, length: 1 }) },
      { name: "copySum", parameters: 3, ...locals, body: body({ target: 0, source: 1, length: 2 }) },
    ],
  });
}
