/**
 * One queue of a gateway on two interfaces: a port on the private one and one on the public one, with one memory of frames, and the loop of the
 * thread that has them.
 *
 * On AF_XDP, whoever attached the XDP programs adds the two sockets to them (XdpInterface.add, by the ports' `fd.number`), which may be another
 * thread. Where AF_XDP is not there packet sockets do the same; they need no program.
 */
import { type AeadProvider, type Arena, type Fd, monotonicMs, type Netns } from "../../sys/mod.ts";
import {
  type LoopPort,
  PacketPort,
  type XdpFilter,
  XdpFrames,
  XdpLoop,
  XdpPort,
  type XdpPortOptions,
} from "../xdp/mod.ts";
import type { FramePort } from "./frame-port.ts";
import { type GatewayOptions, GatewayPath, mostMtuOf } from "./gateway-path.ts";

/** What is taken: all of IP and ARP. */
const ETHER_TYPES = [0x0806, 0x0800, 0x86dd];
/** GATEWAY_FILTER takes that: the interface is the gateway's, and the kernel keeps what is neither. */
export const GATEWAY_FILTER: XdpFilter = { etherTypes: ETHER_TYPES };

/** Entries of each ring; four of them can be full at once, and a batch at work. */
const RING = 1024;
const FRAMES = 4 * RING + 512;
/** The kernel's own, before each frame that is received. */
const HEADROOM = 256;
/** Neighbours are asked in time if the loop wakes so often. */
const TICK_MS = 200;

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
  /** Whether the interface is down: what is sent is dropped. */
  readonly isDown: boolean;
}

/** GatewayQueueOptions are what a queue is made of. */
export interface GatewayQueueOptions extends Omit<GatewayOptions, "privatePort" | "publicPort"> {
  readonly arena: Arena;
  readonly provider: AeadProvider;
  readonly privateInterface: QueueInterface;
  readonly publicInterface: QueueInterface;
  /** Default "xdp". */
  readonly driver?: QueueDriver;
  /** Default: as the MTU wants it (frameBytesFor). */
  readonly frameBytes?: 2048 | 4096;
  /** `run` returns when this becomes readable. */
  readonly waker?: Fd;
}

/** frameBytesFor returns how long frames are to be for an MTU: 4096 above 1693, whose own limit is 3741. */
export function frameBytesFor(mtuBytes: number): 2048 | 4096 {
  return mtuBytes <= mostMtuOf(2048 - HEADROOM) ? 2048 : 4096;
}

/** gatewayArenaBytes returns how large the arena of a queue with such frames is to be, without the AEAD provider. */
export function gatewayArenaBytes(frameBytes: 2048 | 4096 = 2048): number {
  return (FRAMES + 2) * frameBytes + (4 << 20);
}

/** Opens the ports of the private and the public interface; each is told to `opened` as soon as it is there. */
type Open = (
  frames: XdpFrames,
  interfaces: readonly [QueueInterface, QueueInterface],
  opened: (port: Disposable) => void,
) => readonly [QueuePort, QueuePort];

const drivers: Readonly<Record<QueueDriver, Open>> = {
  xdp: (frames, [inside, outside], opened) => {
    const open = (options: XdpPortOptions) =>
      new XdpPort(frames, { ...options, receive: RING, transmit: RING });
    const privatePort = open(inside);
    opened(privatePort);
    const publicPort = open({ ...outside, share: privatePort });
    opened(publicPort);
    return [privatePort, publicPort];
  },
  packet: (frames, [inside, outside], opened) => {
    const open = (options: QueueInterface) => {
      const port = new PacketPort(frames, { ...options, etherTypes: ETHER_TYPES });
      opened(port);
      return port;
    };
    return [open(inside), open(outside)];
  },
};

/** GatewayQueue owns its sockets and associations. */
export class GatewayQueue implements Disposable {
  readonly path: GatewayPath;
  readonly privatePort: QueuePort;
  readonly publicPort: QueuePort;
  readonly #loop: XdpLoop;

  constructor(options: GatewayQueueOptions) {
    const { arena, privateInterface, publicInterface, waker } = options;
    const { frameBytes = frameBytesFor(options.mtuBytes) } = options;
    const frames = new XdpFrames(arena, { frames: FRAMES, frameBytes });
    const driver = drivers[options.driver ?? "xdp"];
    const opened: Disposable[] = [];
    try {
      const [privatePort, publicPort] = driver(frames, [privateInterface, publicInterface], (port) =>
        opened.push(port),
      );
      this.privatePort = privatePort;
      this.publicPort = publicPort;
      this.path = new GatewayPath({ ...options, privatePort, publicPort });
    } catch (error) {
      for (const port of opened.reverse()) port[Symbol.dispose]();
      throw error;
    }
    const { privatePort, publicPort, path } = this;
    const blocked = (port: QueuePort) => port.blocked && !port.isDown;
    // While one side cannot send the other is not received from: its ring fills, and the kernel drops and counts.
    const side = (port: QueuePort, other: QueuePort, work: () => void) => ({
      port,
      blocked: () => blocked(other),
      work: () => {
        if (!blocked(other) || other.flush()) work();
      },
    });
    this.#loop = new XdpLoop(arena, {
      sides: [
        side(privatePort, publicPort, () => void path.runOutbound(monotonicMs())),
        side(publicPort, privatePort, () => void path.runInbound(monotonicMs())),
      ],
      ...(waker === undefined ? {} : { waker }),
    });
  }

  /** once waits up to `timeoutMs` and works on what there is; false when nothing came. */
  once(timeoutMs: number): boolean {
    this.path.tick(monotonicMs());
    return this.#loop.once(timeoutMs);
  }

  /** run goes on until the waker is readable ("called") or an interface is removed ("gone"). */
  run(): "called" | "gone" {
    for (;;) {
      const end = this.#loop.step(TICK_MS);
      if (end !== undefined) return end;
      this.path.tick(monotonicMs());
    }
  }

  [Symbol.dispose](): void {
    this.path[Symbol.dispose]();
    this.publicPort[Symbol.dispose]();
    this.privatePort[Symbol.dispose]();
  }
}
