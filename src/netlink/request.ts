/** Requests to rtnetlink as values: made by the functions of each family (`addRoute`, `setLink`), sent by Rtnetlink. */
import { Writer } from "../wire/mod.ts";

/** Message is one netlink message without its header. */
export interface Message {
  readonly type: number;
  /** Flags beside NLM_F_REQUEST and NLM_F_ACK, which the socket sets. */
  readonly flags: number;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** RouteRequest asks for one change. Most are one message; a link needs several: the first makes it. */
export interface RouteRequest {
  /** What the request does, for errors: `add route 10.1.0.0/16 via 10.0.0.1`. */
  readonly action: () => string;
  readonly messages: readonly [Message, ...Message[]];
  /** Sent when a message after the first is refused, so that nothing half-made stays. */
  readonly undo?: Message;
}

/** NLM_F_… of include/uapi/linux/netlink.h. */
export const FLAG = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dumpInterrupted: 0x10,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

interface Encoder<T> {
  encode(writer: Writer, value: T): void;
}

/** Thousands of small messages are made at once; fresh memory for each would cost more than its encoding. */
const shared = new Writer();

/** message encodes the body of a message. */
export function message<T>(type: number, flags: number, codec: Encoder<T>, value: T): Message {
  // A codec that makes another message while it encodes would find the writer in use.
  const writer = shared.length === 0 ? shared : new Writer();
  try {
    codec.encode(writer, value);
    return { type, flags, body: writer.finish() };
  } finally {
    writer.wipe();
  }
}

/** request makes a request of one message. */
export function request(action: () => string, one: Message): RouteRequest {
  return { action, messages: [one] };
}
