import { expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { type End, Network } from "../../test/support/wireguard-ends.ts";
import { formatIp, parsePrefix, type PeerState, PrivateKey, type PublicKey } from "../net/mod.ts";
import { askNews, decodeNews, encodeNews, newsAsked, takeNews } from "./device-news.ts";
import { encodeErrno } from "./wireguard/mod.ts";

const INSIDE = parsePrefix("10.0.0.1/32");

/** A reader as UapiDevice is one, without the socket. */
class Reader {
  readonly peers = new Map<PublicKey, PeerState>();
  mark = 0;

  read({ device }: End): ReturnType<typeof decodeNews> {
    const news = decodeNews(encodeNews(device.news(this.mark)) + encodeErrno(0));
    takeNews(this.peers, news);
    this.mark = news.mark;
    return news;
  }
}

/** In one order, and with whole milliseconds, as they are told. */
const shown = (peers: Iterable<PeerState>) =>
  [...peers]
    .map(({ lastHandshakeMs: ms, ...peer }) => (ms === undefined ? peer : { ...peer, ms: Math.floor(ms) }))
    .sort((a, b) => (a.publicKey < b.publicKey ? -1 : 1));

const seed = newSeed();
test(`who follows the news of a device knows what it is (seed ${seed})`, () => {
  const random = new Random(seed);
  using network = new Network(seed);
  const near = network.add("near");
  const others = Array.from({ length: 12 }, (_, i) => network.add(`far${i}`));
  const readers = [new Reader(), new Reader()];
  const configure = (peer: object) =>
    network.step(near, { kind: "configure", configuration: { peers: [peer as never] } });
  for (let round = 0; round < 600; round++) {
    const other = random.pick(others);
    const { publicKey } = other.key;
    const prefix = parsePrefix(`${formatIp(random.pick(others).inner)}/32`);
    switch (random.below(8)) {
      case 0:
        network.meet(near, other);
        break;
      case 1:
        configure({ publicKey, remove: true });
        break;
      case 2:
        configure({ publicKey, allowedIps: [{ prefix }] });
        break;
      case 3:
        configure({ publicKey, replaceAllowedIps: true });
        break;
      case 4:
        configure({ publicKey, keepaliveSeconds: random.below(3), endpoint: other.endpoint });
        break;
      default:
        network.send(near, other, round);
        network.send(other, near, round);
        network.pass(random.below(2_000));
    }
    // One reader looks seldom.
    for (const [i, reader] of readers.entries()) {
      if (i === 1 && random.below(20) > 0) continue;
      reader.read(near);
      expect(shown(reader.peers.values())).toEqual(shown(near.device.read().peers));
    }
  }
});

test("a peer of which nothing is new is not told, and stays the value that it was", () => {
  using network = new Network(1);
  const [near, a, b] = [network.add("near"), network.add("a"), network.add("b")];
  network.meet(near, a);
  network.meet(near, b);
  const reader = new Reader();
  expect(reader.read(near)).toMatchObject({ whole: true, listenPort: near.device.read().listenPort });
  const before = reader.peers.get(b.key.publicKey);
  expect(reader.read(near)).toMatchObject({ whole: false, peers: [], gone: [] });
  network.send(near, a, 1);
  network.pass(100);
  expect(reader.read(near).peers.map(({ publicKey }) => publicKey)).toEqual([a.key.publicKey]);
  expect(reader.peers.get(b.key.publicKey)).toBe(before as PeerState);
});

test("who comes with a mark of another process, or with none, is told everything", () => {
  using network = new Network(1);
  const near = network.add("near");
  const reader = new Reader();
  reader.read(near);
  const { mark } = reader;
  for (const wrong of [0, 1, mark + 1_000, 2 ** 53]) expect(near.device.news(wrong).whole).toBe(true);
  expect(near.device.news(mark).whole).toBe(false);
});

test("a request for news is told from others, and an answer without a number is refused", () => {
  expect(newsAsked(askNews(17))).toBe(17);
  for (const text of [
    "get=1\n\n",
    "news=\n\n",
    "news=-1\n\n",
    "news=1\nset=1\n\n",
    `news=${"9".repeat(16)}\n\n`,
  ])
    expect(newsAsked(text)).toBeUndefined();
  expect(() => decodeNews(`listen_port=1\n${encodeErrno(0)}`)).toThrow("lacks a number");
  expect(() => decodeNews(encodeErrno(22))).toThrow();
});

test("it is told who is spoken to under the key before, who is just being moved, and when that is over", () => {
  using network = new Network(seed);
  const [hub, node] = [network.add("hub"), network.add("node")];
  const { publicKey } = node.key;
  network.meet(hub, node);
  network.send(hub, node, 1);
  network.pass(1_000);
  const reader = new Reader();
  const told = () => {
    reader.read(hub);
    const { former, moving } = reader.peers.get(publicKey) ?? {};
    return { former, moving };
  };
  const next = new PrivateKey(network.random.bytes(32));
  network.step(hub, { kind: "configure", configuration: { privateKey: next, formerKey: hub.key } });
  expect(told()).toEqual({ former: true, moving: undefined });
  const move = { publicKey, updateOnly: true, move: true };
  network.step(hub, { kind: "configure", configuration: { peers: [move] } });
  expect(told()).toEqual({ former: undefined, moving: true });
  const peers = [{ publicKey: next.publicKey, endpoint: hub.endpoint, allowedIps: [{ prefix: INSIDE }] }];
  network.step(node, { kind: "configure", configuration: { replacePeers: true, peers } });
  network.send(node, hub, 2);
  network.pass(10_000);
  expect(told()).toEqual({ former: undefined, moving: undefined });
});
