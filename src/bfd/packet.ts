/**
 * The BFD control packet (RFC 5880 section 4.1). Authentication is not spoken: packets with the A bit are refused, as section 6.8.6 says of
 * a session without it.
 *
 * ```
 *  0                   1                   2                   3
 * |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
 * |                       My Discriminator                        |
 * |                      Your Discriminator                       |
 * |                    Desired Min TX Interval                    |
 * |                   Required Min RX Interval                    |
 * |                 Required Min Echo RX Interval                 |
 * ```
 */

/** BfdState is a session's state, with its number on the wire as index. */
export const bfdStates = ["admin-down", "down", "init", "up"] as const;
export type BfdState = (typeof bfdStates)[number];

/** bfdDiagnostics are why a session left Up, with their number on the wire as index. */
export const bfdDiagnostics = [
  "none",
  "control detection time expired",
  "echo function failed",
  "neighbor signaled session down",
  "forwarding plane reset",
  "path down",
  "concatenated path down",
  "administratively down",
  "reverse concatenated path down",
] as const;
export type BfdDiagnostic = (typeof bfdDiagnostics)[number];

/** BfdPacket is one control packet; intervals in microseconds, as on the wire. */
export interface BfdPacket {
  readonly state: BfdState;
  /** Numbers above 8 are reserved and kept as they came. */
  readonly diagnostic: number;
  readonly poll: boolean;
  readonly final: boolean;
  /** The sender's BFD goes on while its control plane restarts (RFC 5882 section 4.3). */
  readonly controlPlaneIndependent: boolean;
  readonly demand: boolean;
  readonly multiplier: number;
  readonly myDiscriminator: number;
  /** 0 while it is not known. */
  readonly yourDiscriminator: number;
  readonly desiredTransmitUs: number;
  readonly requiredReceiveUs: number;
  readonly requiredEchoUs: number;
}

const VERSION = 1;
/** PACKET_BYTES is the length of a packet without authentication. */
export const PACKET_BYTES = 24;
const POLL = 0x20;
const FINAL = 0x10;
const INDEPENDENT = 0x08;
const AUTHENTICATED = 0x04;
const DEMAND = 0x02;
const MULTIPOINT = 0x01;

/** encodePacket returns the bytes of a packet. */
export function encodePacket(packet: BfdPacket): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(new ArrayBuffer(PACKET_BYTES));
  const view = new DataView(bytes.buffer);
  bytes[0] = (VERSION << 5) | packet.diagnostic;
  bytes[1] =
    (bfdStates.indexOf(packet.state) << 6) |
    (packet.poll ? POLL : 0) |
    (packet.final ? FINAL : 0) |
    (packet.controlPlaneIndependent ? INDEPENDENT : 0) |
    (packet.demand ? DEMAND : 0);
  bytes[2] = packet.multiplier;
  bytes[3] = PACKET_BYTES;
  view.setUint32(4, packet.myDiscriminator);
  view.setUint32(8, packet.yourDiscriminator);
  view.setUint32(12, packet.desiredTransmitUs);
  view.setUint32(16, packet.requiredReceiveUs);
  view.setUint32(20, packet.requiredEchoUs);
  return bytes;
}

/** decodePacket reads a packet, or returns why RFC 5880 section 6.8.6 has it discarded before any session is looked for. */
export function decodePacket(bytes: Uint8Array): BfdPacket | string {
  if (bytes.length < PACKET_BYTES) return "is shorter than 24 bytes";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const first = view.getUint8(0);
  const flags = view.getUint8(1);
  const length = view.getUint8(3);
  if (first >> 5 !== VERSION) return `has version ${first >> 5}`;
  if (length < PACKET_BYTES || length > bytes.length) return `has length ${length} in ${bytes.length} bytes`;
  if (view.getUint8(2) === 0) return "has multiplier 0";
  if ((flags & MULTIPOINT) !== 0) return "is multipoint";
  if ((flags & AUTHENTICATED) !== 0) return "is authenticated, and the session is not";
  const myDiscriminator = view.getUint32(4);
  const yourDiscriminator = view.getUint32(8);
  const state = bfdStates[flags >> 6] as BfdState;
  if (myDiscriminator === 0) return "has discriminator 0";
  if (yourDiscriminator === 0 && state !== "down" && state !== "admin-down")
    return `is ${state} and names no session`;
  return {
    state,
    diagnostic: first & 0x1f,
    poll: (flags & POLL) !== 0,
    final: (flags & FINAL) !== 0,
    controlPlaneIndependent: (flags & INDEPENDENT) !== 0,
    demand: (flags & DEMAND) !== 0,
    multiplier: view.getUint8(2),
    myDiscriminator,
    yourDiscriminator,
    desiredTransmitUs: view.getUint32(12),
    requiredReceiveUs: view.getUint32(16),
    requiredEchoUs: view.getUint32(20),
  };
}
