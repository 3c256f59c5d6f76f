/**
 * One thread of the packet path: a queue of the TUN device, a socket of each family, and its end of the link to the control thread.
 *
 * It decides nothing: peers, sessions and addresses come as orders, and what passed goes back as reports, at most every REPORT_MS for what
 * goes on all the time, at once for what begins.
 */
import {
  type AeadProvider,
  Arena,
  boottimeMs,
  DatagramSocket,
  Fd,
  Collection,
  libc,
  pinThread,
  randomBytes,
  receiveMessage,
  stable,
  trySendMessage,
} from "../../sys/mod.ts";
import {
  type AeadName,
  chooseAead,
  type Checksum,
  checksumOf,
  Coalescer,
  DatagramReceiver,
  DatagramSender,
  EndpointLearner,
  newCounters,
  OpenStep,
  PathLoop,
  Segmenter,
  SealStep,
  TunQueue,
  WireguardFraming,
} from "../path/mod.ts";
import { RelayPath, RelaySender } from "../relay/mod.ts";
import { decodeMessage, encodeDatagram, encodePacket, MOST_MESSAGE, type Order } from "./link.ts";
import { Handed } from "./handed.ts";
import { OWN_COUNTERS, publishCounters } from "./worker-counters.ts";
import { Reports } from "./reports.ts";
import { SessionStore } from "./session-store.ts";
import type { SharedSession } from "./shared-session.ts";
import { WorkerTables } from "./worker-tables.ts";

/** WorkerStart is what a thread is handed: numbers, and descriptors of the process. */
export interface WorkerStart {
  readonly worker: number;
  readonly workers: number;
  readonly store: number;
  readonly link: number;
  readonly tun: number;
  readonly sockets: readonly { readonly family: 4 | 6; readonly fd: number }[];
  readonly mtuBytes: number;
  readonly aead?: AeadName;
  /** Folders in which AEAD libraries may lie beside the system's own. */
  readonly folders: readonly string[];
  readonly cpu?: number;
  /** Do nothing before `go`. */
  readonly halted: boolean;
}

/** Buffers (4 MiB), endpoints and keys of MAX_PEERS (80 bytes, six times 32, each on cache lines of its own); pages that nobody touches cost nothing. */
const ARENA_BYTES = 40 << 20;
/** Datagrams for another thread that wait for their turn. */
const MOST_TAKEN_IN = 256;
/** Orders after which garbage is collected. */
const COLLECT_AFTER = 256;
/** How long a halted worker waits for the next order. */
const HALT_POLL_MS = 1000;

/** PathWorker owns all that its thread works with. */
export class PathWorker {
  readonly #start: WorkerStart;
  readonly #arena = new Arena({ bytes: ARENA_BYTES });
  readonly #store: SessionStore;
  readonly #tables: WorkerTables;
  readonly #framing: WireguardFraming;
  readonly #queue: TunQueue;
  readonly #receiver: DatagramReceiver;
  readonly #seal: SealStep<SharedSession>;
  readonly #open: OpenStep<SharedSession>;
  readonly #loop: PathLoop;
  readonly #counters = newCounters();
  readonly #shared: Float64Array;
  readonly #ports: readonly { readonly socket: DatagramSocket; readonly sender: DatagramSender }[];
  readonly #learner: EndpointLearner;
  readonly #reports: Reports;
  readonly #handed: Handed;
  readonly #relay: RelayPath;
  readonly #relaySenders: readonly RelaySender[];
  readonly #collection = new Collection(COLLECT_AFTER);
  readonly #inbox = stable(MOST_MESSAGE);
  /** Datagrams that came to another thread. */
  readonly #takenIn: { readonly place: Uint8Array; readonly datagram: Uint8Array }[] = [];
  /** The generation of the shared memory whose orders were read. */
  #generation = -1;
  #halted = false;

  constructor(start: WorkerStart) {
    const arena = this.#arena;
    this.#start = start;
    this.#halted = start.halted;
    if (start.cpu !== undefined) pinThread(start.cpu);
    this.#store = SessionStore.open(start.store);
    const { provider, passedOver } = chooseAead(arena, {
      folders: start.folders,
      ...(start.aead === undefined ? {} : { only: start.aead }),
    });
    this.#shared = this.#store.counters(start.worker);
    this.#ports = start.sockets.map(({ family, fd }) => {
      const socket = DatagramSocket.adopt(new Fd(fd, `udp${family} socket`), family);
      return { socket, sender: new DatagramSender(arena, socket) };
    });
    const sender = (family: 4 | 6) => this.#ports.find(({ socket }) => socket.family === family)?.sender;
    this.#tables = this.#makeTables(provider, sender);
    this.#framing = new WireguardFraming(arena, { mtuBytes: start.mtuBytes });
    this.#queue = new TunQueue(arena, new Fd(start.tun, "tun queue"));
    this.#receiver = new DatagramReceiver(arena);
    this.#learner = new EndpointLearner(arena);
    const checksum = checksumOf(arena);
    this.#handed = new Handed(arena, checksum);
    // Not that of the peer's endpoint: an order that was sent before the peer moved may have changed it back.
    this.#reports = new Reports((session) => session.place.copy());
    this.#relaySenders = this.#ports.map(({ socket }) => new RelaySender(arena, socket));
    const relaySender = (family: 4 | 6) =>
      this.#relaySenders[this.#ports.findIndex(({ socket }) => socket.family === family)];
    this.#relay = new RelayPath(arena, {
      sourceAt: (message) => this.#receiver.sourceAt(message),
      peers: this.#tables.peers,
      sender4: relaySender(4),
      sender6: relaySender(6),
      random: randomBytes,
    });
    this.#open = this.#makeOpen(checksum);
    this.#seal = this.#makeSeal(checksum);
    this.#loop = new PathLoop(arena, {
      queue: this.#queue,
      receiver: this.#receiver,
      ports: this.#ports,
      seal: this.#seal as unknown as SealStep,
      open: { run: (count) => this.#run(count) },
      caller: new Fd(start.link, "link"),
      onTurn: () => {
        this.#tables.nowMs = boottimeMs();
        this.#relay.nowMs = this.#tables.nowMs;
      },
      onCall: () => this.#obey(),
    });
    this.#reports.add({ kind: "ready", aead: provider.name, passedOver });
  }

  #makeTables(provider: AeadProvider, sender: (family: 4 | 6) => DatagramSender | undefined): WorkerTables {
    const { worker, workers } = this.#start;
    return new WorkerTables({ arena: this.#arena, store: this.#store, provider, worker, workers, sender });
  }

  #makeOpen(checksum: Checksum): OpenStep<SharedSession> {
    const [arena, tables, receiver, learner] = [this.#arena, this.#tables, this.#receiver, this.#learner];
    const relay = this.#relay;
    return new OpenStep<SharedSession>(arena, {
      messages: receiver,
      framing: this.#framing,
      sink: new Coalescer(arena, { checksum, udp: this.#queue.offload.udp, writer: this.#queue }),
      tables,
      counters: this.#counters,
      events: {
        other: (at, bytes, message) => {
          if (this.#handed.mayDatagram()) this.#handDatagram(at, bytes, message);
        },
        // What is another worker's is not unknown.
        relay: (index, at, bytes, message, asked) =>
          relay.take(index, at, bytes, message, asked && !tables.knows(index)),
        missing: (index, at, bytes, message) => {
          // The control thread may just have said that there is one.
          if (this.#generation !== this.#store.generation) this.#obey();
          const session = tables.sessions.get(index);
          if (session === undefined && !tables.owns(index))
            if (tables.knows(index) ? this.#handed.mayKnown() : this.#handed.mayDatagram())
              this.#handDatagram(at, bytes, message);
          return session;
        },
        opened: (session, packets, bytes, message) => {
          const peer = tables.peers.get(session.peer);
          if (!session.heard) {
            session.confirm();
            this.#reports.hurry();
          }
          session.receivedBytes += bytes;
          if (packets > 0) session.receivedData = true;
          learner.source = receiver.sourceAt(message);
          learner.local = receiver.localAt(message);
          learner.localBytes = receiver.localBytes(message);
          if (peer?.follows(session, tables.nowMs) === true && learner.learn(peer.endpoint)) {
            peer.sender = this.#senderOf(peer.endpoint);
            session.place.write(this.#arena, peer.endpoint);
            session.moved = true;
            this.#reports.hurryMove(tables.nowMs);
          }
          this.#reports.note(session);
        },
      },
    });
  }

  #makeSeal(checksum: Checksum): SealStep<SharedSession> {
    return new SealStep<SharedSession>(this.#arena, {
      source: this.#queue,
      segmenter: new Segmenter(this.#arena, checksum),
      framing: this.#framing,
      senders: this.#ports.map(({ sender }) => sender),
      tables: this.#tables,
      counters: this.#counters,
      events: {
        unready: (peer, at, bytes) => this.#handPackets(peer, at, bytes),
        sealed: (session, _, bytes) => {
          session.sentBytes += bytes;
          session.sentData = true;
          this.#reports.note(session);
        },
      },
    });
  }

  /** Opens what is ours of the messages that came, and sends on what is others'. */
  #run(count: number): void {
    this.#open.run(count);
    this.#relay.flush();
  }

  #senderOf(endpoint: number): DatagramSender | undefined {
    const four = this.#arena.view.getUint16(endpoint, true) === 2;
    return this.#ports.find(({ socket }) => socket.family === (four ? 4 : 6))?.sender;
  }

  /** run never returns. */
  run(): never {
    const tables = this.#tables;
    const { link } = this.#start;
    // Not made anew in every turn: garbage would be all that comes of it.
    const tell = (message: Uint8Array<ArrayBuffer>) => trySendMessage(link, message);
    for (;;) {
      tables.nowMs = boottimeMs();
      this.#handed.begin(tables.nowMs);
      this.#reports.send(tell, tables.nowMs);
      if (this.#halted) this.#wait();
      else this.#loop.once(this.#takenIn.length > 0 ? 0 : this.#reports.waitMs(tables.nowMs));
      this.#openTakenIn();
      this.#publish();
      if (this.#queue.gone && !this.#halted) {
        this.#reports.add({ kind: "gone" });
        this.#halted = true;
      }
    }
  }

  /** Halted, only orders are heard. */
  #wait(): void {
    const untold = this.#reports.waitMs(this.#tables.nowMs) >= 0;
    if (libc.pollReadable(this.#start.link, untold ? 1 : HALT_POLL_MS)) this.#obey();
  }

  /** Shows the counters to the other threads. */
  #publish(): void {
    let sent = 0;
    let refused = 0;
    for (let i = 0; i < this.#ports.length; i++) {
      const { sender } = this.#ports[i] as { readonly sender: DatagramSender };
      sent += sender.sent;
      refused += sender.refused;
    }
    const shared = this.#shared;
    publishCounters(shared, this.#counters);
    shared[OWN_COUNTERS.refused_by_link] = this.#queue.refused;
    shared[OWN_COUNTERS.datagrams_sent] = sent;
    shared[OWN_COUNTERS.datagrams_refused] = refused;
    shared[OWN_COUNTERS.not_handed_on] = this.#handed.dropped;
    this.#publishRelay(shared);
  }

  #publishRelay(shared: Float64Array): void {
    let sent = 0;
    let bytes = 0;
    let blocked = 0;
    let refused = 0;
    for (let i = 0; i < this.#relaySenders.length; i++) {
      const sender = this.#relaySenders[i] as RelaySender;
      sent += sender.sent;
      bytes += sender.sentBytes;
      blocked += sender.blocked;
      refused += sender.refused;
    }
    const relay = this.#relay;
    shared[OWN_COUNTERS.relayed] = sent;
    shared[OWN_COUNTERS.relayed_bytes] = bytes;
    shared[OWN_COUNTERS.relay_drop_no_circuit] = relay.unknown;
    shared[OWN_COUNTERS.relay_drop_rate] = relay.limited;
    shared[OWN_COUNTERS.relay_drop_nowhere] = relay.absent;
    shared[OWN_COUNTERS.relay_drop_back] = relay.back;
    shared[OWN_COUNTERS.relay_drop_line_full] = blocked;
    shared[OWN_COUNTERS.relay_drop_refused] = refused;
  }

  /** Reads all orders that wait. */
  #obey(): void {
    // It refers to what orders may take away.
    this.#relay.flush();
    // Before reading: what comes in between is read the next time.
    this.#generation = this.#store.generation;
    for (;;) {
      const length = receiveMessage(this.#start.link, this.#inbox);
      if (length === undefined) return;
      // The process ends with the control thread.
      if (length === 0) throw new Error("the control thread is gone");
      const message = decodeMessage<Order>(this.#inbox.subarray(0, length));
      if (message.kind === "list") {
        for (const order of message.list) this.#do(order);
        this.#collection.worked(message.list.length);
      }
      if (message.kind === "datagram" && this.#takenIn.length < MOST_TAKEN_IN) this.#takenIn.push(message);
    }
  }

  #do(order: Order): void {
    const tables = this.#tables;
    switch (order.kind) {
      case "peer":
        tables.setPeer(order);
        return;
      case "removed":
        tables.removePeer(order.peer);
        return;
      case "started":
        tables.start(order);
        return;
      case "ended": {
        const session = tables.end(order.localIndex, this.#seal);
        if (session === undefined) return;
        this.#reports.last(session);
        this.#reports.add({ kind: "released", slot: session.slot });
        return;
      }
      case "mtu":
        this.#framing.mtuBytes = order.mtuBytes;
        return;
      case "sockets":
        // Waking up was all: the next turn waits for the new ones.
        return;
      case "halt":
        this.#halted = true;
        this.#reports.all();
        this.#reports.add({ kind: "halted" });
        return;
      case "go":
        this.#halted = false;
        return;
      case "relay":
        this.#relay.obey(order.order);
        return;
      default:
        tables.allow(order);
    }
  }

  /** Works on the datagrams that came to another thread; after the others of the turn, whose memory it uses. */
  #openTakenIn(): void {
    if (this.#takenIn.length === 0 || this.#halted) return;
    for (const { place, datagram } of this.#takenIn.splice(0)) {
      this.#receiver.put(place, datagram);
      this.#run(1);
    }
  }

  /** Hands a datagram on that is not for this thread. */
  #handDatagram(at: number, bytes: number, message: number): void {
    const place = this.#receiver.place(message);
    trySendMessage(this.#start.link, encodeDatagram(place, this.#arena.copy(at, bytes)));
  }

  /** Hands packets on that cannot be sealed now: a session may come of it. */
  #handPackets(peer: number, at: number, bytes: number): void {
    const segments = this.#handed.begins(at, bytes);
    for (let i = 0; i < segments && this.#handed.mayPacket(); i++)
      trySendMessage(this.#start.link, encodePacket(peer, this.#handed.packet(i)));
  }
}
