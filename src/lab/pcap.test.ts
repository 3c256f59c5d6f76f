import { describe, expect, test } from "bun:test";
import { formatEndpoint } from "../net/mod.ts";
import { readCapture } from "./pcap.ts";

function pcap(frames: readonly (readonly number[])[], cutBytes = 0): Uint8Array {
  const bytes: number[] = [];
  const u32 = (value: number) => [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
  bytes.push(...u32(0xa1b2c3d4), 2, 0, 4, 0, ...u32(0), ...u32(0), ...u32(65535), ...u32(1));
  for (const frame of frames)
    bytes.push(...u32(0), ...u32(0), ...u32(frame.length), ...u32(frame.length), ...frame);
  return new Uint8Array(bytes.slice(0, bytes.length - cutBytes));
}

const macs = Array<number>(12).fill(2);
const ipv4 = (protocol: number, body: readonly number[], fragment = 0) => [
  ...[...macs, 8, 0, 0x45, 0, 0, 20 + body.length, 0, 0, fragment >> 8, fragment & 255, 64, protocol, 0, 0],
  ...[192, 0, 2, 1, 192, 0, 2, 2, ...body],
];
const v6 = (tail: number) => [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), tail];
const ipv6 = (next: number, body: readonly number[]) => [
  ...[...macs, 0x86, 0xdd, 0x60, 0, 0, 0, 0, body.length, next, 64, ...v6(1), ...v6(2), ...body],
];
const udp = (from: number, to: number, text = "") => {
  const data = [...Buffer.from(text)];
  return [from >> 8, from & 255, to >> 8, to & 255, 0, 8 + data.length, 0, 0, ...data];
};

describe("readCapture", () => {
  test("names protocols and UDP flows", () => {
    const report = readCapture(
      pcap([
        [...macs, 8, 6, ...Array<number>(28).fill(0)],
        ipv4(17, udp(51820, 1024)),
        ipv4(17, udp(51820, 1024)),
        ipv4(6, Array<number>(20).fill(0)),
        ipv4(47, []),
        ipv6(58, [128, 0, 0, 0]),
        ipv6(0, [17, 0, 0, 0, 0, 0, 0, 0, ...udp(5, 6)]),
        [...macs, 0x88, 0xcc, 0],
      ]),
    );
    expect(report.packets).toBe(8);
    expect(report.protocols).toEqual(["arp", "ethertype 0x88cc", "icmp6", "ip protocol 47", "tcp", "udp"]);
    expect(
      report.udpFlows.map((f) => [formatEndpoint(f.source), formatEndpoint(f.destination), f.packets]),
    ).toEqual([
      ["192.0.2.1:51820", "192.0.2.2:1024", 2],
      ["[2001:db8::1]:5", "[2001:db8::2]:6", 1],
    ]);
  });

  test("takes no ports from a fragment that is not the first", () => {
    const report = readCapture(pcap([ipv4(17, udp(1, 2), 0x0010)]));
    expect(report.protocols).toEqual(["udp"]);
    expect(report.udpFlows).toEqual([]);
  });

  test("finds the marker, and only in whole frames", () => {
    const frames = [ipv4(17, udp(1, 2, "nothing")), ipv4(17, udp(1, 2, "see the marker here"))];
    expect(readCapture(pcap(frames), "marker").markerSeen).toBe(true);
    expect(readCapture(pcap(frames), "absent").markerSeen).toBe(false);
    const cut = readCapture(pcap(frames, 3), "marker");
    expect([cut.packets, cut.markerSeen]).toEqual([1, false]);
  });

  test("survives frames that are cut short, and refuses what is not a capture", () => {
    expect(readCapture(pcap([[1, 2], [...macs, 8, 0, 0x4f], ipv4(17, [])])).packets).toBe(3);
    expect(() => readCapture(new Uint8Array(64))).toThrow("not a pcap file");
    expect(readCapture(new Uint8Array(0)).packets).toBe(0);
  });

  test("never throws for random frames", () => {
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    let state = seed;
    const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16;
    for (let round = 0; round < 2000; round++) {
      const type = [
        [8, 0],
        [0x86, 0xdd],
        [8, 6],
      ][next() % 3] as number[];
      const frame = [...macs, ...type, ...Array.from({ length: next() % 90 }, () => next() & 255)];
      expect(() => readCapture(pcap([frame])), `SEED=${seed}`).not.toThrow();
    }
  });
});
