import { expect, test } from "bun:test";
import { buildPacket } from "../../../test/support/packets.ts";
import { Arena } from "../../sys/mod.ts";
import { checksumOf } from "../path/mod.ts";
import { GSO, NEEDS_CHECKSUM, VIRTIO, VIRTIO_HEADER } from "../path/virtio-header.ts";
import { Handed } from "./handed.ts";

const arena = new Arena({ bytes: 4 << 20 });
const room = arena.allocate(VIRTIO_HEADER + 65_535);
const MOST = 128;

function place(packet: Uint8Array, header: Partial<Record<keyof typeof VIRTIO, number>> = {}): number {
  arena.wipe(room, VIRTIO_HEADER);
  arena.u8[room + VIRTIO.flags] = header.flags ?? 0;
  arena.u8[room + VIRTIO.type] = header.type ?? 0;
  for (const name of ["headerBytes", "segmentBytes", "checksumStart", "checksumOffset"] as const)
    arena.view.setUint16(room + VIRTIO[name], header[name] ?? 0, true);
  arena.store(room + VIRTIO_HEADER, packet);
  return VIRTIO_HEADER + packet.length;
}

const packet = buildPacket({
  family: 4,
  protocol: "udp",
  source: 1,
  target: 2,
  sourcePort: 7,
  targetPort: 8,
  payload: new Uint8Array(100).fill(9),
});

test("a packet comes back as it was, without its virtio header, as a copy", () => {
  const handed = new Handed(arena, checksumOf(arena));
  const bytes = place(packet);
  expect(handed.begins(room, bytes)).toBe(1);
  const copy = handed.packet(0);
  arena.wipe(room, bytes);
  expect([...copy]).toEqual([...packet]);
});

test("a super-packet becomes packets as they would be on a wire", () => {
  const handed = new Handed(arena, checksumOf(arena));
  const payload = Uint8Array.from({ length: 4000 }, (_, i) => i);
  const parts = { family: 4, protocol: "udp", source: 1, target: 2, sourcePort: 7, targetPort: 8 } as const;
  const bytes = place(buildPacket({ ...parts, payload }), {
    flags: NEEDS_CHECKSUM,
    type: GSO.udp,
    headerBytes: 28,
    segmentBytes: 1000,
    checksumStart: 20,
    checksumOffset: 6,
  });
  expect(handed.begins(room, bytes)).toBe(4);
  const got = [0, 1, 2, 3].map((i) => handed.packet(i));
  expect(got.map(({ length }) => length)).toEqual([1028, 1028, 1028, 1028]);
  expect(got.flatMap((one) => [...one.subarray(28)])).toEqual([...payload]);
});

test("nonsense is no packet", () => {
  const handed = new Handed(arena, checksumOf(arena));
  expect(handed.begins(room, place(new Uint8Array(30).fill(0xff)))).toBe(0);
  expect(handed.begins(room, place(new Uint8Array(3)))).toBe(0);
});

test("so many in each period, and those that are too many are counted", () => {
  const handed = new Handed(arena, checksumOf(arena));
  handed.begin(1000);
  expect(Array.from({ length: MOST + 5 }, () => handed.mayPacket()).filter(Boolean)).toHaveLength(MOST);
  expect(handed.dropped).toBe(5);
  handed.begin(1099);
  expect(handed.mayPacket()).toBe(false);
  handed.begin(1100);
  expect(handed.mayPacket()).toBe(true);
});

test("datagrams from anywhere do not use up what our own packets may", () => {
  const handed = new Handed(arena, checksumOf(arena));
  handed.begin(1000);
  while (handed.mayDatagram());
  expect(Array.from({ length: MOST }, () => handed.mayPacket()).every(Boolean)).toBe(true);
  handed.begin(2000);
  while (handed.mayPacket());
  expect(handed.mayDatagram()).toBe(true);
});

test("datagrams of sessions have a bound of their own, which datagrams of anybody do not use up", () => {
  const handed = new Handed(arena, checksumOf(arena));
  for (let i = 0; i < 10 * MOST; i++) handed.mayDatagram();
  for (let i = 0; i < 10 * MOST; i++) expect(handed.mayKnown()).toBe(true);
  for (let i = 0; i < 10 * MOST; i++) handed.mayKnown();
  expect(handed.mayKnown()).toBe(false);
  handed.begin(1e6);
  expect([handed.mayKnown(), handed.mayDatagram(), handed.mayPacket()]).toEqual([true, true, true]);
});
