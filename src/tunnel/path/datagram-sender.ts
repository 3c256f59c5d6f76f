/**
 * Sending datagrams in batches: frames that follow each other to one peer, and are equally long, are one message that the kernel splits.
 *
 * ```
 * area:      | frame | frame | frame | short |   | frame | frame |   …          1 MiB
 * messages:  one: UDP_SEGMENT = length of a frame  another                      up to 64 by one sendmmsg(2)
 * ```
 * There is no queue behind the area: while the system takes nothing, there is no room for frames, and whoever makes them has to stop.
 */
import { type Arena, type DatagramSocket, sendMessages, SIZE } from "../../sys/mod.ts";
import type { FrameSink } from "./datagram-port.ts";
import { ENDPOINT } from "./endpoint-memory.ts";
import { CONTROL, CONTROL_HEADER, layControl, layData, layEndpoint } from "./message-header.ts";

const AREA = 1 << 20;
const MESSAGES = 64;
/** UDP_MAX_SEGMENTS of Linux before 6.9 (include/linux/udp.h). */
const MOST_SEGMENTS = 64;
/** What fits into one IPv4 packet; the limit holds for the sum. */
const MOST_BYTES = 65_507;
/** Room for our address and UDP_SEGMENT, whose data are two bytes in eight. */
const CONTROL_BYTES = 64;
const SEGMENT_BYTES = CONTROL_HEADER + 8;

const EPERM = 1;
const EIO = 5;
const EAGAIN = 11;
const EINTR = 4;
const EINVAL = 22;
const EMSGSIZE = 90;

/** DatagramSender is the frames that wait for one socket. */
export class DatagramSender implements FrameSink {
  /** Datagrams that were sent, and those that the system refused for good. */
  sent = 0;
  refused = 0;
  readonly #arena: Arena;
  readonly #socket: Pick<DatagramSocket, "fd" | "splits">;
  readonly #area: number;
  readonly #headers: number;
  readonly #vectors: number;
  readonly #controls: number;
  /** For sending the frames of one message one by one. */
  readonly #singles: number;
  readonly #singleVectors: number;
  readonly #endpoints = new Int32Array(MESSAGES);
  readonly #starts = new Int32Array(MESSAGES);
  readonly #sizes = new Int32Array(MESSAGES);
  readonly #counts = new Int32Array(MESSAGES);
  readonly #lengths = new Int32Array(MESSAGES);
  #messages = 0;
  #used = 0;
  /** Whether the last message takes no more frames. */
  #closed = true;
  #splits: boolean;
  /** Progress of `flush`: messages that are gone, and frames of the next one that went by themselves. */
  #gone = 0;
  #goneSingles = 0;
  #single = false;

  constructor(arena: Arena, socket: Pick<DatagramSocket, "fd" | "splits">) {
    this.#arena = arena;
    this.#socket = socket;
    this.#splits = socket.splits;
    this.#area = arena.allocate(AREA);
    this.#headers = arena.allocate(MESSAGES * SIZE.mmsghdr);
    this.#vectors = arena.allocate(MESSAGES * SIZE.iovec);
    this.#controls = arena.allocate(MESSAGES * CONTROL_BYTES);
    this.#singles = arena.allocate(MOST_SEGMENTS * SIZE.mmsghdr);
    this.#singleVectors = arena.allocate(MOST_SEGMENTS * SIZE.iovec);
  }

  /** Then wait until the socket can be written to. */
  blocked = false;

  frame(endpoint: number, bytes: number): number {
    if (!(bytes > 0 && bytes <= MOST_BYTES))
      throw new RangeError(`A datagram of ${bytes} bytes cannot be sent`);
    if (this.blocked || this.#used + bytes > AREA) return 0;
    const at = this.#area + this.#used;
    if (!this.#append(endpoint, bytes)) {
      if (this.#messages === MESSAGES) return 0;
      const message = this.#messages++;
      this.#endpoints[message] = endpoint;
      this.#starts[message] = at;
      this.#sizes[message] = bytes;
      this.#counts[message] = 1;
      this.#lengths[message] = bytes;
      this.#closed = !this.#splits;
    }
    this.#used += bytes;
    return at;
  }

  /** Adds to the last message, if it can take the frame. */
  #append(endpoint: number, bytes: number): boolean {
    const last = this.#messages - 1;
    if (this.#closed || this.#endpoints[last] !== endpoint) return false;
    const size = this.#sizes[last] as number;
    const length = (this.#lengths[last] as number) + bytes;
    const count = (this.#counts[last] as number) + 1;
    if (bytes > size || length > MOST_BYTES) return false;
    this.#lengths[last] = length;
    this.#counts[last] = count;
    // Only the last frame of a message may be shorter.
    this.#closed = bytes < size || count === MOST_SEGMENTS;
    return true;
  }

  flush(): boolean {
    if (this.#messages === 0) return true;
    if (!this.blocked) for (let i = 0; i < this.#messages; i++) this.#prepare(i);
    while (this.#gone < this.#messages) {
      const done = this.#single ? this.#sendSingles() : this.#sendMessages();
      if (done) continue;
      this.blocked = true;
      return false;
    }
    this.#messages = 0;
    this.#used = 0;
    this.#gone = 0;
    this.#closed = true;
    this.blocked = false;
    return true;
  }

  /** Sends what it can; false when the system is full. */
  #sendMessages(): boolean {
    const first = this.#headers + this.#gone * SIZE.mmsghdr;
    const result = sendMessages(this.#socket.fd.number, this.#arena, first, this.#messages - this.#gone);
    if (result > 0) {
      for (let i = 0; i < result; i++) this.sent += this.#counts[this.#gone + i] as number;
      this.#gone += result;
      return true;
    }
    if (result === -EINTR) return true;
    if (result === -EAGAIN || result === 0) return false;
    this.#refuse(-result);
    return true;
  }

  /** Deals with an error of the first message: mends it, or drops it. */
  #refuse(errno: number): void {
    const message = this.#gone;
    const count = this.#counts[message] as number;
    if (count > 1 && (errno === EIO || errno === EINVAL || errno === EMSGSIZE)) {
      // EIO: the device cannot split (no checksum offload); the others: a frame is longer than the path's MTU, and has to be fragmented.
      if (errno === EIO) this.#splits = false;
      this.#single = true;
    } else if (this.#forgetLocal(errno)) {
      for (let i = message; i < this.#messages; i++) this.#prepare(i);
    } else {
      this.refused += count;
      this.#gone++;
    }
  }

  /** If the address that the peer spoke to may be ours no more, lets the system choose from now on; false if that was not it. */
  #forgetLocal(errno: number): boolean {
    // Kernels tell it as EINVAL, ENETUNREACH or EADDRNOTAVAIL.
    if (errno === EIO || errno === EMSGSIZE || errno === EPERM) return false;
    const place = (this.#endpoints[this.#gone] as number) + ENDPOINT.controlBytes;
    if (this.#arena.view.getInt32(place, true) === 0) return false;
    this.#arena.view.setInt32(place, 0, true);
    return true;
  }

  #sendSingles(): boolean {
    const arena = this.#arena;
    const message = this.#gone;
    const count = this.#counts[message] as number;
    const size = this.#sizes[message] as number;
    const length = this.#lengths[message] as number;
    const left = count - this.#goneSingles;
    for (let i = 0; i < left; i++) {
      const offset = (this.#goneSingles + i) * size;
      const header = this.#singles + i * SIZE.mmsghdr;
      const at = (this.#starts[message] as number) + offset;
      layData(arena, header, this.#singleVectors + i * SIZE.iovec, at, Math.min(size, length - offset));
      layEndpoint(arena, header, this.#endpoints[message] as number);
    }
    const result = sendMessages(this.#socket.fd.number, arena, this.#singles, left);
    if (result === -EAGAIN || result === 0) return false;
    if (result > 0) {
      this.sent += result;
      this.#goneSingles += result;
    } else if (result !== -EINTR && !this.#forgetLocal(-result)) {
      this.refused++;
      this.#goneSingles++;
    }
    if (this.#goneSingles >= count) {
      this.#goneSingles = 0;
      this.#single = false;
      this.#gone++;
    }
    return true;
  }

  /** Lays out a message's header. */
  #prepare(message: number): void {
    const arena = this.#arena;
    const header = this.#headers + message * SIZE.mmsghdr;
    const vector = this.#vectors + message * SIZE.iovec;
    layData(arena, header, vector, this.#starts[message] as number, this.#lengths[message] as number);
    const endpoint = this.#endpoints[message] as number;
    const local = layEndpoint(arena, header, endpoint);
    if (this.#counts[message] === 1) return;
    const { u8, view } = arena;
    const control = this.#controls + message * CONTROL_BYTES;
    u8.copyWithin(control, endpoint + ENDPOINT.control, endpoint + ENDPOINT.control + local);
    const at = control + local;
    view.setInt32(at, CONTROL_HEADER + 2, true);
    view.setInt32(at + 4, 0, true);
    view.setInt32(at + 8, CONTROL.udp, true);
    view.setInt32(at + 12, CONTROL.udpSegment, true);
    view.setUint16(at + CONTROL_HEADER, this.#sizes[message] as number, true);
    layControl(arena, header, control, local + SEGMENT_BYTES);
  }
}
