import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { GatewayBed, INTERFACES } from "../../test/support/gateway-bed.ts";
import { BLOCK } from "../gateway/keys/mod.ts";
import { formatConfigProblem, readConfig } from "../gateway/mod.ts";
import { formatPrefix } from "../net/mod.ts";
import { monotonicMs } from "../sys/mod.ts";

let bed: GatewayBed;
beforeEach(() => {
  bed = new GatewayBed();
});
afterEach(() => bed?.[Symbol.dispose]());

const route = (id = "tokyo", gateway = "203.0.113.1") =>
  `route { id ${id}; spi ${1000 + id.length}; net 10.${id.length}.0.0/16; preshared-key ${`${id.length}7`.repeat(32)}; gateway { ip ${gateway}; } }\n`;
const sa = (list: "outbound" | "inbound", spi: number, id = "tokyo", key = spi) =>
  `${list}-sa { spi ${spi}; route ${id}; aead aes-gcm-16-icv; key "${`${key}`.repeat(8)}"; salt "0000${key}"; }\n`;
const managed = (...rest: readonly string[]) => `${INTERFACES} data-plane true; ${rest.join(" ")}`;
const BOTH = [sa("outbound", 1000), sa("inbound", 2000)] as const;

const kinds = () => bed.backEnd.kinds().filter((kind) => kind !== "route" && kind !== "next-hop");
const orders = (kind: string) => bed.backEnd.orders.filter((order) => order.kind === kind);
const outbound = async () => (await bed.gateway.report()).get(1)?.outbound ?? [];

describe("associations that an operator gives", () => {
  test("are installed and used, and their route is up", async () => {
    await bed.set(managed(route(), ...BOTH));
    expect(kinds().sort()).toEqual(["inbound", "move-outbound", "outbound"]);
    expect(await bed.route("tokyo")).toMatchObject({ up: true });
    expect(await outbound()).toMatchObject([{ spi: 1000, isActive: true, next: 1 }]);
  });

  test("follow another gateway of their route", async () => {
    await bed.set(managed(route(), ...BOTH));
    kinds();
    await bed.set(managed(route("tokyo", "203.0.113.99"), ...BOTH));
    expect(orders("endpoint")).toMatchObject([{ spi: 1000, to: { value: 0xcb_00_71_63n } }]);
    expect(kinds()).toEqual(["endpoint"]);
    const [one] = [...bed.gateway.state(await bed.gateway.report())["outbound-sa"].values()];
    expect(one).toMatchObject({ gateway: { value: 0xcb_00_71_63n } });
  });

  test("come again with their route, with other numbers", async () => {
    await bed.set(managed(...BOTH));
    expect(kinds()).toEqual([]);
    await bed.set(managed(route(), ...BOTH));
    expect(await outbound()).toMatchObject([{ next: 1 }]);
    await bed.set(managed(...BOTH));
    expect(await outbound()).toEqual([]);
    expect((await bed.gateway.report()).get(1)?.inbound).toEqual([]);
    await bed.set(managed(route(), ...BOTH));
    expect(await outbound()).toMatchObject([{ spi: 1000, isActive: true, next: BLOCK + 1 }]);
    expect(await bed.route("tokyo")).toMatchObject({ up: true });
  });

  test("go over to another route with their keys and SPIs, or with other keys", async () => {
    const both = `${route()} ${route("osaka7")}`;
    await bed.set(managed(both, ...BOTH));
    for (const [key, first] of [
      [[1000, 2000], BLOCK + 1],
      [[7000, 8000], 1],
    ] as const) {
      for (const id of ["osaka7", "tokyo"]) {
        const [out, back] = key;
        await bed.set(managed(both, sa("outbound", 1000, id, out), sa("inbound", 2000, id, back)));
        const report = (await bed.gateway.report()).get(1);
        expect(report?.inbound).toMatchObject([{ spi: 2000, route: id }]);
        expect(report?.outbound).toMatchObject([{ spi: 1000, route: id, isActive: true }]);
        if (id === "osaka7") expect(report?.outbound[0]?.next).toBe(first);
      }
    }
  });

  test("without one that goes out, a route is down and says so", async () => {
    await bed.set(managed(route(), sa("inbound", 2000)));
    expect(await bed.route("tokyo")).toMatchObject({
      up: false,
      reason: expect.stringContaining("no SA of outbound-sa is in use"),
    });
  });

  test("that the data path refuses are the route's status, and are tried again", async () => {
    bed.backEnd.refusal = ({ kind }) =>
      kind === "outbound" || kind === "inbound" ? "there is no room" : undefined;
    await bed.set(managed(route(), ...BOTH));
    expect(kinds()).toEqual([]);
    expect(await bed.route("tokyo")).toMatchObject({
      up: false,
      reason: expect.stringMatching(/queue 1, (in|out)bound SPI \d000: there is no room/),
    });
    bed.backEnd.refusal = () => undefined;
    while ((await bed.route("tokyo"))?.up !== true) await Bun.sleep(20);
    expect(await outbound()).toMatchObject([{ isActive: true, next: BLOCK + 1 }]);
    while ((await bed.route("tokyo"))?.reason !== undefined) await Bun.sleep(20);
    expect((await bed.gateway.report()).get(1)?.inbound).toMatchObject([{ spi: 2000 }]);
  });

  test("go and come with data-plane, and the keeper of keys comes and goes", async () => {
    let messages = 0;
    bed.backEnd.refusal = ({ kind }) => {
      if (kind === "exchange") messages++;
      return undefined;
    };
    await bed.set(managed(route(), ...BOTH));
    expect(messages).toBe(0);
    kinds();
    await bed.set(`${INTERFACES} ${route()}`);
    expect(kinds().sort()).toEqual(["remove-inbound", "remove-outbound"]);
    expect(await bed.route("tokyo")).toMatchObject({ up: false, exchange: "causeway" });
    expect(messages).toBeGreaterThan(0);
    // A channel that went on would tell its own reason.
    await bed.set(managed(route(), sa("inbound", 2000)));
    expect((await bed.route("tokyo"))?.reason).toContain("no SA of outbound-sa is in use");
    await bed.set(managed(route(), ...BOTH));
    expect(kinds().sort()).toEqual(["inbound", "move-outbound", "outbound"]);
    const { up, reason } = (await bed.route("tokyo")) ?? {};
    expect([up, reason]).toEqual([true, undefined]);
  });
});

describe("the book of sequence numbers", () => {
  const book = () => `${bed.folder}/sequence-numbers`;

  test("on a full disk the route says so, and no more once there is room", async () => {
    await bed.set(managed(route(), ...BOTH));
    // Nothing can be renamed to where a folder with something in it is.
    const text = readFileSync(book(), "utf8");
    rmSync(book());
    mkdirSync(`${book()}/full`, { recursive: true });
    bed.backEnd.news(1, {
      kind: "limit",
      direction: "outbound",
      route: "tokyo",
      spi: 1000,
      limit: "sequence",
    });
    expect(await bed.route("tokyo")).toMatchObject({
      // What was given out before is good for a while.
      up: true,
      reason: expect.stringContaining("its sequence numbers cannot be noted"),
    });
    rmdirSync(`${book()}/full`);
    rmdirSync(book());
    writeFileSync(book(), text);
    while ((await bed.route("tokyo"))?.reason !== undefined) await Bun.sleep(20);
    expect(orders("reserve")).toMatchObject([{ spi: 1000, last: 2 * BLOCK }]);
  });

  test("is read again where it could not be read, and both files are named", async () => {
    await bed.set(managed(route(), ...BOTH));
    await bed.set("");
    bed.gateway[Symbol.dispose]();
    renameSync(book(), `${book()}.away`);
    const { folder } = bed;
    using again = new GatewayBed(managed(route(), ...BOTH), folder);
    const { up, reason } = (await again.route("tokyo")) ?? {};
    expect(up).toBe(false);
    expect(reason).toContain(`${book()} is missing`);
    expect(reason).toContain(`remove ${book()} and ${book()}.made`);
    renameSync(`${book()}.away`, book());
    again.gateway.look();
    expect(await again.route("tokyo")).toMatchObject({ up: true });
    expect((await again.route("tokyo"))?.reason).toBeUndefined();
    expect((await again.gateway.report()).get(1)?.outbound).toMatchObject([{ next: BLOCK + 1 }]);
  });
});

test("a route that a queue refused is told again", async () => {
  bed.backEnd.refusal = ({ kind }) => (kind === "route" ? "no memory" : undefined);
  await bed.set(`${INTERFACES} ${route()}`);
  expect(await bed.route("tokyo")).toMatchObject({
    up: false,
    reason: "queue 1: no memory",
    "last-error": "no memory",
    "last-error-time": expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
  });
  expect((await bed.gateway.report()).get(1)?.routes).toEqual([]);
  bed.backEnd.refusal = () => undefined;
  bed.gateway.look();
  await bed.gateway.settled();
  expect((await bed.gateway.report()).get(1)?.routes).toMatchObject([{ name: "tokyo" }]);
  expect((await bed.route("tokyo"))?.reason).not.toContain("no memory");
});

test("a route that one queue refuses goes by the other, and routes beside it notice nothing", async () => {
  const second = `public-interface4 { ifname eth3; ip 203.0.113.9; nexthop-ip 203.0.113.2; queue 2; }`;
  bed.backEnd.refusal = (order, queue) =>
    queue === 2 && order.kind === "outbound" && order.association.route === "tokyo" ? "no room" : undefined;
  const all = [route(), route("osaka7")]
    .join("")
    .replaceAll("gateway {", "gateway { ip 203.0.113.8; queue 2; } gateway {");
  const sas = ["tokyo", "osaka7"].flatMap((id, i) => [
    sa("outbound", 1000 + i, id),
    sa("outbound", 2000 + i, id).replace("{", "{ queue 2;"),
  ]);
  await bed.set(managed(second, all, ...sas));
  await bed.gateway.settled();
  expect(await bed.route("tokyo")).toMatchObject({ up: true, reason: expect.stringContaining("no room") });
  expect(await bed.route("osaka7")).toMatchObject({ up: true });
  expect((await bed.route("osaka7"))?.reason).toBeUndefined();
  expect(Object.fromEntries(bed.backEnd.detours)).toEqual({ "2 tokyo": 1 });
});

describe("a NAT", () => {
  const interfaces = (ip: string, nat = "") => `${INTERFACES}`.replace("ip 203.0.113.1;", `ip ${ip}; ${nat}`);
  const reason = async (text: string) => {
    await bed.set(text);
    return (await bed.route("tokyo"))?.reason ?? "";
  };

  test("before both ends is told as what may be in the way", async () => {
    const both = await reason(`${interfaces("10.9.0.1")} ${route()}`);
    expect(both).toContain("this gateway is behind a NAT (10.9.0.1 is private, without nat-ip)");
    expect(both).toContain("no relay is between gateways");
    const called = route().replace(/gateway \{[^}]*\}/, "");
    expect(await reason(`${interfaces("10.9.0.1")} ${called}`)).toContain("through a NAT nobody can call it");
    expect(await reason(`${interfaces("203.0.113.1")} ${route("tokyo", "192.168.3.4")}`)).toContain(
      "gateway 192.168.3.4 is a private address",
    );
  });

  test("that always shows the same address is none, and within one network there is none", async () => {
    const mapped = interfaces("10.9.0.1", "nat-ip 203.0.113.77;");
    for (const text of [
      `${mapped} ${route()}`,
      `${INTERFACES} ${route()}`,
      `${interfaces("10.9.0.1")} ${route("tokyo", "10.9.0.2")}`,
    ])
      expect(await reason(text)).not.toMatch(/NAT|private/);
  });
});

describe("packets of a queue that does not reach a route's peer", () => {
  const SECOND = `public-interface4 { ifname eth3; ip 203.0.113.9; nexthop-ip 203.0.113.2; queue 2; }`;
  const two = `${route("tokyo")} ${route("osaka7")}`.replaceAll(
    "gateway {",
    "gateway { ip 203.0.113.8; queue 2; } gateway {",
  );
  const all = (...rest: readonly string[]) => managed(SECOND, two, ...rest);
  const second = (spi: number, id: string) => sa("outbound", spi, id).replace("{", "{ queue 2;");
  const ONE = [sa("outbound", 1000), sa("outbound", 3000, "osaka7")];
  const settled = async () => {
    await bed.gateway.settled();
    return Object.fromEntries(bed.backEnd.detours);
  };

  test("go by one that does, each route by itself, until it does again", async () => {
    await bed.set(all(...ONE, second(4000, "osaka7")));
    expect(await settled()).toEqual({ "2 tokyo": 1 });
    expect(await bed.route("tokyo")).toMatchObject({
      up: true,
      detour: "packets of queue 2 go by queue 1: it has no SA of outbound-sa in use",
    });
    expect(bed.log).toContainEqual({
      event: "packets of a queue go by another one",
      reason: "it has no SA of outbound-sa in use",
    });
    bed.backEnd.tell({ kind: "hindered", queue: 2, reason: "no carrier" });
    expect(await settled()).toEqual({ "2 tokyo": 1, "2 osaka7": 1 });
    await bed.set(all(...ONE, second(4000, "osaka7"), second(5000, "tokyo")));
    bed.backEnd.tell({ kind: "hindered", queue: 2 });
    expect(await settled()).toEqual({});
    expect((await bed.route("tokyo"))?.detour).toBeUndefined();
  });

  test("go by one that does also where the kernel refuses something that cuts no queue", async () => {
    await bed.set(all(...ONE, second(4000, "osaka7"), second(5000, "tokyo")));
    bed.backEnd.tell({ kind: "hindered", queue: 2, reason: "no carrier" });
    bed.backEnd.tell({ kind: "hindered", queue: 1, reason: "no memory", passes: true });
    expect(await settled()).toEqual({ "2 tokyo": 1, "2 osaka7": 1 });
    const queues = () =>
      [...bed.gateway.state(new Map()).queue.values()].map(({ up, reason }) => ({ up, reason }));
    expect(queues()).toEqual([
      { up: true, reason: "no memory" },
      { up: false, reason: "no carrier" },
    ]);
    for (const queue of [1, 2]) bed.backEnd.tell({ kind: "hindered", queue });
    expect(queues()).toEqual([1, 2].map(() => ({ up: true, reason: undefined })));
  });

  test("go by themselves where none does", async () => {
    await bed.set(all(...ONE));
    expect(await settled()).toEqual({ "2 tokyo": 1, "2 osaka7": 1 });
    for (const queue of [1, 2]) bed.backEnd.tell({ kind: "hindered", queue, reason: "no carrier" });
    expect(await settled()).toEqual({});
  });

  test.each([
    ["at once", 0],
    ["longer than a slice", 5],
  ])(
    "leave by themselves again when the queue that took them ends, or is removed; an order takes %s",
    async (_, orderMs) => {
      bed.backEnd.refusal = () => {
        for (const end = monotonicMs() + orderMs; monotonicMs() < end;);
        return undefined;
      };
      const both = [second(4000, "tokyo"), second(5000, "osaka7")];
      const cut = { kind: "hindered", queue: 1, reason: "no carrier" } as const;
      await bed.set(all(...ONE, ...both));
      bed.backEnd.tell(cut);
      expect(await settled()).toEqual({ "1 tokyo": 2, "1 osaka7": 2 });
      bed.backEnd.down(2, "its interface was removed");
      expect(await settled()).toEqual({});
      bed.backEnd.up(2);
      expect(await settled()).toEqual({ "1 tokyo": 2, "1 osaka7": 2 });
      await bed.set(managed(`${route("tokyo")} ${route("osaka7")}`, ...ONE));
      expect(await settled()).toEqual({});
      expect((await bed.route("tokyo"))?.detour).toBeUndefined();
    },
  );

  test("are known no more when the queue ends, and are handed over anew when it begins", async () => {
    await bed.set(all(...ONE));
    await settled();
    bed.backEnd.down(2, "gone");
    bed.backEnd.detours.clear();
    bed.backEnd.up(2);
    expect(await settled()).toEqual({ "2 tokyo": 1, "2 osaka7": 1 });
  });
});

test("networks of all routes are protected, also those of routes that cannot work, until the gateway ends for good", async () => {
  await bed.set(INTERFACES + route() + route("osaka7", "2001:db8::1"));
  expect(bed.backEnd.protected).toEqual(["10.5.0.0/16", "10.6.0.0/16"]);
  await bed.set(INTERFACES + route());
  bed.backEnd.down(1, "its link is down");
  expect(bed.backEnd.protected).toEqual(["10.5.0.0/16"]);
  await bed.gateway.close(true);
  expect(bed.backEnd.endedForGood).toBe(true);
});

describe("what cannot be changed while it runs", () => {
  const configOf = (text: string) => readConfig(text).config;

  test("is refused with path, value and rule, and nothing has changed", () => {
    const { gateway, backEnd } = bed;
    const before = gateway.config;
    const claimed: string[] = [];
    Object.assign(backEnd, {
      claim: (wish: string) => {
        claimed.push(wish);
        if (wish === "kernel") throw new Error("lyon has it");
      },
    });
    expect(() => gateway.keep(configOf(`${INTERFACES} backend kernel;`))).toThrow(
      "/backend kernel: cannot be here: lyon has it",
    );
    expect([gateway.config === before, claimed]).toEqual([true, ["kernel"]]);
    Object.assign(backEnd, {
      claim: () => {},
      choose: () => {
        throw new Error("no memory");
      },
    });
    const now = `${INTERFACES} backend kernel; ${route()}`;
    expect(() => gateway.keep(configOf(now))).toThrow("/backend kernel: cannot be here: no memory");
    expect([gateway.config === before, gateway.model.routes.size]).toEqual([true, 0]);
    expect(bed.files.config()).toEqual(before);
  });

  test("has a warning where another word comes before it", () => {
    using other = new GatewayBed("", undefined, [2]);
    const told = (text: string) => other.gateway.keep(configOf(text)).map(formatConfigProblem);
    expect(told(INTERFACES)).toEqual([]);
    expect(told(`${INTERFACES} cpu 3;`)).toEqual([
      "/cpu: has no effect now: the gateway was started with --cpu",
    ]);
  });

  test("who carries packets is in the state, and in the log", async () => {
    bed.backEnd.tell({ kind: "chosen", by: "kernel", reason: "auto: no AF_XDP" });
    expect(bed.gateway.state(new Map()).backend).toEqual({ used: "kernel", reason: "auto: no AF_XDP" });
    expect(bed.log.at(-1)).toEqual({ event: "it is chosen who carries packets", reason: "auto: no AF_XDP" });
  });
});

describe("what is known of queues", () => {
  test("goes with them", async () => {
    const second = `public-interface4 { ifname eth3; ip 203.0.113.9; nexthop-ip 203.0.113.2; queue 2; }`;
    await bed.set(`${INTERFACES} ${second}`);
    expect([...bed.gateway.queues.keys()]).toEqual([1, 2]);
    await bed.set(INTERFACES);
    expect([...bed.gateway.queues.keys()]).toEqual([1]);
  });
});

test("Vita's own sequence of configurations is followed step by step, and the queue never goes", async () => {
  const one = (...changes: readonly (readonly [string, string])[]) =>
    changes.reduce((text, [from, to]) => text.replace(from, to), route("tokyo", "203.0.113.50"));
  const net = ["10.5.0.0/16", "10.7.0.0/16"] as const;
  const key = ["57".repeat(32), "58".repeat(32)] as const;
  const name = ["id tokyo", "id osaka"] as const;
  const other = ["203.0.113.50", "203.0.113.51"] as const;
  const moved = INTERFACES.replace("ip 203.0.113.1;", "ip 203.0.113.9;");
  for (const [text, wanted] of [
    [INTERFACES, []],
    [INTERFACES + one(), ["tokyo 10.5.0.0/16"]],
    [INTERFACES + one(), ["tokyo 10.5.0.0/16"]],
    [INTERFACES + one(key), ["tokyo 10.5.0.0/16"]],
    [INTERFACES + one(key, other), ["tokyo 10.5.0.0/16"]],
    [moved + one(key, other, net), ["tokyo 10.7.0.0/16"]],
    [moved + one(key, other, net, name), ["osaka 10.7.0.0/16"]],
    [`${moved}${one(key, other, net, name)} negotiation-ttl 42;`, ["osaka 10.7.0.0/16"]],
    [`${moved}${one(key, other, net, name)} negotiation-ttl 42; sa-ttl 42;`, ["osaka 10.7.0.0/16"]],
    [`${moved} negotiation-ttl 42; sa-ttl 42;`, []],
  ] as const) {
    await bed.set(text);
    const routes = [...bed.gateway.config.route.values()];
    expect(routes.map(({ id, net: nets }) => `${id} ${nets.map(formatPrefix).join()}`)).toEqual([...wanted]);
    for (const { id } of routes) expect(await bed.route(id)).toMatchObject({ id, up: false });
    const state = bed.gateway.state(await bed.gateway.report());
    expect([...state.route.keys()]).toEqual(routes.map(({ id }) => id));
    expect([...bed.gateway.queues.keys()]).toEqual([1]);
  }
  expect(bed.log.filter(({ event }) => event === "queue is down")).toEqual([]);
});

test("an interface by its place on the PCI bus is looked for until it is there, and followed to another name", async () => {
  const sides = () => bed.backEnd.plans.map((plan) => plan.sides);
  await bed.set(INTERFACES.replace("ifname eth1", "pci 03:00.0"));
  expect(sides()).toEqual([{ problem: expect.stringContaining("at 03:00.0 of the PCI bus") }]);
  const here = (...names: readonly string[]) => {
    bed.places.set("03:00.0", names);
    bed.gateway.look();
  };
  for (const name of ["ens3", "inside"]) {
    here(name);
    expect(sides()).toMatchObject([{ private: { interface: name }, public: { interface: "eth2" } }]);
  }
  // A card may have several ports at one place.
  here("inside", "port0", "port1");
  const all = "where there are inside and port0 and port1; give the ifname of one";
  expect(sides()).toEqual([{ problem: expect.stringContaining(all) }]);
  here("inside");
  expect(sides()).toMatchObject([{ private: { interface: "inside" } }]);
});
