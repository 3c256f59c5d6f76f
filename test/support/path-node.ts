/**
 * A tunnel with fixed keys in the namespace that it is started in: the packet path as one process, without a protocol around it.
 * `bun test/support/path-node.ts JSON` prints `ready`; SIGUSR1 prints counters, SIGTERM ends it.
 */
import { Arena, attachTun, DatagramSocket, socketAddress } from "../../src/sys/mod.ts";
import {
  type AeadName,
  chooseAead,
  checksumOf,
  Coalescer,
  DatagramReceiver,
  DatagramSender,
  ENDPOINT_BYTES,
  EndpointLearner,
  newCounters,
  OpenStep,
  PathLoop,
  type PathPeer,
  Segmenter,
  SealStep,
  setEndpoint,
  TunQueue,
  WireguardFraming,
} from "../../src/tunnel/path/mod.ts";
import type { AeadAlgorithm } from "../../src/sys/mod.ts";
import { ipBytes, parseEndpoint } from "../../src/net/mod.ts";
import { ipsecMbFolders } from "./ipsec-mb.ts";
import { allowAll, staticSession } from "./path-memory.ts";

/** PathNodeOptions is the JSON of the command line. */
export interface PathNodeOptions {
  readonly link: string;
  readonly port: number;
  /** Absent: learned from the first packet that is authentic. */
  readonly endpoint?: string;
  /** One of the two gives `1`, the other `2`. */
  readonly side: 1 | 2;
  readonly mtuBytes?: number;
  readonly aead?: AeadName;
  readonly algorithm?: AeadAlgorithm;
}

/** PathNodeReport is what it prints. */
export interface PathNodeReport {
  readonly provider: string;
  readonly offload: { readonly tcp: boolean; readonly udp: boolean };
  readonly counters: ReturnType<typeof newCounters>;
  /** Packets that came out of the tunnel, and writes that they needed. */
  readonly opened: number;
  readonly writes: number;
  readonly tunRefused: number;
  readonly sent: number;
  readonly refused: number;
  readonly others: number;
}

const options = JSON.parse(process.argv[2] ?? "{}") as PathNodeOptions;
const arena = new Arena({ bytes: 32 << 20 });
const { provider } = chooseAead(arena, {
  folders: ipsecMbFolders(),
  ...(options.aead === undefined ? {} : { only: options.aead }),
});
const tun = attachTun(options.link, { vnetHeader: true });
const queue = new TunQueue(arena, tun);
const ports = ([4, 6] as const).map((family) => {
  const socket = DatagramSocket.open(family, { port: options.port, localAddress: true });
  return { socket, sender: new DatagramSender(arena, socket) };
});
const senderOf = (family: 4 | 6) => ports.find(({ socket }) => socket.family === family)?.sender;

const keyBytes = options.algorithm === "aes-128-gcm" ? 16 : 32;
const key = (number: number) => new Uint8Array(keyBytes).fill(number);
const session = staticSession(provider, {
  peer: 0,
  localIndex: options.side,
  remoteIndex: 3 - options.side,
  out: key(options.side),
  in: key(3 - options.side),
  ...(options.algorithm === undefined ? {} : { algorithm: options.algorithm }),
});
const peer: PathPeer = { session, endpoint: arena.allocate(ENDPOINT_BYTES), sender: undefined };
if (options.endpoint !== undefined) {
  const { ip, port } = parseEndpoint(options.endpoint);
  setEndpoint(arena, peer.endpoint, socketAddress(ipBytes(ip), port));
  peer.sender = senderOf(ip.family);
}

const checksum = checksumOf(arena);
const framing = new WireguardFraming(arena, { mtuBytes: options.mtuBytes ?? 1420 });
const counters = newCounters();
const tables = {
  peers: new Map([[0, peer]]),
  sessions: new Map([[session.localIndex, session]]),
  allowed4: allowAll(4, 0),
  allowed6: allowAll(16, 0),
  mostMessages: 2 ** 53 - 2 ** 13 - 1,
  nowMs: 0,
};
const receiver = new DatagramReceiver(arena);
const learner = new EndpointLearner(arena);
let opened = 0;
let writes = 0;
let others = 0;
const open = new OpenStep(arena, {
  messages: receiver,
  framing,
  sink: new Coalescer(arena, {
    checksum,
    udp: queue.offload.udp,
    writer: {
      write(at, length) {
        writes++;
        queue.write(at, length);
      },
      writeParts(vectors, count) {
        writes++;
        queue.writeParts(vectors, count);
      },
    },
  }),
  tables,
  counters,
  events: {
    other: () => void others++,
    opened(_, packets, __, message) {
      opened += packets;
      learner.source = receiver.sourceAt(message);
      learner.local = receiver.localAt(message);
      learner.localBytes = receiver.localBytes(message);
      if (learner.learn(peer.endpoint))
        peer.sender = senderOf(arena.view.getUint16(peer.endpoint, true) === 2 ? 4 : 6);
    },
  },
});
const seal = new SealStep(arena, {
  source: queue,
  segmenter: new Segmenter(arena, checksum),
  framing,
  senders: ports.map(({ sender }) => sender),
  tables,
  counters,
  events: { unready: () => {}, sealed: () => {} },
});
const loop = new PathLoop(arena, { queue, receiver, ports, seal, open });

process.on("SIGUSR1", () => {
  const report: PathNodeReport = {
    provider: provider.name,
    offload: queue.offload,
    counters,
    opened,
    writes,
    tunRefused: queue.refused,
    sent: ports.reduce((sum, { sender }) => sum + sender.sent, 0),
    refused: ports.reduce((sum, { sender }) => sum + sender.refused, 0),
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
process.exit(3);
