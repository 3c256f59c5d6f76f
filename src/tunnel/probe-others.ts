/**
 * Receiving beside our own engine, which has the port: through a connection to its data plane (dataplane/other-traffic.ts). It is made anew when
 * the data plane ended, or was succeeded by another.
 */
import { type Ip, ipFromBytes } from "../net/mod.ts";
import {
  after,
  connectUnix,
  isErrno,
  monotonicMs,
  sendAll,
  type SocketWatcher,
  stable,
  watchSocket,
} from "../sys/mod.ts";
import { ATTACHED, OtherReader, OTHERS } from "./dataplane/other-traffic.ts";
import { endpointOf, familyOf, type Place } from "./dataplane/place.ts";
import { ENDPOINT } from "./path/mod.ts";
import type { ProbeOptions, ProbeReceiver } from "./probe-port.ts";
import { PROBE_MAGIC } from "./probe-sender.ts";

/** A data plane takes a connection at once, or has more clients than it serves. */
const PATIENCE_MS = 100;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 2000;
/** A connection that lasted so long was well. */
const WELL_MS = 5000;
const CONTROL_HEADER = 16;

/** OthersProbes owns the connection to the data plane that listens at `path`. */
export class OthersProbes implements ProbeReceiver {
  /** The data plane counts them (`others_refused`). */
  readonly refused = 0;
  readonly #path: string;
  readonly #options: ProbeOptions;
  #connection: DisposableStack | undefined;
  #retry: Disposable | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #connectedMs = 0;
  #closed = false;

  constructor(path: string, options: ProbeOptions) {
    this.#path = path;
    this.#options = options;
    this.#connect();
  }

  #connect(): void {
    if (this.#closed) return;
    using opened = new DisposableStack();
    try {
      const socket = opened.use(connectUnix(this.#path, { timeoutMs: PATIENCE_MS }));
      sendAll(socket, new Uint8Array(Buffer.from(OTHERS)));
      const stream = new OthersStream((place, bytes, datagramBytes) => {
        const local = localOf(place);
        this.#options.onDatagram({ from: endpointOf(place), local, bytes, datagramBytes });
      });
      const watcher: SocketWatcher = watchSocket(socket, {
        onMessage: (bytes) => {
          try {
            stream.read(bytes);
          } catch {
            // Not served by a data plane of ours, or one of another build: perhaps the next one is.
            this.#again();
          }
        },
        onFailure: () => this.#again(),
      });
      opened.use(watcher);
      this.#connection = opened.move();
      this.#connectedMs = monotonicMs();
    } catch (error) {
      if (!isErrno(error, "ENOENT", "ECONNREFUSED", "EAGAIN", "EPIPE", "ECONNRESET", "EINTR")) throw error;
      this.#again();
    }
  }

  /** Tries again after a pause, which grows for as long as connections do not last. */
  #again(): void {
    if (this.#connection !== undefined && monotonicMs() - this.#connectedMs > WELL_MS)
      this.#pauseMs = FIRST_PAUSE_MS;
    this.#connection?.dispose();
    this.#connection = undefined;
    this.#retry?.[Symbol.dispose]();
    if (this.#closed) return;
    this.#retry = after(this.#pauseMs, () => this.#connect());
    this.#pauseMs = Math.min(LONGEST_PAUSE_MS, 2 * this.#pauseMs);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#retry?.[Symbol.dispose]();
    this.#connection?.dispose();
  }
}

/** OthersStream takes apart what the connection brings: the answer to OTHERS, then messages. */
class OthersStream {
  readonly #hear: (place: Place, bytes: Uint8Array, datagramBytes: number) => void;
  readonly #reader = new OtherReader();
  #answer = "";

  constructor(hear: (place: Place, bytes: Uint8Array, datagramBytes: number) => void) {
    this.#hear = hear;
  }

  /** read throws for what no data plane of ours says. */
  read(bytes: Uint8Array): void {
    const missing = ATTACHED.length - this.#answer.length;
    if (missing > 0) {
      this.#answer += Buffer.from(bytes.subarray(0, missing)).toString("latin1");
      if (!ATTACHED.startsWith(this.#answer))
        throw new Error("The data plane does not hand on datagrams of ours");
      if (bytes.length <= missing) return;
    }
    for (const { place, datagram, datagramBytes } of this.#reader.read(bytes.subarray(Math.max(0, missing))))
      this.#hear(place, datagram.subarray(PROBE_MAGIC.length), datagramBytes);
  }
}

/** The address of ours in a place: in struct in_pktinfo (ipi_spec_dst or ipi_addr), or in6_pktinfo. */
function localOf(place: Place): Ip | undefined {
  const view = new DataView(place.buffer, place.byteOffset);
  if (view.getInt32(ENDPOINT.controlBytes, true) === 0) return undefined;
  const at = ENDPOINT.control + CONTROL_HEADER;
  const address = familyOf(place) === 4 ? place.subarray(at + 4, at + 8) : place.subarray(at, at + 16);
  const copy = stable(address.length);
  copy.set(address);
  return ipFromBytes(copy);
}
