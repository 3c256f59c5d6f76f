import { afterEach, beforeEach, expect, jest, test } from "bun:test";
import { type BgpRouter, parseManifest } from "../../resources/mod.ts";
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
let restart: GracefulRestart;

beforeEach(() => {
  jest.useFakeTimers();
  work = 0;
  restart = new GracefulRestart({
    ...{ rib: {} as never, neighbors: () => [], sweepMs: () => 0 },
    onWork: () => void work++,
  });
});
afterEach(() => {
  restart[Symbol.dispose]();
  jest.useRealTimers();
});

const begin = () => restart.begin(resources[0]?.value as BgpRouter);

test("who is held chooses nothing after its neighbors have spoken, until nobody holds it", () => {
  begin();
  const [one, other] = [restart.hold(), restart.hold()];
  restart.defer({ kind: "removed", peer: NEIGHBOR });
  expect(restart.isDeferring).toBe(true);
  one[Symbol.dispose]();
  expect([restart.isDeferring, work]).toEqual([true, 0]);
  other[Symbol.dispose]();
  expect([restart.isDeferring, restart.keepsFormer, work]).toEqual([false, false, 1]);
});

test("a hold that is never released ends with the limit for neighbors", () => {
  begin();
  restart.hold();
  restart.defer({ kind: "removed", peer: NEIGHBOR });
  jest.advanceTimersByTime(59_000);
  expect(restart.isDeferring).toBe(true);
  jest.advanceTimersByTime(1_001);
  expect(restart.isDeferring).toBe(false);
});

test("who has not restarted cannot be held", () => {
  using _ = restart.hold();
  expect(restart.isDeferring).toBe(false);
});
