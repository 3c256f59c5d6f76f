/** The text form: what Vita's own files say, what is refused and where, and that what is printed is what was read. */
import { describe, expect, test } from "bun:test";
import { randomGateway, spell } from "../../test/support/gateway-text.ts";
import { newSeed, Random } from "../../test/support/random.ts";
import { formatIp, formatMac, formatPrefix } from "../net/mod.ts";
import { sameValue } from "./identity.ts";
import { parsePath } from "./path.ts";
import { ConfigError } from "./problem.ts";
import { readRoot } from "./read-text.ts";
import { configSchema, type GatewayConfig } from "./schema.ts";
import { HIDDEN } from "./secret-bytes.ts";
import { defaultConfig, perform, readConfig } from "./verbs.ts";
import { noState } from "./state-schema.ts";
import { findAt } from "./tree.ts";
import { printAt } from "./write-text.ts";

const PSK = "00".repeat(31) + "01";

/** As the end-to-end test of Vita writes it. */
const veth = `
public-interface4 {
  ifname vpu0;
  ip 10.20.0.1;
  mac 02:00:00:00:00:01;
  nexthop-ip 10.20.0.2;
}
private-interface4 {
  ifname vpr0;
  ip 10.10.1.1;
  mac 02:00:00:00:00:02;
  nexthop-ip 10.10.1.2;
}
route4 {
  id test1;
  gateway { ip 10.20.0.2; }
  net "10.10.2.0/24";
  preshared-key ${PSK};
  spi 1001;
}
`;

const get = (config: GatewayConfig, path: string, printDefault = false) =>
  perform({ config, state: { "gateway-state": noState } }, { verb: "get", path, print: { printDefault } })
    .text;

function problemsOf(text: string): string[] {
  try {
    readConfig(text);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message.split("\n");
  }
}

test("a configuration of Vita's is read as it stands", () => {
  const { config, warnings } = readConfig(veth);
  expect(warnings).toEqual([]);
  const link = config["public-interface4"].get("10.20.0.1");
  expect(
    link && [link.ifname, formatMac(link.mac as never), formatIp(link["nexthop-ip"]), link.queue],
  ).toEqual(["vpu0", "02:00:00:00:00:01", "10.20.0.2", 1]);
  const route = config.route4.get("test1");
  expect(route && [formatPrefix(route.net), route.spi, [...route.gateway.keys()]]).toEqual([
    "10.10.2.0/24",
    1001,
    ["10.20.0.2"],
  ]);
  expect(Buffer.from(route?.["preshared-key"].reveal() ?? []).toString("hex")).toBe(PSK);
});

test("it is printed as Vita prints it: names in order, keys first, what equals its default left out, secrets hidden", () => {
  expect(get(readConfig(veth).config, "/")).toBe(`private-interface4 {
  ifname vpr0;
  ip 10.10.1.1;
  mac 02:00:00:00:00:02;
  nexthop-ip 10.10.1.2;
}
public-interface4 {
  ip 10.20.0.1;
  ifname vpu0;
  mac 02:00:00:00:00:01;
  nexthop-ip 10.20.0.2;
}
route4 {
  id test1;
  gateway {
    ip 10.20.0.2;
  }
  net "10.10.2.0/24";
  preshared-key (hidden);
  spi 1001;
}
`);
});

test("an empty text is the defaults", () => {
  expect(readConfig("").config).toEqual(defaultConfig);
  expect(get(defaultConfig, "/")).toBe("");
  const [, ...lines] = get(defaultConfig, "/", true).split("\n");
  expect(lines).toEqual(["mtu 8923;", "negotiation-ttl 5;", "protocol-port 303;", "sa-ttl 600;", ""]);
});

const route = (body: string) => `route4 { id a; spi 256; preshared-key ${PSK}; net 10.0.0.0/8; ${body} }`;

describe("what Vita's schema says, and Vita does not look at, is refused", () => {
  const cases: [text: string, expected: string][] = [
    [
      `route4 { id a; spi 255; preshared-key ${PSK}; net 10.0.0.0/8; gateway { ip 192.0.2.1; } }`,
      "/route4[id=a]/spi 255: is not a whole number from 256 to 4294967295; write one in decimal (line 1, column 16)",
    ],
    [
      "route4 { id a; spi 256; preshared-key 00; net 10.0.0.0/8; gateway { ip 192.0.2.1; } }",
      "/route4[id=a]/preshared-key: is not 64 hexadecimal digits; write them in pairs, or (hidden) to keep what is there (line 1, column 25)",
    ],
    [
      `route4 { id a-b; spi 256; preshared-key ${PSK}; net 10.0.0.0/8; gateway { ip 192.0.2.1; } }`,
      "/route4[position()=1]/id a-b: is not an id; write letters, digits and '_'",
    ],
    [
      route("gateway { ip 192.0.2.1; queue 0; }"),
      "/route4[id=a]/gateway[ip=192.0.2.1]/queue 0: is not a whole number from 1",
    ],
    ["sa-ttl 0;", "/sa-ttl 0: is not a whole number from 1 to 4294967295"],
    [route("gateway { ip 10.0.0.300; }"), "/ip 10.0.0.300: is not an IPv4 address; write it like 192.0.2.1"],
    [
      `route4 { id a; spi 256; preshared-key ${PSK}; net 10.0.0.0; gateway { ip 192.0.2.1; } }`,
      "/route4[id=a]/net 10.0.0.0: is not an IPv4 prefix; write it like 10.1.0.0/16",
    ],
    ["mtu abc;", "/mtu abc: is not a whole number from 0 to 8923"],
    ["mtu 1.5;", "/mtu 1.5: is not a whole number"],
    ["mtu 01440;", "/mtu 01440: is not a whole number"],
    ["mtu 0x400;", "/mtu 0x400: is not a whole number"],
    ["protocol-port 0;", "/protocol-port 0: is not a whole number from 1 to 65535"],
    [
      "private-interface4 { ifname a/b; ip 10.0.0.1; nexthop-ip 10.0.0.2; }",
      "/ifname a/b: is not the name of a network interface",
    ],
    ["private-interface4 { pci 1:2; ip 10.0.0.1; nexthop-ip 10.0.0.2; }", "/pci 1:2: is not a PCI address"],
    [
      "private-interface4 { ifname e; ip 10.0.0.1; nexthop-ip 10.0.0.2; mac 03:00:00:00:00:01; }",
      "/mac 03:00:00:00:00:01: is not a MAC address of one machine",
    ],
    [
      "private-interface6 { ifname e; ip fe80::1%eth0; nexthop-ip fe80::2; }",
      "/ip fe80::1%eth0: is not an IPv6 address",
    ],
  ];
  for (const [text, expected] of cases)
    test(text, () => expect(problemsOf(text).join("\n")).toContain(expected));
});

describe("what Vita refuses is refused", () => {
  const sides = "private-interface4 { ifname e; ip 10.0.0.1; nexthop-ip 10.0.0.2; }";
  const two = (a: string, b: string) =>
    `route4 { id a; ${a} preshared-key ${PSK}; gateway { ip 192.0.2.1; } } route4 { id b; ${b} preshared-key ${"11".repeat(32)}; gateway { ip 192.0.2.1; } }`;
  const cases: [text: string, expected: string][] = [
    ["mtu 9000;", "/mtu 9000: is not a whole number from 0 to 8923; write one in decimal (line 1, column 1)"],
    ["mtu 70000;", "/mtu 70000: is not"],
    [
      `route4 { id a; spi 256; preshared-key ${PSK}; gateway { ip 192.0.2.1; } }`,
      "/route4[id=a]/net: is missing; add it",
    ],
    [route(""), "/route4[id=a]/gateway: requires at least 1 element(s); add one"],
    [
      two("spi 256; net 10.0.0.0/8;", "spi 256; net 11.0.0.0/8;"),
      "/route4[id=b]/spi 256: is not unique: /route4[id=a] has it; write another",
    ],
    // Vita compares text, and does not see that these are one network.
    [
      two("spi 256; net 10.0.0.0/8;", "spi 257; net 10.9.0.0/8;"),
      "/route4[id=b]/net 10.0.0.0/8: is not unique: /route4[id=a] has it",
    ],
    [
      route("gateway { ip 192.0.2.1; } gateway { ip 192.0.2.2; }"),
      "/route4[id=a]/gateway[ip=192.0.2.2]/queue 1: is not unique: /route4[id=a]/gateway[ip=192.0.2.1] has it",
    ],
    [
      route("gateway { ip 192.0.2.1; } gateway { ip 192.0.2.1; queue 2; }"),
      "/gateway[ip=192.0.2.1]: is there twice; keep one",
    ],
    [
      "private-interface4 { pci 01:00.0; ifname e; ip 10.0.0.1; nexthop-ip 10.0.0.2; }",
      "/private-interface4: names an interface twice; keep one",
    ],
    [
      "private-interface4 { ip 10.0.0.1; nexthop-ip 10.0.0.2; }",
      "/private-interface4: names no interface; add ifname, or pci",
    ],
    [
      "public-interface4 { ifname e; ip 10.0.0.1; nexthop-ip 10.0.0.2; }",
      "/public-interface4: needs a private side",
    ],
    [`${sides} ${sides}`, "/private-interface4: is there twice; keep one"],
    ["mtu 1; mtu 2;", "/mtu: is there twice; keep one"],
    ["foo 1;", "/ foo: is not a name here; the names are private-interface4,"],
    ["mtu 1440", "/: what stands here is not the ; or { that must stand after mtu (line 1, column 9)"],
    ["mtu { }", "/mtu: wants one value; write mtu VALUE;"],
    ["private-interface4 x;", "/private-interface4: wants a block; write private-interface4 { … }"],
    ["route4 a;", "/route4: wants a block for each entry; write { … }"],
  ];
  for (const [text, expected] of cases)
    test(text, () => expect(problemsOf(text).join("\n")).toContain(expected));
});

test("all that is wrong is told at once, with its place, and no secret with it", () => {
  const problems = problemsOf(
    `mtu 9000;\nroute4 {\n  id a;\n  preshared-key "12 34 56";\n  spi 1;\n}\nsa-ttl x;`,
  );
  expect(problems.map((problem) => /^\S+|\(line.*\)$/g[Symbol.match](problem)?.join(" "))).toEqual([
    "/mtu (line 1, column 1)",
    "/route4[id=a]/preshared-key: (line 4, column 3)",
    "/route4[id=a]/spi (line 5, column 3)",
    "/route4[id=a]/net: (line 2, column 1)",
    "/sa-ttl (line 7, column 1)",
  ]);
  expect(problems.join()).not.toContain("34");
});

test("random configurations: however they are spelled they mean the same, and what is printed is what was read", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 100; round++) {
    const pieces = randomGateway(random);
    const { config } = readConfig(spell(random, pieces));
    expect(sameValue(config, readConfig(spell(random, pieces)).config)).toBe(true);
    for (const printDefault of [false, true]) {
      const printed = get(config, "/", printDefault);
      expect(printed).not.toMatch(/(preshared-key|key|salt) [0-9a-f]/);
      // (hidden) keeps what is there, so that a round trip needs the configuration before.
      const again = readConfig(printed, config).config;
      expect(sameValue(again, config)).toBe(true);
      expect(get(again, "/", printDefault)).toBe(printed);
    }
  }
});

test("random configurations: each line of the format xpath leads to its value", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  for (let round = 0; round < 30; round++) {
    const { config } = readConfig(spell(random, randomGateway(random)));
    const whole = parsePath(configSchema, "/");
    for (const line of printAt(configSchema, whole, config, { format: "xpath" }).trim().split("\n")) {
      if (line === "") continue;
      const [, path, value] = /^(\S+) (.*)$/.exec(line) as unknown as [string, string, string];
      expect(parsePath(configSchema, path).path).toBe(path);
      expect(get(config, path)).toBe(`${value}\n`);
    }
  }
});

test("mutated and random texts are read or refused, and nothing else", () => {
  const seed = newSeed();
  console.log(`seed ${seed}`);
  const random = new Random(seed);
  const letters = [..."{};\"'/*\\+ \n\tmtu route4 id gateway 0123456789abcdef:.[]=-_\u0000ä€"];
  let read = 0;
  for (let round = 0; round < 1500; round++) {
    const text = random.chance(0.2)
      ? Array.from({ length: random.below(200) }, () => random.pick(letters)).join("")
      : Buffer.from(random.mutate(Buffer.from(spell(random, randomGateway(random))))).toString();
    try {
      const root = readRoot(configSchema, text) as GatewayConfig;
      const target = parsePath(configSchema, "/");
      const printed = printAt(configSchema, target, findAt(root, target));
      expect(printed.includes(HIDDEN) || sameValue(readRoot(configSchema, printed), root)).toBe(true);
      read++;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw new Error(JSON.stringify(text), { cause: error });
      expect(error.problems.length).toBeGreaterThan(0);
    }
  }
  expect(read).toBeGreaterThan(0);
});
