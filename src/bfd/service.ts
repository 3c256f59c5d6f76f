/**
 * The process `causeway bfd`: keeps BFD sessions (RFC 5881, 5883) as its socket says, whoever is connected there. It is a process of its own so
 * that a pause, a restart or a crash of the control plane is not seen by neighbors.
 */
import { formatIp, type Ip, ipBytes, ipFromBytes, parseIp } from "../net/mod.ts";
import {
  after,
  BUILD,
  every,
  type HopDatagram,
  HopReceiver,
  HopSender,
  type LineConnection,
  LineServer,
  monotonicMs,
  Netns,
  ownPid,
  randomBytes,
} from "../sys/mod.ts";
import {
  bfdRequestSchema,
  type BfdSessionStatus,
  bfdSessionId,
  type BfdStatus,
  type BfdWish,
} from "./config.ts";
import { type BfdPacket, decodePacket, encodePacket } from "./packet.ts";
import {
  type BfdEffect,
  type BfdEvent,
  type BfdSession,
  detectionMs,
  dueMs,
  newBfdSession,
  stepBfd,
  transmitIntervalMs,
} from "./session.ts";

/** RFC 5881 section 4, RFC 5883 section 5. */
const SINGLE_HOP_PORT = 3784;
const MULTIHOP_PORT = 4784;
/** RFC 5881 section 4: the source port is in this range. */
const SOURCE_PORTS = [49152, 65535] as const;
/** RFC 5881 section 5: sent with 255, and what comes with less is discarded. */
const MOST_HOPS = 255;
/** How often what could not be opened is tried again: an interface that is not there yet, an address that is gone. */
const RETRY_MS = 1000;
/** More than a receive buffer holds, and an end to it while a flood comes. */
const MOST_BATCHES = 8;

interface Kept {
  wish: BfdWish;
  readonly id: string;
  readonly peer: Ip;
  session: BfdSession;
  sender: HopSender | undefined;
  linkIndex: number;
  timer: Disposable | undefined;
  sent: number;
  received: number;
  downs: number;
  problem: string | undefined;
}

/** Random for jitter and discriminators, of which nothing secret depends. */
function random(): number {
  return new DataView(randomBytes(4).buffer).getUint32(0) / 2 ** 32;
}

/** BfdService keeps sessions. */
export class BfdService implements Disposable {
  readonly #kept = new Map<string, Kept>();
  readonly #byDiscriminator = new Map<number, Kept>();
  /** Sockets by namespace, family and port; one for all sessions there. */
  readonly #receivers = new Map<string, HopReceiver>();
  readonly #namespaces = new Map<string, Netns>();
  readonly #onChange: (status: BfdSessionStatus) => void;
  readonly #retry: Disposable;
  #problems: readonly string[] = [];
  #discarded = 0;

  constructor(onChange: (status: BfdSessionStatus) => void) {
    this.#onChange = onChange;
    this.#retry = every(RETRY_MS, () => this.#openAll());
  }

  /** set makes these the sessions, beside the others or in their place; what is the same goes on untouched, and changed intervals are told by a poll. */
  set(
    wishes: readonly BfdWish[],
    { keepOthers, ended }: { readonly keepOthers: boolean; readonly ended: readonly string[] },
  ): void {
    const over = new Set(ended);
    const wanted = new Map(wishes.map((wish) => [bfdSessionId(wish), wish]));
    for (const kept of this.#kept.values()) {
      const wish = wanted.get(kept.id);
      const isOther =
        wish === undefined
          ? !keepOthers || over.has(kept.id)
          : wish.local !== kept.wish.local || wish.multihop !== kept.wish.multihop;
      if (isOther) this.#remove(kept);
    }
    for (const [id, wish] of wanted) {
      const kept = this.#kept.get(id);
      if (kept === undefined) this.#add(id, wish);
      else {
        kept.wish = wish;
        this.#step(kept, { kind: "configure", parameters: wish, nowMs: monotonicMs() });
      }
    }
    this.#openAll();
    this.#closeUnused();
  }

  #add(id: string, wish: BfdWish): void {
    let discriminator = 0;
    while (discriminator === 0 || this.#byDiscriminator.has(discriminator))
      discriminator = Math.floor(random() * 2 ** 32);
    const kept: Kept = {
      wish,
      id,
      peer: parseIp(wish.peer),
      session: newBfdSession(wish, { discriminator, nowMs: monotonicMs() }),
      sender: undefined,
      linkIndex: 0,
      timer: undefined,
      sent: 0,
      received: 0,
      downs: 0,
      problem: undefined,
    };
    this.#kept.set(id, kept);
    this.#byDiscriminator.set(discriminator, kept);
  }

  #remove(kept: Kept): void {
    // The neighbor learns at once that this is not a failure (RFC 5880 section 6.8.16).
    this.#step(kept, { kind: "disable", nowMs: monotonicMs() });
    this.#step(kept, { kind: "time", nowMs: monotonicMs(), random: 0 });
    kept.timer?.[Symbol.dispose]();
    kept.sender?.[Symbol.dispose]();
    this.#kept.delete(kept.id);
    this.#byDiscriminator.delete(kept.session.localDiscriminator);
  }

  /** Opens what is missing; what cannot be opened now is tried again. */
  #openAll(): void {
    const problems: string[] = [];
    for (const kept of this.#kept.values()) {
      try {
        this.#open(kept);
        kept.problem = undefined;
      } catch (error) {
        kept.problem = error instanceof Error ? error.message : String(error);
        problems.push(`${kept.id}: ${kept.problem}`);
      }
    }
    this.#problems = problems;
  }

  #open(kept: Kept): void {
    const { wish, peer } = kept;
    const netns = wish.netns === undefined ? undefined : this.#namespace(wish.netns);
    const port = wish.multihop === undefined ? SINGLE_HOP_PORT : MULTIHOP_PORT;
    const key = receiverKey(wish, peer);
    const onDatagram = (datagram: HopDatagram) => this.#received(key, datagram);
    const receiver = this.#receivers.get(key) ?? HopReceiver.open(peer.family, { netns, port, onDatagram });
    this.#receivers.set(key, receiver);
    const index = wish.link === undefined ? 0 : receiver.linkIndex(wish.link);
    if (index === undefined)
      throw new Error(`there is no interface ${wish.link}; the session waits until there is`);
    // An interface that was made anew has another index, and the socket stays with the old one.
    if (kept.sender !== undefined && index === kept.linkIndex) return;
    kept.sender?.[Symbol.dispose]();
    kept.sender = undefined;
    kept.linkIndex = index;
    kept.sender = HopSender.open({
      netns,
      to: ipBytes(peer),
      port,
      from: wish.local === undefined ? undefined : ipBytes(parseIp(wish.local)),
      ports: SOURCE_PORTS,
      link: wish.link === undefined ? undefined : { name: wish.link, index },
      hopLimit: MOST_HOPS,
    });
    this.#schedule(kept);
  }

  #namespace(path: string): Netns {
    const open = this.#namespaces.get(path);
    if (open !== undefined) return open;
    const netns = Netns.open(path);
    this.#namespaces.set(path, netns);
    return netns;
  }

  #closeUnused(): void {
    const used = new Set([...this.#kept.values()].map(({ wish, peer }) => receiverKey(wish, peer)));
    for (const [key, receiver] of this.#receivers)
      if (!used.has(key)) {
        receiver[Symbol.dispose]();
        this.#receivers.delete(key);
      }
    const paths = new Set([...this.#kept.values()].map(({ wish }) => wish.netns));
    for (const [path, netns] of this.#namespaces)
      if (!paths.has(path)) {
        netns.close();
        this.#namespaces.delete(path);
      }
  }

  /** RFC 5880 section 6.8.6, RFC 5881 section 5. */
  #received(key: string, datagram: HopDatagram): void {
    const packet = decodePacket(datagram.bytes);
    const kept = typeof packet === "string" ? undefined : this.#sessionOf(key, packet, datagram);
    if (typeof packet === "string" || kept === undefined) {
      this.#discarded++;
      return;
    }
    kept.received++;
    this.#step(kept, { kind: "packet", packet, nowMs: monotonicMs(), random: random() });
  }

  #sessionOf(key: string, packet: BfdPacket, datagram: HopDatagram): Kept | undefined {
    const source = ipFromBytes(datagram.source);
    const fits = (kept: Kept) =>
      receiverKey(kept.wish, kept.peer) === key &&
      kept.peer.value === source.value &&
      (kept.wish.link === undefined || kept.linkIndex === datagram.interfaceIndex) &&
      datagram.hopLimit >= leastHops(kept.wish);
    if (packet.yourDiscriminator !== 0) {
      const named = this.#byDiscriminator.get(packet.yourDiscriminator);
      return named !== undefined && fits(named) ? named : undefined;
    }
    for (const kept of this.#kept.values()) if (fits(kept)) return kept;
    return undefined;
  }

  #step(kept: Kept, event: BfdEvent): void {
    const [session, effects] = stepBfd(kept.session, event);
    kept.session = session;
    for (const effect of effects) this.#do(kept, effect);
    this.#schedule(kept);
  }

  #do(kept: Kept, effect: BfdEffect): void {
    if (effect.kind === "send") {
      if (kept.sender?.send(encodePacket(effect.packet)) === true) kept.sent++;
      return;
    }
    if (effect.from === "up") kept.downs++;
    this.#onChange(statusOf(kept));
  }

  #schedule(kept: Kept): void {
    kept.timer?.[Symbol.dispose]();
    const atMs = dueMs(kept.session);
    // Also while nothing can be sent: silence is found all the same.
    if (atMs === Number.POSITIVE_INFINITY) return;
    kept.timer = after(Math.max(0, atMs - monotonicMs()), () => this.#due(kept));
  }

  #due(kept: Kept): void {
    // After a pause of this process (or a busy machine) what came meanwhile counts before the silence does.
    for (const receiver of [...this.#receivers.values()])
      for (let i = 0; i < MOST_BATCHES && receiver.read(); i++);
    if (this.#kept.get(kept.id) !== kept) return;
    this.#step(kept, { kind: "time", nowMs: monotonicMs(), random: random() });
  }

  get status(): BfdStatus {
    return {
      build: BUILD,
      pid: ownPid(),
      sessions: [...this.#kept.values()].map(statusOf),
      discarded: this.#discarded,
      problems: this.#problems,
    };
  }

  [Symbol.dispose](): void {
    this.#retry[Symbol.dispose]();
    for (const kept of [...this.#kept.values()]) this.#remove(kept);
    this.#closeUnused();
  }
}

/** RFC 5881 section 5 leaves no choice on a link, RFC 5883 section 5 does. */
function leastHops({ multihop, minimumTtl }: BfdWish): number {
  if (multihop === undefined) return MOST_HOPS;
  return minimumTtl ?? MOST_HOPS - multihop;
}

function receiverKey(wish: BfdWish, peer: Ip): string {
  return `${wish.netns ?? ""} ${peer.family} ${wish.multihop === undefined ? "single" : "multihop"}`;
}

function statusOf(kept: Kept): BfdSessionStatus {
  const { wish, session } = kept;
  return {
    id: kept.id,
    netns: wish.netns,
    peer: formatIp(kept.peer),
    local: wish.local,
    link: wish.link,
    multihop: wish.multihop,
    state: session.state,
    diagnostic: session.diagnostic,
    remoteState: session.remoteState,
    remoteIndependent: session.remoteIndependent,
    transmitMs: transmitIntervalMs(session),
    detectionMs: detectionMs(session),
    sinceSeconds: Math.floor((monotonicMs() - session.sinceMs) / 1000),
    sent: kept.sent,
    received: kept.received,
    downs: kept.downs,
    problem: kept.problem,
  };
}

/** serveBfd answers on a socket until the process ends; throws if another process answers there. */
export function serveBfd(socketPath: string): Disposable {
  const watchers = new Set<LineConnection>();
  const service = new BfdService((changed) => {
    for (const watcher of watchers) watcher.reply(JSON.stringify({ changed }));
  });
  const server = LineServer.listen(socketPath, {
    mode: 0o600,
    onRequest(line, connection) {
      connection.reply(JSON.stringify(answer(line, connection)));
    },
  });
  const answer = (line: string, connection: LineConnection): BfdStatus | { readonly error: string } => {
    try {
      const request = bfdRequestSchema.parse(JSON.parse(line));
      if (request.op === "set") service.set(request.sessions, request);
      if (request.op === "watch") {
        watchers.add(connection);
        connection.onClose(() => watchers.delete(connection));
      }
      return service.status;
    } catch (error) {
      return { error: error instanceof Error ? error.message : String(error) };
    }
  };
  return {
    [Symbol.dispose]() {
      server.close();
      service[Symbol.dispose]();
    },
  };
}
