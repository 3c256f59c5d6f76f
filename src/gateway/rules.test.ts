/** Rules that join several nodes: one case for each, as text in and what is said of it. */
import { describe, expect, test } from "bun:test";
import { formatConfigProblem } from "./problem.ts";
import { readConfig } from "./verbs.ts";

const PSK = "ab".repeat(32);
const KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=";
const INSIDE = "private-interface4 { ifname e0; ip 10.0.0.1; nexthop-ip 10.0.0.2; }";
const outside = (body: string) => `public-interface4 { ${body} nexthop-ip 192.0.2.254; }`;
const own = (body: string) => `route { id a; spi 256; net 10.9.0.0/16; ${body} }`;
const vita = (id: string, spi: number, net: string) =>
  `route4 { id ${id}; spi ${spi}; preshared-key "${`0${spi % 10}`.repeat(32)}"; net ${net}; gateway { ip 198.51.100.1; } }`;

const refusals: [text: string, expected: string][] = [
  [
    "private-interface4 { ifname e; ip 127.0.0.1; nexthop-ip 10.0.0.2; }",
    "/private-interface4/ip 127.0.0.1: is no address of a host: it lies in 127.0.0.0/8",
  ],
  [
    "private-interface4 { ifname e; ip 10.0.0.1; nexthop-ip 224.0.0.5; }",
    "/private-interface4/nexthop-ip 224.0.0.5: is no address of a host",
  ],
  [
    "private-interface6 { ifname e; ip ::1; nexthop-ip fe80::1; }",
    "/private-interface6/ip ::1: is no address of a host",
  ],
  [
    "private-interface4 { ifname e; ip 10.0.0.1; nexthop-ip 10.0.0.1; }",
    "/private-interface4/nexthop-ip 10.0.0.1: is the interface's own address",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 10.0.0.1;")}`,
    "/public-interface4[ip=10.0.0.1]/ip 10.0.0.1: is not unique: /private-interface4 has it",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 192.0.2.1; nat-ip 0.0.0.0;")}`,
    "/nat-ip 0.0.0.0: is no address of a host",
  ],
  [`${INSIDE} vpc team-a;`, "/vpc team-a: is the private side, and so is an interface; keep one"],
  [
    `${INSIDE} ${outside("ifname e0; ip 192.0.2.1;")}`,
    "/public-interface4[ip=192.0.2.1] e0: is the device of /private-interface4",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 192.0.2.1; device-queue 1;")} ${outside("ifname e1; ip 192.0.2.2; queue 2; device-queue 1;")}`,
    "/public-interface4[ip=192.0.2.2]/device-queue 1: is bound by /public-interface4[ip=192.0.2.1] already; write another queue of e1",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 192.0.2.1;")} ${outside("ifname e2; ip 192.0.2.2;")}`,
    "/public-interface4[ip=192.0.2.2]/queue 1: is not unique: /public-interface4[ip=192.0.2.1] has it",
  ],
  // The three lists are one where names, SPIs, keys and networks are concerned.
  [
    `${vita("a", 300, "10.1.0.0/16")} route { id a; spi 301; net 10.2.0.0/16; public-key ${KEY}; }`,
    "/route[id=a]/id a: is not unique: /route4[id=a] has it",
  ],
  [
    `${vita("a", 300, "10.1.0.0/16")} route { id b; spi 300; net 10.2.0.0/16; public-key ${KEY}; }`,
    "/route[id=b]/spi 300: is not unique",
  ],
  [
    `${vita("a", 300, "10.1.0.0/16")} route { id b; spi 301; net 10.1.0.0/16; public-key ${KEY}; }`,
    "/route[id=b]/net 10.1.0.0/16: is not unique",
  ],
  [
    `${vita("a", 300, "10.1.0.0/16")} ${vita("b", 310, "10.2.0.0/16")}`,
    "/route4[id=b]/preshared-key: is not unique: /route4[id=a] has it",
  ],
  [own(""), "/route[id=a]: has no key; add public-key, preshared-key or preshared-key-file"],
  ["route { id a; spi 256; preshared-key-file /k; }", "/route[id=a]/net: requires at least 1; add it"],
  [
    own(`preshared-key ${PSK}; preshared-key-file /k;`),
    "/route[id=a]/preshared-key-file /k: stands beside preshared-key; keep one",
  ],
  [
    own(`public-key ${KEY}; encapsulation never;`),
    "/route[id=a]/encapsulation never: does not fit a gateway that calls",
  ],
  [
    own("exchange vita; gateway { ip 192.0.2.9; }"),
    "/route[id=a]: has no key; add preshared-key or preshared-key-file",
  ],
  [own(`exchange vita; preshared-key ${PSK};`), "/route[id=a]/gateway: requires at least 1 element(s)"],
  [
    own(`exchange vita; preshared-key ${PSK}; algorithm aes-256-gcm; gateway { ip 192.0.2.9; }`),
    "/route[id=a]/algorithm aes-256-gcm: is not what Vita's exchange can agree on",
  ],
  [
    own(`exchange vita; preshared-key ${PSK}; encapsulation auto; gateway { ip 192.0.2.9; }`),
    "/route[id=a]/encapsulation auto: is not what Vita's",
  ],
  [
    own(`exchange vita; preshared-key ${PSK}; public-key ${KEY}; gateway { ip 192.0.2.9; }`),
    `/route[id=a]/public-key ${KEY}: is not what Vita's`,
  ],
  [
    own(`public-key ${KEY}; gateway { ip 255.255.255.255; }`),
    "/route[id=a]/gateway[ip=255.255.255.255]/ip 255.255.255.255: is no address of a host",
  ],
  [
    "outbound-sa { route a; spi 256; aead rot13; key 00; salt 00; }",
    "/outbound-sa[queue=1][spi=256]/aead rot13: is none of aes-gcm-16-icv",
  ],
  [
    own(
      `public-key ${KEY}; ${Array.from({ length: 65 }, (_, i) => `gateway { ip 198.51.100.${i + 1}; queue ${i + 1}; }`).join(" ")}`,
    ),
    "/route[id=a]/gateway 65: has more entries than the 64 that it may have; remove some",
  ],
];

describe("what does not go together is refused", () => {
  for (const [text, expected] of refusals)
    test(expected, () => {
      let message = "";
      try {
        readConfig(text);
      } catch (error) {
        ({ message } = error as Error);
      }
      expect(message).toContain(expected);
      expect(message).not.toContain(PSK);
    });
});

const warnings: [text: string, expected: string | undefined][] = [
  [
    "sa-ttl 15;",
    "/sa-ttl 15: leaves gaps between keys: it is not more than 3 times negotiation-ttl, which is 5",
  ],
  ["sa-ttl 16;", undefined],
  [
    `mtu 1279; route6 { id a; spi 256; preshared-key ${PSK}; net fd00::/8; gateway { ip 2001:db8::1; } }`,
    "/route6[id=a]/net fd00::/8: is of IPv6, whose links carry 1280 bytes, and mtu is 1279",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 198.51.100.1;")} ${vita("a", 300, "10.1.0.0/16")}`,
    "/route4[id=a]/gateway[ip=198.51.100.1]/ip 198.51.100.1: is this gateway's own address",
  ],
  [
    `data-plane true; inbound-sa { route x; spi 256; aead aes-gcm-16-icv; key ${"00".repeat(16)}; salt 00000000; }`,
    "/inbound-sa[queue=1][spi=256]/route x: is no route, so that the SA is not used",
  ],
  [
    `${INSIDE} ${outside("ifname e1; ip 192.0.2.1; device-queue 2;")} backend kernel;`,
    "/public-interface4[ip=192.0.2.1]/device-queue: has no effect with backend kernel",
  ],
  [`${INSIDE} ${outside("ifname e1; ip 192.0.2.1; device-queue 2;")} cpu 3;`, undefined],
  ["backend kernel; cpu 3; cpu 4;", "/cpu 3 4: has no effect with backend kernel"],
];

describe("what is likely a mistake is told, and used", () => {
  for (const [text, expected] of warnings)
    test(expected ?? text, () => {
      const told = readConfig(text).warnings.map(formatConfigProblem);
      expect(told).toEqual(expected === undefined ? [] : [expect.stringContaining(expected) as never]);
    });
});

test("both sides on one device are for the kernel alone; a device of several queues serves both families", () => {
  const one = `${INSIDE} ${outside("ifname e0; ip 192.0.2.1;")}`;
  expect(readConfig(`${one} backend kernel;`).warnings).toEqual([]);
  const both = `${INSIDE} ${outside("ifname e1; ip 192.0.2.1;")} public-interface6 { ifname e1; ip 2001:db8::1; nexthop-ip fe80::1; }`;
  expect(readConfig(both).warnings).toEqual([]);
  // Vita's magic device is none, and so cannot be bound twice.
  const none = (ip: string, queue: number) =>
    outside(`pci 00:00.0; ip ${ip}; queue ${queue}; device-queue 1;`);
  const sink = "private-interface4 { pci 0000:00:00.0; ip 10.0.0.1; nexthop-ip 10.0.0.2; }";
  expect(readConfig(`${sink} ${none("192.0.2.1", 1)} ${none("192.0.2.2", 2)}`).warnings).toEqual([]);
});
