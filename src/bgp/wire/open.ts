/**
 * OPEN (RFC 4271 section 4.2), with the long form of optional parameters (RFC 9072).
 *
 * ```
 *  version 1 (4) | my AS 2 | hold time 2 | BGP identifier 4 | length 1 | parameters
 *  parameter       type 1 | length 1 | value          type 2: capabilities (RFC 5492)
 *
 *  long form       ... | length 1 (255) | 255 | length 2 | parameters of  type 1 | length 2 | value
 * ```
 */
import { type Ip, ipFromBytes } from "../../net/mod.ts";
import { AS_TRANS } from "./as-path-check.ts";
import { type Capability, decodeCapability, encodeCapability } from "./capability.ts";
import { encodeMessage, MESSAGE } from "./message.ts";
import { type BgpError, bgpError, ERROR, OPEN_ERROR } from "./notification.ts";
import { readU16, writeU16, writeU32 } from "./octets.ts";

/** Open is an OPEN message. */
export interface Open {
  /** The AS: the four octets of the capability when there is one, else the two of the message. */
  readonly as: number;
  /** 0, or 3 to 65535 (RFC 4271 section 4.2). */
  readonly holdSeconds: number;
  /** BGP identifier: any four octets but zero (RFC 6286), as an IPv4 address. */
  readonly routerId: Ip;
  readonly capabilities: readonly Capability[];
}

/** OpenResult is an OPEN, or what a NOTIFICATION says of it. */
export type OpenResult = { readonly open: Open } | { readonly error: BgpError };

const PARAMETER_CAPABILITIES = 2;
/** Length and type that announce the long form (RFC 9072 section 2). */
const LONG = 255;

/** encodeOpen returns an OPEN. All capabilities are in one parameter; when that has more than 255 octets, the long form is used. */
export function encodeOpen(open: Open): Uint8Array<ArrayBuffer> {
  const capabilities = open.capabilities.flatMap((capability) => [...encodeCapability(capability)]);
  const length = capabilities.length;
  const long = length + 2 > LONG - 1;
  const head = new Uint8Array(9);
  head[0] = 4;
  // RFC 6793 section 9: AS_TRANS where the number does not fit.
  writeU16(head, 1, open.as > 0xffff ? AS_TRANS : open.as);
  writeU16(head, 3, open.holdSeconds);
  writeU32(head, 5, Number(open.routerId.value));
  const parameter = long
    ? [PARAMETER_CAPABILITIES, length >>> 8, length & 0xff, ...capabilities]
    : length === 0
      ? []
      : [PARAMETER_CAPABILITIES, length, ...capabilities];
  const total = parameter.length;
  const lengths = long ? [LONG, LONG, total >>> 8, total & 0xff] : [total];
  return encodeMessage(MESSAGE.open, Uint8Array.of(...head, ...lengths, ...parameter));
}

function refuse(subcode: number, text: string, data?: Uint8Array): { readonly error: BgpError } {
  return { error: bgpError(ERROR.open, subcode, data === undefined ? { text } : { text, data }) };
}

/** decodeOpen reads an OPEN's body and says what RFC 4271 section 6.2 says; whether its AS is the expected one is the session's affair. */
export function decodeOpen(bytes: Uint8Array, at: number, end: number): OpenResult {
  if (end - at < 10) return refuse(OPEN_ERROR.unspecific, `OPEN has only ${end - at} octets`);
  const version = bytes[at] as number;
  // "The Data field is a 2-octet unsigned integer, which indicates the largest, locally-supported version number less than the version the
  // remote BGP peer bid".
  if (version !== 4) return refuse(OPEN_ERROR.unsupportedVersion, `version ${version}`, Uint8Array.of(0, 4));
  const as2 = readU16(bytes, at + 1);
  const holdSeconds = readU16(bytes, at + 3);
  const routerId = ipFromBytes(bytes.subarray(at + 5, at + 9));
  const capabilities: Capability[] = [];
  const fault = readParameters(bytes, at + 9, end, capabilities);
  if (fault !== undefined) return fault;
  const as4 = capabilities.find((capability) => capability.kind === "as4");
  const as = as4 === undefined ? as2 : as4.as;
  // RFC 7607 section 2: AS 0 in an OPEN, or in its capability: "Bad Peer AS".
  if (as === 0) return refuse(OPEN_ERROR.badPeerAs, "AS 0");
  // "An implementation MUST reject Hold Time values of one or two seconds."
  if (holdSeconds === 1 || holdSeconds === 2)
    return refuse(OPEN_ERROR.unacceptableHoldTime, `a hold time of ${holdSeconds} s`);
  // RFC 6286 section 2.2: "If the BGP Identifier field of the OPEN message is zero, [...] Bad BGP Identifier".
  if (routerId.value === 0n) return refuse(OPEN_ERROR.badIdentifier, "a BGP identifier of zero");
  return { open: { as, holdSeconds, routerId, capabilities } };
}

function readParameters(
  bytes: Uint8Array,
  at: number,
  end: number,
  capabilities: Capability[],
): { readonly error: BgpError } | undefined {
  // RFC 9072 section 2: a first parameter of type 255 says that the long form follows, whatever the one-octet length is (but not zero).
  const long = bytes[at] !== 0 && end - at >= 2 && bytes[at + 1] === LONG;
  if (long && end - at < 4) return refuse(OPEN_ERROR.unspecific, "OPEN ends within its parameters' length");
  const length = long ? readU16(bytes, at + 2) : (bytes[at] as number);
  const header = long ? 3 : 2;
  let position = at + (long ? 4 : 1);
  if (length !== end - position)
    return refuse(OPEN_ERROR.unspecific, "OPEN has not the length that its parameters say");
  while (position < end) {
    if (end - position < header) return refuse(OPEN_ERROR.unspecific, "OPEN ends within a parameter");
    const type = bytes[position] as number;
    const size = long ? readU16(bytes, position + 1) : (bytes[position + 1] as number);
    const value = position + header;
    if (size > end - value) return refuse(OPEN_ERROR.unspecific, "OPEN ends within a parameter");
    // RFC 4271 section 6.2: "If one of the Optional Parameters in the OPEN message is not recognized, then the Error Subcode MUST be set to
    // Unsupported Optional Parameters."
    if (type !== PARAMETER_CAPABILITIES)
      return refuse(OPEN_ERROR.unsupportedParameter, `optional parameter ${type}`);
    const fault = readCapabilities(bytes, value, value + size, capabilities);
    if (fault !== undefined) return fault;
    position = value + size;
  }
  return undefined;
}

function readCapabilities(
  bytes: Uint8Array,
  at: number,
  end: number,
  capabilities: Capability[],
): { readonly error: BgpError } | undefined {
  let position = at;
  while (position < end) {
    const next = position + 2 + (end - position < 2 ? 0 : (bytes[position + 1] as number));
    if (next > end) return refuse(OPEN_ERROR.unspecific, "OPEN ends within a capability");
    const capability = decodeCapability(bytes[position] as number, bytes.subarray(position + 2, next));
    capabilities.push(capability);
    position = next;
  }
  return undefined;
}
