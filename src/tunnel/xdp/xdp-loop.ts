/**
 * The loop of one thread over ports of interfaces: sleeps in poll(2) until frames come, and runs what each port feeds.
 *
 * A port whose work has no room for more is not waited for: its receive ring fills, and the kernel drops and counts.
 */
import { type Arena, type Fd, pollMany, SIZE, SystemError } from "../../sys/mod.ts";

const POLLIN = 0x001;
const READABLE = POLLIN | 0x008 | 0x010;
/** So soon a port that could not send is tried again: nothing tells when a driver has let go of frames. */
const RETRY_MS = 1;

/** LoopPort is what the loop wants of a port: XdpPort and PacketPort are such. */
export interface LoopPort {
  readonly fd: Fd;
  /** Whether frames wait that the kernel has not taken. */
  readonly blocked: boolean;
  /** Whether the interface was removed. */
  readonly gone: boolean;
  /** flush makes the kernel take what was sent; false when it does not take all of it now. */
  flush(): boolean;
  /** check asks whether the interface is still there. */
  check(): void;
}

/** XdpSide is a port with what is done with its frames. */
export interface XdpSide {
  readonly port: LoopPort;
  /** blocked tells whether what it feeds has no room: then `work` is called only to try again to send. */
  blocked(): boolean;
  /** work receives and passes on for a while; also called when nothing came but what was blocked is tried again. */
  work(): void;
}

/** XdpLoopOptions are the parts that a loop drives. */
export interface XdpLoopOptions {
  readonly sides: readonly XdpSide[];
  /** `run` returns when this becomes readable; the caller clears it. */
  readonly waker?: Fd;
}

/** XdpLoopEnd is why `run` returned. */
export type XdpLoopEnd = "called" | "idle" | "gone";

/** XdpLoop drives the sides. */
export class XdpLoop {
  readonly #arena: Arena;
  readonly #sides: readonly XdpSide[];
  readonly #waker: Fd | undefined;
  readonly #requests: number;
  readonly #count: number;

  constructor(arena: Arena, { sides, waker }: XdpLoopOptions) {
    this.#arena = arena;
    this.#sides = sides;
    this.#waker = waker;
    this.#count = sides.length + (waker === undefined ? 0 : 1);
    this.#requests = arena.allocate(this.#count * SIZE.pollfd);
    sides.forEach(({ port }, i) => this.#place(i, port.fd));
    if (waker !== undefined) this.#place(sides.length, waker);
  }

  #place(index: number, fd: Fd): void {
    const { view } = this.#arena;
    view.setInt32(this.#requests + index * SIZE.pollfd, fd.number, true);
    view.setInt16(this.#requests + index * SIZE.pollfd + 4, POLLIN, true);
  }

  /** once waits up to `timeoutMs` (-1: for ever) and does what there is to do; false when nothing came. */
  once(timeoutMs: number): boolean {
    const sides = this.#sides;
    const { view } = this.#arena;
    let waitMs = timeoutMs;
    for (let i = 0; i < sides.length; i++) {
      const side = sides[i] as XdpSide;
      const isBlocked = side.blocked();
      view.setInt16(this.#requests + i * SIZE.pollfd + 4, isBlocked ? 0 : POLLIN, true);
      if ((isBlocked || side.port.blocked) && (waitMs < 0 || waitMs > RETRY_MS)) waitMs = RETRY_MS;
    }
    const ready = pollMany(this.#arena, this.#requests, this.#count, waitMs);
    if (ready < 0) throw new SystemError("poll", -ready);
    for (let i = 0; i < sides.length; i++) {
      const side = sides[i] as XdpSide;
      if (side.port.blocked) side.port.flush();
      if ((this.#answer(i) & READABLE) !== 0 || side.blocked()) side.work();
      // Nothing came: time to ask whether anything still can.
      else if (ready === 0) side.port.check();
    }
    return ready > 0;
  }

  #answer(index: number): number {
    return this.#arena.view.getInt16(this.#requests + index * SIZE.pollfd + 6, true);
  }

  get #isGone(): boolean {
    for (let i = 0; i < this.#sides.length; i++) if ((this.#sides[i] as XdpSide).port.gone) return true;
    return false;
  }

  /** step waits up to `timeoutMs`, does what there is to do, and tells why to stop: the waker is readable, or an interface was removed. */
  step(timeoutMs: number): "called" | "gone" | undefined {
    const came = this.once(timeoutMs);
    if (came && this.#waker !== undefined && (this.#answer(this.#sides.length) & READABLE) !== 0)
      return "called";
    return this.#isGone ? "gone" : undefined;
  }

  /** run goes on until the waker is readable, an interface is removed, or nothing came for `idleMs`. Without it, removal is looked for each second. */
  run(options: { readonly idleMs?: number } = {}): XdpLoopEnd {
    for (;;) {
      const came = this.once(options.idleMs ?? 1000);
      if (came && this.#waker !== undefined && (this.#answer(this.#sides.length) & READABLE) !== 0)
        return "called";
      if (this.#isGone) return "gone";
      if (!came && options.idleMs !== undefined && !this.#sides.some(({ port }) => port.blocked))
        return "idle";
    }
  }
}
