/** Mangled UPDATEs: none makes the table throw, or send to others what they would refuse. RIB_FUZZ_SEED=n runs one seed again. */
import { expect, test } from "bun:test";
import { announcement, Belief } from "../../../test/support/bgp-routes.ts";
import { ip } from "../../net/mod.ts";
import {
  type BgpFamily,
  EVPN,
  IPV4_UNICAST,
  IPV6_UNICAST,
  type PathAttributes,
  RESET,
  type UpdateSession,
} from "../wire/mod.ts";
import { Rib, type RibPeer } from "./mod.ts";

const families: ReadonlySet<BgpFamily> = new Set([IPV4_UNICAST, IPV6_UNICAST, EVPN]);
const session = (external: boolean, as4: boolean): UpdateSession => ({
  external,
  as4,
  families,
  addPathReceive: new Set(),
  extendedNextHop: new Set(),
  asSets: true,
});

function mangled(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  let out = bytes.slice();
  for (let i = random(4); i >= 0; i--) {
    const at = 19 + random(out.length - 19);
    const dice = random(4);
    if (dice === 0) out[at] = random(256);
    else if (dice === 1) out[at] = (out[at] as number) ^ (1 << random(8));
    else if (dice === 2) out = Uint8Array.of(...out.subarray(0, at), ...out.subarray(at + 1 + random(4)));
    else out = Uint8Array.of(...out.subarray(0, at), random(256), ...out.subarray(at));
    if (out.length < 24) return bytes;
  }
  return out;
}

const attributes: PathAttributes = {
  nextHop: { address: ip(4, 0x0a000001n) },
  origin: "igp",
  asPath: [
    { kind: "sequence", asns: [65_001, 70_000, 3] },
    { kind: "set", asns: [4, 5] },
  ],
  med: 5,
  localPreference: 100,
  aggregator: { as: 70_000, address: ip(4, 1n) },
  communities: [1, 2],
  originatorId: ip(4, 7n),
  clusterList: [ip(4, 8n)],
  extendedCommunities: [{ kind: "mac-mobility", sticky: false, sequence: 3 }],
  largeCommunities: [{ global: 1, local1: 2, local2: 3 }],
  others: [{ code: 200, flags: 0xc0, value: Uint8Array.of(1, 2, 3) }],
};

const seeds =
  process.env["RIB_FUZZ_SEED"] === undefined
    ? [1, 2, Math.floor(Math.random() * 2 ** 31)]
    : [Number(process.env["RIB_FUZZ_SEED"])];

test(`nothing that a peer sends makes the table send what is refused (seeds ${seeds.join(" ")})`, () => {
  for (const seed of seeds) {
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
      return Math.floor((((state ^ (state >>> 13)) >>> 0) / 2 ** 32) * below);
    };
    const rib = new Rib({
      own: { asn: 65_000, routerId: 9, clusterId: 9 },
      families: [...families],
    });
    const readers = new Map<RibPeer, Belief>();
    const add = (external: boolean, as4: boolean) => {
      const peer = rib.addPeer({ asn: 1, address: Uint8Array.of(0, 0, 0, 1), external, client: !external });
      up(peer, session(external, as4));
      readers.set(peer, new Belief(session(external, as4)));
      return peer;
    };
    const up = (peer: RibPeer, update: UpdateSession) =>
      rib.up(peer, { update, routerId: 5, families: new Map([...families].map((family) => [family, {}])) });
    const sources = [add(false, true), add(true, true), add(false, false)];
    for (const [external, as4] of [
      [false, true],
      [true, true],
      [false, false],
      [true, false],
    ] as const)
      add(external, as4);
    for (let i = 0; i < 1500; i++) {
      const source = sources[random(sources.length)] as RibPeer;
      const update = source.session?.update as UpdateSession;
      const key = Uint8Array.of(24, 10, 0, random(20));
      const mac = Uint8Array.of(
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
        random(20),
        32,
        10,
        1,
        0,
        1,
      );
      const said =
        random(2) === 0
          ? { family: IPV4_UNICAST, key, extra: new Uint8Array(0), pathId: 0 }
          : { family: EVPN, key: mac, extra: new Uint8Array(13), pathId: 0 };
      const bytes = mangled(announcement(update, attributes, [said]), random);
      if (rib.receive(source, bytes, 19, bytes.length, i) === RESET) {
        expect(rib.error).toBeDefined();
        readers.set(source, new Belief(update));
        up(source, update);
      }
      if (i % 20 !== 0) continue;
      while (rib.work({ nowMs: i })) continue;
      for (const [peer, belief] of readers) {
        const outbox = rib.outbox(peer);
        for (let sent = outbox.peek(); sent !== undefined; sent = outbox.peek()) {
          try {
            belief.read(sent);
          } catch (error) {
            throw new Error(`seed ${seed}, UPDATE ${i}: ${(error as Error).message}`, { cause: error });
          }
          outbox.advance(sent.length);
        }
      }
    }
    for (const [peer, { messages }] of readers)
      if (!sources.includes(peer)) expect(messages).toBeGreaterThan(100);
  }
}, 60_000);
