/** The two ports of a queue, by whichever driver: what the queue wants of them, and how they are opened. */
import type { Fd, Netns } from "../../sys/mod.ts";
import { type LoopPort, PacketPort, type XdpFrames, XdpPort, type XdpPortOptions } from "../xdp/mod.ts";
import type { FramePort } from "./frame-port.ts";

/** Entries of each ring. */
export const RING = 1024;
/** GATEWAY_TYPES are what is taken: all of IP and ARP. */
export const GATEWAY_TYPES: readonly number[] = [0x0806, 0x0800, 0x86dd];

/** QueueInterface says which queue of which interface. */
export interface QueueInterface {
  readonly ifindex: number;
  /** From 0. */
  readonly queue: number;
  readonly netns?: Netns;
  /** Whether the driver runs the program (XdpInterface.mode), and may pass frames without a copy; of AF_XDP only. */
  readonly zeroCopy: boolean;
}

/** QueueDriver is how frames come and go: by AF_XDP, or by packet sockets, which any interface has. */
export type QueueDriver = "xdp" | "packet";

/** QueuePort is one of the two ports. */
export interface QueuePort extends FramePort, LoopPort, Disposable {
  /** What is waited for; of AF_XDP also what is added to the program's map (XdpInterface.add). */
  readonly fd: Fd;
  /** Whether the interface is down: what is sent is dropped. */
  readonly isDown: boolean;
}

/** Opens the ports of the private and the public interface, each told to `opened` as soon as it is there. */
type Open = (
  frames: XdpFrames,
  interfaces: readonly [QueueInterface, QueueInterface],
  opened: (port: Disposable) => void,
) => readonly [QueuePort, QueuePort];

/** queueDrivers open them. */
export const queueDrivers: Readonly<Record<QueueDriver, Open>> = {
  xdp: (frames, [inside, outside], opened) => {
    const open = (options: XdpPortOptions) => {
      const port = new XdpPort(frames, { ...options, receive: RING, transmit: RING });
      opened(port);
      return port;
    };
    const privatePort = open(inside);
    return [privatePort, open({ ...outside, share: privatePort })];
  },
  packet: (frames, [inside, outside], opened) => {
    const open = (options: QueueInterface) => {
      const port = new PacketPort(frames, { ...options, etherTypes: GATEWAY_TYPES });
      opened(port);
      return port;
    };
    return [open(inside), open(outside)];
  },
};
