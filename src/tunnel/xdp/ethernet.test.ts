import { expect, test } from "bun:test";
import { newSeed, Random } from "../../../test/support/random.ts";
import { Arena } from "../../sys/mod.ts";
import { parseIp } from "../../net/mod.ts";
import { EthernetReader, headerSum } from "./ethernet.ts";
import { layXdpHeader, setXdpEndpoint, XDP_ENDPOINT } from "./xdp-endpoint.ts";

const mac = new Uint8Array([2, 0, 0, 0, 0, 1]);
const nextHop = new Uint8Array([0xfe, 0xff, 0xff, 0, 0, 2]);
const endpoints = {
  "ESP over IPv4": { from: parseIp("192.0.2.1"), to: parseIp("198.51.100.255") },
  "UDP over IPv4": {
    from: parseIp("192.0.2.1"),
    to: parseIp("255.255.255.254"),
    udp: { from: 51820, to: 4500 },
  },
  "ESP over IPv6": { from: parseIp("2001:db8::1"), to: parseIp("2001:db8::2") },
} as const;

test("the sum of RFC 1071 section 3, and an IPv4 header as it is found in the wild", () => {
  const example = new DataView(new Uint8Array([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).buffer);
  expect(headerSum(example, 0, 8)).toBe(0xddf2);
  const header = Buffer.from("450000730000400040 11b861c0a80001c0a800c7".replace(" ", ""), "hex");
  expect(headerSum(new DataView(header.buffer, header.byteOffset), 0, 20)).toBe(0xffff);
});

test.each(Object.entries(endpoints))("%s: headers that are laid are read again", (_, addresses) => {
  const arena = new Arena({ bytes: 1 << 18 });
  const [endpoint, frame] = [arena.allocate(XDP_ENDPOINT.bytes), arena.allocate(70_000)];
  setXdpEndpoint(arena, endpoint, { nextHop, mac, ...addresses });
  const headers = arena.view.getInt32(endpoint + XDP_ENDPOINT.headerBytes, true);
  const reader = new EthernetReader(arena, nextHop);
  for (const bytes of [1, 2, 64, 1400, 9000, 65_000]) {
    layXdpHeader(arena, endpoint, frame, bytes);
    expect(reader.read(frame, headers + bytes)).toBe(true);
    expect(reader.isOurs(frame)).toBe(true);
    expect(reader.packetBytes).toBe(headers - 14 + bytes);
    expect(reader.protocol).toBe("udp" in addresses ? 17 : 50);
    expect(reader.isFragment).toBe(false);
    if ("udp" in addresses) expect(arena.view.getUint16(frame + 14 + 20 + 4)).toBe(8 + bytes);
    // Padding behind is not the packet's; a byte less is not a packet.
    expect(reader.read(frame, headers + bytes + 18)).toBe(true);
    expect(reader.packetBytes).toBe(headers - 14 + bytes);
    expect(reader.read(frame, headers + bytes - 1)).toBe(false);
  }
  expect(new EthernetReader(arena, mac).isOurs(frame)).toBe(false);
});

test("endpoints that cannot be", () => {
  const arena = new Arena({ bytes: 65_536 });
  const at = arena.allocate(XDP_ENDPOINT.bytes);
  const [from, to] = [parseIp("2001:db8::1"), parseIp("192.0.2.1")];
  expect(() => setXdpEndpoint(arena, at, { nextHop, mac, from, to })).toThrow("two families");
});

const seed = newSeed();
test(`nothing that is read reaches over the end of its frame (SEED=${seed})`, () => {
  const random = new Random(seed);
  const arena = new Arena({ bytes: 1 << 17 });
  const [endpoint, frame] = [arena.allocate(XDP_ENDPOINT.bytes), arena.allocate(4096)];
  const reader = new EthernetReader(arena, mac);
  let sound = 0;
  const all = Object.values(endpoints);
  for (let round = 0; round < 20_000; round++) {
    setXdpEndpoint(arena, endpoint, { nextHop, mac, ...(all[round % 3] as (typeof all)[number]) });
    const payload = 1 + random.below(100);
    layXdpHeader(arena, endpoint, frame, payload);
    const whole = arena.view.getInt32(endpoint, true) + payload;
    for (let i = random.below(3); i > 0; i--) arena.u8[frame + 12 + random.below(44)] = random.below(256);
    const bytes = random.chance(0.5) ? whole : random.below(whole + 10);
    if (!reader.read(frame, bytes)) continue;
    sound++;
    expect(14 + reader.packetBytes).toBeLessThanOrEqual(bytes);
    expect(reader.headerBytes).toBeLessThanOrEqual(reader.packetBytes);
    expect(reader.headerBytes).toBeGreaterThanOrEqual(20);
  }
  expect(sound).toBeGreaterThan(2000);
});
