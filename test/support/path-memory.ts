/** The packet path between two nodes in one process and one arena, without a kernel: what one seals the other opens. */
import { type AeadAlgorithm, type AeadProvider, Arena } from "../../src/sys/mod.ts";
import {
  type AeadName,
  chooseAead,
  checksumOf,
  Coalescer,
  type FrameSink,
  type MessageSource,
  newCounters,
  OpenStep,
  type PacketSource,
  type PacketWriter,
  type PathPeer,
  type PathSession,
  type PathTables,
  Segmenter,
  SealStep,
  WireguardFraming,
} from "../../src/tunnel/path/mod.ts";
import { PrefixTrie } from "../../src/tunnel/wireguard/prefix-trie.ts";
import type { ReplayWindow } from "../../src/tunnel/wireguard/replay.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";

const AREA = 1 << 20;

/** MemoryPort is a sender whose frames the other side receives at once; frames of one length to one endpoint are one message. */
export class MemoryPort implements FrameSink, MessageSource {
  blocked = false;
  /** Messages that were flushed and not yet received. */
  count = 0;
  /** How many frames it takes before it is full; for tests of back-pressure. */
  room = Number.POSITIVE_INFINITY;
  readonly arena: Arena;
  readonly #area: number;
  readonly #starts = new Int32Array(4096);
  readonly #lengths = new Int32Array(4096);
  readonly #sizes = new Int32Array(4096);
  #messages = 0;
  #used = 0;

  constructor(arena: Arena) {
    this.arena = arena;
    this.#area = arena.allocate(AREA);
  }

  frame(_endpoint: number, bytes: number): number {
    if (this.#used + bytes > AREA || this.#messages === 4096 || this.room <= 0) return 0;
    this.room--;
    const at = this.#area + this.#used;
    const last = this.#messages - 1;
    const whole = last >= 0 && (this.#lengths[last] as number) % (this.#sizes[last] as number) === 0;
    if (whole && bytes <= (this.#sizes[last] as number) && (this.#lengths[last] as number) + bytes <= 65_507)
      this.#lengths[last] = (this.#lengths[last] as number) + bytes;
    else {
      this.#starts[this.#messages] = at;
      this.#lengths[this.#messages] = bytes;
      this.#sizes[this.#messages++] = bytes;
    }
    this.#used += bytes;
    return at;
  }

  flush(): boolean {
    this.count = this.#messages;
    this.blocked = this.room <= 0;
    return !this.blocked;
  }

  /** received makes room again. */
  received(): void {
    this.count = 0;
    this.#messages = 0;
    this.#used = 0;
  }

  at(index: number): number {
    return this.#starts[index] as number;
  }
  bytes(index: number): number {
    return this.#lengths[index] as number;
  }
  segmentBytes(index: number): number {
    return this.#sizes[index] as number;
  }
}

/** MemoryTun gives packets that were put into it, and counts or keeps what is written. */
export class MemoryTun implements PacketSource, PacketWriter {
  readonly arena: Arena;
  readonly written: Uint8Array<ArrayBuffer>[] = [];
  /** Keep what is written; else only count. */
  keep = true;
  writes = 0;
  writtenBytes = 0;
  readonly #slot: number;
  readonly #store: number;
  readonly #offsets: number[] = [];
  readonly #sizes: number[] = [];
  #bytes = 0;
  #next = 0;
  /** How many more packets are given, going round; default each once. */
  left = 0;

  constructor(arena: Arena) {
    this.arena = arena;
    this.#slot = arena.allocate(65_600);
    this.#store = arena.allocate(1 << 20);
  }

  /** put adds packets with their virtio headers. */
  put(...packets: readonly Uint8Array[]): void {
    for (const packet of packets) {
      const at =
        this.#offsets.length === 0
          ? this.#store
          : (this.#offsets.at(-1) as number) + (this.#sizes.at(-1) as number);
      this.arena.store(at, packet);
      this.#offsets.push(at);
      this.#sizes.push(packet.length);
    }
    this.left += packets.length;
  }

  /** clear forgets what was put in. */
  clear(): void {
    this.#offsets.length = this.#sizes.length = this.#next = this.left = 0;
  }

  receive(): number {
    if (this.left === 0) return 0;
    this.left--;
    const index = this.#next++ % this.#offsets.length;
    const at = this.#offsets[index] as number;
    this.#bytes = this.#sizes[index] as number;
    this.arena.u8.copyWithin(this.#slot, at, at + this.#bytes);
    return 1;
  }
  at(): number {
    return this.#slot;
  }
  bytes(): number {
    return this.#bytes;
  }
  write(at: number, length: number): void {
    this.writes++;
    this.writtenBytes += length;
    if (this.keep) this.written.push(this.arena.copy(at, length));
  }
  writeParts(vectors: number, count: number): void {
    this.writes++;
    const parts = this.keep ? ([] as Uint8Array[]) : undefined;
    for (let i = 0; i < count; i++) {
      const length = this.arena.u32[(vectors >>> 2) + 4 * i + 2] as number;
      const at = this.arena.offsetOf(vectors + 16 * i, length);
      this.writtenBytes += length;
      parts?.push(this.arena.copy(at, length));
    }
    if (parts !== undefined) this.written.push(new Uint8Array(Buffer.concat(parts)));
  }
  /** take returns what was written, and forgets it. */
  take(): Uint8Array<ArrayBuffer>[] {
    return this.written.splice(0);
  }
}

/** newWindow returns an empty replay window. */
export function newWindow(): ReplayWindow {
  return { next: new Float64Array(1), bits: new Uint32Array(256) };
}

const MOST_COUNTER = 2 ** 53 - 2 ** 13 - 1;

/** TestSession is a session whose counter a test can set. */
export interface TestSession extends PathSession {
  readonly sendCounter: Float64Array;
}

/** staticSession makes a session of fixed keys: `out` seals, `in` opens. */
export function staticSession(
  provider: AeadProvider,
  options: {
    readonly peer: number;
    readonly localIndex: number;
    readonly remoteIndex: number;
    readonly out: Uint8Array;
    readonly in: Uint8Array;
    readonly algorithm?: AeadAlgorithm;
  },
): TestSession {
  const algorithm = options.algorithm ?? "chacha20-poly1305";
  const sendCounter = new Float64Array(1);
  return {
    endsMs: Number.POSITIVE_INFINITY,
    claim(frames) {
      const first = sendCounter[0] as number;
      if (first + frames > MOST_COUNTER) return -1;
      sendCounter[0] = first + frames;
      return first;
    },
    peer: options.peer,
    localIndex: options.localIndex,
    remoteIndex: options.remoteIndex,
    sendCounter,
    window: newWindow(),
    sealKey: provider.key(algorithm, options.out, "seal"),
    openKey: provider.key(algorithm, options.in, "open"),
  };
}

/** allowAll returns a trie in which every address is one peer's. */
export function allowAll(addressBytes: 4 | 16, peer: number): PrefixTrie {
  const trie = new PrefixTrie(addressBytes, 1024);
  trie.insert({ bytes: new Uint8Array(addressBytes), length: 0 }, peer);
  return trie;
}

/** PathPair is two nodes, near and far; `exchange` moves what near has to far. */
export class PathPair {
  readonly arena: Arena;
  readonly provider: AeadProvider;
  readonly near: MemoryTun;
  readonly far: MemoryTun;
  readonly port: MemoryPort;
  readonly seal: SealStep;
  readonly open: OpenStep;
  readonly nearSession: TestSession;
  readonly farSession: TestSession;
  readonly nearPeer: PathPeer;
  readonly nearTables: PathTables & { readonly allowed4: PrefixTrie; readonly allowed6: PrefixTrie };
  readonly farTables: PathTables & {
    readonly sessions: Map<number, PathSession>;
    readonly allowed4: PrefixTrie;
  };
  readonly counters = newCounters();
  /** Datagrams that were not data, packets that could not go, and batches that were opened, as the events told. */
  readonly others: Uint8Array[] = [];
  readonly unready: number[] = [];
  opened = 0;

  constructor(
    options: {
      readonly guarded?: boolean;
      readonly aead?: AeadName;
      readonly algorithm?: AeadAlgorithm;
      readonly mtuBytes?: number;
    } = {},
  ) {
    const arena = new Arena({ bytes: 24 << 20, guarded: options.guarded === true });
    this.arena = arena;
    const folders = ipsecMbFolders();
    this.provider = chooseAead(arena, {
      folders,
      ...(options.aead === undefined ? {} : { only: options.aead }),
    }).provider;
    const checksum = checksumOf(arena);
    const framing = new WireguardFraming(arena, { mtuBytes: options.mtuBytes ?? 1420 });
    [this.near, this.far, this.port] = [new MemoryTun(arena), new MemoryTun(arena), new MemoryPort(arena)];
    const bytes = options.algorithm === "aes-128-gcm" ? 16 : 32;
    const [a, b] = [new Uint8Array(bytes).fill(1), new Uint8Array(bytes).fill(2)];
    const keys = options.algorithm === undefined ? {} : { algorithm: options.algorithm };
    this.nearSession = staticSession(this.provider, {
      peer: 7,
      localIndex: 0xfedcba98,
      remoteIndex: 0x12345678,
      out: a,
      in: b,
      ...keys,
    });
    this.farSession = staticSession(this.provider, {
      peer: 9,
      localIndex: 0x12345678,
      remoteIndex: 0xfedcba98,
      out: b,
      in: a,
      ...keys,
    });
    this.nearPeer = { session: this.nearSession, endpoint: arena.allocate(128), sender: this.port };
    const mostMessages = MOST_COUNTER;
    this.nearTables = {
      peers: new Map([[7, this.nearPeer]]),
      sessions: new Map(),
      allowed4: allowAll(4, 7),
      allowed6: allowAll(16, 7),
      mostMessages,
      nowMs: 0,
    };
    this.farTables = {
      peers: new Map(),
      sessions: new Map([[this.farSession.localIndex, this.farSession]]),
      allowed4: allowAll(4, 9),
      allowed6: allowAll(16, 9),
      mostMessages,
      nowMs: 0,
    };
    this.seal = new SealStep(arena, {
      source: this.near,
      segmenter: new Segmenter(arena, checksum),
      framing,
      senders: [this.port],
      tables: this.nearTables,
      counters: this.counters,
      events: { unready: (peer) => void this.unready.push(peer), sealed: () => {} },
    });
    this.open = new OpenStep(arena, {
      messages: this.port,
      framing,
      sink: new Coalescer(arena, { checksum, writer: this.far, udp: true }),
      tables: this.farTables,
      counters: this.counters,
      events: {
        other: (at, length) => void this.others.push(arena.copy(at, length)),
        opened: () => void this.opened++,
      },
    });
  }

  /** exchange runs both steps until near has nothing more. `between` sees the frames on the wire. */
  exchange(between?: (port: MemoryPort) => void): void {
    for (;;) {
      this.seal.run();
      const { count } = this.port;
      if (count === 0 && this.near.left === 0) return;
      between?.(this.port);
      this.open.run(count);
      this.port.received();
    }
  }
}
