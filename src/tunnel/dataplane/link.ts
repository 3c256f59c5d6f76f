/**
 * What the control thread and a worker tell each other, over a pair of sockets that keep messages whole (sys/socket-pair.ts).
 *
 * ```
 *   "[" JSON: a list of orders or of reports
 *   "P" peer (uint32) | an IP packet                       worker ▶ control: it cannot be sealed now
 *   "D" place (ENDPOINT_BYTES) | a datagram                both ways: it came to the wrong thread
 * ```
 * Keys are never in a message: they lie in the shared memory. The queue between them is the sockets' buffer and nothing else.
 */
import { stable } from "../../sys/mod.ts";
import { ENDPOINT_BYTES } from "../path/mod.ts";
import type { RelayOrder } from "../relay/mod.ts";
import type { Place } from "./place.ts";

/** LINK_BYTES is how much waits in each direction: orders about a thousand peers at once. */
export const LINK_BYTES = 4 << 20;
/** MOST_MESSAGE is the longest message. */
export const MOST_MESSAGE = 128 << 10;
/** So that a list stays below MOST_MESSAGE whatever is in it. */
const LIST = 200;

/** PlaceText is a place in hexadecimal. */
export type PlaceText = string;

/** Order is what a worker is told. */
export type Order =
  /** A peer as it is now; without `place` nothing can be sent to it, without `session` nothing sealed. */
  | { readonly kind: "peer"; readonly peer: number; readonly place?: PlaceText; readonly session?: number }
  | { readonly kind: "removed"; readonly peer: number }
  | {
      readonly kind: "started";
      readonly peer: number;
      readonly localIndex: number;
      readonly remoteIndex: number;
      readonly endsMs: number;
      /** Once it is used, packets under those before say nothing of where the peer is until then. */
      readonly settledMs: number;
      readonly slot: number;
    }
  | { readonly kind: "ended"; readonly localIndex: number }
  | { readonly kind: "insert"; readonly prefix: string; readonly peer: number }
  | { readonly kind: "remove"; readonly prefix: string; readonly peer: number }
  | { readonly kind: "clear"; readonly peer: number }
  | { readonly kind: "mtu"; readonly mtuBytes: number }
  /** Sockets were replaced under their numbers. */
  | { readonly kind: "sockets" }
  /** Finish what was begun, report, and do nothing more until `go`. */
  | { readonly kind: "halt" }
  | { readonly kind: "go" }
  /** What the relay's part has to know (../relay). */
  | { readonly kind: "relay"; readonly order: RelayOrder };

/** Traffic is what passed under a session since the last report. */
export interface Traffic {
  readonly session: number;
  /** Bytes of datagrams, and whether a packet was in any; absent: none. */
  readonly sent?: { readonly data: boolean; readonly bytes: number };
  readonly received?: { readonly data: boolean; readonly bytes: number };
  /** Where the peer is now, if it moved. */
  readonly place?: PlaceText;
  /** That nothing came under the session before: the worker seals with it from now on, until it hears otherwise. */
  readonly first?: boolean;
}

/** Report is what a worker tells. */
export type Report =
  | {
      readonly kind: "ready";
      readonly aead: string;
      readonly passedOver: readonly { readonly name: string; readonly reason: string }[];
    }
  | { readonly kind: "failed"; readonly reason: string }
  | ({ readonly kind: "traffic" } & Traffic)
  /** The worker does not use a session's memory any more. */
  | { readonly kind: "released"; readonly slot: number }
  | { readonly kind: "halted" }
  /** The TUN device was removed. */
  | { readonly kind: "gone" };

/** Message is one as it was read. */
export type Message<T> =
  | { readonly kind: "list"; readonly list: readonly T[] }
  | { readonly kind: "packet"; readonly peer: number; readonly packet: Uint8Array<ArrayBuffer> }
  | { readonly kind: "datagram"; readonly place: Place; readonly datagram: Uint8Array<ArrayBuffer> };

const JSON_LIST = 0x5b;
const PACKET = 0x50;
const DATAGRAM = 0x44;
const PACKET_HEADER = 5;
const DATAGRAM_HEADER = 1 + ENDPOINT_BYTES;

/** encodeLists returns the messages of a list of any length. */
export function encodeLists(list: readonly (Order | Report)[]): Uint8Array<ArrayBuffer>[] {
  const messages: Uint8Array<ArrayBuffer>[] = [];
  for (let first = 0; first < list.length; first += LIST)
    messages.push(new Uint8Array(Buffer.from(JSON.stringify(list.slice(first, first + LIST)))));
  return messages;
}

/** encodePacket returns the message of a packet for a peer. */
export function encodePacket(peer: number, packet: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = stable(PACKET_HEADER + packet.length);
  message[0] = PACKET;
  new DataView(message.buffer).setUint32(1, peer, true);
  message.set(packet, PACKET_HEADER);
  return message;
}

/** encodeDatagram returns the message of a datagram. */
export function encodeDatagram(place: Uint8Array, datagram: Uint8Array): Uint8Array<ArrayBuffer> {
  const message = stable(DATAGRAM_HEADER + datagram.length);
  message[0] = DATAGRAM;
  message.set(place, 1);
  message.set(datagram, DATAGRAM_HEADER);
  return message;
}

/** decodeMessage reads a message; what it returns are copies. Throws for anything that the other thread never writes. */
export function decodeMessage<T extends Order | Report>(message: Uint8Array<ArrayBuffer>): Message<T> {
  switch (message[0]) {
    case JSON_LIST:
      return { kind: "list", list: JSON.parse(Buffer.from(message).toString()) as readonly T[] };
    case PACKET:
      return {
        kind: "packet",
        peer: new DataView(message.buffer, message.byteOffset).getUint32(1, true),
        packet: message.slice(PACKET_HEADER),
      };
    case DATAGRAM:
      return {
        kind: "datagram",
        place: message.slice(1, DATAGRAM_HEADER),
        datagram: message.slice(DATAGRAM_HEADER),
      };
    default:
      throw new Error(`A message between threads begins with ${message[0]}`);
  }
}
