/** From the text of two configurations to keys that both gateways have agreed on. */
import { describe, expect, test } from "bun:test";
import { type Ends, Pair } from "../../../test/support/key-pair.ts";
import { formatEndpoint, parseIp, PrivateKey } from "../../net/mod.ts";
import { planGateway } from "../plan.ts";
import { readConfig } from "../verbs.ts";
import { DEFAULT_USE } from "./associations.ts";
import type { KeeperEffect } from "./keeper-event.ts";
import { arrivalOf, ENCAPSULATION_PORT, encapsulationOf, planKeys, type PlanKeysFacts } from "./plan-keys.ts";

const PSK = "0102".repeat(16);
const INSIDE = "private-interface4 { ifname eth1; ip 172.31.1.20; nexthop-ip 172.31.0.1; }";
const outside = (more: string) => `public-interface4 { nexthop-ip 172.31.0.1; ifname eth2; ${more} }`;
const PARIS = outside("ip 203.0.113.1;");
const TOKYO = outside("ip 203.0.113.2;");
const HIDDEN = outside("ip 10.0.0.5; nat-ip 203.0.113.1;");
const route = (more: string) => `route { id far; spi 1234; net 172.32.0.0/16; ${more} }`;
const TO_PARIS = "gateway { ip 203.0.113.1; }";
const TO_TOKYO = "gateway { ip 203.0.113.2; }";

const plan = (text: string, facts: Partial<PlanKeysFacts> = {}) =>
  planKeys(planGateway(readConfig(`${INSIDE} ${text}`).config), { privateKey: () => undefined, ...facts });

/** A 1:1 NAT in front of paris. */
function nat({ from, to }: Ends): Ends {
  const inner = parseIp("10.0.0.5");
  const outer = parseIp("203.0.113.1");
  const other = { "10.0.0.5": outer, "203.0.113.1": inner } as const;
  const swap = <E extends Ends["from"]>(end: E): E => {
    const [ip] = formatEndpoint(end).split(":");
    return { ...end, ip: other[ip as keyof typeof other] ?? end.ip };
  };
  return { from: swap(from), to: swap(to) };
}

const outbound = (effects: readonly KeeperEffect[]) =>
  effects.findLast((effect) => effect.kind === "outbound") as Extract<
    KeeperEffect,
    { readonly kind: "outbound" }
  >;

/** Both ends by their configurations; returns what goes out of each, which is what comes in at the other. */
function agree(
  texts: readonly [string, string],
  options: { readonly keys?: readonly [PrivateKey, PrivateKey]; readonly translate?: typeof nat } = {},
) {
  const pair = new Pair();
  pair.translate = options.translate ?? pair.translate;
  for (const side of [1, 0] as const) {
    const { routes, unusable } = plan(texts[side], { privateKey: () => options.keys?.[side] });
    expect([...unusable]).toEqual([]);
    pair.step(side, { kind: "configure", routes });
  }
  pair.pass(10_000);
  expect(pair.keepers.map((keeper) => keeper.describe(pair)[0]?.up)).toEqual([true, true]);
  const [a, b] = pair.seen.map(outbound) as [ReturnType<typeof outbound>, ReturnType<typeof outbound>];
  for (const [side, one] of [
    [1, a],
    [0, b],
  ] as const) {
    const inbound = pair.seen[side].flatMap((effect) => (effect.kind === "inbound" ? [effect.sa] : []));
    const same = inbound.find(({ spi }) => spi === one.sa.spi);
    expect(Buffer.from(same?.keyMaterial.reveal() ?? [])).toEqual(Buffer.from(one.sa.keyMaterial.reveal()));
  }
  expect(a.sa.keyMaterial.reveal()).not.toEqual(b.sa.keyMaterial.reveal());
  return [a, b] as const;
}

describe("from two configurations to an agreement", () => {
  const own = `preshared-key ${PSK};`;

  test("a pre-shared key is all that Causeways need: nothing says which end is which", () => {
    const [a] = agree([`${PARIS} ${route(own + TO_TOKYO)}`, `${TOKYO} ${route(own + TO_PARIS)}`]);
    expect(a.sa.algorithm).toBe("aes-256-gcm");
    expect(formatEndpoint(a.path.remote)).toBe("203.0.113.2:303");
    expect(encapsulationOf(a.path)).toBeUndefined();
    expect(arrivalOf(a.path)).toEqual({ from: parseIp("203.0.113.2") });
  });

  test("one end behind a NAT that only calls, the other with no gateway: ESP in UDP", () => {
    const [a, b] = agree([`${HIDDEN} ${route(own + TO_TOKYO)}`, `${TOKYO} ${route(own)}`], {
      translate: nat,
    });
    expect(formatEndpoint(b.path.remote)).toBe("203.0.113.1:4500");
    expect([a, b].map(({ path }) => encapsulationOf(path))).toEqual([
      { from: ENCAPSULATION_PORT, to: ENCAPSULATION_PORT },
      { from: ENCAPSULATION_PORT, to: ENCAPSULATION_PORT },
    ]);
    const { local } = b.path;
    const remote = { ip: parseIp("203.0.113.1"), port: 33_000 };
    expect(arrivalOf({ local, remote })).toEqual({
      from: remote.ip,
      udp: { from: 33_000, to: ENCAPSULATION_PORT },
    });
  });

  test("public keys, with and without a pre-shared key, and another algorithm", () => {
    const keys = [PrivateKey.random(), PrivateKey.random()] as const;
    for (const psk of ["", own]) {
      const known = (key: PrivateKey) => `public-key "${key.publicKey}"; algorithm chacha20-poly1305; ${psk}`;
      const texts = [
        `${PARIS} ${route(known(keys[1]) + TO_TOKYO)}`,
        `${TOKYO} ${route(known(keys[0]) + TO_PARIS)}`,
      ] as const;
      expect(agree(texts, { keys })[0].sa.algorithm).toBe("chacha20-poly1305");
    }
  });

  test.each([
    ["2001:db8::1", "encapsulation always;"],
    ["2001:db8::1", "nat-ip 2001:db8::9;"],
    ["fd00::1", "nat-ip 2001:db8::9;"],
  ])("over IPv6 in UDP, from %s with %s", (ip, how) => {
    const outside6 = (more: string) => `public-interface6 { nexthop-ip 2001:db8::ff; ifname eth2; ${more} }`;
    const [nat6, always] = how.startsWith("nat") ? [how, ""] : ["", how];
    const [a, b] = agree(
      [
        `${outside6(`ip ${ip}; ${nat6}`)} ${route(`${own} ${always} gateway { ip 2001:db8::2; }`)}`,
        `${outside6("ip 2001:db8::2;")} ${route(own)}`,
      ],
      {},
    );
    expect(formatEndpoint(a.path.remote)).toBe("[2001:db8::2]:4500");
    expect([a, b].map(({ path }) => encapsulationOf(path)?.from)).toEqual([4500, 4500]);
  });

  test("Vita's exchange, one end behind a 1:1 NAT that it knows of", () => {
    const vita = `exchange vita; preshared-key ${PSK};`;
    const [a, b] = agree([`${HIDDEN} ${route(vita + TO_TOKYO)}`, `${TOKYO} ${route(vita + TO_PARIS)}`], {
      translate: nat,
    });
    expect([formatEndpoint(a.path.local), formatEndpoint(b.path.remote)]).toEqual([
      "10.0.0.5:303",
      "203.0.113.1:303",
    ]);
  });
});

describe("a plan", () => {
  const two = `${PARIS} ${outside("ip 203.0.113.9; queue 2;")}`;

  test("has the queues without a pair beside the one that carries them, and only those that run", () => {
    const text = `${two} ${route(`preshared-key ${PSK}; ${TO_TOKYO}`)}`;
    const queues = (facts: Partial<PlanKeysFacts>) =>
      plan(text, facts).routes[0]?.channels.map((channel) => channel.queues);
    expect(queues({})).toEqual([[1, 2]]);
    expect(queues({ up: new Set([1]) })).toEqual([[1]]);
    expect(queues({ up: new Set([2]) })).toEqual([]);
  });

  test("has lifetimes that no algorithm is harmed by", () => {
    const text = `${PARIS} ${route(`preshared-key ${PSK}; ${TO_TOKYO}`)} sa-ttl 60;`;
    const lifetime = (more: string) => plan(`${text} ${more}`).routes[0]?.lifetime;
    expect(lifetime("")).toEqual({ ms: 60_000, ...DEFAULT_USE });
    expect(lifetime("sa-bytes 18446744073709551615; sa-packets 5;")).toEqual({
      ms: 60_000,
      bytes: DEFAULT_USE.bytes,
      packets: 5,
    });
  });

  test("says why a route has no keys, and has the others", () => {
    const key = PrivateKey.random();
    const by = (remote: PrivateKey, more = "") =>
      route(`public-key "${remote.publicKey}"; ${TO_TOKYO} ${more}`);
    const other = `route4 { id tokyo; spi 9000; preshared-key ${PSK}; net 10.9.0.0/16; ${TO_TOKYO} }`;
    const why = (text: string, facts: Partial<PlanKeysFacts> = {}) => {
      const { routes, unusable } = plan(`${PARIS} ${other} ${text}`, facts);
      expect(routes.map(({ id }) => id)).toEqual(["tokyo"]);
      return unusable.get("far");
    };
    expect(why(by(key))).toContain("own key cannot be read");
    expect(why(by(key), { privateKey: () => key })).toContain("is this gateway's own");
    expect(why(route(`preshared-key-file /etc/far.psk; ${TO_TOKYO}`))).toContain(
      "cannot be read from /etc/far",
    );
  });

  test("has the operator's associations where keys are the operator's, and no exchange", () => {
    const sa = (spi: number, key: string) =>
      `{ route far; spi ${spi}; aead aes-gcm-16-icv; key ${key.repeat(16)}; salt 0a0b0c0d; }`;
    const { routes, managed } = plan(
      `${two} data-plane true; ${route(`preshared-key ${PSK}; ${TO_TOKYO}`)}
       outbound-sa ${sa(300, "01")} inbound-sa ${sa(301, "02")}`,
    );
    expect(routes).toEqual([]);
    expect(
      managed.map(({ direction, route: id, sa: { spi, queue } }) => [direction, id, queue, spi]),
    ).toEqual([
      ["outbound", "far", 1, 300],
      ["inbound", "far", 1, 301],
    ]);
    expect(Buffer.from(managed[0]?.sa.keyMaterial.reveal() ?? []).toString("hex")).toBe(
      `${"01".repeat(16)}0a0b0c0d`,
    );
  });
});
