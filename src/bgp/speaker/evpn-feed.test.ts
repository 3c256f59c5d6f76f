import { expect, test } from "bun:test";
import { parseIp, parseMac } from "../../net/mod.ts";
import { autoRd, autoTarget, type EvpnChange, macIp } from "../evpn/mod.ts";
import { Rib, type RibPeer } from "../rib/mod.ts";
import { encodeCanonical, encodeNlri, EVPN, type UpdateSession } from "../wire/mod.ts";
import { AttributeDigests } from "./attribute-digests.ts";
import { EvpnFeed } from "./evpn-feed.ts";

const update: UpdateSession = {
  external: false,
  as4: true,
  families: new Set([EVPN]),
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
};

/** A reflector's tables, fed by another speaker's over an outbox. */
function world() {
  const rib = new Rib({ own: { asn: 64512, routerId: 1, clusterId: 1 } });
  const peer = rib.addPeer({ asn: 64512, address: Uint8Array.of(10, 90, 0, 2), external: false });
  rib.up(peer, { update, routerId: 2, families: new Map([[EVPN, {}]]) });
  const other = new Rib({ own: { asn: 64512, routerId: 2, clusterId: 2 } });
  const to = other.addPeer({ asn: 64512, address: Uint8Array.of(10, 90, 0, 1), external: false });
  other.up(to, {
    update,
    routerId: 1,
    families: new Map([[EVPN, { ownNextHop: Uint8Array.of(10, 90, 0, 2) }]]),
  });
  const imports = new Set<string>();
  const feed = new EvpnFeed({
    rib,
    digests: new AttributeDigests(rib),
    imports: (targets) => targets.some((target) => imports.has(target)),
    onWork: () => {},
  });
  const route = (vni: number, last: number) =>
    macIp(
      {
        vni,
        vtep: parseIp("10.90.0.2"),
        rd: autoRd(parseIp("10.90.0.2"), vni),
        exportTargets: [autoTarget(64512, vni)],
      },
      { mac: parseMac("02:aa:00:00:00:05"), ip: parseIp(`10.1.0.${last}`) },
      0,
    );
  const settle = () => {
    while (other.work({ nowMs: 0 })) continue;
    deliver(other, to, rib, peer);
    while (rib.work({ nowMs: 0 })) continue;
    while (feed.flush()) continue;
  };
  return {
    rib,
    feed,
    imports,
    settle,
    announce: (vni: number, last: number) => {
      const { nlri, attributes } = route(vni, last);
      other.announce(encodeNlri(nlri), encodeCanonical(attributes), { nowMs: 0 });
    },
    withdraw: (vni: number, last: number) => other.withdraw(encodeNlri(route(vni, last).nlri)),
  };
}

function deliver(from: Rib, to: RibPeer, rib: Rib, peer: RibPeer): void {
  const outbox = from.outbox(to);
  for (let bytes = outbox.peek(); bytes !== undefined; bytes = outbox.peek()) {
    for (let at = 0; at < bytes.length;) {
      const length = ((bytes[at + 16] as number) << 8) | (bytes[at + 17] as number);
      rib.receive(peer, bytes.slice(at, at + length), 19, length, 0);
      at += length;
    }
    outbox.advance(bytes.length);
  }
}

function follow(told: Map<number, string>, log: string[]) {
  return (changes: readonly EvpnChange[]) => {
    for (const change of changes) {
      log.push(change.op);
      if (change.op === "remove") told.delete(change.id);
      else if (change.route.kind === "host")
        told.set(change.id, `${change.route.vni} ${Number(change.route.ip?.value) & 0xff}`);
    }
  };
}

test("while nobody listens the table has no listener, and no more when the last one has left", () => {
  const { rib, feed } = world();
  const listeners = () => rib.tables.get(EVPN)?.listeners.length;
  expect(listeners()).toBe(0);
  const first = feed.listen(() => {});
  const second = feed.listen(() => {});
  expect(listeners()).toBe(1);
  first[Symbol.dispose]();
  expect(listeners()).toBe(1);
  second[Symbol.dispose]();
  expect(listeners()).toBe(0);
});

test("what is imported is told, as it comes, changes and goes; a later listener gets what there is", () => {
  const { feed, imports, settle, announce, withdraw } = world();
  const told = new Map<number, string>();
  imports.add("64512:300");
  announce(300, 1);
  announce(400, 2);
  settle();
  feed.listen(follow(told, []));
  settle();
  expect([...told.values()]).toEqual(["300 1"]);
  announce(300, 3);
  withdraw(300, 1);
  settle();
  expect([...told.values()]).toEqual(["300 3"]);
  const later = new Map<number, string>();
  feed.listen(follow(later, []));
  expect(later).toEqual(told);
});

test("another target brings its routes, and says nothing of those that are known", () => {
  const { feed, imports, settle, announce } = world();
  const told = new Map<number, string>();
  const log: string[] = [];
  imports.add("64512:300");
  feed.listen(follow(told, log));
  for (let i = 1; i <= 100; i++) announce(300, i);
  announce(400, 1);
  settle();
  expect(told.size).toBe(100);
  log.length = 0;
  imports.add("64512:400");
  feed.retarget();
  settle();
  expect(log).toEqual(["set"]);
  imports.delete("64512:300");
  feed.retarget();
  settle();
  expect([...told.values()]).toEqual(["400 1"]);
  expect(log.length).toBe(101);
});
