/**
 * bpf(2): maps, programs and their links, for XDP and for sockets. What a program does is its author's affair (src/tunnel/xdp).
 *
 * Everything lives as long as its descriptor: a link that is closed, by a killed process too, detaches its program, and nothing of it
 * has a name in the file system. Layouts are those of `union bpf_attr` (include/uapi/linux/bpf.h), Linux 5.9 and later.
 */
import { attributes, bpf, nameBytes, refer } from "./bpf-call.ts";
import { isErrno, SystemError } from "./errno.ts";
import { Fd } from "./fd.ts";
import { stable } from "./memory.ts";
import type { Netns } from "./netns.ts";

const MAP_CREATE = 0;
const MAP_UPDATE_ELEM = 2;
const PROG_LOAD = 5;
const PROG_TEST_RUN = 10;
const LINK_CREATE = 28;
const LINK_UPDATE = 29;

const MAP_TYPE_XSKMAP = 17;
/** enum bpf_prog_type, and of XDP what it is to be attached as. */
const PROGRAM = {
  "XDP program": { type: 6, attach: 37 },
  "socket filter": { type: 1, attach: 0 },
} as const;
const ATTACH_XDP = 37;
const INSTRUCTION_BYTES = 8;
const LOG_BYTES = 1 << 16;
const XDP_MD_BYTES = 24;
const XDP_MD_QUEUE = 16;

/** Flags of an XDP link (include/uapi/linux/if_link.h). */
const MODE_FLAG = { generic: 1 << 1, native: 1 << 2 } as const;

/** createXskMap makes a map from queue numbers, below `queues`, to AF_XDP sockets. */
export function createXskMap(queues: number): Fd {
  const all = attributes(72);
  [MAP_TYPE_XSKMAP, 4, 4, queues].forEach((value, i) => all.view.setUint32(4 * i, value, true));
  all.bytes.set(nameBytes("causeway"), 28);
  return new Fd(bpf(MAP_CREATE, all, "create XSKMAP"), "XSKMAP");
}

/** putXskMap makes a queue's packets go to a socket, which must be bound. The entry goes away with the socket. */
export function putXskMap(map: Fd, queue: number, socket: number): void {
  const [key, value] = [stable(4), stable(4)];
  new DataView(key.buffer).setUint32(0, queue, true);
  new DataView(value.buffer).setUint32(0, socket, true);
  const all = attributes(32);
  all.view.setUint32(0, map.number, true);
  refer(all, 8, key);
  refer(all, 16, value);
  bpf(MAP_UPDATE_ELEM, all, `put queue ${queue} into XSKMAP`);
}

/** BpfRefusal is the verifier's no, with what it wrote about it. */
export class BpfRefusal extends Error {
  override readonly name = "BpfRefusal";
  readonly log: string;

  constructor(name: string, log: string, cause: SystemError) {
    const last = log.trim().split("\n").slice(-6).join("\n");
    super(`Cannot load ${name}: ${cause.message}; the verifier says:\n${last}`, { cause });
    this.log = log;
  }
}

/**
 * loadXdpProgram loads instructions (eight bytes each). With the default license a program may call what every program may; some of the kernel's functions
 * are for programs under the GPL.
 */
export function loadXdpProgram(
  name: string,
  instructions: Uint8Array,
  options: { readonly license?: "Apache-2.0" | "GPL" } = {},
): Fd {
  return loadProgram(name, instructions, { kind: "XDP program", ...options });
}

/** loadSocketFilter loads a program that returns how many bytes of a packet a socket gets; filterPacketsBy attaches it. */
export function loadSocketFilter(name: string, instructions: Uint8Array): Fd {
  return loadProgram(name, instructions, { kind: "socket filter" });
}

function loadProgram(
  name: string,
  instructions: Uint8Array,
  options: { readonly kind: keyof typeof PROGRAM; readonly license?: "Apache-2.0" | "GPL" },
): Fd {
  const what = `${options.kind} ${name}`;
  const { type, attach } = PROGRAM[options.kind];
  if (instructions.length === 0 || instructions.length % INSTRUCTION_BYTES !== 0)
    throw new RangeError(`Cannot load ${what}: ${instructions.length} bytes are no instructions`);
  const code = stable(instructions.length);
  code.set(instructions);
  const license = stable(16);
  license.set(new TextEncoder().encode(options.license ?? "Apache-2.0"));
  const attempt = (log: Uint8Array<ArrayBuffer> | undefined) => {
    const all = attributes(72);
    all.view.setUint32(0, type, true);
    all.view.setUint32(4, code.length / INSTRUCTION_BYTES, true);
    refer(all, 8, code);
    refer(all, 16, license);
    if (log !== undefined) {
      all.view.setUint32(24, 1, true);
      all.view.setUint32(28, log.length, true);
      refer(all, 32, log);
    }
    all.bytes.set(nameBytes(name), 48);
    all.view.setUint32(68, attach, true);
    return new Fd(bpf(PROG_LOAD, all, `load ${what}`), what);
  };
  try {
    return attempt(undefined);
  } catch (error) {
    if (!(error instanceof SystemError) || !isErrno(error, "EACCES", "EINVAL", "E2BIG")) throw error;
    // Once more, for the reasons: writing them costs time that a good program need not spend.
    const log = stable(LOG_BYTES);
    try {
      return attempt(log);
    } catch (again) {
      const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
      if (!(again instanceof SystemError) || text === "") throw again;
      throw new BpfRefusal(what, text, again);
    }
  }
}

/** XdpMode says where a program runs: in the driver, or after the kernel has made its own packet of the frame. */
export type XdpMode = "native" | "generic";

/** XdpLink owns an attachment; closing it detaches the program. */
export class XdpLink implements Disposable {
  readonly fd: Fd;
  readonly mode: XdpMode;
  /** Why it is not native, if that was tried: the driver's error. */
  readonly nativeError: string | undefined;

  constructor(fd: Fd, mode: XdpMode, nativeError?: string) {
    this.fd = fd;
    this.mode = mode;
    this.nativeError = nativeError;
  }

  /** replace has another program run in the place of the one before, in one step. Throws where the interface is gone. */
  replace(program: Fd): void {
    const all = attributes(16);
    [this.fd.number, program.number].forEach((value, i) => all.view.setUint32(4 * i, value, true));
    bpf(LINK_UPDATE, all, "replace XDP program");
  }

  close(): void {
    this.fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** XdpAttachment says where: the namespace of the interface, and one mode, or the driver's if it has one. */
export interface XdpAttachment {
  readonly ifindex: number;
  readonly netns?: Netns;
  readonly mode?: XdpMode;
}

/** Errors that another mode would not change: a program is there already, no right, no such interface. */
const FINAL = ["EBUSY", "EEXIST", "EPERM", "ENODEV"] as const;

/** attachXdp attaches a program to an interface: native if the driver can, else generic. */
export function attachXdp(program: Fd, where: XdpAttachment): XdpLink {
  const attach = (mode: XdpMode) => {
    const all = attributes(64);
    [program.number, where.ifindex, ATTACH_XDP, MODE_FLAG[mode]].forEach((value, i) =>
      all.view.setUint32(4 * i, value, true),
    );
    // The index means an interface of the thread's namespace (net/core/dev.c, bpf_xdp_link_attach).
    const call = () => bpf(LINK_CREATE, all, `attach ${mode} XDP program`);
    return new Fd(where.netns === undefined ? call() : where.netns.run(call), `XDP link ${where.ifindex}`);
  };
  try {
    if (where.mode !== undefined) return new XdpLink(attach(where.mode), where.mode);
    try {
      return new XdpLink(attach("native"), "native");
    } catch (error) {
      if (!(error instanceof SystemError) || isErrno(error, ...FINAL)) throw error;
      return new XdpLink(attach("generic"), "generic", error.code);
    }
  } catch (error) {
    if (isErrno(error, "EBUSY", "EEXIST"))
      throw new Error(
        `Cannot attach XDP program to interface ${where.ifindex}: another one is attached; detach it (ip link set dev … xdp off), or end its process`,
        { cause: error },
      );
    if (!(error instanceof SystemError)) throw error;
    throw new Error(
      `Cannot attach XDP program to interface ${where.ifindex}: ${error.message}; the interface may be gone, or in another namespace`,
      { cause: error },
    );
  }
}

/** testXdpProgram runs a program on a frame that came by a queue of the loopback interface, and returns its verdict (BPF_PROG_TEST_RUN). */
export function testXdpProgram(program: Fd, frame: Uint8Array, queue?: number): number {
  const data = stable(frame.length);
  data.set(frame);
  const all = attributes(80);
  all.view.setUint32(0, program.number, true);
  all.view.setUint32(8, data.length, true);
  refer(all, 16, data);
  all.view.setUint32(32, 1, true);
  const context = stable(XDP_MD_BYTES);
  if (queue !== undefined) {
    const fields = new DataView(context.buffer);
    fields.setUint32(4, data.length, true);
    fields.setUint32(12, 1, true);
    fields.setUint32(XDP_MD_QUEUE, queue, true);
    all.view.setUint32(40, context.length, true);
    refer(all, 48, context);
  }
  bpf(PROG_TEST_RUN, all, "test XDP program");
  return all.view.getUint32(4, true);
}
