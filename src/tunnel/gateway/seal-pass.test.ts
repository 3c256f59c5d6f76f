/** SealPass against what it stands for: EspFraming.seal and layXdpHeader, packet by packet. */
import { expect, test } from "bun:test";
import { ipsecMbFolders } from "../../../test/support/ipsec-mb.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { mac, parseIp } from "../../net/mod.ts";
import { AEAD_BATCH, AEAD_TAG, AeadBatch, Arena, ArenaPool } from "../../sys/mod.ts";
import { ESP_HEAD_BYTES, EspFraming } from "../esp/mod.ts";
import { chooseAead } from "../path/mod.ts";
import { layXdpHeader, XDP_ENDPOINT } from "../xdp/xdp-endpoint.ts";
import { Outbound } from "./gateway-association.ts";
import { GatewayRoute } from "./gateway-route.ts";
import { PacketGroups } from "./packet-groups.ts";
import { SealPass } from "./seal-pass.ts";
import { Side } from "./side.ts";

const FRAME = 2048;
const arena = new Arena({ bytes: 48 << 20 });
const { provider } = chooseAead(arena, { folders: ipsecMbFolders() });
const pool = new ArenaPool(arena, { bytes: XDP_ENDPOINT.bytes, most: 1000 });
const framesAt = arena.allocatePages(FRAME * AEAD_BATCH);
const roomAt = (at: number) => FRAME - ((at - framesAt) & (FRAME - 1));
const neighbour = mac(0x02_00_00_00_00_07);
const four = { ip: parseIp("192.0.2.1"), nextHop: parseIp("192.0.2.2"), nextHopMac: neighbour };
const six = { ip: parseIp("2001:db8::1"), nextHop: parseIp("2001:db8::2"), nextHopMac: neighbour };
const side = new Side({ mac: mac(0x02_00_00_00_00_08), four, six });

/** An association of a random kind, with what is the same for all of its packets. */
function association(random: Random) {
  const isFour = random.chance(0.6);
  return new Outbound(
    { provider, arena, pool, route: new GatewayRoute(0, "far"), keyId: "" },
    {
      route: "far",
      spi: 256 + random.below(2 ** 32 - 256),
      algorithm: "aes-128-gcm",
      keyMaterial: random.bytes(20),
      extended: random.chance(0.5),
      next: 1,
      to: parseIp(isFour ? "203.0.113.9" : "2001:db8:9::9"),
      ...(random.chance(0.5) ? { udp: { from: 4500, to: 1 + random.below(65_535) } } : {}),
    },
  );
}

/** What both leave behind: the frames without the room for tags, and what the AEAD reads. */
function written(batch: AeadBatch) {
  const tagged = arena.copy(framesAt, FRAME * AEAD_BATCH);
  const list = (at: number) => [...arena.copy(at, batch.count * 8)];
  for (let i = 0; i < batch.count; i++) {
    const end = batch.textAt(i) + batch.lengthOf(i) - framesAt;
    tagged.fill(0, end, end + AEAD_TAG);
  }
  return {
    lists: [batch.texts, batch.lengths, batch.tags].map(list),
    nonces: Array.from({ length: batch.count }, (_, i) => arena.copy(batch.nonceAt(i), 12)),
    additional: Array.from({ length: batch.count }, (_, i) =>
      arena.copy(batch.additionalAt(i), batch.additionalBytes),
    ),
    frames: Buffer.from(tagged).toString("hex"),
  };
}

const seed = newSeed();
test(`frames, nonces and additional data are those of the slow way (SEED=${seed})`, () => {
  const random = new Random(seed);
  const noise = random.bytes(FRAME * AEAD_BATCH);
  const [slow, fast] = [new AeadBatch(arena, "seal"), new AeadBatch(arena, "seal")];
  for (let round = 0; round < 150; round++) {
    using outbound = association(random);
    outbound.aim(side);
    const groups = new PacketGroups<Outbound>();
    const before = noise.slice();
    const leastBytes = random.chance(0.5) ? 0 : 40 + random.below(1400);
    const packets = Array.from({ length: 1 + random.below(AEAD_BATCH) }, (_, i) => {
      const at = framesAt + i * FRAME + 256 + random.below(40);
      const bytes = 20 + random.below(random.chance(0.5) ? 60 : 1800);
      before[at - framesAt] = random.pick([0x45, 0x60]);
      return { at, bytes };
    });
    // Now and then over the border of the lower half.
    const first = outbound.association.extended ? random.pick([1, 2 ** 32 - 20, 2 ** 40 + 5]) : 2 ** 32 - 200;
    for (const { at, bytes } of packets) groups.add(outbound, at, bytes);

    arena.store(framesAt, before);
    const framing = new EspFraming(arena, { tfcBytes: leastBytes });
    slow.clear();
    let dropped = 0;
    let sum = 0;
    for (const { at, bytes } of packets) {
      const esp = at - ESP_HEAD_BYTES;
      const espBytes = framing.frameBytes(bytes);
      if (espBytes > roomAt(esp)) {
        dropped++;
        continue;
      }
      framing.seal(slow, esp, bytes, outbound.association, first + slow.count);
      layXdpHeader(arena, outbound.endpoint, esp - outbound.headerBytes, espBytes);
      sum += bytes;
    }
    const expected = written(slow);

    arena.store(framesAt, before);
    const pass = new SealPass(fast, { roomAt });
    pass.fill(outbound, groups, first, leastBytes);
    expect(written(pass.batch)).toEqual(expected);
    expect([pass.dropped, pass.bytes]).toEqual([dropped, sum]);
  }
});
