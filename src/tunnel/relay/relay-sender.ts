/**
 * Sending on what was received, from where it lies: datagrams to one endpoint that follow each other, and are equally long but for the last, are one
 * message that the kernel splits (UDP_SEGMENT), from any number of places.
 *
 * ```
 *   received:   | d0 | d1 | d2 |     | d3 |     | d4 | d5 short |
 *   message:    iovec 0 ─────┘  iovec 1 ┘  iovec 2 ──┘             at most 64 datagrams
 * ```
 * It is no queue: what the system does not take at once is dropped, as by any router whose line is full.
 */
import { type Arena, type DatagramSocket, sendMessages, SIZE, storePart } from "../../sys/mod.ts";
import { ENDPOINT } from "../path/endpoint-memory.ts";
import {
  CONTROL,
  CONTROL_HEADER,
  layControl,
  layData,
  layEndpoint,
  MESSAGE_HEADER,
} from "../path/message-header.ts";

const MESSAGES = 64;
/** Of all messages; MOST_PARTS of one sendmsg(2) are more. */
const PARTS = 1024;
/** UDP_MAX_SEGMENTS of Linux before 6.9 (include/linux/udp.h). */
const MOST_SEGMENTS = 64;
/** What fits into one IPv4 packet; the limit holds for the sum. */
const MOST_BYTES = 65_507;
/** Room for our address and UDP_SEGMENT. */
const CONTROL_BYTES = 64;
const SEGMENT_BYTES = CONTROL_HEADER + 8;

const EPERM = 1;
const EINTR = 4;
const EIO = 5;
const EAGAIN = 11;
const EINVAL = 22;
const EMSGSIZE = 90;

/** RelaySender sends by one socket. */
export class RelaySender {
  /** Datagrams and their bytes that were sent, those that there was no room for, and those that the system refused for good. */
  sent = 0;
  sentBytes = 0;
  blocked = 0;
  refused = 0;
  readonly #arena: Arena;
  readonly #socket: Pick<DatagramSocket, "fd" | "splits">;
  readonly #headers: number;
  readonly #vectors: number;
  readonly #controls: number;
  readonly #single: number;
  readonly #singleVector: number;
  readonly #endpoints = new Int32Array(MESSAGES);
  readonly #sizes = new Int32Array(MESSAGES);
  readonly #counts = new Int32Array(MESSAGES);
  readonly #lengths = new Int32Array(MESSAGES);
  readonly #firstParts = new Int32Array(MESSAGES + 1);
  readonly #partAt = new Int32Array(PARTS);
  readonly #partBytes = new Int32Array(PARTS);
  #messages = 0;
  #parts = 0;
  /** Whether the last message takes no more. */
  #closed = true;
  #splits: boolean;

  constructor(arena: Arena, socket: Pick<DatagramSocket, "fd" | "splits">) {
    this.#arena = arena;
    this.#socket = socket;
    this.#splits = socket.splits;
    this.#headers = arena.allocate(MESSAGES * SIZE.mmsghdr);
    this.#vectors = arena.allocate(PARTS * SIZE.iovec);
    this.#controls = arena.allocate(MESSAGES * CONTROL_BYTES);
    this.#single = arena.allocate(SIZE.mmsghdr);
    this.#singleVector = arena.allocate(SIZE.iovec);
  }

  /** add takes one datagram for the endpoint whose memory is at `endpoint`. Both stay as they are until `flush`. */
  add(endpoint: number, at: number, bytes: number): void {
    if (this.#append(endpoint, at, bytes)) return;
    if (this.#messages === MESSAGES || this.#parts === PARTS) this.flush();
    const message = this.#messages++;
    this.#endpoints[message] = endpoint;
    this.#sizes[message] = bytes;
    this.#counts[message] = 1;
    this.#lengths[message] = bytes;
    this.#firstParts[message] = this.#parts;
    this.#part(at, bytes);
    this.#closed = !this.#splits;
  }

  #part(at: number, bytes: number): void {
    this.#partAt[this.#parts] = at;
    this.#partBytes[this.#parts] = bytes;
    this.#firstParts[this.#messages] = ++this.#parts;
  }

  /** Adds to the last message, if it can take the datagram. */
  #append(endpoint: number, at: number, bytes: number): boolean {
    const last = this.#messages - 1;
    if (this.#closed || this.#endpoints[last] !== endpoint) return false;
    const size = this.#sizes[last] as number;
    const length = (this.#lengths[last] as number) + bytes;
    const count = (this.#counts[last] as number) + 1;
    if (bytes > size || length > MOST_BYTES) return false;
    const part = this.#parts - 1;
    const end = (this.#partAt[part] as number) + (this.#partBytes[part] as number);
    if (end === at) this.#partBytes[part] = (this.#partBytes[part] as number) + bytes;
    else if (this.#parts === PARTS) return false;
    else this.#part(at, bytes);
    this.#lengths[last] = length;
    this.#counts[last] = count;
    // Only the last one may be shorter.
    this.#closed = bytes < size || count === MOST_SEGMENTS;
    return true;
  }

  /** flush sends everything, or drops it. */
  flush(): void {
    if (this.#messages === 0) return;
    for (let i = 0; i < this.#messages; i++) this.#prepare(i);
    for (let gone = 0; gone < this.#messages;) gone = this.#send(gone);
    this.#messages = 0;
    this.#parts = 0;
    this.#firstParts[0] = 0;
    this.#closed = true;
  }

  /** Sends from one message on, and returns the first that is left. */
  #send(first: number): number {
    const header = this.#headers + first * SIZE.mmsghdr;
    const result = sendMessages(this.#socket.fd.number, this.#arena, header, this.#messages - first);
    if (result > 0) {
      for (let i = first; i < first + result; i++) {
        this.sent += this.#counts[i] as number;
        this.sentBytes += this.#lengths[i] as number;
      }
      return first + result;
    }
    if (result === -EINTR) return first;
    if (result === 0 || result === -EAGAIN) {
      for (let i = first; i < this.#messages; i++) this.blocked += this.#counts[i] as number;
      return this.#messages;
    }
    const errno = -result;
    const count = this.#counts[first] as number;
    if (count > 1 && (errno === EIO || errno === EINVAL || errno === EMSGSIZE)) {
      // EIO: the device cannot split; the others: a datagram is longer than the path's MTU, and has to be fragmented.
      if (errno === EIO) this.#splits = false;
      this.#sendSingly(first);
      return first + 1;
    }
    if (this.#forgetLocal(first, errno)) {
      for (let i = first; i < this.#messages; i++) this.#prepare(i);
      return first;
    }
    this.refused += count;
    return first + 1;
  }

  /** As datagram-sender.ts: the address that the node spoke to may be ours no more. */
  #forgetLocal(message: number, errno: number): boolean {
    if (errno === EIO || errno === EMSGSIZE || errno === EPERM) return false;
    const place = (this.#endpoints[message] as number) + ENDPOINT.controlBytes;
    if (this.#arena.view.getInt32(place, true) === 0) return false;
    this.#arena.view.setInt32(place, 0, true);
    return true;
  }

  #sendSingly(message: number): void {
    const arena = this.#arena;
    const size = this.#sizes[message] as number;
    layEndpoint(arena, this.#single, this.#endpoints[message] as number);
    for (
      let part = this.#firstParts[message] as number;
      part < (this.#firstParts[message + 1] as number);
      part++
    ) {
      const at = this.#partAt[part] as number;
      const bytes = this.#partBytes[part] as number;
      for (let from = 0; from < bytes; from += size) {
        layData(arena, this.#single, this.#singleVector, at + from, Math.min(size, bytes - from));
        const result = sendMessages(this.#socket.fd.number, arena, this.#single, 1);
        if (result > 0) {
          this.sent++;
          this.sentBytes += Math.min(size, bytes - from);
        } else if (result === -EAGAIN) this.blocked++;
        else this.refused++;
      }
    }
  }

  /** Lays out a message's header. */
  #prepare(message: number): void {
    const arena = this.#arena;
    const { u8, u32, view } = arena;
    const header = this.#headers + message * SIZE.mmsghdr;
    const first = this.#firstParts[message] as number;
    const end = this.#firstParts[message + 1] as number;
    for (let part = first; part < end; part++)
      storePart(
        arena,
        this.#vectors + part * SIZE.iovec,
        this.#partAt[part] as number,
        this.#partBytes[part] as number,
      );
    arena.storeAddress(
      header + MESSAGE_HEADER.vectors,
      this.#vectors + first * SIZE.iovec,
      (end - first) * SIZE.iovec,
    );
    u32[(header + MESSAGE_HEADER.vectorCount) >>> 2] = end - first;
    const endpoint = this.#endpoints[message] as number;
    const local = layEndpoint(arena, header, endpoint);
    if (this.#counts[message] === 1) return;
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
