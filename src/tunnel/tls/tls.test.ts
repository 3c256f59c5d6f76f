/** Both sides of TLS on loopback, with sockets that stand for the tunnels. */
import { describe, expect, test } from "bun:test";
import { connectTls, type TlsStream } from "../../sys/mod.ts";
import { DEFAULT_LIMITS } from "./admission.ts";
import { makeCertificate } from "./certificate.ts";
import { FrameReader, greeting } from "./frame.ts";
import { DEFAULT_TIMES, type ListenerOptions, TlsListener } from "./listener.ts";
import { pauseMs, TlsUplink, type UplinkOptions } from "./uplink.ts";

const certificate = makeCertificate();
const DATA = 4;
const COOKIE = 3;

async function until(what: string, predicate: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!predicate()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(5);
  }
}

/** A datagram that begins with a kind of WireGuard's and holds a number. */
function datagram(kind: number, number: number, bytes = 100): Uint8Array {
  const made = new Uint8Array(bytes).fill(number & 255);
  made[0] = kind;
  new DataView(made.buffer).setUint32(4, number);
  return made;
}

/** What stands for a tunnel: a UDP socket that remembers what came, and from where. */
async function tunnel(answer?: (bytes: Uint8Array) => Uint8Array | undefined) {
  const got: { readonly number: number; readonly bytes: number; readonly from: string }[] = [];
  const socket = await Bun.udpSocket({
    hostname: "127.0.0.1",
    binaryType: "uint8array",
    socket: {
      data(own, bytes, port, address) {
        got.push({
          number: new DataView(bytes.buffer).getUint32(4),
          bytes: bytes.length,
          from: `${address}:${port}`,
        });
        const reply = answer?.(bytes);
        if (reply !== undefined) own.send(reply, port, address);
      },
      error() {},
    },
  });
  return {
    got,
    port: socket.port,
    send: (bytes: Uint8Array, to: string) => {
      const [address = "", port] = to.split(":");
      return socket.send(bytes, Number(port), address);
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

const listen = (tunnelPort: number, more: Partial<ListenerOptions> = {}) =>
  TlsListener.start({
    address: "127.0.0.1",
    port: 0,
    certificate: certificate.certificatePem,
    key: certificate.keyPem,
    tunnelPort,
    ...more,
  });

const uplink = (hubPort: number, tunnelPort: number, more: Partial<UplinkOptions> = {}) =>
  TlsUplink.start({
    name: "hub",
    host: "127.0.0.1",
    port: hubPort,
    trust: { kind: "key", sha256: certificate.pin },
    tunnelPort,
    ...more,
  });

/** A stranger who speaks TLS. */
async function stranger(port: number, first: Uint8Array) {
  const heard: Uint8Array[] = [];
  const state = { closed: false };
  const reader = new FrameReader({ datagram: (bytes) => heard.push(bytes.slice()) });
  const stream: TlsStream = await connectTls({
    host: "127.0.0.1",
    port,
    trust: { kind: "key", sha256: certificate.pin },
    timeoutMs: 5000,
    events: { data: (bytes) => void reader.read(bytes), closed: () => (state.closed = true) },
  });
  stream.write(first, new Uint8Array(0));
  const say = (bytes: Uint8Array) =>
    stream.write(Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes);
  return { stream, heard, state, say };
}

const session = (byte: number) => byte.toString(16).padStart(2, "0").repeat(16);

describe("an uplink and a listener", () => {
  test("datagrams of every length go both ways; each node has an endpoint of its own, which is loopback", async () => {
    using hub = await tunnel((bytes) => bytes);
    using listener = listen(hub.port);
    using one = await tunnel();
    using two = await tunnel();
    using first = await uplink(listener.status.port, one.port);
    using second = await uplink(listener.status.port, two.port);
    await until("both are open", () => [first, second].every(({ status }) => status.state === "open"));
    const lengths = [8, 100, 1500, 9000, 65_507];
    for (const [i, length] of lengths.entries()) {
      one.send(datagram(DATA, i, length), `127.0.0.1:${first.status.localPort}`);
      await until("the answer", () => one.got.length === i + 1);
    }
    expect(one.got.map(({ bytes }) => bytes)).toEqual(lengths);
    expect(one.got.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4]);
    two.send(datagram(DATA, 99), `127.0.0.1:${second.status.localPort}`);
    await until("the answer", () => two.got.length === 1);
    const places = new Set(hub.got.map(({ from }) => from));
    expect(places.size).toBe(2);
    for (const place of places) expect(place).toMatch(/^127\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./);
    expect(listener.status).toMatchObject({ connections: 2, guests: 0, sessions: 2, received: 6, sent: 6 });
    expect(first.status).toMatchObject({ sent: 5, received: 5, opened: 1 });
  });

  test("only the tunnel's own port is listened to, on both sides", async () => {
    using hub = await tunnel((bytes) => bytes);
    using listener = listen(hub.port);
    using node = await tunnel();
    using other = await tunnel();
    using way = await uplink(listener.status.port, node.port);
    other.send(datagram(DATA, 1), `127.0.0.1:${way.status.localPort}`);
    await until("it is open", () => way.status.state === "open");
    other.send(datagram(DATA, 2), `127.0.0.1:${way.status.localPort}`);
    node.send(datagram(DATA, 3), `127.0.0.1:${way.status.localPort}`);
    await until("an answer", () => node.got.length === 1);
    expect(hub.got.map(({ number }) => number)).toEqual([3]);
    other.send(datagram(DATA, 4), hub.got[0]?.from as string);
    hub.send(datagram(DATA, 5), hub.got[0]?.from as string);
    await until("the other", () => node.got.length === 2);
    expect(node.got.map(({ number }) => number)).toEqual([3, 5]);
  });

  test("a handshake that was said too early is said again when the connection is open", async () => {
    using hub = await tunnel((bytes) => bytes);
    const listener = listen(hub.port);
    const { port } = listener.status;
    listener.close();
    using node = await tunnel();
    using way = await uplink(port, node.port);
    await until("it fails", () => way.status.state === "waiting");
    node.send(datagram(1, 7, 148), `127.0.0.1:${way.status.localPort}`);
    node.send(datagram(DATA, 8, 1400), `127.0.0.1:${way.status.localPort}`);
    using _ = listen(hub.port, { port });
    await until("the answer", () => node.got.length > 0);
    expect(node.got.map(({ number }) => number)).toEqual([7]);
  });

  test("a node that comes back is where it was, also when the hub has not noticed that it was gone, or starts anew", async () => {
    using hub = await tunnel((bytes) => bytes);
    const listener = listen(hub.port);
    const { port } = listener.status;
    const greet = greeting(session(1));
    const first = await stranger(port, greet);
    first.say(datagram(DATA, 1));
    await until("an answer", () => first.heard.length === 1);
    const second = await stranger(port, greet);
    await until("the first is closed", () => first.state.closed);
    hub.send(datagram(DATA, 2), hub.got[0]?.from as string);
    await until("it hears", () => second.heard.length === 1);
    expect(listener.status).toMatchObject({ sessions: 1, guests: 0 });
    listener.close();
    await until("the second is closed", () => second.state.closed);
    using again = listen(hub.port, { port });
    const third = await stranger(port, greet);
    third.say(datagram(DATA, 3));
    await until("an answer", () => third.heard.length === 1);
    expect(new Set(hub.got.map(({ from }) => from)).size).toBe(1);
    expect(again.status.sessions).toBe(1);
    third.stream.close();
  });

  test("pauses between attempts grow to some seconds, and are not the same for all", () => {
    expect(pauseMs(0, 0.5)).toBe(100);
    expect([1, 2, 3, 8, 100].map((failures) => pauseMs(failures, 0))).toEqual([125, 250, 500, 2500, 2500]);
    expect(pauseMs(100, 0.5)).toBe(3750);
  });
});

describe("strangers", () => {
  const times = { ...DEFAULT_TIMES, handshakeMs: 300, guestMs: 1500 };

  test("whom the tunnel does not answer is closed, whatever it says; a cookie reply is no answer", async () => {
    using hub = await tunnel((bytes) => (bytes[0] === 1 ? datagram(COOKIE, 0, 64) : undefined));
    using listener = listen(hub.port, { times });
    const guest = await stranger(listener.status.port, greeting(session(2)));
    const chatter = setInterval(() => guest.say(datagram(1, 0, 148)), 5);
    await until("it hears the cookie", () => guest.heard.length > 0);
    expect(listener.status.guests).toBe(1);
    await until("it is closed", () => guest.state.closed);
    clearInterval(chatter);
    expect(hub.got.length).toBeLessThanOrEqual(64);
    expect(listener.status.unwelcome).toBeGreaterThan(0);
    await until("nothing is left of it", () => listener.status.connections + listener.status.sessions === 0);
  });

  test("whom it answered and answers no more is closed as well", async () => {
    let answers = true;
    using hub = await tunnel((bytes) => (answers ? bytes : undefined));
    using listener = listen(hub.port, { times: { ...times, silenceMs: 1500 } });
    const guest = await stranger(listener.status.port, greeting(session(3)));
    guest.say(datagram(DATA, 1));
    await until("an answer", () => guest.heard.length === 1);
    answers = false;
    const chatter = setInterval(() => guest.say(datagram(DATA, 0)), 50);
    await until("it is closed", () => guest.state.closed);
    clearInterval(chatter);
  });

  test("silence after TCP, silence after TLS, and other protocols inside: closed; nothing of it comes to the tunnel", async () => {
    using hub = await tunnel();
    using listener = listen(hub.port, { times });
    const { port } = listener.status;
    const plain = { closed: 0 };
    for (const text of ["", "GET / HTTP/1.1\r\n\r\n"])
      await Bun.connect({
        hostname: "127.0.0.1",
        port,
        socket: {
          open: (socket) => void socket.write(text),
          data() {},
          close: () => void plain.closed++,
          error() {},
        },
      });
    const silent = await stranger(port, new Uint8Array(0));
    const web = await stranger(port, new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
    const empty = await stranger(port, new Uint8Array([...greeting(session(4)), 0, 0]));
    await until(
      "all are closed",
      () => plain.closed === 2 && [silent, web, empty].every(({ state }) => state.closed),
    );
    await until("nothing is left", () => listener.status.connections + listener.status.sessions === 0);
    expect(hub.got).toEqual([]);
    expect(listener.status.failedHandshakes).toBe(2);
  });

  test("a flood of connections: bounded, and who is known goes on", async () => {
    using hub = await tunnel((bytes) => (bytes[0] === DATA ? bytes : undefined));
    const limits = {
      ...DEFAULT_LIMITS,
      guests: 20,
      guestsPerSource: 20,
      connections: 40,
      burst: 60,
      perSecond: 1,
    };
    using listener = listen(hub.port, { times: { ...times, handshakeMs: 5000 }, limits });
    using node = await tunnel();
    using way = await uplink(listener.status.port, node.port);
    const ask = () => node.send(datagram(DATA, 1), `127.0.0.1:${way.status.localPort}`);
    await until("it is known", () => {
      ask();
      return node.got.length > 0;
    });
    let closed = 0;
    for (let i = 0; i < 200; i++) {
      await Bun.connect({
        hostname: "127.0.0.1",
        port: listener.status.port,
        socket: { data() {}, close: () => void closed++, error() {} },
      });
      expect(listener.status.guests).toBeLessThanOrEqual(20);
      expect(listener.status.connections).toBeLessThanOrEqual(40);
    }
    await until("most are gone", () => closed >= 179);
    expect(listener.status.refused).toBeGreaterThanOrEqual(140);
    const before = node.got.length;
    ask();
    await until("an answer", () => node.got.length > before);
    expect(way.status.opened).toBe(1);
  });

  test("a reader that stalls: what waits is bounded, the rest is dropped, and others do not feel it", async () => {
    using hub = await tunnel((bytes) => (bytes.length < 200 ? bytes : undefined));
    using listener = listen(hub.port);
    const hello = datagram(DATA, 1);
    const stalled = await Bun.connect({
      hostname: "127.0.0.1",
      port: listener.status.port,
      tls: { rejectUnauthorized: false },
      socket: {
        handshake: (socket) =>
          void socket.write(Buffer.from([...greeting(session(5)), 0, hello.length, ...hello])),
        data: (socket) => socket.pause(),
      },
    });
    await until("the tunnel knows it", () => hub.got.length === 1 && listener.status.sent === 1);
    const place = hub.got[0]?.from as string;
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    // 250 MB: far more than may wait, and than what the test itself leaves behind.
    for (let i = 0; i < 500; i++) {
      for (let j = 0; j < 50; j++) hub.send(datagram(DATA, i, 10_000), place);
      await Bun.sleep(0);
    }
    await until("much is dropped", () => listener.status.dropped > 1000);
    Bun.gc(true);
    expect(process.memoryUsage.rss() - before).toBeLessThan(128 << 20);
    const other = await stranger(listener.status.port, greeting(session(6)));
    other.say(datagram(DATA, 2));
    await until("the other hears", () => other.heard.length === 1);
    stalled.terminate();
    other.stream.close();
  });
});
