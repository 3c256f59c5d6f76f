/**
 * One simulated node of a crowd. Real are: WireGuard (the protocol core, a UDP socket and an address of its own), the choice of hubs with its probes, and
 * the sync protocol over TCP in the tunnel, with a ping each 10 s. It keeps no register: what the hub tells it is only looked at.
 */
import { LEAST_PROBE_BYTES, MAGIC_BYTES, pongFor, type ProbeKey, probeKey } from "../../src/mesh/mod.ts";
import {
  encodeProbe,
  type HubChoice,
  type HubChoiceEvent,
  hubChoiceDueMs,
  openProbe,
  probeSender,
  shortId,
  startHubChoice,
  stepHubChoice,
} from "../../src/mesh/mod.ts";
import {
  type Endpoint,
  endpointEqual,
  formatIp,
  type Ip,
  parseEndpoint,
  parsePrefix,
  type PublicKey,
} from "../../src/net/mod.ts";
import {
  after,
  boottimeMs,
  monotonicMs,
  type Netns,
  openUdp,
  randomBytes,
  type UdpSocket,
  wallMs,
} from "../../src/sys/mod.ts";
import { act, Device, type Outcome, receiveDatagram, sendPacket } from "../../src/tunnel/wireguard/mod.ts";
import { factsOf, type Seat } from "./full-register.ts";
import { connectFrom, type LineConnection } from "./bound-tcp.ts";

const MAGIC = Buffer.from("CWAY");
const HUB_KEEPALIVE_SECONDS = 25;
const RETRY_MS = 500;
const PING = '{"type":"ping"}';

/** CrowdHub is the hub, as members know it. */
export interface CrowdHub {
  readonly name: string;
  readonly publicKey: PublicKey;
  readonly endpoint: Endpoint;
  readonly overlay4: Ip;
  readonly syncPort: number;
}

/** MemberOptions say whom a member speaks to, and who is told. */
export interface MemberOptions {
  readonly netns: Netns;
  readonly hub: CrowdHub;
  /** A packet for the link came. */
  readonly deliver: (packet: Uint8Array<ArrayBuffer>) => void;
  /** A line of the hub came. */
  readonly heard: (member: Member, line: Buffer) => void;
}

/** Member owns a socket, a device and a connection. */
export class Member implements Disposable {
  readonly seat: Seat;
  /** Pings of other nodes that it has answered. */
  pings = 0;
  /** How far it has read the hub's facts. */
  read: { readonly book: string; readonly version: number } | undefined;
  online = false;
  /** Times that its connection ended and it connected anew. */
  returns = 0;
  #closed = false;
  readonly #options: MemberOptions;
  readonly #device = new Device();
  readonly #id: bigint;
  readonly #hubText: string;
  readonly #keys = new Map<bigint, ProbeKey>();
  readonly #others = new Map<bigint, PublicKey>();
  #choice: HubChoice;
  #choiceDueMs: number | undefined;
  #socket: UdpSocket | undefined;
  #line: LineConnection | undefined;

  constructor(seat: Seat, options: MemberOptions) {
    this.seat = seat;
    this.#options = options;
    this.#id = shortId(seat.key.publicKey);
    this.#hubText = formatIp(options.hub.endpoint.ip);
    this.#others.set(shortId(options.hub.publicKey), options.hub.publicKey);
    this.#choice = startHubChoice({ seed: Buffer.from(randomBytes(8)).readBigUInt64BE() });
  }

  /** open listens: a hub that was away calls the nodes that it has seen. */
  async open(): Promise<void> {
    const { netns, hub } = this.#options;
    const { ip, port } = this.seat.endpoint;
    this.#socket = await openUdp({
      netns,
      host: formatIp(ip),
      port,
      onDatagram: ({ data, host, port: from }) => this.#arrived(data as Uint8Array<ArrayBuffer>, host, from),
    });
    this.know(hub.publicKey, { inside: hub.overlay4 });
  }

  /** greet begins to probe the hub, and calls it where it has not called. */
  greet(): void {
    const { publicKey, name, endpoint, overlay4: inside } = this.#options.hub;
    this.know(publicKey, { endpoint, inside, keepaliveSeconds: HUB_KEEPALIVE_SECONDS });
    this.#choose({ kind: "hubs", nowMs: monotonicMs(), hubs: [{ name, endpoint, linkMtuBytes: 1500 }] });
  }

  /** know adds another node: it may make a tunnel with this one, and gets answers to its probes. */
  know(
    publicKey: PublicKey,
    other: { readonly endpoint?: Endpoint; readonly inside: Ip; readonly keepaliveSeconds?: number },
  ): void {
    const { endpoint, inside, keepaliveSeconds } = other;
    this.#others.set(shortId(publicKey), publicKey);
    const peer = {
      publicKey,
      allowedIps: [{ prefix: parsePrefix(`${formatIp(inside)}/32`) }],
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(keepaliveSeconds === undefined ? {} : { keepaliveSeconds }),
    };
    const privateKey = this.#device.publicKey === undefined ? { privateKey: this.seat.key } : {};
    this.#carry(
      act(this.#device, { kind: "configure", configuration: { ...privateKey, peers: [peer] } }, clock()),
    );
  }

  /** Whether a session with the hub can be used. */
  get tunnelled(): boolean {
    const number = this.#device.numberOf(this.#options.hub.publicKey);
    return number !== undefined && this.#device.sendable(number, boottimeMs()) !== undefined;
  }

  /** follow connects to the hub as a node does that was away for a moment; `read`: how far it had read the hub's facts. */
  async follow(read?: Member["read"]): Promise<void> {
    const { netns, hub } = this.#options;
    this.read = read;
    this.#line = await connectFrom(this.seat.node.overlay4, {
      netns,
      to: hub.overlay4,
      port: hub.syncPort,
      events: {
        line: (bytes) => this.#options.heard(this, bytes),
        closed: () => {
          this.#line = undefined;
          if (this.#closed) return;
          this.returns++;
          after(RETRY_MS, () => this.#again());
        },
      },
    });
    const { header, endpoint } = this.seat;
    const facts = wireFacts(endpoint, hub.name);
    this.#line.send(
      JSON.stringify({
        type: "hello",
        version: 2,
        header,
        facts,
        ...(read === undefined ? {} : { read }),
        removedTo: 0,
      }),
    );
  }

  #again(): void {
    // What failed is told to `closed` too, which tries again.
    if (!this.#closed) this.follow(this.read).catch(() => undefined);
  }

  /** ping says that the node lives, as nodes do every 10 s. */
  ping(): void {
    this.#line?.send(PING);
  }

  /** tellFacts tells the hub something new of this node. */
  tellFacts(rttMs: number): void {
    const facts = wireFacts(this.seat.endpoint, this.#options.hub.name, rttMs);
    this.#line?.send(JSON.stringify({ type: "facts", facts }));
  }

  /** reaches tells whether it sends to another node at this endpoint, which is where the other sent from last. */
  reaches(publicKey: PublicKey, at: Endpoint): boolean {
    const number = this.#device.numberOf(publicKey);
    const endpoint = number === undefined ? undefined : this.#device.peer(number)?.endpoint;
    return endpoint !== undefined && endpointEqual(endpoint, at);
  }

  /** send takes a packet from the link. */
  send(packet: Uint8Array): void {
    this.#carry(sendPacket(this.#device, packet, clock()));
  }

  /** due lets timers run. */
  due(): void {
    if ((this.#device.nextDueMs() ?? Number.POSITIVE_INFINITY) <= boottimeMs())
      this.#carry(act(this.#device, { kind: "due" }, clock()));
    const nowMs = monotonicMs();
    if (this.#choiceDueMs !== undefined && this.#choiceDueMs <= nowMs) this.#choose({ kind: "due", nowMs });
  }

  #arrived(data: Uint8Array<ArrayBuffer>, host: string, port: number): void {
    const { endpoint } = this.#options.hub;
    const from =
      host === this.#hubText && port === endpoint.port ? endpoint : parseEndpoint(`${host}:${port}`);
    if (MAGIC.equals(data.subarray(0, MAGIC_BYTES))) this.#probe(data, from);
    else this.#carry(receiveDatagram(this.#device, data, { ...clock(), from }));
  }

  #probe(data: Uint8Array, from: Endpoint): void {
    const bytes = data.subarray(MAGIC_BYTES);
    const sender = probeSender(bytes);
    const key = sender === undefined ? undefined : this.#keyOf(sender);
    const probe = key && openProbe(bytes, { key, datagramBytes: data.length });
    if (sender === undefined || key === undefined || probe === undefined) return;
    if (probe.kind === "ping") {
      this.pings++;
      // It wants every path that the other side chooses; WireGuard follows by itself.
      const pong = { ...pongFor(probe, { from }), chosen: probe.chosen };
      return this.#sendProbe(encodeProbe(pong, { key, sender: this.#id }), from, 0);
    }
    const { transaction, sizeBytes, seen, instance } = probe;
    this.#choose({
      kind: "pong",
      nowMs: monotonicMs(),
      hub: this.#options.hub.name,
      transaction,
      sizeBytes,
      seen,
      ...(instance === undefined ? {} : { instance }),
    });
  }

  #keyOf(sender: bigint): ProbeKey | undefined {
    const known = this.#keys.get(sender);
    const other = this.#others.get(sender);
    if (known !== undefined || other === undefined) return known;
    const key = probeKey(this.seat.key, other);
    this.#keys.set(sender, key);
    return key;
  }

  #sendProbe(bytes: Uint8Array, to: Endpoint, sizeBytes: number): void {
    const datagram = new Uint8Array(Math.max(sizeBytes, MAGIC_BYTES + bytes.length));
    datagram.set(MAGIC);
    datagram.set(bytes, MAGIC_BYTES);
    this.#socket?.send(datagram, formatIp(to.ip), to.port);
  }

  #choose(event: HubChoiceEvent): void {
    const [choice, effects] = stepHubChoice(this.#choice, event);
    this.#choice = choice;
    this.#choiceDueMs = hubChoiceDueMs(choice, event.nowMs);
    for (const effect of effects) {
      // What changed of the way to the hub is not told: the facts at rest are the register's.
      if (effect.kind !== "ping") continue;
      const { to, transaction, sizeBytes = LEAST_PROBE_BYTES } = effect;
      const key = this.#keyOf(shortId(this.#options.hub.publicKey)) as ProbeKey;
      const probe = { kind: "ping", transaction, chosen: false, sizeBytes } as const;
      this.#sendProbe(encodeProbe(probe, { key, sender: this.#id }), to, sizeBytes);
    }
  }

  #carry({ datagrams, packets }: Outcome): void {
    for (const { to, bytes } of datagrams) this.#socket?.send(bytes, formatIp(to.ip), to.port);
    for (const packet of packets) this.#options.deliver(packet);
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#line?.close();
    this.#socket?.close();
    this.#device[Symbol.dispose]();
  }
}

function wireFacts(endpoint: Endpoint, hub: string, rttMs?: number) {
  const facts = factsOf(endpoint, hub, rttMs);
  return { ...facts, local: [`${formatIp(endpoint.ip)}:${endpoint.port}`] };
}

function clock() {
  return { nowMs: boottimeMs(), wallMs: wallMs() };
}
