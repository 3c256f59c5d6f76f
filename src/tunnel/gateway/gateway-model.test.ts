/**
 * A gateway against a slow model of what it should let through: headers of every kind of wrong, in turns of every size, so that packets of the
 * loops for plain ones and of the way for all others come mixed.
 */
import { expect, test } from "bun:test";
import { handOpen, handSeal, trailed } from "../../../test/support/esp-memory.ts";
import { ADDRESS, GatewayLoop, ip, KEY, SPI } from "../../../test/support/gateway-loop.ts";
import { onesSum } from "../../../test/support/packets.ts";
import { newSeed, Random } from "../../../test/support/random.ts";

const MTU = 500;
const WINDOW = 64;
const UDP = 17;
const own = ADDRESS[4];
const association = { algorithm: "aes-128-gcm", keyMaterial: KEY, spi: SPI, extended: true } as const;

/** Addresses: of hosts on both sides, of a host in the second prefix of the route, of the gateway, of nobody, and such that nothing is forwarded to. */
const NEAR = [own.host, "10.0.0.77"];
const FAR = [own.remote, "10.1.200.3"];
const OWN: readonly string[] = [own.private, own.public];
const ELSEWHERE = ["10.9.0.1", "192.0.2.55"];
const NEVER = ["127.0.0.1", "224.0.0.9", "255.255.255.255", "169.254.3.4", "0.0.0.0", "240.1.1.1"];

/** The address of a packet, mostly one of `usual`. */
const address = (random: Random, usual: readonly string[]) =>
  random.pick(random.chance(0.8) ? usual : [...NEAR, ...FAR, ...OWN, ...ELSEWHERE, ...NEVER]);

/** An IPv4 packet, mostly a good one. */
function packet(random: Random, from: readonly string[], to: readonly string[]): Uint8Array<ArrayBuffer> {
  const bytes = ip({
    from: address(random, from),
    to: address(random, to),
    protocol: UDP,
    payload: random.bytes(random.below(random.chance(0.9) ? 60 : 600)),
    ttl: random.chance(0.9) ? 2 + random.below(254) : random.below(3),
    fragment: random.pick([0, 0x4000]),
  });
  const options = random.chance(0.1) ? 4 * (1 + random.below(10)) : 0;
  const header = 20 + options;
  const all = new Uint8Array([...bytes.subarray(0, 20), ...new Uint8Array(options), ...bytes.subarray(20)]);
  const view = new DataView(all.buffer);
  // Of the header's length and the packet's.
  all[0] = 0x40 | (random.chance(0.95) ? header / 4 : random.below(16));
  view.setUint16(2, random.chance(0.95) ? all.length : random.below(700));
  view.setUint16(10, 0);
  const says = Math.min(((all[0] ?? 0) & 15) * 4, all.length & -2);
  view.setUint16(10, ~onesSum(all.subarray(0, says)) & 0xffff);
  if (random.chance(0.03)) all[random.below(20)] = random.below(256);
  return all;
}

const text = (bytes: Uint8Array) => [...bytes].join(".");
const inRoute = (host: string) => host.startsWith("10.0.0.") || host.startsWith("10.1.");

/** What of a packet is forwarded; nothing if it is not: RFC 1812 sections 5.2.2 and 5.3, as slowly as it is said there. */
function forwarded(bytes: Uint8Array): { from: string; to: string; packet: Uint8Array } | undefined {
  if (bytes.length < 20 || (bytes[0] as number) >>> 4 !== 4) return undefined;
  const header = ((bytes[0] as number) & 15) * 4;
  const total = ((bytes[2] as number) << 8) | (bytes[3] as number);
  if (header < 20 || total < header || total > bytes.length) return undefined;
  if (onesSum(bytes.subarray(0, header)) !== 0xffff || (bytes[8] as number) < 2) return undefined;
  const [from, to] = [text(bytes.subarray(12, 16)), text(bytes.subarray(16, 20))];
  const isNever = (host: string) => {
    const [a, b] = host.split(".").map(Number) as [number, number];
    return a === 0 || a === 127 || a > 223 || (a === 169 && b === 254);
  };
  if (isNever(from) || isNever(to) || OWN.includes(from) || to === own.private) return undefined;
  const packet = bytes.slice(0, total);
  packet[8] = (packet[8] as number) - 1;
  packet.fill(0, 10, 12);
  const sum = ~onesSum(packet.subarray(0, header)) & 0xffff;
  packet.set([sum >> 8, sum & 255], 10);
  return { from, to, packet };
}

/** One's complement has two zeros: an update (RFC 1624) and a new sum may differ in that. */
function normal(packet: Uint8Array): string {
  const copy = packet.slice();
  if (copy[10] === 0xff && copy[11] === 0xff) copy.fill(0, 10, 12);
  return Buffer.from(copy).toString("hex");
}

const seed = newSeed();

test(`what leaves for the tunnel, in order, under the next numbers (SEED=${seed})`, () => {
  const random = new Random(seed);
  const loop = new GatewayLoop({ mtuBytes: MTU }).join();
  let sequence = 1n;
  for (let turn = 0; turn < 150; turn++) {
    loop.nowMs += 1000;
    const packets = Array.from({ length: 1 + random.below(80) }, () => packet(random, NEAR, FAR));
    // Behind a packet there may be padding of the link.
    const padded = packets.map(
      (bytes) => new Uint8Array([...bytes, ...random.bytes(random.pick([0, 0, 7]))]),
    );
    const expected = padded
      .map(forwarded)
      .filter((one) => one !== undefined && inRoute(one.to) && one.packet.length <= MTU)
      .map((one) => normal((one as { packet: Uint8Array }).packet));
    const { wire } = loop.fromHost(...padded);
    const sealed = wire.filter((frame) => frame[23] === 50);
    const opened = sealed.map((frame) => {
      const inner = handOpen(frame.slice(34), { ...association, sequence: sequence++ });
      const total = ((inner[2] as number) << 8) | (inner[3] as number);
      expect(Buffer.from(inner)).toEqual(Buffer.from(trailed(inner.subarray(0, total), 4)));
      return normal(inner.subarray(0, total));
    });
    expect(opened).toEqual(expected);
  }
  expect(loop.allFree()).toBe(true);
});

test(`what comes out of the tunnel, in order, each number once (SEED=${seed})`, () => {
  const random = new Random(seed);
  const loop = new GatewayLoop({ mtuBytes: MTU }).join({ inbound: { windowPackets: WINDOW } });
  const seen = new Set<number>();
  let newest = 0;
  for (let turn = 0; turn < 150; turn++) {
    loop.nowMs += 1000;
    const expected: string[] = [];
    let next = newest;
    const isOrderly = random.chance(0.5);
    const sent = Array.from({ length: 1 + random.below(80) }, () => {
      const inner = packet(random, FAR, NEAR);
      const sequence =
        isOrderly || random.chance(0.9) ? ++next : Math.max(1, next - random.below(2 * WINDOW) + 20);
      const isForged = random.chance(0.05);
      const kind = random.chance(0.97) ? 4 : random.pick([41, 59, 6]);
      const sealed = handSeal({ ...association, sequence: BigInt(sequence), text: trailed(inner, kind) });
      if (isForged) sealed[20] = (sealed[20] as number) ^ 1;
      const isNew = !isForged && !seen.has(sequence) && sequence > newest - WINDOW;
      if (isNew) {
        seen.add(sequence);
        newest = Math.max(newest, sequence);
        const out = forwarded(inner);
        if (kind === 4 && out !== undefined && inRoute(out.from)) expected.push(normal(out.packet));
      }
      return ip({ from: "192.0.2.9", to: own.public, protocol: 50, payload: sealed });
    });
    const { host } = loop.fromWire(...sent);
    expect(host.map((frame) => normal(frame.slice(14)))).toEqual(expected);
  }
  expect(loop.allFree()).toBe(true);
});
