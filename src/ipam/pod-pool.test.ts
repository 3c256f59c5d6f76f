import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatIp, parseIp, parsePrefix } from "../net/mod.ts";
import { Database } from "../sys/mod.ts";
import { PodPool, podPoolSchema } from "./pod-pool.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-pool-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let database: Database;
let pool: PodPool;
beforeEach(() => {
  database = Database.open(":memory:", { schema: [podPoolSchema] });
  pool = new PodPool(database);
});

const ranges = [parsePrefix("10.0.0.0/29"), parsePrefix("fd00::/64")];
const pod = (containerId: string, ifname = "eth0", network = "net") => ({ network, containerId, ifname });
const allocate = (containerId: string, requested: string[] = []) =>
  pool.allocate(pod(containerId), { ranges, requested: requested.map(parseIp) }).map(formatIp);

test("one address per range, round robin, not reused at once", () => {
  expect(allocate("a")).toEqual(["10.0.0.2", "fd00::2"]);
  pool.release(pod("a"));
  expect(allocate("b")).toEqual(["10.0.0.3", "fd00::3"]);
  for (const id of ["c", "d", "e"]) allocate(id);
  expect(allocate("a")).toEqual(["10.0.0.2", "fd00::7"]);
});

test("the same attachment again is an error, and works after release", () => {
  allocate("a");
  expect(() => allocate("a")).toThrow("it has 10.0.0.2, fd00::2 already; delete the attachment first");
  expect(pool.release(pod("a"))).toBe(true);
  expect(allocate("a")).toEqual(["10.0.0.3", "fd00::3"]);
});

test("attachments differ by network, container and interface", () => {
  const owners = [pod("a"), pod("b"), pod("a", "net1"), pod("a", "eth0", "other")];
  const got = owners.map((owner) => pool.allocate(owner, { ranges }).map(formatIp)[0] as string);
  expect(new Set(got).size).toBe(4);
  pool.release(pod("a", "net1"));
  expect(owners.map((owner) => pool.addressesOf(owner).length)).toEqual([2, 2, 0, 2]);
});

test("release is idempotent", () => {
  allocate("a");
  expect([pool.release(pod("a")), pool.release(pod("a")), pool.release(pod("never"))]).toEqual([
    true,
    false,
    false,
  ]);
});

test("exhaustion says so, takes nothing of the other family, and ends with a release", () => {
  for (const id of ["a", "b", "c", "d", "e"]) allocate(id);
  expect(pool.free(ranges[0] as never)).toBe(0n);
  expect(() => allocate("f")).toThrow("Cannot allocate an address of 10.0.0.0/29: all 5 are in use");
  expect(pool.addressesOf(pod("f"))).toEqual([]);
  expect(pool.free(ranges[1] as never)).toBe(2n ** 64n - 2n - 5n);
  pool.release(pod("c"));
  expect(allocate("f")[0]).toBe("10.0.0.4");
});

test("an address that the pod has elsewhere is not the one that it gets, unless it asks for it, and not the last one either", () => {
  const avoid = ["10.0.0.2", "10.0.0.4", "fd00::2"].map(parseIp);
  const beside = (containerId: string, requested: string[] = []) =>
    pool.allocate(pod(containerId), { ranges, avoid, requested: requested.map(parseIp) }).map(formatIp);
  expect(beside("a")).toEqual(["10.0.0.3", "fd00::3"]);
  expect(beside("b")).toEqual(["10.0.0.5", "fd00::4"]);
  expect(beside("c", ["10.0.0.4"])[0]).toBe("10.0.0.4");
  expect(beside("d")[0]).toBe("10.0.0.6");
  expect(() => beside("e")).toThrow("Cannot allocate an address of 10.0.0.0/29");
  expect(allocate("e")[0]).toBe("10.0.0.2");
});

test("requested addresses are given, or refused with the reason", () => {
  expect(allocate("a", ["fd00::99"])).toEqual(["10.0.0.2", "fd00::99"]);
  expect(allocate("b", ["10.0.0.6", "10.0.0.5"])).toEqual(["10.0.0.6", "10.0.0.5", "fd00::2"]);
  expect(() => allocate("c", ["10.0.0.5"])).toThrow("eth0 of container b in network net has it");
  for (const bad of ["10.0.0.0", "10.0.0.1", "10.0.0.7", "10.9.9.9", "fd00::1"])
    expect(() => allocate("c", [bad])).toThrow("is not a pod address of this node (10.0.0.0/29, fd00::/64)");
  expect(allocate("c")).toEqual(["10.0.0.3", "fd00::3"]);
});

test("what was allocated is there after a restart, and the round goes on", () => {
  const path = join(folder, "pods.db");
  const open = () => Database.open(path, { schema: [podPoolSchema], synchronous: "off" });
  {
    using first = open();
    new PodPool(first).allocate(pod("a"), { ranges });
  }
  using second = open();
  expect(new PodPool(second).addressesOf(pod("a")).map(formatIp)).toEqual(["10.0.0.2", "fd00::2"]);
  expect(new PodPool(second).allocate(pod("b"), { ranges }).map(formatIp)).toEqual(["10.0.0.3", "fd00::3"]);
});

test("any order of allocations and releases keeps addresses distinct and inside", () => {
  let seed = 7;
  const random = (below: number) => (seed = (seed * 48271) % 2147483647) % below;
  const held = new Map<string, string[]>();
  for (let step = 0; step < 2000; step++) {
    const id = `c${random(8)}`;
    if (held.has(id)) {
      pool.release(pod(id));
      held.delete(id);
    } else if (held.size < 5) {
      held.set(id, allocate(id));
    } else {
      expect(() => allocate(id)).toThrow("all 5 are in use");
    }
    const all = [...held.values()].flat();
    expect(new Set(all).size).toBe(all.length);
  }
});
