/** The verbs as Vita has them, and where they are stricter. */
import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { answerItem, emptyStream, MAX_REQUEST, splitObjects, type StreamItem } from "./listen.ts";
import type { GatewayConfig } from "./schema.ts";
import { noState } from "./state-schema.ts";
import { sumStates } from "./state.ts";
import { type ChangeRequest, type ConfigStore, defaultConfig, perform, readConfig } from "./verbs.ts";

const PSK = "00112233".repeat(8);
const OTHER = "aabbccdd".repeat(8);
const BASE = `
  private-interface4 { ifname e0; ip 10.0.0.1; nexthop-ip 10.0.0.2; }
  public-interface4 { ifname e1; ip 192.0.2.1; nexthop-ip 192.0.2.2; }
  route4 { id a; spi 1001; preshared-key ${PSK}; net 10.1.0.0/16; gateway { ip 198.51.100.1; } }
`;
const base = readConfig(BASE).config;

const storeOf = (config: GatewayConfig): ConfigStore => ({ config, state: { "gateway-state": noState } });
const change = (config: GatewayConfig, request: ChangeRequest) => perform(storeOf(config), request);
const set = (path: string, value: string, config = base) =>
  change(config, { verb: "set", path, value }).config;
const add = (path: string, value: string, config = base) =>
  change(config, { verb: "add", path, value }).config;
const remove = (path: string, config = base) => change(config, { verb: "remove", path }).config;
const get = (path: string, config = base) => perform(storeOf(config), { verb: "get", path }).text;
const entry = (id: string, spi: number, key = OTHER) =>
  `{ id ${id}; spi ${spi}; preshared-key ${key}; net 10.${spi % 256}.0.0/16; gateway { ip 198.51.100.9; } }`;

test("get: one leaf, an entry without its name and keys, a list, and nothing", () => {
  expect(get("/mtu")).toBe("8923\n");
  expect(get("/route4[id=a]/spi")).toBe("1001\n");
  expect(get("/public-interface4[ip=192.0.2.1]/nexthop-ip")).toBe("192.0.2.2\n");
  expect(get("/route4[id=a]/gateway[ip=198.51.100.1]/queue")).toBe("1\n");
  expect(get("/route4[id=a]")).toBe(
    'gateway {\n  ip 198.51.100.1;\n}\nnet "10.1.0.0/16";\npreshared-key (hidden);\nspi 1001;\n',
  );
  expect(get("/route4")).toStartWith("{\n  id a;\n");
  expect(get("/route6")).toBe("");
  expect(() => get("/route4[id=b]")).toThrow("/route4[id=b]: is not there");
  expect(() => get("/private-interface6")).toThrow("/private-interface6: is not there");
});

describe("set", () => {
  test("a leaf", () => expect(get("/mtu", set("/mtu", "1500"))).toBe("1500\n"));
  test("a leaf, with ; and blanks", () => expect(set("/mtu", " 1500 ;\n").mtu).toBe(1500));
  test("an entry, without what its path says", () => {
    const next = set(
      "/route4[id=a]",
      `spi 7777; preshared-key ${OTHER}; net 10.9.0.0/16; gateway { ip 1.2.3.4; }`,
    );
    expect(next.route4.get("a")?.spi).toBe(7777);
    // The key may be said again, but not another one.
    const body = `spi 7777; preshared-key ${OTHER}; net 10.9.0.0/16; gateway { ip 1.2.3.4; }`;
    expect(set("/route4[id=a]", `id a; ${body}`).route4.get("a")?.spi).toBe(7777);
    expect(() => set("/route4[id=a]", `id b; ${body}`)).toThrow(
      "/route4[id=a]/id b: is another one than the path says; leave it out",
    );
  });
  test("a whole list", () => {
    const next = set("/route4", `${entry("b", 1002)} ${entry("c", 1003, PSK)}`);
    expect([...next.route4.keys()]).toEqual(["b", "c"]);
  });
  test("a leaf-list, and one of its values", () => {
    const next = set("/cpu", "2; 3;");
    expect(next.cpu).toEqual([2, 3]);
    expect(set("/cpu[position()=1]", "5", next).cpu).toEqual([5, 3]);
    expect(() => set("/cpu[position()=3]", "5", next)).toThrow("/cpu[position()=3]: is not there; add it");
  });
  test("everything, and nothing for the defaults", () => {
    expect(set("/", "mtu 99;").route4.size).toBe(0);
    expect(set("/", "")).toEqual(defaultConfig);
    expect(change(base, { verb: "load", value: "mtu 99;" }).config.mtu).toBe(99);
  });
  test("what is refused changes nothing", () => {
    expect(() => set("/mtu", "9000")).toThrow("/mtu 9000: is not a whole number from 0 to 8923");
    expect(() => set("/mtu", "1 2")).toThrow("/mtu: wants one value");
    expect(() => set("/mtu", "")).toThrow("/mtu: wants one value");
    expect(() => set("/route4[id=b]", "spi 7;")).toThrow("/route4[id=b]: is not there; add it");
    expect(() => set("/route4[id=a]/id", "b")).toThrow("/route4[id=a]/id: is the key of its entry; remove");
    expect(() => set("/private-interface6/mac", "02:00:00:00:00:01")).toThrow(
      "private-interface6 is not there",
    );
  });
});

describe("add and remove", () => {
  test("entries, all or none", () => {
    const next = add("/route4", `${entry("b", 1002)} ${entry("c", 1003, "55".repeat(32))}`);
    expect([...next.route4.keys()]).toEqual(["a", "b", "c"]);
    expect(() => add("/route4", `${entry("c", 1003)} ${entry("a", 1004)}`, base)).toThrow(
      "/route4[id=a]: already-existing entry",
    );
  });
  test("are judged over the whole, as Vita does not", () => {
    expect(() => add("/route4", entry("b", 1001))).toThrow(
      "/route4[id=b]/spi 1001: is not unique: /route4[id=a] has it",
    );
    expect(() => add("/route4", entry("b", 1002, PSK))).toThrow("/route4[id=b]/preshared-key: is not unique");
    expect(() => add("/route4[id=a]/gateway", "{ ip 198.51.100.2; }")).toThrow(
      "/route4[id=a]/gateway[ip=198.51.100.2]/queue 1: is not unique: /route4[id=a]/gateway[ip=198.51.100.1] has it",
    );
    expect(() => remove("/route4[id=a]/gateway[ip=198.51.100.1]")).toThrow(
      "/route4[id=a]/gateway: requires at least 1 element(s)",
    );
    const other =
      "{ id b; spi 1001; public-key HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=; net 10.7.0.0/16; }";
    expect(() => add("/route", other)).toThrow("/route[id=b]/spi 1001: is not unique: /route4[id=a] has it");
  });
  test("a value of a leaf-list", () => {
    const next = add("/cpu", "2;", set("/cpu", "7"));
    expect(next.cpu).toEqual([7, 2]);
    expect(remove("/cpu[position()=1]", next).cpu).toEqual([2]);
    expect(() => add("/cpu", "9; 7;", next)).toThrow("/cpu[position()=4] 7: is there twice; keep one");
  });
  test("an entry goes", () => expect(remove("/route4[id=a]").route4.size).toBe(0));
  test("nothing else is added to or removed", () => {
    expect(() => add("/mtu", "1")).toThrow("/mtu: Add only allowed on arrays and tables");
    expect(() => add("/route4[id=a]", "")).toThrow("/route4[id=a]: Add only allowed on arrays and tables");
    expect(() => remove("/mtu")).toThrow("/mtu: Remove only allowed on arrays and tables");
    expect(() => remove("/")).toThrow("/: Remove only allowed on arrays and tables");
    expect(() => remove("/route4")).toThrow("/route4: names no entry; write which one in brackets");
    expect(() => remove("/route4[id=x]")).toThrow("/route4[id=x]: is not there");
  });
});

describe("secrets", () => {
  const reveal = (config: GatewayConfig, id: string) =>
    Buffer.from(config.route4.get(id)?.["preshared-key"].reveal() ?? []).toString("hex");
  test("what get prints can be set, and keeps them", () => {
    expect(get("/")).not.toContain("0011");
    expect(reveal(set("/", get("/")), "a")).toBe(PSK);
    expect(reveal(set("/route4[id=a]/preshared-key", "(hidden)"), "a")).toBe(PSK);
    expect(reveal(set("/route4[id=a]/preshared-key", OTHER), "a")).toBe(OTHER);
  });
  test("another route does not inherit them", () => {
    expect(() => set("/", get("/").replace("id a;", "id b;"))).toThrow(
      "/route4[id=b]/preshared-key (hidden): keeps a secret that is not there; write its digits",
    );
  });
  test("are in no text that a value is made into", () => {
    const key = base.route4.get("a")?.["preshared-key"];
    const texts = [JSON.stringify(key), Bun.inspect(base), String(key)];
    for (const text of texts) expect(text).not.toMatch(/0011|17, 34/);
  });
});

describe("SAs", () => {
  const sa = (spi: number, key = "01".repeat(16)) =>
    `{ route a; spi ${spi}; aead aes-gcm-16-icv; key ${key}; salt 01020304; }`;
  const open = set("/data-plane", "true");
  test("are the key keeper's without data-plane", () => {
    const auto = "SA database is auto-managed (data-plane option is not set)";
    expect(() => add("/outbound-sa", sa(256))).toThrow(`/outbound-sa: ${auto}`);
    expect(() => set("/inbound-sa", "")).toThrow(auto);
    expect(() => remove("/inbound-sa[spi=256]")).toThrow(auto);
    const { config, warnings } = change(base, {
      verb: "set",
      path: "/",
      value: `${BASE} outbound-sa ${sa(256)}`,
    });
    expect(config["outbound-sa"].size).toBe(0);
    expect(warnings).toEqual([{ path: "/outbound-sa", rule: `was not taken: ${auto}` }]);
  });
  test("are the operator's with it", () => {
    const next = add("/inbound-sa", sa(300, "03".repeat(16)), add("/outbound-sa", sa(256), open));
    expect(get("/outbound-sa[spi=256][queue=1]/key", next)).toBe("(hidden)\n");
    expect(remove("/outbound-sa[spi=256]", next)["outbound-sa"].size).toBe(0);
    // Without data-plane they are dropped, and it is told.
    expect(change(next, { verb: "set", path: "/data-plane", value: "false" }).warnings).toHaveLength(2);
  });
  test("do not use a nonce twice, and have keys that fit", () => {
    const next = add("/outbound-sa", sa(256), open);
    const second = `{ route b; spi 257; aead aes-gcm-16-icv; key ${"01".repeat(16)}; salt 01020304; }`;
    expect(() => add("/outbound-sa", second, next)).toThrow(
      "/outbound-sa[queue=1][spi=257]/key: is the key of /outbound-sa[queue=1][spi=256] too; make another one",
    );
    // The other gateway would send with it, too; one that is this gateway itself may.
    expect(() => add("/inbound-sa", sa(300), next)).toThrow(
      "/inbound-sa[queue=1][spi=300]/key: is the key of /outbound-sa[queue=1][spi=256] too; make another one",
    );
    const itself = readConfig(BASE.replace("198.51.100.1", "192.0.2.1")).config;
    const loop = add("/outbound-sa", sa(256), set("/data-plane", "true", itself));
    expect(add("/inbound-sa", sa(300), loop)["inbound-sa"].size).toBe(1);
    expect(() => add("/outbound-sa", sa(257, "02".repeat(16)), next)).toThrow(
      "/outbound-sa[queue=1][spi=257]/route queue a 1: is not unique",
    );
    expect(() => add("/inbound-sa", sa(256, "02".repeat(32)), open)).toThrow(
      "/key: does not fit aes-gcm-16-icv, whose keys have 16 bytes; this one has 32",
    );
    expect(() => add("/inbound-sa", sa(255), open)).toThrow("/spi 255: is not a whole number from 256");
  });
});

test("while somebody listens, nobody else writes", () => {
  const store: ConfigStore = { ...storeOf(base), listener: "one" };
  const request = { verb: "set", path: "/mtu", value: "1500" } as const;
  expect(() => perform(store, request)).toThrow("Attempt to modify configuration while listener attached");
  expect(() => perform(store, request, "two")).toThrow("while listener attached");
  expect(perform(store, request, "one").config.mtu).toBe(1500);
  expect(perform(store, { verb: "get", path: "/mtu" }).text).toBe("8923\n");
});

test("get-state: counters of workers are added up", () => {
  const worker = (packets: bigint, queue: number) => ({
    ...noState,
    "private-router": { "route-errors": packets },
    "inbound-sa": new Map([[`${queue} 256`, { queue, spi: 256, "sa-state": { rxerrors: 1n } }]]),
    route: new Map([["a", { id: "a", up: true, rxpackets: packets }]]),
  });
  const store = { ...storeOf(base), state: sumStates([worker(3n, 1), worker(4n, 2)]) };
  const state = (path: string) => perform(store, { verb: "get-state", path }).text;
  expect(state("/gateway-state/private-router/route-errors")).toBe("7\n");
  expect(state("/gateway-state/route[id=a]/rxpackets")).toBe("7\n");
  expect(state("/gateway-state/inbound-sa[spi=256][queue=2]/sa-state")).toBe("rxerrors 1;\n");
  expect(state("/")).toContain(
    "  inbound-sa {\n    queue 1;\n    spi 256;\n    sa-state {\n      rxerrors 1;\n    }\n  }\n",
  );
  expect(() => state("/mtu")).toThrow("/ mtu: is not a name here; the names are gateway-state");
  expect(() => state("/gateway-state/private-icmp6")).toThrow("is not there");
});

describe("listen", () => {
  const requests = [
    { id: "1", verb: "set", path: "/mtu", value: "1440" },
    { id: "2", verb: "get", path: "/mtu" },
    { id: "3", verb: "get", path: "/mtv" },
    { id: "4", verb: "get-state", path: "/gateway-state" },
    { id: "5", verb: "load", path: "/" },
    { id: "6", verb: "add", path: "/route4" },
    { id: '"}{\\', verb: "remove", path: "/route4[id=a]" },
  ];
  const answers = (items: readonly StreamItem[]) => {
    let store = storeOf(base);
    return items.map((item) => {
      const { reply, answer } = answerItem(store, item);
      if (answer !== undefined) store = { ...store, config: answer.config };
      return JSON.stringify(reply);
    });
  };
  test("requests follow each other, and are cut anywhere", () => {
    const seed = newSeed();
    console.log(`seed ${seed}`);
    const random = new Random(seed);
    const text = requests.map((request) => JSON.stringify(request, null, random.pick([0, 2]))).join(" \n");
    const [, whole] = splitObjects(emptyStream, text);
    expect(answers(whole)).toEqual([
      '{"id":"1","status":"ok"}',
      '{"id":"2","status":"ok","value":"1440\\n"}',
      expect.stringContaining('{"id":"3","status":"error","error":"/ mtv: is not a name here') as never,
      '{"id":"4","status":"ok","value":""}',
      '{"id":"5","status":"error","error":"/ load: is no verb; they are get, get-state, set, add and remove"}',
      expect.stringContaining(
        '{"id":"6","status":"error","error":"/: has no \\"value\\" that is text',
      ) as never,
      '{"id":"\\"}{\\\\","status":"ok"}',
    ]);
    for (let round = 0; round < 200; round++) {
      let stream = emptyStream;
      const items: StreamItem[] = [];
      for (let at = 0; at < text.length;) {
        const length = 1 + random.below(random.pick([3, 60]));
        const [next, found] = splitObjects(stream, text.slice(at, at + length));
        stream = next;
        items.push(...found);
        at += length;
      }
      expect(items).toEqual([...whole]);
      expect(stream.text).toBe("");
    }
  });
  test("what is no object costs its line, and none of it is repeated", () => {
    const secret = `preshared-key ${PSK}\n{ "verb": "set", ${PSK} }\n[1]\n{"id":"9","verb":"get","path":"/mtu"}\n`;
    const [rest, items] = splitObjects(emptyStream, secret);
    expect(rest).toEqual(emptyStream);
    const replies = answers(items);
    expect(replies).toHaveLength(4);
    expect(replies.join()).not.toContain("0011");
    expect(replies[3]).toBe('{"id":"9","status":"ok","value":"8923\\n"}');
  });
  test("an object without end is given up", () => {
    const [rest, items] = splitObjects(emptyStream, `{"id":"${"x".repeat(MAX_REQUEST)}`);
    expect(items).toEqual([undefined]);
    expect(rest).toEqual(emptyStream);
  });
});
