import { expect, test } from "bun:test";
import {
  attribute,
  hex,
  internalSession,
  plain,
  toHex,
  updateBody,
} from "../../../test/support/bgp-bytes.ts";
import {
  anyFamily,
  randomAttributes,
  randomHost,
  randomNlri,
  updateOf,
} from "../../../test/support/bgp-random.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  ACCEPT,
  asPathLength,
  attributesOf,
  canonicalAttributesAt,
  decodeNlri,
  encodeCanonical,
  encodeNlri,
  findAttribute,
  IPV4_UNICAST,
  NlriCursor,
  type PathAttributes,
  prependAs,
  printAsPath,
  UpdateView,
  writeAttributes,
  writeCanonical,
} from "./mod.ts";

const view = new UpdateView();
const out = new Uint8Array(200_000);

function canonicalOf(body: Uint8Array, { as4 = true, classic = false, addPath = false } = {}): Uint8Array {
  const families = [...internalSession.families];
  const session = {
    ...internalSession,
    as4,
    asSets: true,
    addPathReceive: new Set(addPath ? families : []),
    extendedNextHop: new Set(families),
  };
  const reaction = view.parse(body, 0, body.length, session);
  if (reaction !== ACCEPT) throw new Error(view.faults.join("; "));
  return out.slice(0, writeCanonical(view, classic, out, 0));
}

/** An UPDATE of one route with 2-octet AS numbers. */
function old(path: string, ...more: readonly Uint8Array[]): PathAttributes {
  const attributes = [plain.origin, attribute(0x50, 2, path), plain.nextHop, plain.localPreference, ...more];
  return attributesOf(
    canonicalOf(updateBody({ attributes, nlri: "18 0a0102" }), { as4: false, classic: true }),
  );
}

test("RFC 6793 section 4.2.3: AS_PATH of 2-octet numbers, with AS4_PATH", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    // AS_PATH, AS4_PATH, what it is. 23456 is AS_TRANS, 70000 is 0x11170.
    ["0202 fde9 fdea", "", "65001 65002"],
    ["", "", ""],
    ["0202 fde9 5ba0", "0201 00011170", "65001 70000"],
    ["0203 fde9 5ba0 5ba0", "0202 00011170 00011171", "65001 70000 70001"],
    ["0201 5ba0", "0201 00011170", "70000"],
    // AS4_PATH is longer: ignored.
    ["0201 5ba0", "0202 00011170 00011171", "23456"],
    // A set counts one.
    ["0202 fde9 5ba0 0102 fdea fdeb", "0201 00011170 0102 0000fdea 0000fdeb", "65001 70000 {65002,65003}"],
    ["0102 fde9 fdea 0201 5ba0", "0201 00011170", "{65001,65002} 70000"],
    // A confederation's segment goes along with what it adjoins, and counts nothing.
    ["0301 fc00 0202 fde9 5ba0", "0201 00011170", "(64512) 65001 70000"],
    ["0301 fc00 0201 5ba0", "0201 00011170", "(64512) 70000"],
    [
      "0202 fde9 5ba0 0101 fdea 0201 5ba0",
      "0201 00011170 0101 0000fdea 0201 00011171",
      "65001 70000 {65002} 70001",
    ],
    // One in AS4_PATH is left out (section 6).
    ["0202 fde9 5ba0", "0301 0000fc00 0201 00011170", "65001 70000"],
    ["0202 fde9 fdea", "0301 0000fc00", "65001 65002"],
  ];
  for (const [path, as4, expected] of cases)
    expect(
      printAsPath(old(path, ...(as4 === "" ? [] : [attribute(0xc0, 17, as4)])).asPath),
      `${path} | ${as4}`,
    ).toBe(expected);
});

test("RFC 6793 section 4.2.3: AGGREGATOR with AS4_AGGREGATOR", () => {
  const aggregator = (as: string) => attribute(0xc0, 7, `${as} 0a000001`);
  const as4Aggregator = attribute(0xc0, 18, "00011170 0a000002");
  const as4Path = attribute(0xc0, 17, "0201 00011170");
  expect(old("0201fde9", aggregator("fde9")).aggregator).toMatchObject({ as: 65_001 });
  expect(old("0201fde9", aggregator("5ba0"), as4Aggregator).aggregator?.as).toBe(70_000);
  // An AGGREGATOR of another AS than AS_TRANS: both AS4 attributes are ignored.
  const stale = old("0201 5ba0", aggregator("fde9"), as4Path, as4Aggregator);
  expect([stale.aggregator?.as, printAsPath(stale.asPath)]).toEqual([65_001, "23456"]);
  // Without an AGGREGATOR there is nothing to put it into.
  expect(old("0201fde9", as4Aggregator).aggregator).toBeUndefined();
});

test("RFC 6793 section 4.2.3: two halves of a long sequence become no longer than a segment can be", () => {
  const many = "fde9".repeat(200);
  const attributes = old(`02c8 ${many}`, attribute(0xd0, 17, `02 c6 ${"0000fde9".repeat(198)}`));
  expect(attributes.asPath.map(({ asns }) => asns.length)).toEqual([200]);
  const split = old(
    `02ff ${"fde9".repeat(255)} 02ff ${"fde9".repeat(255)}`,
    attribute(0xd0, 17, `02ff ${"0000fde9".repeat(255)}`),
  );
  expect(split.asPath.map(({ asns }) => asns.length)).toEqual([255, 255]);
});

test("RFC 6793 section 4.2.2: what a peer of 2-octet numbers is sent", () => {
  const send = (attributes: PathAttributes) => {
    const canonical = encodeCanonical(attributes);
    return toHex(out.slice(0, writeAttributes(canonical, 0, canonical.length, { as4: false }, out, 0)));
  };
  const base = { origin: "igp", asPath: [] } as const;
  expect(send(base)).toBe("400101004002" + "00");
  expect(send({ ...base, asPath: [{ kind: "sequence", asns: [65_001, 65_002] }] })).toBe(
    toHex(hex("400101 00", "400206 0202 fde9 fdea")),
  );
  expect(
    send({
      ...base,
      asPath: [
        { kind: "confed-sequence", asns: [70_000] },
        { kind: "sequence", asns: [65_001, 70_000] },
      ],
      aggregator: { as: 70_000, address: randomHost(new Random(1), 4) },
      communities: [0xfde90001],
      onlyToCustomer: 1,
    }).replace(/(?<=5ba0)[0-9a-f]{8}(?=c008)|(?<=c0120800011170)[0-9a-f]{8}/g, "-"),
  ).toBe(
    toHex(hex("400101 00", "40020a 0301 5ba0 0202 fde9 5ba0", "c00706 5ba0")) +
      "-" +
      toHex(hex("c00804 fde90001", "c0110a 0202 0000fde9 00011170", "c01208 00011170")) +
      "-" +
      toHex(hex("c02304 00000001")),
  );
});

test("what writeAttributes sends is read as the same attributes, with 2- and 4-octet numbers (random)", () => {
  const seed = newSeed();
  const random = new Random(seed);
  for (let i = 0; i < 1500; i++) {
    const attributes = randomAttributes(random);
    const family = anyFamily(random);
    const canonical = encodeCanonical(attributes);
    expect(attributesOf(canonical), `seed ${seed}`).toEqual(attributes);
    const routes = Array.from({ length: 1 + random.below(5) }, () => randomNlri(random, family));
    const addPath = random.chance(0.3);
    const nextHopOk = !(family === 0x00020001 && attributes.nextHop?.address.family === 4);
    if (!nextHopOk || (attributes.nextHop?.linkLocal !== undefined && family === 0x00010084)) continue;
    // A confederation's numbers are lost to a peer of 2-octet numbers; randomAttributes makes none.
    const as4 = random.chance(0.6);
    const read = canonicalOf(updateOf(routes, attributes, { as4, addPath }), { as4, addPath });
    if (as4) expect(toHex(read), `seed ${seed}`).toBe(toHex(canonical));
    else expect(flat(attributesOf(read)), `seed ${seed}`).toEqual(flat(attributes));
    const cursor = new NlriCursor(family);
    const seen = [];
    for (let at = view.reachAt; at < view.reachEnd;) {
      at = cursor.next(view.bytes, at, view.reachEnd, addPath);
      if (addPath) expect(cursor.pathId).toBe(seen.length);
      seen.push(
        decodeNlri(family, cursor.key.slice(0, cursor.keyBytes), cursor.extra.slice(0, cursor.extraBytes)),
      );
    }
    expect(seen, `seed ${seed}`).toEqual(routes);
  }
});

/** AS paths that differ in how their sequences are cut are one path to a peer of 2-octet numbers. */
function flat(attributes: PathAttributes): unknown {
  return { ...attributes, asPath: attributes.asPath.flatMap(({ asns }) => asns) };
}

test("decodeNlri and encodeNlri are inverse, with and without what is not part of the key (random)", () => {
  const seed = newSeed();
  const random = new Random(seed);
  for (let i = 0; i < 3000; i++) {
    const nlri = randomNlri(random, anyFamily(random));
    const { family, key, extra } = encodeNlri(nlri);
    expect(decodeNlri(family, key, extra), `seed ${seed}`).toEqual(nlri);
    const bare = decodeNlri(family, key);
    expect(encodeNlri(bare), `seed ${seed}`).toMatchObject({ family, key });
    expect(encodeNlri(bare).extra.length).toBe(0);
  }
});

test("an attribute whose flags or octets its codec would not write stays octets", () => {
  for (const attributes of [
    "08 80 0004 fde90001",
    "08 c0 0003 fde900",
    "09 80 0003 0a0000",
    "1a 80 000e 020003 01000b0000000000000001",
  ]) {
    const canonical = hex("00", "01 40 0001 00", "02 40 0000", attributes);
    const value = attributesOf(canonical);
    expect(value.others?.length, attributes).toBe(1);
    expect(toHex(encodeCanonical(value))).toBe(toHex(canonical));
  }
});

test("findAttribute", () => {
  const canonical = hex("04 c0000201", "01 40 0001 00", "05 40 0004 00000064", "fe e0 0002 dead");
  expect(canonicalAttributesAt(canonical, 0)).toBe(5);
  expect([1, 5, 254].map((code) => findAttribute(canonical, 0, canonical.length, code))).toEqual([5, 10, 18]);
  expect([0, 2, 253, 255].map((code) => findAttribute(canonical, 0, canonical.length, code))).toEqual([
    -1, -1, -1, -1,
  ]);
});

test("AS paths: length (RFC 4271 section 9.1.2.2, RFC 5065 section 5.3) and prepending", () => {
  const path = [
    { kind: "confed-sequence", asns: [64_512] },
    { kind: "sequence", asns: [65_001, 65_002] },
    { kind: "set", asns: [1, 2, 3] },
  ] as const;
  expect(asPathLength(path)).toBe(3);
  expect(printAsPath(path)).toBe("(64512) 65001 65002 {1,2,3}");
  expect(printAsPath(prependAs(path, 7, 2))).toBe("7 7 (64512) 65001 65002 {1,2,3}");
  const full = [{ kind: "sequence", asns: new Array<number>(255).fill(1) }] as const;
  expect(prependAs(full, 7).map(({ asns }) => asns.length)).toEqual([1, 255]);
});

test("a classic UPDATE has the next hop of NEXT_HOP, MP_REACH_NLRI its own", () => {
  const body = updateBody({
    attributes: [
      attribute(0x80, 14, "0002 01 10 20010db8000000000000000000000001 00 20 20010db8"),
      plain.origin,
      plain.asPath,
      plain.nextHop,
      plain.localPreference,
    ],
    nlri: "18 0a0102",
  });
  expect(toHex(canonicalOf(body, { classic: true })).slice(0, 10)).toBe("04c0000201");
  expect(toHex(canonicalOf(body)).slice(0, 12)).toBe("1020010db800");
  expect(view.session.families.has(IPV4_UNICAST)).toBe(true);
});
