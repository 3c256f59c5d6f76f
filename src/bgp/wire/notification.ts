/**
 * Error codes and subcodes of BGP, and the NOTIFICATION that carries them (RFC 4271 section 4.5).
 *
 * ```
 *  code 1 | subcode 1 | data, to the end of the message
 * ```
 *
 * A BgpError is a value: decoders return it, and the session sends it. It is thrown nowhere.
 */

/** ERROR is the first byte of a NOTIFICATION. */
export const ERROR = {
  header: 1,
  open: 2,
  update: 3,
  holdTimer: 4,
  fsm: 5,
  cease: 6,
  /** RFC 7313 section 5. */
  refresh: 7,
  /** RFC 9687. */
  sendHoldTimer: 8,
} as const;

/** HEADER_ERROR are the subcodes of RFC 4271 section 6.1. */
export const HEADER_ERROR = { notSynchronized: 1, badLength: 2, badType: 3 } as const;

/** OPEN_ERROR are the subcodes of RFC 4271 section 6.2, of RFC 5492 (7) and of RFC 9234 (11). */
export const OPEN_ERROR = {
  unspecific: 0,
  unsupportedVersion: 1,
  badPeerAs: 2,
  badIdentifier: 3,
  unsupportedParameter: 4,
  unacceptableHoldTime: 6,
  unsupportedCapability: 7,
  roleMismatch: 11,
} as const;

/** UPDATE_ERROR are the subcodes of RFC 4271 section 6.3. */
export const UPDATE_ERROR = {
  malformedAttributeList: 1,
  unrecognizedWellKnown: 2,
  missingWellKnown: 3,
  attributeFlags: 4,
  attributeLength: 5,
  invalidOrigin: 6,
  invalidNextHop: 8,
  optionalAttribute: 9,
  invalidNetworkField: 10,
  malformedAsPath: 11,
} as const;

/** FSM_ERROR are the subcodes of RFC 6608. */
export const FSM_ERROR = { unspecified: 0, inOpenSent: 1, inOpenConfirm: 2, inEstablished: 3 } as const;

/** CEASE are the subcodes of RFC 4486, of RFC 8538 (9) and of RFC 9384 (10). */
export const CEASE = {
  maximumPrefixes: 1,
  administrativeShutdown: 2,
  peerDeconfigured: 3,
  administrativeReset: 4,
  connectionRejected: 5,
  otherConfigurationChange: 6,
  connectionCollision: 7,
  outOfResources: 8,
  hardReset: 9,
  bfdDown: 10,
} as const;

/** REFRESH_ERROR is the subcode of RFC 7313 section 5. */
export const REFRESH_ERROR = { invalidLength: 1 } as const;

/** BgpError is what a NOTIFICATION says, with a text for our own log. */
export interface BgpError {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  /** Says what was wrong; is not sent. */
  readonly text: string;
}

/** Nothing is a NOTIFICATION's data when there is none. */
const NOTHING = new Uint8Array(new ArrayBuffer(0));

/** bgpError makes an error; `data` is copied, so that it may point into a receive buffer. */
export function bgpError(
  code: number,
  subcode: number,
  { text, data = NOTHING }: { readonly text: string; readonly data?: Uint8Array },
): BgpError {
  return { code, subcode, data: data.length === 0 ? NOTHING : new Uint8Array(data), text };
}

const subcodeNames: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  1: { 1: "connection not synchronized", 2: "bad message length", 3: "bad message type" },
  2: {
    0: "unspecific",
    1: "unsupported version number",
    2: "bad peer AS",
    3: "bad BGP identifier",
    4: "unsupported optional parameter",
    5: "authentication failure",
    6: "unacceptable hold time",
    7: "unsupported capability",
    11: "role mismatch",
  },
  3: {
    1: "malformed attribute list",
    2: "unrecognized well-known attribute",
    3: "missing well-known attribute",
    4: "attribute flags error",
    5: "attribute length error",
    6: "invalid ORIGIN attribute",
    7: "AS routing loop",
    8: "invalid NEXT_HOP attribute",
    9: "optional attribute error",
    10: "invalid network field",
    11: "malformed AS_PATH",
  },
  5: {
    0: "unspecified",
    1: "unexpected message in OpenSent",
    2: "unexpected message in OpenConfirm",
    3: "unexpected message in Established",
  },
  6: {
    1: "maximum number of prefixes reached",
    2: "administrative shutdown",
    3: "peer de-configured",
    4: "administrative reset",
    5: "connection rejected",
    6: "other configuration change",
    7: "connection collision resolution",
    8: "out of resources",
    9: "hard reset",
    10: "BFD down",
  },
  7: { 1: "invalid message length" },
};

const codeNames: Readonly<Record<number, string>> = {
  1: "message header error",
  2: "OPEN message error",
  3: "UPDATE message error",
  4: "hold timer expired",
  5: "finite state machine error",
  6: "cease",
  7: "ROUTE-REFRESH message error",
  8: "send hold timer expired",
};

/** errorName returns the RFCs' words for a code and a subcode, such as `cease: hard reset`. */
export function errorName(code: number, subcode: number): string {
  const name = codeNames[code] ?? `error ${code}`;
  const detail = subcodeNames[code]?.[subcode];
  if (detail !== undefined) return `${name}: ${detail}`;
  return subcode === 0 ? name : `${name}: subcode ${subcode}`;
}
