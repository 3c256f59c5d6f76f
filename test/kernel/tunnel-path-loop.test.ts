/** Parts of the packet path that need the kernel and no second process: the queues of a TUN device, and the loop. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import {
  Arena,
  attachTun,
  DatagramSocket,
  receiveMessage,
  sendMessage,
  socketPair,
} from "../../src/sys/mod.ts";
import { DatagramReceiver, DatagramSender, PathLoop, TunQueue } from "../../src/tunnel/path/mod.ts";
import { sendDatagram } from "../support/datagrams.ts";
import { PathPair } from "../support/path-memory.ts";
import { Scratch } from "../support/scratch.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";
const reason = skip === undefined ? "" : ` (skipped: ${skip})`;

const LINK = "cwp0";

describe.skipIf(skip !== undefined)(`tunnel path in this process${reason}`, () => {
  test("the queues of one device share its flows; each flow stays on its queue", () => {
    using scratch = new Scratch();
    const options = { netns: scratch.netns, vnetHeader: true, multiQueue: true };
    using first = attachTun(LINK, options);
    using second = attachTun(LINK, options);
    const arena = new Arena({ bytes: 1 << 20 });
    const queues = [first, second].map((fd) => new TunQueue(arena, fd));
    scratch.text(`ip addr add 10.9.0.1/24 dev ${LINK}`);
    scratch.text(`ip link set ${LINK} up`);
    /** The flows that each queue brought, as source ports with counts. */
    const seen = queues.map(() => new Map<number, number>());
    for (let round = 0; round < 3; round++) {
      for (let port = 3000; port < 3064; port++)
        sendDatagram(scratch.netns, { from: "10.9.0.1", fromPort: port, to: "10.9.0.2", port: 9, text: "x" });
      queues.forEach((queue, i) => {
        while (queue.receive() > 0) {
          const packet = arena.copy(queue.at(0) + 10, queue.bytes(0) - 10);
          if (packet[9] !== 17) continue;
          const port = ((packet[20] as number) << 8) | (packet[21] as number);
          seen[i]?.set(port, (seen[i]?.get(port) ?? 0) + 1);
        }
      });
    }
    const [one, two] = seen as [Map<number, number>, Map<number, number>];
    expect(one.size + two.size).toBe(64);
    expect(Math.min(one.size, two.size)).toBeGreaterThan(8);
    expect([...one.values(), ...two.values()].every((count) => count === 3)).toBe(true);
  });

  test("the loop hears a call before anything else, and ends its turn when nothing comes", () => {
    using scratch = new Scratch();
    using tun = attachTun(LINK, { netns: scratch.netns, vnetHeader: true });
    using socket = DatagramSocket.open(4, { netns: scratch.netns });
    const [ours, theirs] = socketPair(1 << 16);
    const calls: string[] = [];
    const pair = new PathPair({ aead: "libcrypto" });
    const { arena } = pair;
    const queue = new TunQueue(arena, tun);
    const ports = [{ socket, sender: new DatagramSender(arena, socket) }];
    const receiver = new DatagramReceiver(arena, { messages: 2 });
    const { seal, open } = pair;
    const inbox = new Uint8Array(new ArrayBuffer(64));
    const loop = new PathLoop(arena, {
      queue,
      receiver,
      ports,
      seal,
      open,
      caller: ours,
      onTurn: () => void calls.push("turn"),
      onCall: () => void calls.push(`${receiveMessage(ours.number, inbox)} bytes`),
    });
    expect([loop.once(5), calls]).toEqual([false, []]);
    sendMessage(theirs.number, new Uint8Array(new ArrayBuffer(3)));
    expect([loop.once(-1), calls]).toEqual([true, ["turn", "3 bytes"]]);
    expect([loop.once(5), calls.length]).toEqual([false, 2]);
    for (const end of [ours, theirs]) end.close();
  });
});
