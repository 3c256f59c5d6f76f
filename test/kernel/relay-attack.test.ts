/** A hub that relays, under attack: spoofed, replayed, oversized and unknown messages, floods, and nonsense; a relayed flow goes on. */
import { describe, expect, test } from "bun:test";
import { parseEndpoint, parseIp, parsePrefix, PrivateKey, publicKeyBytes } from "../../src/net/mod.ts";
import type { Netns } from "../../src/sys/mod.ts";
import { macKeys, writeMacs } from "../../src/tunnel/wireguard/mac.ts";
import { act, sealPacket, systemPrimitives as primitives } from "../../src/tunnel/wireguard/mod.ts";
import { Crowd, type Member, udpPacket } from "../support/crowd.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { PacedFlow } from "../support/paced-flow.ts";
import { newSeed, Random } from "../support/random.ts";
import { Attacker } from "../support/relay-attacker.ts";
import { RelayLab, RELAY_PORT } from "../support/relay-lab.ts";
import { Trains } from "../support/trains.ts";
import { ip, tool, until } from "../support/tunnel-pair.ts";

const seed = newSeed();
const FLOOD_MS = 2000;
/** And at least so many, however busy the machine is. */
const FLOOD_PACKETS = 5_000;
/** What a process may grow by while it is flooded. */
const GROWTH_BYTES = 100 << 20;
const A = `10.1.0.1:${RELAY_PORT}`;
const HUB = { a: `10.1.0.254:${RELAY_PORT}`, b: `10.2.0.254:${RELAY_PORT}` };

async function talking(): Promise<RelayLab> {
  const lab = await RelayLab.open();
  for (const link of ["all", "a0", "b0"]) tool(lab.hub, `sysctl -qw net.ipv4.conf.${link}.rp_filter=0`);
  await lab.meet();
  lab.join();
  expect(await lab.pings(lab.a)).toBe(true);
  return lab;
}

const dropsOf = (drops: Readonly<Record<string, number>>) => Object.values(drops).reduce((a, b) => a + b, 0);

/** Packets and bytes that a link has sent and received. */
function passed(netns: Netns, link: string) {
  const [{ stats64 }] = JSON.parse(ip(netns, `-s -j link show dev ${link}`));
  return {
    out: stats64.tx.packets as number,
    outBytes: stats64.tx.bytes as number,
    inBytes: stats64.rx.bytes as number,
  };
}

const paced = (lab: RelayLab) =>
  new PacedFlow({ from: lab.a.netns, to: lab.b.netns, target: lab.b.overlay, perSecond: 300 });

function message(random: Random, type: number, bytes: number, ...indices: readonly number[]): Uint8Array {
  const made = random.bytes(bytes);
  made.set([type, 0, 0, 0]);
  indices.forEach((index, i) => new DataView(made.buffer).setUint32(4 + 4 * i, index, true));
  return made;
}

function initiation(random: Random, to: PrivateKey): Uint8Array {
  const made = message(random, 1, 148);
  writeMacs(made, { primitives, receiver: macKeys(primitives, publicKeyBytes(to.publicKey)) });
  return made;
}

/** Sends as fast as this process can for a while, and lets others run; returns how many times as long as FLOOD_MS it took. */
async function flood(send: (i: number) => void): Promise<number> {
  const begin = performance.now();
  for (let i = 0; performance.now() < begin + FLOOD_MS || i <= FLOOD_PACKETS; await Bun.sleep(1))
    for (let burst = 0; burst < 64; burst++) send(i++);
  return (performance.now() - begin) / FLOOD_MS;
}

describe.skipIf(skip !== undefined)(`relay under attack${skip === undefined ? "" : ` (${skip})`}`, () => {
  const attacks: Record<string, (random: Random, lab: RelayLab) => Uint8Array> = {
    "data for indices that nobody has": (random) => message(random, 4, 32 + 16 * random.below(80)),
    "responses and cookie replies to nothing": (random) =>
      random.chance(0.5) ? message(random, 2, 92) : message(random, 3, 64),
    "initiations for nobody": (random) => message(random, 1, 148),
    "initiations for the other node that mean nothing": (random, lab) => initiation(random, lab.b.key),
    "initiations for the hub that mean nothing": (random, lab) => initiation(random, lab.hubKey),
  };
  for (const [name, make] of Object.entries(attacks))
    for (const [who, place] of [
      ["a node's own address", "a"],
      ["a stranger's address", undefined],
      ["a node's address, from elsewhere", "b"],
    ] as const)
      test(`${name}, from ${who} (seed ${seed}): the flow goes on, state is bounded, and nothing comes of it`, async () => {
        const random = new Random(seed);
        await using lab = await talking();
        const pool = Array.from({ length: 256 }, () => make(random, lab));
        const handshakes = [
          lab.seen(lab.a, lab.b.key)?.lastHandshakeMs,
          lab.seen(lab.b, lab.a.key)?.lastHandshakeMs,
        ];
        const { circuits, pairs, handshakes: forwarded, drops } = lab.status;
        const grown = lab.hubProcess.ownBytes;
        using attacker = new Attacker((place === "b" ? lab.b : lab.a).netns, {
          from: place === undefined ? "10.1.0.77:777" : A,
          to: place === "b" ? HUB.b : HUB.a,
        });
        using flow = paced(lab);
        flow.start();
        const times = await flood((i) => attacker.send(pool[i % pool.length] as Uint8Array));
        const { sent, received, twice } = await flow.stop();
        expect(attacker.sent).toBeGreaterThan(FLOOD_PACKETS);
        // The flow's ends share a small machine with the flood.
        expect(received).toBeGreaterThan(sent * 0.95);
        expect(twice).toBe(0);
        // What went to the other node is no more than a pair may begin.
        expect(lab.status.handshakes - forwarded).toBeLessThan(40 * times);
        // Each was looked at and dropped; a stranger's are nothing to the relay.
        const dropped = dropsOf(lab.status.drops) - dropsOf(drops);
        if (place === undefined || name.includes("for the hub")) expect(dropped).toBe(0);
        else expect(dropped).toBeGreaterThan(1000);
        expect(lab.status.pairs).toBe(pairs);
        expect(lab.status.circuits).toBe(circuits);
        expect(lab.hubProcess.ownBytes - grown).toBeLessThan(GROWTH_BYTES);
        expect([
          lab.seen(lab.a, lab.b.key)?.lastHandshakeMs,
          lab.seen(lab.b, lab.a.key)?.lastHandshakeMs,
        ]).toEqual(handshakes);
        expect(await lab.pings(lab.b)).toBe(true);
      });

  /** A lab in which a member of a crowd plays the node `a`, and has a session with the hub and with `b`. */
  async function played(): Promise<
    { lab: RelayLab; crowd: Crowd; member: Member; initiation: Uint8Array<ArrayBuffer> } & AsyncDisposable
  > {
    const lab = await RelayLab.open();
    try {
      const crowd = await Crowd.open({
        netns: lab.a.netns,
        host: "10.1.0.1",
        to: parseEndpoint(HUB.a),
        toKey: lab.hubKey.publicKey,
        count: 1,
        first: parseIp("10.9.0.77"),
      });
      const [member] = crowd.members as [Member];
      const { publicKey } = member.key;
      await lab.meet(
        {
          enabled: true,
          classes: new Map([
            [publicKey, 1],
            [lab.b.key.publicKey, 1],
          ]),
        },
        { wait: false },
      );
      const peer = { publicKey, allowedIps: [parsePrefix("10.9.0.77/32")] };
      lab.hubTunnel.device.change({ peers: [peer] });
      lab.b.tunnel.device.change({ peers: [peer] });
      const hubAddress = parseIp("10.9.0.254");
      await until("the hub knows it", () => {
        crowd.send(member, hubAddress, "hello");
        crowd.due();
        return lab.status.liveNodes === 2;
      });
      const configuration = {
        peers: [
          {
            publicKey: lab.b.key.publicKey,
            endpoint: parseEndpoint(HUB.a),
            allowedIps: [{ prefix: parsePrefix(`${lab.b.overlay}/32`) }],
          },
        ],
      };
      crowd.step(member, { kind: "configure", configuration });
      const number = member.device.numberOf(lab.b.key.publicKey) as number;
      const outcome = act(
        member.device,
        { kind: "packets", peer: number, packets: [new Uint8Array(40)] },
        crowd.clock(),
      );
      crowd.carry(member, outcome);
      await until(
        "it has a session with b",
        () => member.device.sendable(number, crowd.clock().nowMs) !== undefined,
      );
      crowd.send(member, parseIp(lab.b.overlay), "hello");
      await until("b has it too", () => lab.seen(lab.b, member.key)?.lastHandshakeMs !== undefined);
      const [first] = outcome.datagrams;
      return {
        lab,
        crowd,
        member,
        initiation: first?.bytes as Uint8Array<ArrayBuffer>,
        [Symbol.asyncDispose]: async () => {
          crowd[Symbol.dispose]();
          await lab[Symbol.asyncDispose]();
        },
      };
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  test("a true initiation that is sent again and again: few go through, nothing is answered, the session stays", async () => {
    await using play = await played();
    const { lab, crowd, member, initiation: bytes } = play;
    const before = lab.seen(lab.b, member.key);
    expect(before?.lastHandshakeMs).toBeDefined();
    const { circuits, handshakes } = lab.status;
    for (let i = 0; i < 2000; i++) {
      crowd.raw(bytes);
      if (i % 50 === 0) await Bun.sleep(1);
    }
    await until("they were seen", () => (lab.status.drops["budget"] ?? 0) > 1000);
    expect(lab.status.handshakes - handshakes).toBeLessThan(20);
    expect(lab.status.circuits).toBe(circuits);
    expect(lab.seen(lab.b, member.key)?.lastHandshakeMs).toBe(before?.lastHandshakeMs as number);
    crowd.send(member, parseIp(lab.b.overlay), "still here");
    await until("it goes on", () => (lab.seen(lab.b, member.key)?.rxBytes ?? 0) > (before?.rxBytes ?? 0));
  });

  test(`data of a circuit with any contents and lengths (seed ${seed}): what goes out is no more than what came in, none comes back, and true packets still do`, async () => {
    const random = new Random(seed);
    await using play = await played();
    const { lab, crowd, member } = play;
    const number = member.device.numberOf(lab.b.key.publicKey) as number;
    const session = member.device.sendable(number, crowd.clock().nowMs) as NonNullable<
      ReturnType<typeof member.device.sendable>
    >;
    await Bun.sleep(200);
    const before = { a: passed(lab.hub, "a0"), b: passed(lab.hub, "b0"), relayed: lab.status.datagrams };
    let count = 0;
    for (; count < 5000; count++) {
      const bytes = random.pick([32, 33, 47, 148, 92, 1400, 1472, 9000, 40_000, 65_507]);
      const data = new Uint8Array(
        message(random, 4, bytes, random.chance(0.9) ? session.remoteIndex : random.u32()),
      );
      crowd.raw(random.chance(0.8) ? data : random.mutate(data).subarray(0, 65_507));
      if (count % 20 === 0) await Bun.sleep(1);
    }
    await until("most were relayed", () => lab.status.datagrams - before.relayed > count / 2);
    await Bun.sleep(300);
    const [a, b] = [passed(lab.hub, "a0"), passed(lab.hub, "b0")];
    expect(b.outBytes - before.b.outBytes).toBeLessThanOrEqual(a.inBytes - before.a.inBytes);
    // ARP, neighbour discovery, and the hub's own keepalives.
    expect(a.out - before.a.out).toBeLessThan(20);
    const heard = lab.seen(lab.b, member.key)?.rxBytes ?? 0;
    const sealed = sealPacket(session, new Uint8Array(0), member.device);
    crowd.raw(sealed as Uint8Array<ArrayBuffer>);
    await until("a true packet is heard", () => (lab.seen(lab.b, member.key)?.rxBytes ?? 0) > heard);
  });

  test(`trains of datagrams for the hub, for the other node and for nobody (seed ${seed}): each comes where it belongs, once`, async () => {
    const random = new Random(seed);
    await using play = await played();
    const { lab, crowd, member } = play;
    const { device } = member;
    const pair = device.sendable(device.numberOf(lab.b.key.publicKey) as number, crowd.clock().nowMs);
    const own = crowd.session(member);
    if (pair === undefined || own === undefined) throw new Error("there is no session");
    const hub = { tunnel: lab.hubTunnel };
    const bytes = () => ({
      hub: lab.seen(hub, member.key)?.rxBytes ?? 0,
      b: lab.seen(lab.b, member.key)?.rxBytes ?? 0,
      nobody: lab.status.drops["no_circuit"] ?? 0,
    });
    using trains = new Trains(lab.a.netns, parseEndpoint(HUB.a));
    const { port } = lab.seen(hub, member.key)?.endpoint ?? {};
    // An authentic packet makes the socket's the node's own address.
    trains.send([sealPacket(own, new Uint8Array(0), device) as Uint8Array]);
    await until("it has moved", () => lab.seen(hub, member.key)?.endpoint?.port !== port);
    await Bun.sleep(300);
    const before = bytes();
    const expected = { ...before };
    for (let round = 0; round < 40; round++) {
      const train: Uint8Array[] = [];
      for (let i = 0, count = 2 + random.below(50); i < count; i++) {
        const kind = random.pick(["hub", "b", "b", "b", "nobody"] as const);
        const inside = udpPacket(
          member.inside,
          parseIp(kind === "hub" ? "10.9.0.254" : lab.b.overlay),
          "x".repeat(80),
        );
        const sealed = sealPacket(kind === "hub" ? own : pair, inside, device) as Uint8Array<ArrayBuffer>;
        if (kind === "nobody")
          new DataView(sealed.buffer, sealed.byteOffset).setUint32(4, random.u32(), true);
        expected[kind] += kind === "nobody" ? 1 : sealed.length;
        train.push(sealed);
      }
      // The last one may be shorter: a keepalive.
      const kind = random.pick(["hub", "b"] as const);
      const keepalive = sealPacket(kind === "hub" ? own : pair, new Uint8Array(0), device) as Uint8Array;
      expected[kind] += keepalive.length;
      trains.send([...train, keepalive]);
      if (round % 4 === 0) await Bun.sleep(20);
    }
    await until("all came", () => Bun.deepEquals(bytes(), expected), 10_000).catch(() => {});
    expect(bytes()).toEqual(expected);
  });

  test(`any datagrams at the hub's port, from a node's socket (seed ${seed}): the process lives, and the flow goes on`, async () => {
    const random = new Random(seed);
    await using lab = await talking();
    using attacker = new Attacker(lab.a.netns, { from: A, to: HUB.a });
    const heard = Array.from({ length: 50 }, () =>
      message(random, 1 + random.below(4), random.pick([32, 64, 92, 148])),
    );
    const pool = Array.from({ length: 4000 }, () =>
      random.chance(0.3)
        ? random.bytes(random.below(300))
        : random.mutate(random.pick([...heard, initiation(random, lab.b.key)])),
    );
    using flow = paced(lab);
    flow.start();
    await flood((i) => attacker.send(pool[i % pool.length] as Uint8Array));
    const { sent, received } = await flow.stop();
    expect(received).toBeGreaterThan(sent * 0.95);
    expect(lab.hubProcess.runs).toBe(true);
    expect(lab.status.circuits).toBe(2);
  });
});
