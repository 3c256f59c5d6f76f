/**
 * Packets as values, for tests of the packet path: built and taken apart byte by byte, slowly and plainly, with nothing shared with the code under test.
 */

/** TestPacket is a TCP or UDP packet. Addresses are numbers 0 to 255 that differ in their last byte. */
export interface TestPacket {
  readonly family: 4 | 6;
  readonly protocol: "tcp" | "udp";
  readonly source: number;
  readonly target: number;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly payload: Uint8Array;
  readonly ttl?: number;
  readonly service?: number;
  readonly id?: number;
  readonly dontFragment?: boolean;
  /** More fragments follow: bit 13, and the offset. */
  readonly fragment?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  /** Options of TCP; a multiple of four bytes. */
  readonly options?: Uint8Array;
  /** UDP over IPv4 may go without. */
  readonly withoutChecksum?: boolean;
}

/** onesSum adds 16-bit words in network order (RFC 1071). */
export function onesSum(bytes: Uint8Array, start = 0): number {
  let sum = start;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
    sum = (sum & 0xffff) + (sum >>> 16);
  }
  return sum;
}

/** addressBytes returns the address that a number of a TestPacket stands for: 10.0.0.N or fd00::N. */
export function addressBytes(family: 4 | 6, number: number): Uint8Array {
  if (family === 4) return new Uint8Array([10, 0, 0, number]);
  const bytes = new Uint8Array(16);
  bytes[0] = 0xfd;
  bytes[15] = number;
  return bytes;
}

/** buildPacket returns the bytes, with right checksums. */
export function buildPacket(packet: TestPacket): Uint8Array<ArrayBuffer> {
  const { family, protocol, payload } = packet;
  const options = packet.options ?? new Uint8Array();
  const transportBytes = (protocol === "tcp" ? 20 + options.length : 8) + payload.length;
  const ipBytes = family === 4 ? 20 : 40;
  const bytes = new Uint8Array(ipBytes + transportBytes);
  const view = new DataView(bytes.buffer);
  const number = protocol === "tcp" ? 6 : 17;
  const [source, target] = [addressBytes(family, packet.source), addressBytes(family, packet.target)];
  if (family === 4) {
    bytes[0] = 0x45;
    bytes[1] = packet.service ?? 0;
    view.setUint16(2, bytes.length);
    view.setUint16(4, packet.id ?? 0);
    view.setUint16(6, (packet.dontFragment === false ? 0 : 0x4000) | (packet.fragment ?? 0));
    bytes[8] = packet.ttl ?? 64;
    bytes[9] = number;
    bytes.set(source, 12);
    bytes.set(target, 16);
    view.setUint16(10, ~onesSum(bytes.subarray(0, 20)) & 0xffff);
  } else {
    view.setUint32(0, (6 << 28) | ((packet.service ?? 0) << 20));
    view.setUint16(4, transportBytes);
    bytes[6] = number;
    bytes[7] = packet.ttl ?? 64;
    bytes.set(source, 8);
    bytes.set(target, 24);
  }
  const at = ipBytes;
  view.setUint16(at, packet.sourcePort);
  view.setUint16(at + 2, packet.targetPort);
  if (protocol === "tcp") {
    view.setUint32(at + 4, packet.sequence ?? 0);
    view.setUint32(at + 8, packet.acknowledgement ?? 0);
    bytes[at + 12] = (5 + options.length / 4) << 4;
    bytes[at + 13] = packet.flags ?? 0x10;
    view.setUint16(at + 14, packet.window ?? 1000);
    bytes.set(options, at + 20);
  } else view.setUint16(at + 4, transportBytes);
  bytes.set(payload, bytes.length - payload.length);
  if (packet.withoutChecksum !== true) {
    const sum = ~onesSum(bytes.subarray(at), pseudoSum(source, target, { number, transportBytes })) & 0xffff;
    // In UDP 0 says that there is none (RFC 768); in TCP both say the same, and what our data path sums itself is never 0.
    view.setUint16(at + (protocol === "tcp" ? 16 : 6), sum === 0 ? 0xffff : sum);
  }
  return bytes;
}

function pseudoSum(
  source: Uint8Array,
  target: Uint8Array,
  { number, transportBytes }: { number: number; transportBytes: number },
): number {
  return onesSum(
    new Uint8Array([0, number, transportBytes >> 8, transportBytes & 255]),
    onesSum(target, onesSum(source)),
  );
}

/** parsePacket takes a packet apart and throws for any length or checksum that is wrong. */
export function parsePacket(bytes: Uint8Array): TestPacket & { readonly checksum: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const family = (bytes[0] as number) >> 4 === 4 ? 4 : 6;
  const at = family === 4 ? 20 : 40;
  const want = (what: string, is: unknown, should: unknown) => {
    if (is !== should) throw new Error(`${what} is ${String(is)}, should be ${String(should)}`);
  };
  if (family === 4) {
    want("total length", view.getUint16(2), bytes.length);
    want("IP checksum", onesSum(bytes.subarray(0, 20)), 0xffff);
  } else want("payload length", view.getUint16(4), bytes.length - 40);
  const number = bytes[family === 4 ? 9 : 6] as number;
  const protocol = number === 6 ? "tcp" : "udp";
  const [source, target] =
    family === 4
      ? [bytes.subarray(12, 16), bytes.subarray(16, 20)]
      : [bytes.subarray(8, 24), bytes.subarray(24, 40)];
  const transportBytes = bytes.length - at;
  const checksum = view.getUint16(at + (protocol === "tcp" ? 16 : 6));
  if (protocol === "tcp" || checksum !== 0)
    want(
      "checksum",
      onesSum(bytes.subarray(at), pseudoSum(source, target, { number, transportBytes })),
      0xffff,
    );
  if (protocol === "udp") want("UDP length", view.getUint16(at + 4), transportBytes);
  const header = protocol === "tcp" ? ((bytes[at + 12] as number) >> 4) * 4 : 8;
  return {
    family,
    protocol,
    source: source.at(-1) as number,
    target: target.at(-1) as number,
    sourcePort: view.getUint16(at),
    targetPort: view.getUint16(at + 2),
    payload: bytes.slice(at + header),
    ttl: bytes[family === 4 ? 8 : 7] as number,
    service: family === 4 ? (bytes[1] as number) : (view.getUint32(0) >>> 20) & 255,
    checksum,
    ...(family === 4 ? { id: view.getUint16(4), dontFragment: (view.getUint16(6) & 0x4000) !== 0 } : {}),
    ...(protocol === "tcp"
      ? {
          sequence: view.getUint32(at + 4),
          acknowledgement: view.getUint32(at + 8),
          flags: bytes[at + 13] as number,
          window: view.getUint16(at + 14),
          options: bytes.slice(at + 20, at + header),
        }
      : {}),
  };
}

/** Virtio is the header before a packet of a TUN device, as a value. */
export interface Virtio {
  readonly flags: number;
  readonly type: number;
  readonly headerBytes: number;
  readonly segmentBytes: number;
  readonly checksumStart: number;
  readonly checksumOffset: number;
}

/** virtioBytes lays out the header. */
export function virtioBytes(header: Partial<Virtio> = {}): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  bytes[0] = header.flags ?? 0;
  bytes[1] = header.type ?? 0;
  [header.headerBytes, header.segmentBytes, header.checksumStart, header.checksumOffset].forEach((value, i) =>
    view.setUint16(2 + 2 * i, value ?? 0, true),
  );
  return bytes;
}

/** readVirtio takes the header apart. */
export function readVirtio(bytes: Uint8Array): Virtio {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    flags: bytes[0] as number,
    type: bytes[1] as number,
    headerBytes: view.getUint16(2, true),
    segmentBytes: view.getUint16(4, true),
    checksumStart: view.getUint16(6, true),
    checksumOffset: view.getUint16(8, true),
  };
}

/**
 * superPacket returns a packet as TUN gives it: the virtio header, and a checksum field with the pseudo header's sum only. With a segment
 * size it stands for many.
 */
export function superPacket(packet: TestPacket, segmentBytes?: number): Uint8Array<ArrayBuffer> {
  const bytes = buildPacket(packet);
  const { family, protocol } = packet;
  const start = family === 4 ? 20 : 40;
  const offset = protocol === "tcp" ? 16 : 6;
  const number = protocol === "tcp" ? 6 : 17;
  const transportBytes = bytes.length - start;
  const sum = pseudoSum(addressBytes(family, packet.source), addressBytes(family, packet.target), {
    number,
    transportBytes,
  });
  new DataView(bytes.buffer).setUint16(start + offset, sum);
  const type = protocol === "udp" ? 5 : family === 4 ? 1 : 4;
  return new Uint8Array([
    ...virtioBytes({
      flags: 1,
      type: segmentBytes === undefined ? 0 : type,
      headerBytes: bytes.length - packet.payload.length,
      segmentBytes: segmentBytes ?? 0,
      checksumStart: start,
      checksumOffset: offset,
    }),
    ...bytes,
  ]);
}
