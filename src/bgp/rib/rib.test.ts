import { expect, test } from "bun:test";
import { announcement, Belief, type Said, withdrawal } from "../../../test/support/bgp-routes.ts";
import { ip, mac, parseIp, parsePrefix } from "../../net/mod.ts";
import {
  ACCEPT,
  attributesOf,
  type BgpFamily,
  encodeCanonical,
  encodeNlri,
  EVPN,
  type ExtendedCommunity,
  IPV4_UNICAST,
  type PathAttributes,
  printNlri,
  ROUTE_TARGET,
  type UpdateSession,
} from "../wire/mod.ts";
import {
  advertised,
  countsOf,
  Rib,
  type RibOptions,
  type RibPeer,
  routes,
  type SessionOptions,
  usedOf,
} from "./mod.ts";

const OWN = { asn: 65_000, routerId: 0x0a0a0a0a, clusterId: 0x0b0b0b0b };
const ALL: readonly BgpFamily[] = [IPV4_UNICAST, EVPN, ROUTE_TARGET];

/** A router with peers, whose sessions are read at will. */
class Router {
  readonly rib: Rib;
  readonly beliefs = new Map<RibPeer, Belief>();
  nowMs = 0;
  #next = 1;

  constructor(options: Partial<RibOptions> = {}) {
    this.rib = new Rib({ own: OWN, families: ALL, ...options });
  }

  peer(
    kind: "client" | "internal" | "external",
    families = ALL,
    more: Partial<SessionOptions> = {},
  ): RibPeer {
    const external = kind === "external";
    const number = this.#next++;
    const address = Uint8Array.of(192, 0, 2, number);
    const peer = this.rib.addPeer({
      asn: external ? 65_100 + number : 65_000,
      address,
      external,
      client: kind === "client",
    });
    this.up(peer, families, more);
    return peer;
  }

  up(peer: RibPeer, families = ALL, more: Partial<SessionOptions> = {}): void {
    const session = sessionOf(peer.options.external, families);
    this.beliefs.set(peer, new Belief(session));
    const list = new Map(families.map((family) => [family, {}]));
    this.rib.up(peer, { update: session, routerId: 0x01010100 + peer.number, families: list, ...more });
  }

  announce(peer: RibPeer, route: Omit<Said, "pathId">, attributes: PathAttributes = usual): void {
    const session = sessionOf(peer.options.external, ALL);
    const bytes = announcement(session, attributes, [{ ...route, pathId: 0 }]);
    expect(this.rib.receive(peer, bytes, 19, bytes.length, this.nowMs)).toBe(ACCEPT);
  }

  withdraw(peer: RibPeer, route: Omit<Said, "pathId">): void {
    const bytes = withdrawal(sessionOf(peer.options.external, ALL), [{ ...route, pathId: 0 }]);
    this.rib.receive(peer, bytes, 19, bytes.length, this.nowMs);
  }

  endOfRib(peer: RibPeer, family: BgpFamily): void {
    const bytes = Uint8Array.of(0, 0, 0, 6, 0x80, 15, 3, family >>> 24, family >>> 16, family);
    this.rib.receive(peer, bytes, 0, bytes.length, this.nowMs);
  }

  /** Works until there is nothing to do; peers of `except` do not read. */
  settle(except: readonly RibPeer[] = []): void {
    for (let rounds = 0; rounds < 1000 && this.rib.isBusy; rounds++) {
      this.nowMs += 100;
      this.rib.work({ nowMs: this.nowMs });
      this.read(except);
    }
    this.read(except);
  }

  read(except: readonly RibPeer[] = []): void {
    for (const [peer, belief] of this.beliefs) {
      if (except.includes(peer)) continue;
      const outbox = this.rib.outbox(peer);
      for (let bytes = outbox.peek(); bytes !== undefined; bytes = outbox.peek()) {
        belief.read(bytes.slice());
        outbox.advance(bytes.length);
      }
    }
  }

  knows(peer: RibPeer): readonly string[] {
    return [...(this.beliefs.get(peer) as Belief).routes.keys()].sort();
  }
}

function sessionOf(external: boolean, families: readonly BgpFamily[]): UpdateSession {
  return {
    external,
    as4: true,
    families: new Set(families),
    addPathReceive: new Set(),
    extendedNextHop: new Set(),
  };
}

const usual: PathAttributes = {
  nextHop: { address: parseIp("10.0.0.1") },
  origin: "igp",
  asPath: [],
  localPreference: 100,
};
const prefix = (text: string) => encodeNlri({ kind: "prefix", prefix: parsePrefix(text) });
const target = (value: number): ExtendedCommunity => ({
  kind: "route-target",
  target: { kind: "as2", as: 65_000, number: value },
});
const macIp = (address: number) =>
  encodeNlri({
    kind: "mac-ip",
    rd: { kind: "as2", as: 65_000, number: 1 },
    tag: 0,
    mac: mac(0x02_00_00_00_00_00 + address),
    ip: ip(4, BigInt(0x0a010000 + address)),
    labels: [100],
  });
const name = ({ family, key }: Omit<Said, "pathId">) => `${family}/${key.join(".")}/0`;

test("a new peer gets all routes and then End-of-RIB, of each family (RFC 4724)", () => {
  const router = new Router();
  const one = router.peer("client");
  router.announce(one, prefix("10.1.0.0/16"));
  router.announce(one, macIp(1));
  router.settle();
  const two = router.peer("client");
  expect(router.beliefs.get(two)?.ended.size).toBe(0);
  router.settle();
  expect(router.knows(two)).toEqual([name(macIp(1)), name(prefix("10.1.0.0/16"))].sort());
  expect([...(router.beliefs.get(two)?.ended ?? [])].sort()).toEqual([...ALL].sort());
  expect(router.knows(one)).toEqual([]);
});

test("peers that get the same share one group and one encoding", () => {
  const router = new Router();
  const source = router.peer("client");
  const others = [router.peer("client"), router.peer("client"), router.peer("client")];
  router.settle();
  for (let i = 0; i < 50; i++) router.announce(source, macIp(i));
  router.rib.work({ nowMs: 0 });
  expect(router.rib.groupsOf(EVPN)?.all.length).toBe(1);
  const [a, b] = others.map((peer) => router.rib.outbox(peer).peek());
  expect(a?.buffer).toBe(b?.buffer as ArrayBuffer);
  // 50 routes of 39 octets with the same attributes: one message.
  router.read();
  expect(router.beliefs.get(others[0] as RibPeer)?.messages).toBe(ALL.length + 1);
});

test("reflection adds ORIGINATOR_ID and CLUSTER_LIST; a route does not come back to its source (RFC 4456)", () => {
  const router = new Router();
  const client = router.peer("client");
  const internal = router.peer("internal");
  const other = router.peer("internal");
  const external = router.peer("external");
  router.announce(client, prefix("10.1.0.0/16"));
  router.announce(internal, prefix("10.2.0.0/16"));
  router.settle();
  const both = [name(prefix("10.1.0.0/16")), name(prefix("10.2.0.0/16"))];
  expect(router.knows(client)).toEqual([both[1] as string]);
  expect(router.knows(internal)).toEqual([both[0] as string]);
  // From a non-client to a non-client: not reflected.
  expect(router.knows(other)).toEqual([both[0] as string]);
  expect(router.knows(external)).toEqual(both);
  const text = router.beliefs.get(other)?.routes.get(both[0] as string) as string;
  const got = attributesOf(Uint8Array.from((text.split(" ")[0] as string).split("."), Number));
  expect(got).toEqual({
    ...usual,
    originatorId: ip(4, BigInt(client.routerId)),
    clusterList: [ip(4, BigInt(OWN.clusterId))],
  });
});

test("a refresh sends all again, between marks where both sides know them (RFC 2918, RFC 7313)", () => {
  const router = new Router();
  const source = router.peer("client");
  const plain = router.peer("client");
  const marked = router.peer("client", ALL, { enhancedRefresh: true });
  router.announce(source, prefix("10.1.0.0/16"));
  router.settle();
  const before = [plain, marked].map((peer) => router.beliefs.get(peer)?.messages as number);
  router.rib.refresh(plain, IPV4_UNICAST);
  router.rib.refresh(marked, IPV4_UNICAST);
  router.settle();
  expect([plain, marked].map((peer) => router.beliefs.get(peer)?.messages as number)).toEqual([
    (before[0] as number) + 1,
    (before[1] as number) + 3,
  ]);
  expect(router.beliefs.get(marked)?.marks).toEqual([`${IPV4_UNICAST} 1`, `${IPV4_UNICAST} 2`]);
  expect(router.rib.groupsOf(IPV4_UNICAST)?.all.length).toBe(1);
});

test("a peer that does not read is left behind, and comes back", () => {
  const router = new Router({ limits: { mostLogBytes: 5000, patienceMs: 50 } });
  const source = router.peer("client");
  const fast = router.peer("client");
  const slow = router.peer("client");
  router.settle();
  const groups = () => router.rib.groupsOf(EVPN)?.all.length;
  for (let i = 0; i < 400; i++) router.announce(source, macIp(i));
  // Slices small enough for the log to fill before all is told.
  for (let i = 0; i < 400; i++) {
    router.nowMs += 10;
    router.rib.work({ nowMs: router.nowMs, most: 64 });
    router.read([slow]);
  }
  expect(router.knows(fast).length).toBe(400);
  expect(router.knows(slow).length).toBe(0);
  expect(groups()).toBe(2);
  for (let i = 0; i < 400; i += 2) router.withdraw(source, macIp(i));
  router.settle([slow]);
  expect(router.knows(fast).length).toBe(200);
  router.settle();
  expect(router.knows(slow)).toEqual(router.knows(fast));
  expect(groups()).toBe(1);
});

test("a peer is sent what it asked for by route target, once it has said all (RFC 4684)", () => {
  const router = new Router();
  const source = router.peer("client");
  router.announce(source, macIp(1), { ...usual, extendedCommunities: [target(1)] });
  router.announce(source, macIp(2), { ...usual, extendedCommunities: [target(2)] });
  const choosy = router.peer("client");
  const other = router.peer("client", [EVPN]);
  const interest = (value: number) => ({
    family: ROUTE_TARGET,
    key: Uint8Array.of(96, 0, 0, 0xfd, 0xe8, 0, 2, 0xfd, 0xe8, 0, 0, 0, value),
    extra: new Uint8Array(0),
  });
  router.announce(source, prefix("10.0.0.0/16"));
  const evpn = () => router.knows(choosy).filter((route) => route.startsWith(`${EVPN}/`));
  router.announce(choosy, interest(1));
  router.settle();
  expect(evpn().length).toBe(2);
  router.endOfRib(choosy, ROUTE_TARGET);
  router.settle();
  expect(evpn()).toEqual([name(macIp(1))]);
  const { ended } = router.beliefs.get(choosy) as Belief;
  ended.clear();
  router.announce(choosy, interest(2));
  router.withdraw(choosy, interest(1));
  router.settle();
  expect(evpn()).toEqual([name(macIp(2))]);
  // It is told that this was all, also where there is nothing.
  expect([...ended]).toEqual([EVPN]);
  ended.clear();
  router.announce(choosy, interest(3));
  router.settle();
  expect([...ended]).toEqual([EVPN]);
  expect(router.knows(other).length).toBe(2);
  expect(router.knows(choosy)).toContain(name(prefix("10.0.0.0/16")));
});

test("too many routes are reported, and a warning before", () => {
  const seen: string[] = [];
  const router = new Router({
    events: { onLimit: (_, __, count, kind) => void seen.push(`${kind} ${count}`) },
  });
  const peer = router.peer("client", ALL, {
    families: new Map([[IPV4_UNICAST, { mostRoutes: 3, warnRoutes: 2 }]]),
  });
  for (let i = 0; i < 4; i++) router.announce(peer, prefix(`10.${i}.0.0/16`));
  expect(seen).toEqual(["warning 2", "limit 4"]);
});

test("what a peer tells back, and what policy rejects, counts for no limit until it is accepted", () => {
  const seen: number[] = [];
  const router = new Router({ events: { onLimit: (_, __, count) => void seen.push(count) } });
  const families = new Map([[IPV4_UNICAST, { mostRoutes: 2 }]]);
  const peer = router.peer("external", ALL, { families });
  const by = (...asns: number[]): PathAttributes => ({
    ...{ nextHop: { address: parseIp("10.0.0.1") }, origin: "igp" },
    asPath: [{ kind: "sequence", asns }],
  });
  for (let i = 0; i < 5; i++) router.announce(peer, prefix(`10.${i}.0.0/16`), by(65_101, OWN.asn));
  const rejects = { dependsOnDestination: false, apply: () => undefined };
  router.rib.setPolicies(peer, { importPolicy: rejects });
  for (let i = 5; i < 8; i++) router.announce(peer, prefix(`10.${i}.0.0/16`), by(65_101));
  router.settle();
  expect(seen).toEqual([]);
  router.rib.setPolicies(peer, {});
  router.settle();
  expect(seen).toEqual([3]);
});

test("what policy lets in while the session is down counts once all has been said again", () => {
  const seen: number[] = [];
  const router = new Router({ events: { onLimit: (_, __, count) => void seen.push(count) } });
  const more = { families: new Map([[IPV4_UNICAST, { mostRoutes: 2 }]]) };
  const peer = router.peer("client", ALL, more);
  router.rib.setPolicies(peer, { importPolicy: { dependsOnDestination: false, apply: () => undefined } });
  const say = () => {
    for (let i = 0; i < 4; i++) router.announce(peer, prefix(`10.${i}.0.0/16`));
    router.settle();
  };
  say();
  router.rib.down(peer, { keep: new Set([IPV4_UNICAST]) });
  router.rib.setPolicies(peer, {});
  router.settle();
  router.up(peer, ALL, more);
  say();
  expect(seen).toEqual([]);
  router.rib.sweepStale(peer, IPV4_UNICAST);
  router.settle();
  expect(seen).toEqual([4]);
});

test("what policy rejects is stored, and ends in a limit of its own", () => {
  const seen: string[] = [];
  const router = new Router({
    events: { onLimit: (_, __, count, kind) => void seen.push(`${kind} ${count}`) },
  });
  const peer = router.peer("client", ALL, { families: new Map([[IPV4_UNICAST, { mostRoutes: 2 }]]) });
  router.rib.setPolicies(peer, { importPolicy: { dependsOnDestination: false, apply: () => undefined } });
  for (let i = 0; i < 10_000; i++) router.announce(peer, prefix(`10.${i >> 8}.${i & 255}.0/24`));
  expect(seen).toEqual([]);
  router.announce(peer, prefix("10.255.0.0/24"));
  expect(seen).toEqual(["stored 10001"]);
});

test("routes that are stale stay until they are swept, and those that are said again longer", () => {
  const router = new Router();
  const peer = router.peer("client");
  const other = router.peer("client", ALL, { longLived: true });
  for (let i = 0; i < 3; i++) router.announce(peer, prefix(`10.${i}.0.0/16`));
  router.settle();
  router.rib.down(peer, { keep: new Set([IPV4_UNICAST]) });
  router.settle();
  expect(countsOf(router.rib, peer, IPV4_UNICAST)).toMatchObject({ received: 3, stale: 3, best: 3 });
  router.up(peer);
  router.announce(peer, prefix("10.0.0.0/16"));
  router.settle();
  router.rib.sweepStale(peer, IPV4_UNICAST);
  router.settle();
  expect(router.knows(other)).toEqual([name(prefix("10.0.0.0/16"))]);
  expect(countsOf(router.rib, peer, IPV4_UNICAST)).toMatchObject({ received: 1, stale: 0, best: 1 });
});

test("what a reflector told that is away goes when the origin, or another reflector, takes the same back", () => {
  const router = new Router();
  const [away, there, direct] = [router.peer("internal"), router.peer("internal"), router.peer("client")];
  const by = (originator: number): PathAttributes => ({ ...usual, originatorId: ip(4, BigInt(originator)) });
  const [other, here] = [by(0x01020304), by(direct.routerId)];
  for (const reflector of [away, there]) {
    for (const route of ["10.0.0.0/16", "10.1.0.0/16"]) router.announce(reflector, prefix(route), other);
    for (const route of ["10.2.0.0/16", "10.3.0.0/16"]) router.announce(reflector, prefix(route), here);
  }
  for (const route of ["10.0.0.0/16", "10.2.0.0/16"]) router.announce(direct, prefix(route));
  router.rib.down(away, { keep: new Set([IPV4_UNICAST]) });
  const left = () =>
    [...routes(router.rib, { family: IPV4_UNICAST, peer: away.number })].map(
      (one) => one && printNlri(one.nlri),
    );
  // Of another origin, and what is only said again.
  router.withdraw(direct, prefix("10.0.0.0/16"));
  router.announce(there, prefix("10.3.0.0/16"), here);
  expect(left()).toEqual(["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]);
  router.withdraw(there, prefix("10.0.0.0/16"));
  router.announce(there, prefix("10.1.0.0/16"), { ...other, localPreference: 50 });
  router.withdraw(direct, prefix("10.2.0.0/16"));
  expect(left()).toEqual(["10.3.0.0/16"]);
  // One that is away too takes nothing back.
  router.rib.down(there, { keep: new Set() });
  router.settle();
  expect(left()).toEqual(["10.3.0.0/16"]);
});

test("long-lived stale routes lose against all others, and go to peers that know them (RFC 9494)", () => {
  const router = new Router();
  const peer = router.peer("client");
  const better = router.peer("client");
  const knowing = router.peer("client", ALL, { longLived: true });
  const plain = router.peer("client");
  router.announce(peer, prefix("10.0.0.0/16"), { ...usual, localPreference: 500 });
  router.announce(peer, prefix("10.1.0.0/16"));
  router.announce(peer, prefix("10.2.0.0/16"), { ...usual, communities: [0xffff0007] });
  router.announce(better, prefix("10.0.0.0/16"), { ...usual, localPreference: 1 });
  router.settle();
  router.rib.down(peer, { keep: new Set([IPV4_UNICAST]) });
  router.rib.markLongLived(peer, IPV4_UNICAST);
  router.settle();
  const best = [...routes(router.rib, { family: IPV4_UNICAST, bestOnly: true })].map((route) => [
    route?.peer,
    printNlri(route?.nlri as Parameters<typeof printNlri>[0]),
    route?.attributes.communities?.map((community) => community.toString(16)),
  ]);
  expect(best).toEqual([
    [better.number, "10.0.0.0/16", undefined],
    [peer.number, "10.1.0.0/16", ["ffff0006"]],
  ]);
  expect(router.knows(knowing)).toEqual([name(prefix("10.0.0.0/16")), name(prefix("10.1.0.0/16"))]);
  expect(router.knows(plain)).toEqual([name(prefix("10.0.0.0/16"))]);
});

test("a listener hears of best paths that change, and of equal ones", () => {
  const router = new Router({ decision: { multipath: 2 } });
  const seen: string[] = [];
  router.rib.onBest(IPV4_UNICAST, (table, destination, had) => {
    const used = usedOf(router.rib, table, destination);
    seen.push(`${had} ${used.map(({ peer }) => peer).join(",")}`);
  });
  const [one, two] = [router.peer("client"), router.peer("client")];
  router.announce(one, prefix("10.0.0.0/16"));
  router.settle();
  router.announce(two, prefix("10.0.0.0/16"));
  router.settle();
  router.withdraw(one, prefix("10.0.0.0/16"));
  router.settle();
  router.withdraw(two, prefix("10.0.0.0/16"));
  router.settle();
  expect(seen).toEqual(["false 1", "true 1,2", "true 2", "true "]);
  seen.length = 0;
  // Only what is equal is used together.
  router.announce(one, prefix("10.0.0.0/16"));
  router.announce(two, prefix("10.0.0.0/16"), { ...usual, localPreference: 90 });
  router.settle();
  expect(seen).toEqual(["false 1"]);
});

test("routes are found by prefix, by MAC, VNI, route target and peer", () => {
  const router = new Router();
  const peer = router.peer("client");
  for (const text of ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24"]) router.announce(peer, prefix(text));
  for (let i = 1; i < 4; i++)
    router.announce(peer, macIp(i), { ...usual, extendedCommunities: [target(i)], communities: [i] });
  router.settle();
  const found = (filter: Omit<Parameters<typeof routes>[1], "family">, family = IPV4_UNICAST) =>
    [...routes(router.rib, { family, ...filter })].flatMap((view) =>
      view === undefined ? [] : [printNlri(view.nlri)],
    );
  const asked = parsePrefix("10.1.0.0/16");
  expect(found({ prefix: asked })).toEqual(["10.1.0.0/16"]);
  expect(found({ prefix: asked, match: "longer" })).toEqual(["10.1.0.0/16", "10.1.2.0/24"]);
  expect(found({ prefix: parsePrefix("10.1.3.4/32"), match: "longest" })).toEqual(["10.1.0.0/16"]);
  expect(found({ peer: 7 })).toEqual([]);
  // The default of RFC 4684, section 3.2: a key of length 0, and no network.
  router.announce(peer, { family: ROUTE_TARGET, key: Uint8Array.of(0), extra: new Uint8Array(0) });
  router.settle();
  expect(found({ peer: 1 }, ROUTE_TARGET).length + found({}, ROUTE_TARGET).length).toBeGreaterThan(0);
  expect(found({ prefix: parsePrefix("10.1.3.4/32"), match: "longest" }, ROUTE_TARGET)).toEqual([]);
  const two = ["[2]:[0]:[48]:[02:00:00:00:00:02]:[32]:[10.1.0.2]"];
  expect(found({ mac: mac(0x02_00_00_00_00_02) }, EVPN)).toEqual(two);
  expect(found({ routeTarget: Uint8Array.of(0, 2, 0xfd, 0xe8, 0, 0, 0, 2) }, EVPN)).toEqual(two);
  expect(found({ community: 2, vni: 100, type: 2 }, EVPN)).toEqual(two);
  expect(found({ vni: 101 }, EVPN)).toEqual([]);
  expect(found({ prefix: parsePrefix("10.1.0.2/32") }, EVPN)).toEqual(two);
  const other = router.peer("client");
  router.settle();
  expect([...advertised(router.rib, other, EVPN)].length).toBe(3);
  expect(countsOf(router.rib, other, EVPN)).toMatchObject({ advertised: 3, received: 0 });
  expect(countsOf(router.rib, peer, EVPN)).toMatchObject({
    advertised: 0,
    received: 3,
    accepted: 3,
    best: 3,
  });
});

test("what this router announces wins on equal terms, and gets its own next hop", () => {
  const router = new Router();
  const own = Uint8Array.of(192, 0, 2, 254);
  const peer = router.peer("external", ALL, {
    families: new Map([[IPV4_UNICAST, { nextHopSelf: own, ownNextHop: own }]]),
  });
  const { nextHop: _, ...without } = usual;
  router.rib.announce(prefix("10.0.0.0/16"), encodeCanonical(without), { nowMs: 0 });
  router.settle();
  const text = router.beliefs.get(peer)?.routes.get(name(prefix("10.0.0.0/16"))) as string;
  expect(attributesOf(Uint8Array.from((text.split(" ")[0] as string).split("."), Number))).toEqual({
    nextHop: { address: parseIp("192.0.2.254") },
    origin: "igp",
    asPath: [{ kind: "sequence", asns: [65_000] }],
  });
  router.rib.withdraw(prefix("10.0.0.0/16"));
  router.settle();
  expect(router.knows(peer)).toEqual([]);
});

test("what does not fit into a peer's messages, or has a next hop that it would not take, is not sent, and withdrawn where it was", () => {
  const router = new Router();
  const plain = router.peer("client");
  const extended = router.peer("client", ALL, { extendedMessages: true });
  const route = prefix("10.0.0.0/16");
  const put = (attributes: PathAttributes) => {
    router.rib.announce(route, encodeCanonical(attributes), { nowMs: 0 });
    router.settle();
    return [router.knows(plain).length, router.knows(extended).length];
  };
  expect(put(usual)).toEqual([1, 1]);
  expect(put({ ...usual, communities: Array.from({ length: 1200 }, (_, i) => i) })).toEqual([0, 1]);
  expect(put(usual)).toEqual([1, 1]);
  expect(put({ ...usual, nextHop: { address: parseIp("2001:db8::1") } })).toEqual([0, 0]);
  const { nextHop: _, ...without } = usual;
  expect(put(without)).toEqual([0, 0]);
});

test("peers are told once that there is something to read, until they have read all", () => {
  const woken: number[] = [];
  const router = new Router({ events: { onOutput: ({ number }) => void woken.push(number) } });
  const source = router.peer("client", [EVPN]);
  const other = router.peer("client", [EVPN]);
  router.settle();
  woken.length = 0;
  router.announce(source, macIp(1));
  router.rib.work({ nowMs: 0 });
  router.announce(source, macIp(2));
  router.rib.work({ nowMs: 0 });
  expect(woken).toContain(other.number);
  expect(woken.filter((number) => number === other.number)).toEqual([other.number]);
  const outbox = router.rib.outbox(other);
  const bytes = outbox.peek() as Uint8Array;
  outbox.advance(5);
  const length = ((bytes[16] as number) << 8) | (bytes[17] as number);
  expect(outbox.messageRest).toBe(length - 5);
  outbox.advance(length - 5);
  expect(outbox.messageRest).toBe(0);
});

test("a peer's number is used again only when nothing refers to it", () => {
  const router = new Router();
  const one = router.peer("client");
  const two = router.peer("client");
  router.announce(one, prefix("10.0.0.0/16"));
  router.settle();
  router.rib.removePeer(one);
  router.beliefs.delete(one);
  const three = router.peer("client");
  expect(three.number).toBe(3);
  router.settle();
  expect(router.knows(two)).toEqual([]);
  expect(router.peer("client").number).toBe(one.number);
});
