/**
 * Reads packet captures (libpcap's file format, draft-ietf-opsawg-pcap) of Ethernet: which protocols there are, between
 * which UDP ports, and whether a text can be seen.
 */
import { type Endpoint, formatEndpoint, ipFromBytes } from "../net/mod.ts";

/** UdpFlow is one direction between two endpoints. */
export interface UdpFlow {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  readonly packets: number;
}

/** CaptureReport is what was on the wire. */
export interface CaptureReport {
  readonly packets: number;
  readonly bytes: number;
  /** `arp`, `icmp`, `icmp6`, `tcp`, `udp`, or numbers such as `ethertype 0x88cc` and `ip protocol 47`; sorted. */
  readonly protocols: readonly string[];
  readonly udpFlows: readonly UdpFlow[];
  /** Whether one of the frames held the marker. */
  readonly markerSeen: boolean;
}

const IP_PROTOCOLS = new Map([
  [1, "icmp"],
  [2, "igmp"],
  [6, "tcp"],
  [17, "udp"],
  [58, "icmp6"],
]);

/** IPv6 extension headers that can stand before the transport header (RFC 8200 section 4). */
const EXTENSION_HEADERS = new Set([0, 43, 60]);

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

interface Packet {
  readonly protocol: string;
  readonly udp?: { readonly source: Endpoint; readonly destination: Endpoint };
}

/** frames yields the frames of a capture; a last one that was cut off by the end of the file is left out. */
export function* frames(file: Uint8Array): Generator<Uint8Array> {
  if (file.length < FILE_HEADER_BYTES) return;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = view.getUint32(0, true);
  const little = magic === 0xa1b2c3d4 || magic === 0xa1b23c4d;
  if (!little && ![0xa1b2c3d4, 0xa1b23c4d].includes(view.getUint32(0, false)))
    throw new Error("Cannot read the capture: it is not a pcap file");
  if ((view.getUint32(20, little) & 0xffff) !== 1)
    throw new Error("Cannot read the capture: it is not of Ethernet");
  for (let offset = FILE_HEADER_BYTES; offset + RECORD_HEADER_BYTES <= file.length;) {
    const length = view.getUint32(offset + 8, little);
    offset += RECORD_HEADER_BYTES;
    if (offset + length > file.length) return;
    yield file.subarray(offset, offset + length);
    offset += length;
  }
}

function parseFrame(frame: Uint8Array): Packet {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  if (frame.length < 14) return { protocol: "short frame" };
  const type = view.getUint16(12);
  if (type === 0x0806) return { protocol: "arp" };
  if (type === 0x0800 && frame.length >= 34) return parseIpv4(frame, view);
  if (type === 0x86dd && frame.length >= 54) return parseIpv6(frame, view);
  return { protocol: `ethertype 0x${type.toString(16).padStart(4, "0")}` };
}

function parseIpv4(frame: Uint8Array, view: DataView): Packet {
  const offset = 14 + (view.getUint8(14) & 15) * 4;
  const protocol = view.getUint8(23);
  const later = (view.getUint16(20) & 0x1fff) > 0;
  const addresses = [ipFromBytes(frame.subarray(26, 30)), ipFromBytes(frame.subarray(30, 34))] as const;
  return transport(view, { protocol, offset, addresses, later });
}

function parseIpv6(frame: Uint8Array, view: DataView): Packet {
  let protocol = view.getUint8(20);
  let offset = 54;
  let later = false;
  const addresses = [ipFromBytes(frame.subarray(22, 38)), ipFromBytes(frame.subarray(38, 54))] as const;
  while (offset + 8 <= frame.length && (EXTENSION_HEADERS.has(protocol) || protocol === 44)) {
    // The fragment header (44) has 8 bytes; the others say their length in units of 8 after the first 8.
    if (protocol === 44) later = view.getUint16(offset + 2) >> 3 > 0;
    const length = protocol === 44 ? 8 : (view.getUint8(offset + 1) + 1) * 8;
    protocol = view.getUint8(offset);
    offset += length;
  }
  return transport(view, { protocol, offset, addresses, later });
}

function transport(
  view: DataView,
  packet: {
    readonly protocol: number;
    readonly offset: number;
    readonly addresses: readonly [Endpoint["ip"], Endpoint["ip"]];
    /** A fragment that is not the first has no ports. */
    readonly later: boolean;
  },
): Packet {
  const name = IP_PROTOCOLS.get(packet.protocol) ?? `ip protocol ${packet.protocol}`;
  if (name !== "udp" || packet.later || packet.offset + 4 > view.byteLength) return { protocol: name };
  const [source, destination] = packet.addresses;
  return {
    protocol: name,
    udp: {
      source: { ip: source, port: view.getUint16(packet.offset) },
      destination: { ip: destination, port: view.getUint16(packet.offset + 2) },
    },
  };
}

/** readCapture reads a whole capture and looks for a marker in every frame, headers included. */
export function readCapture(file: Uint8Array, marker?: string): CaptureReport {
  const protocols = new Set<string>();
  const flows = new Map<string, UdpFlow>();
  let packets = 0;
  let bytes = 0;
  let markerSeen = false;
  for (const frame of frames(file)) {
    packets++;
    bytes += frame.length;
    markerSeen ||=
      marker !== undefined && Buffer.from(frame.buffer, frame.byteOffset, frame.length).includes(marker);
    const { protocol, udp } = parseFrame(frame);
    protocols.add(protocol);
    if (udp === undefined) continue;
    const key = `${formatEndpoint(udp.source)} ${formatEndpoint(udp.destination)}`;
    flows.set(key, { ...udp, packets: (flows.get(key)?.packets ?? 0) + 1 });
  }
  return { packets, bytes, protocols: [...protocols].sort(), udpFlows: [...flows.values()], markerSeen };
}
