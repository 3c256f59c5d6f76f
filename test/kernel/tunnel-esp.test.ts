/** ESP between two of our processes, on raw sockets and in UDP, through TUN devices in two namespaces. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { NAT_PORT } from "../support/esp-node.ts";
import { EspProcess, pings } from "../support/esp-nodes.ts";
import { ipsecMbFolders } from "../support/ipsec-mb.ts";
import { type PathNode, PathNodes } from "../support/path-nodes.ts";
import { Random } from "../support/random.ts";
import { sendDatagram } from "../support/datagrams.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";

/** Sends bytes from one to the other over TCP, and returns what arrived. */
async function overTcp(from: PathNode, to: PathNode, bytes: Uint8Array): Promise<Buffer> {
  const parts: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const { listener } = to.netns.run(() => ({
    listener: Bun.listen({
      hostname: to.overlay6,
      port: 5000,
      socket: { data: (_, data) => void parts.push(Buffer.from(data)), close: () => resolve() },
    }),
  }));
  let left = bytes;
  const more = (socket: { write(data: Uint8Array): number; end(): void }) => {
    while (left.length > 0) {
      const taken = socket.write(left);
      if (taken <= 0) return;
      left = left.subarray(taken);
    }
    socket.end();
  };
  from.netns.run(() => {
    const socket = { open: more, drain: more, data: () => {} };
    void Bun.connect({ hostname: to.overlay6, port: 5000, socket });
  });
  await promise;
  listener.stop(true);
  return Buffer.concat(parts);
}

const folders = ipsecMbFolders();

const kinds = [
  ["IP protocol 50 over IPv4, ESN", { outer: 4, algorithm: "aes-128-gcm", extended: true }],
  ["IP protocol 50 over IPv6, ESN", { outer: 6, algorithm: "aes-256-gcm", extended: true }],
  [
    "IP protocol 50 over IPv4, 32 bits, TFC",
    { outer: 4, algorithm: "aes-256-gcm", extended: false, tfcBytes: 1400 },
  ],
  ["UDP over IPv4, ESN", { outer: 4, algorithm: "aes-128-gcm", extended: true, udp: true }],
  [
    "UDP over IPv6, across 2^32",
    { outer: 6, algorithm: "aes-128-gcm", extended: true, udp: true, sent: 2 ** 32 - 30 },
  ],
] as const;

describe.skipIf(skip !== undefined)(
  `ESP in two namespaces${skip === undefined ? "" : ` (skipped: ${skip})`}`,
  () => {
    test.each(kinds)("%s", async (_, options) => {
      await using nodes = new PathNodes();
      nodes.cable(1500);
      const { near, far } = nodes;
      await using one = await EspProcess.start(near, { ...options, peer: far, folders });
      await using other = await EspProcess.start(far, { ...options, peer: near, folders });
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const)
        for (const address of [to.overlay4, to.overlay6])
          for (const bytes of [0, 56, 1300, 20_000]) expect(await pings(from, address, bytes)).toBe(3);
      const bytes = new Random(5).bytes(400_000);
      expect((await overTcp(near, far, bytes)).equals(bytes)).toBe(true);
      for (const end of [one, other]) {
        const report = await end.report();
        expect(report.counters).toMatchObject({
          forged: 0,
          replayed: 0,
          unknown: 0,
          malformed: 0,
          unreadable: 0,
        });
        expect(report.others).toEqual({ keepalive: 0, ike: 0, malformed: 0 });
        // The kernel has no room for one now and then, on a busy machine.
        expect(report.refused).toBeLessThan(20);
        expect(report.opened).toBeGreaterThan(100);
        if ("sent" in options) expect(Math.min(report.sent, report.received)).toBeGreaterThan(2 ** 32);
      }
    });

    test("messages of a key exchange on the port of ESP in UDP are told apart (RFC 3948)", async () => {
      await using nodes = new PathNodes();
      nodes.cable(1500);
      const { near, far } = nodes;
      const options = { outer: 4, algorithm: "aes-128-gcm", extended: true, udp: true } as const;
      await using one = await EspProcess.start(near, { ...options, peer: far });
      const send = (text: string) =>
        sendDatagram(far.netns, {
          from: far.underlay4,
          fromPort: 9,
          to: near.underlay4,
          port: NAT_PORT,
          text,
        });
      send("\0\0\0\0some message of a key exchange");
      send("what is this");
      let report = await one.report();
      for (let tries = 0; report.others.ike + report.others.malformed < 2 && tries < 500; tries++) {
        await Bun.sleep(10);
        report = await one.report();
      }
      expect(report.others).toEqual({ keepalive: 0, ike: 1, malformed: 1 });
    });
  },
);
