/**
 * One queue of a gateway on AF_XDP: a port on the private interface and one on the public interface, with one UMEM, and the loop of the thread
 * that has them.
 *
 * Whoever attached the XDP programs adds the two sockets to them (XdpInterface.add): by number, so that it may be another thread.
 */
import { type AeadProvider, type Arena, type Fd, monotonicMs, type Netns } from "../../sys/mod.ts";
import { type XdpFilter, XdpFrames, XdpLoop, XdpPort } from "../xdp/mod.ts";
import { type GatewayOptions, GatewayPath, mostMtuOf } from "./gateway-path.ts";

/** GATEWAY_FILTER takes all of IP and ARP: the interface is the gateway's, and the kernel keeps what is neither. */
export const GATEWAY_FILTER: XdpFilter = { etherTypes: [0x0806, 0x0800, 0x86dd] };

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
  /** Whether the driver runs the program (XdpInterface.mode), and may pass frames without a copy. */
  readonly zeroCopy: boolean;
}

/** GatewayQueueOptions are what a queue is made of. */
export interface GatewayQueueOptions extends Omit<GatewayOptions, "privatePort" | "publicPort"> {
  readonly arena: Arena;
  readonly provider: AeadProvider;
  readonly privateInterface: QueueInterface;
  readonly publicInterface: QueueInterface;
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

/** GatewayQueue owns its sockets and associations. */
export class GatewayQueue implements Disposable {
  readonly path: GatewayPath;
  readonly privatePort: XdpPort;
  readonly publicPort: XdpPort;
  readonly #loop: XdpLoop;

  constructor(options: GatewayQueueOptions) {
    const { arena, privateInterface, publicInterface, waker } = options;
    const { frameBytes = frameBytesFor(options.mtuBytes) } = options;
    const frames = new XdpFrames(arena, { frames: FRAMES, frameBytes });
    const rings = { receive: RING, transmit: RING };
    const opened: Disposable[] = [];
    try {
      this.privatePort = new XdpPort(frames, { ...privateInterface, ...rings });
      opened.push(this.privatePort);
      this.publicPort = new XdpPort(frames, { ...publicInterface, ...rings, share: this.privatePort });
      opened.push(this.publicPort);
      const { privatePort, publicPort } = this;
      this.path = new GatewayPath({ ...options, privatePort, publicPort });
    } catch (error) {
      for (const port of opened.reverse()) port[Symbol.dispose]();
      throw error;
    }
    const { privatePort, publicPort, path } = this;
    const blocked = (port: XdpPort) => port.blocked && !port.isDown;
    // While one side cannot send the other is not received from: its ring fills, and the kernel drops and counts.
    const side = (port: XdpPort, other: XdpPort, work: () => void) => ({
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
