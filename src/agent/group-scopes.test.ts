import { expect, test } from "bun:test";
import { type Domain, groupTag, type LocalAttachment, type RemoteChange } from "../domain/mod.ts";
import type { ScopeChange } from "../engine/mod.ts";
import { formatIp, ip, mac, parseIp } from "../net/mod.ts";
import { GroupScopes } from "./group-scopes.ts";

const targets = { importTargets: [], exportTargets: [] };
const segment = { name: "net", vni: 300, prefixes: [], gateways: [], gatewayMac: mac(2), ...targets };
const domain: Domain = { name: "red", vni: 5000, segments: [segment], peerings: [] };
const vtep = parseIp("192.0.2.1");

const elsewhere = (op: RemoteChange["op"], number: number, vni = 300): RemoteChange => ({
  op,
  remote: {
    ...{ kind: "host", vni, mac: mac(0x0a58_0000_0000 + number), ip: ip(4, BigInt(0x0a00_0000 + number)) },
    ...{ vtep, groups: [groupTag("web")] },
  },
});
const pod = (id: string, address: string, group = "web"): LocalAttachment => ({
  ...{ id, ifname: "eth0", domain: 5000, segment: 300, mac: mac(2), addresses: [parseIp(address)] },
  ...{ mtuBytes: 1400, defaultRoute: true, groups: [group] },
});
const text = (change: ScopeChange | undefined) =>
  change && {
    put: change.put?.map((one) => one.kind === "element" && one.key.join()),
    drop: change.drop?.map((one) => one.kind === "element" && one.key.join()),
  };

/** Scopes that know of pods elsewhere and here, and what follows from more of them. */
function world(...pods: readonly LocalAttachment[]) {
  const scopes = new GroupScopes();
  const { here } = scopes.membersOf(domain, "web", pods);
  const about = { domain, group: "web", here };
  const tell = (...changes: readonly RemoteChange[]) => text(scopes.elsewhere(scopes.tell(changes), about));
  return { scopes, here, tell };
}

test("one more of ten thousand is one element, and the scope is not set anew", () => {
  const { scopes, tell } = world();
  const { mark } = scopes.membersOf(domain, "web", []);
  expect(tell(...Array.from({ length: 10_000 }, (_, i) => elsewhere("set", i + 1)))?.put?.length).toBe(
    10_000,
  );
  expect(tell(elsewhere("set", 10_001))).toEqual({ put: ["10.0.39.17"], drop: [] });
  expect(tell(elsewhere("remove", 7))).toEqual({ put: [], drop: ["10.0.0.7"] });
  const members = scopes.membersOf(domain, "web", []);
  expect(members.mark).toBe(mark);
  expect(members.list().length).toBe(10_000);
});

test("what is no member of this group in this domain changes nothing", () => {
  const { tell } = world(pod("db", "10.0.0.9", "db"));
  expect(tell(elsewhere("set", 5, 301))).toBeUndefined();
  expect(tell(elsewhere("remove", 9))).toBeUndefined();
});

test("an address that is here and elsewhere stays until it is at neither", () => {
  const { scopes, here, tell } = world(pod("one", "10.0.0.5"));
  expect([...here.values()].map(formatIp)).toEqual(["10.0.0.5"]);
  tell(elsewhere("set", 5));
  expect(tell(elsewhere("remove", 5))).toEqual({ put: ["10.0.0.5"], drop: [] });
  tell(elsewhere("set", 5));
  const gone = { domain, group: "web", here: new Map() };
  expect(text(scopes.moved(here, gone))).toEqual({ put: ["10.0.0.5"], drop: [] });
  expect(text(scopes.elsewhere(scopes.tell([elsewhere("remove", 5)]), gone))).toEqual({
    put: [],
    drop: ["10.0.0.5"],
  });
});

test("a pod that comes or goes here is one element", () => {
  const { scopes, here } = world(pod("one", "10.0.0.5"), pod("two", "fd00::6"));
  const next = scopes.membersOf(domain, "web", [pod("one", "10.0.0.5"), pod("three", "10.0.0.7")]);
  const change = scopes.moved(here, { domain, group: "web", here: next.here });
  expect(text(change)).toEqual({ put: ["10.0.0.7"], drop: ["fd00::6"] });
  expect(scopes.moved(next.here, { domain, group: "web", here: next.here })).toBeUndefined();
});
