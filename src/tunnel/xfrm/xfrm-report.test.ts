import { expect, test } from "bun:test";
import { parseIp, parseMac } from "../../net/mod.ts";
import type { SaInfo } from "../../netlink/mod.ts";
import type { GatewayAssociation } from "../gateway/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";
import { XfrmBook } from "./xfrm-book.ts";
import { XfrmInbound } from "./xfrm-inbound.ts";
import { XfrmMarks } from "./xfrm-marks.ts";
import { XfrmOutbound } from "./xfrm-outbound.ts";
import { reportOf } from "./xfrm-report.ts";
import { XfrmRoute } from "./xfrm-route.ts";

test("a queue has carried what its associations have, those that are gone included, and of routes that are gone too", () => {
  const book = new XfrmBook();
  const marks = new XfrmMarks(3);
  const side = { mac: parseMac("02:00:00:00:00:01") };
  for (const queue of [1, 2])
    book.queues.set(queue, { private: side, public: side, linkIndex: 1, mtuBytes: 1400 });
  const parts = (name: string, queue: number) => {
    const route = book.routes.get(name) ?? new XfrmRoute(name, marks.take());
    book.routes.set(name, route);
    route.queues.add(queue);
    // Nothing is asked of the kernel here.
    return { kernel: undefined as unknown as KernelEsp, route, queue };
  };
  let spi = 1000;
  const order = (route: string): GatewayAssociation => ({
    route,
    spi: ++spi,
    algorithm: "aes-128-gcm",
    keyMaterial: new Uint8Array(20),
  });
  const counted = (packets: number) =>
    ({
      usage: { packets: BigInt(packets), bytes: BigInt(100 * packets) },
      forged: 0,
      replayed: 0,
      late: 0,
    }) as unknown as SaInfo;
  const out = (route: string, queue: number, packets: number) => {
    const to = parseIp("192.0.2.2");
    const one = new XfrmOutbound(
      { ...parts(route, queue), keyId: `${spi}` },
      { ...order(route), to, next: 1 },
    );
    one.count(counted(packets));
    return one;
  };
  const back = (route: string, queue: number, packets: number) => {
    const one = new XfrmInbound(parts(route, queue), order(route));
    one.count(counted(packets));
    return one;
  };
  book.active
    .add(out("tokyo", 1, 1))
    .add(out("osaka", 1, 20))
    .add(out("tokyo", 2, 4000));
  book.waiting.add(out("tokyo", 1, 0));
  book.retired.set(out("tokyo", 1, 300), 0);
  book.inbound
    .add(back("tokyo", 1, 5))
    .add(back("osaka", 1, 60))
    .add(back("tokyo", 2, 7000));
  book.carried.set(1, { txpackets: 50_000, txbytes: 1, rxpackets: 80_000, rxbytes: 2 });
  const report = (queue: number) =>
    reportOf(book, {
      queue,
      exchange: { received: 0, limited: 0, sent: 0 },
      statistics: { since: () => 0 },
      neighbours: [],
    });
  expect(report(1).carried).toEqual({
    ...{ txpackets: 50_321, txbytes: 32_101 },
    ...{ rxpackets: 80_065, rxbytes: 6502 },
  });
  expect(report(2).carried).toEqual({
    ...{ txpackets: 4000, txbytes: 400_000 },
    ...{ rxpackets: 7000, rxbytes: 700_000 },
  });
  expect(report(1).routes.map(({ name, txpackets, rxpackets }) => [name, txpackets, rxpackets])).toEqual([
    ["tokyo", 301, 5],
    ["osaka", 20, 60],
  ]);
});
