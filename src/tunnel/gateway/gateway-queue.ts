/**
 * One queue of a gateway on two interfaces: a port on the private one and one on the public one, with one memory of frames, and the loop of the
 * thread that has them.
 *
 * On AF_XDP, whoever attached the XDP programs adds the two sockets to them (XdpInterface.add, by the ports' `fd.number`), which may be another
 * thread. Where AF_XDP is not there packet sockets do the same; they need no program. But the kernel gets a copy of each frame then: it must have
 * no address on the two interfaces, and may not forward (which is refused).
 */
import { macBytes } from "../../net/mod.ts";
import { type AeadProvider, type Arena, type Fd, LinkMembership, monotonicMs } from "../../sys/mod.ts";
import { PacketPort, type XdpFilter, XdpFrames, XdpLoop } from "../xdp/mod.ts";
import { Detour } from "./detour.ts";
import { type GatewayOptions, GatewayPath, mostMtuOf } from "./gateway-path.ts";
import type { GatewayOrder, SideName } from "./order.ts";
import {
  GATEWAY_TYPES,
  type QueueDriver,
  queueDrivers,
  type QueueInterface,
  type QueuePort,
  RING,
} from "./queue-ports.ts";
import type { SideConfiguration } from "./side.ts";

/** GATEWAY_FILTER takes all of IP and ARP: the interface is the gateway's, and the kernel keeps what is neither. */
export const GATEWAY_FILTER: XdpFilter = { etherTypes: GATEWAY_TYPES };

/** Four rings can be full at once, and a batch at work; what others hand over has a batch and one at work. */
const FRAMES = 4 * RING + 512 + 128;
/** The kernel's own, before each frame that is received. */
const HEADROOM = 256;
/** Neighbours are asked in time if the loop wakes so often. */
const TICK_MS = 200;

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
  /** The end of a socket pair from which it reads what other queues hand over (Detour); the caller's. */
  readonly inbox?: Fd;
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
  readonly privatePort: QueuePort;
  readonly publicPort: QueuePort;
  readonly #loop: XdpLoop;
  readonly #interfaces: Readonly<Record<SideName, QueueInterface>>;
  /** Link addresses of the sides, as the cards know them. */
  readonly #memberships = new Map<SideName, LinkMembership>();
  readonly #arena: Arena;
  /** By descriptor of the socket. */
  readonly #detours = new Map<number, Detour>();
  readonly #inbox: PacketPort | undefined;

  constructor(options: GatewayQueueOptions) {
    const { arena, privateInterface, publicInterface, waker, inbox } = options;
    this.#arena = arena;
    const { frameBytes = frameBytesFor(options.mtuBytes) } = options;
    const frames = new XdpFrames(arena, { frames: FRAMES, frameBytes });
    const open = queueDrivers[options.driver ?? "xdp"];
    this.#interfaces = { private: privateInterface, public: publicInterface };
    const opened: Disposable[] = [];
    try {
      const interfaces = [privateInterface, publicInterface] as const;
      const [privatePort, publicPort] = open(frames, interfaces, (port) => opened.push(port));
      this.privatePort = privatePort;
      this.publicPort = publicPort;
      for (const name of ["private", "public"] as const) {
        this.#join(name, options[name]);
        opened.push(this.#memberships.get(name) as LinkMembership);
      }
      if (inbox !== undefined) {
        this.#inbox = new PacketPort(frames, {
          fd: inbox,
          isBound: () => true,
          dropped: () => 0,
          close: () => {},
        });
        opened.push(this.#inbox);
      }
      this.path = new GatewayPath({ ...options, privatePort, publicPort });
    } catch (error) {
      for (const port of opened.reverse()) port[Symbol.dispose]();
      throw error;
    }
    const { privatePort, publicPort, path } = this;
    const handed = this.#inbox;
    const blocked = (port: QueuePort) => port.blocked && !port.isDown;
    // While one side cannot send the other is not received from: its ring fills, and the kernel drops and counts. But what another queue sends.
    const holds = (port: QueuePort) => blocked(port) && !path.isDetoured;
    const side = (port: QueuePort, other: QueuePort, work: () => void) => ({
      port,
      blocked: () => holds(other),
      work: () => {
        if (!holds(other) || other.flush()) work();
      },
    });
    this.#loop = new XdpLoop(arena, {
      sides: [
        side(privatePort, publicPort, () => void path.runOutbound(monotonicMs())),
        side(publicPort, privatePort, () => void path.runInbound(monotonicMs())),
        ...(handed === undefined
          ? []
          : [side(handed, publicPort, () => void path.runHanded(handed, monotonicMs()))]),
      ],
      ...(waker === undefined ? {} : { waker }),
    });
  }

  /** obey obeys an order (GatewayPath.obey), and lets the card know of a side's new link address. */
  obey(order: GatewayOrder): void {
    this.path.obey(order);
    if (order.kind === "side") this.#join(order.side, order.configuration);
  }

  /** detour hands a route's packets over to the queue that reads the other end of a socket; without one they leave by this queue again. */
  detour(route: string, socket: number | undefined): void {
    let detour = socket === undefined ? undefined : this.#detours.get(socket);
    if (detour === undefined && socket !== undefined) {
      detour = new Detour(this.#arena, socket);
      this.#detours.set(socket, detour);
    }
    this.path.detour(route, detour);
  }

  #join(name: SideName, { mac }: SideConfiguration): void {
    const { ifindex, netns } = this.#interfaces[name];
    const next = LinkMembership.open(ifindex, macBytes(mac), netns === undefined ? {} : { netns });
    this.#memberships.get(name)?.close();
    this.#memberships.set(name, next);
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
    for (const membership of this.#memberships.values()) membership.close();
    this.#inbox?.close();
    this.publicPort[Symbol.dispose]();
    this.privatePort[Symbol.dispose]();
  }
}
