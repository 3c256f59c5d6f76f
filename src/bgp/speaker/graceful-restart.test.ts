import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { type BgpRouter, parseManifest } from "../../resources/mod.ts";
import type { Rib } from "../rib/mod.ts";
import { GracefulRestart } from "./graceful-restart.ts";

const NEIGHBOR = "192.0.2.2";
const { resources } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: BgpRouter
metadata: {name: r}
spec:
  asn: 64512
  routerId: 192.0.2.1
  neighbors: [{address: ${NEIGHBOR}, asn: 64513, families: {ipv4-unicast: {}}}]
`);

let work = 0;
let rib: Pick<Rib, "holdsEnds">;
let restart: GracefulRestart;

beforeEach(() => {
  jest.useFakeTimers();
  [work, rib] = [0, { holdsEnds: false }];
  restart = new GracefulRestart({
    ...{ rib: rib as Rib, neighbors: () => [], sweepMs: () => 0 },
    onWork: () => void work++,
  });
});
afterEach(() => {
  restart[Symbol.dispose]();
  jest.useRealTimers();
});

test("who is held tells no End-of-RIB, until nobody holds it", () => {
  const [one, other] = [restart.hold(), restart.hold()];
  expect(rib.holdsEnds).toBe(true);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  expect([rib.holdsEnds, work]).toEqual([true, 0]);
  other[Symbol.dispose]();
  expect([rib.holdsEnds, work]).toEqual([false, 1]);
});

test("a hold that is never released ends by itself, later than the limit for neighbors", () => {
  restart.hold();
  jest.advanceTimersByTime(69_000);
  expect(rib.holdsEnds).toBe(true);
  jest.advanceTimersByTime(1_001);
  expect([rib.holdsEnds, work]).toEqual([false, 1]);
});

test("neighbors are waited for as ever by one that is held", () => {
  restart.begin(resources[0]?.value as BgpRouter);
  using _ = restart.hold();
  expect([restart.isDeferring, restart.keepsFormer]).toEqual([true, true]);
  restart.defer({ kind: "removed", peer: NEIGHBOR });
  expect([restart.isDeferring, restart.keepsFormer, rib.holdsEnds]).toEqual([false, false, true]);
});
