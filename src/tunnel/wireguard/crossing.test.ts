/** Two that begin at once, each by a relay of its own: which knows the session alone whose handshake went by it. */
import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { ipv4Packet, seeded } from "../../../test/support/wireguard-ends.ts";
import {
  type Endpoint,
  formatEndpoint,
  parseEndpoint,
  parseIp,
  parsePrefix,
  PrivateKey,
} from "../../net/mod.ts";
import { configurationOf } from "./configuration.ts";
import { Device } from "./device.ts";
import { act, type Outcome, receiveDatagram, sendPacket } from "./slow-path.ts";

const RELAYS = ["192.0.2.1:51820", "192.0.2.2:51820"].map(parseEndpoint) as [Endpoint, Endpoint];
const INNER = ["10.0.0.1", "10.0.0.2"] as const;
const PACKETS = 60;
const [INITIATION, RESPONSE] = [1, 2];

/** lostOf has both send packet after packet, and returns how many did not arrive. */
function lostOf(random: Random): number {
  const keys = [0, 1].map(() => new PrivateKey(random.bytes(32))) as [PrivateKey, PrivateKey];
  using stack = new DisposableStack();
  const devices = [0, 1].map(() => stack.use(new Device({ primitives: seeded(random) }))) as [Device, Device];
  const clock = (nowMs: number) => ({ nowMs, wallMs: 1_700_000_000_000 + nowMs });
  const circuits = new Set<string>();
  const arrivals: { atMs: number; run: (nowMs: number) => void }[] = [];
  let arrived = 0;
  const carry = (side: 0 | 1, { datagrams, packets }: Outcome, nowMs: number): void => {
    arrived += packets.length;
    for (const { to, bytes } of datagrams) {
      const word = (at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
      const [relay, other] = [formatEndpoint(to), side === 0 ? 1 : 0] as const;
      if (bytes[0] !== INITIATION && !circuits.has(`${relay} ${side} ${word(bytes[0] === RESPONSE ? 8 : 4)}`))
        continue;
      if (bytes[0] === INITIATION || bytes[0] === RESPONSE) circuits.add(`${relay} ${other} ${word(4)}`);
      arrivals.push({
        atMs: nowMs + 2,
        run: (atMs) =>
          carry(other, receiveDatagram(devices[other], bytes, { ...clock(atMs), from: to }), atMs),
      });
    }
  };
  for (const side of [0, 1] as const) {
    const other = side === 0 ? 1 : 0;
    const allowedIps = [parsePrefix(`${INNER[other]}/32`)];
    const peer = { publicKey: keys[other].publicKey, endpoint: RELAYS[side], allowedIps };
    const configuration = { privateKey: keys[side], ...configurationOf({ peers: [peer] }) };
    carry(side, act(devices[side], { kind: "configure", configuration }, clock(0)), 0);
    const beginMs = random.below(3);
    for (let number = 0; number < PACKETS; number++)
      arrivals.push({
        atMs: 1 + beginMs + number,
        run: (atMs) => {
          const packet = ipv4Packet(parseIp(INNER[side]), { to: parseIp(INNER[other]), number });
          carry(side, sendPacket(devices[side], packet, clock(atMs)), atMs);
        },
      });
  }
  for (let nowMs = 1; arrivals.length > 0; nowMs++)
    for (
      let at = arrivals.findIndex(({ atMs }) => atMs <= nowMs);
      at >= 0;
      at = arrivals.findIndex(({ atMs }) => atMs <= nowMs)
    )
      arrivals.splice(at, 1)[0]?.run(nowMs);
  return 2 * PACKETS - arrived;
}

const seed = newSeed();
test(`nothing is lost (seed ${seed})`, () => {
  for (let round = 0; round < 40; round++)
    expect([round, lostOf(new Random(seed + round))]).toEqual([round, 0]);
});
