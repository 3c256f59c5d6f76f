/** Ethernet frames made by hand: to send what no honest pod sends, and to see what arrives. */
import { ipBytes, macBytes, parseIp, parseMac } from "../../src/net/mod.ts";
import { Fd, libc, type Netns } from "../../src/sys/mod.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

/** FrameSocket sends and receives whole frames on one link. */
export class FrameSocket implements Disposable {
  readonly #fd: Fd;

  constructor(netns: Netns, linkIndex: number) {
    const protocol = 0x0300; // ETH_P_ALL in network order
    this.#fd = netns.run(() => {
      const fd = new Fd(libc.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol), "frames");
      const address = new Uint8Array(new ArrayBuffer(20));
      const view = new DataView(address.buffer);
      view.setUint16(0, AF_PACKET, true);
      view.setUint16(2, protocol, true);
      view.setInt32(4, linkIndex, true);
      libc.bind(fd.number, address);
      return fd;
    });
  }

  send(frame: Uint8Array<ArrayBuffer>): void {
    libc.send(this.#fd.number, frame);
  }

  /** receive returns the next frame, or undefined when none came for a while. */
  receive(timeoutMs: number): Uint8Array | undefined {
    if (!libc.pollReadable(this.#fd.number, timeoutMs)) return undefined;
    const buffer = new Uint8Array(new ArrayBuffer(2048));
    const length = libc.recv(this.#fd.number, buffer);
    return length < 0 ? undefined : buffer.subarray(0, length);
  }

  [Symbol.dispose](): void {
    this.#fd.close();
  }
}

type Bytes = Uint8Array<ArrayBuffer>;

/** join concatenates bytes, 16-bit numbers and text. */
export function join(...parts: (Uint8Array | readonly number[] | string)[]): Bytes {
  return new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part as string))));
}

const u16 = (value: number) => [value >> 8, value & 255];

/** ethernet wraps a payload. */
export function ethernet(source: string, destination: string, etherType: number, payload: Uint8Array): Bytes {
  return join(macBytes(parseMac(destination)), macBytes(parseMac(source)), u16(etherType), payload);
}

function checksum(...parts: Uint8Array[]): number {
  const data = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += ((data[at] ?? 0) << 8) | (data[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** ipv4 makes a UDP packet to port 9 with the text. */
export function ipv4(source: string, destination: string, text: string): Bytes {
  const udp = join(u16(9), u16(9), u16(8 + text.length), u16(0), text);
  const header = (sum: number) =>
    join(
      [0x45, 0],
      u16(20 + udp.length),
      u16(0),
      u16(0),
      [64, 17],
      u16(sum),
      bytes(source),
      bytes(destination),
    );
  return join(header(checksum(header(0))), udp);
}

/** ipv6 makes a packet with a next header and a payload. */
export function ipv6(
  source: string,
  destination: string,
  next: number,
  payload: Uint8Array,
  hops = 64,
): Bytes {
  return join([0x60, 0, 0, 0], u16(payload.length), [next, hops], bytes(source), bytes(destination), payload);
}

/** udp6 makes a UDP packet to port 9 with the text. */
export function udp6(source: string, destination: string, text: string): Bytes {
  const udp = (sum: number) => join(u16(9), u16(9), u16(8 + text.length), u16(sum), text);
  const sum = checksum(
    bytes(source),
    bytes(destination),
    new Uint8Array([0, 0, ...u16(8 + text.length), 0, 0, 0, 17]),
    udp(0),
  );
  return ipv6(source, destination, 17, udp(sum));
}

/** icmp6 makes an ICMPv6 message, alone or behind an empty hop-by-hop header. */
export function icmp6(
  source: string,
  destination: string,
  message: { type: number; body: Uint8Array; hopByHop?: boolean },
): Bytes {
  const { type, body, hopByHop = false } = message;
  const plain = (sum: number) => join([type, 0], u16(sum), body);
  const length = plain(0).length;
  const sum = checksum(
    bytes(source),
    bytes(destination),
    new Uint8Array([0, 0, ...u16(length), 0, 0, 0, 58]),
    plain(0),
  );
  const payload = hopByHop ? join([58, 0, 5, 2, 0, 0, 1, 0], plain(sum)) : plain(sum);
  return ipv6(source, destination, hopByHop ? 0 : 58, payload, 255);
}

/** arp makes a request or reply (RFC 826). */
export function arp(
  operation: 1 | 2,
  sender: { mac: string; ip: string },
  target: { mac: string; ip: string },
): Bytes {
  return join(
    [0, 1, 8, 0, 6, 4, 0, operation],
    macBytes(parseMac(sender.mac)),
    bytes(sender.ip),
    macBytes(parseMac(target.mac)),
    bytes(target.ip),
  );
}

/** bytes returns an address in network order. */
export function bytes(text: string): Bytes {
  return ipBytes(parseIp(text));
}

/** sameBytes tells whether a frame is the other. */
export function sameFrame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
