/** What a device does over time, two of them on a network that is only time. */
import { describe, expect, test } from "bun:test";
import { type End, ipv4Packet, Network, peerOf } from "../../../test/support/wireguard-ends.ts";
import { Hand } from "../../../test/support/wireguard-hand.ts";
import {
  formatEndpoint,
  formatPrefix,
  parseEndpoint,
  parseIp,
  parsePrefix,
  prefixAddress,
  PrivateKey,
  publicKeyBytes,
  Secret,
} from "../../net/mod.ts";
import { Device } from "./device.ts";
import { MAX_STAGED_PACKETS } from "./limits.ts";
import { decodeMessage } from "./message.ts";
import { type Primitives, systemPrimitives } from "../../noise/mod.ts";
import { ownMemory, type Session, SESSION } from "./session.ts";
import { act, receiveDatagram, sendPacket } from "./slow-path.ts";
import { SPECIFIED } from "./specification.ts";
import { dataReceiver } from "./transport.ts";

const kindOf = (bytes: Uint8Array) =>
  decodeMessage(bytes)?.kind ??
  (dataReceiver(bytes) === undefined ? "?" : bytes.length === 32 ? "keepalive" : "data");

/** Two ends that know each other, and a log of what is on the wire. */
function couple(options: { readonly known?: "both" | "by a"; readonly keepaliveSeconds?: number } = {}) {
  const network = new Network(1);
  const [a, b] = [network.add("a"), network.add("b")];
  const log: string[] = [];
  network.weather = { delayMs: 10 };
  network.onDatagram = ({ from, bytes }) => {
    log.push(`${network.nowMs} ${from.ip.value === a.endpoint.ip.value ? "a" : "b"} ${kindOf(bytes)}`);
    return true;
  };
  network.meet(a, b, options);
  return { network, a, b, log, [Symbol.dispose]: () => network[Symbol.dispose]() };
}

const stateOf = (end: End) => end.device.peer(1) as NonNullable<ReturnType<Device["peer"]>>;

describe("section 6: the life of a session", () => {
  test("packets wait for the first handshake, and go in order", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    for (let number = 1; number <= 3; number++) network.send(a, b, number);
    network.pass(100);
    expect(b.heard).toEqual([1, 2, 3]);
    expect(log).toEqual([
      "1000 a initiation",
      "1010 b response",
      "1020 a data",
      "1020 a data",
      "1020 a data",
    ]);
  });

  test("without packets the initiator confirms with a keepalive", () => {
    using pair = couple({ keepaliveSeconds: 3600 });
    pair.network.pass(100);
    // Both were told to speak at once.
    expect(pair.log.map((line) => line.slice(5)).sort()).toEqual([
      "a initiation",
      "a keepalive",
      "a response",
      "b initiation",
      "b keepalive",
      "b response",
    ]);
    expect(stateOf(pair.a).keypairs.current?.localIndex).toBe(
      stateOf(pair.b).keypairs.current?.remoteIndex as number,
    );
  });

  test("whoever hears data and has nothing to say answers after 10 s; then both are silent", () => {
    using pair = couple();
    pair.network.send(pair.a, pair.b, 1);
    pair.network.pass(600_000);
    expect(pair.log.slice(3)).toEqual(["11030 b keepalive"]);
  });

  test("persistent keepalive: as often as was said, with a renewed session every two minutes", () => {
    using pair = couple({ known: "by a" });
    const { network, a, b, log } = pair;
    network.introduce(a, b, { keepaliveSeconds: 25 });
    network.pass(250_000);
    const keepalives = log
      .filter((line) => line.endsWith("a keepalive"))
      .map((line) => Number(line.split(" ")[0]));
    const gaps = keepalives.slice(1).map((at, i) => at - (keepalives[i] as number));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(25_000);
    expect(log.filter((line) => line.endsWith("initiation"))).toEqual([
      "1000 a initiation",
      "126020 a initiation",
    ]);
    expect(log.filter((line) => line.endsWith("b keepalive"))).toEqual([]);
  });

  test("after 120 s the initiator renews while it sends, and no packet is lost", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    for (let number = 0; number < 400; number++) {
      network.send(a, b, number);
      network.send(b, a, number);
      network.pass(1000);
    }
    expect([a.heard, b.heard].map((heard) => heard.length)).toEqual([400, 400]);
    // Both began at once, and agreed on one session: only its initiator renews.
    const renewals = log.filter((line) => line.endsWith("initiation") && !line.startsWith("1000 "));
    expect(renewals).toHaveLength(3);
    expect(new Set(renewals.map((line) => line.split(" ")[1])).size).toBe(1);
  });

  test("an initiator that was silent and receives after 165 s renews, once", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    network.send(a, b, 0);
    network.pass(163_000);
    log.length = 0;
    network.send(b, a, 1);
    network.pass(3000);
    expect(log).toEqual(["164000 b data"]);
    network.onDatagram = ({ bytes }) => log.push(kindOf(bytes)) > 0 && kindOf(bytes) !== "response";
    for (const number of [2, 3]) {
      network.send(b, a, number);
      network.pass(1000);
    }
    expect(log.slice(1)).toEqual(["data", "initiation", "response", "data"]);
    expect(a.heard).toEqual([1, 2, 3]);
    // The rest is the affair of the timer, which is not hurried by more packets: it has its jitter.
    const again = (stateOf(a).spokeMs as number) + 5000;
    expect(stateOf(a).timers.retransmit).toBeGreaterThan(again + 1);
    network.until(again - 10);
    network.send(b, a, 4);
    network.until(again);
    expect([a.heard.at(-1), log.at(-1)]).toEqual([4, "data"]);
  });

  test("after 180 s nothing is sent or heard under a session; after 540 s it is gone", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const session = stateOf(b).keypairs.current as Session;
    network.pass(179_800);
    const caught: Uint8Array<ArrayBuffer>[] = [];
    network.onDatagram = ({ bytes }) => caught.push(bytes) < 0;
    network.send(a, b, 2);
    network.pass(200);
    expect(caught.map(kindOf)).toEqual(["data", "initiation"]);
    network.deliver(b, caught[0] as Uint8Array, a.endpoint);
    expect(b.heard).toEqual([1]);
    network.send(a, b, 3);
    expect(caught).toHaveLength(2);
    network.pass(340_000);
    expect(stateOf(b).keypairs.current).toBe(session);
    network.pass(20_000);
    expect(stateOf(b).keypairs.current).toBeUndefined();
    network.step(b, { kind: "due" });
    expect(session.memory.every((byte) => byte === 0)).toBe(true);
    expect(b.device.counts()).toEqual({ peers: 1, indices: 0, sources: 0, sessions: 0 });
  });

  test("an unanswered handshake is repeated for 90 s, and what waits is dropped then", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    network.onDatagram = ({ bytes }) => {
      log.push(`${network.nowMs} ${kindOf(bytes)}`);
      return false;
    };
    network.send(a, b, 1);
    network.pass(120_000);
    expect(log).toHaveLength(19);
    const gaps = log.slice(1).map((line, i) => Number(line.split(" ")[0]) - Number(log[i]?.split(" ")[0]));
    for (const gap of gaps) {
      expect(gap).toBeGreaterThanOrEqual(5000);
      expect(gap).toBeLessThanOrEqual(5333);
    }
    expect(new Set(gaps).size).toBeGreaterThan(5);
    expect(stateOf(a).staged).toEqual([]);
    expect(a.device.counts().indices).toBe(0);
    network.onDatagram = undefined;
    network.send(a, b, 2);
    network.pass(100);
    expect(b.heard).toEqual([2]);
  });

  test("section 6.2: a session that sent too much is renewed, by the responder too; at its end packets wait for the next", () => {
    const timing = { ...SPECIFIED, rekeyAfterMessages: 10, rejectAfterMessages: 20 };
    using network = new Network(3);
    const [a, b] = [network.add("a", { timing }), network.add("b", { timing })];
    network.weather = { delayMs: 10 };
    network.meet(a, b, { known: "by a" });
    const initiations: string[] = [];
    network.onDatagram = ({ from, bytes }) => {
      if (bytes.length === 148) initiations.push(from.ip.value === a.endpoint.ip.value ? "a" : "b");
      return true;
    };
    network.send(a, b, 0);
    network.pass(100);
    // Only the responder sends: 100 packets in a second, of which 20 go under the first session.
    for (let number = 0; number < 100; number++) {
      network.send(b, a, number);
      network.pass(10);
    }
    expect(a.heard).toHaveLength(20);
    network.pass(60_000);
    expect(a.heard).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(initiations[0]).toBe("a");
    expect(initiations.slice(1)).toContain("b");
  });

  test("a packet that waits for a confirmation which was lost goes out 5 s later, though no other comes", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.onDatagram = ({ bytes }) => kindOf(bytes) !== "data";
    network.send(a, b, 1);
    network.pass(100);
    expect(stateOf(b).keypairs.next).toBeDefined();
    network.send(b, a, 2);
    network.pass(1000);
    expect(a.heard).toEqual([]);
    network.onDatagram = undefined;
    network.pass(5000);
    expect(a.heard).toEqual([2]);
  });

  test("a peer that fell silent is asked after 15 s", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    network.send(a, b, 1);
    network.send(b, a, 1);
    network.pass(60_000);
    log.length = 0;
    b.asleep = true;
    const start = network.nowMs;
    network.send(a, b, 2);
    network.pass(16_000);
    expect(log.map((line) => line.split(" ").slice(1).join(" "))).toEqual(["a data", "a initiation"]);
    const asked = Number(log[1]?.split(" ")[0]) - start;
    expect(asked).toBeGreaterThanOrEqual(15_000);
    expect(asked).toBeLessThanOrEqual(15_333);
  });
});

test("1,000 peers: each has its session, and looking for what is due does not look at all of them", () => {
  using network = new Network(7);
  const hub = network.add("hub");
  const hands = Array.from({ length: 1000 }, () => new Hand(publicKeyBytes(hub.key.publicKey)));
  const prefix = (i: number) => parsePrefix(`10.1.${i >> 8}.${i & 255}/32`);
  const peers = hands.map((hand, i) => ({
    publicKey: hand.key.publicKey,
    allowedIps: [{ prefix: prefix(i) }],
  }));
  network.step(hub, { kind: "configure", configuration: { peers } });
  const answers: Uint8Array<ArrayBuffer>[] = [];
  network.onDatagram = ({ bytes }) => answers.push(bytes) < 0;
  const sessions = hands.map((hand, i) => {
    // One every 2 ms: as fast as goes without being load.
    network.pass(2);
    const begun = hand.initiation({ seconds: 1 });
    network.deliver(hub, begun.bytes, parseEndpoint(`198.51.100.1:${1000 + i}`));
    return hand.session(begun, answers.at(-1) as Uint8Array);
  });
  for (const [i, hand] of hands.entries()) {
    const source = prefixAddress(prefix(i));
    const packet = ipv4Packet(source, { to: hub.inner, number: i });
    network.deliver(
      hub,
      hand.data(sessions[i] as Session, packet),
      parseEndpoint(`198.51.100.1:${1000 + i}`),
    );
  }
  expect(hub.heard).toEqual(Array.from({ length: 1000 }, (_, i) => i));
  expect(hub.device.counts()).toEqual({ peers: 1000, indices: 1000, sources: 0, sessions: 1000 });
  // Each is answered with a keepalive 10 s later, and all keys are wiped in the end.
  answers.length = 0;
  network.pass(15_000);
  expect(answers.map(kindOf)).toEqual(Array.from({ length: 1000 }, () => "keepalive"));
  network.pass(600_000);
  expect(hub.device.counts()).toEqual({ peers: 1000, indices: 0, sources: 0, sessions: 0 });
});

describe("waiting packets", () => {
  test("no more than there is room for: the oldest go", () => {
    using pair = couple();
    const { network, a, b } = pair;
    for (let number = 0; number < MAX_STAGED_PACKETS + 50; number++) network.send(a, b, number);
    network.pass(100);
    expect(b.heard).toEqual(Array.from({ length: MAX_STAGED_PACKETS }, (_, i) => i + 50));
  });

  test("large packets likewise", () => {
    using pair = couple();
    const { network, a, b } = pair;
    for (let number = 0; number < 10; number++) {
      const packet = ipv4Packet(a.inner, { to: b.inner, number, length: 60_000 });
      sendPacket(a.device, packet, network.clock(a));
    }
    expect(stateOf(a).staged).toHaveLength(4);
  });

  test("for a peer without an endpoint nothing waits, and nothing is tried", () => {
    using pair = couple({ known: "by a" });
    const { network, a, b } = pair;
    network.send(b, a, 1);
    network.pass(10_000);
    expect(network.sent).toBe(0);
    expect(stateOf(b).staged).toEqual([]);
  });
});

describe("section 2.1: roaming", () => {
  test("the endpoint follows authentic packets, and nothing else", () => {
    using pair = couple({ known: "by a" });
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const seen = () => formatEndpoint(peerOf(b, a.key.publicKey)?.endpoint as never);
    expect(seen()).toBe("192.0.2.1:51820");
    a.endpoint = parseEndpoint("198.51.100.7:1234");
    network.send(a, b, 2);
    network.pass(100);
    expect(seen()).toBe("198.51.100.7:1234");
    network.send(b, a, 3);
    network.pass(100);
    expect(a.heard).toEqual([3]);
  });

  test("an initiation and a response move it too", () => {
    using pair = couple();
    const { network, a, b } = pair;
    a.endpoint = parseEndpoint("[2001:db8::7]:1234");
    network.send(a, b, 1);
    network.pass(100);
    expect(formatEndpoint(peerOf(b, a.key.publicKey)?.endpoint as never)).toBe("[2001:db8::7]:1234");
  });

  test("a packet that was recorded and sent again from elsewhere does not", () => {
    using pair = couple();
    const { network, a, b } = pair;
    const recorded: Uint8Array<ArrayBuffer>[] = [];
    network.onDatagram = ({ bytes }) => recorded.push(bytes) > 0;
    network.send(a, b, 1);
    network.pass(100);
    for (const bytes of recorded) {
      network.deliver(b, bytes, parseEndpoint("203.0.113.9:9"));
      network.deliver(a, bytes, parseEndpoint("203.0.113.9:9"));
    }
    expect(formatEndpoint(peerOf(b, a.key.publicKey)?.endpoint as never)).toBe("192.0.2.1:51820");
    expect(formatEndpoint(peerOf(a, b.key.publicKey)?.endpoint as never)).toBe("192.0.2.2:51820");
    expect(b.heard).toEqual([1]);
  });
});

describe("section 2: cryptokey routing", () => {
  test("a packet from an address that the peer does not have goes nowhere; it is authentic all the same", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const before = peerOf(b, a.key.publicKey)?.rxBytes ?? 0;
    const forged = ipv4Packet(parseIp("10.0.0.99"), { to: b.inner, number: 2 });
    for (const { bytes } of sendPacket(a.device, forged, network.clock(a)).datagrams)
      network.deliver(b, bytes, a.endpoint);
    expect(b.heard).toEqual([1]);
    expect(peerOf(b, a.key.publicKey)?.rxBytes).toBe(before + 80);
  });

  test("what is no IP packet, or says that it is longer than it is, goes nowhere", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const [longer, shorter] = [40, 40].map(() => ipv4Packet(a.inner, { to: b.inner, number: 9 })) as [
      Uint8Array,
      Uint8Array,
    ];
    new DataView(longer.buffer).setUint16(2, 100);
    new DataView(shorter.buffer).setUint16(2, 19);
    for (const packet of [longer, shorter])
      for (const { bytes } of sendPacket(a.device, packet, network.clock(a)).datagrams)
        network.deliver(b, bytes, a.endpoint);
    expect(b.heard).toEqual([1]);
  });
});

describe("section 5.4.3: pre-shared keys", () => {
  const share = (network: Network, [end, other]: readonly [End, End], presharedKey: Secret | "none") =>
    network.step(end, {
      kind: "configure",
      configuration: { peers: [{ publicKey: other.key.publicKey, presharedKey }] },
    });

  test("equal on both sides they talk, different they do not, none is zeros", () => {
    using pair = couple();
    const { network, a, b } = pair;
    const key = Secret.random();
    share(network, [a, b], key);
    network.send(a, b, 1);
    network.pass(6000);
    expect(b.heard).toEqual([]);
    share(network, [b, a], key);
    network.pass(6000);
    expect(b.heard).toEqual([1]);
    expect([peerOf(a, b.key.publicKey)?.presharedKey, peerOf(b, a.key.publicKey)?.presharedKey]).toEqual([
      true,
      true,
    ]);
    share(network, [a, b], "none");
    share(network, [b, a], new Secret(new Uint8Array(32)));
    expect([peerOf(a, b.key.publicKey)?.presharedKey, peerOf(b, a.key.publicKey)?.presharedKey]).toEqual([
      false,
      false,
    ]);
    network.pass(200_000);
    network.send(b, a, 2);
    network.pass(6000);
    expect(a.heard).toEqual([2]);
  });
});

describe("section 5.1: replayed and hurried initiations", () => {
  test("each is answered once; two of a peer need 20 ms between them", () => {
    using pair = couple();
    const { network, a, b } = pair;
    const caught: Uint8Array<ArrayBuffer>[] = [];
    network.onDatagram = ({ bytes }) => {
      caught.push(bytes);
      return false;
    };
    // Three initiations, as a that was started anew would make them: from one key, each later than the one before.
    const initiations = [0, 20, 40].map((ms) => {
      using twin = new Device();
      const peer = {
        publicKey: b.key.publicKey,
        endpoint: b.endpoint,
        allowedIps: [{ prefix: parsePrefix("10.0.0.2/32") }],
      };
      const clock = { nowMs: 0, wallMs: 1_700_000_100_000 + ms };
      act(twin, { kind: "configure", configuration: { privateKey: a.key, peers: [peer] } }, clock);
      return sendPacket(twin, ipv4Packet(a.inner, { to: b.inner, number: 1 }), clock).datagrams[0]
        ?.bytes as Uint8Array;
    }) as [Uint8Array, Uint8Array, Uint8Array];
    const answers = (bytes: Uint8Array, waitMs: number) => {
      caught.length = 0;
      network.pass(waitMs);
      network.deliver(b, bytes, a.endpoint);
      return caught.length;
    };
    expect(answers(initiations[1], 0)).toBe(1);
    expect(answers(initiations[1], 100)).toBe(0);
    expect(answers(initiations[0], 100)).toBe(0);
    expect(answers(initiations[2], 100)).toBe(1);
    using fresh = couple();
    const deliver = (bytes: Uint8Array, nowMs: number) =>
      receiveDatagram(other, bytes, { nowMs, wallMs: 0, from: a.endpoint }).datagrams.length;
    const other = new Device();
    act(
      other,
      { kind: "configure", configuration: { privateKey: b.key, peers: [{ publicKey: a.key.publicKey }] } },
      { nowMs: 0, wallMs: 0 },
    );
    expect([
      deliver(initiations[0], 1000),
      deliver(initiations[1], 1019),
      deliver(initiations[1], 1020),
    ]).toEqual([1, 0, 1]);
    other[Symbol.dispose]();
    void fresh;
  });
});

describe("clocks", () => {
  test("a wall clock that is set back or forward does not stop handshakes", () => {
    using pair = couple();
    const { network, a, b } = pair;
    let number = 0;
    for (const offset of [0, -3600_000, 86_400_000, -86_400_000, 0]) {
      a.wallOffsetMs = offset;
      network.pass(200_000);
      network.send(a, b, ++number);
      network.pass(1000);
      expect(b.heard.at(-1)).toBe(number);
    }
  });

  test("after a sleep of eight hours the first packet begins a handshake, and comes through", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(1000);
    a.asleep = true;
    network.pass(8 * 3600_000);
    a.asleep = false;
    network.send(a, b, 2);
    network.pass(1000);
    expect(b.heard).toEqual([1, 2]);
  });

  test("a monotonic clock that goes back does nothing worse than stand still", () => {
    using device = new Device();
    const key = PrivateKey.random();
    device.step({ kind: "configure", configuration: { privateKey: key } }, { nowMs: 5000, wallMs: 0 });
    expect(device.step({ kind: "due" }, { nowMs: 10, wallMs: 0 })).toEqual([]);
  });
});

describe("section 5.3: cookies", () => {
  test("under load a handshake takes a cookie and another attempt; then the session is as any other", () => {
    using pair = couple();
    const { network, a, b, log } = pair;
    // b's caller has a long queue: every message tells it so.
    const deliver = network.deliver.bind(network);
    network.deliver = (to, bytes, from) => {
      if (to !== b || decodeMessage(bytes)?.kind !== "initiation") return deliver(to, bytes, from);
      const outcome = act(
        b.device,
        { kind: "message", datagram: bytes, from, backlog: 10_000 },
        network.clock(b),
      );
      for (const { to: back, bytes: reply } of outcome.datagrams) {
        log.push(`${network.nowMs} b ${kindOf(reply)}`);
        network.launch({ from: b.endpoint, to: back, bytes: reply });
      }
    };
    network.send(a, b, 1);
    network.pass(10_000);
    expect(log.map((line) => line.split(" ").slice(1).join(" "))).toEqual([
      "a initiation",
      "b cookie",
      "a initiation",
      "b response",
      "a data",
    ]);
    expect(b.heard).toEqual([1]);
  });

  test("a response can be asked for a cookie as well", () => {
    using pair = couple();
    const { network, a, b } = pair;
    const caught = new Map<string, Uint8Array<ArrayBuffer>>();
    network.onDatagram = ({ bytes }) => {
      caught.set(kindOf(bytes), bytes);
      return false;
    };
    network.send(a, b, 1);
    network.deliver(b, caught.get("initiation") as Uint8Array, a.endpoint);
    const response = caught.get("response");
    const { datagrams } = act(
      a.device,
      { kind: "message", datagram: response as Uint8Array, from: b.endpoint, backlog: 10_000 },
      network.clock(a),
    );
    expect(datagrams.map(({ bytes }) => kindOf(bytes))).toEqual(["cookie"]);
    network.deliver(b, datagrams[0]?.bytes as Uint8Array, a.endpoint);
    expect(stateOf(b).cookie).toBeDefined();
  });
});

describe("configuration", () => {
  const stranger = PrivateKey.random().publicKey;
  const clock = { nowMs: 0, wallMs: 0 };

  test("is read back as it was given", () => {
    using device = new Device();
    const privateKey = PrivateKey.random();
    const configuration = {
      privateKey,
      listenPort: 51820,
      fwmark: 7,
      peers: [
        {
          publicKey: stranger,
          endpoint: parseEndpoint("192.0.2.9:1"),
          keepaliveSeconds: 25,
          presharedKey: new Secret(new Uint8Array(32).fill(3)),
          allowedIps: ["10.0.0.0/8", "fd00::/64"].map((text) => ({ prefix: parsePrefix(text) })),
        },
      ],
    };
    const kinds = () => device.step({ kind: "configure", configuration }, clock).map(({ kind }) => kind);
    // With an endpoint and a persistent keepalive the peer is spoken to at once.
    expect(kinds()).toEqual(["listen", "mark", "added", "insert", "insert", "send"]);
    expect(kinds()).toEqual(["insert", "insert"]);
    const state = device.read();
    expect({ ...state, peers: [] }).toEqual({
      publicKey: privateKey.publicKey,
      listenPort: 51820,
      peers: [],
    });
    expect(
      state.peers.map(({ allowedIps, ...peer }) => ({ ...peer, allowedIps: allowedIps.map(formatPrefix) })),
    ).toEqual([
      {
        publicKey: stranger,
        endpoint: parseEndpoint("192.0.2.9:1"),
        keepaliveSeconds: 25,
        presharedKey: true,
        rxBytes: 0,
        txBytes: 148,
        allowedIps: ["10.0.0.0/8", "fd00::/64"],
      },
    ]);
    expect(device.secrets().presharedKeys.get(stranger)?.reveal()).toEqual(new Uint8Array(32).fill(3));
    expect(device.secrets().privateKey?.reveal()).toEqual(privateKey.reveal());
    expect(device.secrets().fwmark).toBe(7);
  });

  test("port 0 asks for any port, every time; which one it is comes back", () => {
    using device = new Device();
    const any = { kind: "configure", configuration: { listenPort: 0 } } as const;
    expect(device.step(any, clock)).toEqual([{ kind: "listen", port: 0 }]);
    device.step({ kind: "bound", port: 4321 }, clock);
    expect(device.read().listenPort).toBe(4321);
    expect(device.step(any, clock)).toEqual([{ kind: "listen", port: 0 }]);
  });

  test("nobody is his own peer", () => {
    using device = new Device();
    const privateKey = PrivateKey.random();
    const peers = [{ publicKey: privateKey.publicKey }];
    device.step({ kind: "configure", configuration: { privateKey, peers } }, clock);
    expect(device.read().peers).toEqual([]);
    device.step({ kind: "configure", configuration: { privateKey: PrivateKey.random(), peers } }, clock);
    expect(device.read().peers).toHaveLength(1);
    device.step({ kind: "configure", configuration: { privateKey } }, clock);
    expect(device.read().peers).toEqual([]);
  });

  test("the same private key again changes nothing; under another one sessions only receive, until they are too old", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const session = stateOf(a).keypairs.current as Session;
    network.step(a, { kind: "configure", configuration: { privateKey: a.key } });
    expect(stateOf(a).keypairs.current).toBe(session);
    network.step(a, { kind: "configure", configuration: { privateKey: PrivateKey.random() } });
    expect(stateOf(a).keypairs).toEqual({ previous: session });
    expect(a.device.sendable(stateOf(a).identity.number, network.nowMs)).toBeUndefined();
    network.send(a, b, 2);
    network.send(b, a, 3);
    network.pass(1000);
    // The peer does not know the new key.
    expect([a.heard, b.heard]).toEqual([[3], [1]]);
    network.pass(200_000);
    network.send(b, a, 4);
    network.pass(1000);
    expect(a.heard).toEqual([3]);
    network.pass(400_000);
    network.step(a, { kind: "due" });
    expect(a.device.counts()).toMatchObject({ sessions: 0, indices: 0 });
    expect(session.memory.every((byte) => byte === 0)).toBe(true);
  });

  test("a private key changes without loss: what is on its way arrives, what is sent waits for the new session", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.weather = { delayMs: 50 };
    network.send(a, b, 0);
    network.pass(1000);
    let number = 0;
    const flow = (packets: number) => {
      for (let i = 0; i < packets; i++, number++) {
        network.send(a, b, number);
        network.send(b, a, number);
        network.pass(10);
      }
    };
    b.heard.length = 0;
    flow(20);
    const next = PrivateKey.random();
    const old = a.key.publicKey;
    network.step(b, { kind: "configure", configuration: { peers: [{ publicKey: next.publicKey }] } });
    network.step(a, { kind: "configure", configuration: { privateKey: next } });
    // The peer moves the addresses as soon as it hears the next key.
    while (peerOf(b, next.publicKey)?.rxBytes === 0) flow(1);
    network.introduce(b, { ...a, key: next });
    flow(100);
    network.pass(1000);
    const all = Array.from({ length: number }, (_, i) => i);
    expect(b.heard.toSorted((x, y) => x - y)).toEqual(all);
    expect(a.heard.toSorted((x, y) => x - y)).toEqual(all);
    expect(peerOf(b, old)?.lastHandshakeMs).toBeLessThan(
      peerOf(b, next.publicKey)?.lastHandshakeMs as number,
    );
  });

  test("who only receives after a change of key begins a handshake with it", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    const next = PrivateKey.random();
    network.step(a, { kind: "configure", configuration: { privateKey: next } });
    // Known, but not yet for its addresses: what goes to them goes under the session before.
    network.step(b, { kind: "configure", configuration: { peers: [{ publicKey: next.publicKey }] } });
    network.send(b, a, 2);
    network.pass(100);
    expect(a.heard).toEqual([2]);
    expect(peerOf(b, next.publicKey)?.lastHandshakeMs).toBeDefined();
    expect(stateOf(a).keypairs.current).toBeDefined();
    network.send(b, a, 3);
    network.pass(100);
    expect(a.heard).toEqual([2, 3]);
  });

  test("without a private key there is silence", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.step(b, { kind: "configure", configuration: { privateKey: "none" } });
    network.send(a, b, 1);
    network.send(b, a, 1);
    network.pass(20_000);
    expect([a.heard, b.heard]).toEqual([[], []]);
    expect(peerOf(b, a.key.publicKey)?.txBytes).toBe(0);
    network.step(b, { kind: "configure", configuration: { privateKey: b.key } });
    network.pass(6000);
    expect(b.heard).toEqual([1]);
  });

  test("a removed peer is a stranger at once", () => {
    using pair = couple();
    const { network, a, b } = pair;
    network.send(a, b, 1);
    network.pass(100);
    network.step(b, {
      kind: "configure",
      configuration: { peers: [{ publicKey: a.key.publicKey, remove: true }] },
    });
    expect(b.device.counts()).toEqual({ peers: 0, indices: 0, sources: 0, sessions: 0 });
    network.sent = 0;
    network.send(a, b, 2);
    network.pass(1000);
    expect([b.heard, network.sent]).toEqual([[1], 1]);
  });

  test("replacing all peers, updating only those there are, taking single prefixes away", () => {
    using device = new Device();
    const [one, two] = [PrivateKey.random().publicKey, PrivateKey.random().publicKey];
    const prefixes = (...texts: string[]) => texts.map((text) => ({ prefix: parsePrefix(text) }));
    const set = (configuration: Parameters<typeof act>[1] & { kind: "configure" }) =>
      device.step(configuration, clock);
    set({
      kind: "configure",
      configuration: {
        peers: [
          { publicKey: one, allowedIps: prefixes("10.1.0.0/16", "10.2.0.0/16") },
          { publicKey: two, updateOnly: true },
        ],
      },
    });
    expect(device.read().peers.map(({ publicKey }) => publicKey)).toEqual([one]);
    set({
      kind: "configure",
      configuration: {
        peers: [{ publicKey: one, allowedIps: [{ prefix: parsePrefix("10.1.0.0/16"), remove: true }] }],
      },
    });
    expect(device.read().peers[0]?.allowedIps.map(formatPrefix)).toEqual(["10.2.0.0/16"]);
    set({ kind: "configure", configuration: { replacePeers: true, peers: [{ publicKey: two }] } });
    expect(device.read().peers.map(({ publicKey }) => publicKey)).toEqual([two]);
    expect(
      device.destination(ipv4Packet(parseIp("10.9.9.9"), { to: parseIp("10.2.0.1"), number: 0 })),
    ).toBeUndefined();
  });

  test("a peer whose key is of low order is kept, and never spoken with", () => {
    using device = new Device();
    const low = Buffer.alloc(32).toString("base64") as never;
    const peer = { publicKey: low, endpoint: parseEndpoint("192.0.2.9:1"), keepaliveSeconds: 1 };
    expect(
      device.step(
        { kind: "configure", configuration: { privateKey: PrivateKey.random(), peers: [peer] } },
        clock,
      ),
    ).toEqual([{ kind: "added", peer: 1 }]);
    expect(device.read().peers).toHaveLength(1);
  });
});

describe("secrets", () => {
  test("are not shown by printing, whatever is printed", () => {
    using pair = couple();
    const { network, a, b } = pair;
    const psk = Secret.random();
    for (const [end, other] of [
      [a, b],
      [b, a],
    ] as const)
      network.step(end, {
        kind: "configure",
        configuration: { peers: [{ publicKey: other.key.publicKey, presharedKey: psk }] },
      });
    network.send(a, b, 1);
    const pending = Bun.inspect(stateOf(a), { depth: 20 });
    network.pass(100);
    const state = stateOf(a);
    const session = state.keypairs.current as Session;
    const shown = [a.device, state, session].map(
      (one) =>
        `${Bun.inspect(one, { depth: 20 })}${JSON.stringify(one, (_, v) => (typeof v === "bigint" ? `${v}` : v))}`,
    );
    const text = [...shown, pending].join("\n");
    for (const secret of [
      session.sendKey,
      session.receiveKey,
      psk.reveal(),
      a.key.reveal(),
      state.staticStatic?.reveal(),
    ]) {
      const bytes = Buffer.from(secret ?? []);
      expect(text).not.toContain([...bytes.subarray(0, 6)].join(", "));
      expect(text).not.toContain([...bytes.subarray(0, 6)].join(","));
      expect(text).not.toContain(bytes.toString("hex"));
      expect(text).not.toContain(bytes.toString("base64"));
    }
  });

  test("all memory is given back and wiped, and all private keys are disposed of", () => {
    const lent = new Set<Uint8Array>();
    let keys = 0;
    const primitives: Primitives = {
      ...systemPrimitives,
      privateKey: (secret) => {
        const key = systemPrimitives.privateKey(secret);
        keys++;
        let disposed = false;
        return {
          publicKey: key.publicKey,
          agree: (peer) => key.agree(peer),
          [Symbol.dispose]: () => {
            if (!disposed) keys--;
            disposed = true;
            key[Symbol.dispose]();
          },
        };
      },
    };
    const memory = {
      take: () => {
        const piece = ownMemory.take();
        lent.add(piece);
        return piece;
      },
      give: (piece: Uint8Array) => {
        expect(lent.delete(piece)).toBe(true);
        ownMemory.give(piece);
      },
    };
    const [aKey, bKey] = [PrivateKey.random(), PrivateKey.random()];
    const [a, b] = [new Device({ primitives, memory }), new Device({ primitives, memory })];
    const peer = (key: PrivateKey, number: number) => ({
      publicKey: key.publicKey,
      endpoint: parseEndpoint(`192.0.2.${number}:1`),
      allowedIps: [{ prefix: parsePrefix(`10.0.0.${number}/32`) }],
    });
    let nowMs = 0;
    const clock = () => ({ nowMs, wallMs: nowMs });
    act(a, { kind: "configure", configuration: { privateKey: aKey, peers: [peer(bKey, 2)] } }, clock());
    act(b, { kind: "configure", configuration: { privateKey: bKey, peers: [peer(aKey, 1)] } }, clock());
    const packet = ipv4Packet(parseIp("10.0.0.1"), { to: parseIp("10.0.0.2"), number: 1 });
    for (let round = 0; round < 20; round++) {
      nowMs += 125_000;
      let fromA = sendPacket(a, packet, clock()).datagrams;
      // Every third handshake is left hanging: its initiation is lost.
      for (let i = 0; i < (round % 3 === 2 ? 0 : 4); i++) {
        const fromB = fromA.flatMap(
          ({ bytes }) =>
            receiveDatagram(b, bytes, { ...clock(), from: parseEndpoint("192.0.2.1:1") }).datagrams,
        );
        fromA = fromB.flatMap(
          ({ bytes }) =>
            receiveDatagram(a, bytes, { ...clock(), from: parseEndpoint("192.0.2.2:1") }).datagrams,
        );
      }
      for (const device of [a, b]) act(device, { kind: "due" }, clock());
      expect(lent.size).toBeLessThanOrEqual(6 + 2);
      expect(keys).toBeLessThanOrEqual(4);
    }
    a[Symbol.dispose]();
    b[Symbol.dispose]();
    expect([lent.size, keys]).toEqual([0, 0]);
    expect(SESSION.bytes % 8).toBe(0);
  });
});

test("receiver indices are random, and never two alike", () => {
  // A generator that repeats itself: the second claim must go on until it finds a free index.
  const values = [1, 1, 1, 2];
  const primitives: Primitives = {
    ...systemPrimitives,
    random: (length) =>
      length === 4 ? Uint8Array.of(0, 0, 0, values.shift() ?? 99) : systemPrimitives.random(length),
  };
  using device = new Device({ primitives });
  const peers = [1, 2].map((n) => ({
    publicKey: PrivateKey.random().publicKey,
    endpoint: parseEndpoint(`192.0.2.${n}:1`),
    keepaliveSeconds: 1,
  }));
  const effects = device.step(
    { kind: "configure", configuration: { privateKey: PrivateKey.random(), peers } },
    { nowMs: 0, wallMs: 0 },
  );
  const indices = effects.flatMap((effect) => {
    const message = effect.kind === "send" ? decodeMessage(effect.datagram) : undefined;
    return message?.kind === "initiation" ? [message.sender] : [];
  });
  expect(indices).toEqual([1, 2]);
});
