/**
 * Framing of netlink messages, and the kernel's answers: data, the end of a dump, errors with extended acknowledgement.
 *
 * ```
 *  0                4         6         8                12               16
 *  | length (whole) | type    | flags   | sequence       | port           | body … padded to 4 |
 * ```
 */
import { attributes, DecodeError, Reader, text, u32, Writer } from "../wire/mod.ts";
import { FLAG, type Message } from "./request.ts";

const HEADER = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSG_OVERRUN = 4;
/** Types below this belong to netlink itself. */
const NLMSG_MIN_TYPE = 16;
const CAPPED = 0x100;
const ACK_ATTRIBUTES = 0x200;

/** Attributes of an acknowledgement (enum nlmsgerr_attrs). */
const ackTable = attributes({
  message: [1, text],
  offset: [2, u32],
  missingType: [5, u32],
  missingNest: [6, u32],
});

/** Answer is one message from the kernel. */
export type Answer = { readonly sequence: number; readonly interrupted: boolean } & (
  | { readonly kind: "data"; readonly type: number; readonly multi: boolean; readonly body: Reader }
  /** An acknowledgement (errno 0) or an error; errno is positive. */
  | { readonly kind: "ack"; readonly errno: number; readonly extendedAck?: string }
  /** End of a dump; errno is positive when it failed. */
  | { readonly kind: "done"; readonly errno: number; readonly extendedAck?: string }
  | { readonly kind: "overrun" }
);

/** writeMessage appends a message with its header. */
export function writeMessage(writer: Writer, message: Message, sequence: number): void {
  const length = HEADER + message.body.length;
  writer.u32(length).u16(message.type).u16(message.flags).u32(sequence).u32(0);
  writer.bytes(message.body).align(4);
}

let lastView: DataView | undefined;

/** Datagrams come one after the other in the same memory. */
function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  if (byteOffset !== 0) return new DataView(buffer, byteOffset, byteLength);
  if (lastView?.buffer !== buffer) lastView = new DataView(buffer);
  return lastView;
}

/** eachAnswer walks over the messages of one datagram; `visit` returning false stops. */
export function eachAnswer(datagram: Uint8Array, visit: (answer: Answer) => boolean | undefined): void {
  const reader = new Reader(datagram, 0, datagram.length, viewOf(datagram));
  while (reader.remaining > 0) {
    const length = reader.u32();
    if (length < HEADER || length - 4 > reader.remaining)
      throw new DecodeError(`message has length ${length}, ${reader.remaining + 4} bytes left`);
    const rest = reader.enter(length - 4);
    const answer = decodeAnswer(reader);
    if (answer !== undefined && visit(answer) === false) return;
    reader.leave(rest);
    reader.skipPadding((4 - (length % 4)) % 4);
  }
}

function decodeAnswer(reader: Reader): Answer | undefined {
  const type = reader.u16();
  const flags = reader.u16();
  const sequence = reader.u32();
  reader.skip(4);
  const interrupted = (flags & FLAG.dumpInterrupted) !== 0;
  const common = { sequence, interrupted };
  switch (type) {
    case NLMSG_ERROR: {
      const errno = Math.abs(reader.i32());
      const requestLength = reader.u32();
      reader.skip(HEADER - 4);
      // Without NLM_F_CAPPED the request's body comes back before the attributes.
      if ((flags & CAPPED) === 0) reader.skipPadding(Math.max(0, ((requestLength + 3) & ~3) - HEADER));
      return { ...common, kind: "ack", errno, ...acknowledgement(reader, flags) };
    }
    case NLMSG_DONE: {
      const errno = reader.remaining >= 4 ? Math.abs(reader.i32()) : 0;
      return { ...common, kind: "done", errno, ...acknowledgement(reader, flags) };
    }
    case NLMSG_OVERRUN:
      return { ...common, kind: "overrun" };
    default:
      if (type < NLMSG_MIN_TYPE) return undefined;
      // The most frequent by far.
      return { sequence, interrupted, kind: "data", type, multi: (flags & FLAG.multi) !== 0, body: reader };
  }
}

function acknowledgement(reader: Reader, flags: number): { extendedAck?: string } {
  if ((flags & ACK_ATTRIBUTES) === 0) return {};
  const ack = ackTable.decode(reader);
  if (ack.message !== undefined) return { extendedAck: ack.message };
  return ack.missingType === undefined ? {} : { extendedAck: `attribute ${ack.missingType} is missing` };
}
