/**
 * Receiving beside a WireGuard that is not ours: raw UDP sockets, which get a copy of what passed the packet filter, whoever has the port.
 *
 * The event loop reads what an adopted socket brings, but not where it came from: over IPv4 the packet's own header says it; over IPv6 a second
 * socket is read with its addresses whenever the first, whose packets are cut to one byte, says that something is there.
 */
import { ipFromBytes } from "../net/mod.ts";
import {
  after,
  Arena,
  filterPackets,
  IP_PROTOCOL_UDP,
  isErrno,
  monotonicMs,
  randomBytes,
  RawSocket,
  type SocketWatcher,
  watchSocket,
} from "../sys/mod.ts";
import { DatagramReceiver, ENDPOINT, ENDPOINT_BYTES } from "./path/mod.ts";
import { PROBE_HEAD_BYTES, keptBytes, ProbeAdmission, PROBE_WHOLE_BYTES } from "./probe-admission.ts";
import { alarmFilter, probeFilter } from "./probe-filter.ts";
import { IP_HEADER_BYTES } from "./probe-packet.ts";
import type { ProbeDatagram, ProbePlace, ProbeReceiver } from "./probe-port.ts";
import { PROBE_MAGIC } from "./probe-sender.ts";

const UDP_HEADER = 8;
/** Room for a hundred datagrams; what comes meanwhile is a flood. */
const BUFFER_BYTES = 128 << 10;
/** So many are read in a window: the event loop belongs to others too. */
const WINDOW_MS = 10;
const MOST_PER_WINDOW = 256;
/** The copies of a packet reach one socket after the other; so often the second is looked at again. */
const LOOK_AGAIN_MS = 1;
const MOST_LOOKS = 5;
const BATCH = 4;
const ARENA_BYTES = 384 << 10;

/** RawProbes owns the sockets of both families. */
export class RawProbes implements ProbeReceiver {
  readonly #place: ProbePlace;
  readonly #resources = new DisposableStack();
  readonly #watchers: SocketWatcher[] = [];
  readonly #admission = new ProbeAdmission(new DataView(randomBytes(4).buffer).getInt32(0));
  #six: SixReader | undefined;
  #inWindow = 0;
  #window: Disposable | undefined;
  #again: Disposable | undefined;

  constructor(place: ProbePlace) {
    this.#place = place;
    try {
      this.#listen4();
      this.#listen6();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  get refused(): number {
    return this.#admission.refused;
  }

  #listen4(): void {
    const socket = this.#open(4, probeFilter);
    this.#watch(socket, (packet) => {
      const header = ((packet[0] ?? 0) & 0xf) * 4;
      if (header < IP_HEADER_BYTES[4]) return;
      this.#hear(packet.subarray(header), packet.subarray(12, 16), packet.subarray(16, 20));
    });
  }

  #listen6(): void {
    try {
      const alarm = this.#open(6, alarmFilter);
      // The newest socket gets its copy first (net/ipv6/raw.c), but nothing here depends on it.
      this.#six = new SixReader(this.#open(6, probeFilter));
      this.#watch(alarm, () => this.#read6(1));
    } catch (error) {
      // A system without IPv6.
      if (!isErrno(error, "EAFNOSUPPORT")) throw error;
    }
  }

  #open(family: 4 | 6, filter: typeof probeFilter): RawSocket {
    const { netns, listenPort: port } = this.#place;
    const socket = this.#resources.use(
      RawSocket.open(family, {
        protocol: IP_PROTOCOL_UDP,
        netns,
        localAddress: family === 6,
        bufferBytes: BUFFER_BYTES,
      }),
    );
    // What came before the filter is not ours either: each is looked at again.
    filterPackets(
      socket.fd.number,
      filter(family, { port, wholeBytes: PROBE_WHOLE_BYTES, headBytes: PROBE_HEAD_BYTES }),
    );
    return socket;
  }

  #watch(socket: RawSocket, onPacket: (packet: Uint8Array) => void): void {
    const watcher = watchSocket(socket.fd, {
      onMessage: (packet) => {
        this.#count();
        onPacket(packet);
      },
      onFailure: () => this.#place.onClosed?.(`the raw IPv${socket.family} socket failed`),
    });
    this.#watchers.push(this.#resources.use(watcher));
  }

  #count(): void {
    this.#inWindow++;
    if (this.#window === undefined) this.#window = after(WINDOW_MS, () => this.#nextWindow());
    if (this.#inWindow === MOST_PER_WINDOW) for (const watcher of this.#watchers) watcher.pause();
  }

  #nextWindow(): void {
    const paused = this.#inWindow >= MOST_PER_WINDOW;
    this.#window = undefined;
    this.#inWindow = 0;
    if (paused) for (const watcher of this.#watchers) watcher.resume();
  }

  /** Reads what the alarm told of; `look` counts how often. */
  #read6(look: number): void {
    const six = this.#six;
    if (six === undefined || this.#resources.disposed) return;
    if (look === 1) six.due++;
    six.read((udp, source, local) => this.#hear(udp, source, local));
    if (look === MOST_LOOKS) six.due = 0;
    if (six.due <= 0 || this.#again !== undefined) return;
    this.#again = after(LOOK_AGAIN_MS, () => {
      this.#again = undefined;
      this.#read6(look + 1);
    });
  }

  /** A UDP packet of which at least the head is there. */
  #hear(udp: Uint8Array, source: Uint8Array, local: Uint8Array | undefined): void {
    const view = new DataView(udp.buffer, udp.byteOffset, udp.length);
    if (udp.length < UDP_HEADER + PROBE_MAGIC.length || view.getUint16(2) !== this.#place.listenPort) return;
    const datagramBytes = view.getUint16(4) - UDP_HEADER;
    const kept = udp.subarray(UDP_HEADER, UDP_HEADER + keptBytes(datagramBytes));
    // Shorter than it says: cut on its way, or a lie.
    if (kept.length !== keptBytes(datagramBytes) || !PROBE_MAGIC.every((byte, i) => kept[i] === byte)) return;
    const family = source.length === 4 ? 4 : 6;
    if (!this.#admission.admits(source, 0, { family, datagramBytes, nowMs: monotonicMs() })) return;
    const port = view.getUint16(0);
    if (port === 0) return;
    const datagram: ProbeDatagram = {
      from: { ip: ipFromBytes(source), port },
      local: local === undefined ? undefined : ipFromBytes(local),
      bytes: kept.slice(PROBE_MAGIC.length),
      datagramBytes,
    };
    this.#place.onDatagram(datagram);
  }

  [Symbol.dispose](): void {
    this.#window?.[Symbol.dispose]();
    this.#again?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}

/** SixReader reads a raw socket of IPv6 with its addresses. */
class SixReader {
  /** Alarms whose packets were not seen yet. */
  due = 0;
  readonly #socket: RawSocket;
  readonly #arena = new Arena({ bytes: ARENA_BYTES });
  readonly #receiver = new DatagramReceiver(this.#arena, { messages: BATCH });

  constructor(socket: RawSocket) {
    this.#socket = socket;
  }

  read(hear: (udp: Uint8Array, source: Uint8Array, local: Uint8Array | undefined) => void): void {
    for (let total = 0; total < MOST_PER_WINDOW;) {
      const count = this.#receiver.receive(this.#socket.fd.number);
      if (count <= 0) return;
      total += count;
      this.due -= count;
      for (let i = 0; i < count; i++) this.#hear(i, hear);
    }
  }

  #hear(
    index: number,
    hear: (udp: Uint8Array, source: Uint8Array, local: Uint8Array | undefined) => void,
  ): void {
    const place = this.#receiver.place(index);
    const udp = this.#arena.copy(this.#receiver.at(index), this.#receiver.bytes(index));
    hear(udp, place.subarray(ADDRESS_6, ADDRESS_6 + 16), localOf(place));
  }
}

/** In sockaddr_in6, and behind struct cmsghdr in in6_pktinfo. */
const ADDRESS_6 = ENDPOINT.address + 8;
const LOCAL_6 = ENDPOINT.control + 16;

function localOf(place: Uint8Array<ArrayBuffer>): Uint8Array | undefined {
  const bytes = new DataView(place.buffer).getInt32(ENDPOINT.controlBytes, true);
  return bytes === 0 || LOCAL_6 + 16 > ENDPOINT_BYTES ? undefined : place.subarray(LOCAL_6, LOCAL_6 + 16);
}
