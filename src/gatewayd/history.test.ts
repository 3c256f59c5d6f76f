import { expect, test } from "bun:test";
import { History, STEP_MS } from "./history.ts";

const totals = (packets: number) => ({
  rxpackets: packets,
  rxbytes: packets * 100,
  txpackets: 0,
  txbytes: 0,
  drops: 0,
});

test("rates are averages, and longer steps keep the best short one", () => {
  const history = new History();
  let packets = 0;
  for (let i = 0; i <= 30; i++) {
    history.add(i * STEP_MS, totals(packets));
    packets += i < 15 ? 20 : 200;
  }
  const nowMs = 30 * STEP_MS;
  const short = history.list("2h", nowMs, 100);
  expect(short).toHaveLength(30);
  expect(short[0]).toEqual({
    rxpackets: 10,
    rxbytes: 1000,
    txpackets: 0,
    txbytes: 0,
    drops: 0,
    most: 10,
    agoSeconds: 58,
  });
  expect(short.at(-1)).toMatchObject({ rxpackets: 100, agoSeconds: 0 });
  const long = history.list("24h", nowMs, 100);
  expect(long.map(({ rxpackets, most }) => [rxpackets, most])).toEqual([
    [10, 10],
    [100, 100],
  ]);
  expect(history.list("2h", nowMs, 2)).toHaveLength(2);
  expect(history.list("7d", nowMs, 2)).toEqual([]);
});

test("totals that begin anew count as nothing, and the ring forgets the oldest", () => {
  const history = new History();
  for (let i = 0; i < 5000; i++) history.add(i * STEP_MS, totals(i === 100 ? 0 : i * 2));
  const list = history.list("2h", 5000 * STEP_MS, 10_000);
  expect(list).toHaveLength(3600);
  expect(list.every(({ rxpackets }) => rxpackets === 1)).toBe(true);
});
