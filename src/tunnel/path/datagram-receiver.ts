/**
 * Receiving datagrams in batches: up to 16 messages by one recvmmsg(2), each of up to 64 KiB that the kernel joined (UDP_GRO).
 *
 * ```
 * message:   | datagram 0 | datagram 1 | … | last, perhaps shorter |      all as long as `segmentBytes` says
 * ```
 * The messages stay in the arena until the next call. Nobody else bounds what is received: the queue is the socket's buffer.
 */
import { type Arena, receiveMessages, SIZE, SOCKET_ADDRESS } from "../../sys/mod.ts";
import type { MessageSource } from "./datagram-port.ts";
import { ENDPOINT, ENDPOINT_BYTES } from "./endpoint-memory.ts";
import { CONTROL, CONTROL_HEADER, layControl, layData, MESSAGE_HEADER } from "./message-header.ts";

/** Room for the longest UDP message, and for all control messages that are asked for. */
const BUFFER = 65_536;
const CONTROL_BYTES = 128;
const AF_INET = 2;
const SOCKADDR_IN = 16;
const MSG_TRUNC = 0x20;
const MSG_CTRUNC = 0x8;
/** Lengths of the control messages with our address: struct in_pktinfo, struct in6_pktinfo. */
const LOCAL_4 = CONTROL_HEADER + 12;
const LOCAL_6 = CONTROL_HEADER + 20;

/** DatagramReceiver is the memory that messages are received into. It serves any number of sockets, one after the other. */
export class DatagramReceiver implements MessageSource {
  readonly messages: number;
  /** Messages that were cut or whose control was: never, unless there is a bug or a new kind of control. */
  truncated = 0;
  readonly #arena: Arena;
  readonly #headers: number;
  readonly #at: Int32Array;
  readonly #names: Int32Array;
  readonly #controls: Int32Array;
  readonly #segments: Int32Array;
  readonly #locals: Int32Array;
  readonly #localBytes: Int32Array;
  /** Headers that the kernel has changed since they were prepared. */
  #used: number;

  constructor(arena: Arena, options: { readonly messages?: number } = {}) {
    this.messages = options.messages ?? 16;
    this.#arena = arena;
    const numbers = () => new Int32Array(this.messages);
    [this.#at, this.#names, this.#controls] = [numbers(), numbers(), numbers()];
    [this.#segments, this.#locals, this.#localBytes] = [numbers(), numbers(), numbers()];
    this.#headers = arena.allocate(this.messages * SIZE.mmsghdr);
    for (let i = 0; i < this.messages; i++) {
      const [name, control] = [arena.allocate(SOCKET_ADDRESS.bytes), arena.allocate(CONTROL_BYTES)];
      const [buffer, vector] = [arena.allocate(BUFFER), arena.allocate(SIZE.iovec)];
      [this.#names[i], this.#controls[i], this.#at[i]] = [name, control, buffer];
      const header = this.#headers + i * SIZE.mmsghdr;
      arena.storeAddress(header + MESSAGE_HEADER.name, name, SOCKET_ADDRESS.bytes);
      layData(arena, header, vector, buffer, BUFFER);
      layControl(arena, header, control, CONTROL_BYTES);
    }
    this.#used = this.messages;
  }

  /** receive brings what is there, without waiting: the number of messages, or a negative error number. */
  receive(fd: number): number {
    const { u32 } = this.#arena;
    for (let i = 0; i < this.#used; i++) {
      const header = (this.#headers + i * SIZE.mmsghdr) >>> 2;
      u32[header + MESSAGE_HEADER.nameBytes / 4] = SOCKET_ADDRESS.bytes;
      u32[header + MESSAGE_HEADER.controlBytes / 4] = CONTROL_BYTES;
      u32[header + MESSAGE_HEADER.flags / 4] = 0;
    }
    this.#used = 0;
    const count = receiveMessages(fd, this.#arena, this.#headers, this.messages);
    if (count < 0) return count;
    this.#used = count;
    for (let i = 0; i < count; i++) this.#readControl(i);
    return count;
  }

  /**
   * put makes a datagram that came by another way the only message, as if it had been received: `place` is the memory of the endpoint that it
   * came from (endpoint-memory.ts). Throws for one that is too long.
   */
  put(place: Uint8Array, datagram: Uint8Array): void {
    const arena = this.#arena;
    if (datagram.length > BUFFER || place.length !== ENDPOINT_BYTES)
      throw new RangeError(`A datagram of ${datagram.length} bytes from a place of ${place.length}`);
    arena.store(this.#names[0] as number, place.subarray(ENDPOINT.address, SOCKET_ADDRESS.bytes));
    const controlBytes = new DataView(place.buffer, place.byteOffset).getInt32(ENDPOINT.controlBytes, true);
    const control = place.subarray(ENDPOINT.control, ENDPOINT.control + controlBytes);
    arena.store(this.#controls[0] as number, control);
    arena.store(this.#at[0] as number, datagram);
    this.#locals[0] = this.#controls[0] as number;
    this.#localBytes[0] = control.length;
    this.#segments[0] = Math.max(1, datagram.length);
    arena.u32[(this.#headers + MESSAGE_HEADER.bytes) >>> 2] = datagram.length;
    this.#used = Math.max(1, this.#used);
  }

  at(index: number): number {
    return this.#at[index] as number;
  }

  bytes(index: number): number {
    if (this.#segments[index] === 0) return 0;
    return this.#arena.u32[(this.#headers + index * SIZE.mmsghdr + MESSAGE_HEADER.bytes) >>> 2] as number;
  }

  segmentBytes(index: number): number {
    return this.#segments[index] as number;
  }

  /** sourceAt is the offset of the `sockaddr` that it came from. */
  sourceAt(index: number): number {
    return this.#names[index] as number;
  }

  /** localAt is the offset of a control message with the address that it came to. */
  localAt(index: number): number {
    return this.#locals[index] as number;
  }

  /** localBytes is the length of that; 0 if the socket was not asked to tell it. */
  localBytes(index: number): number {
    return this.#localBytes[index] as number;
  }

  /** place copies where a message came from, and to, in the form of an endpoint's memory (endpoint-memory.ts). */
  place(index: number): Uint8Array<ArrayBuffer> {
    const arena = this.#arena;
    const place = new Uint8Array(new ArrayBuffer(ENDPOINT_BYTES));
    const view = new DataView(place.buffer);
    const source = this.sourceAt(index);
    const addressBytes = arena.view.getUint16(source, true) === AF_INET ? SOCKADDR_IN : SOCKET_ADDRESS.bytes;
    place.set(arena.copy(source, addressBytes), ENDPOINT.address);
    view.setInt32(ENDPOINT.addressBytes, addressBytes, true);
    place.set(arena.copy(this.localAt(index), this.localBytes(index)), ENDPOINT.control);
    view.setInt32(ENDPOINT.controlBytes, this.localBytes(index), true);
    return place;
  }

  #readControl(index: number): void {
    const { view, u32 } = this.#arena;
    const header = this.#headers + index * SIZE.mmsghdr;
    this.#localBytes[index] = 0;
    // A datagram of no bytes is one datagram.
    this.#segments[index] = Math.max(1, u32[(header + MESSAGE_HEADER.bytes) >>> 2] as number);
    if (((u32[(header + MESSAGE_HEADER.flags) >>> 2] as number) & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
      this.#segments[index] = 0;
      this.truncated++;
      return;
    }
    let at = this.#controls[index] as number;
    const end = at + Math.min(CONTROL_BYTES, u32[(header + MESSAGE_HEADER.controlBytes) >>> 2] as number);
    while (at + CONTROL_HEADER <= end) {
      const length = view.getInt32(at, true);
      if (length < CONTROL_HEADER || at + length > end) return;
      this.#readOne(index, at, length);
      at += (length + 7) & ~7; // CMSG_ALIGN
    }
  }

  #readOne(index: number, at: number, length: number): void {
    const { view } = this.#arena;
    const level = view.getInt32(at + 8, true);
    const type = view.getInt32(at + 12, true);
    const data = at + CONTROL_HEADER;
    if (level === CONTROL.udp && type === CONTROL.udpJoined && length >= CONTROL_HEADER + 4) {
      // A size of nothing would never end.
      const segment = view.getInt32(data, true);
      if (segment > 0) this.#segments[index] = segment;
    } else if (level === CONTROL.ip && type === CONTROL.packetInfo4 && length === LOCAL_4) {
      // The interface stays open: the way back is the routing table's affair.
      view.setInt32(data, 0, true);
      this.#setLocal(index, at, length);
    } else if (level === CONTROL.ipv6 && type === CONTROL.packetInfo6 && length === LOCAL_6) {
      view.setInt32(data + 16, 0, true);
      this.#setLocal(index, at, length);
    }
  }

  #setLocal(index: number, at: number, length: number): void {
    this.#locals[index] = at;
    // In a message of ours another one may follow.
    this.#localBytes[index] = (length + 7) & ~7;
  }
}
