/** Datagrams that arrive as one: of several sessions, workers and kinds; and the program in the kernel that tells them apart when they arrive singly. */
import { describe, expect, test } from "bun:test";
import { type Endpoint, parseEndpoint, parseIp } from "../../src/net/mod.ts";
import { libc, socketAddress } from "../../src/sys/mod.ts";
import { closeGroups, openGroups, workerOf } from "../../src/tunnel/dataplane/steering.ts";
import { act, MESSAGE, messageType, sealPacket, type Session } from "../../src/tunnel/wireguard/mod.ts";
import { Crowd, type Member, udpPacket } from "../support/crowd.ts";
import { dataplaneBackend, processOf } from "../support/dataplane.ts";
import { ownLacks as skip } from "../support/own-needs.ts";
import { newSeed, Random } from "../support/random.ts";
import { Scratch } from "../support/scratch.ts";
import { Trains } from "../support/trains.ts";
import { ip, TunnelPair, until } from "../support/tunnel-pair.ts";

const reason = skip === undefined ? "" : ` (${skip})`;

describe.skipIf(skip !== undefined)(`sockets that share a port${reason}`, () => {
  const MSG_DONTWAIT = 0x40;
  const buffer = new Uint8Array(new ArrayBuffer(65_536));

  for (const family of [4, 6] as const)
    test(`the kernel gives each datagram to the socket that workerOf names (IPv${family})`, () => {
      using scratch = new Scratch();
      scratch.text("ip link set lo up");
      for (const workers of [1, 2, 3, 8]) {
        const groups = scratch.netns.run(() => openGroups(0, workers));
        try {
          const group = groups[family === 4 ? 0 : 1] as (typeof groups)[number];
          const { port } = group[0] as (typeof group)[number];
          expect(groups.flatMap((one) => one.map((socket) => socket.port))).toEqual(
            Array.from({ length: 2 * (workers + 1) }, () => port),
          );
          const to = parseIp(family === 4 ? "127.0.0.1" : "::1");
          const address = socketAddress(family === 4 ? new Uint8Array([127, 0, 0, 1]) : loopback6(), port);
          const out = scratch.netns.run((): number => libc.socket(to.family === 4 ? 2 : 10, 0o2000002, 0));
          libc.connect(out, address);
          const who = (datagram: Uint8Array<ArrayBuffer>): number[] => {
            libc.send(out, datagram);
            return group.flatMap(({ fd }, i) => (libc.recv(fd.number, buffer, MSG_DONTWAIT) >= 0 ? [i] : []));
          };
          const random = new Random(workers);
          for (let i = 0; i < 100; i++) {
            const data = random.bytes(32 + random.below(100));
            data.set([4, 0, 0, 0]);
            const index = new DataView(data.buffer).getUint32(4, true);
            expect([index, who(data)]).toEqual([index, [1 + workerOf(index, workers)]]);
          }
          for (const type of [0, 1, 2, 3, 5, 255]) expect(who(new Uint8Array(148).fill(type))).toEqual([0]);
          for (const length of [1, 2, 3, 4]) expect(who(new Uint8Array(length).fill(4))).toEqual([0]);
          expect(who(new Uint8Array(0))).toEqual([0]);
          libc.close(out);
        } finally {
          closeGroups(groups);
        }
      }
    });

  test("a port that any program has is refused, in either family; none of the sockets stays", () => {
    using scratch = new Scratch();
    scratch.text("ip link set lo up");
    for (const [domain, address] of [
      [2, socketAddress(new Uint8Array(4), 4000)],
      [10, socketAddress(new Uint8Array(16), 4000)],
    ] as const) {
      const other = scratch.netns.run((): number => libc.socket(domain, 0o2000002, 0));
      // One that would share it: whoever has it first decides.
      libc.setsockopt(other, 1, 15, 1);
      libc.bind(other, address);
      expect(() => scratch.netns.run(() => openGroups(4000, 2))).toThrow("EADDRINUSE");
      libc.close(other);
      closeGroups(scratch.netns.run(() => openGroups(4000, 2)));
    }
    expect(scratch.text("ss -Hlun")).toBe("");
  });

  function loopback6(): Uint8Array {
    const bytes = new Uint8Array(16);
    bytes[15] = 1;
    return bytes;
  }
});

describe.skipIf(skip !== undefined)(`datagrams that arrive as one${reason}`, () => {
  interface Meeting {
    readonly pair: TunnelPair;
    readonly crowd: Crowd;
    readonly trains: Trains;
    readonly texts: string[];
    readonly to: Endpoint;
  }

  /** A far side with two workers, and a crowd whose sessions belong to both. */
  async function meet(work: (meeting: Meeting) => Promise<void>): Promise<void> {
    const own = () => dataplaneBackend("--workers", "2");
    await using pair = await TunnelPair.open({ near: own(), far: own() });
    const { near, far } = pair;
    const to = parseEndpoint(`${far.underlay4}:51820`);
    using crowd = await Crowd.open({
      netns: near.netns,
      host: "0.0.0.0",
      to,
      toKey: far.key.publicKey,
      count: 12,
    });
    far.tunnel.device.change({ privateKey: far.key, listenPort: 51820, peers: crowd.peers });
    ip(far.netns, `route add 10.20.0.0/16 dev ${far.link}`);
    const texts: string[] = [];
    const opened = far.netns.run(() => {
      const promise = Bun.udpSocket({
        hostname: far.overlay4,
        port: 7000,
        socket: { data: (_, data) => void texts.push(data.toString()) },
      });
      return { promise };
    });
    const inbox = await opened.promise;
    using trains = new Trains(near.netns, to);
    try {
      // All but the last have a session.
      for (const member of crowd.members.slice(0, -1)) crowd.send(member, parseIp(far.overlay4), "hello");
      await until("sessions", () => texts.length === crowd.members.length - 1);
      texts.length = 0;
      await work({ pair, crowd, trains, texts, to });
    } finally {
      inbox.close();
    }
  }

  const sessionOf = (crowd: Crowd, member: Member) => crowd.session(member) as Session;
  /** A packet of a member whose datagram has this length. */
  function data({ pair, crowd }: Meeting, member: Member, text: string, bytes = 160): Uint8Array {
    const padded = text.padEnd(bytes - 32 - 28, ".");
    const packet = udpPacket(member.inside, parseIp(pair.far.overlay4), padded);
    const sealed = sealPacket(sessionOf(crowd, member), packet, member.device);
    expect(sealed?.length).toBe(bytes);
    return sealed as Uint8Array;
  }
  const heard = ({ texts }: Meeting) => texts.map((text) => text.replace(/\.+$/, "")).sort();

  test("data of sessions of both workers, in turn: each packet comes out once", () =>
    meet(async (meeting) => {
      const { crowd, trains } = meeting;
      const members = crowd.members.slice(0, -1);
      const workers = members.map((member) => workerOf(sessionOf(crowd, member).remoteIndex, 2));
      expect(new Set(workers).size).toBe(2);
      const expected: string[] = [];
      for (let round = 0; round < 20; round++) {
        const train = members.map((member, i) => {
          expected.push(`${round}/${i}`);
          return data(meeting, member, `${round}/${i}`);
        });
        trains.send(train);
        // What is for other threads is bounded in each tenth of a second.
        await Bun.sleep(30);
      }
      await until("all have come", () => heard(meeting).length >= expected.length);
      expect(heard(meeting)).toEqual(expected.sort());
    }));

  test("an initiation at the end of data, and data behind an initiation", () =>
    meet(async (meeting) => {
      const { crowd, trains, pair } = meeting;
      const last = crowd.members.at(-1) as Member;
      const [one, other] = [0, 1].map((worker) =>
        crowd.members
          .slice(0, -1)
          .find((member) => workerOf(sessionOf(crowd, member).remoteIndex, 2) === worker),
      ) as [Member, Member];
      const packet = udpPacket(last.inside, parseIp(pair.far.overlay4), "new");
      const initiation = () => {
        const { datagrams } = act(
          last.device,
          { kind: "packets", peer: 1, packets: [packet] },
          crowd.clock(),
        );
        const bytes = datagrams[0]?.bytes as Uint8Array<ArrayBuffer>;
        expect(messageType(bytes)).toBe(MESSAGE.initiation);
        return bytes;
      };
      const before = pair.far.tunnel.device
        .read()
        .peers.find(({ publicKey }) => publicKey === last.key.publicKey);
      expect(before?.lastHandshakeMs).toBeUndefined();
      trains.send([
        data(meeting, one, "a"),
        data(meeting, other, "b"),
        data(meeting, one, "c"),
        initiation(),
      ]);
      await until("the data have come", () => heard(meeting).length === 3);
      expect(heard(meeting)).toEqual(["a", "b", "c"]);
      const received = () =>
        pair.far.tunnel.device.read().peers.find(({ publicKey }) => publicKey === last.key.publicKey)
          ?.rxBytes ?? 0;
      await until("the initiation was answered", () => received() === 148);
      // The other way round: 148 bytes, then the last one, which may be shorter. Not sooner than the rule for initiations allows.
      await Bun.sleep(5100);
      trains.send([initiation(), data(meeting, other, "d", 144)]);
      await until("both have come", () => heard(meeting).length === 4 && received() === 296);
      expect(heard(meeting)).toEqual(["a", "b", "c", "d"]);
    }));

  test("datagrams of no kind at all, long and short, are ignored, and the flow goes on", () =>
    meet(async (meeting) => {
      const { crowd, trains, pair } = meeting;
      const random = new Random(newSeed());
      const member = crowd.members[0] as Member;
      for (let i = 0; i < 60; i++) {
        const length = 1 + random.below(1400);
        const count = 1 + random.below(Math.min(40, Math.floor(60_000 / length)));
        trains.send(Array.from({ length: count }, () => random.bytes(length)));
        trains.send([random.bytes(160), data(meeting, member, `${i}`)]);
        await Bun.sleep(10);
      }
      await until("the packets of a session have come", () => heard(meeting).length === 60);
      expect(processOf(pair.far).runs).toBe(true);
      expect(processOf(pair.far).status.counters).toMatchObject({ forged: 0, malformed: 0 });
    }));

  test("trains of nothing keep no packet of ours from beginning a handshake", () =>
    meet(async (meeting) => {
      const { crowd, trains, pair } = meeting;
      const { near, far } = pair;
      const nothing = Array.from({ length: 60 }, (_, i) => {
        const bytes = new Uint8Array(148).fill(i);
        // To one worker, for it and the other, and of another kind.
        bytes.set([i % 3 === 2 ? 1 : 4, 0, 0, 0, i]);
        return bytes;
      });
      const other = nothing.map((bytes) => bytes.with(4, ((bytes[4] as number) + 1) & 0xff));
      const ticks = setInterval(() => {
        trains.send(nothing);
        trains.send(other);
      }, 5);
      try {
        await until(
          "more came than is handed on",
          () => (processOf(far).status.counters.not_handed_on ?? 0) > 0,
        );
        for (const side of [near, far])
          side.tunnel.device.change({ privateKey: side.key, listenPort: 51820, peers: [pair.peer(side)] });
        expect(await pair.pings(far)).toBe(true);
        expect(crowd.members.length).toBeGreaterThan(0);
      } finally {
        clearInterval(ticks);
      }
    }));
});
