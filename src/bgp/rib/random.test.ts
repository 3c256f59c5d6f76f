/**
 * The RIB against a slow obvious model: random peers, routes, failures, refreshes, policies, slow readers. What each peer believes after reading
 * its bytes is compared with what the model says it should. RIB_SEED=n runs one seed again, RIB_RUNS=n that many.
 */
import { expect, test } from "bun:test";
import { announcement, Belief, routeText, type Said, withdrawal } from "../../../test/support/bgp-routes.ts";
import { type ModelPath, type ModelPeer, TableModel } from "../../../test/support/bgp-table-model.ts";
import { ip, ipBytes } from "../../net/mod.ts";
import {
  type BgpFamily,
  encodeCanonical,
  EVPN,
  IPV4_UNICAST,
  type PathAttributes,
  RESET,
  type UpdateSession,
} from "../wire/mod.ts";
import { type Policy, Rib, type RibPeer } from "./mod.ts";

const FAMILIES = [IPV4_UNICAST, EVPN];
const OWN = { asn: 65_000, routerId: 0x0a0a0a0a, clusterId: 0x0b0b0b0b };

function generator(seed: number) {
  let state = seed >>> 0;
  const random = (below: number) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return Math.floor((((state ^ (state >>> 13)) >>> 0) / 2 ** 32) * below);
  };
  return random;
}
type Random = ReturnType<typeof generator>;
const one = <T>(random: Random, list: readonly T[]) => list[random(list.length)] as T;

interface Pair {
  readonly model: ModelPeer;
  readonly rib: RibPeer;
  readonly session: UpdateSession;
  /** How the peer reads what it is sent. */
  readonly reads: UpdateSession;
  readonly options: Parameters<Rib["up"]>[1];
  belief: Belief;
  /** Families that it has to say again, after a restart. */
  readonly restarting: Set<BgpFamily>;
}

function destination(random: Random): Omit<Said, "pathId"> {
  if (random(2) === 0)
    return { family: IPV4_UNICAST, key: Uint8Array.of(24, 10, 0, random(30)), extra: new Uint8Array(0) };
  const key = Uint8Array.of(
    2,
    0,
    1,
    10,
    0,
    0,
    1,
    0,
    1,
    0,
    0,
    0,
    0,
    2,
    0,
    0,
    0,
    0,
    random(30),
    32,
    10,
    1,
    0,
    1,
  );
  const extra = new Uint8Array(13);
  extra[12] = 100 + random(3);
  return { family: EVPN, key, extra };
}

function attributes({ random, reflects }: Run, peer: ModelPeer): PathAttributes {
  const path = Array.from({ length: random(4) }, () =>
    one(random, [1, 2, 3, 70_000, random(40) === 0 ? OWN.asn : 4]),
  );
  if (peer.kind === "external") path.unshift(peer.asn);
  const communities = Array.from({ length: random(3) }, () =>
    one(random, [1, 2, 3, 4, 5, 0xffffff01, 0xffffff02, 0xffff0007]),
  );
  return {
    nextHop: { address: ip(4, BigInt(0x0a000001 + random(4))) },
    origin: one(random, ["igp", "incomplete"] as const),
    asPath: path.length === 0 ? [] : [{ kind: "sequence", asns: path }],
    ...(random(2) === 0 ? { med: random(3) } : {}),
    ...(peer.kind === "external" || (peer.kind === "local" && random(2) === 0)
      ? {}
      : { localPreference: 100 + random(2) }),
    ...(communities.length > 0 ? { communities: [...new Set(communities)].sort((a, b) => a - b) } : {}),
    ...(reflects && peer.kind !== "external" && peer.kind !== "local" && random(2) === 0
      ? {
          originatorId: ip(4, BigInt(one(random, [7, 8, 0x01000004, OWN.routerId]))),
          clusterList: [ip(4, BigInt(random(3) + 1))],
        }
      : {}),
    ...(random(3) === 0
      ? { extendedCommunities: [{ kind: "mac-mobility", sticky: random(4) === 0, sequence: random(3) }] }
      : {}),
  };
}

type Judge = (attributes: PathAttributes) => PathAttributes | undefined;
const judges: readonly (Judge | undefined)[] = [
  undefined,
  (given) => (given.communities?.includes(1) === true ? undefined : given),
  (given) => ({ ...given, localPreference: 150 }),
  (given) => (given.med === 1 ? { ...given, med: 2, communities: [2] } : given),
];
const policies = new Map<Judge, readonly Policy[]>(
  judges.flatMap((judge) =>
    judge === undefined
      ? []
      : [
          [
            judge,
            [false, true].map((dependsOnDestination) => ({
              dependsOnDestination,
              apply: ({ attributes: given }) => judge(given),
            })),
          ],
        ],
  ),
);

class Run {
  readonly random: Random;
  readonly rib: Rib;
  readonly model = new TableModel(OWN);
  readonly pairs: Pair[] = [];
  readonly local: ModelPeer;
  readonly best = new Map<string, boolean>();
  nowMs = 1_000_000;
  /** Most groups that there were at a time, in a table. */
  groups = 0;
  /** A peer that reads little. */
  stuck: Pair | undefined;
  /** Peers reflect; what outdates what then depends on when it is gone through, so that is done at once. */
  readonly reflects: boolean;

  constructor(random: Random) {
    this.random = random;
    this.reflects = random(2) === 0;
    this.rib = new Rib({
      own: OWN,
      families: FAMILIES,
      decision: { compareRouterId: true },
      limits: { mostLogBytes: 400, patienceMs: 5, mostSlowGroups: 3 },
    });
    for (const family of FAMILIES)
      this.rib.onBest(family, (table, number) => {
        this.best.set(`${family}/${table.keys.copyOf(number).join(".")}`, table.bestOf(number) !== 0);
      });
    this.local = this.modelPeer(0, "local", undefined);
    const kinds = [
      "client",
      "client",
      "client",
      "internal",
      "internal",
      "external",
      "external",
      "client",
      "client",
      "client",
      "client",
      "client",
    ];
    kinds.forEach((kind, i) =>
      this.add(i + 1, kind as ModelPeer["kind"], i === 7 ? "all" : i === 8 ? 2 : undefined),
    );
  }

  modelPeer(number: number, kind: ModelPeer["kind"], addPath: "all" | number | undefined): ModelPeer {
    const asn = kind === "external" ? 65_100 + number : OWN.asn;
    const routerId = kind === "local" ? OWN.routerId : 0x01000000 + ((number * 7) % 10);
    const nextHopSelf = kind === "external" ? ip(4, 0xc0000201n) : undefined;
    return {
      number,
      kind,
      asn,
      routerId,
      address: number,
      addPath,
      longLived: number === 2 || number === 4 || number === 6,
      nextHopSelf,
      isUp: false,
      importPolicy: undefined,
      exportPolicy: undefined,
    };
  }

  add(number: number, kind: ModelPeer["kind"], addPath: "all" | number | undefined): void {
    const model = this.modelPeer(number, kind, addPath);
    const external = kind === "external";
    const families = new Set<BgpFamily>(FAMILIES);
    const session: UpdateSession = {
      external,
      as4: number !== 6,
      families,
      addPathReceive: number === 4 ? families : new Set(),
      extendedNextHop: new Set(),
    };
    const reads = { ...session, addPathReceive: addPath === undefined ? new Set<BgpFamily>() : families };
    const options = {
      update: session,
      routerId: model.routerId,
      families: new Map(
        FAMILIES.map((family) => [
          family,
          {
            ...(addPath === undefined ? {} : { addPathSend: addPath }),
            ...(model.nextHopSelf === undefined || family === EVPN
              ? {}
              : { nextHopSelf: ipBytes(model.nextHopSelf) }),
          },
        ]),
      ),
      longLived: model.longLived,
      enhancedRefresh: number % 3 === 0,
      extendedMessages: number === 5,
    };
    const rib = this.rib.addPeer({
      asn: model.asn,
      address: Uint8Array.of(0, 0, 0, number),
      external,
      client: kind === "client",
    });
    expect(rib.number).toBe(number);
    this.pairs.push({
      model,
      rib,
      session,
      reads,
      options,
      belief: new Belief(reads),
      restarting: new Set(),
    });
  }

  step(): void {
    const { random, rib, model } = this;
    const pair = one(random, this.pairs);
    const dice = random(100);
    this.nowMs += random(4);
    if (dice < 40) this.announce(pair);
    else if (dice < 55) this.withdraw(pair);
    else if (dice < 60) this.announceHere();
    else if (dice < 64 && !pair.model.isUp) this.up(pair);
    else if (dice < 66 && pair.model.isUp) this.down(pair, new Set());
    else if (dice < 68 && pair.model.isUp) this.down(pair, new Set(FAMILIES));
    else if (dice < 70 && pair.restarting.size > 0) this.sweep(pair);
    else if (dice < 71 && pair.restarting.size > 0) this.keepLong(pair);
    else if (dice < 73 && pair.model.isUp) rib.refresh(pair.rib, one(random, FAMILIES));
    else if (dice < 75) this.policy(pair);
    else if (dice < 76) {
      const nextHop = ip(4, BigInt(0x0a000001 + random(4)));
      const valid = random(2) === 0;
      rib.setNextHop(ipBytes(nextHop), { valid, metric: 0 });
      if (valid) model.unreachable.delete(String(nextHop.value));
      else model.unreachable.add(String(nextHop.value));
    } else if (dice < 88) rib.work({ nowMs: this.nowMs, most: 1 + random(random(2) === 0 ? 3 : 20) });
    else if (dice < 94) this.drain(pair, random(3000));
    else for (const each of this.pairs) if (each !== this.stuck) this.drain(each, Number.POSITIVE_INFINITY);
  }

  announce({ model: peer, rib, session }: Pair): void {
    if (!peer.isUp) return;
    const said = destination(this.random);
    const list: Said[] = [{ ...said, pathId: session.addPathReceive.size > 0 ? 1 + this.random(3) : 0 }];
    for (let i = this.random(3); i > 0; i--) {
      const more = destination(this.random);
      if (more.family === said.family) list.push({ ...more, pathId: (list[0] as Said).pathId });
    }
    const given = attributes(this, peer);
    const bytes = announcement(session, given, list);
    expect(this.rib.receive(rib, bytes, 19, bytes.length, this.nowMs)).not.toBe(RESET);
    for (const { family, key, extra, pathId } of list)
      this.model.put({
        peer,
        family,
        key,
        extra,
        pathId,
        attributes: given,
        isStale: false,
        isLongLived: false,
      });
  }

  withdraw({ model: peer, rib, session }: Pair): void {
    if (!peer.isUp) return;
    const said = {
      ...destination(this.random),
      pathId: session.addPathReceive.size > 0 ? 1 + this.random(3) : 0,
    };
    const bytes = withdrawal(session, [said]);
    this.rib.receive(rib, bytes, 19, bytes.length, this.nowMs);
    this.model.delete({ peer, ...said });
  }

  announceHere(): void {
    const said = destination(this.random);
    if (this.random(2) === 0) {
      this.rib.withdraw(said);
      this.model.delete({ peer: this.local, ...said, pathId: 0 });
      return;
    }
    const given = attributes(this, this.local);
    this.rib.announce(said, encodeCanonical(given), { nowMs: this.nowMs });
    this.model.put({
      peer: this.local,
      ...said,
      pathId: 0,
      attributes: given,
      isStale: false,
      isLongLived: false,
    });
  }

  up(pair: Pair): void {
    pair.model.isUp = true;
    pair.belief = new Belief(pair.reads);
    this.rib.up(pair.rib, pair.options);
  }

  down(pair: Pair, keep: ReadonlySet<BgpFamily>): void {
    const { model: peer } = pair;
    peer.isUp = false;
    this.rib.down(pair.rib, { keep });
    // Stale twice is gone, unless it is kept for long.
    this.model.deleteWhere(
      (path) => path.peer === peer && (keep.size === 0 || (path.isStale && !path.isLongLived)),
    );
    for (const path of this.model.paths.values()) if (path.peer === peer) path.isStale = true;
    pair.restarting.clear();
    for (const family of keep) pair.restarting.add(family);
    this.finish();
  }

  finish(): void {
    while (this.reflects && this.rib.work({ nowMs: this.nowMs, most: 10_000 })) continue;
  }

  sweep({ model: peer, rib, restarting }: Pair): void {
    const family = [...restarting][0] as BgpFamily;
    restarting.delete(family);
    this.rib.sweepStale(rib, family);
    this.model.deleteWhere((path) => path.peer === peer && path.family === family && path.isStale);
    // The scan is to have ended before the routes of another epoch are there: as the real one does, at once where it matters.
    this.finish();
  }

  keepLong({ model: peer, rib, restarting }: Pair): void {
    const family = one(this.random, [...restarting]);
    this.rib.markLongLived(rib, family);
    this.model.makeLongLived(peer, family);
    this.finish();
  }

  policy({ model: peer, rib }: Pair): void {
    const judge = () => one(this.random, judges);
    const used = [...this.model.paths.values()].filter(
      (path) => path.peer === peer && this.model.accepted(path) !== undefined,
    );
    // Mostly none on the way out, so that peers share groups.
    [peer.importPolicy, peer.exportPolicy] = [judge(), this.random(4) === 0 ? judge() : undefined];
    const of = (chosen: Judge | undefined) =>
      chosen && (policies.get(chosen) as readonly Policy[])[this.random(2)];
    const [importPolicy, exportPolicy] = [of(peer.importPolicy), of(peer.exportPolicy)];
    this.rib.setPolicies(rib, {
      ...(importPolicy && { importPolicy }),
      ...(exportPolicy && { exportPolicy }),
    });
    for (const path of used) if (this.model.accepted(path) === undefined) this.model.outdate(path);
    this.finish();
  }

  drain({ rib, belief, model }: Pair, most: number): void {
    if (!model.isUp) return;
    const outbox = this.rib.outbox(rib);
    for (let left = most, bytes = outbox.peek(); left > 0 && bytes !== undefined; bytes = outbox.peek()) {
      const take = Math.min(left, bytes.length, 1 + this.random(5000));
      belief.read(bytes.slice(0, take));
      outbox.advance(take);
      left -= take;
    }
  }

  settle(): void {
    for (let rounds = 0; this.rib.isBusy; rounds++) {
      if (rounds > 10_000) throw new Error("The table does not come to rest");
      this.nowMs += 10;
      this.rib.work({ nowMs: this.nowMs });
      for (const pair of this.pairs) this.drain(pair, Number.POSITIVE_INFINITY);
    }
    for (const pair of this.pairs) this.drain(pair, Number.POSITIVE_INFINITY);
  }

  compare(): void {
    this.settle();
    const destinations = this.model.destinations();
    const ranked = new Map([...destinations].map(([name, paths]) => [name, this.model.ranked(paths)]));
    for (const [name, order] of ranked)
      expect([name, this.best.get(name) ?? false]).toEqual([name, order.length > 0]);
    for (const [name, has] of this.best) if (has) expect([name, ranked.has(name)]).toEqual([name, true]);
    for (const { model: peer, rib, belief } of this.pairs) {
      for (const [index, family] of FAMILIES.entries()) {
        const own = [...this.model.paths.values()].filter(
          (path) => path.peer === peer && path.family === family,
        );
        expect([peer.number, family, rib.tables[index]?.routes]).toEqual([peer.number, family, own.length]);
        const accepted = own.filter((path) => this.model.accepted(path) !== undefined).length;
        expect([peer.number, family, rib.tables[index]?.accepted]).toEqual([peer.number, family, accepted]);
      }
      if (peer.isUp)
        expect([peer.number, ...this.believed(peer, belief)]).toEqual([
          peer.number,
          ...this.expected(peer, ranked),
        ]);
    }
  }

  /** Without path identifiers: they are this router's to choose. */
  believed(peer: ModelPeer, belief: Belief): string[] {
    expect([peer.number, [...belief.ended].sort()]).toEqual([peer.number, [...FAMILIES].sort()]);
    return [...belief.routes].map(([name, text]) => `${name.slice(0, name.lastIndexOf("/"))} ${text}`).sort();
  }

  expected(peer: ModelPeer, ranked: ReadonlyMap<string, readonly ModelPath[]>): string[] {
    const most = peer.addPath === "all" ? Number.POSITIVE_INFINITY : (peer.addPath ?? 1);
    return [...ranked]
      .flatMap(([name, order]) =>
        order.slice(0, most).flatMap((path) => {
          const sent = this.model.sent(path, peer);
          return sent === undefined ? [] : [`${name} ${routeText(sent, path.extra)}`];
        }),
      )
      .sort();
  }

  /** Everything taken away, nothing may be left in any table. */
  end(): void {
    for (const pair of this.pairs) {
      this.rib.down(pair.rib, { keep: new Set() });
      pair.model.isUp = false;
    }
    for (const path of this.model.paths.values()) if (path.peer === this.local) this.rib.withdraw(path);
    this.settle();
    const { rib } = this;
    for (const nextHop of rib.nextHops.all()) rib.setNextHop(nextHop, undefined);
    const left = [...rib.tables.values()].map((table) => [
      table.keys.size,
      table.paths.size,
      table.bestCount,
      table.groups.length,
    ]);
    expect(left).toEqual(FAMILIES.map(() => [0, 0, 0, 0]));
    expect([rib.store.size, rib.extras.size, rib.nextHops.all().length, rib.pool.heldBytes]).toEqual([
      0, 0, 0, 0,
    ]);
  }
}

const runs = Number(process.env["RIB_RUNS"] ?? 6);
const given = process.env["RIB_SEED"];
const seeds =
  given === undefined
    ? Array.from({ length: runs }, () => Math.floor(Math.random() * 2 ** 31))
    : [Number(given)];

test(`the table says what a slow model says (seeds ${seeds.join(" ")})`, () => {
  for (const seed of seeds) {
    const run = new Run(generator(seed));
    try {
      for (const pair of run.pairs) if (run.random(4) > 0) run.up(pair);
      for (let round = 0; round < 12; round++) {
        run.stuck = run.random(2) === 0 ? one(run.random, run.pairs) : undefined;
        for (let i = 0; i < 200; i++) run.step();
        run.compare();
      }
      run.end();
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}, 120_000);
