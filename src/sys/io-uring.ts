/**
 * Sending in the background, by io_uring(7): the kernel runs the send in a thread of its own, so a request that it answers only after
 * a while (netlink works while `send` lasts) holds nobody up. No thread of ours, no memory for one.
 *
 * ```
 *   send ─▶ submission ring ─▶ io_uring_enter ─▶ kernel thread ─▶ completion ring ─▶ buffer released at the next look
 * ```
 * Layouts are those of include/uapi/linux/io_uring.h, Linux 5.6 and later. Some distributions and sandboxes switch io_uring off.
 */
import { dlopen, FFIType, type Pointer, toArrayBuffer } from "bun:ffi";
import type { Fd } from "./fd.ts";
import { close } from "./libc.ts";
import { addressOf, stable } from "./memory.ts";

const { i32, i64_fast, ptr, u64_fast } = FFIType;

/** The same numbers on all architectures (include/uapi/asm-generic/unistd.h). */
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const IORING_OFF_SQ_RING = 0;
const IORING_OFF_SQES = 0x10000000;
/** Both rings are one mapping. */
const IORING_FEAT_SINGLE_MMAP = 1;
/** Completions that find no room in their ring are kept by the kernel. */
const IORING_FEAT_NODROP = 2;
const IORING_OP_SEND = 26;
/** To a kernel thread at once, without a try in ours. */
const IOSQE_ASYNC = 16;
const MSG_NOSIGNAL = 0x4000;

const ENTRIES = 64;
const SQE_BYTES = 64;
const CQE_BYTES = 16;

/** Word numbers in `struct io_uring_params`: sizes, features, and where in the mapping the rings' parts are. */
const PARAMETERS = { words: 30, submissions: 0, completions: 1, features: 5 } as const;
const SQ = { head: 10, tail: 11, mask: 12, array: 16 } as const;
const CQ = { head: 20, tail: 21, mask: 22, entries: 25 } as const;

function load() {
  const word = i64_fast;
  return dlopen("libc.so.6", {
    syscall: { args: [word, word, word, word, word, word, word], returns: i64_fast },
    mmap: { args: [ptr, u64_fast, i32, i32, i32, i64_fast], returns: ptr },
  }).symbols;
}

/** Ticket stands for one send. */
export type Ticket = number & { readonly __ticket: unique symbol };

/** BackgroundSender is an io_uring. */
export class BackgroundSender {
  readonly #libc: ReturnType<typeof load>;
  readonly #fd: number;
  readonly #at: Uint32Array;
  /** Both rings, as 32-bit words. */
  readonly #rings: Uint32Array;
  readonly #entries: DataView;
  /** Buffers that the kernel may still read, by their number in `user_data`. */
  readonly #sending = new Map<number, Uint8Array<ArrayBuffer>>();
  #last = 0;

  private constructor(libc: ReturnType<typeof load>, fd: number, parameters: Uint32Array) {
    this.#libc = libc;
    this.#fd = fd;
    this.#at = parameters;
    const ringBytes = Math.max(
      this.#word(SQ.array) + this.#word(PARAMETERS.submissions) * 4,
      this.#word(CQ.entries) + this.#word(PARAMETERS.completions) * CQE_BYTES,
    );
    this.#rings = new Uint32Array(this.#map(ringBytes, IORING_OFF_SQ_RING));
    this.#entries = new DataView(this.#map(this.#word(PARAMETERS.submissions) * SQE_BYTES, IORING_OFF_SQES));
  }

  /** open returns undefined where the kernel has no io_uring for us. */
  static open(): BackgroundSender | undefined {
    const libc = load();
    const parameters = new Uint32Array(stable(PARAMETERS.words * 4).buffer);
    const address = addressOf(new Uint8Array(parameters.buffer));
    const fd = Number(libc.syscall(SYS_IO_URING_SETUP, ENTRIES, address, 0, 0, 0, 0));
    if (fd < 0) return undefined;
    const needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP;
    try {
      if (((parameters[PARAMETERS.features] ?? 0) & needed) === needed)
        return new BackgroundSender(libc, fd, parameters);
    } catch {
      // No memory for the rings: as good as no io_uring.
    }
    close(fd);
    return undefined;
  }

  #word(index: number): number {
    return this.#at[index] as number;
  }

  #map(length: number, offset: number): ArrayBuffer {
    const address = this.#libc.mmap(
      null,
      length,
      PROT_READ_WRITE,
      MAP_SHARED_POPULATE,
      this.#fd,
      offset,
    ) as Pointer | null;
    // MAP_FAILED is all ones.
    if (address === null || address < 0 || address > 2 ** 63) throw new Error("Cannot map an io_uring");
    // The mapping lives as long as the process, as its only sender does.
    return toArrayBuffer(address, 0, length);
  }

  /**
   * send hands a copy of bytes for a socket to the kernel and returns at once; undefined when the kernel does not take them now. The socket
   * must stay open until `isSent`: its number is looked up when the kernel's thread begins (io_uring/io_uring.c, io_assign_file). How the send
   * ended is not told: ask for its effect.
   */
  send(socket: Fd, data: Uint8Array): Ticket | undefined {
    this.#release();
    const rings = this.#rings;
    const tail = rings[this.#word(SQ.tail) / 4] as number;
    const index = tail & (rings[this.#word(SQ.mask) / 4] as number);
    const id = ++this.#last;
    const at = index * SQE_BYTES;
    const entry = this.#entries;
    for (let word = 0; word < SQE_BYTES; word += 8) entry.setBigUint64(at + word, 0n, true);
    entry.setUint8(at, IORING_OP_SEND);
    entry.setUint8(at + 1, IOSQE_ASYNC);
    entry.setInt32(at + 4, socket.number, true);
    const owned = stable(data.length);
    owned.set(data);
    entry.setBigUint64(at + 16, BigInt(addressOf(owned)), true);
    entry.setUint32(at + 24, owned.length, true);
    entry.setUint32(at + 28, MSG_NOSIGNAL, true);
    entry.setBigUint64(at + 32, BigInt(id), true);
    this.#sending.set(id, owned);
    rings[this.#word(SQ.array) / 4 + index] = index;
    Atomics.store(rings, this.#word(SQ.tail) / 4, (tail + 1) >>> 0);
    if (Number(this.#libc.syscall(SYS_IO_URING_ENTER, this.#fd, 1, 0, 0, 0, 0)) === 1) return id as Ticket;
    // Refused (EBUSY, EAGAIN): the entry is taken back, nobody has seen it.
    Atomics.store(rings, this.#word(SQ.tail) / 4, tail);
    this.#sending.delete(id);
    return undefined;
  }

  /** What was sent needs its buffer no more. */
  #release(): void {
    const rings = this.#rings;
    const completions = new DataView(rings.buffer);
    const mask = rings[this.#word(CQ.mask) / 4] as number;
    const tail = Atomics.load(rings, this.#word(CQ.tail) / 4);
    let head = rings[this.#word(CQ.head) / 4] as number;
    for (; head !== tail; head = (head + 1) >>> 0) {
      const at = this.#word(CQ.entries) + (head & mask) * CQE_BYTES;
      this.#sending.delete(Number(completions.getBigUint64(at, true)));
    }
    Atomics.store(rings, this.#word(CQ.head) / 4, head);
  }

  /** isSent tells whether a send has ended, well or not. */
  isSent(ticket: Ticket): boolean {
    this.#release();
    return !this.#sending.has(ticket);
  }
}

let shared: BackgroundSender | undefined;
let isAsked = false;

/** backgroundSender returns the process's sender, made at the first question; undefined where the kernel has no io_uring for us. */
export function backgroundSender(): BackgroundSender | undefined {
  if (!isAsked) shared = BackgroundSender.open();
  isAsked = true;
  return shared;
}
