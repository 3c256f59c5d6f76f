import { expect, test } from "bun:test";
import { formatIp, parseIp } from "../../net/mod.ts";
import { hex, toHex } from "../../../test/support/bgp-bytes.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import {
  type Capability,
  decodeOpen,
  encodeOpen,
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  printCapability,
} from "./mod.ts";

const read = (body: Uint8Array) => decodeOpen(body, 0, body.length);

function opened(body: Uint8Array) {
  const result = read(body);
  if ("error" in result) throw new Error(result.error.text);
  return result.open;
}

/** OPEN of FRR 10.3 with a type 2 route's session: each capability in a parameter of its own. */
const FRR = hex(
  "04 fde9 0009 0aff0001 5d",
  "0206 01 04 0019 00 46", // multiprotocol, L2VPN EVPN
  "0202 02 00", // route refresh
  "0202 46 00", // enhanced route refresh
  "0206 41 04 0000fde9", // AS 65001
  "0202 06 00", // extended messages
  "0206 45 04 0019 46 01", // add-path, receive
  "0207 4c 05 0019 46 0000", // paths limit
  "0202 43 00", // dynamic
  "0206 49 04 02 766d 00", // host name
  "0204 40 02 4078", // graceful restart, N bit, 120 s
  "0209 47 07 0019 46 80 000000", // long-lived graceful restart
  "0211 4b 0f 0e 4652526f7574696e672f31302e33", // software version
);

test("RFC 4271 section 4.2, RFC 5492: the OPEN of FRR 10.3, by field", () => {
  const open = opened(FRR);
  expect(open.as).toBe(65_001);
  expect(open.holdSeconds).toBe(9);
  expect(formatIp(open.routerId)).toBe("10.255.0.1");
  expect(open.capabilities).toEqual([
    { kind: "multiprotocol", family: EVPN },
    { kind: "refresh" },
    { kind: "enhanced-refresh" },
    { kind: "as4", as: 65_001 },
    { kind: "extended-messages" },
    { kind: "add-path", families: [{ family: EVPN, send: false, receive: true }] },
    { kind: "unknown", code: 76, value: hex("0019460000") },
    { kind: "unknown", code: 67, value: hex("") },
    { kind: "fqdn", host: "vm", domain: "" },
    { kind: "graceful-restart", restarting: false, notification: true, restartSeconds: 120, families: [] },
    {
      kind: "long-lived-graceful-restart",
      families: [{ family: EVPN, forwarding: true, staleSeconds: 0 }],
    },
    { kind: "software-version", version: "FRRouting/10.3" },
  ]);
  expect(open.capabilities.map(printCapability)).toEqual([
    "multiprotocol l2vpn-evpn",
    "route refresh",
    "enhanced route refresh",
    "4-octet AS 65001",
    "extended messages",
    "add-path l2vpn-evpn receive",
    "capability 76",
    "capability 67",
    "host name vm",
    "graceful restart 120 s, notification",
    "long-lived graceful restart l2vpn-evpn 0 s preserved",
    "software FRRouting/10.3",
  ]);
});

test("the OPEN that we send: one parameter, AS_TRANS for a large AS (RFC 6793 section 9)", () => {
  const bytes = encodeOpen({
    as: 4_200_000_000,
    holdSeconds: 90,
    routerId: parseIp("192.0.2.1"),
    capabilities: [
      { kind: "multiprotocol", family: IPV4_UNICAST },
      {
        kind: "extended-next-hop",
        families: [{ family: IPV4_UNICAST, nextHopAfi: 2 }],
      },
      { kind: "as4", as: 4_200_000_000 },
      {
        kind: "graceful-restart",
        restarting: true,
        notification: true,
        restartSeconds: 300,
        families: [{ family: IPV6_UNICAST, forwarding: true }],
      },
    ],
  });
  expect(toHex(bytes.subarray(16))).toBe(
    toHex(
      hex(
        "003b 01",
        "04 5ba0 005a c0000201",
        "1e 02 1c",
        "01 04 0001 00 01",
        "05 06 0001 0001 0002",
        "41 04 fa56ea00",
        "40 06 c12c 0002 01 80",
      ),
    ),
  );
  expect(opened(bytes.subarray(19)).as).toBe(4_200_000_000);
});

test("RFC 9072 section 2: the long form, for more than 254 octets", () => {
  const version = { kind: "software-version", version: "v".repeat(200) } as const;
  const capabilities: Capability[] = [version, { kind: "fqdn", host: "h".repeat(60), domain: "d" }];
  const open = { as: 65_001, holdSeconds: 9, routerId: parseIp("10.0.0.1"), capabilities };
  const bytes = encodeOpen(open);
  // 255 | 255 | length 2 | type 2 | length 2
  expect(toHex(bytes.subarray(28, 35))).toBe(toHex(hex("ff ff 010f 02 010c")));
  expect(opened(bytes.subarray(19))).toEqual(open);
  // The one-octet length means nothing then, unless it is zero.
  const other = bytes.slice(19);
  other[9] = 17;
  expect(opened(other)).toEqual(open);
  other[9] = 0;
  expect(read(other)).toHaveProperty("error.subcode", 0);
});

test("RFC 4271 section 6.2: errors in OPEN", () => {
  const cases: readonly (readonly [string, string, number, string])[] = [
    ["version 3", "03 fde9 0009 0a000001 00", 1, "0004"],
    ["AS 0 (RFC 7607)", "04 0000 0009 0a000001 00", 2, ""],
    ["AS 0 in the capability (RFC 7607)", "04 fde9 0009 0a000001 08 0206 4104 00000000", 2, ""],
    ["identifier 0 (RFC 6286)", "04 fde9 0009 00000000 00", 3, ""],
    ["hold time 1", "04 fde9 0001 0a000001 00", 6, ""],
    ["hold time 2", "04 fde9 0002 0a000001 00", 6, ""],
    ["authentication parameter", "04 fde9 0009 0a000001 03 01 01 00", 4, ""],
    ["parameters longer than the message", "04 fde9 0009 0a000001 05 0202 0200", 0, ""],
    ["parameters shorter than the message", "04 fde9 0009 0a000001 02 0202 0200", 0, ""],
    ["half a parameter header", "04 fde9 0009 0a000001 01 02", 0, ""],
    ["a parameter that exceeds the rest by one octet", "04 fde9 0009 0a000001 03 02 02 02", 0, ""],
    ["a parameter that exceeds the rest", "04 fde9 0009 0a000001 02 02 05", 0, ""],
    ["a capability that exceeds its parameter", "04 fde9 0009 0a000001 04 02 02 01 04", 0, ""],
    ["half a capability header", "04 fde9 0009 0a000001 03 02 01 01", 0, ""],
    ["the long form, cut (RFC 9072)", "04 fde9 0009 0a000001 ff ff 00", 0, ""],
    ["the long form, too long (RFC 9072)", "04 fde9 0009 0a000001 ff ff 0009 02 0002 0200", 0, ""],
  ];
  for (const [name, text, subcode, data] of cases) {
    const result = read(hex(text));
    if (!("error" in result)) throw new Error(`${name}: accepted`);
    expect([result.error.code, result.error.subcode, toHex(result.error.data)], name).toEqual([
      2,
      subcode,
      data,
    ]);
  }
  expect(opened(hex("04 fde9 0000 0a000001 00")).holdSeconds).toBe(0);
});

test("a capability whose value is not laid out as its RFC says stays bytes", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["01 03 000100", 1],
    ["02 01 00", 2],
    ["05 05 0001000100", 5],
    ["40 01 40", 64],
    ["40 05 4078000101", 64],
    ["41 02 fde9", 65],
    // RFC 7911 section 4: any value but 1, 2, 3: not understood.
    ["45 04 00010104", 69],
    ["45 04 00010100", 69],
    ["47 06 000101800000", 71],
    ["49 03 056162", 73],
    ["49 00", 73],
    ["4b 02 0561", 75],
    ["09 02 0000", 9],
  ];
  for (const [text, code] of cases) {
    const capability = hex(text);
    const body = Uint8Array.of(
      ...hex("04 fde9 0009 0a000001"),
      capability.length + 2,
      2,
      capability.length,
      ...capability,
    );
    expect(opened(body).capabilities, text).toEqual([{ kind: "unknown", code, value: capability.slice(2) }]);
  }
});

test("reserved bits of capabilities are ignored (RFC 4760 section 8, RFC 4724 section 3)", () => {
  expect(opened(hex("04 fde9 0009 0a000001 08 0206 0104 0001 ff 01")).capabilities).toEqual([
    { kind: "multiprotocol", family: IPV4_UNICAST },
  ]);
  expect(opened(hex("04 fde9 0009 0a000001 0a 0208 4006 3078 0001 01 7f")).capabilities).toEqual([
    {
      kind: "graceful-restart",
      restarting: false,
      notification: false,
      restartSeconds: 120,
      families: [{ family: IPV4_UNICAST, forwarding: false }],
    },
  ]);
});

test("decode(encode(x)) = x for random OPENs", () => {
  const seed = newSeed();
  const random = new Random(seed);
  const family = () => random.pick([IPV4_UNICAST, IPV6_UNICAST, EVPN]);
  const list = <T>(make: () => T) => Array.from({ length: random.below(4) }, make);
  const made: readonly (() => Capability)[] = [
    () => ({ kind: "multiprotocol", family: family() }),
    () => ({ kind: "refresh" }),
    () => ({
      kind: "extended-next-hop",
      families: list(() => ({ family: family(), nextHopAfi: random.below(65_536) })),
    }),
    () => ({ kind: "extended-messages" }),
    () => ({ kind: "role", role: random.below(256) }),
    () => ({
      kind: "graceful-restart",
      restarting: random.chance(0.5),
      notification: random.chance(0.5),
      restartSeconds: random.below(4096),
      families: list(() => ({ family: family(), forwarding: random.chance(0.5) })),
    }),
    () => ({ kind: "as4", as: 1 + random.below(2 ** 32 - 1) }),
    () => ({
      kind: "add-path",
      families: list(() => {
        const direction = 1 + random.below(3);
        return { family: family(), send: (direction & 2) !== 0, receive: (direction & 1) !== 0 };
      }),
    }),
    () => ({ kind: "enhanced-refresh" }),
    () => ({
      kind: "long-lived-graceful-restart",
      families: list(() => ({
        family: family(),
        forwarding: random.chance(0.5),
        staleSeconds: random.below(2 ** 24),
      })),
    }),
    () => ({ kind: "fqdn", host: random.text(20), domain: random.text(20) }),
    () => ({ kind: "software-version", version: random.text(60) }),
    () => ({ kind: "cisco-refresh" }),
    () => ({ kind: "unknown", code: 200 + random.below(50), value: random.bytes(random.below(40)) }),
  ];
  for (let i = 0; i < 1000; i++) {
    const capabilities = Array.from({ length: random.below(12) }, () => random.pick(made)());
    const as4 = capabilities.find((capability) => capability.kind === "as4");
    const open = {
      as: as4?.as ?? 1 + random.below(65_535),
      holdSeconds: random.pick([0, 3, 90, 65_535]),
      routerId: parseIp("10.0.0.1"),
      capabilities,
    };
    const bytes = encodeOpen(open);
    expect(opened(bytes.subarray(19)), `seed ${seed}`).toEqual(open);
    expect(encodeOpen(opened(bytes.subarray(19)))).toEqual(bytes);
  }
});
