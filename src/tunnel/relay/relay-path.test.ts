import { afterEach, beforeEach, expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { ipBytes, parseIp } from "../../net/mod.ts";
import { Arena, DatagramSocket, pollMany, SIZE, socketAddress } from "../../sys/mod.ts";
import { DatagramReceiver, DatagramSender, ENDPOINT_BYTES, setEndpoint } from "../path/mod.ts";
import { RelayPath } from "./relay-path.ts";
import { RelaySender } from "./relay-sender.ts";

/**
 * Node 1 sends by the loopback, where super-packets stay whole, to a hub; nodes 2 (IPv4), 3 (IPv6) and 4 (IPv4) hear.
 */
let arena: Arena;
let sockets: DatagramSocket[];
let receiver: DatagramReceiver;
let ears: DatagramReceiver;
let request: number;
let senders: readonly [RelaySender, RelaySender];
let path: RelayPath;
let source: { readonly sender: DatagramSender; readonly hub: number };
let peers: Map<number, { readonly endpoint: number; readonly session: unknown; readonly sender: unknown }>;

const seed = newSeed();
const loopback = (family: 4 | 6) => ipBytes(parseIp(family === 4 ? "127.0.0.1" : "::1"));
const addressOf = ({ family, port }: DatagramSocket) => socketAddress(loopback(family), port);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

function endpointOf(socket: DatagramSocket): number {
  const at = arena.allocate(ENDPOINT_BYTES);
  setEndpoint(arena, at, addressOf(socket));
  return at;
}

beforeEach(() => {
  arena = new Arena({ bytes: 64 << 20, guarded: true });
  const open = (family: 4 | 6) => DatagramSocket.open(family, { address: loopback(family) });
  sockets = [open(4), open(4), open(6), open(4), open(4), open(6)];
  const [node1, node2, node3, node4, hub4, hub6] = sockets as [
    DatagramSocket,
    DatagramSocket,
    DatagramSocket,
    DatagramSocket,
    DatagramSocket,
    DatagramSocket,
  ];
  const nodes = [node1, node2, node3, node4];
  receiver = new DatagramReceiver(arena);
  ears = new DatagramReceiver(arena, { messages: 4 });
  request = arena.allocate(SIZE.pollfd);
  senders = [new RelaySender(arena, hub4), new RelaySender(arena, hub6)];
  peers = new Map(
    nodes.map((socket, i) => [i + 1, { endpoint: endpointOf(socket), session: undefined, sender: true }]),
  );
  path = new RelayPath(arena, {
    sourceAt: (message) => receiver.sourceAt(message),
    peers,
    sender4: senders[0],
    sender6: senders[1],
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  });
  nodes.forEach((socket, i) => path.obey({ kind: "node", node: i + 1, address: hex(addressOf(socket)) }));
  path.obey({ kind: "circuit", source: 1, index: 20, to: 2, meter: 1 });
  path.obey({ kind: "circuit", source: 1, index: 2 ** 32 - 3, to: 3, meter: 2 });
  path.obey({ kind: "circuit", source: 1, index: 40, to: 4, meter: 3 });
  source = { sender: new DatagramSender(arena, node1), hub: endpointOf(hub4) };
});

afterEach(() => {
  for (const socket of sockets) socket.close();
});

/** A data message of so many bytes with an index and a number. */
function frame(index: number, number: number, bytes: number): void {
  const at = source.sender.frame(source.hub, bytes);
  if (at === 0) throw new Error("no room");
  arena.view.setUint32(at, 4, true);
  arena.view.setUint32(at + 4, index, true);
  arena.view.setUint32(at + 8, number, true);
}

/** Waits for what lies at a socket, and calls with each datagram. */
function receive(
  socket: DatagramSocket,
  from: DatagramReceiver,
  take: (at: number, bytes: number, message: number) => void,
  done = () => {},
): void {
  arena.view.setInt32(request, socket.fd.number, true);
  arena.view.setInt16(request + 4, 1, true);
  while (pollMany(arena, request, 1, 5) > 0) {
    const count = from.receive(socket.fd.number);
    for (let message = 0; message < count; message++) {
      const segment = from.segmentBytes(message);
      for (let first = 0; first < from.bytes(message); first += segment)
        take(from.at(message) + first, Math.min(segment, from.bytes(message) - first), message);
    }
    done();
  }
}

/** Where the circuit of an index leads; 0 for none. */
const nodeOf = (index: number) => (index === 20 ? 2 : index === 40 ? 4 : index === 7 ? 0 : 3);

/** Lets the hub work; returns what it did not take. */
function relay(): number[] {
  const left: number[] = [];
  receive(
    sockets[4] as DatagramSocket,
    receiver,
    (at, bytes, message) => {
      const { view } = arena;
      if (!path.take(view.getUint32(at + 4, true), at, bytes, message, true))
        left.push(view.getUint32(at + 8, true));
    },
    () => path.flush(),
  );
  return left;
}

/** What a node heard, as numbers of messages. */
function heard(node: 1 | 2 | 3 | 4): { readonly numbers: number[]; readonly lengths: number[] } {
  const [numbers, lengths]: [number[], number[]] = [[], []];
  receive(sockets[node - 1] as DatagramSocket, ears, (at, bytes) => {
    numbers.push(arena.view.getUint32(at + 8, true));
    lengths.push(bytes);
  });
  return { numbers, lengths };
}

test("a super-packet with datagrams for several nodes, for nobody, and a short one at its end is cut rightly", () => {
  const indices = [20, 20, 7, 20, 2 ** 32 - 3, 2 ** 32 - 3, 20, 7, 20];
  for (const [number, index] of indices.entries())
    frame(index, number, number === indices.length - 1 ? 40 : 100);
  source.sender.flush();
  expect(relay()).toEqual([2, 7]);
  expect(heard(2)).toEqual({ numbers: [0, 1, 3, 6, 8], lengths: [100, 100, 100, 100, 40] });
  expect(heard(3)).toEqual({ numbers: [4, 5], lengths: [100, 100] });
  expect(heard(1).numbers).toEqual([]);
  expect(path.unknown).toBe(2);
  expect(senders.map(({ sent, sentBytes }) => [sent, sentBytes])).toEqual([
    [5, 440],
    [2, 200],
  ]);
});

test(`datagrams of any lengths in any mixture: each comes once, in order, as it was (seed ${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 20; round++) {
    const expected: Record<number, { numbers: number[]; lengths: number[] }> = {
      2: { numbers: [], lengths: [] },
      3: { numbers: [], lengths: [] },
      4: { numbers: [], lengths: [] },
    };
    const left: number[] = [];
    let bytes = 100;
    for (let number = 0, count = 1 + random.below(120); number < count; number++) {
      if (random.chance(0.2)) bytes = 32 + random.below(1400);
      const index = random.chance(0.7) ? 20 : random.pick([20, 2 ** 32 - 3, 40, 7]);
      frame(index, number, bytes);
      const to = expected[nodeOf(index)];
      if (to === undefined) left.push(number);
      else {
        to.numbers.push(number);
        to.lengths.push(bytes);
      }
    }
    source.sender.flush();
    expect(relay()).toEqual(left);
    expect(heard(2)).toEqual(expected[2] as never);
    expect(heard(3)).toEqual(expected[3] as never);
    expect(heard(4)).toEqual(expected[4] as never);
  }
  expect(senders.map(({ blocked, refused }) => blocked + refused)).toEqual([0, 0]);
});

test("nothing goes back to where it came from, to a node that is nowhere, or from one", () => {
  // As if two nodes were at one place.
  peers.set(2, peers.get(1) as NonNullable<ReturnType<typeof peers.get>>);
  frame(20, 1, 100);
  source.sender.flush();
  expect(relay()).toEqual([]);
  expect([path.back, heard(1).numbers.length]).toEqual([1, 0]);
  path.obey({ kind: "node", node: 3 });
  frame(2 ** 32 - 3, 2, 100);
  source.sender.flush();
  expect(relay()).toEqual([]);
  expect(heard(3).numbers).toEqual([]);
  expect(path.absent).toBe(2);
  path.obey({ kind: "node", node: 1 });
  frame(20, 3, 100);
  source.sender.flush();
  expect(relay()).toEqual([3]);
});

test("a circuit that is cut carries nothing more; a rate cuts a flow", () => {
  path.obey({ kind: "rate", bytesPerSecond: 1000 });
  path.nowMs = 1e9;
  let sent = 0;
  let received = 0;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 60; i++) frame(20, sent++, 1000);
    source.sender.flush();
    relay();
    // A socket does not hold all of it.
    received += heard(2).numbers.length;
  }
  // On a busy machine what was sent last lies there a moment later.
  for (let tries = 0; tries < 200 && received + path.limited < sent; tries++) {
    relay();
    received += heard(2).numbers.length;
  }
  // The burst of 256 KiB.
  expect(received).toBe(262);
  expect(path.limited).toBe(sent - 262);
  path.obey({ kind: "rate" });
  path.obey({ kind: "cut", source: 1, index: 20 });
  frame(20, 1, 100);
  source.sender.flush();
  expect(relay()).toEqual([1]);
});
