/** Two ends of ESP in memory: what near reads from its TUN goes to far. */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { Arena, type AeadProvider } from "../../src/sys/mod.ts";
import {
  EspFraming,
  type EspAlgorithm,
  type EspOpenSession,
  type EspSealSession,
  InboundAssociation,
  newSequenceWindow,
  OutboundAssociation,
  SEQUENCE_WORDS,
} from "../../src/tunnel/esp/mod.ts";
import {
  type AeadName,
  checksumOf,
  chooseAead,
  Coalescer,
  newCounters,
  OpenStep,
  type OpenSession,
  type PathTables,
  type SealSession,
  Segmenter,
  SealStep,
} from "../../src/tunnel/path/mod.ts";
import type { PrefixTrie } from "../../src/tunnel/wireguard/prefix-trie.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";
import { allowAll, MemoryPort, MemoryTun } from "./path-memory.ts";

/** EspPairOptions are what the two ends have agreed on, and what each does by itself. */
export interface EspPairOptions {
  readonly guarded?: boolean;
  readonly aead?: AeadName;
  readonly algorithm?: EspAlgorithm;
  readonly extended?: boolean;
  readonly windowSize?: number;
  readonly tfcBytes?: number;
}

const LAST = 2 ** 53;

/** espTables are tables around one association; the peer's number is 7. */
export function espTables<Seal extends SealSession, Open extends OpenSession>(parts: {
  readonly peers?: PathTables<Seal, Open>["peers"];
  readonly associations?: ReadonlyMap<number, Open>;
}) {
  return {
    peers: parts.peers ?? new Map(),
    sessions: parts.associations ?? new Map<number, Open>(),
    allowed4: allowAll(4, 7),
    allowed6: allowAll(16, 7),
    mostMessages: LAST,
    nowMs: 0,
  } satisfies PathTables<Seal, Open>;
}

/** KEY_MATERIAL of a length: key 000102…, salt a0a1a2a3, as in section 3.12 of the inventory of Vita. */
export function keyMaterial(algorithm: EspAlgorithm): Uint8Array<ArrayBuffer> {
  const bytes = algorithm === "aes-128-gcm" ? 16 : 32;
  return Uint8Array.from({ length: bytes + 4 }, (_, i) => (i < bytes ? i : 0xa0 + i - bytes));
}

/** EspPair is near and far; `exchange` moves what near has. */
export class EspPair {
  readonly arena: Arena;
  readonly provider: AeadProvider;
  readonly algorithm: EspAlgorithm;
  readonly framing: EspFraming;
  readonly near: MemoryTun;
  readonly far: MemoryTun;
  readonly port: MemoryPort;
  /** The memory of near's sequence numbers. */
  readonly sequence = new Int32Array(SEQUENCE_WORDS);
  readonly outbound: OutboundAssociation;
  readonly inbound: InboundAssociation;
  readonly seal: SealStep<EspSealSession>;
  readonly open: OpenStep<EspOpenSession>;
  readonly nearTables: PathTables<EspSealSession, OpenSession>;
  readonly farTables: PathTables<SealSession, EspOpenSession> & { readonly allowed4: PrefixTrie };
  readonly counters = newCounters();
  readonly others: Uint8Array[] = [];
  opened = 0;

  constructor(options: EspPairOptions = {}) {
    const arena = new Arena({ bytes: 24 << 20, guarded: options.guarded === true });
    this.arena = arena;
    this.provider = chooseAead(arena, {
      folders: ipsecMbFolders(),
      ...(options.aead === undefined ? {} : { only: options.aead }),
    }).provider;
    const checksum = checksumOf(arena);
    this.framing = new EspFraming(arena, { tfcBytes: options.tfcBytes ?? 0 });
    this.algorithm = options.algorithm ?? "aes-128-gcm";
    const agreed = {
      spi: 0x100,
      algorithm: this.algorithm,
      keyMaterial: keyMaterial(this.algorithm),
      extended: options.extended ?? true,
    };
    this.outbound = new OutboundAssociation(this.provider, { ...agreed, sequence: this.sequence });
    this.inbound = new InboundAssociation(this.provider, {
      ...agreed,
      peer: 7,
      window: newSequenceWindow(options.windowSize ?? 1024),
    });
    [this.near, this.far, this.port] = [new MemoryTun(arena), new MemoryTun(arena), new MemoryPort(arena)];
    const peer = { session: this.outbound, endpoint: arena.allocate(128), sender: this.port };
    this.nearTables = espTables<EspSealSession, OpenSession>({ peers: new Map([[7, peer]]) });
    this.farTables = espTables<SealSession, EspOpenSession>({
      associations: new Map([[this.inbound.spi, this.inbound]]),
    });
    this.seal = new SealStep(arena, {
      source: this.near,
      segmenter: new Segmenter(arena, checksum),
      framing: this.framing,
      senders: [this.port],
      tables: this.nearTables,
      counters: this.counters,
      events: { unready: () => {}, sealed: () => {} },
    });
    this.open = new OpenStep(arena, {
      messages: this.port,
      framing: this.framing,
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

  /** deliver gives far datagrams as they are. */
  deliver(...datagrams: readonly Uint8Array[]): void {
    for (const bytes of datagrams) this.arena.store(this.port.frame(0, bytes.length), bytes);
    this.port.flush();
    this.open.run(this.port.count);
    this.port.received();
  }

  /** sendFrom sets how many packets near has sent. */
  sendFrom(sent: number): void {
    this.sequence[0] = sent % 2 ** 32;
    this.sequence[1] = Math.floor(sent / 2 ** 31);
  }
}

/** HandSeal says what an ESP packet made by hand has inside. */
export interface HandSeal {
  /** Bun's node:crypto has no ChaCha20-Poly1305. */
  readonly algorithm: Exclude<EspAlgorithm, "chacha20-poly1305">;
  readonly keyMaterial: Uint8Array;
  readonly spi: number;
  readonly sequence: bigint;
  readonly extended: boolean;
  /** All of the text, with padding and trailer. */
  readonly text: Uint8Array;
}

function additional(spi: number, sequence: bigint, extended: boolean): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(extended ? 12 : 8));
  bytes.setUint32(0, spi);
  if (extended) bytes.setBigUint64(4, sequence);
  else bytes.setUint32(4, Number(sequence & 0xffffffffn));
  return new Uint8Array(bytes.buffer);
}

/** handSeal makes an ESP packet with node:crypto, from RFC 4303 and RFC 4106 alone; the IV is 8 bytes of 0x5a and the sequence number. */
export function handSeal(packet: HandSeal): Uint8Array {
  const key = packet.keyMaterial.subarray(0, -4);
  const head = new DataView(new ArrayBuffer(16));
  head.setUint32(0, packet.spi);
  head.setUint32(4, Number(packet.sequence & 0xffffffffn));
  head.setBigUint64(8, packet.sequence ^ 0x5a5a_5a5a_5a5a_5a5an);
  const nonce = Buffer.concat([packet.keyMaterial.subarray(-4), new Uint8Array(head.buffer, 8)]);
  const cipher = createCipheriv(packet.algorithm, key, nonce);
  cipher.setAAD(additional(packet.spi, packet.sequence, packet.extended));
  return Buffer.concat([
    new Uint8Array(head.buffer),
    cipher.update(packet.text),
    cipher.final(),
    cipher.getAuthTag(),
  ]);
}

/** handOpen opens an ESP packet likewise and returns all of the text; throws if it is not authentic. */
export function handOpen(frame: Uint8Array, packet: Omit<HandSeal, "text">): Uint8Array {
  const key = packet.keyMaterial.subarray(0, -4);
  const nonce = Buffer.concat([packet.keyMaterial.subarray(-4), frame.subarray(8, 16)]);
  const decipher = createDecipheriv(packet.algorithm, key, nonce);
  decipher.setAAD(additional(packet.spi, packet.sequence, packet.extended));
  decipher.setAuthTag(frame.subarray(-16));
  return Buffer.concat([decipher.update(frame.subarray(16, -16)), decipher.final()]);
}

/** trailed appends padding (1, 2, 3), its length and the next header; `align` bytes. */
export function trailed(packet: Uint8Array, next: number, align = 4): Uint8Array {
  const pad = (align - ((packet.length + 2) % align)) % align;
  return new Uint8Array([...packet, ...Array.from({ length: pad }, (_, i) => i + 1), pad, next]);
}
