/**
 * An ESP tunnel with fixed keys in the namespace that it is started in, on raw sockets or in UDP: the packet path as one process, without a
 * protocol around it. `bun test/support/esp-node.ts JSON` prints `ready`; SIGUSR1 prints counters, SIGTERM ends it.
 */
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import {
  Arena,
  attachTun,
  DatagramSocket,
  IP_PROTOCOL_ESP,
  RawSocket,
  socketAddress,
} from "../../src/sys/mod.ts";
import {
  EspFraming,
  type EspAlgorithm,
  type EspOpenSession,
  type EspSealSession,
  InboundAssociation,
  newSequenceWindow,
  otherKind,
  OutboundAssociation,
  RawMessages,
  SEQUENCE_WORDS,
} from "../../src/tunnel/esp/mod.ts";
import {
  chooseAead,
  checksumOf,
  Coalescer,
  DatagramReceiver,
  DatagramSender,
  ENDPOINT_BYTES,
  newCounters,
  OpenStep,
  PathLoop,
  type PathTables,
  Segmenter,
  SealStep,
  setEndpoint,
  TunQueue,
} from "../../src/tunnel/path/mod.ts";
import { PrefixTrie } from "../../src/tunnel/wireguard/prefix-trie.ts";

/** NAT_PORT is the port of ESP in UDP (RFC 3948). */
export const NAT_PORT = 4500;

/** EspKey is one direction. */
export interface EspKey {
  readonly spi: number;
  /** Key and salt, as hex. */
  readonly material: string;
}

/** EspNodeOptions is the JSON of the command line. */
export interface EspNodeOptions {
  readonly link: string;
  readonly local: string;
  readonly remote: string;
  readonly udp?: boolean;
  readonly algorithm: EspAlgorithm;
  readonly extended: boolean;
  readonly out: EspKey;
  readonly in: EspKey;
  /** Packets that both directions are said to have carried before. */
  readonly sent?: number;
  readonly windowSize?: number;
  readonly tfcBytes?: number;
  /** Where AEAD libraries may lie; a guest has only the system's. */
  readonly folders?: readonly string[];
}

/** EspNodeReport is what it prints. */
export interface EspNodeReport {
  readonly counters: ReturnType<typeof newCounters>;
  readonly opened: number;
  /** Greatest sequence numbers, sent and received. */
  readonly sent: number;
  readonly received: number;
  readonly refused: number;
  readonly others: Readonly<Record<"keepalive" | "ike" | "malformed", number>>;
}

/** A trie in which every address is peer 0's. */
function everything(addressBytes: 4 | 16): PrefixTrie {
  const trie = new PrefixTrie(addressBytes, 1024);
  trie.insert({ bytes: new Uint8Array(addressBytes), length: 0 }, 0);
  return trie;
}

async function main(options: EspNodeOptions): Promise<number> {
  const arena = new Arena({ bytes: 32 << 20 });
  const { provider } = chooseAead(arena, { folders: options.folders ?? [] });
  const queue = new TunQueue(arena, attachTun(options.link, { vnetHeader: true }));
  const { family } = parseIp(options.remote);
  const address = ipBytes(parseIp(options.local));
  const socket =
    options.udp === true
      ? DatagramSocket.open(family, { address, port: NAT_PORT })
      : RawSocket.open(family, { address, protocol: IP_PROTOCOL_ESP });
  const sender = new DatagramSender(arena, socket);
  const endpoint = arena.allocate(ENDPOINT_BYTES);
  setEndpoint(
    arena,
    endpoint,
    socketAddress(ipBytes(parseIp(options.remote)), options.udp === true ? NAT_PORT : 0),
  );

  const { algorithm, extended, sent = 0 } = options;
  const agreed = ({ spi, material }: EspKey) => ({
    spi,
    algorithm,
    extended,
    keyMaterial: new Uint8Array(Buffer.from(material, "hex")),
  });
  const sequence = new Int32Array(SEQUENCE_WORDS);
  sequence.set([sent % 2 ** 32, Math.floor(sent / 2 ** 31)]);
  const outbound = new OutboundAssociation(provider, { ...agreed(options.out), sequence });
  const window = newSequenceWindow(options.windowSize ?? 1024);
  if (sent > 0) window.next[0] = sent + 1;
  const inbound = new InboundAssociation(provider, { ...agreed(options.in), peer: 0, window });

  const counters = newCounters();
  const tables: PathTables<EspSealSession, EspOpenSession> = {
    peers: new Map([[0, { session: outbound, endpoint, sender }]]),
    sessions: new Map([[inbound.spi, inbound]]),
    allowed4: everything(4),
    allowed6: everything(16),
    mostMessages: 2 ** 53,
    nowMs: 0,
  };
  const checksum = checksumOf(arena);
  const framing = new EspFraming(arena, { tfcBytes: options.tfcBytes ?? 0 });
  const receiver = new DatagramReceiver(arena);
  const others = { keepalive: 0, ike: 0, malformed: 0 };
  let opened = 0;
  const open = new OpenStep(arena, {
    messages: options.udp === true ? receiver : new RawMessages(arena, receiver),
    framing,
    sink: new Coalescer(arena, { checksum, writer: queue, udp: queue.offload.udp }),
    tables,
    counters,
    events: {
      other: (at, bytes) => void others[otherKind(arena, at, bytes)]++,
      opened: (_, packets) => void (opened += packets),
    },
  });
  const seal = new SealStep(arena, {
    source: queue,
    segmenter: new Segmenter(arena, checksum),
    framing,
    senders: [sender],
    tables,
    counters,
    events: { unready: () => {}, sealed: () => {} },
  });
  const loop = new PathLoop(arena, { queue, receiver, ports: [{ socket, sender }], seal, open });

  process.on("SIGUSR1", () => {
    const report: EspNodeReport = {
      counters,
      opened,
      sent: outbound.sent,
      received: (window.next[0] as number) - 1,
      refused: sender.refused + queue.refused,
      others,
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  });
  process.on("SIGTERM", () => process.exit(0));
  process.stdout.write("ready\n");

  // The loop keeps its thread; signals are heard in between.
  while (!queue.gone) {
    const pauseMs = performance.now() + 50;
    while (performance.now() < pauseMs && !queue.gone) loop.once(20);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return 3;
}

if (import.meta.main) process.exit(await main(JSON.parse(process.argv[2] ?? "{}") as EspNodeOptions));
