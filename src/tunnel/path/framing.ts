/**
 * Framing: how a packet becomes a datagram and back. WireGuard's transport messages are one (wireguard-framing.ts), ESP is another
 * (../esp/esp-framing.ts).
 *
 * ```
 * frame:  | head | packet, padding | tag |
 *                 └──── text ─────┘          sealed in place, by a batch of AEAD
 * ```
 */
import type { AeadBatch } from "../../sys/mod.ts";
import type { OpenSession, PathSession } from "./path-peer.ts";

/** Outgoing is a session as far as sealing concerns it. */
export interface Outgoing {
  /** What the peer knows the session by. */
  readonly remoteIndex: number;
}

/**
 * Framing makes and reads heads. All places are offsets in one arena; a method trusts that the whole frame lies inside.
 *
 * It works on sessions of its protocol. A batch holds texts of one session, and its additional data are as long as `additionalBytes` says
 * unless `seal` and `open` set something else.
 */
export interface Framing<Seal extends Outgoing = PathSession, Open extends OpenSession = PathSession> {
  /** Bytes before the packet: at least PACKET_ROOM, since the sink writes there after opening. */
  readonly headBytes: number;
  /** Bytes of additional data of each text. */
  readonly additionalBytes: number;
  /** frameBytes returns how long the frame of a packet is. */
  frameBytes(packetBytes: number): number;
  /** seal writes head and padding of a frame whose packet is at its place, and adds the text to the batch. */
  seal(batch: AeadBatch, frame: number, packetBytes: number, session: Seal, counter: number): void;
  /** receiver returns which session of ours a datagram is for; -1 for what is not a data frame. */
  receiver(frame: number, bytes: number): number;
  /** counter returns the number of a data frame, below 2^53; -1 for one that can never be right. It changes nothing. */
  counter(frame: number, session: Open): number;
  /** open adds the text of a data frame with such a counter to the batch. */
  open(batch: AeadBatch, frame: number, bytes: number, session: Open, counter: number): void;
  /** accept tells whether the counter of an authentic frame is new, and marks it as seen. */
  accept(session: Open, counter: number): boolean;
  /** packetBytes returns the length of the packet in an opened text, or more; 0 for a text without one, -1 for nonsense. */
  packetBytes(text: number, textBytes: number): number;
}
