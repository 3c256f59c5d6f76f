/** Where a gateway's Ethernet frames come from and go to: a queue of an interface by AF_XDP (XdpPort) or by a packet socket (PacketPort). */
import type { XdpFrames } from "../xdp/xdp-frames.ts";
import type { PortLosses } from "../xdp/xdp-port.ts";

/** LEAST_HEADROOM: so many bytes before each received frame are free to write to; outer headers and ICMP errors grow into them. */
export const LEAST_HEADROOM = 192;

/**
 * FramePort gives frames in batches and takes frames. Two ports of one gateway have the same `frames`, so that what came by one leaves by the
 * other as it lies.
 */
export interface FramePort {
  /** The memory of all frames. Those from `take` have LEAST_HEADROOM before them too. */
  readonly frames: Pick<XdpFrames, "arena" | "take" | "give" | "roomAt" | "roomBytes">;
  /** receive brings what is there, without waiting: at most 64 frames; the ones before are gone, but for those that were sent. */
  receive(): number;
  /** at is the offset of a frame's Ethernet header, bytes the length from there on. */
  at(index: number): number;
  bytes(index: number): number;
  /** send takes over the frame around an offset: `bytes` from there on; false when there is no room, and the frame stays whose it was. */
  send(at: number, bytes: number): boolean;
  /** flush makes everything leave that was sent; false when not all of it can now. */
  flush(): boolean;
  /**
   * Frames of the last `receive` that were longer than the memory of a frame: they are not in the batch, but `frames.roomBytes` of each are there
   * until the next one. Absent where nothing is known of them.
   */
  readonly cuts?: number;
  cutAt?(index: number): number;
  /** lost asks the system what it dropped; absent where it drops nothing. */
  lost?(): PortLosses;
}
