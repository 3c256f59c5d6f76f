/** The packet path with the kernel at both ends: TUN devices and UDP sockets in two namespaces, fixed keys, one process each. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Arena, DatagramSocket, socketAddress } from "../../src/sys/mod.ts";
import { DatagramReceiver, DatagramSender, ENDPOINT_BYTES, setEndpoint } from "../../src/tunnel/path/mod.ts";
import { ipBytes, parseIp } from "../../src/net/mod.ts";
import { fetchIpsecMb } from "../support/ipsec-mb.ts";
import { LINK, type PathNode, PathNodes, PORT } from "../support/path-nodes.ts";
import { Random } from "../support/random.ts";
import { ip, tool, until } from "../support/tunnel-pair.ts";

const skip =
  process.getuid?.() !== 0 ? "needs root" : existsSync("/dev/net/tun") ? undefined : "needs /dev/net/tun";
const reason = (why: string | undefined) => (why === undefined ? "" : ` (skipped: ${why})`);
const noIpsecMb = skip ?? fetchIpsecMb();

/** Sends bytes from one to the other over TCP, and returns what arrived. */
async function overTcp(from: PathNode, to: PathNode, bytes: Uint8Array, family: 4 | 6): Promise<Buffer> {
  const hostname = family === 4 ? to.overlay4 : to.overlay6;
  const parts: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = to.netns.run(() => ({
    listener: Bun.listen({
      hostname,
      port: 5000,
      socket: { data: (_, data) => void parts.push(Buffer.from(data)), close: () => resolve() },
    }),
  })).listener;
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
    void Bun.connect({ hostname, port: 5000, socket: { open: more, drain: more, data: () => {} } });
  });
  await promise;
  server.stop(true);
  return Buffer.concat(parts);
}

/** Sends datagrams, split by the kernel, and returns what arrived as `length×first byte`. */
async function overUdp(
  from: PathNode,
  to: PathNode,
  datagrams: readonly Uint8Array[],
  family: 4 | 6,
): Promise<string[]> {
  const arena = new Arena({ bytes: 8 << 20 });
  const address = (node: PathNode) => ipBytes(parseIp(family === 4 ? node.overlay4 : node.overlay6));
  using source = DatagramSocket.open(family, { netns: from.netns, address: address(from) });
  using target = DatagramSocket.open(family, { netns: to.netns, address: address(to) });
  const endpoint = arena.allocate(ENDPOINT_BYTES);
  setEndpoint(arena, endpoint, socketAddress(address(to), target.port));
  const sender = new DatagramSender(arena, source);
  const receiver = new DatagramReceiver(arena);
  for (const datagram of datagrams) {
    let at = sender.frame(endpoint, datagram.length);
    if (at === 0) {
      sender.flush();
      at = sender.frame(endpoint, datagram.length);
    }
    arena.store(at, datagram);
  }
  sender.flush();
  const arrived: string[] = [];
  await until(
    `${datagrams.length} datagrams`,
    () => {
      const count = receiver.receive(target.fd.number);
      for (let i = 0; i < count; i++)
        for (let first = 0; first < receiver.bytes(i); first += receiver.segmentBytes(i)) {
          const length = Math.min(receiver.segmentBytes(i), receiver.bytes(i) - first);
          const bytes = arena.copy(receiver.at(i) + first, length);
          arrived.push(`${length}×${bytes[0]}${bytes.every((byte) => byte === bytes[0]) ? "" : " broken"}`);
        }
      return arrived.length >= datagrams.length;
    },
    20_000,
  );
  return arrived;
}

const expectNothingWrong = (counters: object) =>
  expect(counters).toMatchObject({
    forged: 0,
    replayed: 0,
    unknown: 0,
    malformed: 0,
    refusedSource: 0,
    unreadable: 0,
  });

const providers = [
  ["libcrypto, ChaCha20-Poly1305", { aead: "libcrypto" }, skip],
  ["ipsec-mb 2, ChaCha20-Poly1305", { aead: "ipsec-mb-2" }, noIpsecMb],
  ["ipsec-mb 1, ChaCha20-Poly1305", { aead: "ipsec-mb-1" }, noIpsecMb],
  ["ipsec-mb 2, AES-256-GCM", { aead: "ipsec-mb-2", algorithm: "aes-256-gcm" }, noIpsecMb],
] as const;

describe.each(providers)("tunnel path: %s", (_, options, lacks) => {
  describe.skipIf(lacks !== undefined)(`two namespaces${reason(lacks)}`, () => {
    let pair: PathNodes;
    beforeAll(async () => {
      pair = await PathNodes.open(options);
    });
    afterAll(() => pair?.[Symbol.asyncDispose]());

    test("ping, both families, both ways", async () => {
      const { near, far } = pair;
      for (const [from, address] of [
        [near, far.overlay4],
        [near, far.overlay6],
        [far, near.overlay4],
        [far, near.overlay6],
      ] as const)
        expect(await from.ping(address)).toMatchObject({ received: 3, duplicates: 0 });
      expect((await near.report()).provider).toStartWith(options.aead.replace(/-\d$/, ""));
    });

    test.each([4, 6] as const)("TCP over IPv%d carries every byte, in super-packets", async (family) => {
      const { near, far } = pair;
      const bytes = new Random(family).bytes(8_000_000);
      const before = await far.report();
      const arrived = await overTcp(near, far, bytes, family);
      expect(arrived.equals(bytes)).toBe(true);
      const after = await far.report();
      // Joined: fewer writes than packets, by far.
      const [packets, writes] = [after.opened - before.opened, after.writes - before.writes];
      expect(packets).toBeGreaterThan(5000);
      expect(writes).toBeLessThan(packets / 4);
      expectNothingWrong(after.counters);
      expect(after.tunRefused).toBe(0);
    });

    test.each([4, 6] as const)(
      "UDP over IPv%d: trains, single datagrams, and such as are fragmented inside",
      async (family) => {
        const { near, far } = pair;
        const train = Array.from({ length: 200 }, (__, i) => new Uint8Array(1000).fill(i));
        const various = Array.from({ length: 60 }, (__, i) => new Uint8Array(1 + i * 71).fill(i));
        for (const datagrams of [train, various]) {
          const arrived = await overUdp(near, far, datagrams, family);
          const sent = datagrams.map((datagram) => `${datagram.length}×${datagram[0]}`);
          // Fragments are not sent in batches, so they may come later than what followed them.
          expect(arrived.sort()).toEqual(sent.sort());
        }
        expectNothingWrong((await far.report()).counters);
      },
    );
  });
});

describe.skipIf(skip !== undefined)(`tunnel path${reason(skip)}`, () => {
  test("over IPv6", async () => {
    await using pair = await PathNodes.open({ family: 6 });
    for (const address of [pair.far.overlay4, pair.far.overlay6])
      expect(await pair.near.ping(address)).toMatchObject({ received: 3 });
    const bytes = new Random(1).bytes(3_000_000);
    expect((await overTcp(pair.far, pair.near, bytes, 6)).equals(bytes)).toBe(true);
  });

  test("the kernel's offload for TCP and UDP is in use", async () => {
    await using pair = await PathNodes.open();
    const { offload } = await pair.near.report();
    expect(offload.tcp).toBe(true);
    // USO: Linux 6.2.
    const [major, minor] = tool(pair.near.netns, "uname -r").split(".").map(Number) as [number, number];
    expect(offload.udp).toBe(major > 6 || (major === 6 && minor >= 2));
  });

  test("the MTU to the byte: what fits goes unfragmented, one more byte does not", async () => {
    await using pair = await PathNodes.open();
    for (const [address, most] of [
      [pair.far.overlay4, 1420 - 28],
      [pair.far.overlay6, 1420 - 48],
    ] as const) {
      expect(await pair.near.ping(address, { bytes: most, fragment: false })).toMatchObject({ received: 3 });
      const more = await pair.near.ping(address, { count: 1, bytes: most + 1, fragment: false });
      expect(more).toMatchObject({ received: 0 });
      expect(more.text).toContain("too long");
      // With fragments inside it goes.
      expect(await pair.near.ping(address, { bytes: 5000 })).toMatchObject({ received: 3 });
    }
    // Nothing was fragmented outside: 1420 and 80 are the cable's 1500.
    expect((await pair.near.report()).refused).toBe(0);
  });

  test.each([4, 6] as const)(
    "a cable narrower than the tunnel thinks: frames are fragmented outside (IPv%d)",
    async (family) => {
      await using pair = await PathNodes.open({ family, cableMtuBytes: 1300 });
      expect(await pair.near.ping(pair.far.overlay4, { bytes: 1392 })).toMatchObject({ received: 3 });
      const bytes = new Random(family).bytes(1_000_000);
      expect((await overTcp(pair.near, pair.far, bytes, 4)).equals(bytes)).toBe(true);
      const { refused, sent } = await pair.near.report();
      expect(refused).toBe(0);
      expect(sent).toBeGreaterThan(700);
    },
  );

  test("a link whose MTU is changed, to odd numbers too", async () => {
    await using pair = await PathNodes.open();
    for (const mtu of [1280, 1337, 1500, 9000]) {
      for (const { netns } of [pair.near, pair.far]) ip(netns, `link set ${LINK} mtu ${mtu}`);
      const bytes = new Random(mtu).bytes(400_000);
      expect((await overTcp(pair.near, pair.far, bytes, 6)).equals(bytes)).toBe(true);
    }
    expectNothingWrong((await pair.far.report()).counters);
  });

  test("answers follow a peer that moves", async () => {
    await using pair = await PathNodes.open();
    const { near, far } = pair;
    expect(await near.ping(far.overlay4)).toMatchObject({ received: 3 });
    // The address that far speaks to is gone; near sends from another one by itself.
    ip(near.netns, "addr flush dev eth0");
    ip(near.netns, "addr add 198.51.100.10/24 dev eth0");
    expect(await near.ping(far.overlay4)).toMatchObject({ received: 3 });
    expect(await far.ping(near.overlay6)).toMatchObject({ received: 3 });
  });

  test("answers come from the address that was spoken to", async () => {
    await using pair = new PathNodes();
    const { near, far } = pair;
    pair.cable(1500);
    ip(far.netns, "addr add 198.51.100.20/24 dev eth0");
    await far.start({});
    await near.start({ endpoint: `198.51.100.20:${PORT}` });
    // What far's routing would choose does not get through.
    const rules = `table inet t { chain c { type filter hook input priority 0; ip saddr ${far.underlay4} udp dport ${PORT} drop; }\n}\n`;
    tool(near.netns, "nft -f -", rules);
    expect(await near.ping(far.overlay4)).toMatchObject({ received: 3 });
    expect(await far.ping(near.overlay6)).toMatchObject({ received: 3 });
  });

  test("a removed device ends the node; nothing spins", async () => {
    await using pair = await PathNodes.open();
    ip(pair.near.netns, `link del ${LINK}`);
    expect(await pair.near.ended()).toBe(3);
  });

  test("a link that is down loses packets and nothing else", async () => {
    await using pair = await PathNodes.open();
    ip(pair.far.netns, `link set ${LINK} down`);
    expect(await pair.near.ping(pair.far.overlay4, { count: 2 })).toMatchObject({ received: 0 });
    expect((await pair.far.report()).tunRefused).toBeGreaterThanOrEqual(2);
    ip(pair.far.netns, `link set ${LINK} up`);
    expect(await pair.near.ping(pair.far.overlay4)).toMatchObject({ received: 3 });
  });
});
