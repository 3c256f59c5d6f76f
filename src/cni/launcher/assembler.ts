/**
 * The assembler: a program written once in a vocabulary that both architectures have becomes bytes for one of them.
 *
 * Every instruction of a machine has one length whatever it says, so two passes do: the first finds where each label is, the second writes.
 */

/**
 * Registers by what happens to them: `a1`-`a5` take the arguments of a system call, `result` its result (on arm64 it is the same as
 * `a1`), `v1` and `v2` are lost in it, `k1`-`k7` are kept. `stack` is what the kernel enters with; nobody moves it.
 */
export const registers = [
  ...["stack", "result", "a1", "a2", "a3", "a4", "a5", "v1", "v2"],
  ...["k1", "k2", "k3", "k4", "k5", "k6", "k7"],
] as readonly Register[];

/** Register names one. */
export type Register =
  "stack" | "result" | `a${1 | 2 | 3 | 4 | 5}` | `v${1 | 2}` | `k${1 | 2 | 3 | 4 | 5 | 6 | 7}`;

/** Condition compares 64-bit registers; `less` knows signs. */
export type Condition = "equal" | "different" | "less";

/** SystemCall names those that both architectures have: arm64 never had `open`, `dup2`, `poll` or `readlink`. */
export type SystemCall =
  | "connect"
  | "dup3"
  | "execve"
  | "exit_group"
  | "lseek"
  | "memfd_create"
  | "openat"
  | "ppoll"
  | "read"
  | "readlinkat"
  | "sendmsg"
  | "setsockopt"
  | "socket"
  | "write";

type Code = readonly number[];

/** Machine encodes the vocabulary for one architecture. */
export interface Machine {
  /** `e_machine` of the executable. */
  readonly elf: number;
  readonly numbers: Readonly<Record<SystemCall, number>>;
  /** A number from 0 to 2³²-1, or negative as 32 bits. */
  set(to: Register, value: number): Code;
  move(to: Register, from: Register): Code;
  /** A number from -4095 to 4095. */
  add(to: Register, amount: Register | number): Code;
  subtract(to: Register, amount: Register): Code;
  load(bits: 8 | 64, to: Register, address: Register): Code;
  store(bits: 8 | 64, from: Register, address: Register): Code;
  /** A number from -4095 to 4095. */
  compare(left: Register, right: Register | number): Code;
  /** Distance from the instruction's first byte; without a condition always. */
  branch(distance: number, condition?: Condition): Code;
  /** Calls the system; arguments are in place. */
  trap(number: number): Code;
}

/** Address is where a piece of data will be. */
export interface Address {
  readonly label: string;
  readonly plusBytes: number;
}

/** at names the address of a piece of data. */
export const at = (label: string, plusBytes = 0): Address => ({ label, plusBytes });

type Value = Register | number | Address;

/** Assembler is the vocabulary that a program is written in. */
export interface Assembler {
  label(name: string): void;
  set(to: Register, value: Value): void;
  add(to: Register, amount: Register | number): void;
  subtract(to: Register, amount: Register): void;
  load8(to: Register, address: Register): void;
  load64(to: Register, address: Register): void;
  store8(from: Register, address: Register): void;
  store64(from: Register, address: Register): void;
  /** when goes to the label if the comparison holds. */
  when(left: Register, condition: Condition, right: Register | number, label: string): void;
  jump(label: string): void;
  /** call calls the system; arguments are set from left to right, so none may be an `a` register. */
  call(name: SystemCall, ...args: Value[]): void;
  /** bytes places data that the program may change. */
  bytes(name: string, content: Uint8Array | string): void;
  /** words places 64-bit numbers and addresses. */
  words(name: string, content: readonly (number | Address)[]): void;
  /** room reserves zeroed memory that takes no space in the file. */
  room(name: string, length: number): void;
}

/** Origins are the addresses at which the parts will be mapped. */
export interface Origins {
  readonly code: number;
  readonly data: number;
  readonly room: number;
}

/** Image is a program as bytes. */
export interface Image {
  readonly code: Uint8Array;
  readonly data: Uint8Array;
  /** Zeroed memory behind the data. */
  readonly roomBytes: number;
}

/** assemble encodes a program; `place` says where parts of such sizes go. */
export function assemble(
  machine: Machine,
  program: (assembler: Assembler) => void,
  place: (sizes: Image) => Origins,
): Image {
  const first = pass(machine, program, { code: 0, data: 0, room: 0 });
  return pass(machine, program, place(first), first.labels);
}

type Labels = ReadonlyMap<string, readonly [part: keyof Origins, offset: number]>;

function pass(
  machine: Machine,
  program: (assembler: Assembler) => void,
  origins: Origins,
  known?: Labels,
): Image & { labels: Labels } {
  const labels = new Map<string, readonly [keyof Origins, number]>();
  const code: number[] = [];
  const data: number[] = [];
  let roomBytes = 0;

  const here = () => origins.code + code.length;
  const addressOf = (name: string): number => {
    const found = known?.get(name);
    if (found !== undefined) return origins[found[0]] + found[1];
    if (known !== undefined) throw new Error(`Cannot assemble: there is no label ${name}`);
    return here();
  };
  const define = (name: string, part: keyof Origins, offset: number): void => {
    if (labels.has(name)) throw new Error(`Cannot assemble: label ${name} is there twice`);
    labels.set(name, [part, offset]);
  };
  const set = (to: Register, value: Value): void => {
    if (typeof value === "string") code.push(...machine.move(to, value));
    else
      code.push(
        ...machine.set(to, typeof value === "number" ? value : addressOf(value.label) + value.plusBytes),
      );
  };
  const place = (name: string, content: ArrayLike<number>): void => {
    while (data.length % 8 !== 0) data.push(0);
    define(name, "data", data.length);
    data.push(...Array.from(content));
  };

  program({
    label: (name) => define(name, "code", code.length),
    set,
    add: (to, amount) => void code.push(...machine.add(to, amount)),
    subtract: (to, amount) => void code.push(...machine.subtract(to, amount)),
    load8: (to, address) => void code.push(...machine.load(8, to, address)),
    load64: (to, address) => void code.push(...machine.load(64, to, address)),
    store8: (from, address) => void code.push(...machine.store(8, from, address)),
    store64: (from, address) => void code.push(...machine.store(64, from, address)),
    when(left, condition, right, label) {
      code.push(...machine.compare(left, right));
      code.push(...machine.branch(addressOf(label) - here(), condition));
    },
    jump: (label) => void code.push(...machine.branch(addressOf(label) - here())),
    call(name, ...args) {
      for (const [index, value] of args.entries()) set(`a${index + 1}` as Register, value);
      code.push(...machine.trap(machine.numbers[name]));
    },
    bytes: (name, content) =>
      place(name, typeof content === "string" ? new TextEncoder().encode(content) : content),
    words(name, content) {
      const values = content.map((word) =>
        BigInt(typeof word === "number" ? word : addressOf(word.label) + word.plusBytes),
      );
      place(name, new Uint8Array(new BigUint64Array(values).buffer));
    },
    room(name, length) {
      define(name, "room", roomBytes);
      roomBytes += length;
    },
  });
  return { code: Uint8Array.from(code), data: Uint8Array.from(data), roomBytes, labels };
}
