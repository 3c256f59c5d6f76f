/** RFC 4861 sections 6.1.1 and 6.1.2: which router messages are to be dropped. */
import { describe, expect, test } from "bun:test";
import { formatIp, ipBytes, parseIp } from "../../net/mod.ts";
import { decodeRouterMessage, encodeAdvertisement, encodeSolicitation } from "./router-advertisement.ts";

/** A whole packet around a message, with its checksum. */
function packet(
  message: Uint8Array,
  {
    source = "fe80::1",
    hopLimit = 255,
    padding = 0,
  }: { source?: string; hopLimit?: number; padding?: number } = {},
): Uint8Array {
  const bytes = new Uint8Array(40 + message.length + padding);
  bytes.set([0x60, 0, 0, 0, message.length >> 8, message.length & 255, 58, hopLimit]);
  bytes.set(ipBytes(parseIp(source)), 8);
  bytes.set(ipBytes(parseIp("ff02::1")), 24);
  bytes.set(message, 40);
  let sum = message.length + 58;
  for (let at = 8; at < 40 + message.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes[42] = (~sum >> 8) & 255;
  bytes[43] = ~sum & 255;
  return bytes;
}

const heard = (bytes: Uint8Array) => {
  const message = decodeRouterMessage(bytes);
  return message && `${message.kind} ${formatIp(message.source)}`;
};
const mac = [1, 1, 2, 0, 0, 0, 0, 1];

describe("router messages", () => {
  test("ours are understood, and say nothing to hosts", () => {
    expect(heard(packet(encodeAdvertisement()))).toBe("advertisement fe80::1");
    expect(heard(packet(encodeSolicitation()))).toBe("solicitation fe80::1");
    // Router lifetime zero: nobody's default router.
    expect([...encodeAdvertisement()]).toEqual([134, ...new Array<number>(15).fill(0)]);
  });

  test("with options, and with the padding of a short frame", () => {
    expect(heard(packet(new Uint8Array([...encodeAdvertisement(), ...mac]), { padding: 6 }))).toBe(
      "advertisement fe80::1",
    );
  });

  test("an unspecified source is a solicitation's alone", () => {
    expect(heard(packet(encodeSolicitation(), { source: "::" }))).toBe("solicitation ::");
    expect(heard(packet(encodeAdvertisement(), { source: "::" }))).toBeUndefined();
  });

  const broken = (change: (bytes: Uint8Array) => void) => {
    const bytes = packet(new Uint8Array([...encodeAdvertisement(), ...mac]));
    change(bytes);
    return bytes;
  };
  const drops: Readonly<Record<string, Uint8Array>> = {
    "forwarded by a router": packet(encodeAdvertisement(), { hopLimit: 254 }),
    "a wrong checksum": broken((bytes) => (bytes[43] = (bytes[43] as number) ^ 1)),
    "a code that is not 0": packet(new Uint8Array([134, 1, ...encodeAdvertisement().subarray(2)])),
    "a source that is not link-local": packet(encodeAdvertisement(), { source: "2001:db8::1" }),
    "an advertisement of 8 bytes": packet(encodeAdvertisement().slice(0, 8)),
    "an option of length 0": packet(new Uint8Array([...encodeAdvertisement(), 1, 0, 0, 0, 0, 0, 0, 0])),
    "an option beyond the end": packet(new Uint8Array([...encodeAdvertisement(), 1, 2, 0, 0, 0, 0, 0, 0])),
    "a length beyond the packet": broken((bytes) => (bytes[5] = 200)),
    "another type": packet(new Uint8Array([135, ...encodeAdvertisement().subarray(1)])),
    "another protocol": broken((bytes) => (bytes[6] = 17)),
    IPv4: broken((bytes) => (bytes[0] = 0x45)),
    nothing: new Uint8Array(0),
  };
  for (const [title, bytes] of Object.entries(drops))
    test(`dropped: ${title}`, () => expect(heard(bytes)).toBeUndefined());
});

test("any bytes with a right checksum are a message or nothing (seed 41)", () => {
  let seed = 41;
  const random = (below: number) => {
    seed = (seed * 16807) % 2147483647;
    return seed % below;
  };
  let taken = 0;
  for (let round = 0; round < 20_000; round++) {
    const message = new Uint8Array(random(40) * 2);
    for (let at = 0; at < message.length; at++) message[at] = random(4) === 0 ? random(256) : random(3);
    message[0] = random(2) === 0 ? 134 : 133;
    message[1] = 0;
    message[2] = message[3] = 0;
    const whole = packet(message, { padding: random(3) * 8 });
    // Sometimes cut, sometimes with one octet changed.
    if (random(4) === 0) whole[random(whole.length)] = random(256);
    if (decodeRouterMessage(random(4) === 0 ? whole.subarray(0, random(whole.length)) : whole) !== undefined)
      taken++;
  }
  expect(taken).toBeGreaterThan(0);
});
