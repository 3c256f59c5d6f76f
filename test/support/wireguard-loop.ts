/**
 * Our WireGuard core on a real socket and a real TUN device, the slow way: one packet at a time, in this process. It is a tunnel
 * back-end for tests, so that the core meets other programs before the fast data path exists.
 */
import { type Endpoint, formatIp, parseIp } from "../../src/net/mod.ts";
import { attachTun, boottimeMs, type Fd, libc, openUdp, type UdpSocket, wallMs } from "../../src/sys/mod.ts";
import { openProbePort } from "../../src/tunnel/probe-port.ts";
import { RawProbes } from "../../src/tunnel/probe-raw.ts";
import type { Tunnel, TunnelBackend, TunnelOptions } from "../../src/tunnel/backend.ts";
import {
  act,
  configurationOf,
  Device,
  type DeviceOptions,
  type Outcome,
  receiveDatagram,
  sendPacket,
} from "../../src/tunnel/wireguard/mod.ts";

const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const TICK_MS = 2;
/** Packets taken from the link before the socket has its turn again. */
const ROUND = 64;

/** Loop is one device with its socket and its link. */
export class Loop {
  readonly link: string;
  readonly device: Device;
  /** Datagrams that came and went, for tests that look at the wire. */
  onWire: ((direction: "in" | "out", bytes: Uint8Array, other: Endpoint) => boolean) | undefined;
  readonly #options: TunnelOptions;
  readonly #tun: Fd;
  readonly #buffer = new Uint8Array(new ArrayBuffer(65_536));
  #socket: UdpSocket | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #opening: Promise<void> = Promise.resolve();
  /** What the device is told of handshakes that wait: many of them is load. */
  backlog = 0;

  constructor(link: string, options: TunnelOptions & { readonly device?: DeviceOptions }) {
    this.link = link;
    this.#options = options;
    this.device = new Device(options.device);
    this.#tun = attachTun(link, options.netns === undefined ? {} : { netns: options.netns });
    libc.fcntl(this.#tun.number, F_SETFL, O_NONBLOCK);
    this.#timer = setInterval(() => this.#turn(), TICK_MS);
  }

  clock() {
    return { nowMs: boottimeMs(), wallMs: wallMs() };
  }

  get closed(): boolean {
    return this.#timer === undefined;
  }

  /** settled resolves when the socket is where it shall be. */
  settled(): Promise<void> {
    return this.#opening;
  }

  change(configuration: Parameters<typeof configurationOf>[0]): void {
    if (this.closed) throw new Error(`Cannot change the WireGuard device ${this.link}: it is closed`);
    this.carry(
      act(this.device, { kind: "configure", configuration: configurationOf(configuration) }, this.clock()),
    );
  }

  #turn(): void {
    for (let i = 0; i < ROUND && libc.pollReadable(this.#tun.number, 0); i++) {
      const length = libc.readInto(this.#tun.number, this.#buffer);
      this.carry(sendPacket(this.device, this.#buffer.slice(0, length), this.clock()));
    }
    const dueMs = this.device.nextDueMs();
    if (dueMs !== undefined && dueMs <= this.clock().nowMs)
      this.carry(act(this.device, { kind: "due" }, this.clock()));
  }

  /** carry does what a step asked for. */
  carry(outcome: Outcome): void {
    for (const other of outcome.others) if (other.kind === "listen") this.#opening = this.#listen(other.port);
    for (const { to, bytes } of outcome.datagrams) {
      if (this.onWire?.("out", bytes, to) === false) continue;
      if (this.#socket === undefined) void this.#opening.then(() => this.#send(bytes, to));
      else this.#send(bytes, to);
    }
    for (const packet of outcome.packets) {
      try {
        libc.writeFrom(this.#tun.number, packet);
      } catch {
        // The link is down.
      }
    }
  }

  #send(bytes: Uint8Array<ArrayBuffer>, to: Endpoint): void {
    // One socket for both families: IPv4 is mapped (RFC 4291 section 2.5.5.2).
    const host = formatIp(to.ip);
    this.#socket?.send(bytes, to.ip.family === 4 ? `::ffff:${host}` : host, to.port);
  }

  async #listen(wanted: number): Promise<void> {
    const before = this.#socket;
    const { netns } = this.#options;
    // The socket opens later; its port is told now.
    const port = wanted === 0 ? (netns?.run(freePort) ?? freePort()) : wanted;
    act(this.device, { kind: "bound", port }, this.clock());
    this.#socket = await openUdp({
      ...(netns === undefined ? {} : { netns }),
      host: "::",
      port,
      onDatagram: ({ data, host, port: from }) => this.#hear(data as Uint8Array<ArrayBuffer>, host, from),
    });
    before?.close();
  }

  #hear(bytes: Uint8Array, host: string, port: number): void {
    if (this.closed) return;
    const from = { ip: parseIp(host.replace(/^::ffff:(?=\d+\.)/, "").replace(/%.*/, "")), port };
    if (this.onWire?.("in", bytes, from) === false) return;
    this.carry(receiveDatagram(this.device, bytes, { ...this.clock(), from, backlog: this.backlog }));
  }

  close(): void {
    if (this.closed) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#socket?.close();
    this.#tun.close();
    this.device[Symbol.dispose]();
  }
}

/** A port that no socket has. */
function freePort(): number {
  const AF_INET6 = 10;
  const SOCK_DGRAM_CLOEXEC = 0o2000002;
  const address = new Uint8Array(new ArrayBuffer(28));
  new DataView(address.buffer).setUint16(0, AF_INET6, true);
  const fd = libc.socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0);
  try {
    libc.bind(fd, address);
    return new DataView(libc.getsockname(fd).buffer).getUint16(2);
  } finally {
    libc.close(fd);
  }
}

/** LoopTunnel is a tunnel of the back-end, with the loop behind it. */
export type LoopTunnel = Tunnel & { readonly loop: Loop };

/** loopBackend returns the back-end. Its tunnels live as long as this process, or until they are destroyed. */
export function loopBackend(device: DeviceOptions = {}): TunnelBackend {
  const provider = "causeway, slow path";
  return {
    name: "user",
    provider,
    linkType: "external",
    open: async (link, options: TunnelOptions = {}): Promise<LoopTunnel> => {
      const loop = loops.get(link) ?? new Loop(link, { ...options, device });
      loops.set(link, loop);
      await loop.settled();
      const close = () => {};
      return {
        link,
        provider,
        linkType: "external",
        state: { kind: "running" },
        loop,
        device: { read: () => loop.device.read(), change: (change) => loop.change(change) },
        probes: (probing) =>
          openProbePort({ ...probing, netns: options.netns }, (place) => new RawProbes(place)),
        close,
        destroy: async () => {
          loops.delete(link);
          await loop.settled();
          loop.close();
        },
        [Symbol.dispose]: close,
      };
    },
  };
}

const loops = new Map<string, Loop>();
