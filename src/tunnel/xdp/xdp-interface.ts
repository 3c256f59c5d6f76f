/** One interface whose chosen frames go to AF_XDP sockets: map, program and link. Its owner adds one socket for each queue. */
import {
  attachXdp,
  createXskMap,
  type Fd,
  loadXdpProgram,
  type Netns,
  putXskMap,
  type XdpLink,
  type XdpMode,
  xdpFailure,
} from "../../sys/mod.ts";
import { type XdpFilter, xdpProgram } from "./xdp-filter.ts";

/** Most queues of an interface: the size of its map. */
const MOST_QUEUES = 256;

/** xdpProblem tells why no interface's frames can go to AF_XDP sockets here; undefined: they can. */
export function xdpProblem(filter: XdpFilter): string | undefined {
  try {
    using map = createXskMap(1);
    using _ = loadXdpProgram("xdp_to_socket", xdpProgram(filter, map.number));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** XdpInterfaceOptions say what is taken from which interface, and where its program may run. */
export interface XdpInterfaceOptions {
  readonly ifindex: number;
  readonly netns?: Netns;
  readonly filter: XdpFilter;
  /** Default: in the driver if it can, else generic. */
  readonly mode?: XdpMode;
}

/** XdpInterface owns the descriptors; when it is closed, by the end of the process too, the kernel has all frames again. */
export class XdpInterface implements Disposable {
  readonly ifindex: number;
  readonly netns: Netns | undefined;
  readonly #map: Fd;
  readonly #program: Fd;
  readonly #link: XdpLink;

  private constructor(
    options: XdpInterfaceOptions,
    parts: { readonly map: Fd; readonly program: Fd; readonly link: XdpLink },
  ) {
    this.ifindex = options.ifindex;
    this.netns = options.netns;
    this.#map = parts.map;
    this.#program = parts.program;
    this.#link = parts.link;
  }

  /** open attaches the program; until sockets are added the kernel has all frames. Throws XdpUnavailable where no program can be. */
  static open(options: XdpInterfaceOptions): XdpInterface {
    const opened: Disposable[] = [];
    const keep = <T extends Disposable>(value: T): T => {
      opened.push(value);
      return value;
    };
    try {
      const map = keep(createXskMap(MOST_QUEUES));
      const program = keep(loadXdpProgram("xdp_to_socket", xdpProgram(options.filter, map.number)));
      const { ifindex, netns, mode } = options;
      const where = {
        ifindex,
        ...(netns === undefined ? {} : { netns }),
        ...(mode === undefined ? {} : { mode }),
      };
      return new XdpInterface(options, { map, program, link: keep(attachXdp(program, where)) });
    } catch (error) {
      for (const part of opened.reverse()) part[Symbol.dispose]();
      throw xdpFailure(error);
    }
  }

  /** Where the program runs. */
  get mode(): XdpMode {
    return this.#link.mode;
  }

  /** The driver's error, if the program is generic because of it. */
  get nativeError(): string | undefined {
    return this.#link.nativeError;
  }

  /** add gives a queue's frames to a socket, by its descriptor's number: it may be another thread's. */
  add(queue: number, socket: number): void {
    if (!Number.isInteger(queue) || queue < 0 || queue >= MOST_QUEUES)
      throw new RangeError(`Cannot add queue ${queue}: queues are 0 to ${MOST_QUEUES - 1}`);
    putXskMap(this.#map, queue, socket);
  }

  close(): void {
    this.#link.close();
    this.#program.close();
    this.#map.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
