/** Many peers of one end, each with a handshake that was really made: as many devices in this process behind one UDP socket. */
import { formatIp, ip, type Ip, ipBytes, parseEndpoint, parsePrefix, PrivateKey } from "../../src/net/mod.ts";
import { boottimeMs, openUdp, wallMs } from "../../src/sys/mod.ts";
import {
  act,
  Device,
  MESSAGE,
  messageType,
  type Outcome,
  receiveDatagram,
  sendPacket,
} from "../../src/tunnel/wireguard/mod.ts";
import { PORT, type WireguardPair } from "./wireguard-pair.ts";

/** Slower than what any implementation takes for an attack: all come from one address. */
const PER_TURN = 3;
const TURN_MS = 10;
const LIMIT_MS = 30_000;

interface Stranger {
  readonly device: Device;
  readonly key: PrivateKey;
  readonly inside: Ip;
}

/** An IPv4 header and nothing else, which the far kernel throws away. */
function packet(from: Ip, to: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(20);
  bytes[0] = 0x45;
  bytes[3] = bytes.length;
  bytes.set(ipBytes(from), 12);
  bytes.set(to.split(".").map(Number), 16);
  return bytes;
}

/** addPeers gives the far end of a pair so many peers more, and makes a handshake with and sends a packet from each. */
export async function addPeers(pair: WireguardPair, count: number): Promise<void> {
  const { near, far } = pair.cable;
  const [, daemon] = pair.daemons;
  const clock = () => ({ nowMs: boottimeMs(), wallMs: wallMs() });
  const strangers = Array.from({ length: count }, (_, index): Stranger => {
    return { device: new Device(), key: PrivateKey.random(), inside: ip(4, 0x0a140000n + BigInt(index)) };
  });
  daemon.device.change({
    peers: strangers.map(({ key, inside }) => ({
      publicKey: key.publicKey,
      allowedIps: [parsePrefix(`${formatIp(inside)}/32`)],
    })),
  });

  /** Who made a receiver index. */
  const owners = new Map<number, Stranger>();
  const from = parseEndpoint(`${far.outside}:${PORT}`);
  const index = (bytes: Uint8Array, at: number) =>
    new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
  using socket = await openUdp({
    netns: near.netns,
    host: "0.0.0.0",
    onDatagram: ({ data }) => {
      const owner = owners.get(index(data, messageType(data) === MESSAGE.response ? 8 : 4));
      if (owner !== undefined) send(owner, receiveDatagram(owner.device, data, { ...clock(), from }));
    },
  });
  const send = (owner: Stranger, { datagrams }: Outcome) => {
    for (const { bytes } of datagrams) {
      if (messageType(bytes) === MESSAGE.initiation) owners.set(index(bytes, 4), owner);
      socket.send(bytes, far.outside, PORT);
    }
  };

  const peers = [
    {
      publicKey: (pair.keys[1] as PrivateKey).publicKey,
      endpoint: from,
      allowedIps: [{ prefix: parsePrefix("0.0.0.0/0") }],
    },
  ];
  const end = performance.now() + LIMIT_MS;
  const known = () => daemon.device.read().peers.filter((peer) => peer.lastHandshakeMs !== undefined).length;
  for (let begun = 0; begun < count || known() <= count; await Bun.sleep(TURN_MS)) {
    for (const each of strangers.slice(begun, begun + PER_TURN)) {
      act(each.device, { kind: "configure", configuration: { privateKey: each.key, peers } }, clock());
      send(each, sendPacket(each.device, packet(each.inside, far.inside), clock()));
    }
    begun += PER_TURN;
    if (begun < count) continue;
    if (performance.now() > end) throw new Error(`only ${known() - 1} of ${count} peers made a handshake`);
    for (const each of strangers) send(each, act(each.device, { kind: "due" }, clock()));
    await Bun.sleep(TURN_MS * 10);
  }
  for (const { device } of strangers) device[Symbol.dispose]();
}
