/**
 * How fast this machine is beside the one on which Vita and the prototype were measured, whose figures are constants here: a system call, and the AEAD
 * alone. Where a figure of Vita's is mostly the kernel's work the first says what it would be here, else the others.
 */
import { dlopen, FFIType } from "bun:ffi";
import { AEAD_BATCH, AeadBatch, Arena } from "../../src/sys/mod.ts";
import { chooseAead } from "../../src/tunnel/path/mod.ts";
import { ipsecMbFolders } from "../../test/support/ipsec-mb.ts";
import { compare, type Row } from "../measure.ts";

const KEY_BYTES = 16;
const TEXT_STRIDE = 2048;
const CALLS = 20_000;
const BATCHES = 400;

/** MACHINE_CASES are the rows, with that machine's nanoseconds: a call of the kernel that does nothing, and AES-128-GCM of a text of so many bytes. */
export const MACHINE_CASES = {
  "machine-syscall": { theirs: 88 },
  "machine-aead-64": { textBytes: 64, theirs: 18 },
  "machine-aead-1400": { textBytes: 1400, theirs: 100 },
} as const;
/** MachineName is one of them. */
export type MachineName = keyof typeof MACHINE_CASES;

const { symbols } = dlopen("libc.so.6", { getppid: { args: [], returns: FFIType.i32 } });

/** Nanoseconds of this thread's processor for each of `count` things. */
function nanoseconds(count: number, work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / count;
}

function syscall(): number {
  return nanoseconds(CALLS, () => {
    for (let i = 0; i < CALLS; i++) symbols.getppid();
  });
}

function sealing(textBytes: number): () => number {
  const arena = new Arena({ bytes: AEAD_BATCH * TEXT_STRIDE + (8 << 20) });
  const { provider } = chooseAead(arena, { folders: ipsecMbFolders() });
  const key = provider.key("aes-128-gcm", new Uint8Array(KEY_BYTES).fill(1), "seal");
  const batch = new AeadBatch(arena, "seal");
  const at = arena.allocate(AEAD_BATCH * TEXT_STRIDE);
  for (let i = 0; i < AEAD_BATCH; i++) batch.add(at + i * TEXT_STRIDE, textBytes);
  return () =>
    nanoseconds(BATCHES * AEAD_BATCH, () => {
      for (let i = 0; i < BATCHES; i++) key.run(batch);
    });
}

/** measureMachine makes one row. */
export function measureMachine(name: MachineName, runs: number): Row {
  const about = MACHINE_CASES[name];
  return compare({
    case: name,
    unit: "ns",
    peer: "the machine of Vita's figures",
    runs,
    ours: "textBytes" in about ? sealing(about.textBytes) : syscall,
    theirs: () => about.theirs,
  });
}
