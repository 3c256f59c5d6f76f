/** Orders change what they are about and nothing else; keys are never used twice; limits are told. */
import { describe, expect, test } from "bun:test";
import { ADDRESS, GatewayLoop, ip, KEY, MAC, SPI } from "../../../test/support/gateway-loop.ts";
import { parseIp, parsePrefix } from "../../net/mod.ts";
import type { GatewayNews, OutboundOrder } from "./order.ts";

const { host, remote, public: own } = ADDRESS[4];
const packet = (bytes = 20, to: string = remote) =>
  ip({ from: host, to, protocol: 17, payload: new Uint8Array(bytes).fill(1) });
const key = (first: number) => KEY.map((byte, i) => (i === 0 ? first : byte));
const outbound = (spi: number, first: number, more: Partial<OutboundOrder> = {}) =>
  ({
    kind: "outbound",
    association: {
      route: "far",
      spi,
      algorithm: "aes-128-gcm",
      keyMaterial: key(first),
      to: parseIp(own),
      next: 1,
      ...more,
    },
  }) as const;
const spiOf = (frame: Uint8Array | undefined) =>
  frame === undefined ? undefined : new DataView(frame.buffer).getUint32(34);
const limits = (news: readonly GatewayNews[]) =>
  news.filter((one) => one.kind === "limit").map(({ direction, limit }) => `${direction} ${limit}`);

describe("outbound associations", () => {
  test("one waits until it is moved to; the one before is removed then", () => {
    const loop = new GatewayLoop().join();
    loop.obey(outbound(900, 90));
    expect(spiOf(loop.fromHost(packet()).wire[0])).toBe(SPI);
    expect(loop.path.report().outbound.map(({ spi, isActive }) => [spi, isActive])).toEqual([
      [900, false],
      [SPI, true],
    ]);
    loop.obey({ kind: "move-outbound", route: "far", spi: 900 });
    expect(spiOf(loop.fromHost(packet()).wire[0])).toBe(900);
    expect(loop.path.report().outbound).toHaveLength(1);
    expect(() => loop.obey({ kind: "move-outbound", route: "far", spi: 901 })).toThrow("it is not there");
  });

  test("a key is never used twice: in use, or with a lower sequence number", () => {
    const loop = new GatewayLoop().join();
    expect(() => loop.obey(outbound(901, KEY[0] as number))).toThrow("its key is in use");
    for (let i = 0; i < 5; i++) loop.fromHost(packet());
    loop.obey({ kind: "remove-outbound", route: "far", spi: SPI });
    for (const next of [1, 5])
      expect(() => loop.obey(outbound(SPI, KEY[0] as number, { next }))).toThrow(
        "its key was used up to sequence number 5; agree on a new key",
      );
    // Not even when its route was removed, and with another SPI.
    loop.obey({ kind: "remove-route", name: "far" }, { kind: "route", route: { name: "far", prefixes: [] } });
    expect(() => loop.obey(outbound(950, KEY[0] as number))).toThrow("its key was used");
    loop.obey(outbound(950, KEY[0] as number, { next: 6 }));
    expect(loop.path.report().outbound[0]).toMatchObject({ next: 6 });
  });

  test("MTU and padding change without a number used twice (4.1)", () => {
    const loop = new GatewayLoop().join();
    const numbers: number[] = [];
    for (const tfc of [false, true, false, true]) {
      loop.obey({ kind: "mtu", mtuBytes: tfc ? 400 : 500, tfc });
      for (const frame of loop.fromHost(packet(), packet()).wire)
        numbers.push(new DataView(frame.buffer).getUint32(38));
    }
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test("sequence numbers end where they were reserved to, and go on after more were", () => {
    const loop = new GatewayLoop();
    loop.join({ outbound: { next: 100, last: 103 } });
    const { wire } = loop.fromHost(...Array.from({ length: 3 }, () => packet()));
    expect(wire).toHaveLength(3);
    expect(limits(loop.news)).toEqual(["outbound sequence"]);
    expect(loop.fromHost(packet(), packet()).wire).toHaveLength(0);
    expect(loop.counters.privateRouter.exhausted).toBe(2);
    loop.obey({ kind: "reserve", route: "far", spi: SPI, last: 300 });
    const [frame] = loop.fromHost(packet()).wire;
    expect(new DataView((frame as Uint8Array<ArrayBuffer>).buffer).getUint32(38)).toBeGreaterThan(102);
    // Never fewer than before.
    loop.obey({ kind: "reserve", route: "far", spi: SPI, last: 5 });
    expect(loop.fromHost(packet()).wire).toHaveLength(1);
  });

  test("limits by packets, bytes and time: soft is told once, after hard nothing passes", () => {
    const loop = new GatewayLoop();
    loop.join({
      outbound: { soft: { packets: 2 }, hard: { bytes: 200 } },
      inbound: { soft: { bytes: 100 }, hard: { packets: 4 } },
    });
    let came = 0;
    for (let i = 0; i < 8; i++) came += loop.around(packet()).length;
    // 40 bytes each: five reach 200 on the way out, and the fourth was the last in.
    expect(came).toBe(4);
    expect(limits(loop.news)).toEqual(["outbound soft", "inbound soft", "inbound hard", "outbound hard"]);
    const timed = new GatewayLoop().join({ outbound: { endsMs: 2000 } });
    expect(timed.fromHost(packet()).wire).toHaveLength(1);
    timed.nowMs = 2000;
    expect(timed.fromHost(packet()).wire).toHaveLength(0);
  });

  test("a remote gateway that moved is followed; one that cannot be reached from here is refused", () => {
    const loop = new GatewayLoop().join();
    loop.obey({
      kind: "endpoint",
      route: "far",
      spi: SPI,
      to: parseIp("198.51.100.7"),
      udp: { from: 4500, to: 4501 },
    });
    const frame = loop.fromHost(packet()).wire[0] as Uint8Array<ArrayBuffer>;
    expect([...frame.subarray(30, 38)]).toEqual([198, 51, 100, 7, 0x11, 0x94, 0x11, 0x95]);
    // Without IPv6 on the public side it stays where it was.
    const mac = MAC.public;
    const nextHop = { ip: parseIp(own), nextHop: parseIp(own), nextHopMac: mac };
    loop.obey({ kind: "side", side: "public", configuration: { mac, four: nextHop } });
    const six = { kind: "endpoint", route: "far", spi: SPI, to: parseIp("2001:db8::7") } as const;
    expect(() => loop.obey(six)).toThrow("the public side has no IPv6 address");
    expect(loop.fromHost(packet()).wire[0]?.subarray(30, 38)).toEqual(frame.subarray(30, 38));
  });
});

describe("routes", () => {
  test("the longest prefix decides; one is added, changed and removed without touching another", () => {
    const loop = new GatewayLoop().join();
    const near = [parsePrefix("10.1.0.0/24")];
    loop.obey({ kind: "route", route: { name: "near", prefixes: near, mtuBytes: 100 } });
    loop.obey({ ...outbound(901, 91), association: { ...outbound(901, 91).association, route: "near" } });
    loop.obey({ kind: "move-outbound", route: "near", spi: 901 });
    expect(spiOf(loop.fromHost(packet()).wire[0])).toBe(901);
    expect(spiOf(loop.fromHost(packet(20, "10.1.9.1")).wire[0])).toBe(SPI);
    expect(loop.fromHost(packet(81)).wire).toEqual([]);
    loop.obey({ kind: "route", route: { name: "near", prefixes: [parsePrefix("10.2.0.0/16")] } });
    expect(spiOf(loop.fromHost(packet()).wire[0])).toBe(SPI);
    expect(spiOf(loop.fromHost(packet(81, "10.2.0.1")).wire[0])).toBe(901);
    loop.obey({ kind: "remove-route", name: "near" });
    expect(spiOf(loop.fromHost(packet()).wire[0])).toBe(SPI);
    expect(loop.path.report().routes.map(({ name }) => name)).toEqual(["far"]);
    expect(loop.path.report().outbound).toHaveLength(1);
  });

  test("1,000 come and go one by one while a flow passes, and it loses nothing", () => {
    const loop = new GatewayLoop().join();
    const route = (i: number) => ({
      kind: "route" as const,
      route: { name: `r${i}`, prefixes: [`11.${i >> 8}.${i & 255}.0/24`, `fd11:${i}::/48`].map(parsePrefix) },
    });
    for (let i = 0; i < 1000; i++) {
      loop.obey(route(i), {
        kind: "outbound",
        association: {
          ...outbound(1000 + i, 0).association,
          route: `r${i}`,
          keyMaterial: KEY.map((byte, at) => (at < 2 ? 200 + (at === 0 ? i >> 5 : i & 31) : byte)),
        },
      });
      if (loop.around(packet()).length !== 1) throw new Error(`the packet after route ${i} was lost`);
    }
    expect(loop.path.report().routes).toHaveLength(1001);
    for (let i = 0; i < 1000; i += 3) {
      loop.obey({ kind: "remove-route", name: `r${i}` });
      if (loop.around(packet()).length !== 1) throw new Error(`the packet after route ${i} was lost`);
    }
    expect(loop.path.report().counters.privateRouter).toMatchObject({ routeErrors: 0 });
  });

  test("what cannot be is refused with the reason, and nothing has changed", () => {
    const loop = new GatewayLoop().join();
    const before = loop.path.report();
    const refused = (order: Parameters<typeof loop.path.obey>[0]) => {
      expect(() => loop.obey(order)).toThrow();
      expect(loop.path.report()).toEqual(before);
    };
    refused({
      kind: "route",
      route: { name: "thief", prefixes: ["10.3.0.0/16", "10.1.0.0/16"].map(parsePrefix) },
    });
    refused({ kind: "route", route: { name: "long", prefixes: [], mtuBytes: 9000 } });
    refused({ kind: "mtu", mtuBytes: 70_000, tfc: false });
    refused({
      kind: "inbound",
      association: { route: "far", spi: SPI, algorithm: "aes-128-gcm", keyMaterial: key(77) },
    });
    refused({
      kind: "inbound",
      association: { route: "no", spi: 999, algorithm: "aes-128-gcm", keyMaterial: KEY },
    });
    refused({
      kind: "inbound",
      association: { route: "far", spi: 255, algorithm: "aes-128-gcm", keyMaterial: KEY },
    });
    refused(outbound(255, 99));
    refused({ ...outbound(999, 98, { keyMaterial: new Uint8Array(19) }) });
    refused({ kind: "reserve", route: "far", spi: 999, last: 5 });
    expect(loop.around(packet())).toHaveLength(1);
  });

  test("a side's addresses change, and associations stay", () => {
    const loop = new GatewayLoop().join();
    const four = { ip: parseIp("203.0.113.77"), nextHop: parseIp("203.0.113.78") };
    const configuration = { mac: 0x02_00_00_00_00_77 as never, four };
    loop.obey({ kind: "side", side: "public", configuration });
    // The new neighbour is not known yet.
    expect(loop.fromHost(packet()).wire.filter((frame) => frame[12] === 8 && frame[13] === 0)).toEqual([]);
    expect(loop.counters.publicInterface.unresolved).toBe(1);
    loop.obey({ kind: "next-hop", side: "public", family: 4, mac: 0x02_00_00_00_00_78 as never });
    const [frame] = loop.fromHost(packet()).wire;
    expect([...(frame as Uint8Array).subarray(0, 12)]).toEqual([2, 0, 0, 0, 0, 0x78, 2, 0, 0, 0, 0, 0x77]);
    expect([...(frame as Uint8Array).subarray(26, 30)]).toEqual([203, 0, 113, 77]);
    expect(loop.path.report().outbound[0]).toMatchObject({ next: 2 });
  });
});

describe("inbound associations", () => {
  const inbound = (more: object = {}) =>
    ({
      kind: "inbound",
      association: { route: "far", spi: SPI, algorithm: "aes-128-gcm", keyMaterial: KEY, ...more },
    }) as const;

  test("numbers up to the newest that was seen before a restart are refused, and the report tells it", () => {
    const loop = new GatewayLoop().join({ outbound: { next: 1000 }, inbound: { newest: 1002 } });
    const came = [1, 2, 3, 4, 5].map(() => loop.around(packet()).length);
    expect(came).toEqual([0, 0, 0, 1, 1]);
    expect(loop.path.report().inbound[0]).toMatchObject({ replayed: 3, newest: 1004 });
    expect(new GatewayLoop().join().path.report().inbound[0]).toMatchObject({ newest: 0 });
  });

  test("what was heard is not taken again when an association is given again, or removed and given again", () => {
    const loop = new GatewayLoop().join();
    const frames = Array.from({ length: 6 }, () => loop.fromHost(packet()).wire[0] as Uint8Array);
    const passes = (number: number) =>
      loop.fromWire((frames[number - 1] as Uint8Array).slice(14)).host.length === 1;
    expect([passes(1), passes(3)]).toEqual([true, true]);
    // In its place: the whole window stays, with what is missing in it, and the counters.
    loop.obey(inbound());
    expect([passes(1), passes(3), passes(2), passes(4)]).toEqual([false, false, true, true]);
    expect(loop.path.report().inbound[0]).toMatchObject({ packets: 4, replayed: 2, newest: 4 });
    // With a window of another size, and after a removal, all up to the newest is refused.
    loop.obey(inbound({ windowPackets: 64 }));
    expect([passes(4), passes(5)]).toEqual([false, true]);
    loop.obey({ kind: "remove-inbound", spi: SPI }, inbound());
    expect([passes(5), passes(6)]).toEqual([false, true]);
    loop.obey({ kind: "remove-route", name: "far" }).join({ outbound: { next: 100 } });
    expect([passes(5), passes(6)]).toEqual([false, false]);
    expect(loop.around(packet())).toHaveLength(1);
  });

  test("another key does not take a taken SPI", () => {
    const loop = new GatewayLoop().join();
    expect(() => loop.obey(inbound({ keyMaterial: key(9) }))).toThrow("its SPI is taken");
  });
});

test("a hard limit is not passed, however many packets come at once", () => {
  for (const [which, hard, came] of [
    ["outbound", { packets: 10 }, 10],
    // 40 bytes each.
    ["outbound", { bytes: 399 }, 9],
    ["inbound", { packets: 10 }, 10],
    ["inbound", { bytes: 399 }, 9],
  ] as const) {
    const loop = new GatewayLoop().join({ [which]: { hard } });
    expect(loop.around(...Array.from({ length: 30 }, () => packet()))).toHaveLength(came);
    expect(loop.around(packet())).toHaveLength(0);
    expect(limits(loop.news)).toEqual([`${which} hard`]);
    expect(loop.path.report()[which][0]).toMatchObject({ packets: came });
    expect(loop.allFree()).toBe(true);
  }
});

test("that sequence numbers run out is told each second until more may be used, while packets come", () => {
  const loop = new GatewayLoop();
  loop.join({ outbound: { next: 1, last: 4 } });
  const pass = (passedMs: number) => {
    loop.nowMs += passedMs;
    loop.fromHost(packet());
    return limits(loop.news.splice(0));
  };
  const told = ["outbound sequence"];
  expect([0, 0, 0, 0, 0, 999, 1, 500, 500].map(pass)).toEqual([[], told, [], [], [], [], told, [], told]);
  // One that allows nothing more is not obeyed.
  loop.obey({ kind: "reserve", route: "far", spi: SPI, last: 4 });
  expect(pass(1000)).toEqual(told);
  loop.obey({ kind: "reserve", route: "far", spi: SPI, last: 1000 });
  expect(pass(5000)).toEqual([]);
});

test("the clock is that of the turn, from the first on, and does not go back", () => {
  const loop = new GatewayLoop().join({ outbound: { endsMs: 5000 } });
  loop.nowMs = 6000;
  expect(loop.fromHost(packet()).wire).toHaveLength(0);
  const other = new GatewayLoop().join();
  other.nowMs = 7000;
  other.around(packet());
  other.nowMs = 100;
  other.around(packet());
  expect(other.path.report().inbound[0]).toMatchObject({ heardMs: 7000 });
});

describe("MTU", () => {
  test("one beyond the frames is limited to them and told; a packet that they cannot hold is refused with it", () => {
    const loop = new GatewayLoop({ mtuBytes: 8923 }).join();
    const { mtu, routes } = loop.path.report();
    expect(mtu).toEqual({ bytes: 1693, askedBytes: 8923, mostBytes: 1693 });
    expect(routes[0]).toMatchObject({ mtuBytes: 1693 });
    const most = ip({
      from: host,
      to: remote,
      protocol: 17,
      payload: new Uint8Array(1673),
      fragment: 0x4000,
    });
    expect(loop.around(most)).toHaveLength(1);
    const more = ip({
      from: host,
      to: remote,
      protocol: 17,
      payload: new Uint8Array(1674),
      fragment: 0x4000,
    });
    const [error] = loop.fromHost(more).host as [Uint8Array<ArrayBuffer>];
    expect([...error.subarray(34, 36)]).toEqual([3, 4]);
    expect(new DataView(error.buffer).getUint16(40)).toBe(1693);
    loop.obey({ kind: "mtu", mtuBytes: 8923, tfc: true });
    expect(loop.around(packet())).toHaveLength(1);
  });

  test("a route's own beyond the frames is refused", () => {
    const loop = new GatewayLoop().join();
    const route = { name: "far", prefixes: [parsePrefix("10.1.0.0/16")], mtuBytes: 1694 };
    expect(() => loop.obey({ kind: "route", route })).toThrow(
      "route far: mtuBytes is 1694, and the frames have room for 1693; choose a smaller one, or larger frames",
    );
    loop.obey({ kind: "route", route: { ...route, mtuBytes: 1693 } });
  });
});
