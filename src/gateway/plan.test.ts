/** Models: what they are made of, who goes where, and what changes when something changes. */
import { describe, expect, test } from "bun:test";
import { randomGateway, spell } from "../../test/support/gateway-text.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { formatIp, formatMac } from "../net/mod.ts";
import { diffModels, type RouteAspect } from "./diff.ts";
import { sameValue } from "./identity.ts";
import type { GatewayModel, RouteModel } from "./model.ts";
import { parseSecretFile, planGateway, secretFiles } from "./plan.ts";
import { noState } from "./state-schema.ts";
import { perform, readConfig } from "./verbs.ts";

const PSK = "0102".repeat(16);
const INSIDE =
  "private-interface4 { ifname eth1; mac 0a:cc:b1:e4:24:d2; ip 172.31.1.20; nexthop-ip 172.31.0.1; }";
const outside = (queue: number) =>
  `public-interface4 { queue ${queue}; device-queue 1; ifname eth${queue + 1}; ip 172.31.1.${29 + queue}; nat-ip 203.0.113.${1 + queue}; nexthop-ip 172.31.0.1; }`;
const tokyo = (gateways: string) =>
  `route4 { id tokyo; spi 1234; preshared-key ${PSK}; net 172.32.0.0/16; ${gateways} }`;
const A = "gateway { ip 203.0.113.5; queue 1; }";
const B = "gateway { ip 203.0.113.6; queue 2; }";

const model = (text: string) => planGateway(readConfig(text).config);
const route = (text: string, id = "tokyo") => model(text).routes.get(id) as RouteModel;
const pairs = ({ pairs: list }: RouteModel) =>
  list.map(
    ({ queue, local, gateways }) =>
      `${queue} ${formatIp(local.identity)} → ${gateways.map(formatIp).join(" ")}`,
  );

test("two queues behind NATs, as in Vita's demonstration", () => {
  const paris = model(`${INSIDE} ${outside(1)} ${outside(2)} ${tokyo(A + B)} mtu 1440;`);
  expect(paris.queues.map(({ number }) => number)).toEqual([1, 2]);
  const [first] = paris.queues;
  expect(first?.public4?.device).toEqual({ kind: "interface", name: "eth2" });
  expect([
    first?.public4?.deviceQueue,
    formatIp(first?.public4?.ip as never),
    formatIp(first?.public4?.identity as never),
  ]).toEqual([0, "172.31.1.30", "203.0.113.2"]);
  const { inside } = paris;
  expect(inside.kind === "interfaces" && formatMac(inside.private4?.mac as never)).toBe("0a:cc:b1:e4:24:d2");
  const way = paris.routes.get("tokyo") as RouteModel;
  expect(pairs(way)).toEqual([
    "1 203.0.113.2 → 203.0.113.5 203.0.113.6",
    "2 203.0.113.3 → 203.0.113.6 203.0.113.5",
  ]);
  expect(way.exchange).toMatchObject({ protocol: "vita", algorithm: "aes-128-gcm" });
  expect(way.unusable).toBeUndefined();
  expect([
    paris.mtuBytes,
    paris.port,
    paris.negotiationMs,
    paris.lifetime,
    paris.padding,
    paris.dataPlane,
  ]).toEqual([1440, 303, 5000, { ms: 600_000 }, false, false]);
});

describe("unequal numbers of queues and gateways", () => {
  test("a queue without gateway hands its packets over", () => {
    const way = route(`${INSIDE} ${outside(1)} ${outside(2)} ${outside(3)} ${tokyo(A)}`);
    expect(pairs(way)).toEqual(["1 203.0.113.2 → 203.0.113.5"]);
    expect([...way.carriers]).toEqual([
      [2, 1],
      [3, 1],
    ]);
  });
  test("a gateway without queue stands in", () => {
    const way = route(`${INSIDE} ${outside(1)} ${tokyo(A + B)}`);
    expect(pairs(way)).toEqual(["1 203.0.113.2 → 203.0.113.5 203.0.113.6"]);
    expect(way.carriers.size).toBe(0);
  });
  test("queues of other numbers take what is left, the lowest first", () => {
    const way = route(
      `${INSIDE} ${outside(2)} ${outside(4)} ${tokyo(`${A} ${B} gateway { ip 203.0.113.7; queue 3; }`)}`,
    );
    expect(pairs(way)).toEqual([
      "2 203.0.113.3 → 203.0.113.6 203.0.113.5 203.0.113.7",
      "4 203.0.113.5 → 203.0.113.5 203.0.113.6 203.0.113.7",
    ]);
  });
  test("each gateway is the first of one queue at most, and each queue has a way", () => {
    const seed = newSeed();
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    for (let round = 0; round < 100; round++) {
      const plan = planGateway(readConfig(spell(random, randomGateway(random))).config);
      for (const way of plan.routes.values()) {
        const firsts = way.pairs.flatMap(({ gateways: [first] }) =>
          first === undefined ? [] : [formatIp(first)],
        );
        expect(new Set(firsts).size).toBe(firsts.length);
        const own = way.pairs.map(({ queue }) => queue);
        const all = plan.queues.map(({ number }) => number);
        if (own.length > 0) expect([...own, ...way.carriers.keys()].sort()).toEqual(all.sort());
        for (const carrier of way.carriers.values()) expect(own).toContain(carrier);
        expect(way.unusable === undefined).toBe(own.length > 0 && (plan.dataPlane || !missing(way)));
      }
    }
  });
});

/** Random routes have their keys in files that nobody gave to the plan. */
function missing({ exchange }: RouteModel): boolean {
  return exchange.credential.presharedKey === undefined && exchange.credential.publicKey === undefined;
}

describe("what cannot work is that route's status", () => {
  const six = `route6 { id six; spi 7000; preshared-key ${PSK}; net fd00::/8; gateway { ip 2001:db8::1; } }`;
  const cases: [text: string, id: string, expected: string][] = [
    [`${INSIDE} ${outside(1)} ${six}`, "six", "net is of IPv6, and there is no private-interface6; add it"],
    [
      `vpc team-a; ${outside(1)} ${six}`,
      "six",
      "there is no public-interface6 to reach its gateway from; add one",
    ],
    [`${INSIDE} ${tokyo(A)}`, "tokyo", "there is no public-interface4 to reach its gateway from; add one"],
    [
      `${INSIDE} route { id a; spi 256; net 10.9.0.0/16; preshared-key-file /k; }`,
      "a",
      "its pre-shared key cannot be read from /k",
    ],
    [
      `${INSIDE} route { id a; spi 256; net 10.9.0.0/16; public-key HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=; }`,
      "a",
      "there is no public interface; add one",
    ],
  ];
  for (const [text, id, expected] of cases)
    test(expected, () => expect(route(text, id).unusable).toContain(expected));
});

test("IPv6 goes through IPv4 and IPv4 through IPv6", () => {
  const way = route(
    `vpc a; ${outside(1)} public-interface6 { ifname e9; queue 2; ip 2001:db8::9; nexthop-ip fe80::1; }
     route { id x; spi 256; net fd00::/16; net 10.9.0.0/16; preshared-key ${PSK}; gateway { ip 2001:db8::1; } gateway { ip 203.0.113.9; queue 2; } }`,
    "x",
  );
  expect(pairs(way)).toEqual(["1 203.0.113.2 → 203.0.113.9", "2 2001:db8::9 → 2001:db8::1"]);
  expect(way.unusable).toBeUndefined();
});

test("keys in files", () => {
  const text = `${INSIDE} ${outside(1)} route { id a; spi 256; net 10.9.0.0/16; preshared-key-file /k; }
    route { id b; spi 257; net 10.8.0.0/16; preshared-key-file /l; }`;
  const { config } = readConfig(text);
  expect(secretFiles(config)).toEqual(["/k", "/l"]);
  const key = parseSecretFile(`${PSK}\n`);
  expect(key.equals(parseSecretFile(Buffer.from(PSK, "hex").toString("base64")))).toBe(true);
  const two = planGateway(config, {
    secrets: new Map([
      ["/k", key],
      ["/l", key],
    ]),
  });
  expect(two.routes.get("a")?.unusable).toBeUndefined();
  expect(two.routes.get("b")?.unusable).toBe("its pre-shared key is that of route a too; make another one");
  for (const wrong of ["", "12", "zz".repeat(32), `${PSK}00`])
    expect(() => parseSecretFile(wrong)).toThrow("is not");
});

describe("what changes when something changes (Vita's behaviour, section by section)", () => {
  const base = `${INSIDE} ${outside(1)} ${tokyo(A)} route4 { id osaka; spi 5000; preshared-key ${"09".repeat(32)}; net 172.33.0.0/16; gateway { ip 203.0.113.9; } }`;
  const diff = (text: string, before = base) => diffModels(model(before), model(text));
  const changes: [what: string, text: string, aspects: readonly RouteAspect[], keys: string][] = [
    ["the pre-shared key", base.replace(PSK, "05".repeat(32)), ["exchange"], "new"],
    ["the route's SPI", base.replace("1234", "1235"), ["spi"], "new"],
    ["the gateway", base.replace("203.0.113.5", "203.0.113.8"), ["pairs"], "reset"],
    ["the network", base.replace("172.32.0.0", "172.40.0.0"), ["prefixes"], "kept"],
  ];
  for (const [what, text, aspects, keys] of changes)
    test(`${what} of one route`, () => {
      const { routes, queues, aspects: whole, associations } = diff(text);
      expect(whole).toEqual([]);
      expect(queues.kept).toEqual([1]);
      expect(associations.kept).toEqual([]);
      expect(routes.kept).toEqual(["osaka"]);
      expect([routes.added, routes.removed]).toEqual([[], []]);
      expect(routes.changed.get("tokyo")).toMatchObject({ aspects, keys });
    });
  test("a route's name", () => {
    const { routes } = diff(base.replace("tokyo", "kyoto"));
    expect([routes.added, routes.removed, routes.kept]).toEqual([["kyoto"], ["tokyo"], ["osaka"]]);
  });
  test("the own address, and the NAT's: exchanges begin anew, keys stay", () => {
    for (const [from, to] of [
      ["ip 172.31.1.30", "ip 172.31.1.77"],
      ["nat-ip 203.0.113.2", "nat-ip 203.0.113.77"],
    ] as const) {
      const { routes, queues } = diff(base.replace(from, to));
      expect([...routes.changed.values()].map(({ keys }) => keys)).toEqual(["reset", "reset"]);
      expect([...queues.changed.keys()]).toEqual([1]);
    }
  });
  test("what is the gateway's own touches no route", () => {
    for (const [text, aspect] of [
      ["mtu 1400;", "mtuBytes"],
      ["tfc true;", "padding"],
      ["negotiation-ttl 42;", "negotiationMs"],
      ["sa-ttl 42;", "lifetime"],
      ["protocol-port 500;", "port"],
      ["cpu 2;", "cpus"],
    ] as const) {
      const { aspects, routes, queues } = diff(base + text);
      expect([aspects, routes.kept, queues.kept]).toEqual([[aspect], ["tokyo", "osaka"], [1]]);
    }
  });
  test("an SA", () => {
    const sa = (key: string) =>
      `data-plane true; outbound-sa { route tokyo; spi 256; aead aes-gcm-16-icv; key ${key.repeat(16)}; salt 00000001; }`;
    const { associations, routes } = diff(base + sa("02"), base + sa("01"));
    expect([...associations.changed.keys()]).toEqual(["outbound 1 256"]);
    expect(routes.kept).toEqual(["tokyo", "osaka"]);
  });
});

test("random changes of one route leave all others as they are", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const lists = ["route4", "route6", "route"];
  for (let round = 0; round < 100; round++) {
    const pieces = randomGateway(random).filter(([keyword]) => !keyword.endsWith("-sa"));
    const at = pieces.map(([keyword], i) => (lists.includes(keyword) ? i : -1)).filter((i) => i >= 0);
    if (at.length === 0) continue;
    const gone = random.pick(at);
    const before: GatewayModel = planGateway(readConfig(spell(random, pieces)).config);
    const after = planGateway(
      readConfig(
        spell(
          random,
          pieces.filter((_, i) => i !== gone),
        ),
      ).config,
    );
    const { routes, queues, aspects } = diffModels(before, after);
    expect([routes.removed.length, routes.added, routes.changed.size, aspects, queues.changed.size]).toEqual([
      1,
      [],
      0,
      [],
      0,
    ]);
    expect(routes.kept).toHaveLength(at.length - 1);
    expect(diffModels(before, before).routes.changed.size).toBe(0);
    expect(sameValue(before, planGateway(readConfig(spell(random, pieces)).config))).toBe(true);
  }
});

test("a plan that knows the one before is the same plan, and keeps what it can", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 60; round++) {
    const { config } = readConfig(spell(random, randomGateway(random)));
    const before = { config, model: planGateway(config) };
    const lists = ["public-interface4", "route4", "route6", "route"] as const;
    const list = random.pick(lists.filter((name) => config[name].size > 0).concat("route4"));
    const [key] = random.pick([...config[list], ["none"] as const]);
    const store = { config, state: { "gateway-state": noState } };
    const next =
      key === "none"
        ? perform(store, { verb: "set", path: "/mtu", value: "1400" }).config
        : perform(store, { verb: "remove", path: `/${list}[${list.startsWith("p") ? "ip" : "id"}=${key}]` })
            .config;
    const after = planGateway(next, { before });
    expect(sameValue(after, planGateway(next))).toBe(true);
    if (list.startsWith("p") && key !== "none") continue;
    for (const [id, way] of after.routes)
      if (way.unusable === undefined && next.route.get(id)?.["preshared-key-file"] === undefined)
        expect(way).toBe(before.model.routes.get(id) as RouteModel);
  }
});
