/** How messages of sendmmsg(2) and recvmmsg(2) lie in memory: struct msghdr in struct mmsghdr (include/linux/socket.h, 64-bit). */
import { type Arena, SIZE, SOCKET_ADDRESS, storePart } from "../../sys/mod.ts";
import { ENDPOINT, ENDPOINT_BYTES } from "./endpoint-memory.ts";

/** MESSAGE_HEADER has the places of its fields. */
export const MESSAGE_HEADER = {
  name: 0,
  nameBytes: 8,
  vectors: 16,
  vectorCount: 24,
  control: 32,
  controlBytes: 40,
  flags: 48,
  /** Of mmsghdr: how many bytes came or went. */
  bytes: 56,
} as const;

/** CONTROL_HEADER is the length of struct cmsghdr before its data. */
export const CONTROL_HEADER = 16;

/** Levels and types of control messages (include/uapi/linux/{in,in6,udp}.h). */
export const CONTROL = {
  ip: 0,
  packetInfo4: 8,
  ipv6: 41,
  packetInfo6: 50,
  udp: 17,
  udpSegment: 103,
  udpJoined: 104,
} as const;

/** layData makes a header's data [at, at + length), through the iovec at `vector`. */
export function layData(arena: Arena, header: number, vector: number, at: number, length: number): void {
  storePart(arena, vector, at, length);
  arena.storeAddress(header + MESSAGE_HEADER.vectors, vector, SIZE.iovec);
  arena.u32[(header + MESSAGE_HEADER.vectorCount) >>> 2] = 1;
}

/** layControl makes a header's control memory [at, at + length). */
export function layControl(arena: Arena, header: number, at: number, length: number): void {
  arena.storeAddress(header + MESSAGE_HEADER.control, at, length);
  arena.u32[(header + MESSAGE_HEADER.controlBytes) >>> 2] = length;
}

/** layEndpoint makes a header's address and control memory those of an endpoint, and returns the length of the latter. */
export function layEndpoint(arena: Arena, header: number, endpoint: number): number {
  arena.check(endpoint, ENDPOINT_BYTES);
  arena.storeAddress(header + MESSAGE_HEADER.name, endpoint, SOCKET_ADDRESS.bytes);
  const addressBytes = Math.min(
    SOCKET_ADDRESS.bytes,
    arena.u32[(endpoint + ENDPOINT.addressBytes) >>> 2] as number,
  );
  arena.u32[(header + MESSAGE_HEADER.nameBytes) >>> 2] = addressBytes;
  const room = ENDPOINT_BYTES - ENDPOINT.control;
  const length = Math.min(room, arena.u32[(endpoint + ENDPOINT.controlBytes) >>> 2] as number);
  layControl(arena, header, endpoint + ENDPOINT.control, length);
  return length;
}
