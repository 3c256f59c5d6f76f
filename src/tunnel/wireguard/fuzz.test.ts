/** Whatever comes from the network or from the link: no error, no growth, and the conversation goes on. */
import { describe, expect, test } from "bun:test";
import { newSeed } from "../../../test/support/random.ts";
import { ipv4Packet, Network } from "../../../test/support/wireguard-ends.ts";
import { type Endpoint, ip } from "../../net/mod.ts";
import { act, receiveDatagram, sendPacket, unpadded } from "./slow-path.ts";

/** Whether a copy is as good as the original: the second code of a handshake message counts only under load. */
function good(copy: Uint8Array, original: Uint8Array): boolean {
  const end = original.length === 148 || original.length === 92 ? original.length - 16 : original.length;
  return (
    copy.length === original.length && Buffer.compare(copy.subarray(0, end), original.subarray(0, end)) === 0
  );
}

const seed = newSeed();
describe(`seed ${seed}`, () => {
  test("mutated datagrams of a conversation, to both sides, at any moment", () => {
    for (let round = 0; round < 10; round++) {
      using network = new Network(seed + round);
      const { random } = network;
      const [a, b] = [network.add("a"), network.add("b")];
      network.meet(a, b);
      network.weather = { delayMs: 20, spreadMs: 50 };
      const recorded: Uint8Array<ArrayBuffer>[] = [];
      network.onDatagram = ({ bytes }) => {
        recorded[recorded.length < 500 ? recorded.length : random.below(500)] = bytes;
        return true;
      };
      let number = 0;
      for (let i = 0; i < 300; i++) {
        number++;
        network.send(a, b, number);
        network.send(b, a, number);
        network.pass(random.pick([1, 30, 1000, 6000]));
        for (let n = 0; n < 10; n++) {
          const from: Endpoint = random.chance(0.3)
            ? a.endpoint
            : { ip: ip(4, BigInt(random.u32())), port: 1 + random.below(65_535) };
          const original = random.pick(recorded);
          const bytes = random.mutate(original);
          // A copy that is still good may be the first to arrive, and is believed: from wherever it comes.
          if (!good(bytes, original)) network.deliver(random.pick([a, b]), bytes, from);
        }
        for (const { device } of [a, b]) expect(device.counts().indices).toBeLessThanOrEqual(5);
      }
      network.pass(2000);
      expect(new Set(a.heard).size).toBe(a.heard.length);
      expect([a.heard.length, b.heard.length]).toEqual([number, number]);
    }
  });

  test("random bytes as datagrams and as packets", () => {
    using network = new Network(seed);
    const { random } = network;
    const [a, b] = [network.add("a"), network.add("b")];
    network.meet(a, b);
    network.send(a, b, 1);
    network.pass(100);
    for (let i = 0; i < 20_000; i++) {
      const bytes = random.bytes(random.below(160));
      if (bytes.length > 4 && random.chance(0.9)) bytes.set([random.below(6), 0, 0, 0]);
      const outcome = receiveDatagram(b.device, bytes, { ...network.clock(b), from: a.endpoint });
      expect([outcome.datagrams, outcome.packets]).toEqual([[], []]);
      sendPacket(a.device, bytes, network.clock(a));
    }
    // Packets that were whole once, and carry lengths and addresses of their own.
    for (let i = 0; i < 5000; i++) {
      const packet = random.mutate(ipv4Packet(a.inner, { to: b.inner, number: i }));
      for (const { bytes } of sendPacket(a.device, packet, network.clock(a)).datagrams)
        for (const got of receiveDatagram(b.device, bytes, { ...network.clock(b), from: a.endpoint })
          .packets) {
          expect(got.length).toBeGreaterThanOrEqual(20);
          expect(got.length).toBe(((got[2] as number) << 8) | (got[3] as number));
        }
      network.pass(1);
    }
    act(a.device, { kind: "due" }, network.clock(a));
  });

  test("what padding is cut off never reaches beyond the packet", () => {
    using network = new Network(seed);
    const { random } = network;
    for (let i = 0; i < 20_000; i++) {
      const bytes = random.bytes(random.below(100));
      if (bytes.length > 0) bytes[0] = random.pick([0x45, 0x60, random.below(256)]);
      const packet = unpadded(bytes);
      if (packet === undefined) continue;
      expect(packet.length).toBeLessThanOrEqual(bytes.length);
      expect(packet.length).toBeGreaterThanOrEqual((packet[0] as number) >> 4 === 4 ? 20 : 40);
    }
  });
});
