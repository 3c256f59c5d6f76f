/**
 * Every malformed form of what is looked into, and what RFC 7606 makes a receiver do, from an internal and from an external peer. The order is that of
 * the codes; the sections are of RFC 7606 unless another document is named.
 */
import { expect, test } from "bun:test";
import {
  attribute,
  externalSession,
  hex,
  internalSession,
  plain,
  toHex,
  updateBody,
} from "../../../test/support/bgp-bytes.ts";
import {
  ACCEPT,
  attributesOf,
  DISCARD,
  IPV4_UNICAST,
  type Reaction,
  reactionName,
  RESET,
  UpdateView,
  type UpdateSession,
  WITHDRAW,
  writeCanonical,
} from "./mod.ts";

const view = new UpdateView();
const base = [plain.origin, plain.asPath, plain.nextHop, plain.localPreference] as const;

/** An UPDATE of one IPv4 route, with attributes in place of those of the same code, or in addition. */
function withAttributes(...more: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const codes = more.map((one) => one[1]);
  const attributes = [...base.filter((one) => !codes.includes(one[1])), ...more];
  return updateBody({ attributes, nlri: "18 0a0102" });
}

const parse = (body: Uint8Array, session: UpdateSession) => view.parse(body, 0, body.length, session);

type Row = readonly [
  name: string,
  flags: number,
  code: number,
  value: string,
  internal: Reaction,
  external?: Reaction,
];

/** Where only one reaction stands it is that of both kinds of peer; LOCAL_PREF of the base is discarded from an external one. */
const rows: readonly Row[] = [
  ["3 (c): ORIGIN with the Optional bit", 0xc0, 1, "00", WITHDRAW],
  ["3 (c): ORIGIN without the Transitive bit", 0x00, 1, "00", WITHDRAW],
  ["RFC 4271 4.3: ORIGIN with the Partial bit", 0x60, 1, "00", WITHDRAW],
  ["7.1: ORIGIN of length 0", 0x40, 1, "", WITHDRAW],
  ["7.1: ORIGIN of length 2", 0x40, 1, "0000", WITHDRAW],
  ["7.1: ORIGIN 3", 0x40, 1, "03", WITHDRAW],
  ["7.1: ORIGIN 255", 0x40, 1, "ff", WITHDRAW],
  ["3 (c): AS_PATH with the Optional bit", 0xc0, 2, "02010000fde9", WITHDRAW],
  ["RFC 4271 4.3: AS_PATH with the Partial bit", 0x60, 2, "02010000fde9", WITHDRAW],
  ["7.2: AS_PATH with a segment of type 0", 0x40, 2, "00010000fde9", WITHDRAW],
  ["7.2: AS_PATH with a segment of type 5", 0x40, 2, "05010000fde9", WITHDRAW],
  ["7.2: AS_PATH with an empty segment", 0x40, 2, "0200", WITHDRAW],
  ["7.2: AS_PATH with a segment that exceeds it", 0x40, 2, "02ff0000fde9", WITHDRAW],
  ["7.2: AS_PATH with an octet left over", 0x40, 2, "02010000fde902", WITHDRAW],
  ["7.2: AS_PATH of 2-octet numbers", 0x40, 2, "0201fde9", WITHDRAW],
  ["RFC 7607 2: AS_PATH with AS 0", 0x40, 2, "02020000fde900000000", WITHDRAW],
  ["RFC 9774 3: AS_PATH with an AS_SET", 0x40, 2, "02010000fde9 01010000fdea", WITHDRAW],
  ["RFC 5065 5: AS_PATH with a confederation's sequence", 0x40, 2, "03010000fde9", ACCEPT, WITHDRAW],
  ["RFC 9774 3: AS_PATH with a confederation's set", 0x40, 2, "04010000fde9", WITHDRAW],
  ["AS_PATH that is empty", 0x40, 2, "", ACCEPT],
  ["3 (c): NEXT_HOP with the Optional bit", 0xc0, 3, "c0000201", WITHDRAW],
  ["7.3: NEXT_HOP of length 0", 0x40, 3, "", WITHDRAW],
  ["7.3: NEXT_HOP of length 3", 0x40, 3, "c00002", WITHDRAW],
  ["7.3: NEXT_HOP of length 5", 0x40, 3, "c000020100", WITHDRAW],
  ["RFC 4271 6.3: NEXT_HOP 0.0.0.0", 0x40, 3, "00000000", WITHDRAW],
  ["RFC 4271 6.3: NEXT_HOP 127.0.0.1", 0x40, 3, "7f000001", WITHDRAW],
  ["RFC 4271 6.3: NEXT_HOP 224.0.0.1", 0x40, 3, "e0000001", WITHDRAW],
  ["RFC 4271 6.3: NEXT_HOP 255.255.255.255", 0x40, 3, "ffffffff", WITHDRAW],
  ["3 (c): MULTI_EXIT_DISC with the Transitive bit", 0xc0, 4, "0000000a", WITHDRAW],
  ["RFC 4271 4.3: MULTI_EXIT_DISC with the Partial bit", 0xa0, 4, "0000000a", WITHDRAW],
  ["7.4: MULTI_EXIT_DISC of length 0", 0x80, 4, "", WITHDRAW],
  ["7.4: MULTI_EXIT_DISC of length 3", 0x80, 4, "000000", WITHDRAW],
  ["7.4: MULTI_EXIT_DISC of length 5", 0x80, 4, "000000000a", WITHDRAW],
  ["3 (c): LOCAL_PREF with the Optional bit", 0xc0, 5, "00000064", WITHDRAW],
  ["7.5: LOCAL_PREF of length 0", 0x40, 5, "", WITHDRAW, DISCARD],
  ["7.5: LOCAL_PREF of length 3", 0x40, 5, "000000", WITHDRAW, DISCARD],
  ["7.5: LOCAL_PREF of length 5", 0x40, 5, "0000000064", WITHDRAW, DISCARD],
  ["3 (c): ATOMIC_AGGREGATE with the Optional bit", 0xc0, 6, "", WITHDRAW],
  ["7.6: ATOMIC_AGGREGATE of length 1", 0x40, 6, "00", DISCARD],
  ["3 (c): AGGREGATOR without the Transitive bit", 0x80, 7, "0000fde90a000001", WITHDRAW],
  ["7.7: AGGREGATOR of length 0", 0xc0, 7, "", DISCARD],
  ["7.7: AGGREGATOR of length 6 with 4-octet numbers", 0xc0, 7, "fde90a000001", DISCARD],
  ["7.7: AGGREGATOR of length 9", 0xc0, 7, "0000fde90a00000100", DISCARD],
  ["RFC 7607 2: AGGREGATOR with AS 0", 0xc0, 7, "000000000a000001", DISCARD],
  ["3 (c): COMMUNITIES without the Transitive bit", 0x80, 8, "fde90001", WITHDRAW],
  ["7.8: COMMUNITIES of length 0", 0xc0, 8, "", WITHDRAW],
  ["7.8: COMMUNITIES of length 5", 0xc0, 8, "fde9000100", WITHDRAW],
  ["COMMUNITIES with the Partial bit", 0xe0, 8, "fde90001", ACCEPT],
  ["3 (c): ORIGINATOR_ID with the Transitive bit", 0xc0, 9, "0a000002", WITHDRAW],
  ["7.9: ORIGINATOR_ID", 0x80, 9, "0a000002", ACCEPT, DISCARD],
  ["7.9: ORIGINATOR_ID of length 3", 0x80, 9, "0a0000", WITHDRAW, DISCARD],
  ["7.9: ORIGINATOR_ID of length 5", 0x80, 9, "0a00000200", WITHDRAW, DISCARD],
  ["3 (c): CLUSTER_LIST with the Transitive bit", 0xc0, 10, "0a000002", WITHDRAW],
  ["7.10: CLUSTER_LIST", 0x80, 10, "0a0000020a000003", ACCEPT, DISCARD],
  ["7.10: CLUSTER_LIST of length 0", 0x80, 10, "", WITHDRAW, DISCARD],
  ["7.10: CLUSTER_LIST of length 5", 0x80, 10, "0a00000200", WITHDRAW, DISCARD],
  ["3 (c): EXTENDED COMMUNITIES without the Transitive bit", 0x80, 16, "0002fde900000001", WITHDRAW],
  ["7.14: EXTENDED COMMUNITIES of length 0", 0xc0, 16, "", WITHDRAW],
  ["7.14: EXTENDED COMMUNITIES of length 7", 0xc0, 16, "0002fde9000000", WITHDRAW],
  ["7.14: EXTENDED COMMUNITIES of length 9", 0xc0, 16, "0002fde90000000100", WITHDRAW],
  ["7.14: an unknown extended community is none", 0xc0, 16, "ff00000000000000", ACCEPT],
  ["3 (c): AS4_PATH without the Transitive bit", 0x80, 17, "02010000fde9", WITHDRAW],
  ["RFC 6793 4.1: AS4_PATH between speakers of 4-octet numbers", 0xc0, 17, "02010000fde9", DISCARD],
  ["RFC 6793 6: AS4_PATH, malformed", 0xc0, 17, "00010000fde9", DISCARD],
  ["RFC 6793 4.1: AS4_AGGREGATOR between speakers of 4-octet numbers", 0xc0, 18, "0000fde90a000001", DISCARD],
  ["RFC 6793 6: AS4_AGGREGATOR of length 7", 0xc0, 18, "0000fde90a0000", DISCARD],
  ["3 (c): PMSI_TUNNEL without the Transitive bit", 0x80, 22, "0006000064 0a000002", WITHDRAW],
  ["RFC 6514 5: PMSI_TUNNEL of length 4", 0xc0, 22, "00060000", WITHDRAW],
  [
    "RFC 6514 5: PMSI_TUNNEL, ingress replication, 5 octets of address",
    0xc0,
    22,
    "0006000064 0a00000200",
    WITHDRAW,
  ],
  ["RFC 6514 5: PMSI_TUNNEL, ingress replication, no address", 0xc0, 22, "0006000064", WITHDRAW],
  [
    "RFC 6514 5: PMSI_TUNNEL, ingress replication over IPv6",
    0xc0,
    22,
    `0006000064${"20".repeat(16)}`,
    ACCEPT,
  ],
  ["RFC 6514 5: PMSI_TUNNEL without a tunnel, with an address", 0xc0, 22, "0000000064 0a000002", WITHDRAW],
  ["RFC 6514 5: PMSI_TUNNEL without a tunnel", 0xc0, 22, "0000000064", ACCEPT],
  ["RFC 6514 5: PMSI_TUNNEL, PIM-SM, one address", 0xc0, 22, "0004000064 0a000002", WITHDRAW],
  ["RFC 6514 5: PMSI_TUNNEL, PIM-SM", 0xc0, 22, "0004000064 0a000002 e8000001", ACCEPT],
  ["RFC 6514 5: PMSI_TUNNEL, RSVP-TE, 8 octets", 0xc0, 22, "0001000064 0a000002 00000000", WITHDRAW],
  ["RFC 8556 2: PMSI_TUNNEL, BIER", 0xc0, 22, "000b000064 010203", ACCEPT],
  ["RFC 6514 5: PMSI_TUNNEL of type 8", 0xc0, 22, "0008000064 0a000002", WITHDRAW],
  ["RFC 6514 5: PMSI_TUNNEL of type 255", 0xc0, 22, "00ff000064 0a000002", WITHDRAW],
  ["RFC 8317: PMSI_TUNNEL, composite", 0xc0, 22, "0086000064 000065 0a000002", ACCEPT],
  ["3 (c): TUNNEL_ENCAPSULATION without the Transitive bit", 0x80, 23, "00080000", WITHDRAW],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION of length 0", 0xc0, 23, "", WITHDRAW],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION of length 3", 0xc0, 23, "000800", WITHDRAW],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION with a TLV that exceeds it", 0xc0, 23, "0008000401", WITHDRAW],
  [
    "RFC 9012 13: TUNNEL_ENCAPSULATION with a sub-TLV that exceeds its TLV",
    0xc0,
    23,
    "0008000401ff0000",
    WITHDRAW,
  ],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION with half a sub-TLV", 0xc0, 23, "00080001 06", WITHDRAW],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION with half a long sub-TLV", 0xc0, 23, "00080002 8000", WITHDRAW],
  ["RFC 9012 13: TUNNEL_ENCAPSULATION", 0xc0, 23, "00080005 06 00 800000 ffff0000", ACCEPT],
  ["3 (c): TRAFFIC_ENGINEERING with the Transitive bit", 0xc0, 24, "00".repeat(36), WITHDRAW],
  ["7.13: TRAFFIC_ENGINEERING of length 35", 0x80, 24, "00".repeat(35), WITHDRAW],
  ["7.13: TRAFFIC_ENGINEERING", 0x80, 24, "00".repeat(36), ACCEPT],
  ["3 (c): IPv6 EXTENDED COMMUNITIES without the Transitive bit", 0x80, 25, "00".repeat(20), WITHDRAW],
  ["7.15: IPv6 EXTENDED COMMUNITIES of length 0", 0xc0, 25, "", WITHDRAW],
  ["7.15: IPv6 EXTENDED COMMUNITIES of length 21", 0xc0, 25, "00".repeat(21), WITHDRAW],
  ["RFC 7311 3.3: AIGP where it is not enabled", 0x80, 26, "01000b0000000000000000 0a", DISCARD],
  ["RFC 7311 3: AIGP with the Transitive bit", 0xc0, 26, "01000b000000000000000a", DISCARD],
  ["RFC 9552: LINK_STATE", 0x80, 29, "04000001 00", DISCARD],
  ["RFC 9552: LINK_STATE with the Transitive bit", 0xc0, 29, "0400000100", DISCARD],
  ["3 (c): LARGE_COMMUNITY without the Transitive bit", 0x80, 32, "0000fde90000000100000002", WITHDRAW],
  ["RFC 8092 6: LARGE_COMMUNITY of length 0", 0xc0, 32, "", WITHDRAW],
  ["RFC 8092 6: LARGE_COMMUNITY of length 13", 0xc0, 32, "0000fde9000000010000000200", WITHDRAW],
  ["3 (c): ONLY_TO_CUSTOMER without the Transitive bit", 0x80, 35, "0000fde9", WITHDRAW],
  ["RFC 9234 5: ONLY_TO_CUSTOMER of length 3", 0xc0, 35, "0000fd", WITHDRAW],
  ["RFC 9234 5: ONLY_TO_CUSTOMER of length 5", 0xc0, 35, "0000fde900", WITHDRAW],
  ["RFC 7607: ONLY_TO_CUSTOMER with AS 0", 0xc0, 35, "00000000", WITHDRAW],
  ["RFC 8669 6: PREFIX_SID without the Transitive bit", 0x80, 40, "01000700000000000000 01", DISCARD],
  ["RFC 8669 6: PREFIX_SID of length 0", 0xc0, 40, "", DISCARD],
  ["RFC 8669 6: PREFIX_SID with a TLV that exceeds it", 0xc0, 40, "0100ff000000", DISCARD],
  ["RFC 8669 6: PREFIX_SID of length 2", 0xc0, 40, "0100", DISCARD],
  ["RFC 8669 3.1: PREFIX_SID with an empty label index", 0xc0, 40, "010000", DISCARD],
  ["RFC 8669 3.2: PREFIX_SID with half a range", 0xc0, 40, "030005 0000 000000", DISCARD],
  ["RFC 8669 4: PREFIX_SID", 0xc0, 40, "01000700000000000001", ACCEPT, DISCARD],
  ["7.16: ATTR_SET of length 3", 0xc0, 128, "0000fd", WITHDRAW],
  ["7.16: ATTR_SET with an attribute that exceeds it", 0xc0, 128, "0000fde9 400105 00", WITHDRAW],
  ["7.16: ATTR_SET with half an attribute", 0xc0, 128, "0000fde9 4001", WITHDRAW],
  ["RFC 6368 5: ATTR_SET with MP_REACH_NLRI", 0xc0, 128, "0000fde9 800e00", WITHDRAW],
  ["RFC 6368 5: ATTR_SET with MP_UNREACH_NLRI", 0xc0, 128, "0000fde9 800f00", WITHDRAW],
  ["RFC 6368 5: ATTR_SET with a malformed attribute", 0xc0, 128, "0000fde9 40010103", WITHDRAW],
  ["RFC 6368 5: ATTR_SET with wrong flags inside", 0xc0, 128, "0000fde9 c0010100", WITHDRAW],
  [
    "RFC 6368 5: ATTR_SET with LOCAL_PREF, NEXT_HOP and 4-octet numbers",
    0xc0,
    128,
    "0000fde9 40050400000064 400304 00000000 40020602010000fdea",
    ACCEPT,
  ],
  [
    "ATTR_SET five deep",
    0xc0,
    128,
    "0000fde9 c08013 00000001 c0800c 00000001 c08008 00000001 c0800400000001",
    WITHDRAW,
  ],
  ["3 (c): ATTR_SET without the Transitive bit", 0x80, 128, "0000fde9", WITHDRAW],
  ["RFC 4271 5: unknown, optional, transitive", 0xc0, 254, "deadbeef", ACCEPT],
  ["RFC 4271 5: unknown, optional, not transitive", 0x80, 253, "deadbeef", ACCEPT],
  ["RFC 4271 6.3: unknown, well-known", 0x40, 254, "deadbeef", RESET],
];

for (const [name, flags, code, value, internal, external] of rows)
  test(`${/^\d/.test(name) ? "RFC 7606 section " : ""}${name}: ${reactionName(internal)}, eBGP: ${reactionName(external ?? internal)}`, () => {
    const body = withAttributes(attribute(flags, code, value));
    expect(parse(body, internalSession)).toBe(internal);
    if (internal === DISCARD) {
      expect(view.attributeAt[code]).toBe(-1);
      const out = new Uint8Array(4000);
      const left = attributesOf(out.slice(0, writeCanonical(view, true, out, 0)));
      expect(left.others).toBeUndefined();
      expect(left.origin).toBe("igp");
    }
    // Without the LOCAL_PREF of the base, which is discarded from an external peer.
    const outside = updateBody({
      attributes: [...base.filter((one) => one[1] !== 5 && one[1] !== code), attribute(flags, code, value)],
      nlri: "18 0a0102",
    });
    expect(parse(outside, externalSession)).toBe(external ?? internal);
    if (view.error !== undefined) {
      expect([view.error.code, view.error.subcode]).toEqual([3, 2]);
      expect(toHex(view.error.data)).toBe(toHex(attribute(flags, code, value)));
    }
  });

test("RFC 7311 section 3.2: AIGP where it is enabled", () => {
  const session = { ...internalSession, aigp: true };
  for (const [value, reaction] of [
    ["01000b000000000000000a", ACCEPT],
    ["02000401 01000b000000000000000a", ACCEPT],
    ["09000b000000000000000a", DISCARD],
    ["0100050000", DISCARD],
    ["01000b00", DISCARD],
    ["0100", DISCARD],
    ["010002", DISCARD],
    ["020000", DISCARD],
    ["", DISCARD],
  ] as const)
    expect(parse(withAttributes(attribute(0x80, 26, value)), session), value).toBe(reaction);
});

test("RFC 6793 section 6: AS4_PATH and AS4_AGGREGATOR from a speaker of 2-octet numbers", () => {
  const session = { ...internalSession, as4: false };
  const path = attribute(0x40, 2, "0202fde95ba0");
  for (const [code, value, reaction] of [
    [17, "02010000fde9", ACCEPT],
    [17, "", DISCARD],
    [17, "0200", DISCARD],
    [17, "02020000fde9", DISCARD],
    [17, "07010000fde9", DISCARD],
    [17, "020100000000", DISCARD],
    [17, "03010000fde9", ACCEPT],
    [17, "01010000fde9", WITHDRAW],
    [18, "0000fde90a000001", ACCEPT],
    [18, "fde90a000001", DISCARD],
    [18, "000000000a000001", DISCARD],
    [7, "fde90a000001", ACCEPT],
    [7, "0000fde90a000001", DISCARD],
  ] as const)
    expect(parse(withAttributes(path, attribute(0xc0, code, value)), session), `${code} ${value}`).toBe(
      reaction,
    );
  expect(parse(withAttributes(attribute(0x40, 2, "02010000fde9")), session)).toBe(WITHDRAW);
});

test("RFC 9774 section 3: AS_SETs are taken where that is set", () => {
  const body = withAttributes(attribute(0x40, 2, "02010000fde9 01020000fdea0000fdeb"));
  expect(parse(body, { ...internalSession, asSets: true })).toBe(ACCEPT);
});

test("RFC 4271 section 6.3: the first AS of an external peer's paths, where that is set", () => {
  const session = { ...externalSession, firstAs: 65_001 };
  const from = (value: string) =>
    updateBody({ attributes: [plain.origin, attribute(0x40, 2, value), plain.nextHop], nlri: "18 0a0102" });
  expect(parse(from("02010000fde9"), session)).toBe(ACCEPT);
  expect(parse(from("02020000fdea0000fde9"), session)).toBe(WITHDRAW);
  expect(parse(from(""), session)).toBe(WITHDRAW);
  expect(parse(from("01010000fde9"), { ...session, asSets: true })).toBe(WITHDRAW);
  expect(parse(from("02015ba0"), { ...session, as4: false, firstAs: 4_200_000_000 })).toBe(ACCEPT);
});

test("RFC 7606 section 3 (d): mandatory attributes that are missing", () => {
  for (const missing of base) {
    const attributes = base.filter((one) => one !== missing);
    const body = updateBody({ attributes, nlri: "18 0a0102" });
    expect(parse(body, internalSession), `attribute ${missing[1]}`).toBe(WITHDRAW);
  }
  // RFC 4760 section 3: NEXT_HOP is not for MP_REACH_NLRI.
  const reach = attribute(0x80, 14, "0002 01 10 20010db8000000000000000000000001 00 20 20010db8");
  expect(
    parse(
      updateBody({ attributes: [reach, plain.origin, plain.asPath, plain.localPreference] }),
      internalSession,
    ),
  ).toBe(ACCEPT);
  expect(
    parse(updateBody({ attributes: [reach, plain.asPath, plain.localPreference] }), internalSession),
  ).toBe(WITHDRAW);
});

test("RFC 7606 section 3 (g): repeated attributes", () => {
  const reach = attribute(0x80, 14, "0002 01 10 20010db8000000000000000000000001 00 20 20010db8");
  const unreach = attribute(0x80, 15, "0002 01 20 20010db8");
  const rest = [plain.origin, plain.asPath, plain.localPreference];
  for (const twice of [reach, unreach]) {
    expect(parse(updateBody({ attributes: [twice, twice, ...rest] }), internalSession)).toBe(RESET);
    expect([view.error?.code, view.error?.subcode]).toEqual([3, 1]);
  }
  // The first one counts, also where it was discarded.
  const body = withAttributes(attribute(0xc0, 8, "fde90001"), attribute(0xc0, 8, ""));
  expect(parse(body, internalSession)).toBe(DISCARD);
  expect(view.attributeBytes[8]).toBe(4);
  expect(parse(withAttributes(attribute(0x40, 6, "00"), attribute(0x40, 6, "")), internalSession)).toBe(
    DISCARD,
  );
  expect(view.attributeAt[6]).toBe(-1);
});

test("RFC 7606 section 3 (h): of several faults the gravest counts", () => {
  const body = withAttributes(attribute(0x40, 6, "00"), attribute(0x80, 4, "00"), attribute(0xc0, 7, ""));
  expect(parse(body, internalSession)).toBe(WITHDRAW);
  expect(view.faults).toEqual([
    "ATOMIC_AGGREGATE has a value: attribute discard",
    "MULTI_EXIT_DISC has not 4 octets: treat-as-withdraw",
    "AGGREGATOR has not the length that goes with the size of AS numbers: attribute discard",
  ]);
});

test("RFC 7606 section 4: attributes that do not fit their field", () => {
  const attributes = [...base];
  for (const tail of ["40", "4001", "5001", "500100", "c00805fde90001", "d0080400fde9", "c0fe02aa"]) {
    const body = updateBody({ attributes: [...attributes, hex(tail)], nlri: "18 0a0102" });
    expect(parse(body, internalSession), tail).toBe(WITHDRAW);
    expect(body.length - view.nlriAt, tail).toBe(4);
  }
  // An MP attribute's NLRI cannot be trusted then.
  for (const tail of ["800e20 0002 01", "800f20 0002 01"])
    expect(
      parse(updateBody({ attributes: [...attributes, hex(tail)], nlri: "18 0a0102" }), internalSession),
    ).toBe(RESET);
});

test("RFC 4271 section 6.3: fields that exceed the message", () => {
  for (const text of [
    "",
    "00",
    "0000",
    "0000 00",
    "0001 0000",
    "0000 0001",
    "0004 180a01 0000",
    "ffff 0000",
  ]) {
    expect(parse(hex(text), internalSession), text).toBe(RESET);
    expect([view.error?.code, view.error?.subcode], text).toEqual([3, 1]);
  }
});

test("RFC 7606 section 5.2: with attributes and no route announced, more than attribute discard is a reset", () => {
  const unreach = attribute(0x80, 15, "0002 01 20 20010db8");
  const bad = attribute(0x80, 4, "00");
  expect(parse(updateBody({ attributes: [unreach, bad] }), internalSession)).toBe(RESET);
  expect([view.error?.subcode, toHex(view.error?.data ?? hex(""))]).toEqual([5, "80040100"]);
  expect(parse(updateBody({ attributes: [bad], withdrawn: "18 0a0102" }), internalSession)).toBe(RESET);
  expect(parse(updateBody({ attributes: [unreach, attribute(0x40, 6, "00")] }), internalSession)).toBe(
    DISCARD,
  );
  // Half an attribute is one, too.
  expect(parse(updateBody({ attributes: [unreach, hex("40")] }), internalSession)).toBe(RESET);
  // An MP_REACH_NLRI without NLRI announces nothing.
  const nothing = attribute(0x80, 14, "0019 46 04 0aff0001 00");
  const rest = [plain.origin, plain.asPath, plain.localPreference];
  expect(parse(updateBody({ attributes: [nothing, ...rest] }), internalSession)).toBe(ACCEPT);
  expect(parse(updateBody({ attributes: [nothing, bad, ...rest] }), internalSession)).toBe(RESET);
});

test("RFC 7606 section 5.3, RFC 4760 section 7: MP attributes that cannot be read", () => {
  const rest = [plain.origin, plain.asPath, plain.localPreference];
  const cases: readonly (readonly [string, number, string])[] = [
    ["MP_REACH_NLRI of 4 octets", 14, "0002 01 00"],
    ["a next hop of 9 octets (section 7.11)", 14, "0002 01 09 20010db80000000000 00 40 20010db800000001"],
    ["a next hop that exceeds the attribute", 14, "0002 01 40 20010db8000000000000000000000001 00"],
    ["a next hop without what follows it", 14, "0002 01 10 20010db800000000"],
    ["EVPN with a next hop of 5 octets", 14, "0019 46 05 0aff000100 00"],
    ["EVPN without a next hop", 14, "0019 46 00 00"],
    ["IPv6 with a next hop of 4 octets", 14, "0002 01 04 0aff0001 00 20 20010db8"],
    ["a prefix of 129 bits", 14, `0002 01 10 20010db8000000000000000000000001 00 81 ${"20".repeat(17)}`],
    ["a prefix that exceeds its field", 14, "0002 01 10 20010db8000000000000000000000001 00 40 20010db8"],
    ["MP_UNREACH_NLRI of 2 octets", 15, "0002"],
    ["a withdrawn prefix that exceeds its field", 15, "0002 01 40 20010db8"],
    ["a route target of 31 bits (RFC 4684 section 4)", 15, "0001 84 1f 0000fde8"],
    ["a route target of 97 bits", 15, `0001 84 61 ${"00".repeat(13)}`],
  ];
  for (const [name, code, value] of cases) {
    const body = updateBody({ attributes: [attribute(0x80, code, value), ...rest] });
    expect(parse(body, internalSession), name).toBe(RESET);
    expect([view.error?.code, view.error?.subcode], name).toEqual([3, 9]);
  }
  // The next hop of an UPDATE whose NLRI can be told.
  for (const value of [
    "0002 01 10 00000000000000000000000000000000 00 20 20010db8",
    "0002 01 10 00000000000000000000000000000001 00 20 20010db8",
    "0002 01 10 ff020000000000000000000000000001 00 20 20010db8",
    "0019 46 04 00000000 00 0900",
    "0019 46 04 e0000001 00 0900",
  ])
    expect(
      parse(updateBody({ attributes: [attribute(0x80, 14, value), ...rest] }), internalSession),
      value,
    ).toBe(WITHDRAW);
  // Their flags have to be those of RFC 4760.
  for (const [flags, code, value] of [
    [0xc0, 14, "0002 01 10 20010db8000000000000000000000001 00 20 20010db8"],
    [0xa0, 14, "0002 01 10 20010db8000000000000000000000001 00 20 20010db8"],
    [0x40, 15, "0002 01 20 20010db8"],
    [0xc0, 15, "0002 01 20 20010db8"],
  ] as const) {
    expect(parse(updateBody({ attributes: [attribute(flags, code, value), ...rest] }), internalSession)).toBe(
      RESET,
    );
    expect([view.error?.code, view.error?.subcode]).toEqual([3, 4]);
  }
});

test("RFC 7606 section 5.3: IPv4 NLRI that cannot be read: Invalid Network Field", () => {
  const attributes = [...base];
  for (const nlri of ["21 0a01020304", "18 0a01", "20"]) {
    expect(parse(updateBody({ attributes, nlri }), internalSession), nlri).toBe(RESET);
    expect([view.error?.code, view.error?.subcode]).toEqual([3, 10]);
    expect(parse(updateBody({ withdrawn: nlri }), internalSession), nlri).toBe(RESET);
    expect([view.error?.code, view.error?.subcode]).toEqual([3, 10]);
  }
  const addPath = { ...internalSession, addPathReceive: new Set([IPV4_UNICAST]) };
  for (const nlri of ["000000", "00000001", "00000001 18 0a01"])
    expect(parse(updateBody({ attributes, nlri }), addPath), nlri).toBe(RESET);
});

test("EVPN routes that cannot be read: optional attribute error", () => {
  const rd = "0001 0aff0001 0002";
  const esi = "00000000000000000000";
  const rest = [plain.origin, plain.asPath, plain.localPreference];
  const cases: readonly (readonly [string, string])[] = [
    ["one stray octet", "02"],
    ["a route that exceeds its field", `02 21 ${rd}`],
    ["type 1 of 24 octets", `01 18 ${rd} ${esi} 00000000 0000`],
    ["type 2, empty", "02 00"],
    ["type 2 with a MAC address of 40 bits", `02 21 ${rd} ${esi} 00000000 28 7a94b125124b 00 000064`],
    ["type 2 with an IP address of 24 bits", `02 24 ${rd} ${esi} 00000000 30 7a94b125124b 18 0a0101 000064`],
    [
      "type 2 with an IP address that its length has no room for",
      `02 21 ${rd} ${esi} 00000000 30 7a94b125124b 20 0a0101`,
    ],
    ["type 2 with three labels", `02 27 ${rd} ${esi} 00000000 30 7a94b125124b 00 000064 000064 000064`],
    ["type 2 with a label and an octet", `02 22 ${rd} ${esi} 00000000 30 7a94b125124b 00 000064 00`],
    ["type 3 of 16 octets", `03 10 ${rd} 00000000 20 0aff00`],
    ["type 3 with 33 bits", `03 11 ${rd} 00000000 21 0aff0001`],
    ["type 3, empty", "03 00"],
    ["type 4 with 24 bits", `04 16 ${rd} ${esi} 18 0aff00`],
    ["type 5 of 33 octets", `05 21 ${rd} ${esi} 00000000 18 0a320000 00000000 000f`],
    ["type 5 with a prefix of 33 bits", `05 22 ${rd} ${esi} 00000000 21 0a320000 00000000 000fa0`],
  ];
  for (const [name, nlri] of cases)
    for (const [code, head] of [
      [14, "0019 46 04 0aff0001 00"],
      [15, "0019 46"],
    ] as const) {
      const body = updateBody({ attributes: [attribute(0x90, code, hex(head, nlri)), ...rest] });
      expect(parse(body, internalSession), name).toBe(RESET);
      expect([view.error?.code, view.error?.subcode], name).toEqual([3, 9]);
      expect(parse(body, externalSession), name).toBe(RESET);
    }
});
