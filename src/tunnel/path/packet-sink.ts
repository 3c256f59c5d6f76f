/** Where plain packets go after a tunnel, and where they come from before it. TUN queues and AF_XDP sockets are such. */

/** PACKET_ROOM bytes before each packet are the sink's to write to: a virtio header goes there. */
export const PACKET_ROOM = 16;

/** PacketSink takes packets that lie in the arena; they stay there untouched until `flush` returns. */
export interface PacketSink {
  /** add takes over a packet. Packets of one flow leave in the order in which they came. */
  add(at: number, length: number): void;
  /** flush sends what was added; what the system refuses is dropped and counted. */
  flush(): void;
}

/** PacketSource gives packets, each with a virtio header before it (all zero: nothing is left to do). */
export interface PacketSource {
  /** receive brings what is there, without waiting, and returns how many packets; the ones before are gone then. */
  receive(): number;
  /** at is the offset of a packet's virtio header. */
  at(index: number): number;
  /** bytes is the length from there on. */
  bytes(index: number): number;
}
