/** Ethernet frames for benches: UDP over IPv4 with a right header, filled up to a length. */
import { type Mac, macBytes } from "../../src/net/mod.ts";
import { onesSum } from "../../test/support/packets.ts";

/** IMIX are Vita's frames: 54, 590 and 1514 bytes, 7 to 4 to 1, mixed. */
export const IMIX: readonly number[] = [54, 590, 54, 590, 54, 1514, 54, 590, 54, 590, 54, 54];

/** etherPacket returns a frame of so many bytes from a host to another of the same /24. */
export function etherPacket(what: {
  readonly length: number;
  readonly target: Mac;
  readonly from: readonly [number, number, number, number];
  readonly port: number;
}): Uint8Array<ArrayBuffer> {
  const { length, target, from, port } = what;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  bytes.set(macBytes(target));
  bytes.set([2, 0, 0, 0, 0, 9], 6);
  view.setUint16(12, 0x0800);
  view.setUint16(14, 0x4500);
  view.setUint16(16, length - 14);
  bytes[22] = 64;
  bytes[23] = 17;
  bytes.set(from, 26);
  bytes.set([...from.slice(0, 3), 2], 30);
  view.setUint16(24, ~onesSum(bytes.subarray(14, 34)) & 0xffff);
  view.setUint16(34, 1000 + port);
  view.setUint16(36, 2000);
  view.setUint16(38, length - 34);
  return bytes;
}
