/** VXLAN made by hand, as who forges it would. */
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import { join } from "./frames.ts";
import { onesSum } from "./packets.ts";

const u16 = (value: number) => [(value >> 8) & 255, value & 255];

/** VxlanOuter is what is around a frame. */
export interface VxlanOuter {
  readonly source: string;
  readonly target: string;
  readonly vni: number;
  /** Bytes of the UDP datagram in the first of two fragments; default: not fragmented. */
  readonly firstFragmentBytes?: number;
}

/** vxlanPackets returns IPv4 packets to UDP port 4789 with VXLAN (RFC 7348 section 5) around a frame. */
export function vxlanPackets(
  { source, target, vni, firstFragmentBytes }: VxlanOuter,
  inner: Uint8Array,
): Uint8Array<ArrayBuffer>[] {
  const vxlan = join([8, 0, 0, 0], [vni >> 16, ...u16(vni), 0], inner);
  const udp = join(u16(40_000), u16(4789), u16(8 + vxlan.length), u16(0), vxlan);
  const packet = (payload: Uint8Array, fragment: number) => {
    const header = (sum: number) =>
      join(
        [0x45, 0, ...u16(20 + payload.length), 0, 7],
        u16(fragment),
        [64, 17],
        u16(sum),
        ipBytes(parseIp(source)),
        ipBytes(parseIp(target)),
      );
    return join(header(~onesSum(header(0)) & 0xffff), payload);
  };
  if (firstFragmentBytes === undefined) return [packet(udp, 0)];
  const more = 0x2000;
  return [
    packet(udp.subarray(0, firstFragmentBytes), more),
    packet(udp.subarray(firstFragmentBytes), firstFragmentBytes / 8),
  ];
}
