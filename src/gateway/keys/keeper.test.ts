import { describe, expect, test } from "bun:test";
import { joined, Pair } from "../../../test/support/key-pair.ts";
import { keyRoute, keyRoutes, type RouteEnds } from "../../../test/support/key-routes.ts";
import { newSeed, Random } from "../../../test/support/random.ts";
import { parseEndpoint, parseIp } from "../../net/mod.ts";
import { KeyKeeper } from "./keeper.ts";
import type { KeyRoute } from "./key-route.ts";

const [paris, tokyo] = [parseEndpoint("203.0.113.1:303"), parseEndpoint("203.0.113.2:303")];

describe("what a change of configuration does to keys (Vita's table)", () => {
  const base: RouteEnds = {
    protocol: "ske5",
    local: ["203.0.113.1:303"],
    remote: [["203.0.113.2:303"]],
  };
  const other = keyRoute({ ...base, id: "other", number: 2002, psk: 9, remote: [["203.0.113.9:303"]] });
  const changed = (change: Partial<RouteEnds>): KeyRoute => keyRoute({ ...base, ...change });

  for (const protocol of ["ske5", "ours"] as const) {
    const drops: Record<string, readonly KeyRoute[]> = {
      "another pre-shared key": [changed({ protocol, psk: 6 })],
      "another SPI": [changed({ protocol, number: 1002 })],
      "another id": [changed({ protocol, id: "s" })],
      "the other protocol": [changed({ protocol: protocol === "ske5" ? "ours" : "ske5" })],
      "the route is gone": [],
    };
    for (const [name, routes] of Object.entries(drops))
      test(`${protocol}, ${name}: associations are dropped`, () => {
        const pair = joined({ protocol });
        const before = pair.keepers[0].describe(pair).flatMap(({ associations }) => associations);
        const effects = pair.step(0, { kind: "configure", routes });
        const removed = effects.flatMap((one) => (one.kind === "remove" ? [one.direction] : []));
        expect(removed.toSorted().join()).toMatch(/^(inbound,)+(outbound,?)+$/);
        const after = pair.keepers[0].describe(pair).flatMap(({ associations }) => associations);
        const spis = new Set(before.map(({ spi }) => spi));
        expect(after.filter(({ spi }) => spis.has(spi))).toEqual([]);
      });

    const keeps: Record<string, readonly KeyRoute[]> = {
      nothing: [changed({ protocol })],
      "another route comes": [changed({ protocol }), other],
      "another gateway": [changed({ protocol, remote: [["203.0.113.7:303"]] })],
      "another address of ours": [changed({ protocol, local: ["203.0.113.8:303"] })],
      "another time limit": [changed({ protocol, negotiationMs: 777 })],
      "another lifetime": [changed({ protocol, lifetimeMs: 9999 })],
      "another port": [changed({ protocol, local: ["203.0.113.1:500"], remote: [["203.0.113.2:500"]] })],
    };
    for (const [name, routes] of Object.entries(keeps))
      test(`${protocol}, ${name}: associations are kept`, () => {
        const pair = joined({ protocol });
        const before = pair.keepers[0].describe(pair)[0]?.associations.map(({ spi }) => spi);
        const effects = pair.keepers[0].step({ kind: "configure", routes }, pair);
        expect(effects.filter(({ kind }) => kind === "remove" || kind === "use")).toEqual([]);
        const after = pair.keepers[0].describe(pair).find(({ route }) => route === "r");
        expect(after?.associations.map(({ spi }) => spi)).toEqual(before as number[]);
        if (name === "nothing") expect(effects).toEqual([]);
      });
  }

  test("1,000 routes one by one: none is asked for anything twice", () => {
    const keeper = new KeyKeeper();
    for (let n = 0; n < 1000; n++) {
      const route = keyRoute({ ...base, id: `r${n}`, number: 1000 + n, psk: n % 250 });
      const effects = keeper.step({ kind: "change", put: [route], remove: [] }, { nowMs: 0 });
      expect(new Set(effects.map((one) => one.route))).toEqual(new Set([route.id]));
      expect(keeper.step({ kind: "change", put: [route], remove: ["none"] }, { nowMs: 0 })).toEqual([]);
    }
    keeper.step({ kind: "change", put: [], remove: ["r7"] }, { nowMs: 0 });
    expect(keeper.describe({ nowMs: 0 })).toHaveLength(999);
  });

  test("two routes with one SPI are refused, and nothing changes", () => {
    const pair = joined({ protocol: "ske5" });
    const routes = [changed({ psk: 99 }), changed({ id: "s" })];
    expect(() => pair.keepers[0].step({ kind: "configure", routes }, pair)).toThrow("is that of route r");
    const put = { kind: "change", put: [changed({ id: "s" })], remove: [] } as const;
    expect(() => pair.keepers[0].step(put, pair)).toThrow("is that of route r");
    expect(pair.keepers[0].describe(pair)[0]).toMatchObject({ route: "r", up: true });
  });
});

describe("an exchange", () => {
  test("ske5: the responder receives before it answers, and sends when the initiator surely receives", () => {
    const pair = new Pair();
    const routes = keyRoutes({ protocol: "ske5" });
    pair.step(1, { kind: "configure", routes: [routes[1]] });
    pair.step(0, { kind: "configure", routes: [routes[0]] });
    const kinds = pair.seen[1].map(({ kind }) => kind).filter((kind) => kind !== "news");
    // A knock of its own that nobody heard; then challenge, and with nothing to send with before, use at once.
    expect(kinds).toEqual(["send", "send", "inbound", "outbound", "use", "send"]);
    pair.forget();
    // The next one, 10 to 12.5 s later at first: what is sent with is changed 1.5 time limits later.
    pair.pass(13_000);
    const first = pair.kinds(1);
    expect(first.slice(0, 2)).toEqual(["inbound", "outbound"]);
    pair.pass(3000);
    expect(pair.kinds(1)).toContain("use");
  });

  test("ours: 20 changes of keys, each make before break", () => {
    const pair = joined({ protocol: "ours" });
    pair.pass(20 * 12_000);
    for (const side of [0, 1] as const) {
      const spis = new Set<number>();
      for (const effect of pair.seen[side]) {
        if (effect.kind === "outbound") spis.add(effect.sa.spi);
        if (effect.kind === "use") expect(spis.has(effect.spi)).toBe(true);
        expect(effect.kind === "remove" && effect.direction === "outbound").toBe(false);
      }
      expect(spis.size).toBeGreaterThanOrEqual(18);
    }
  });

  test("at a soft limit the next is agreed on, at a hard one the association is gone", () => {
    for (const protocol of ["ske5", "ours"] as const) {
      const pair = joined({ protocol });
      const spi = pair.keepers[0]
        .describe(pair)[0]
        ?.associations.find(({ direction }) => direction === "outbound")?.spi;
      const limit = {
        kind: "limit",
        route: "r",
        queue: 1,
        spi: spi as number,
        direction: "outbound",
      } as const;
      expect(pair.step(0, { ...limit, limit: "soft" }).map(({ kind }) => kind)).not.toContain("remove");
      expect(pair.kinds(0)).toContain("inbound");
      const twin = joined({ protocol });
      const same = twin.keepers[0]
        .describe(twin)[0]
        ?.associations.find(({ direction }) => direction === "outbound");
      const gone = twin.step(0, { ...limit, spi: same?.spi as number, limit: "hard" });
      expect(gone[0]).toMatchObject({ kind: "remove", direction: "outbound", spi: same?.spi as number });
      expect(twin.kinds(0)).toContain("use");
    }
  });

  test("a wrong key on one side: the reason stands in the status, and attempts are spread", () => {
    for (const protocol of ["ske5", "ours"] as const) {
      const pair = new Pair();
      const [a, b] = [keyRoutes({ protocol })[0], keyRoutes({ protocol, psk: 99 })[1]];
      pair.step(1, { kind: "configure", routes: [b] });
      pair.step(0, { kind: "configure", routes: [a] });
      pair.pass(60_000);
      const [status] = pair.keepers[0].describe(pair);
      expect(status?.up).toBe(false);
      expect(status?.reason).toContain("no answer");
      expect(pair.keepers[0].counters.get("authentication-errors")).toBeGreaterThan(5);
      const begun = pair.keepers[0].counters.get("negotiations-initiated") as number;
      expect(begun).toBeGreaterThan(8);
      expect(begun).toBeLessThan(31);
      expect(pair.keepers[0].counters.get("negotiations-expired")).toBeGreaterThanOrEqual(begun - 1);
    }
  });

  test("who has no gateway waits to be called", () => {
    const pair = new Pair();
    const routes = keyRoutes({ protocol: "ours" });
    const waiting = {
      ...routes[1],
      channels: routes[1].channels.map((channel) => ({ ...channel, gateways: [] })),
    };
    expect(pair.step(1, { kind: "configure", routes: [waiting] })).toEqual([]);
    expect(pair.keepers[1].nextMs).toBeUndefined();
    pair.step(0, { kind: "configure", routes: [routes[0]] });
    expect(pair.keepers.map((keeper) => keeper.describe(pair)[0]?.up)).toEqual([true, true]);
  });

  test("goodbye: the peer stops sending at once, and calls again later", () => {
    const pair = joined({ protocol: "ours" });
    pair.step(0, { kind: "close" });
    expect(pair.seen[1].some((one) => one.kind === "remove" && one.direction === "outbound")).toBe(true);
    expect(pair.keepers[1].describe(pair)[0]).toMatchObject({
      up: false,
      reason: "the peer has said goodbye",
    });
    pair.step(0, { kind: "configure", routes: [keyRoutes({ protocol: "ours" })[0]] });
    expect(pair.keepers[1].describe(pair)[0]).toMatchObject({ up: true });
  });
});

const seed = newSeed();
describe(`what comes from the network (seed ${seed})`, () => {
  const from = tokyo;
  const to = paris;

  test("of no route, of no queue, of the other protocol, too short, from elsewhere: counted, not answered", () => {
    const pair = joined({ protocol: "ske5" });
    const [keeper] = pair.keepers;
    const knock = new Uint8Array(Buffer.from("000003E90B00000000000005", "hex"));
    const hear = (bytes: Uint8Array, more: { queue?: number; from?: typeof from } = {}) =>
      keeper.step({ kind: "datagram", queue: 1, from, to, bytes, ...more }, pair);
    expect(hear(knock)).toHaveLength(1);
    const errors = keeper.counters.get("rxerrors") ?? 0;
    const routeErrors = keeper.counters.get("route-errors") ?? 0;
    expect(hear(new Uint8Array(3))).toEqual([]);
    expect(hear(new Uint8Array(12))).toEqual([]);
    expect(hear(knock, { queue: 2 })).toEqual([]);
    expect(hear(knock, { from: { ...from, ip: parseIp("192.0.2.9") } })).toEqual([]);
    const ours = knock.slice();
    ours[4] = 21;
    expect(hear(ours)).toEqual([]);
    expect(keeper.counters.get("rxerrors")).toBe(errors + 5);
    expect(keeper.counters.get("route-errors")).toBe(routeErrors + 2);
  });

  test("more than 100 messages a second are not worked on", () => {
    const pair = joined({ protocol: "ske5" });
    const knock = new Uint8Array(Buffer.from("000003E90B00000000000005", "hex"));
    let answers = 0;
    for (let n = 0; n < 1000; n++)
      answers += pair.keepers[0].step({ kind: "datagram", queue: 1, from, to, bytes: knock }, pair).length;
    expect(answers).toBeLessThanOrEqual(101);
    pair.nowMs += 1000;
    expect(pair.keepers[0].step({ kind: "datagram", queue: 1, from, to, bytes: knock }, pair)).toHaveLength(
      1,
    );
  });

  test("mutated and random datagrams in a running conversation change no association", () => {
    const random = new Random(seed);
    for (const protocol of ["ske5", "ours"] as const) {
      const pair = joined({ protocol });
      pair.pass(100_000);
      const heard = pair.seen.flat().flatMap((one) => (one.kind === "send" ? [one.bytes] : []));
      const known = new Set(heard.map((bytes) => Buffer.from(bytes).toString("hex")));
      const spis = () => pair.keepers[0].describe(pair)[0]?.associations.map(({ spi }) => spi);
      const before = spis();
      for (let n = 0; n < 5000; n++) {
        const bytes = random.chance(0.2)
          ? random.bytes(random.below(200))
          : random.mutate(random.pick(heard));
        if (known.has(Buffer.from(bytes).toString("hex"))) continue;
        pair.keepers[0].step({ kind: "datagram", queue: 1, from, to, bytes }, pair);
        if (random.chance(0.1))
          pair.keepers[0].step({ kind: "datagram", queue: 1, from, to, bytes: random.pick(heard) }, pair);
      }
      expect(spis()).toEqual(before as number[]);
      pair.pass(60_000);
      expect(pair.keepers.map((keeper) => keeper.describe(pair)[0]?.up)).toEqual([true, true]);
    }
  });

  test("nothing that is shown has a key", () => {
    const pair = joined({ protocol: "ours" });
    const text = Bun.inspect([pair.keepers[0].describe(pair), pair.keepers[0]], { depth: 12 });
    expect(text).not.toContain("KeyMaterial {");
    expect(Bun.inspect(keyRoutes({ protocol: "ours" }), { depth: 12 })).toContain("(hidden)");
  });
});
