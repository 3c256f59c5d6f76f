/** The control thread's sockets, one of each family: handshakes come here, and leave from here. */
import type { Arena, DatagramSocket } from "../../sys/mod.ts";
import { DatagramReceiver, DatagramSender, ENDPOINT_BYTES } from "../path/mod.ts";
import { keptBytes } from "../probe-admission.ts";
import { MESSAGE, MESSAGE_BYTES } from "../wireguard/mod.ts";
import { familyOf, type Place } from "./place.ts";
import type { Watched } from "./poller.ts";

/** Arrival is a datagram; `backlog` more of the same batch follow it. */
export interface Arrival {
  readonly place: Place;
  /** Of one that is not WireGuard's and long, the beginning. */
  readonly datagram: Uint8Array<ArrayBuffer>;
  readonly datagramBytes: number;
  readonly backlog: number;
}

/** The least length of a data message, and that of the others by their first byte (whitepaper, section 5.4). */
const DATA_BYTES = 32;
const LENGTHS: readonly (number | undefined)[] = [
  undefined,
  MESSAGE_BYTES.initiation,
  MESSAGE_BYTES.response,
  MESSAGE_BYTES.cookie,
];

/** Batches that are taken in one turn: so long timers and workers wait. */
const ROUNDS = 4;

/** ControlPort is the sockets with their memory. */
export class ControlPort {
  readonly #arena: Arena;
  readonly #receiver: DatagramReceiver;
  readonly #ports: readonly { readonly socket: DatagramSocket; readonly sender: DatagramSender }[];
  readonly #endpoint: number;

  constructor(arena: Arena, sockets: readonly DatagramSocket[]) {
    this.#arena = arena;
    this.#receiver = new DatagramReceiver(arena);
    this.#endpoint = arena.allocate(ENDPOINT_BYTES);
    this.#ports = sockets.map((socket) => ({ socket, sender: new DatagramSender(arena, socket) }));
  }

  /** watched lists the sockets; `hear` gets what comes. */
  watched(hear: (arrival: Arrival) => void): Watched[] {
    return this.#ports.map(({ socket, sender }) => ({
      fd: socket.fd.number,
      wantsWrite: () => sender.blocked,
      ready: (writable) => {
        if (writable && sender.blocked) sender.flush();
        for (let round = 0; round < ROUNDS; round++) {
          const count = this.#receiver.receive(socket.fd.number);
          if (count <= 0) return;
          for (let message = 0; message < count; message++) this.#hear(message, { count, hear });
        }
      },
    }));
  }

  #hear(
    message: number,
    { count, hear }: { readonly count: number; readonly hear: (a: Arrival) => void },
  ): void {
    const receiver = this.#receiver;
    const at = receiver.at(message);
    const bytes = receiver.bytes(message);
    const segment = receiver.segmentBytes(message);
    const datagrams = Math.ceil(bytes / segment);
    let place: Place | undefined;
    for (let i = 0; i < datagrams; i++) {
      const first = at + i * segment;
      const length = Math.min(segment, bytes - i * segment);
      // Most of a flood is not worth a copy.
      if (!mayMatter(this.#arena.u8, first, length)) continue;
      place ??= receiver.place(message);
      const kind = this.#arena.u8[first] as number;
      const datagram = this.#arena.copy(first, kind > MESSAGE.data ? keptBytes(length) : length);
      const backlog = count - message - 1 + (datagrams - i - 1);
      hear({ place, datagram, datagramBytes: length, backlog });
    }
  }

  /** send sends a datagram; false if it was not, because the system takes no more now. */
  send(place: Place, datagram: Uint8Array): boolean {
    const sender = this.#ports.find(({ socket }) => socket.family === familyOf(place))?.sender;
    if (sender === undefined || (sender.blocked && !sender.flush())) return false;
    this.#arena.store(this.#endpoint, place);
    const frame = sender.frame(this.#endpoint, datagram.length);
    if (frame === 0) return false;
    this.#arena.store(frame, datagram);
    return sender.flush();
  }
}

/** Whether [at, at + length) is as long as a message of its kind; what begins otherwise may be one of ours (other-traffic.ts). */
function mayMatter(u8: Uint8Array, at: number, length: number): boolean {
  const kind = u8[at] as number;
  if (length < 4 || kind > MESSAGE.data) return length >= 4;
  if (kind === MESSAGE.data) return length >= DATA_BYTES;
  return length === LENGTHS[kind];
}
