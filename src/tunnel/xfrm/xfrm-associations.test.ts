import { beforeEach, expect, test } from "bun:test";
import { parseIp, parseMac, parsePrefix } from "../../net/mod.ts";
import { NetlinkError, type PolicyChange, type PolicyId } from "../../netlink/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import { XfrmAssociations } from "./xfrm-associations.ts";
import { XfrmBook } from "./xfrm-book.ts";
import type { XfrmExchange } from "./xfrm-exchange.ts";
import { XfrmMarks } from "./xfrm-marks.ts";
import { XfrmRoute } from "./xfrm-route.ts";

const ENOMEM = 12;

function nameOf({ selector: { sourcePort, destinationPort } }: PolicyId): string {
  const [source, destination] = [sourcePort, destinationPort].map((port) =>
    typeof port === "object" ? port.value : "",
  );
  return `${source}:${destination}`;
}

/** The policies of a kernel in memory, which refuses what a test wants refused. */
class MemoryKernel {
  /** By the ports of a share, or `:` for all the rest: by which association packets leave; 0 is none. */
  readonly policies = new Map<string, number>();
  /** How many more it takes, and whether it removes any. */
  room = Number.POSITIVE_INFINITY;
  isRemoving = true;
  /** How many it was told. */
  told = 0;

  setPolicies(changes: readonly PolicyChange[]): void {
    for (const change of changes) {
      if (this.room-- <= 0) throw new NetlinkError("set a policy", ENOMEM);
      this.told++;
      this.policies.set(nameOf(change), change.templates?.[0]?.spi ?? 0);
    }
  }

  removePolicies(ids: readonly PolicyId[]): void {
    for (const id of ids) {
      if (!this.isRemoving) throw new NetlinkError("remove a policy", ENOMEM);
      this.policies.delete(nameOf(id));
    }
  }

  add(): void {}

  remove(): unknown {
    return { usage: { packets: 0n, bytes: 0n } };
  }

  /** How many policies there are by each association, in the order of those; 0 is none. */
  get counts(): Record<number, number> {
    const counts: Record<number, number> = {};
    for (const spi of this.policies.values()) counts[spi] = (counts[spi] ?? 0) + 1;
    return counts;
  }
}

let kernel: MemoryKernel;
let book: XfrmBook;
let associations: XfrmAssociations;
let route: XfrmRoute;

beforeEach(() => {
  kernel = new MemoryKernel();
  book = new XfrmBook();
  associations = new XfrmAssociations({
    kernel: kernel as unknown as KernelEsp,
    book,
    // Nothing is said in UDP here.
    exchange: undefined as unknown as XfrmExchange,
    nowMs: () => 0,
    tell: () => {},
    led: () => {},
  });
  route = new XfrmRoute("tokyo", new XfrmMarks(3).take());
  route.set({ name: "tokyo", prefixes: [parsePrefix("10.2.0.0/16")] });
  book.routes.set("tokyo", route);
});

let keys = 0;

/** A queue that has the route, and an association that its packets leave by: 700 and its number, or another. */
function use(queue: number, spi = 700 + queue): void {
  const side = {
    mac: parseMac("02:00:00:00:00:01"),
    four: { ip: parseIp(`192.0.2.${queue}`), nextHop: parseIp("192.0.2.99") },
  };
  book.queues.set(queue, { private: side, public: side, linkIndex: queue, mtuBytes: 1400 });
  route.queues.add(queue);
  const keyMaterial = new Uint8Array(20).fill(++keys);
  const to = parseIp(`198.51.100.${queue}`);
  associations.addOutbound(
    { route: "tokyo", spi, algorithm: "aes-128-gcm", keyMaterial, to, next: 1 },
    queue,
  );
  associations.move(book.outbound("tokyo", queue, spi));
}

/** A queue lets go of the route, whatever the kernel refuses. */
function leave(queue: number): string | undefined {
  try {
    associations.removeAll(route, queue);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    route.queues.delete(queue);
    if (route.queues.size === 0) book.routes.delete(route.name);
  }
}

test("shares go with the last queue of a route, also where the kernel does not stop its packets", () => {
  for (const queue of [1, 2]) use(queue);
  expect(kernel.counts).toEqual({ 701: 1, 702: 8 });
  kernel.room = 0;
  expect([1, 2].map(leave)).toEqual([expect.stringContaining("ENOMEM"), expect.stringContaining("ENOMEM")]);
  expect([...kernel.policies.keys()]).toEqual([":"]);
});

test("shares that the kernel does not remove are removed later", () => {
  for (const queue of [1, 2]) use(queue);
  Object.assign(kernel, { room: 0, isRemoving: false });
  for (const queue of [1, 2]) leave(queue);
  expect(() => associations.tick()).toThrow("ENOMEM");
  expect(kernel.policies.size).toBe(1 + 8);
  kernel.isRemoving = true;
  associations.tick();
  expect([...kernel.policies.keys()]).toEqual([":"]);
  associations.tick();
});

test("shares of which the kernel took some only are those of the route too", () => {
  use(1);
  kernel.room = 3;
  expect(() => use(2)).toThrow("ENOMEM");
  expect(kernel.policies.size).toBe(1 + 3);
  expect(route.aims).toHaveLength(1);
  expect(route.shares()).toHaveLength(16);
  kernel.room = Number.POSITIVE_INFINITY;
  associations.tick();
  expect([kernel.counts, route.shares()]).toEqual([{ 701: 1 }, []]);
});

test("a detour that the kernel does not take back is gone with a tick, and does not cross one that follows", () => {
  for (const queue of [1, 2]) use(queue);
  associations.detour(route, 1, 2);
  expect(kernel.counts).toEqual({ 702: 1 });
  kernel.room = 0;
  associations.detour(route, 1, undefined);
  associations.detour(route, 2, 1);
  expect(() => associations.tick()).toThrow("ENOMEM");
  kernel.room = Number.POSITIVE_INFINITY;
  associations.tick();
  expect([kernel.counts, [...route.detours]]).toEqual([{ 701: 1 }, [[2, 1]]]);
});

test("packets whose detour has no association go by a queue that is well, before one that is cut", () => {
  for (const queue of [1, 2, 3]) use(queue);
  associations.detour(route, 1, 2);
  associations.removeOutbound(route, 2, 702);
  expect(kernel.counts).toEqual({ 703: 1 });
  associations.removeOutbound(route, 3, 703);
  expect(kernel.counts).toEqual({ 701: 1 });
});

test("of another association the kernel is told only where packets leave by that", () => {
  const told = () => {
    const { told: all } = kernel;
    kernel.told = 0;
    return all;
  };
  for (const queue of [1, 2, 3, 4]) use(queue);
  expect(kernel.counts).toEqual({ 701: 1, 702: 4, 703: 4, 704: 4 });
  told();
  use(4, 804);
  expect([kernel.counts, told()]).toEqual([{ 701: 1, 702: 4, 703: 4, 804: 4 }, 4]);
  use(1, 801);
  expect([kernel.counts, told()]).toEqual([{ 801: 1, 702: 4, 703: 4, 804: 4 }, 1]);
  // Where it is not sure what the kernel has, all.
  kernel.room = 2;
  expect(() => use(3, 803)).toThrow("ENOMEM");
  told();
  kernel.room = Number.POSITIVE_INFINITY;
  associations.tick();
  expect([kernel.counts, told()]).toEqual([{ 801: 1, 702: 4, 703: 4, 804: 4 }, 1 + 12]);
  for (const queue of [4, 3, 2]) leave(queue);
  expect(kernel.counts).toEqual({ 801: 1 });
  leave(1);
  expect(kernel.counts).toEqual({ 0: 1 });
});
