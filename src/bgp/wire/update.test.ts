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
  type BgpFamily,
  decodeNlri,
  DISCARD,
  encodeCanonical,
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  NlriCursor,
  nlriBytes,
  printExtendedCommunity,
  printNlriWithRd,
  printPmsiTunnel,
  type Reaction,
  RESET,
  ROUTE_TARGET,
  UpdateView,
  type UpdateSession,
  WITHDRAW,
  writeCanonical,
  writeNlri,
} from "./mod.ts";

const view = new UpdateView();
const parse = (body: Uint8Array, session: UpdateSession = internalSession): Reaction =>
  view.parse(body, 0, body.length, session);

/** Routes of a stretch as text, each written again from key and extra and compared with the bytes it came from. */
function routes(family: BgpFamily, at: number, end: number, addPath = false): string[] {
  const cursor = new NlriCursor(family);
  const out = new Uint8Array(300);
  const found: string[] = [];
  for (let position = at; position < end;) {
    const next = cursor.next(view.bytes, position, end, addPath);
    expect(next).toBeGreaterThan(position);
    const { key, keyBytes, extra, extraBytes, pathId } = cursor;
    const length = writeNlri(family, addPath, pathId, key, 0, keyBytes, extra, 0, extraBytes, out, 0);
    expect(toHex(out.subarray(0, length))).toBe(toHex(view.bytes.subarray(position, next)));
    expect(nlriBytes(family, addPath, key, 0, keyBytes, extraBytes)).toBe(length);
    const nlri = decodeNlri(family, key.subarray(0, keyBytes), extra.subarray(0, extraBytes));
    const labels = "labels" in nlri ? nlri.labels : "label" in nlri ? [nlri.label] : [];
    found.push(
      `${addPath ? `${pathId} ` : ""}${printNlriWithRd(nlri)}${labels?.map((l) => ` ${l}`).join("")}`,
    );
    position = next;
  }
  return found;
}

function canonical(classic = false): Uint8Array {
  const out = new Uint8Array(70_000);
  return out.slice(0, writeCanonical(view, classic, out, 0));
}

test("RFC 7432 section 7.2: a MAC of FRR 10.3, by field", () => {
  const body = hex(
    "0000 0052",
    "900e002c 0019 46 04 0aff0001 00", // MP_REACH_NLRI: AFI 25, SAFI 70, next hop 10.255.0.1
    "02 21", // type 2, 33 octets
    "0001 0aff0001 0002", // RD 10.255.0.1:2
    "00000000000000000000", // ESI
    "00000000", // tag
    "30 7a94b125124b", // MAC
    "00", // no IP
    "000064", // VNI 100
    "400101 00",
    "50020000",
    "400504 00000064",
    "c01010 030c000000000008 0002fde900000064",
  );
  expect(parse(body)).toBe(ACCEPT);
  expect(view.reachFamily).toBe(EVPN);
  expect(routes(EVPN, view.reachAt, view.reachEnd)).toEqual([
    "10.255.0.1:2 [2]:[0]:[48]:[7a:94:b1:25:12:4b] 100",
  ]);
  expect([...view.codes.subarray(0, view.codeCount)]).toEqual([1, 2, 5, 14, 16]);
  expect(toHex(canonical())).toBe(
    toHex(
      hex(
        "04 0aff0001",
        "01 40 0001 00",
        "02 40 0000",
        "05 40 0004 00000064",
        "10 c0 0010 030c000000000008 0002fde900000064",
      ),
    ),
  );
  const attributes = attributesOf(canonical());
  expect(attributes.extendedCommunities?.map(printExtendedCommunity)).toEqual(["ET:8", "RT:65001:100"]);
  expect(attributes).toMatchObject({ origin: "igp", asPath: [], localPreference: 100 });
  expect(attributes.others).toBeUndefined();
});

test("RFC 7432 section 7.2, RFC 9135: a MAC and its IP, with the layer 3 VNI", () => {
  const body = hex(
    "0000 0069",
    "900e0033 0019 46 04 0aff0001 00",
    "02 28 00010aff00010002 00000000000000000000 00000000 30 02aa00000005",
    "20 0a010105", // 10.1.1.5
    "000064 000fa0", // VNI 100, layer 3 VNI 4000
    "40010100 50020000 40050400000064",
    "c01020 030c000000000008 0002fde900000064 0002fde900000fa0 0603020000000fa0",
  );
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(EVPN, view.reachAt, view.reachEnd)).toEqual([
    "10.255.0.1:2 [2]:[0]:[48]:[02:aa:00:00:00:05]:[32]:[10.1.1.5] 100 4000",
  ]);
  expect(attributesOf(canonical()).extendedCommunities?.map(printExtendedCommunity)).toEqual([
    "ET:8",
    "RT:65001:100",
    "RT:65001:4000",
    "Rmac:02:00:00:00:0f:a0",
  ]);
});

test("RFC 7432 section 7.3, RFC 6514 section 5: inclusive multicast with its tunnel", () => {
  const body = hex(
    "0000 004e",
    "900e001c 0019 46 04 0aff0001 00",
    "03 11 00010aff00010002 00000000 20 0aff0001",
    "40010100 50020000 40050400000064 c01010 030c000000000008 0002fde900000064",
    "c01609 00 06 000064 0aff0001",
  );
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(EVPN, view.reachAt, view.reachEnd)).toEqual(["10.255.0.1:2 [3]:[0]:[32]:[10.255.0.1]"]);
  const { pmsiTunnel } = attributesOf(canonical());
  expect(pmsiTunnel && printPmsiTunnel(pmsiTunnel)).toBe("Ingress Replication 10.255.0.1, label 100");
});

test("RFC 9136 section 3.1: an IP prefix", () => {
  const body = hex(
    "0000 0062",
    "900e002d 0019 46 04 0aff0001 00",
    "05 22 00010aff00010001 00000000000000000000 00000000 18 0a320000 00000000 000fa0",
    "40010100 50020000 80040400000000 40050400000064",
    "c01018 030c000000000008 0002fde900000fa0 0603020000000fa0",
  );
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(EVPN, view.reachAt, view.reachEnd)).toEqual(["10.255.0.1:1 [5]:[0]:[24]:[10.50.0.0] 4000"]);
  expect(attributesOf(canonical()).med).toBe(0);
});

test("RFC 4760 section 4: the withdrawal of a type 2; RFC 4724 section 2: End-of-RIB", () => {
  expect(
    parse(
      hex(
        "0000 002a",
        "900f0026 0019 46",
        "02 21 00010aff00010002 00000000000000000000 00000000 30 02aa00000077 00 000000",
      ),
    ),
  ).toBe(ACCEPT);
  expect(view.unreachFamily).toBe(EVPN);
  expect(view.endOfRib).toBe(0);
  const cursor = new NlriCursor(EVPN);
  const out = new Uint8Array(60);
  expect(cursor.next(view.bytes, view.unreachAt, view.unreachEnd, false)).toBe(view.unreachEnd);
  // Without what is not part of the key, the form of a withdrawal comes out again.
  const end = writeNlri(EVPN, false, 0, cursor.key, 0, cursor.keyBytes, cursor.extra, 0, 0, out, 0);
  expect(toHex(out.subarray(0, end))).toBe(toHex(view.bytes.subarray(view.unreachAt, view.unreachEnd)));
  for (const [text, family] of [
    ["0000 0006 800f03 001946", EVPN],
    ["0000 0006 800f03 000201", IPV6_UNICAST],
    ["0000 0000", IPV4_UNICAST],
  ] as const) {
    expect(parse(hex(text))).toBe(ACCEPT);
    expect(view.endOfRib).toBe(family);
  }
});

test("RFC 4271 section 4.3: IPv4 in the fields of its own; bits behind the length are irrelevant", () => {
  const body = updateBody({
    withdrawn: "18 c63364 00 09 0aff",
    attributes: [plain.origin, plain.asPath, plain.nextHop, plain.localPreference],
    nlri: "20 c0000207 11 0a01ff",
  });
  expect(parse(body)).toBe(ACCEPT);
  const cursor = new NlriCursor(IPV4_UNICAST);
  const keys: string[] = [];
  for (const [at, end] of [
    [view.withdrawnAt, view.withdrawnEnd],
    [view.nlriAt, view.nlriEnd],
  ] as const)
    for (let position = at; position < end;) {
      position = cursor.next(body, position, end, false);
      keys.push(toHex(cursor.key.subarray(0, cursor.keyBytes)));
    }
  expect(keys).toEqual(["18c63364", "00", "090a80", "20c0000207", "110a0180"]);
  expect(toHex(canonical(true)).slice(0, 10)).toBe("04c0000201");
});

test("RFC 2545 section 3: IPv6 with a global and a link-local next hop", () => {
  const body = updateBody({
    attributes: [
      attribute(
        0x80,
        14,
        hex(
          "0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00",
          "20 20010db8 40 20010db8 0001 0002 00",
        ),
      ),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(IPV6_UNICAST, view.reachAt, view.reachEnd)).toEqual([
    "2001:db8::/32",
    "2001:db8:1:2::/64",
    "::/0",
  ]);
  const { nextHop } = attributesOf(canonical());
  expect(nextHop?.linkLocal).toBeDefined();
  expect(encodeCanonical(attributesOf(canonical()))).toEqual(canonical() as Uint8Array<ArrayBuffer>);
});

test("RFC 8950 section 4: IPv4 with an IPv6 next hop only where both sides have the capability", () => {
  const body = updateBody({
    attributes: [
      attribute(0x80, 14, "0001 01 10 20010db8000000000000000000000001 00 18 0a0102"),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body)).toBe(RESET);
  expect(parse(body, { ...internalSession, extendedNextHop: new Set([IPV4_UNICAST]) })).toBe(ACCEPT);
  expect(routes(IPV4_UNICAST, view.reachAt, view.reachEnd)).toEqual(["10.1.2.0/24"]);
});

test("RFC 7911 section 3: path identifiers, in families that have them", () => {
  const session = { ...internalSession, addPathReceive: new Set([IPV4_UNICAST]) };
  const body = updateBody({
    withdrawn: "00000007 18 c63364",
    attributes: [plain.origin, plain.asPath, plain.nextHop, plain.localPreference],
    nlri: "00000001 18 0a0102 ffffffff 18 0a0102",
  });
  expect(parse(body, session)).toBe(ACCEPT);
  expect(routes(IPV4_UNICAST, view.nlriAt, view.nlriEnd, true)).toEqual([
    "1 10.1.2.0/24",
    "4294967295 10.1.2.0/24",
  ]);
  expect(routes(IPV4_UNICAST, view.withdrawnAt, view.withdrawnEnd, true)).toEqual(["7 198.51.100.0/24"]);
});

test("RFC 4684 section 4: route target membership", () => {
  const body = updateBody({
    attributes: [
      attribute(
        0x80,
        14,
        "0001 84 04 c0000201 00 00 20 0000fde9 60 0000fde9 0002fde900000064 30 0000fde9 0002",
      ),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(ROUTE_TARGET, view.reachAt, view.reachEnd)).toEqual([
    "default",
    "65001:*",
    "65001:RT:65001:100",
    "65001:0x0002/16",
  ]);
});

test("RFC 7432 sections 7.1, 7.4: Ethernet auto-discovery and segment; an unknown type is kept whole", () => {
  const esi = "03 44 38 39 ff ff 01 00 00 01";
  const body = updateBody({
    attributes: [
      attribute(
        0x90,
        14,
        hex(
          "0019 46 10 20010db8000000000000000000000001 00",
          `01 19 0001c00002010001 ${esi} ffffffff 000000`,
          `01 19 0001c00002010002 ${esi} 00000000 0003e8`,
          `04 17 0001c00002010001 ${esi} 20 c0000201`,
          `04 23 0001c00002010001 ${esi} 80 20010db8000000000000000000000001`,
          "0b 03 010203",
          "09 00",
        ),
      ),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body)).toBe(ACCEPT);
  expect(routes(EVPN, view.reachAt, view.reachEnd)).toEqual([
    "192.0.2.1:1 [1]:[4294967295]:[03:44:38:39:ff:ff:01:00:00:01] 0",
    "192.0.2.1:2 [1]:[0]:[03:44:38:39:ff:ff:01:00:00:01] 1000",
    "192.0.2.1:1 [4]:[03:44:38:39:ff:ff:01:00:00:01]:[32]:[192.0.2.1]",
    "192.0.2.1:1 [4]:[03:44:38:39:ff:ff:01:00:00:01]:[128]:[2001:db8::1]",
    "[11]:[0x010203]",
    "[9]:[0x]",
  ]);
});

test("RFC 9136 section 3.1: a type 5 with ESI and gateway is taken as withdrawn, the others of the UPDATE are not", () => {
  const prefix = (esi: string, gateway: string) =>
    `05 22 0001c00002010001 ${esi} 00000000 18 0a320000 ${gateway} 000fa0`;
  const zero = "00000000000000000000";
  const body = updateBody({
    attributes: [
      attribute(
        0x90,
        14,
        hex(
          "0019 46 04 c0000201 00",
          prefix(zero, "0a320001"),
          prefix("00000000000000000001", "0a320001"),
          prefix("00000000000000000001", "00000000"),
        ),
      ),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body)).toBe(ACCEPT);
  const cursor = new NlriCursor(EVPN);
  const withdrawn: boolean[] = [];
  for (let at = view.reachAt; at < view.reachEnd;) {
    at = cursor.next(body, at, view.reachEnd, false);
    withdrawn.push(cursor.withdraw);
  }
  expect(withdrawn).toEqual([false, true, false]);
});

test("RFC 9136 sections 3.1 and 3.2, table 1: a type 5 is judged by its router's MAC address, too", () => {
  const prefix = (label: string, gateway = "00000000", esi = "00000000000000000000") =>
    `05 22 0001c00002010001 ${esi} 00000000 18 0a320000 ${gateway} ${label}`;
  const judge = (nlri: string, communities: string) => {
    const body = updateBody({
      attributes: [
        attribute(0x90, 14, hex("0019 46 04 c0000201 00", nlri)),
        plain.origin,
        plain.asPath,
        plain.localPreference,
        ...(communities === "" ? [] : [attribute(0xc0, 16, communities)]),
      ],
    });
    expect(parse(body)).toBe(ACCEPT);
    const cursor = new NlriCursor(EVPN);
    cursor.routerMac = view.routerMac;
    expect(cursor.next(body, view.reachAt, view.reachEnd, false)).toBe(view.reachEnd);
    return cursor.withdraw;
  };
  const vxlan = "030c000000000008";
  expect(judge(prefix("000fa0"), "")).toBe(false);
  expect(judge(prefix("000000"), vxlan)).toBe(true);
  expect(judge(prefix("000000"), "")).toBe(true);
  expect(judge(prefix("000000", "0a320001"), "")).toBe(false);
  expect(judge(prefix("000000", "00000000", "00000000000000000001"), "")).toBe(false);
  // A site of origin has the same subtype.
  expect(judge(prefix("000000"), "0003fc0000000001")).toBe(true);
  expect(judge(prefix("000000"), `${vxlan} 0603020000000001`)).toBe(false);
  expect(judge(prefix("000fa0"), `${vxlan} 0603010000000001`)).toBe(true);
  expect(judge(prefix("000fa0"), "0603ffffffffffff")).toBe(true);
  expect(judge(prefix("000fa0"), "0603000000000000")).toBe(true);
});

test("an EVPN route of an unknown type that no key can hold is passed over", () => {
  const cursor = new NlriCursor(EVPN);
  const longest = Uint8Array.of(9, 254, ...new Uint8Array(254).fill(1));
  expect(cursor.next(longest, 0, longest.length, false)).toBe(256);
  expect([cursor.keyBytes, cursor.skip]).toEqual([255, false]);
  const tooLong = Uint8Array.of(9, 255, ...new Uint8Array(255).fill(1));
  expect(cursor.next(tooLong, 0, tooLong.length, false)).toBe(257);
  expect(cursor.skip).toBe(true);
});

test("RFC 4760 section 7: NLRI of a family that was not negotiated are passed over", () => {
  const session = { ...internalSession, families: new Set([IPV4_UNICAST]) };
  const body = updateBody({
    attributes: [
      attribute(0x80, 14, "0001 80 0c 0000000000000000c0000201 00 70 000011 0001c00002010001 0a0102"),
      plain.origin,
      plain.asPath,
      plain.localPreference,
    ],
  });
  expect(parse(body, session)).toBe(DISCARD);
  expect([view.reachFamily, view.unreachFamily, view.faults.length]).toEqual([0, 0, 1]);
});

test("RFC 4271 section 5, RFC 7606 section 7: what becomes of attributes in canonical form", () => {
  const body = updateBody({
    attributes: [
      attribute(0xc0, 254, "dead"), // unknown, transitive: the Partial bit is set
      attribute(0x80, 253, "beef"), // unknown, not transitive: left out
      attribute(0xf0, 8, "fde90001"), // extended length, Partial bit
      attribute(0x40, 6, "00"), // discarded
      plain.origin,
      plain.asPath,
      plain.nextHop,
      plain.localPreference,
      attribute(0x4f, 1, "02"), // a repetition
    ],
    nlri: "18 0a0102",
  });
  expect(parse(body)).toBe(DISCARD);
  expect(view.faults).toEqual([
    "ATOMIC_AGGREGATE has a value: attribute discard",
    "attribute 1 is there twice: attribute discard",
  ]);
  const bytes = canonical(true);
  expect(toHex(bytes)).toBe(
    toHex(
      hex(
        "04 c0000201",
        "01 40 0001 00",
        "02 40 0006 02010000fde9",
        "05 40 0004 00000064",
        "08 e0 0004 fde90001",
        "fe e0 0002 dead",
      ),
    ),
  );
  expect(attributesOf(bytes)).toMatchObject({
    communities: [0xfde90001],
    partial: [8],
    others: [{ code: 254, flags: 0xe0, value: hex("dead") }],
  });
  // The next UPDATE knows nothing of it.
  expect(parse(hex("0000 0000"))).toBe(ACCEPT);
  expect(view.attributeAt.every((at) => at === -1)).toBe(true);
});

test("eBGP: LOCAL_PREF is left out, and not missed", () => {
  const attributes = [plain.origin, plain.asPath, plain.nextHop];
  expect(parse(updateBody({ attributes, nlri: "18 0a0102" }), externalSession)).toBe(ACCEPT);
  const with5 = updateBody({ attributes: [...attributes, plain.localPreference], nlri: "18 0a0102" });
  expect(parse(with5, externalSession)).toBe(DISCARD);
  expect(attributesOf(canonical(true)).localPreference).toBeUndefined();
  expect(parse(updateBody({ attributes, nlri: "18 0a0102" }))).toBe(WITHDRAW);
});
