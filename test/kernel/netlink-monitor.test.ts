/** Events: none is missed, by callback or by drain, and an overrun is noticed and survived. */
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { formatPrefix, parseInterfaceAddress, parseIp, parseMac, parsePrefix } from "../../src/net/mod.ts";
import {
  addAddress,
  addFdb,
  addLink,
  addNeighbour,
  addNexthop,
  addRoute,
  addRule,
  deleteLink,
  deleteRoute,
  Monitor,
  type MonitorGroup,
  type RouteEvent,
  type RouteRequest,
  setLink,
} from "../../src/netlink/mod.ts";
import { openDescriptions } from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

/** A monitor that keeps what it hears, for tests to look at. */
function listen(
  scratch: Scratch,
  options: { groups?: readonly MonitorGroup[]; receiveBufferBytes?: number } = {},
) {
  const events: RouteEvent[] = [];
  const heard = { events, overruns: 0, onOverrun: () => {} };
  const monitor = Monitor.open({
    netns: scratch.netns,
    ...options,
    onEvent: (event) => events.push(event),
    onOverrun: () => {
      heard.overruns++;
      heard.onOverrun();
    },
  });
  return Object.assign(heard, {
    monitor,
    /** Kinds heard since the last call, `-` for deletions. */
    kinds: () =>
      [...new Set(events.splice(0).map((event) => `${event.deleted ? "-" : ""}${event.kind}`))].sort(),
    [Symbol.dispose]: () => monitor.close(),
  });
}

async function until(what: string, predicate: () => boolean): Promise<void> {
  for (let i = 0; !predicate(); i++) {
    if (i > 5000) throw new Error(`waited in vain: ${what}`);
    await Bun.sleep(2);
  }
}

const blackholes = (count: number, change: typeof addRoute | typeof deleteRoute): RouteRequest[] =>
  Array.from({ length: count }, (_, i) =>
    change({ destination: parsePrefix(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}/32`), type: "blackhole" }),
  );

describe.skipIf(notRoot !== undefined)(`monitor${notRoot === undefined ? "" : ` (${notRoot})`}`, () => {
  test("drain brings every kind of event before it returns", () => {
    using scratch = new Scratch();
    const { route } = scratch;
    using heard = listen(scratch);
    const does = (...requests: RouteRequest[]) => {
      for (const request of requests) route.request(request);
      heard.monitor.drain();
      return heard.kinds();
    };
    // Of the port's carrier the kernel tells when it comes to it (net/core/link_watch.c).
    const others = (...requests: RouteRequest[]) =>
      does(...requests).filter((kind) => kind !== "link" && kind !== "port");
    expect(does(addLink({ name: "br0", type: "bridge", up: true, addrGen: "none" }))).toContain("link");
    const br = scratch.index("br0");
    expect(does(addLink({ name: "v0", type: "veth", peer: { name: "v1" } }))).toContain("link");
    expect(does(setLink({ name: "v0", master: br, up: true }))).toEqual(
      expect.arrayContaining(["link", "port", "fdb"]),
    );
    expect(others(addAddress({ linkIndex: br, address: parseInterfaceAddress("10.0.0.1/24") }))).toEqual([
      "address",
      "route",
    ]);
    expect(others(addRoute({ destination: parsePrefix("10.1.0.0/16"), type: "blackhole" }))).toEqual([
      "route",
    ]);
    expect(others(deleteRoute({ destination: parsePrefix("10.1.0.0/16") }))).toEqual(["-route"]);
    expect(does(setLink({ name: "lo", up: true }), addNexthop({ id: 1, blackhole: true }))).toContain(
      "nexthop",
    );
    const mac = parseMac("02:00:00:00:00:01");
    expect(others(addNeighbour({ linkIndex: br, ip: parseIp("10.0.0.9"), mac }))).toEqual(["neighbour"]);
    expect(does(addFdb({ linkIndex: scratch.index("v0"), mac, master: true }))).toContain("fdb");
    expect(others(addRule({ family: 6, priority: 9, table: 9 }))).toEqual(["rule"]);
    expect(does(deleteLink({ index: br }))).toEqual(
      expect.arrayContaining(["-address", "-link", "-port", "-route"]),
    );
    expect(heard.overruns).toBe(0);
  });

  test("a port setting changed by bridge(8) is heard", () => {
    using scratch = new Scratch();
    scratch.route.request(addLink({ name: "br0", type: "bridge" }));
    const [master, v0] = [scratch.index("br0"), { name: "v0", type: "veth", peer: { name: "v1" } } as const];
    scratch.route.request(addLink({ ...v0, master }));
    using heard = listen(scratch, { groups: ["link"] });
    scratch.text("bridge link set dev v0 isolated on");
    heard.monitor.drain();
    expect(heard.events).toContainEqual({
      kind: "port",
      deleted: false,
      info: {
        linkIndex: scratch.index("v0"),
        bridgeIndex: master,
        port: expect.objectContaining({ isolated: true, learning: true }),
      },
    });
  });

  test("without drain the event loop delivers; mixed with drain nothing is lost or doubled", async () => {
    using scratch = new Scratch();
    using heard = listen(scratch, { groups: ["route"] });
    scratch.route.request(addRoute({ destination: parsePrefix("10.1.0.0/16"), type: "blackhole" }));
    await until("the event", () => heard.events.length > 0);
    expect(heard.events.splice(0)).toMatchObject([{ kind: "route", deleted: false }]);

    const expected: string[] = [];
    for (let i = 0; i < 400; i++) {
      const text = `10.2.${i >> 8}.${i & 255}/32`;
      scratch.route.request(addRoute({ destination: parsePrefix(text), type: "blackhole" }));
      expected.push(text);
      if (i % 3 === 0) heard.monitor.drain();
      if (i % 7 === 0) await Bun.sleep(0);
    }
    heard.monitor.drain();
    expect(
      heard.events.map((event) =>
        event.kind === "route" ? formatPrefix(event.info.destination) : event.kind,
      ),
    ).toEqual(expected);
  });

  test("an overrun found by the event loop: it listens again, then asks for a resync", async () => {
    using scratch = new Scratch();
    using heard = listen(scratch, { groups: ["route"], receiveBufferBytes: 16 * 1024 });
    let resynced = 0;
    heard.onOverrun = () => {
      resynced = scratch.route.routes().length;
    };
    scratch.route.execute(blackholes(2000, addRoute));
    await until("the overrun", () => heard.overruns > 0);
    expect(resynced).toBe(2000);
    heard.events.length = 0;
    scratch.route.request(addRoute({ destination: parsePrefix("10.99.0.0/16"), type: "blackhole" }));
    await until("the event after it", () => heard.events.length > 0);
    expect(heard.events).toHaveLength(1);
    expect(heard.overruns).toBe(1);
  });

  test("an overrun found by drain", async () => {
    using scratch = new Scratch();
    using heard = listen(scratch, { groups: ["route"], receiveBufferBytes: 16 * 1024 });
    for (let round = 1; round <= 20; round++) {
      scratch.route.execute(blackholes(1000, round % 2 === 1 ? addRoute : deleteRoute));
      heard.monitor.drain();
      expect(heard.overruns).toBe(round);
    }
    await Bun.sleep(1);
    heard.events.length = 0;
    scratch.route.request(addRoute({ destination: parsePrefix("10.99.0.0/16"), type: "blackhole" }));
    heard.monitor.drain();
    expect(heard.events).toHaveLength(1);
    expect(heard.overruns).toBe(20);
  });

  test("drain inside onEvent keeps the order", () => {
    using scratch = new Scratch();
    const seen: string[] = [];
    using monitor = Monitor.open({
      netns: scratch.netns,
      groups: ["route"],
      onEvent: (event) => {
        if (event.kind === "route") seen.push(formatPrefix(event.info.destination));
        if (seen.length < 5) monitor.drain();
      },
      onOverrun: () => {},
    });
    scratch.route.execute(blackholes(20, addRoute));
    monitor.drain();
    expect(seen).toEqual(Array.from({ length: 20 }, (_, i) => `10.0.0.${i}/32`));
  });

  test("closing gives every descriptor back", async () => {
    using scratch = new Scratch();
    const openFiles = () => readdirSync("/proc/self/fd").length;
    {
      using warm = listen(scratch);
      warm.monitor.drain();
    }
    await Bun.sleep(5);
    const before = { ours: openDescriptions(), files: openFiles() };
    for (let i = 0; i < 30; i++) {
      using heard = listen(scratch, { receiveBufferBytes: 16 * 1024 });
      if (i % 3 === 0) scratch.route.execute(blackholes(500, i % 2 === 0 ? addRoute : deleteRoute));
      if (i % 2 === 0) await Bun.sleep(1);
      else heard.monitor.drain();
    }
    await until("the runtime to close its descriptors", () => openFiles() === before.files);
    expect(openDescriptions()).toEqual(before.ours);
  });
});
