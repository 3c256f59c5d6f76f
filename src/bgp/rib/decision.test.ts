import { expect, test } from "bun:test";
import { ip, ipBytes } from "../../net/mod.ts";
import { encodeCanonical, encodeNlri, IPV4_UNICAST, type PathAttributes } from "../wire/mod.ts";
import { parsePrefix } from "../../net/mod.ts";
import type { DecisionOptions } from "./decision.ts";
import { Rib, type RibPeer } from "./mod.ts";

const OWN = { asn: 65_000, routerId: 9, clusterId: 9 };
const prefix = encodeNlri({ kind: "prefix", prefix: parsePrefix("10.0.0.0/8") });

interface Given extends Partial<PathAttributes> {
  readonly path?: readonly number[];
  readonly weight?: number;
  readonly external?: boolean;
  readonly routerId?: number;
}

/** Puts one path for each peer, in the order given, and returns the best one's place in `paths` and why it is best. */
function best(paths: readonly Given[], options: DecisionOptions = {}, order = paths.map((_, i) => i)) {
  const rib = new Rib({ own: OWN, families: [IPV4_UNICAST], decision: options });
  const peers: RibPeer[] = paths.map(({ external = true, weight = 0, routerId = 1 }, i) => {
    const peer = rib.addPeer({ asn: 1, address: Uint8Array.of(0, 0, 0, i + 1), external, weight });
    peer.routerId = routerId;
    return peer;
  });
  for (const i of order) {
    const { path = [1], weight: _w, external: _e, routerId: _r, ...rest } = paths[i] as Given;
    const attributes: PathAttributes = {
      nextHop: { address: ip(4, BigInt(0x0a000001 + i)) },
      origin: "igp",
      asPath: path.length === 0 ? [] : [{ kind: "sequence", asns: path }],
      ...rest,
    };
    rib.receiver.put(peers[i] as RibPeer, prefix, encodeCanonical(attributes), 0);
    if (options.compareRouterId !== true) while (rib.work({ nowMs: 0 })) continue;
  }
  while (rib.work({ nowMs: 0 })) continue;
  const table = rib.tables.get(IPV4_UNICAST);
  const destination = table?.keys.find(prefix.key, 0, prefix.key.length) as number;
  const path = table === undefined ? 0 : rib.decision.select(table, destination);
  return [(table?.paths.peer[path] as number) - 1, rib.decision.reason];
}

test("each step of RFC 4271 section 9.1.2.2 decides where those before are equal", () => {
  expect(best([{ weight: 1 }, { localPreference: 200 }])).toEqual([0, "weight"]);
  expect(best([{ localPreference: 101 }, { path: [1] }])).toEqual([0, "local preference"]);
  expect(best([{ path: [1, 2] }, { path: [1] }])).toEqual([1, "shortest AS path"]);
  expect(best([{ origin: "egp" }, {}])).toEqual([1, "lowest origin"]);
  expect(best([{ med: 2 }, { med: 1 }])).toEqual([1, "lowest MED"]);
  expect(best([{ external: false }, {}])).toEqual([1, "external over internal"]);
  expect(best([{ routerId: 2 }, { routerId: 1 }], { compareRouterId: true })).toEqual([
    1,
    "lowest router id",
  ]);
  const listed = { external: false, originatorId: ip(4, 5n), clusterList: [ip(4, 1n)] };
  expect(best([{ ...listed, clusterList: [ip(4, 1n), ip(4, 2n)] }, listed])).toEqual([
    1,
    "shortest cluster list",
  ]);
  expect(best([{}, {}], { compareRouterId: true })).toEqual([0, "lowest peer address"]);
});

test("the present best path stays among external ones (RFC 5004)", () => {
  expect(best([{ routerId: 2 }, { routerId: 1 }])).toEqual([0, "present best"]);
  expect(
    best([
      { routerId: 2, external: false },
      { routerId: 1, external: false },
    ]),
  ).toEqual([1, "lowest router id"]);
});

test("MED compares paths of one neighbour, whatever came first (RFC 4271 section 9.1.2.2 (c))", () => {
  // RFC 3345's example: pairwise comparison goes round in circles.
  const paths = [
    { path: [6, 100], med: 1, external: false, routerId: 3 },
    { path: [6, 100], med: 0, external: false, routerId: 5 },
    { path: [7, 100], med: 20, external: false, routerId: 4 },
  ];
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) expect(best(paths, {}, order)[0]).toBe(2);
  for (const order of orders) expect(best(paths, { alwaysCompareMed: true }, order)[0]).toBe(1);
});

test("a path whose next hop cannot be reached is not used, and a nearer one is better", () => {
  const rib = new Rib({ own: OWN, families: [IPV4_UNICAST], unknownNextHop: { valid: false, metric: 0 } });
  const table = rib.tables.get(IPV4_UNICAST);
  const chosen = () => {
    while (rib.work({ nowMs: 0 })) continue;
    const path = table?.bestOf(table.keys.find(prefix.key, 0, prefix.key.length)) ?? 0;
    return path === 0 ? undefined : table?.paths.peer[path];
  };
  const hops = [1, 2].map((i) => ip(4, BigInt(0x0a000000 + i)));
  for (const address of hops) {
    const peer = rib.addPeer({ asn: 65_000, address: Uint8Array.of(0, 0, 0, 1), external: false });
    rib.receiver.put(peer, prefix, encodeCanonical({ nextHop: { address }, origin: "igp", asPath: [] }), 0);
  }
  expect(chosen()).toBeUndefined();
  const [one, two] = hops.map((address) => ipBytes(address)) as [Uint8Array, Uint8Array];
  rib.setNextHop(two, { valid: true, metric: 10 });
  expect(chosen()).toBe(2);
  rib.setNextHop(one, { valid: true, metric: 20 });
  expect(chosen()).toBe(2);
  rib.setNextHop(one, { valid: true, metric: 5 });
  expect(chosen()).toBe(1);
  rib.setNextHop(one, undefined);
  expect(chosen()).toBe(2);
});
