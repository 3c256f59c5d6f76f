import { expect, test } from "bun:test";
import type { EvpnChange, EvpnHost, EvpnRoute } from "../bgp/mod.ts";
import {
  formatIp,
  formatMac,
  formatPrefix,
  parseInterfaceAddress,
  parseIp,
  parseMac,
  parsePrefix,
} from "../net/mod.ts";
import type { Domain, RemoteChange, Segment } from "./model.ts";
import { MOST_HOPS, RemoteTable } from "./remote-table.ts";

const segment = (vni: number): Segment => ({
  name: `subnet-${vni}`,
  vni,
  prefixes: [parsePrefix("10.1.0.0/24")],
  gateways: [parseInterfaceAddress("10.1.0.1/24")],
  gatewayMac: parseMac("02:00:00:00:00:01"),
  importTargets: [`64512:${vni}`],
  exportTargets: [`64512:${vni}`],
});
const red: Domain = {
  name: "red",
  vni: 5000,
  routing: { importTargets: ["64512:5000"], exportTargets: ["64512:5000"] },
  segments: [segment(5001), segment(5002)],
  peerings: [],
};

const routerMac = parseMac("02:00:00:00:13:88");
const host = (more: Partial<EvpnHost> & { at: string }): EvpnHost => {
  const { at, ...rest } = more;
  return {
    kind: "host",
    vni: 5001,
    targets: ["64512:5001", "64512:5000"],
    vtep: parseIp(at),
    mac: parseMac("02:aa:00:00:00:05"),
    ip: parseIp("10.1.0.5"),
    sequence: 0,
    sticky: false,
    l3vni: 5000,
    routerMac,
    ...rest,
  };
};
const flood = (vni: number, at: string, target = `64512:${vni}`): EvpnRoute => ({
  kind: "flood",
  vni,
  vtep: parseIp(at),
  targets: [target],
});
const prefix = (at: string, localPreference = 100): EvpnRoute => ({
  kind: "prefix",
  vni: 5000,
  targets: ["64512:5000"],
  vtep: parseIp(at),
  prefix: parsePrefix("0.0.0.0/0"),
  routerMac,
  localPreference,
});
const set = (id: number, route: EvpnRoute): EvpnChange => ({ op: "set", id, route });
const remove = (id: number): EvpnChange => ({ op: "remove", id });

/** As ip(8) and bridge(8) would have it. */
function textOf({ op, remote }: RemoteChange): string {
  const sign = op === "set" ? "+" : "-";
  switch (remote.kind) {
    case "flood":
      return `${sign} vni ${remote.vni} flood ${formatIp(remote.vtep)}`;
    case "host":
      return `${sign} vni ${remote.vni} ${formatMac(remote.mac)}${remote.ip === undefined ? "" : ` ${formatIp(remote.ip)}`} dst ${formatIp(remote.vtep)}${remote.routerMac === undefined ? "" : " routed"}`;
    case "prefix":
      return `${sign} vni ${remote.vni} ${formatPrefix(remote.prefix)} via ${remote.hops.map(({ vtep }) => formatIp(vtep)).join(" ")}`;
  }
}

function table(...segments: number[]) {
  const own = new RemoteTable({ own: [parseIp("10.90.0.1")] });
  if (segments.length > 0) own.setActive([{ domain: red, segments }]);
  return {
    own,
    apply: (...changes: EvpnChange[]) => own.apply(changes).map(textOf),
    active: (...vnis: number[]) =>
      own.setActive(vnis.length === 0 ? [] : [{ domain: red, segments: vnis }]).map(textOf),
  };
}

test("what a VTEP has told is not used while nothing leads there; of two ways one stays", () => {
  const { apply, own } = table(5001);
  apply(set(1, flood(5001, "10.90.0.2")), set(2, prefix("10.90.0.2")), set(3, prefix("10.90.0.3")));
  expect(own.vteps().map(formatIp)).toEqual(["10.90.0.2", "10.90.0.3"]);
  const lost = (...vteps: string[]) => own.setLost(vteps.map(parseIp)).map(textOf);
  expect(lost("10.90.0.2")).toEqual(["- vni 5001 flood 10.90.0.2", "+ vni 5000 0.0.0.0/0 via 10.90.0.3"]);
  expect(lost("10.90.0.2")).toEqual([]);
  expect(apply(set(4, host({ at: "10.90.0.2" })))).toEqual([]);
  expect(own.vtepsSeen).toBe(2);
  expect(lost()).toEqual([
    "+ vni 5001 flood 10.90.0.2",
    "+ vni 5000 0.0.0.0/0 via 10.90.0.2 10.90.0.3",
    "+ vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
  ]);
  apply(remove(1), remove(2), remove(4));
  expect(own.vteps().map(formatIp)).toEqual(["10.90.0.3"]);
});

test("what nobody here imports is not told, and comes when a segment becomes active", () => {
  const { apply, active, own } = table();
  expect(apply(set(1, flood(5001, "10.90.0.2")), set(2, host({ at: "10.90.0.2" })))).toEqual([]);
  expect(active(5001)).toEqual([
    "+ vni 5001 flood 10.90.0.2",
    "+ vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
  ]);
  expect(active()).toEqual([
    "- vni 5001 flood 10.90.0.2",
    "- vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
  ]);
  expect(own.size).toBe(0);
});

test("what a host belongs to is told, and told anew when it changes", () => {
  const own = new RemoteTable({ own: [] });
  own.setActive([{ domain: red, segments: [5001] }]);
  const groups = (colors?: readonly number[]) =>
    own
      .apply([set(1, host({ at: "10.90.0.2", ...(colors && { colors }) }))])
      .map(({ remote }) => remote.kind === "host" && remote.groups);
  expect([groups(), groups([7]), groups([7]), groups([7, 8]), groups()]).toEqual([
    [undefined],
    [[7]],
    [],
    [[7, 8]],
    [undefined],
  ]);
});

test("a host of a segment that is not active is routed to; its flood list and a MAC alone are not wanted", () => {
  const { apply } = table(5002);
  const { ip: _, ...alone } = host({ at: "10.90.0.2", mac: parseMac("02:aa:00:00:00:06") });
  expect(apply(set(1, flood(5001, "10.90.0.2")), set(2, host({ at: "10.90.0.2" })), set(3, alone))).toEqual([
    "+ vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
  ]);
});

test("a route with the right VNI and a foreign target is not imported, nor one with the right target and a foreign VNI", () => {
  const { apply } = table(5001);
  expect(
    apply(set(1, flood(5001, "10.90.0.2", "64512:666")), set(2, flood(666, "10.90.0.2", "64512:5001"))),
  ).toEqual([]);
});

test("the highest sequence wins, then the lowest VTEP, and a sticky address against all", () => {
  const { apply } = table(5001);
  const dst = (to: string) => `+ vni 5001 02:aa:00:00:00:05 10.1.0.5 dst ${to} routed`;
  expect(apply(set(1, host({ at: "10.90.0.3" })))).toEqual([dst("10.90.0.3")]);
  expect(apply(set(2, host({ at: "10.90.0.2" })))).toEqual([dst("10.90.0.2")]);
  expect(apply(set(1, host({ at: "10.90.0.3", sequence: 1 })))).toEqual([dst("10.90.0.3")]);
  expect(apply(set(3, host({ at: "10.90.0.4", sticky: true })))).toEqual([dst("10.90.0.4")]);
  expect(apply(remove(3))).toEqual([dst("10.90.0.3")]);
  expect(apply(remove(1), remove(2))).toEqual(["- vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.3 routed"]);
});

test("an address that goes to another MAC leaves the former one first", () => {
  const { apply } = table(5001);
  apply(set(1, host({ at: "10.90.0.2" })));
  expect(
    apply(set(2, host({ at: "10.90.0.3", mac: parseMac("02:aa:00:00:00:09"), sequence: 1 })), remove(1)),
  ).toEqual([
    "- vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
    "+ vni 5001 02:aa:00:00:00:09 10.1.0.5 dst 10.90.0.3 routed",
  ]);
});

test("a prefix goes by all VTEPs of the best preference, each once, and not by more than fit", () => {
  const { apply } = table(5001);
  expect(
    apply(set(1, prefix("10.90.0.3")), set(2, prefix("10.90.0.2")), set(3, prefix("10.90.0.2"))),
  ).toEqual(["+ vni 5000 0.0.0.0/0 via 10.90.0.2 10.90.0.3"]);
  expect(apply(set(4, prefix("10.90.0.4", 200)))).toEqual(["+ vni 5000 0.0.0.0/0 via 10.90.0.4"]);
  expect(apply(remove(4))).toEqual(["+ vni 5000 0.0.0.0/0 via 10.90.0.2 10.90.0.3"]);
  const many = Array.from({ length: 100 }, (_, i) => set(10 + i, prefix(`10.90.1.${i}`)));
  expect(
    apply(...many)[0]
      ?.split(" via ")[1]
      ?.split(" ").length,
  ).toBe(MOST_HOPS);
});

test("a number that is used again takes the place of what had it; what leads here is nobody else's", () => {
  const { apply } = table(5001);
  apply(set(1, flood(5001, "10.90.0.2")));
  expect(apply(set(1, host({ at: "10.90.0.2" })))).toEqual([
    "- vni 5001 flood 10.90.0.2",
    "+ vni 5001 02:aa:00:00:00:05 10.1.0.5 dst 10.90.0.2 routed",
  ]);
  expect(apply(set(2, flood(5001, "10.90.0.1")))).toEqual([]);
});

test("another speaker tells all anew, under other numbers: what it has not told stays until it has told all", () => {
  const { apply, own } = table(5001);
  const at = (vtep: string, last: number, sequence = 0) =>
    host({ at: vtep, mac: parseMac(`00:00:00:00:00:0${last}`), ip: parseIp(`10.1.0.${last}`), sequence });
  apply(set(1, at("10.90.0.2", 5, 7)), set(2, at("10.90.0.2", 6)), set(3, at("10.90.0.2", 7)));
  own.renew();
  // One has moved, and is counted anew; one is as it was; of one nothing is said.
  expect(apply(set(1, at("10.90.0.2", 6)), set(3, at("10.90.0.3", 5)))).toEqual([
    "+ vni 5001 00:00:00:00:00:05 10.1.0.5 dst 10.90.0.3 routed",
  ]);
  expect(apply(remove(1))).toEqual(["- vni 5001 00:00:00:00:00:06 10.1.0.6 dst 10.90.0.2 routed"]);
  expect(own.settle().map(textOf)).toEqual(["- vni 5001 00:00:00:00:00:07 10.1.0.7 dst 10.90.0.2 routed"]);
  expect([own.size, own.settle()]).toEqual([1, []]);
});

test("other import targets of an active segment bring other routes", () => {
  const { own, apply } = table(5001);
  apply(set(1, flood(5001, "10.90.0.2")), set(2, flood(5001, "10.90.0.3", "64512:77")));
  const changed = { ...red, segments: [{ ...segment(5001), importTargets: ["64512:77"] }, segment(5002)] };
  expect(own.setActive([{ domain: changed, segments: [5001] }]).map(textOf)).toEqual([
    "- vni 5001 flood 10.90.0.2",
    "+ vni 5001 flood 10.90.0.3",
  ]);
});

test("random changes leave what a table without memory would have", () => {
  const seed = Number(process.env["SEED"] ?? Math.floor(performance.now() * 1000) % 2 ** 31);
  let state = seed;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
  const routes = new Map<number, EvpnRoute>();
  const told = new Map<string, string>();
  const own = new RemoteTable({ own: [] });
  let segments: number[] = [];
  const follow = (changes: readonly RemoteChange[]) => {
    for (const change of changes) {
      const { remote } = change;
      const name = [
        remote.kind,
        remote.vni,
        remote.kind === "flood" ? formatIp(remote.vtep) : "",
        remote.kind === "host" ? `${remote.mac} ${remote.ip?.value}` : "",
        remote.kind === "prefix" ? formatPrefix(remote.prefix) : "",
      ].join(" ");
      if (change.op === "set") told.set(name, textOf(change));
      else {
        // What is taken away was there.
        expect([seed, told.delete(name)]).toEqual([seed, true]);
      }
    }
  };
  for (let step = 0; step < 2000; step++) {
    const what = random(10);
    if (what === 0) {
      segments = [5001, 5002].filter(() => random(2) === 0);
      follow(own.setActive(segments.length === 0 ? [] : [{ domain: red, segments }]));
      continue;
    }
    const id = random(40);
    if (what < 3) {
      routes.delete(id);
      follow(own.apply([remove(id)]));
      continue;
    }
    const at = `10.90.0.${2 + random(5)}`;
    const vni = 5001 + random(2);
    const ip = parseIp(`10.1.0.${random(4)}`);
    const mac = parseMac(`02:aa:00:00:00:0${random(4)}`);
    const targets = [`64512:${vni}`, "64512:5000"];
    const route =
      what < 5
        ? flood(vni, at)
        : what < 6
          ? prefix(at, 100 + random(2))
          : host({ at, vni, ip, mac, targets, sequence: random(3), sticky: random(8) === 0 });
    routes.set(id, route);
    follow(own.apply([set(id, route)]));
  }
  const fresh = new RemoteTable({ own: [] });
  fresh.setActive(segments.length === 0 ? [] : [{ domain: red, segments }]);
  const whole = fresh.apply([...routes].map(([id, route]) => set(id, route))).map(textOf);
  expect([seed, ...[...told.values()].sort()]).toEqual([seed, ...whole.sort()]);
});

test("prefixes that were told of a domain are listed for those who come later", () => {
  const { own, apply } = table(5001);
  expect(own.prefixes(5000)).toEqual([]);
  apply(set(1, prefix("10.90.0.2")), set(2, flood(5001, "10.90.0.2")));
  expect(own.prefixes(5000).map((remote) => formatPrefix(remote.prefix))).toEqual(["0.0.0.0/0"]);
  expect(own.prefixes(5001)).toEqual([]);
  apply(remove(1));
  expect(own.prefixes(5000)).toEqual([]);
});

test("a target of any administrator imports whoever exported its number, and nothing of another", () => {
  const own = new RemoteTable({ own: [] });
  const any = { importTargets: ["*:5000"], exportTargets: [] };
  own.apply([
    set(1, { ...prefix("10.90.0.2"), targets: ["64599:5000"] }),
    set(2, { ...prefix("10.90.0.3"), targets: ["64599:5009"] }),
  ]);
  const active = (routing: Domain["routing"]) =>
    own.setActive([{ domain: { ...red, ...(routing && { routing }) }, segments: [] }]).map(textOf);
  expect(active(any)).toEqual(["+ vni 5000 0.0.0.0/0 via 10.90.0.2"]);
  expect(active({ importTargets: ["64512:5000"], exportTargets: [] })).toEqual([
    "- vni 5000 0.0.0.0/0 via 10.90.0.2",
  ]);
});
