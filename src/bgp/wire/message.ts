/**
 * Messages in a stream of bytes (RFC 4271 section 4.1), and the three that are short: KEEPALIVE, NOTIFICATION, ROUTE-REFRESH.
 *
 * ```
 *  marker 16 (all ones) | length 2 (of the whole message, 19 to 4096, or to 65535 after RFC 8654) | type 1 | body
 * ```
 *
 * OPEN is in open.ts, UPDATE in update.ts.
 */
import { type BgpFamily, familyOf } from "./family.ts";
import {
  type BgpError,
  bgpError,
  CEASE,
  ERROR,
  errorName,
  HEADER_ERROR,
  REFRESH_ERROR,
} from "./notification.ts";

/** MESSAGE is the type byte of each message; 5 is RFC 2918's. */
export const MESSAGE = { open: 1, update: 2, notification: 3, keepalive: 4, refresh: 5 } as const;

/** HEADER_BYTES is what precedes the body of every message. */
export const HEADER_BYTES = 19;
/** MESSAGE_BYTES_MAX is the longest message before RFC 8654 has been negotiated. */
export const MESSAGE_BYTES_MAX = 4096;
/** EXTENDED_BYTES_MAX is the longest message after it; OPEN and KEEPALIVE stay at MESSAGE_BYTES_MAX (RFC 8654 section 4). */
export const EXTENDED_BYTES_MAX = 65_535;

/** Shortest message of each type, by type (RFC 4271 section 6.1, RFC 2918 section 3). */
const leastBytes = [0, 29, 23, 21, 19, 23];

/** messageBytes returns the length of the message at `at`: 0 while its header is not complete, -1 when headerError has what is wrong with it. */
export function messageBytes(bytes: Uint8Array, at: number, end: number, mostBytes: number): number {
  if (end - at < HEADER_BYTES) return 0;
  for (let i = at; i < at + 16; i++) if (bytes[i] !== 0xff) return -1;
  const length = ((bytes[at + 16] as number) << 8) | (bytes[at + 17] as number);
  const type = bytes[at + 18] as number;
  if (type < 1 || type > 5 || length < (leastBytes[type] as number) || length > mostBytes) return -1;
  if (type === MESSAGE.keepalive && length !== HEADER_BYTES) return -1;
  if (type === MESSAGE.open && length > MESSAGE_BYTES_MAX) return -1;
  return length;
}

/** headerError names what is wrong with a header for which messageBytes returned -1. */
export function headerError(bytes: Uint8Array, at: number, mostBytes: number): BgpError {
  for (let i = at; i < at + 16; i++)
    // RFC 4271 section 6.1: "If the Marker field of the message header is not as expected, then a synchronization error has occurred".
    if (bytes[i] !== 0xff)
      return bgpError(ERROR.header, HEADER_ERROR.notSynchronized, { text: "the marker is not all ones" });
  const length = ((bytes[at + 16] as number) << 8) | (bytes[at + 17] as number);
  const type = bytes[at + 18] as number;
  // The length is looked at first, as the RFC lists it first; only the bounds of the type need the type to be known.
  if (type >= 1 && type <= 5 ? true : length < HEADER_BYTES || length > mostBytes)
    return bgpError(ERROR.header, HEADER_ERROR.badLength, {
      text: `a message of type ${type} cannot have ${length} bytes`,
      data: bytes.subarray(at + 16, at + 18),
    });
  return bgpError(ERROR.header, HEADER_ERROR.badType, {
    text: `${type} is not a type of message`,
    data: bytes.subarray(at + 18, at + 19),
  });
}

/**
 * MessageStream cuts a stream into messages. `feed` takes a chunk, which must stay as it is until `next` has returned false;
 * only the rest of a message that goes on in the next chunk is copied.
 *
 * @example
 * ```ts
 * stream.feed(chunk);
 * while (stream.next()) handle(stream.type, stream.bytes, stream.bodyAt, stream.end);
 * if (stream.error !== undefined) close(stream.error);
 * ```
 */
export class MessageStream {
  /** Longest message that is taken; set it to EXTENDED_BYTES_MAX when RFC 8654 has been negotiated. */
  mostBytes: number = MESSAGE_BYTES_MAX;
  /** Type of the current message. */
  type = 0;
  /** Where the current message is: `at` its header, `bodyAt` what follows, `end` its end. Valid until the next call. */
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  bodyAt = 0;
  end = 0;
  /** Set when the stream cannot go on. */
  error: BgpError | undefined = undefined;

  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;
  #rest: Uint8Array = new Uint8Array(0);
  #restBytes = 0;

  /** feed gives the next chunk; the chunk before it must have been worked off. */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#position = 0;
  }

  /** waitingBytes is how much of an incomplete message is held. */
  get waitingBytes(): number {
    return this.#restBytes;
  }

  /** next moves to the next complete message; false when there is none (yet), or after an error. */
  next(): boolean {
    if (this.error !== undefined) return false;
    if (this.#restBytes > 0) return this.#nextOfRest();
    const length = messageBytes(this.#chunk, this.#position, this.#chunk.length, this.mostBytes);
    if (length < 0) return this.#fail(this.#chunk, this.#position);
    if (length === 0 || length > this.#chunk.length - this.#position) {
      this.#keep(this.#chunk.length - this.#position);
      return false;
    }
    this.#show(this.#chunk, this.#position, length);
    this.#position += length;
    return true;
  }

  #nextOfRest(): boolean {
    if (this.#restBytes < HEADER_BYTES) this.#keep(HEADER_BYTES - this.#restBytes);
    const length = messageBytes(this.#rest, 0, this.#restBytes, this.mostBytes);
    if (length < 0) return this.#fail(this.#rest, 0);
    if (length === 0) return false;
    if (length > this.#restBytes) this.#keep(length - this.#restBytes);
    if (length > this.#restBytes) return false;
    this.#restBytes = 0;
    this.#show(this.#rest, 0, length);
    return true;
  }

  /** Moves up to `wanted` bytes of the chunk to the rest. */
  #keep(wanted: number): void {
    const count = Math.min(wanted, this.#chunk.length - this.#position);
    if (count <= 0) return;
    const needed = this.#restBytes + count;
    if (needed > this.#rest.length) {
      const bigger = new Uint8Array(Math.max(needed, Math.min(this.mostBytes, needed * 2)));
      bigger.set(this.#rest.subarray(0, this.#restBytes));
      this.#rest = bigger;
    }
    this.#rest.set(this.#chunk.subarray(this.#position, this.#position + count), this.#restBytes);
    this.#restBytes = needed;
    this.#position += count;
  }

  #show(bytes: Uint8Array, at: number, length: number): void {
    this.bytes = bytes;
    this.at = at;
    this.bodyAt = at + HEADER_BYTES;
    this.end = at + length;
    this.type = bytes[at + 18] as number;
  }

  #fail(bytes: Uint8Array, at: number): false {
    this.error = headerError(bytes, at, this.mostBytes);
    return false;
  }
}

/** writeHeader writes a header at `at` and returns where the body begins; `length` is that of the whole message. */
export function writeHeader(out: Uint8Array, at: number, type: number, length: number): number {
  out.fill(0xff, at, at + 16);
  out[at + 16] = length >>> 8;
  out[at + 17] = length & 0xff;
  out[at + 18] = type;
  return at + HEADER_BYTES;
}

/** encodeMessage returns a message around a body. */
export function encodeMessage(type: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const length = HEADER_BYTES + body.length;
  if (length > EXTENDED_BYTES_MAX)
    throw new RangeError(`A BGP message has at most 65535 bytes, not ${length}`);
  const bytes = new Uint8Array(new ArrayBuffer(length));
  bytes.set(body, writeHeader(bytes, 0, type, length));
  return bytes;
}

/** encodeKeepalive returns the one KEEPALIVE that there is. */
export function encodeKeepalive(): Uint8Array<ArrayBuffer> {
  return encodeMessage(MESSAGE.keepalive, new Uint8Array(0));
}

/** encodeNotification returns a NOTIFICATION; its data is cut where the message would be longer than 4096 bytes. */
export function encodeNotification(
  error: Pick<BgpError, "code" | "subcode" | "data">,
): Uint8Array<ArrayBuffer> {
  const data = error.data.subarray(0, MESSAGE_BYTES_MAX - HEADER_BYTES - 2);
  return encodeMessage(MESSAGE.notification, Uint8Array.of(error.code, error.subcode, ...data));
}

/** decodeNotification reads a NOTIFICATION's body; framing has made sure of its two bytes. */
export function decodeNotification(bytes: Uint8Array, at: number, end: number): BgpError {
  const code = bytes[at] ?? 0;
  const subcode = bytes[at + 1] ?? 0;
  const data = bytes.subarray(Math.min(at + 2, end), end);
  const said = shutdownText(code, subcode, data);
  const name = errorName(code, subcode);
  return bgpError(code, subcode, { data, text: said === undefined ? name : `${name}: ${said}` });
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** SHUTDOWN_BYTES_MAX is the most of a shutdown communication (RFC 9003 section 2). */
export const SHUTDOWN_BYTES_MAX = 255;

/** shutdownData returns the data of a cease that says why, cut at a character's border (RFC 9003 section 2). */
export function shutdownData(text: string): Uint8Array<ArrayBuffer> {
  const bytes = utf8.encode(text);
  let length = Math.min(bytes.length, SHUTDOWN_BYTES_MAX);
  while (length < bytes.length && length > 0 && ((bytes[length] as number) & 0xc0) === 0x80) length--;
  return new Uint8Array([length, ...bytes.subarray(0, length)]);
}

/** shutdownText returns what a cease says (RFC 9003); undefined when it is another error, says nothing, or is malformed. */
export function shutdownText(code: number, subcode: number, data: Uint8Array): string | undefined {
  if (code !== ERROR.cease) return undefined;
  if (subcode !== CEASE.administrativeShutdown && subcode !== CEASE.administrativeReset) return undefined;
  const length = data[0] ?? 0;
  if (length === 0 || length > data.length - 1) return undefined;
  // RFC 9003 section 6: what comes from a peer is shown to people; control characters are not passed on.
  return fromUtf8.decode(data.subarray(1, 1 + length)).replaceAll(/\p{Cc}/gu, "\u{fffd}");
}

/** REFRESH is a ROUTE-REFRESH's subtype: a request, and the begin and end of the answer (RFC 7313). */
export const REFRESH = { request: 0, begin: 1, end: 2 } as const;

/** Refresh is a ROUTE-REFRESH; a subtype that is none of REFRESH is to be ignored (RFC 7313 section 5). */
export interface Refresh {
  readonly family: BgpFamily;
  readonly subtype: number;
}

/** encodeRefresh returns a ROUTE-REFRESH. */
export function encodeRefresh({ family, subtype }: Refresh): Uint8Array<ArrayBuffer> {
  return encodeMessage(
    MESSAGE.refresh,
    Uint8Array.of(family >>> 24, (family >>> 16) & 0xff, subtype, family & 0xff),
  );
}

/** decodeRefresh reads a ROUTE-REFRESH's body; the error is sent when it is one. What follows a request (ORF, RFC 5291) is not looked at. */
export function decodeRefresh(bytes: Uint8Array, at: number, end: number): Refresh | BgpError {
  const subtype = bytes[at + 2] ?? 0;
  // RFC 7313 section 5: "If the length, excluding the fixed-size message header, of the received ROUTE-REFRESH message with Message Subtype 1
  // and 2 is not 4, then the BGP speaker MUST send a NOTIFICATION message with the Error Code of 'ROUTE-REFRESH Message Error' and the
  // subcode of 'Invalid Message Length'. The Data field of the NOTIFICATION message MUST contain the complete ROUTE-REFRESH message."
  if (end - at < 4 || (end - at !== 4 && (subtype === REFRESH.begin || subtype === REFRESH.end)))
    return bgpError(ERROR.refresh, REFRESH_ERROR.invalidLength, {
      text: `a ROUTE-REFRESH of subtype ${subtype} cannot have ${end - at} bytes after its header`,
      data: bytes.subarray(Math.max(0, at - HEADER_BYTES), end),
    });
  const afi = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return { family: familyOf(afi, bytes[at + 3] as number), subtype };
}
