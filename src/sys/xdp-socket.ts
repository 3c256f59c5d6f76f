/**
 * AF_XDP sockets: frames of one queue of one interface, in memory of this process (Documentation/networking/af_xdp.rst).
 *
 * ```
 * UMEM (pages of an arena):  | frame 0 | frame 1 | …                 all sockets that share it may use every frame
 * fill ─▶ kernel ─▶ receive       transmit ─▶ kernel ─▶ completion   four rings, memory of the kernel (xdp-ring.ts)
 * ```
 * The mapped rings keep the socket alive, and its queue taken: `close` unmaps them. Numbers: include/uapi/linux/if_xdp.h.
 */
import { dlopen, FFIType, type Pointer, read, toArrayBuffer } from "bun:ffi";
import type { Arena } from "./arena.ts";
import { pause } from "./clock.ts";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import * as libc from "./libc.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";
import { ConsumerRing, ProducerRing, ringBytes, type RingPlace } from "./xdp-ring.ts";
import { xdpFailure } from "./xdp-unavailable.ts";

const AF_XDP = 44;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SOL_XDP = 283;
const MMAP_OFFSETS = 1;
const RX_RING = 2;
const TX_RING = 3;
const UMEM_REG = 4;
const FILL_RING = 5;
const COMPLETION_RING = 6;
const STATISTICS = 7;

const SHARED_UMEM = 1 << 0;
const COPY = 1 << 1;
const ZEROCOPY = 1 << 2;
const USE_NEED_WAKEUP = 1 << 3;

const OFFSET = { receive: 0, transmit: 0x8000_0000, fill: 0x1_0000_0000, completion: 0x1_8000_0000 } as const;

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const MSG_DONTWAIT = 0x40;
const EINTR = 4;
/** In copy mode what is sent is charged to the socket until the driver has let go of it: enough for a ring of frames. */
const SEND_BUFFER_BYTES = 8 << 20;

/** How often, and after which time, a queue is asked for that is taken. */
const MOST_TRIES = 50;
const RETRY_MS = 5;

const { i32, ptr, i64_fast, u64_fast } = FFIType;
const load = () =>
  dlopen("libc.so.6", {
    __errno_location: { args: [], returns: ptr },
    mmap: { args: [ptr, u64_fast, i32, i32, i32, i64_fast], returns: ptr },
    munmap: { args: [ptr, u64_fast], returns: i32 },
    sendto: { args: [i32, ptr, u64_fast, i32, ptr, i32], returns: i64_fast },
    recvfrom: { args: [i32, ptr, u64_fast, i32, ptr, ptr], returns: i64_fast },
  }).symbols;
let loaded: ReturnType<typeof load> | undefined;
let errnoAddress = 0 as Pointer;

function calls(): ReturnType<typeof load> {
  if (loaded === undefined) {
    loaded = load();
    errnoAddress = loaded.__errno_location() as Pointer;
  }
  return loaded;
}

/** UmemArea is the memory of the frames: pages of an arena, in frames of 2048 or 4096 bytes. */
export interface UmemArea {
  readonly arena: Arena;
  /** Where the frames begin: from `allocatePages`. */
  readonly at: number;
  readonly frames: number;
  readonly frameBytes: 2048 | 4096;
  /** Bytes that stay free before what is received, besides the kernel's 256. */
  readonly headroomBytes: number;
}

/** XdpSocketOptions say which queue, and how. */
export interface XdpSocketOptions {
  readonly ifindex: number;
  readonly queue: number;
  readonly netns?: Netns;
  readonly umem: UmemArea;
  /** A socket whose UMEM this one uses too: of another interface or queue, and with the same way of copying. */
  readonly share?: XdpSocket;
  /** Entries of the rings: powers of two. */
  readonly fill: number;
  readonly completion: number;
  readonly receive: number;
  readonly transmit: number;
  /** Whether to try without a copy first; false for an interface whose program is generic. */
  readonly zeroCopy: boolean;
  /** Whether the kernel may sleep until it is called (XDP_USE_NEED_WAKEUP); default true. */
  readonly needWakeup?: boolean;
}

/** XdpStatistics are the kernel's counters of one socket (struct xdp_statistics). */
export interface XdpStatistics {
  readonly receiveDropped: number;
  readonly receiveInvalid: number;
  readonly transmitInvalid: number;
  readonly receiveRingFull: number;
  readonly fillRingEmpty: number;
  readonly transmitRingEmpty: number;
}

/** XdpSocket owns a socket and the mapping of its rings. */
export class XdpSocket implements Disposable {
  readonly fd: Fd;
  readonly ifindex: number;
  readonly queue: number;
  /** Whether frames go to and from the hardware without a copy, and if not, the error that the attempt met. */
  readonly zeroCopy: boolean;
  readonly zeroCopyError: string | undefined;
  readonly fill: ProducerRing;
  readonly completion: ConsumerRing;
  readonly receive: ConsumerRing;
  readonly transmit: ProducerRing;
  readonly #mappings: { readonly address: Pointer; readonly bytes: number }[] = [];

  private constructor(fd: Fd, options: XdpSocketOptions) {
    this.fd = fd;
    this.ifindex = options.ifindex;
    this.queue = options.queue;
    try {
      if (options.share === undefined) register(fd.number, options.umem);
      const set = (option: number, entries: number) => libc.setsockopt(fd.number, SOL_XDP, option, entries);
      set(FILL_RING, options.fill);
      set(COMPLETION_RING, options.completion);
      set(RX_RING, options.receive);
      set(TX_RING, options.transmit);
      raiseSendBuffer(fd.number);
      const places = ringPlaces(fd.number, options);
      // Before binding: afterwards the kernel maps nothing (net/xdp/xsk.c, xsk_mmap).
      this.fill = new ProducerRing(this.#map(places.fill, OFFSET.fill), places.fill);
      this.completion = new ConsumerRing(this.#map(places.completion, OFFSET.completion), places.completion);
      this.receive = new ConsumerRing(this.#map(places.receive, OFFSET.receive), places.receive);
      this.transmit = new ProducerRing(this.#map(places.transmit, OFFSET.transmit), places.transmit);
      const bound = bindTo(fd.number, options);
      this.zeroCopy = bound.zeroCopy;
      this.zeroCopyError = bound.error;
    } catch (error) {
      this.#unmap();
      throw error;
    }
  }

  /**
   * open makes a socket and binds it; attach a program first, and put the socket into its map afterwards (bpf.ts). Throws XdpUnavailable where
   * the kernel or the interface has no AF_XDP.
   */
  static open(options: XdpSocketOptions): XdpSocket {
    const make = () => new Fd(libc.socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "AF_XDP socket");
    let fd: Fd | undefined;
    try {
      fd = options.netns === undefined ? make() : options.netns.run(make);
      return new XdpSocket(fd, options);
    } catch (error) {
      fd?.close();
      throw hasNoSuchQueue(error) ? error : xdpFailure(error);
    }
  }

  #map(place: RingPlace, offset: number): ArrayBuffer {
    const bytes = ringBytes(place);
    const { mmap } = calls();
    const address = mmap(null, bytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, this.fd.number, offset);
    // MAP_FAILED is -1, which arrives as the greatest number.
    if (address === null || Number(address) > 2 ** 48)
      throw new SystemError("map AF_XDP ring", read.i32(errnoAddress, 0));
    this.#mappings.push({ address: address as Pointer, bytes });
    return toArrayBuffer(address as Pointer, 0, bytes);
  }

  #unmap(): void {
    for (const { address, bytes } of this.#mappings.splice(0)) calls().munmap(address, bytes);
  }

  /** wakeTransmit makes the kernel send what was submitted, in copy mode some at a time: 0, or a negative error number. */
  wakeTransmit(): number {
    const { sendto } = calls();
    return outcome(Number(sendto(this.fd.number, null, 0, MSG_DONTWAIT, null, 0)));
  }

  /** wakeReceive makes a driver that ran out of frames look into the fill ring: 0, or a negative error number. */
  wakeReceive(): number {
    const { recvfrom } = calls();
    return outcome(Number(recvfrom(this.fd.number, null, 0, MSG_DONTWAIT, null, null)));
  }

  /** statistics asks for the kernel's counters; before Linux 5.9 the last three are 0. */
  statistics(): XdpStatistics {
    const bytes = libc.getsockopt(this.fd.number, SOL_XDP, STATISTICS, 48);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const count = (index: number) =>
      8 * index < bytes.length ? Number(view.getBigUint64(8 * index, true)) : 0;
    return {
      receiveDropped: count(0),
      receiveInvalid: count(1),
      transmitInvalid: count(2),
      receiveRingFull: count(3),
      fillRingEmpty: count(4),
      transmitRingEmpty: count(5),
    };
  }

  close(): void {
    if (this.fd.closed) return;
    for (const ring of [this.fill, this.completion, this.receive, this.transmit]) ring.forget();
    this.#unmap();
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function outcome(result: number): number {
  if (result >= 0) return 0;
  const errno = read.i32(errnoAddress, 0);
  return errno === EINTR ? 0 : -errno;
}

/** What binding says of a queue that the interface has not. */
function hasNoSuchQueue(error: unknown): boolean {
  return error instanceof Error && isErrno(error.cause, "EINVAL");
}

/** Registers the memory of the frames: the kernel pins its pages until the last socket that uses it is closed. */
function register(fd: number, umem: UmemArea): void {
  const { arena, at, frames, frameBytes, headroomBytes } = umem;
  // struct xdp_umem_reg: address, length, chunk size, headroom, flags.
  const request = stable(32);
  const view = new DataView(request.buffer);
  view.setBigUint64(0, BigInt(arena.address(at, frames * frameBytes)), true);
  view.setBigUint64(8, BigInt(frames * frameBytes), true);
  view.setUint32(16, frameBytes, true);
  view.setUint32(20, headroomBytes, true);
  try {
    libc.setsockopt(fd, SOL_XDP, UMEM_REG, request);
  } catch (error) {
    if (isErrno(error, "ENOBUFS"))
      throw new Error(
        `Cannot register ${frames} frames of ${frameBytes} bytes as UMEM: more than RLIMIT_MEMLOCK allows; raise it (LimitMEMLOCK=), or grant CAP_IPC_LOCK`,
        { cause: error },
      );
    throw error;
  }
}

/** Without the right for it the limit of the system stays: then fewer frames are on their way at a time. */
function raiseSendBuffer(fd: number): void {
  try {
    libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
  } catch (error) {
    if (!isErrno(error, "EPERM")) throw error;
  }
}

/** Asks where the parts of the rings are (struct xdp_mmap_offsets, Linux 5.4). */
function ringPlaces(fd: number, options: XdpSocketOptions): Record<keyof typeof OFFSET, RingPlace> {
  const bytes = libc.getsockopt(fd, SOL_XDP, MMAP_OFFSETS, 128);
  if (bytes.length !== 128)
    throw new Error("Cannot use AF_XDP: this kernel's rings have no flags; Linux 5.4 or later is needed");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const place = (index: number, entries: number, entryBytes: 8 | 16): RingPlace => {
    const field = (number: number) => Number(view.getBigUint64(32 * index + 8 * number, true));
    return {
      entries,
      entryBytes,
      producer: field(0),
      consumer: field(1),
      entry: field(2),
      flags: field(3),
    };
  };
  return {
    receive: place(0, options.receive, 16),
    transmit: place(1, options.transmit, 16),
    fill: place(2, options.fill, 8),
    completion: place(3, options.completion, 8),
  };
}

/** Binds, without a copy if that is wanted and goes. */
function bindTo(
  fd: number,
  options: XdpSocketOptions,
): { readonly zeroCopy: boolean; readonly error?: string } {
  const { ifindex, queue, share } = options;
  const attempt = (flags: number) => {
    // struct sockaddr_xdp: family, flags, interface, queue, descriptor of the socket whose UMEM is used.
    const address = stable(16);
    const view = new DataView(address.buffer);
    view.setUint16(0, AF_XDP, true);
    view.setUint16(2, flags, true);
    view.setUint32(4, ifindex, true);
    view.setUint32(8, queue, true);
    view.setUint32(12, share === undefined ? 0 : share.fd.number, true);
    for (let tries = 1; ; tries++)
      try {
        libc.bind(fd, address);
        return;
      } catch (error) {
        // A socket that was closed gives its queue back a moment later, by a worker of the kernel (xp_put_pool of net/xdp/xsk_buff_pool.c).
        if (!isErrno(error, "EBUSY") || tries === MOST_TRIES) throw error;
        pause(RETRY_MS);
      }
  };
  try {
    if (share !== undefined) {
      // The first socket's flags count; others may not say any (xsk_bind).
      attempt(SHARED_UMEM);
      return { zeroCopy: share.zeroCopy };
    }
    const wakeup = options.needWakeup === false ? 0 : USE_NEED_WAKEUP;
    if (!options.zeroCopy) {
      attempt(COPY | wakeup);
      return { zeroCopy: false };
    }
    try {
      attempt(ZEROCOPY | wakeup);
      return { zeroCopy: true };
    } catch (error) {
      if (!(error instanceof SystemError) || isErrno(error, "EBUSY", "ENODEV", "EPERM")) throw error;
      attempt(COPY | wakeup);
      return { zeroCopy: false, error: error.code };
    }
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    const fix = isErrno(error, "EBUSY")
      ? "another socket has it"
      : isErrno(error, "EINVAL")
        ? "the interface may have fewer queues"
        : error.message;
    throw new Error(`Cannot bind an AF_XDP socket to queue ${queue} of interface ${ifindex}: ${fix}`, {
      cause: error,
    });
  }
}
