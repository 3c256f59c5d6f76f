/**
 * The data-plane process: one link, one control thread (this one) and its workers. It waits in poll(2) and never returns to the runtime, so a
 * signal ends it as the system's default says.
 */
import {
  allowedCpus,
  Arena,
  attachTun,
  bindUnix,
  BUILD,
  connectUnix,
  DatagramSocket,
  ensureDirectory,
  executablePath,
  exit,
  type Fd,
  collectAfter,
  Collection,
  isErrno,
  libc,
  libcryptoProblem,
  monotonicMs,
  ownPid,
  removeTree,
  ResidentCode,
  sendAll,
  setLinkMtu,
  setQueueLength,
  SystemError,
  linkMtu,
  tryReceive,
  stable,
  VERSION,
  waitAtMost,
  writeStandardError,
} from "../../sys/mod.ts";
import { encodeDataplaneStatus, GET_DATAPLANE } from "../dataplane-status.ts";
import { encodeNews, newsAsked } from "../device-news.ts";
import type { AeadName } from "../path/mod.ts";
import { decodeRelay } from "../relay/mod.ts";
import { decodeRequest, EINVAL, encodeErrno, encodeState, rehearse } from "../wireguard/mod.ts";
import { Control } from "./control.ts";
import {
  DONE,
  type Estate,
  isDone,
  READY,
  receiveEstate,
  receiveText,
  sendEstate,
  sendText,
  TAKE_OVER,
  type Testament,
} from "./handover.ts";
import type { Report } from "./link.ts";
import { OTHERS } from "./other-traffic.ts";
import { Poller, type Watched } from "./poller.ts";
import { MOST_WORKERS, SessionStore } from "./session-store.ts";
import { openGroups, type SocketGroup } from "./steering.ts";
import { type Answer, MOST_CLIENTS, UapiServer } from "./uapi-server.ts";
import { sumCounters } from "./worker-counters.ts";
import { Workers } from "./workers.ts";

/** DataplaneOptions are those of the command line. */
export interface DataplaneOptions {
  readonly link: string;
  /** Default: see defaultWorkers. */
  readonly workers?: number;
  readonly aead?: AeadName;
  /** Processors of the workers, in order. */
  readonly cpus?: readonly number[];
}

/** Where WireGuard programs have their sockets; wg(8) looks there. */
const SOCKETS = "/var/run/wireguard";
/** MTU of a new link: what fits into 1500 bytes under IPv6. */
const MTU = 1420;
/** More do not help a node with a few peers, and cost memory. */
const DEFAULT_MOST_WORKERS = 4;
/**
 * Packets that may wait in each queue of the link: for what comes while it is handed over. (Changing it later would throw away what waits in
 * the queueing discipline, dev_qdisc_change_tx_queue_len of net/sched/sch_generic.c.)
 */
const QUEUE_PACKETS = 2000;
/** Turns with something to do after which garbage is collected. */
const COLLECT_AFTER = 64;
/** So much of an answer on the socket leaves as much garbage as a turn. */
const ANSWER_BYTES = 8192;
/** The threads of one take a fifth of a second; on an emulated processor, beside others, it was 20 s. */
const START_MS = 100_000;
const PATIENCE_MS = 5_000;
/** Garbage is collected when so many bytes were allocated since the last time. */
const COLLECT_BYTES = 1_000_000;
/** So long after a start, or after the last time, the pages of code are dropped that the time needed. */
const DROP_MS = 1000;

/**
 * One for each processor; of two, one is left to the control thread, the kernel's own part and the programs: measured (bench tunnel), a second
 * worker moves nothing more there, and takes 12 MB.
 */
const defaultWorkers = (cpus: number) => (cpus <= 2 ? 1 : Math.min(DEFAULT_MOST_WORKERS, cpus));

/** Parts are what a process works with, made by itself or inherited. */
interface Parts {
  readonly link: string;
  readonly store: SessionStore;
  readonly tuns: readonly Fd[];
  readonly groups: readonly SocketGroup[];
  /** The UAPI socket, bound. */
  readonly socket: Fd;
}

/** runDataplane makes the link and serves it; it never returns. Throws when it cannot begin. */
export function runDataplane(options: DataplaneOptions): never {
  collectAfter(COLLECT_BYTES);
  const { link } = options;
  const count = options.workers ?? defaultWorkers(allowedCpus().length);
  if (!(count >= 1 && count <= MOST_WORKERS))
    throw new Error(`Cannot run ${count} workers; choose 1 to ${MOST_WORKERS}`);
  checkMachine(options);
  const groups = openGroups(0, count);
  // Before the socket: of two that start at once the kernel lets one make the link, and the other one has touched nothing yet.
  const tuns = openTuns(link, count);
  const socket = bindSocket(link);
  try {
    setLinkMtu(firstSocket(groups).fd.number, link, MTU);
    setQueueLength(firstSocket(groups).fd.number, link, QUEUE_PACKETS);
    const dataplane = new Dataplane({ link, store: SessionStore.create(), tuns, groups, socket }, options);
    dataplane.begin({ halted: false });
    dataplane.serve();
    return dataplane.run();
  } catch (error) {
    removeTree(socketPath(link));
    throw error;
  }
}

/** takeOver goes on where the process that serves the link is. It never returns. Throws when it cannot; the other goes on then. */
export function takeOver(options: DataplaneOptions): never {
  collectAfter(COLLECT_BYTES);
  checkMachine(options);
  const { link } = options;
  const connection = connectPredecessor(link);
  let dataplane: Dataplane;
  let store: SessionStore;
  try {
    sendAll(connection, bytesOf(TAKE_OVER));
    const { estate, descriptors } = receiveEstate(connection);
    const parts = partsOf(estate, { link, descriptors });
    store = parts.store;
    dataplane = new Dataplane(parts, options);
    dataplane.begin({ halted: true });
    // From here on packets wait.
    sendAll(connection, bytesOf(READY));
    const testament = JSON.parse(receiveText(connection)) as Testament;
    dataplane.inherit(testament);
    // The last thing that can fail: from here on the other does not go on.
    sendAll(connection, bytesOf(DONE));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot take over link ${link}: ${reason}; it goes on`, { cause: error });
  }
  dataplane.serve();
  dataplane.go();
  connection.close();
  store.sweep();
  return dataplane.run();
}

class Dataplane {
  readonly #parts: Parts;
  readonly #options: DataplaneOptions;
  readonly #workers: Workers;
  readonly #control: Control;
  readonly #server: UapiServer;
  readonly #poller = new Poller(new Arena({ bytes: 1 << 16 }), MOST_CLIENTS + MOST_WORKERS + 8);
  #ready = 0;
  #halted = 0;
  #provider: Extract<Report, { readonly kind: "ready" }> | undefined;
  #successor: Fd | undefined;
  /** The port of the sockets that it was given. */
  #givenPort = 0;
  /** Bytes of answers since the last turn. */
  #answered = 0;
  readonly #collection = new Collection(COLLECT_AFTER);

  constructor(parts: Parts, options: DataplaneOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#workers = new Workers(parts.tuns.length, parts.store);
    this.#control = new Control({
      store: parts.store,
      workers: this.#workers,
      groups: parts.groups,
      tun: parts.tuns[0] as Fd,
      mtuBytes: linkMtu(firstSocket(parts.groups).fd.number, parts.link) ?? MTU,
    });
    this.#server = new UapiServer(parts.socket, (request) => this.#answer(request));
  }

  /** begin starts the workers, and returns when all are ready. */
  begin({ halted }: { readonly halted: boolean }): void {
    const { tuns, groups } = this.#parts;
    const { aead, cpus } = this.#options;
    const folder = executablePath().replace(/\/[^/]*$/, "");
    tuns.forEach((tun, i) =>
      this.#workers.start({
        tun: tun.number,
        sockets: groups.map((group) => {
          const { family, fd } = group[1 + i] as DatagramSocket;
          return { family, fd: fd.number };
        }),
        mtuBytes: this.#control.device.mtuBytes,
        folders: [folder],
        halted,
        ...(aead === undefined ? {} : { aead }),
        ...(cpus === undefined ? {} : { cpu: cpus[i % cpus.length] as number }),
      }),
    );
    // While the threads start.
    rehearse();
    const deadline = monotonicMs() + START_MS;
    while (this.#ready < tuns.length) {
      if (monotonicMs() > deadline) throw new Error(`Workers did not start in ${START_MS / 1000} s`);
      this.#poller.turn(this.#links(), 100);
    }
  }

  /** The links alone: what comes to the sockets is, for now, the predecessor's, or the successor's. */
  #links(): Watched[] {
    return this.#workers.watched((message, worker) =>
      this.#control.hear(message, { worker, hear: (report) => this.#hear(report) }),
    );
  }

  /** inherit goes on with a predecessor's device. */
  inherit({ image, mark, relay, life }: Testament): void {
    if (life !== undefined) this.#control.life = life;
    this.#control.restore(image, mark, relay);
  }

  /** serve begins to answer on the UAPI socket. */
  serve(): void {
    this.#server.serve();
  }

  /** go lets the workers go. */
  go(): void {
    this.#workers.order({ kind: "go" });
    this.#workers.tell();
  }

  run(): never {
    const code = new ResidentCode({ afterMs: DROP_MS });
    for (;;) {
      this.#control.tick();
      const watched = [
        ...this.#control.watched((report) => this.#hear(report)),
        ...this.#server.watched(),
        ...(this.#successor === undefined
          ? []
          : [{ fd: this.#successor.number, ready: () => this.#heedSuccessor() }]),
      ];
      if (this.#poller.turn(watched, code.waitMs(monotonicMs(), this.#control.waitMs()))) {
        this.#collection.worked(1 + this.#answered / ANSWER_BYTES);
        this.#answered = 0;
      }
    }
  }

  #hear(report: Report): void {
    switch (report.kind) {
      case "ready":
        this.#provider = report;
        this.#ready++;
        return;
      case "failed":
        throw new Error(report.reason);
      case "halted":
        this.#halted++;
        return;
      case "gone":
        removeTree(socketPath(this.#parts.link));
        exit(0);
        return;
      default:
    }
  }

  #answer(request: string): Answer {
    if (request === GET_DATAPLANE) return this.#describe();
    const since = newsAsked(request);
    if (since !== undefined) return this.#tell(encodeNews(this.#control.device.news(since)) + encodeErrno(0));
    if (request === OTHERS) return (connection) => this.#control.others.attach(connection);
    if (request === TAKE_OVER) return (connection) => this.#meetSuccessor(connection);
    try {
      const { change, rest } = decodeRelay(request);
      const decoded = decodeRequest(rest ?? "set=1\n\n");
      const { device } = this.#control;
      if (change !== undefined) this.#control.configureRelay(change);
      if (rest === undefined) return encodeErrno(0);
      if (decoded.kind === "set") {
        this.#control.step({ kind: "configure", configuration: decoded.configuration });
        return encodeErrno(0);
      }
      const secrets = device.secrets();
      const text = encodeState(device.read(), secrets);
      secrets.privateKey?.reveal().fill(0);
      for (const psk of secrets.presharedKeys.values()) psk.reveal().fill(0);
      return this.#tell(text);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      writeStandardError(`Refused a request on the socket of ${this.#parts.link}: ${reason}\n`);
      return encodeErrno(error instanceof SystemError ? error.errno : EINVAL);
    }
  }

  #tell(text: string): string {
    this.#answered += text.length;
    return text;
  }

  #describe(): string {
    const { aead = "", passedOver = [] } = this.#provider ?? {};
    const { store, tuns } = this.#parts;
    const counters = sumCounters(tuns.map((_, worker) => store.counters(worker)));
    const status = { version: VERSION, build: BUILD, pid: ownPid(), aead, passedOver, workers: tuns.length };
    const { unsent, others, life } = this.#control;
    const more = {
      handshakes_unsent: unsent,
      others_dropped: others.dropped,
      others_refused: others.admission.refused,
      ...this.#control.relay.counters,
      ...this.#control.xdp.counters,
    };
    const lines = this.#control.xdp.lines.map((line) => `${line.replace(/\s+/g, " ")}\n`).join("");
    return (
      encodeDataplaneStatus({ ...status, life, counters: { ...counters, ...more } }) + lines + encodeErrno(0)
    );
  }

  /** One successor at a time gets the descriptors; packets flow on. */
  #meetSuccessor(connection: Fd): void {
    if (this.#successor !== undefined) {
      connection.close();
      return;
    }
    const { link, store, tuns, groups, socket } = this.#parts;
    const estate: Estate = { workers: tuns.length, families: groups.map((group) => firstOf(group).family) };
    const sockets = groups.flatMap((group) => group.map(({ fd }) => fd.number));
    try {
      waitAtMost(connection.number, PATIENCE_MS);
      sendEstate(connection, estate, [
        store.fd,
        socket.number,
        ...tuns.map(({ number }) => number),
        ...sockets,
      ]);
      this.#successor = connection;
      this.#givenPort = this.#control.port;
    } catch (error) {
      connection.close();
      writeStandardError(
        `Cannot hand ${link} over: ${error instanceof Error ? error.message : String(error)}\n`,
      );
    }
  }

  /** The successor is ready, or gone. */
  #heedSuccessor(): void {
    const connection = this.#successor as Fd;
    const word = stable(READY.length);
    const count = tryReceive(connection.number, word);
    if (count === undefined) return;
    try {
      if (count === READY.length) this.#handOver(connection);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      writeStandardError(`Cannot hand ${this.#parts.link} over, and go on: ${reason}\n`);
    }
    connection.close();
    this.#successor = undefined;
  }

  /** Stops between two packets, tells what a successor has to know, and ends; returns if the successor fails. */
  #handOver(connection: Fd): void {
    if (this.#control.port !== this.#givenPort)
      throw new Error(
        "the link moved to another port meanwhile, and the successor has the sockets of the old one",
      );
    try {
      this.#halt();
      const testament: Testament = {
        mark: this.#control.mark,
        life: this.#control.life,
        image: this.#control.image(),
        relay: this.#control.relay.image(),
      };
      sendText(connection, JSON.stringify(testament));
      if (!isDone(connection, PATIENCE_MS)) throw new Error("the successor ended, or did not go on in time");
      // Until it serves; else whoever looks for the one that serves finds nobody.
      libc.pollReadable(connection.number, PATIENCE_MS);
      exit(0);
    } finally {
      this.go();
    }
  }

  #halt(): void {
    this.#halted = 0;
    this.#workers.order({ kind: "halt" });
    this.#workers.tell();
    const deadline = monotonicMs() + PATIENCE_MS;
    while (this.#halted < this.#workers.count) {
      if (monotonicMs() > deadline) throw new Error("a worker does not halt");
      this.#poller.turn(this.#links(), 10);
    }
  }
}

/** What a predecessor handed over; its sessions go on only if their memory can be read. */
function partsOf(
  { workers, families }: Estate,
  { link, descriptors }: { readonly link: string; readonly descriptors: readonly Fd[] },
): Parts {
  const [memory, socket, ...rest] = descriptors as [Fd, Fd, ...Fd[]];
  const tuns = rest.splice(0, workers);
  const groups = families.map((family) =>
    rest.splice(0, 1 + workers).map((fd) => DatagramSocket.adopt(fd, family)),
  );
  return { link, store: storeOf(memory), tuns, groups, socket };
}

/** The sessions of a memory in a form that is not known are made anew, with new keys. */
function storeOf(memory: Fd): SessionStore {
  try {
    return SessionStore.open(memory.number);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    memory.close();
    return SessionStore.create();
  }
}

/** Refuses what would only be found out when half of it is made. */
function checkMachine({ link, cpus = [] }: DataplaneOptions): void {
  const problem = libcryptoProblem();
  if (problem !== undefined) throw new Error(`Cannot serve link ${link}: ${problem}`);
  const allowed = allowedCpus();
  const wrong = cpus.find((cpu) => !allowed.includes(cpu));
  if (wrong !== undefined)
    throw new Error(`Cannot keep threads to processor ${wrong}: choose among ${allowed.join(", ")}`);
}

function connectPredecessor(link: string): Fd {
  try {
    return connectUnix(socketPath(link), { timeoutMs: PATIENCE_MS });
  } catch (error) {
    if (!isErrno(error, "ENOENT", "ECONNREFUSED")) throw error;
    throw new Error(`Cannot take over link ${link}: no process serves it; start one without --take-over`);
  }
}

function openTuns(link: string, count: number): Fd[] {
  try {
    return Array.from({ length: count }, (_, i) =>
      attachTun(link, { vnetHeader: true, multiQueue: true, exclusive: i === 0 }),
    );
  } catch (error) {
    if (isErrno(error, "EBUSY", "EEXIST", "EINVAL"))
      throw new Error(
        `Cannot make link ${link}: there is a link of that name; remove it or choose another name`,
      );
    if (isErrno(error, "ENOENT", "ENODEV"))
      throw new Error(`Cannot make link ${link}: there is no /dev/net/tun; load its module (modprobe tun)`);
    if (isErrno(error, "EPERM", "EACCES"))
      throw new Error(`Cannot make link ${link}: not permitted; become root (CAP_NET_ADMIN)`);
    throw error;
  }
}

function bindSocket(link: string): Fd {
  ensureDirectory(SOCKETS, 0o700);
  try {
    return bindUnix(socketPath(link));
  } catch (error) {
    if (!isErrno(error, "EADDRINUSE")) throw error;
    throw new Error(
      `Cannot serve link ${link}: another process listens on ${socketPath(link)}; stop it, or use --take-over`,
    );
  }
}

const socketPath = (link: string) => `${SOCKETS}/${link}.sock`;
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));
const firstOf = (group: SocketGroup) => group[0] as DatagramSocket;
const firstSocket = (groups: readonly SocketGroup[]) => firstOf(groups[0] as SocketGroup);
