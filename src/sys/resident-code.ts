/**
 * The pages of the executable and of libraries that this process has in its memory: dropped now and then, so that what the start needed does
 * not stay resident for ever.
 *
 * A page of a file's private mapping that was never written is the page cache's own. MADV_DONTNEED takes it out of this process's page table,
 * and whoever touches it again gets it back from the page cache, or from the file (madvise(2); zap_page_range_single and do_fault of
 * mm/memory.c). A written page would come back as it was in the file, so a mapping that has one, or that may get one, is left alone.
 */
import { dlopen, FFIType, type Pointer } from "bun:ffi";
import { readFileSync } from "node:fs";

const MADV_DONTNEED = 4;

/** A line of smaps (proc_pid_smaps(5)) that begins a mapping: from, to, rights, offset, device, inode, path. */
const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) */;
/** Files, privately mapped, that cannot be written to. */
const READ_ONLY = /^r-[x-]p$/;

const load = () =>
  dlopen("libc.so.6", {
    madvise: { args: [FFIType.ptr, FFIType.u64_fast, FFIType.i32], returns: FFIType.i32 },
  }).symbols;

interface Range {
  readonly from: number;
  readonly bytes: number;
}

/**
 * ResidentCode drops them: `afterMs` after the start, and after work that was done since the last time. So a process that does nothing holds
 * next to none and is not woken, and one that works holds what it worked with.
 */
export class ResidentCode {
  readonly #afterMs: number;
  readonly #ranges: readonly Range[];
  readonly #libc = load();
  #dueMs: number | undefined;

  /** To be made when all libraries are loaded: relocating one writes to pages that are read-only afterwards. */
  constructor(options: { readonly afterMs: number }) {
    this.#afterMs = options.afterMs;
    this.#ranges = droppable(readFileSync("/proc/self/smaps", "latin1"));
  }

  /** waitMs is for each turn of a loop, before it waits up to `waitMs` (-1: for ever): it drops what is due, and returns how long to wait. */
  waitMs(nowMs: number, waitMs: number): number {
    // Whatever ends the wait that follows a drop is work.
    this.#dueMs ??= nowMs + this.#afterMs;
    const leftMs = Math.ceil(this.#dueMs - nowMs);
    if (leftMs > 0) return waitMs < 0 ? leftMs : Math.min(leftMs, waitMs);
    this.#dueMs = undefined;
    // An error would mean that nothing was dropped, which is no harm.
    for (const { from, bytes } of this.#ranges) this.#libc.madvise(from as Pointer, bytes, MADV_DONTNEED);
    return waitMs;
  }
}

/** droppable reads smaps: mappings of files, read-only, without a page that this process has written. */
export function droppable(smaps: string): Range[] {
  const ranges: Range[] = [];
  let range: Range | undefined;
  for (const line of smaps.split("\n")) {
    const [, from, to, rights = "", inode] = MAPPING.exec(line) ?? [];
    if (from !== undefined && to !== undefined) {
      const first = Number.parseInt(from, 16);
      const file = READ_ONLY.test(rights) && inode !== "0";
      range = file ? { from: first, bytes: Number.parseInt(to, 16) - first } : undefined;
    } else if (range !== undefined && /^Private_Dirty: +0 kB/.test(line)) ranges.push(range);
  }
  return ranges;
}
