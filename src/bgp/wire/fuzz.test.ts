/**
 * Any bytes whatever: no decoder throws or goes on for ever, and what it accepts it can write again. The seeds of inputs that once failed, or that reach
 * far, are kept; a fresh one is tried at each run.
 */
import { expect, test } from "bun:test";
import { hex, internalSession, toHex } from "../../../test/support/bgp-bytes.ts";
import {
  anyFamily,
  randomAttributes,
  randomCapabilities,
  randomNlri,
  updateOf,
} from "../../../test/support/bgp-random.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { parseIp } from "../../net/mod.ts";
import {
  attributesOf,
  decodeExtendedCommunity,
  decodeNlri,
  decodeNotification,
  decodeOpen,
  decodeRefresh,
  encodeCanonical,
  encodeNlri,
  encodeOpen,
  EVPN,
  FAMILIES,
  IPV4_UNICAST,
  MessageStream,
  NlriCursor,
  printCapability,
  printExtendedCommunity,
  printNlriWithRd,
  RESET,
  UpdateView,
  type UpdateSession,
  writeAttributes,
  writeCanonical,
  writeNlri,
} from "./mod.ts";

const KEPT = [1, 2, 7, 42, 1971, 4271, 7432, 7606, 65_535, 0xdeadbeef];
const seeds = [...KEPT, newSeed()];
const ROUNDS = 400;

const view = new UpdateView();
const out = new Uint8Array(300_000);
const scratch = new Uint8Array(400);

const all = new Set(FAMILIES);
const sessions: readonly UpdateSession[] = [
  internalSession,
  { ...internalSession, external: true, firstAs: 65_001 },
  { ...internalSession, as4: false, asSets: true, aigp: true },
  { ...internalSession, addPathReceive: all, extendedNextHop: all, aigp: true, asSets: true },
  { ...internalSession, families: new Set([IPV4_UNICAST]) },
];

/** Takes an UPDATE as the RIB would, and checks what has to hold for any that is not a reset. */
function take(body: Uint8Array, session: UpdateSession): void {
  const copy = toHex(body);
  const reaction = view.parse(body, 0, body.length, session);
  expect(view.error !== undefined).toBe(reaction === RESET);
  if (reaction === RESET) return;
  walk(IPV4_UNICAST, view.withdrawnAt, view.withdrawnEnd, session);
  walk(IPV4_UNICAST, view.nlriAt, view.nlriEnd, session);
  if (view.reachFamily !== 0) walk(view.reachFamily, view.reachAt, view.reachEnd, session);
  if (view.unreachFamily !== 0) walk(view.unreachFamily, view.unreachAt, view.unreachEnd, session);
  const classic = view.nlriAt < view.nlriEnd;
  if (reaction < 2 && (classic || view.reachFamily !== 0)) {
    const canonical = out.slice(0, writeCanonical(view, classic, out, 0));
    expect(toHex(encodeCanonical(attributesOf(canonical)))).toBe(toHex(canonical));
    for (const as4 of [true, false])
      expect(writeAttributes(canonical, 0, canonical.length, { as4 }, out, 0)).toBeLessThan(
        canonical.length * 1.5 + 65,
      );
  }
  // Nobody writes into what was received.
  expect(toHex(body)).toBe(copy);
}

function walk(family: number, from: number, end: number, session: UpdateSession): void {
  const cursor = new NlriCursor(family);
  const addPath = session.addPathReceive.has(family);
  for (let at = from; at < end;) {
    const next = cursor.next(view.bytes, at, end, addPath);
    expect(next).toBeGreaterThan(at);
    at = next;
    if (cursor.skip) continue;
    const key = cursor.key.slice(0, cursor.keyBytes);
    const extra = cursor.extra.slice(0, cursor.extraBytes);
    const nlri = decodeNlri(family, key, extra);
    expect(printNlriWithRd(nlri).length).toBeGreaterThan(0);
    const again = encodeNlri(nlri);
    expect([again.family, toHex(again.key), toHex(again.extra)]).toEqual([family, toHex(key), toHex(extra)]);
    const length = writeNlri(family, false, 0, key, 0, key.length, extra, 0, extra.length, scratch, 0);
    const second = new NlriCursor(family);
    expect(second.next(scratch, 0, length, false)).toBe(length);
    expect(toHex(second.key.subarray(0, second.keyBytes))).toBe(toHex(key));
  }
}

for (const seed of seeds) {
  test(`UPDATEs, well formed and mutated (seed ${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < ROUNDS; i++) {
      const family = anyFamily(random);
      const routes = Array.from({ length: random.below(5) }, () => randomNlri(random, family));
      const body = updateOf(routes, randomAttributes(random), {
        as4: random.chance(0.7),
        addPath: random.chance(0.3),
      });
      take(body, random.pick(sessions));
      take(random.mutate(body), random.pick(sessions));
      take(random.bytes(random.below(80)), random.pick(sessions));
    }
  });

  test(`NLRI of any bytes (seed ${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < ROUNDS * 4; i++) {
      const family = random.pick(FAMILIES);
      const bytes = random.bytes(random.below(120));
      // Most EVPN routes would end at their first octet otherwise.
      if (family === EVPN && bytes.length > 1 && random.chance(0.8)) {
        bytes[0] = random.below(7);
        bytes[1] = random.pick([17, 23, 25, 29, 33, 34, 35, 36, 37, 40, 49, 52, 58, bytes.length - 2]);
      }
      const cursor = new NlriCursor(family);
      for (let at = 0; at >= 0 && at < bytes.length;) {
        const next = cursor.next(bytes, at, bytes.length, random.chance(0.1));
        expect(next === -1 || next > at).toBe(true);
        expect(next).toBeLessThanOrEqual(bytes.length);
        at = next;
      }
    }
  });

  test(`OPENs, NOTIFICATIONs, ROUTE-REFRESHes and streams (seed ${seed})`, () => {
    const random = new Random(seed);
    for (let i = 0; i < ROUNDS; i++) {
      const open = encodeOpen({
        as: 65_001,
        holdSeconds: 90,
        routerId: parseIp("10.0.0.1"),
        capabilities: randomCapabilities(random),
      }).subarray(19);
      for (const body of [random.mutate(open), random.bytes(random.below(60))]) {
        const result = decodeOpen(body, 0, body.length);
        if ("open" in result) {
          for (const capability of result.open.capabilities) printCapability(capability);
          const again = encodeOpen(result.open).subarray(19);
          expect(decodeOpen(again, 0, again.length)).toEqual(result);
        }
        decodeNotification(body, 0, body.length);
        decodeRefresh(body, 0, body.length);
        printExtendedCommunity(
          decodeExtendedCommunity(Uint8Array.from({ length: 8 }, (_, n) => body[n] ?? 0)),
        );
      }
      const stream = new MessageStream();
      const chunk = random.bytes(random.below(100));
      if (random.chance(0.8)) chunk.fill(0xff, 0, 16);
      stream.feed(chunk);
      let messages = 0;
      while (stream.next()) expect(++messages).toBeLessThan(10);
    }
  });
}

test("inputs that others' decoders fell over", () => {
  // Lengths that lie, as in GoBGP's crash corpus and in CVE-2022-40302, CVE-2022-43681 (OPEN's optional parameters).
  for (const text of [
    "04 fde9 005a 0a000001 ff",
    "04 fde9 005a 0a000001 ff ff",
    "04 fde9 005a 0a000001 02 02",
    "04 fde9 005a 0a000001 ff ff ffff 02 ffff",
  ]) {
    const body = hex(text);
    expect(decodeOpen(body, 0, body.length)).toHaveProperty("error");
  }
  for (const text of [
    "0000 0006 d00e ffff 0019",
    "0000 0007 c010 04 00000000",
    "0000 0004 c0ff 0100",
    "0000 000a 900f 0006 0019 46 05 ff 00",
    "0000 0009 800e 06 0019 46 ff 00 00",
  ])
    for (const session of sessions) take(hex(text), session);
});
