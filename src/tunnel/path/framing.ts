/**
 * Framing: how a packet becomes a datagram and back. WireGuard's transport messages are one (wireguard-framing.ts); ESP will be another.
 *
 * ```
 * frame:  | head | packet, padding | tag |
 *                 └──── text ─────┘          sealed in place, by a batch of AEAD
 * ```
 */
import type { AeadBatch } from "../../sys/mod.ts";

/** Outgoing is a session as far as sealing concerns it. */
export interface Outgoing {
  /** What the peer knows the session by. */
  readonly remoteIndex: number;
}

/** Framing makes and reads heads. All places are offsets in one arena; a method trusts that the whole frame lies inside. */
export interface Framing {
  /** Bytes before the packet: at least PACKET_ROOM, since the sink writes there after opening. */
  readonly headBytes: number;
  /** Bytes of additional data of each text. */
  readonly additionalBytes: number;
  /** frameBytes returns how long the frame of a packet is. */
  frameBytes(packetBytes: number): number;
  /** seal writes head and padding of a frame whose packet is at its place, and adds the text to the batch. */
  seal(batch: AeadBatch, frame: number, packetBytes: number, session: Outgoing, counter: number): void;
  /** receiver returns which session of ours a datagram is for; -1 for what is not a data frame. */
  receiver(frame: number, bytes: number): number;
  /** counter returns the number of a data frame, below 2^53; -1 for one that can never be right. */
  counter(frame: number): number;
  /** open adds the text of a data frame to the batch. */
  open(batch: AeadBatch, frame: number, bytes: number): void;
}
