import { beforeEach, expect, test } from "bun:test";
import { MemoryBackEnd } from "../../test/support/memory-back-end.ts";
import { KeyMaterial, parseIp, parsePrefix } from "../net/mod.ts";
import { monotonicMs, soon } from "../sys/mod.ts";
import { DataPath, type PathEffect } from "./data-path.ts";
import { Slices } from "./slices.ts";

let backEnd: MemoryBackEnd;
let path: DataPath;
let slices: Slices;
/** By which queue those of queue 2 come. */
let carrier: number;
let failures: string[];

beforeEach(() => {
  carrier = 1;
  failures = [];
  backEnd = new MemoryBackEnd(() => {});
  slices = new Slices();
  path = new DataPath({
    backEnd,
    slices,
    arrivalQueue: (_, queue) => (queue === 2 ? carrier : queue),
    installed: (effect, error) => {
      if (error !== undefined) failures.push(`${effect.kind} ${effect.sa.spi}: ${error.message}`);
    },
    used: () => {},
    refused: () => {},
    failed: (_, error) => failures.push(error.message),
  });
  for (const queue of [1, 2]) {
    backEnd.up(queue);
    path.came(queue);
  }
  path.setRoutes(new Map([["r", { id: "r", prefixes: [parsePrefix("10.1.0.0/16")] }]]));
});

let keys = 0;
const saOf = (spi: number, queue: number) => {
  const keyMaterial = new KeyMaterial(new Uint8Array(20).fill(++keys));
  return { spi, queue, algorithm: "aes-128-gcm", extended: true, keyMaterial } as const;
};
const outbound = (spi: number, queue = 1): PathEffect => ({
  ...{ kind: "outbound", route: "r", sa: saOf(spi, queue), to: parseIp("203.0.113.1"), first: 1, last: 99 },
});
const inbound = (spi: number, queue = 1): PathEffect => ({
  kind: "inbound",
  route: "r",
  sa: saOf(spi, queue),
});
const use = (spi: number, queue = 1): PathEffect => ({ kind: "use", route: "r", queue, spi });
const remove = (direction: "inbound" | "outbound", spi: number, queue = 1): PathEffect => ({
  ...{ kind: "remove", direction, route: "r", queue, spi },
});

async function perform(...effects: readonly PathEffect[]): Promise<string[]> {
  path.perform(effects);
  await path.settled();
  return [...path.associations.keys()].sort();
}

test("what is known of an association goes when another is used in its place, and when it is removed", async () => {
  for (let spi = 300; spi < 340; spi++) {
    const known = await perform(inbound(spi + 1000), outbound(spi), use(spi), remove("inbound", spi + 999));
    expect(known).toEqual([`inbound 1 ${spi + 1000}`, `outbound 1 ${spi}`]);
  }
  expect(await perform(remove("outbound", 339), remove("inbound", 1339))).toEqual([]);
  expect(failures).toEqual([]);
});

test("what came by a carrier's address is removed there, whoever carries by now", async () => {
  expect(await perform(inbound(500, 2))).toEqual(["inbound 1 500"]);
  carrier = 2;
  expect(await perform(remove("inbound", 500, 2))).toEqual([]);
  for (const report of (await backEnd.report()).values()) expect(report.inbound).toEqual([]);
});

test("an operator's association that is refused is told, and those beside it are not kept from their work", async () => {
  await perform(inbound(600));
  backEnd.refusal = (order) =>
    order.kind === "outbound" && order.association.spi === 700 ? "no" : undefined;
  expect(await perform(inbound(600), outbound(700), use(700), outbound(701), use(701))).toEqual([
    "inbound 1 600",
    "outbound 1 701",
  ]);
  expect(failures).toEqual([expect.stringContaining("inbound 600: "), "outbound 700: no"]);
});

test("a queue that goes takes all that is known of it", async () => {
  await perform(inbound(800), outbound(801), use(801), inbound(802, 2));
  carrier = 2;
  await perform(inbound(803, 2));
  path.went(1);
  backEnd.down(1, "gone");
  expect([...path.associations.keys()]).toEqual(["inbound 2 803"]);
  expect(await perform(remove("inbound", 800), remove("inbound", 802, 2), remove("outbound", 801))).toEqual([
    "inbound 2 803",
  ]);
  expect(failures).toEqual([]);
});

test("an association that was agreed on comes by the path of its exchange", async () => {
  const at = (address: string, port: number) => ({ ip: parseIp(address), port });
  const effect = { kind: "inbound", route: "r", trust: "", sa: saOf(700, 1), endsMs: 9e15 } as const;
  const ways = { local: at("203.0.113.1", 4500), remote: at("198.51.100.7", 33_000) };
  await perform({ ...effect, path: ways, hard: { packets: 9, bytes: 9 } });
  expect(backEnd.orders.at(-1)).toMatchObject({
    kind: "inbound",
    association: { arrival: { from: ways.remote.ip, udp: { from: 33_000, to: 4500 } } },
  });
  expect(failures).toEqual([]);
});

test("detours of many routes give way to what comes meanwhile", async () => {
  await path.settled();
  // What was told before had its slice.
  await new Promise<void>((resolve) => void soon(resolve));
  let turns = 0;
  const at: number[] = [];
  const { detour } = backEnd;
  backEnd.detour = (...of) => {
    at.push(turns);
    // Longer than a slice, as many policies of the kernel are.
    for (const end = monotonicMs() + 20; monotonicMs() < end;);
    return detour.apply(backEnd, of);
  };
  soon(() => turns++);
  expect(await Promise.all(["r", "s"].map((route) => path.detour(2, route, 1)))).toEqual([
    undefined,
    undefined,
  ]);
  expect(at).toEqual([0, 1]);
  expect(await path.detour(3, "r", 1)).toBe("queue 3 does not run");
});
