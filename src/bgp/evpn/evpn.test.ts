import { describe, expect, test } from "bun:test";
import { formatIp, type Ip, parseIp, parseMac, parsePrefix } from "../../net/mod.ts";
import {
  encodeCanonical,
  encodeNlri,
  type Esi,
  parseEsi,
  type PathAttributes,
  ZERO_ESI,
} from "../wire/mod.ts";
import { DUPLICATE_MOVES, DUPLICATE_MS, learnedHere, type Mobility } from "./mobility.ts";
import { evpnAttributes } from "./remote-route.ts";
import { EthernetSegments } from "./segments.ts";
import { autoRd, autoTarget, type EvpnSegment, inclusiveMulticast, ipPrefix, macIp } from "./originate.ts";

const vtep = parseIp("10.255.0.1");
const routed = {
  vni: 4000,
  vtep,
  rd: autoRd(vtep, 1),
  exportTargets: [autoTarget(65001, 4000)],
  routerMac: parseMac("02:00:00:00:0f:a0"),
};
const segment: EvpnSegment = {
  vni: 100,
  vtep,
  rd: autoRd(vtep, 2),
  exportTargets: [autoTarget(65001, 100)],
};

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
/** The value of the extended communities, by their canonical header: code, flags, length. */
const communitiesOf = (attributes: Parameters<typeof encodeCanonical>[0]) =>
  /10c0(....)(.*)$/.exec(hex(encodeCanonical({ ...attributes, origin: "igp" })).replace(/16c0.*$/, ""))?.[2];

describe("routes as FRR 10.3 announces them (AS 65001, router 10.255.0.1, VNI 100, L3VNI 4000)", () => {
  test("type 2, a MAC alone", () => {
    const { nlri, attributes } = macIp(segment, { mac: parseMac("7a:94:b1:25:12:4b") }, 0);
    const { key, extra } = encodeNlri(nlri);
    expect(hex(key)).toBe("02" + "00010aff00010002" + "00000000" + "7a94b125124b" + "00");
    expect(hex(extra)).toBe("00000000000000000000" + "000064");
    expect(communitiesOf(attributes)).toBe("030c000000000008" + "0002fde900000064");
  });

  test("type 2 with an address in a routed segment: both labels, both targets, the router's MAC", () => {
    const local = { mac: parseMac("02:aa:00:00:00:05"), ip: parseIp("10.1.1.5") };
    const { nlri, attributes } = macIp({ ...segment, routed }, local, 0);
    expect(hex(encodeNlri(nlri).extra)).toBe("00000000000000000000" + "000064" + "000fa0");
    expect(communitiesOf(attributes)).toBe(
      "030c000000000008" + "0002fde900000064" + "0002fde900000fa0" + "0603020000000fa0",
    );
  });

  test("a link-local address is not routed; sticky, gateway and router flags; a sequence above 0", () => {
    const mac = parseMac("02:aa:00:00:00:05");
    const local = { mac, ip: parseIp("fe80::5"), sticky: true, defaultGateway: true, router: true };
    const { nlri, attributes } = macIp({ ...segment, routed }, local, 0);
    expect(hex(encodeNlri(nlri).extra)).toBe("00000000000000000000" + "000064");
    expect(communitiesOf(attributes)).toBe(
      "030c000000000008" + "0002fde900000064" + "0600010000000000" + "030d000000000000" + "0608010000000000",
    );
    expect(communitiesOf(macIp(segment, { mac }, 7).attributes)).toEndWith("0600000000000007");
  });

  test("what a host belongs to is told in colors, and read again", () => {
    const local = { mac: parseMac("02:aa:00:00:00:05"), colors: [7, 0xffffffff] };
    const { attributes } = macIp(segment, local, 0);
    expect(communitiesOf(attributes)).toEndWith("030b000000000007" + "030b0000ffffffff");
    expect(evpnAttributes(encodeCanonical(attributes)).colors).toEqual([7, 0xffffffff]);
  });

  test("type 3 has the tunnel of ingress replication", () => {
    const { nlri, attributes } = inclusiveMulticast(segment);
    expect(hex(encodeNlri(nlri).key)).toBe("0300010aff0001000200000000" + "20" + "0aff0001");
    expect(hex(encodeCanonical(attributes))).toContain("16c00009" + "00" + "06" + "000064" + "0aff0001");
  });

  test("type 5", () => {
    const { nlri, attributes } = ipPrefix(routed, parsePrefix("10.50.0.0/24"));
    expect(hex(encodeNlri(nlri).extra)).toBe("00000000000000000000" + "00000000" + "000fa0");
    expect(communitiesOf(attributes)).toBe("030c000000000008" + "0002fde900000fa0" + "0603020000000fa0");
  });
});

describe("RFC 7432 section 15: MAC mobility", () => {
  const here = { nowMs: 0, sticky: false };
  const remote = (sequence: number, sticky = false) => ({ sequence, sticky });
  const sequenceOf = (known: Mobility | undefined, other?: ReturnType<typeof remote>) => {
    const learned = learnedHere(known, other, here);
    return learned.kind === "announce" ? learned.mobility.sequence : learned.kind;
  };

  test("nobody else has it: as it was, at first 0", () => {
    expect(sequenceOf(undefined)).toBe(0);
    expect(sequenceOf({ sequence: 4, movesMs: [], duplicate: false })).toBe(4);
  });

  test("it was elsewhere: one more than there, never less than it was here", () => {
    expect(sequenceOf(undefined, remote(0))).toBe(1);
    expect(sequenceOf(undefined, remote(6))).toBe(7);
    expect(sequenceOf({ sequence: 9, movesMs: [], duplicate: false }, remote(2))).toBe(9);
  });

  test("7.7: nothing is more than the highest of four bytes", () => {
    expect(sequenceOf(undefined, remote(0xffff_fffe))).toBe(0xffff_ffff);
    expect(sequenceOf(undefined, remote(0xffff_ffff))).toBe(0xffff_ffff);
  });

  test("15.2: what is sticky elsewhere is not announced, unless it is sticky here too", () => {
    expect(sequenceOf(undefined, remote(0, true))).toBe("sticky-elsewhere");
    expect(learnedHere(undefined, remote(0, true), { nowMs: 0, sticky: true }).kind).toBe("announce");
  });

  test("15.1: the fifth move within 180 s is a duplicate, told once; slow moves are none", () => {
    for (const [pauseMs, expected] of [
      [DUPLICATE_MS / 10, "duplicate"],
      [DUPLICATE_MS / 3, "announce"],
    ] as const) {
      let known: Mobility | undefined;
      const kinds: string[] = [];
      for (let move = 0; move < DUPLICATE_MOVES + 1; move++) {
        const learned = learnedHere(known, remote(move * 2), { nowMs: move * pauseMs, sticky: false });
        if (learned.kind === "sticky-elsewhere") throw new Error("not sticky");
        known = learned.mobility;
        kinds.push(learned.kind === "duplicate" ? `duplicate ${learned.isNew}` : learned.kind);
      }
      expect(kinds.slice(0, 4)).toEqual(["announce", "announce", "announce", "announce"]);
      expect(kinds.slice(4)).toEqual(
        expected === "announce" ? ["announce", "announce"] : ["duplicate true", "duplicate false"],
      );
    }
  });
});

describe("RFC 7432 section 8.4: aliasing", () => {
  const esi = parseEsi("03:44:38:39:ff:ff:01:00:00:01") as Esi;
  const [a, b] = [parseIp("10.0.0.1"), parseIp("10.0.0.2")];
  const target = autoTarget(65001, 100);
  const route = (vtep: Ip, tag: number, singleActive = false) => ({
    nlri: { kind: "ethernet-auto-discovery", rd: autoRd(vtep, tag === 0 ? 2 : 1), esi, tag } as const,
    attributes: {
      origin: "igp",
      asPath: [],
      nextHop: { address: vtep },
      extendedCommunities: [
        { kind: "route-target", target },
        ...(tag === 0 ? [] : [{ kind: "esi-label", singleActive, label: 0 } as const]),
      ],
    } as PathAttributes,
  });
  const WHOLE = 0xffffffff;
  const segments = (...routes: ReturnType<typeof route>[]) => {
    const known = new EthernetSegments();
    for (const { nlri, attributes } of routes) known.update(nlri, attributes);
    return known;
  };
  const ways = (known: EthernetSegments, targets = [target]) => {
    const found = known.waysTo({ esi, tag: 0, nextHop: a, targets });
    return found && `${found.mode} ${found.vteps.map(formatIp).join(" ")}`;
  };

  test("all that announced the segment and the instance", () => {
    expect(ways(segments())).toBe("all-active 10.0.0.1");
    expect(ways(segments(route(b, WHOLE), route(b, 0)))).toBe("all-active 10.0.0.1 10.0.0.2");
    expect(segments().waysTo({ esi: ZERO_ESI, tag: 0, nextHop: a, targets: [] })).toBeUndefined();
  });

  test("not one that announced only one of the two, or another instance", () => {
    expect(ways(segments(route(b, 0)))).toBe("all-active 10.0.0.1");
    expect(ways(segments(route(b, WHOLE)))).toBe("all-active 10.0.0.1");
    expect(ways(segments(route(b, WHOLE), route(b, 0)), [autoTarget(65001, 101)])).toBe(
      "all-active 10.0.0.1",
    );
  });

  test("one that takes its route for the segment back is gone at once; single-active is told", () => {
    const known = segments(route(a, WHOLE, true), route(b, WHOLE, true), route(a, 0), route(b, 0));
    expect(ways(known)).toBe("single-active 10.0.0.1 10.0.0.2");
    known.update(route(b, WHOLE).nlri, undefined);
    expect(ways(known)).toBe("single-active 10.0.0.1");
  });
});
