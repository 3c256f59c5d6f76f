/**
 * The relay of a hub whose port belongs to the kernel's WireGuard: a process beside it, which sees what is to be relayed by raw sockets with a filter
 * (packet-filter.ts) and sends it on by raw sockets, or has an XDP program do so.
 *
 * ```
 *   NIC ─▶ XDP: circuits ─▶ NIC
 *           └▶ kernel ─┬▶ WireGuard: its own messages; what is for others has no key or index there, and is dropped
 *                      └▶ raw sockets ─▶ Relay (handshakes), RelayPath (data) ─▶ raw sockets
 * ```
 */
import { KernelWireguard } from "../../netlink/mod.ts";
import {
  Arena,
  bindUnix,
  BpfMap,
  boottimeMs,
  BUILD,
  collectAfter,
  Collection,
  exit,
  type Fd,
  isErrno,
  linkIndex,
  ownPid,
  randomBytes,
  stable,
  SystemError,
  VERSION,
  wallMs,
  writeStandardError,
} from "../../sys/mod.ts";
import { encodeDataplaneStatus, GET_DATAPLANE } from "../dataplane-status.ts";
import { xdpCounters, xdpLines, xdpPlace } from "../dataplane/hub-xdp.ts";
import { endpointOf } from "../dataplane/place.ts";
import { Poller } from "../dataplane/poller.ts";
import { MOST_CLIENTS, UapiServer } from "../dataplane/uapi-server.ts";
import { checksumOf } from "../path/checksum.ts";
import { DatagramReceiver } from "../path/datagram-receiver.ts";
import {
  decodeRelay,
  Relay,
  relayCounters,
  relayOrder,
  RelayPath,
  type RelayStep,
  XdpRelay,
} from "../relay/mod.ts";
import { EINVAL, encodeErrno, systemPrimitives } from "../wireguard/mod.ts";
import { DeviceWatch } from "./device-watch.ts";
import { NodePlaces } from "./node-places.ts";
import { OTHER_INDEX } from "./packet-filter.ts";
import { RawPort } from "./raw-port.ts";

/** Receivers of 16 messages of 64 KiB, senders, and the places of all peers that a device can have; pages that nobody touches cost nothing. */
const ARENA_BYTES = 16 << 20;
/** As many sessions as a device has peers (MAX_PEERS of ../wireguard/limits.ts), and what is forged beside. */
const MOST_OTHERS = 1 << 17;
const LOOK_MS = 1000;
/** Batches of one socket in a turn. */
const ROUNDS = 8;
const COLLECT_AFTER = 64;
const COLLECT_BYTES = 1_000_000;
const UDP_BYTES = 8;
const DATA = 4;

/** serveKernelRelay serves the relay of a link until it is ended; it never returns. Throws when it cannot begin. */
export function serveKernelRelay(link: string, socketPath: string): never {
  // As the data plane's own process does (../dataplane/dataplane.ts).
  collectAfter(COLLECT_BYTES);
  return new KernelRelay(link, bindUnix(socketPath)).run();
}

class KernelRelay {
  readonly #arena = new Arena({ bytes: ARENA_BYTES });
  readonly #receiver = new DatagramReceiver(this.#arena);
  readonly #ports: readonly RawPort[];
  readonly #places = new NodePlaces(this.#arena);
  /** Indices of data that has no circuit: those of WireGuard's own sessions. */
  readonly #others = BpfMap.create("relay_others", { type: "newest", ...OTHER_INDEX, entries: MOST_OTHERS });
  readonly #relay = new Relay({
    primitives: systemPrimitives,
    isOwnIndex: (index) => this.#others.get(indexKey(index)) !== undefined,
  });
  readonly #path: RelayPath;
  readonly #xdp: XdpRelay;
  readonly #watch: DeviceWatch;
  readonly #server: UapiServer;
  readonly #poller = new Poller(new Arena({ bytes: 1 << 16 }), MOST_CLIENTS + 4);
  readonly #collection = new Collection(COLLECT_AFTER);
  readonly #life = new DataView(randomBytes(4).buffer).getUint32(0);
  #lookedMs = 0;
  #wasThere = false;

  constructor(link: string, socket: Fd) {
    const checksum = checksumOf(this.#arena);
    this.#ports = ([4, 6] as const).flatMap((family) => {
      try {
        return [new RawPort(this.#arena, checksum, family)];
      } catch (error) {
        // A system without IPv6.
        if (family === 6 && isErrno(error, "EAFNOSUPPORT")) return [];
        throw error;
      }
    });
    this.#path = new RelayPath(this.#arena, {
      sourceAt: (message) => this.#receiver.sourceAt(message),
      peers: this.#places.nodes,
      sender4: this.#port(4)?.outlet,
      sender6: this.#port(6)?.outlet,
      random: randomBytes,
    });
    const caller = this.#ports[0]?.socket.fd.number as number;
    this.#xdp = XdpRelay.open({ indexOf: (name) => linkIndex(caller, name), marks: true });
    this.#listen(0);
    this.#watch = new DeviceWatch({
      device: KernelWireguard.open(link),
      relay: this.#relay,
      primitives: systemPrimitives,
      wallMs,
      onPort: (number) => {
        this.#listen(number);
        this.#xdp.listen(number);
      },
    });
    this.#server = new UapiServer(socket, (request) => this.#answer(request));
  }

  #listen(port: number): void {
    for (const one of this.#ports)
      one.listen({ port, circuits: this.#xdp.map, others: this.#others.fd.number });
  }

  #port(family: 4 | 6): RawPort | undefined {
    return this.#ports.find(({ socket }) => socket.family === family);
  }

  run(): never {
    this.#server.serve();
    for (;;) {
      this.#look();
      const nowMs = boottimeMs();
      if (nowMs - this.#lookedMs >= LOOK_MS) {
        this.#lookedMs = nowMs;
        this.#relay.due(nowMs);
        this.#tell();
        if (this.#xdp.isIncomplete) this.#xdp.retry();
      }
      const watched = [
        ...this.#server.watched(),
        ...this.#ports.map((port) => ({ fd: port.socket.fd.number, ready: () => this.#receive(port) })),
      ];
      if (this.#poller.turn(watched, this.#watch.waitMs(boottimeMs()))) this.#collection.worked(1);
    }
  }

  /** Looks at the device, if that is due. */
  #look(): void {
    try {
      if (!this.#watch.look(boottimeMs)) return;
      this.#wasThere = true;
    } catch (error) {
      // The link may come yet; or it went, and then nobody is left to relay for.
      if (!isErrno(error, "ENODEV", "EOPNOTSUPP")) throw error;
      if (this.#wasThere) exit(0);
      return;
    }
    this.#tell();
  }

  /** Tells the path of data what is new. */
  #tell(): void {
    const steps = this.#relay.drain();
    if (steps.length === 0) return;
    this.#path.flush();
    for (const step of steps) this.#hear(step);
  }

  #hear(step: RelayStep): void {
    if (step.kind !== "node") {
      this.#path.obey(relayOrder(step));
      this.#xdp.hear(step);
      return;
    }
    const { kind, node, endpoint } = step;
    const place = endpoint === undefined ? undefined : this.#places.set(node, endpoint);
    if (place === undefined) {
      this.#places.delete(node);
      this.#path.obey({ kind, node });
      this.#xdp.hear({ kind, node });
      return;
    }
    this.#path.obey(relayOrder(step));
    this.#xdp.hear(step, xdpPlace(place));
  }

  #receive(port: RawPort): void {
    for (let round = 0; round < ROUNDS; round++) {
      const count = this.#receiver.receive(port.socket.fd.number);
      if (count <= 0) return;
      this.#path.nowMs = boottimeMs();
      for (let i = 0; i < count; i++) if (port.look(this.#receiver, i)) this.#take(port, i);
      this.#path.flush();
    }
  }

  #take(port: RawPort, message: number): void {
    const { u8, view } = this.#arena;
    const { at, bytes } = port;
    if (u8[at] !== DATA) this.#shake(port, message);
    else if (bytes >= 8) this.#path.take(view.getUint32(at + 4, true), at, bytes, message, true);
  }

  /** A handshake message, for whomever. */
  #shake({ at, bytes }: RawPort, message: number): void {
    const place = this.#receiver.place(message);
    const from = endpointOf(place);
    const datagram = this.#arena.copy(at, bytes);
    if (this.#places.at(from) === undefined) {
      // Of one who has just come there; or of nobody.
      this.#watch.hurry();
      this.#path.flush();
      this.#look();
    }
    const source = this.#places.at(from);
    if (source === undefined) return;
    const local = xdpPlace(place).local;
    const moved = local.length === 0 ? undefined : this.#hearLocal(source, from, local);
    if (moved !== undefined) this.#xdp.move(source, xdpPlace(moved));
    const verdict = this.#relay.take({ datagram, from, nowMs: boottimeMs() });
    this.#tell();
    if (verdict === undefined || !("to" in verdict)) return;
    const to = this.#places.nodes.get(verdict.to);
    const endpoint = this.#relay.endpoint(verdict.to);
    if (to === undefined || endpoint === undefined) return;
    this.#port(endpoint.ip.family)?.outlet.add(to.endpoint, at, bytes);
  }

  #hearLocal(source: number, from: ReturnType<typeof endpointOf>, local: Uint8Array) {
    this.#path.flush();
    return this.#places.heard(source, from, local);
  }

  #answer(request: string): string {
    if (request === GET_DATAPLANE) return this.#describe();
    try {
      const { change, rest } = decodeRelay(request);
      if (change === undefined || rest !== undefined) return encodeErrno(EINVAL);
      const before = this.#relay.config;
      this.#relay.configure(change);
      const { enabled, xdpLinks = [] } = this.#relay.config;
      const links = enabled ? xdpLinks : [];
      if (links.join() !== (before.enabled ? (before.xdpLinks ?? []) : []).join()) this.#xdp.attach(links);
      this.#watch.hurry();
      this.#tell();
      return encodeErrno(0);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      writeStandardError(`Refused a request to the relay: ${reason}\n`);
      return encodeErrno(error instanceof SystemError ? error.errno : EINVAL);
    }
  }

  #describe(): string {
    const { forwarded, ...drops } = this.#relay.counters;
    const senders = this.#ports.map(({ sender }) => sender);
    const sum = (key: "sent" | "sentBytes" | "blocked" | "refused") =>
      senders.reduce((total, sender) => total + sender[key], 0);
    const { unknown, limited, absent, back } = this.#path;
    const status = {
      version: VERSION,
      build: BUILD,
      pid: ownPid(),
      aead: "none",
      passedOver: [],
      workers: 0,
    };
    const counters = {
      ...relayCounters({ ...this.#relay.counts, handshakes: forwarded, drops }),
      relayed: Math.max(0, sum("sent") - forwarded),
      // With handshakes, without UDP headers.
      relayed_bytes: sum("sentBytes") - UDP_BYTES * sum("sent"),
      relay_drop_no_circuit: unknown,
      relay_drop_rate: limited,
      relay_drop_nowhere: absent,
      relay_drop_back: back,
      relay_drop_line_full: sum("blocked"),
      relay_drop_refused: sum("refused"),
      ...(this.#xdp.interfaces.length === 0 ? {} : xdpCounters(this.#xdp)),
    };
    const lines = xdpLines(this.#xdp).map((line) => `${line.replace(/\s+/g, " ")}\n`);
    return `${encodeDataplaneStatus({ ...status, life: this.#life, counters })}${lines.join("")}${encodeErrno(0)}`;
  }
}

function indexKey(index: number): Uint8Array {
  const key = stable(OTHER_INDEX.keyBytes);
  new DataView(key.buffer).setUint32(0, index, true);
  return key;
}
