/** The raw sockets of a relay beside the kernel's WireGuard: a datagram that came goes on from the same port, whole and with a right checksum. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import { Arena, BpfMap, type BpfMapOptions, socketAddress, stable } from "../../src/sys/mod.ts";
import * as libc from "../../src/sys/libc.ts";
import { NodePlaces } from "../../src/tunnel/kernel-relay/node-places.ts";
import { OTHER_INDEX } from "../../src/tunnel/kernel-relay/packet-filter.ts";
import { RawPort } from "../../src/tunnel/kernel-relay/raw-port.ts";
import { checksumOf, DatagramReceiver } from "../../src/tunnel/path/mod.ts";
import { circuitKey, XDP_KEY, XDP_VALUE } from "../../src/tunnel/relay/xdp-program.ts";
import { newSeed, Random } from "../support/random.ts";
import { ping } from "../support/relay-lab.ts";
import { Scratch } from "../support/scratch.ts";
import { ip, until } from "../support/tunnel-pair.ts";

const skip = process.getuid?.() === 0 ? undefined : "needs root";
const [PORT, FROM, TO] = [51820, 4444, 5555];
const AF = { 4: 2, 6: 10 } as const;
const SOCK_DGRAM = 2;
const NONBLOCK = 0o4000;
const ADDRESS = {
  source: { 4: "127.0.0.1", 6: "fd00::1" },
  hub: { 4: "127.0.0.2", 6: "fd00::2" },
  target: { 4: "127.0.0.3", 6: "fd00::3" },
} as const;
const addressOf = (who: keyof typeof ADDRESS, family: 4 | 6) => ipBytes(parseIp(ADDRESS[who][family]));
const seed = newSeed();

let stack: DisposableStack;
let scratch: Scratch;
let arena: Arena;
let ports: Readonly<Record<4 | 6, RawPort>>;
let places: NodePlaces;
let circuits: BpfMap;

beforeEach(async () => {
  stack = new DisposableStack();
  scratch = stack.use(new Scratch());
  ip(scratch.netns, "link set lo up");
  for (const who of ["source", "hub", "target"] as const) {
    ip(scratch.netns, `addr add ${ADDRESS[who][6]}/128 dev lo nodad`);
    // The kernel makes its route a moment later (addrconf_dad_work).
    await until("the address is there", () => ping(scratch.netns, ADDRESS[who][6]));
  }
  arena = new Arena({ bytes: 16 << 20, guarded: true });
  const map = (name: string, options: BpfMapOptions) => stack.use(BpfMap.create(name, options));
  circuits = map("c", { type: "hash", keyBytes: XDP_KEY.bytes, valueBytes: XDP_VALUE.bytes, entries: 64 });
  const others = map("o", { type: "newest", ...OTHER_INDEX, entries: 64 });
  const open = (family: 4 | 6) =>
    scratch.netns.run(() => {
      const port = stack.use(new RawPort(arena, checksumOf(arena), family));
      port.listen({ port: PORT, circuits: circuits.fd.number, others: others.fd.number });
      return port;
    });
  ports = { 4: open(4), 6: open(6) };
  places = stack.use(new NodePlaces(arena));
});
afterEach(() => stack.dispose());

function udp(who: keyof typeof ADDRESS, family: 4 | 6, port: number): number {
  const socket = scratch.netns.run(() => libc.socket(AF[family], SOCK_DGRAM | NONBLOCK, 0));
  stack.defer(() => libc.close(socket));
  libc.bind(socket, socketAddress(addressOf(who, family), port));
  return socket;
}

/** Waits for what is there at once, or after a moment. */
async function there(receive: () => number): Promise<number> {
  for (let i = 0; i < 500; i++) {
    const count = receive();
    if (count > 0) return count;
    await Bun.sleep(10);
  }
  return 0;
}

describe.skipIf(skip !== undefined)(`raw sockets of a relay${skip === undefined ? "" : ` (${skip})`}`, () => {
  for (const [from, to] of [
    [4, 4],
    [6, 6],
    [4, 6],
    [6, 4],
  ] as const)
    test(`IPv${from} to IPv${to}: datagrams of any length go on as they are, from the address that was spoken to (seed ${seed})`, async () => {
      const random = new Random(seed);
      const sender = udp("source", from, FROM);
      // Whoever has the port.
      udp("hub", from, PORT);
      const target = udp("target", to, TO);
      // From nobody else.
      libc.connect(target, socketAddress(addressOf("hub", to), PORT));
      libc.connect(sender, socketAddress(addressOf("hub", from), PORT));
      const place = { address: addressOf("source", from), port: FROM, local: new Uint8Array(0) };
      circuits.put(circuitKey(place, 77), new Uint8Array(XDP_VALUE.bytes));
      const endpoint = { ip: parseIp(ADDRESS.target[to]), port: TO };
      // On loopback routing would say the target's own address.
      scratch.netns.run(() => void places.set(2, endpoint));
      expect(places.heard(2, endpoint, addressOf("hub", to))).toBeDefined();
      expect(places.at(endpoint)).toBe(2);
      const receiver = new DatagramReceiver(arena);
      for (let i = 0; i < 60; i++) {
        const datagram = random.bytes(i < 30 ? 32 + i : 32 + random.below(1400));
        datagram.set([4, 0, 0, 0, 77, 0, 0, 0]);
        libc.send(sender, datagram);
        const raw = ports[from];
        expect(await there(() => receiver.receive(raw.socket.fd.number))).toBe(1);
        expect(raw.look(receiver, 0)).toBe(true);
        expect(raw.bytes).toBe(datagram.length);
        const node = places.nodes.get(2);
        ports[to].outlet.add(node?.endpoint as number, raw.at, raw.bytes);
        ports[to].outlet.flush();
        const buffer = stable(2048);
        // The kernel gives it only if its checksum is right.
        const count = await there(() => libc.recv(target, buffer));
        expect(buffer.slice(0, count)).toEqual(datagram);
      }
      expect(ports[to].sender.sent).toBe(60);
    });
});
