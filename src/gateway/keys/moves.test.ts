/** What becomes of associations when addresses change, limits are reached and exchanges fail. */
import { describe, expect, test } from "bun:test";
import { joined } from "../../../test/support/key-pair.ts";
import { keyRoute, keyRoutes, type RouteEnds } from "../../../test/support/key-routes.ts";
import { Ske5End } from "../../../test/support/ske5-ends.ts";
import { decodeDatagram, encodeDatagram } from "../../exchange/ske5/mod.ts";
import { formatEndpoint, parseEndpoint } from "../../net/mod.ts";
import { KeyKeeper } from "./keeper.ts";
import type { KeeperEffect, Installed } from "./keeper-event.ts";

const base: Omit<RouteEnds, "protocol"> = { local: ["203.0.113.1:303"], remote: [["203.0.113.2:303"]] };
const endpoints = (effects: readonly KeeperEffect[]) =>
  effects.flatMap((one) =>
    one.kind === "endpoint" ? [`${formatEndpoint(one.path.local)} ${formatEndpoint(one.path.remote)}`] : [],
  );

describe("another address", () => {
  const changes: readonly (readonly ["ske5" | "ours", Partial<RouteEnds>, string | undefined])[] = [
    ["ske5", { remote: [["203.0.113.7:303"]] }, "203.0.113.1:303 203.0.113.7:303"],
    ["ske5", { remote: [["203.0.113.7:303", "203.0.113.2:303"]] }, undefined],
    [
      "ske5",
      { remote: [["203.0.113.2:500"]], local: ["203.0.113.1:500"] },
      "203.0.113.1:500 203.0.113.2:500",
    ],
    ["ske5", { local: ["203.0.113.8:303"] }, "203.0.113.8:303 203.0.113.2:303"],
    ["ours", { local: ["203.0.113.8:303"] }, "203.0.113.8:303 203.0.113.2:303"],
    // Our own exchange moves when the peer has spoken from there.
    ["ours", { remote: [["203.0.113.7:303"]] }, undefined],
  ];
  for (const [protocol, change, expected] of changes)
    test(`${protocol}, ${JSON.stringify(change)}: what is in use goes ${expected ?? "as before"}`, () => {
      const pair = joined({ protocol });
      const route = keyRoute({ ...base, protocol, ...change });
      const effects = pair.keepers[0].step({ kind: "configure", routes: [route] }, pair);
      expect(endpoints(effects)).toEqual(expected === undefined ? [] : [expected]);
    });
});

describe("limits", () => {
  test("of queues that share an SPI are told apart", () => {
    const keeper = new KeyKeeper();
    const path = { local: parseEndpoint("203.0.113.1:303"), remote: parseEndpoint("203.0.113.2:303") };
    const left = [1, 2].map((queue): Installed => ({
      direction: "outbound",
      route: "r",
      queue,
      spi: 300,
      path,
      endsMs: 60_000,
    }));
    const route = keyRoute({
      protocol: "ske5",
      local: ["203.0.113.1:303", "203.0.113.3:303"],
      remote: [["203.0.113.2:303"], ["203.0.113.4:303"]],
    });
    keeper.step({ kind: "adopt", installed: left }, { nowMs: 0 });
    keeper.step({ kind: "configure", routes: [route] }, { nowMs: 0 });
    const limit = { kind: "limit", route: "r", spi: 300, direction: "outbound", limit: "hard" } as const;
    expect(keeper.step({ ...limit, queue: 2 }, { nowMs: 1 })).toEqual([
      { kind: "remove", direction: "outbound", route: "r", queue: 2, spi: 300 },
    ]);
    expect(keeper.step({ ...limit, queue: 2 }, { nowMs: 1 })).toEqual([]);
    expect(keeper.describe({ nowMs: 1 }).map(({ associations }) => associations.length)).toEqual([1, 0]);
  });
});

describe("exchanges that fail", () => {
  test("ske5: a peer that gives an SPI which cannot be used is not called again and again", () => {
    const keeper = new KeyKeeper();
    const peer = new Ske5End(["203.0.113.2", "203.0.113.1"], { psk: 5, spi: 1 });
    const [route] = keyRoutes({ protocol: "ske5" });
    const [to, from] = [parseEndpoint("203.0.113.1:303"), parseEndpoint("203.0.113.2:303")];
    let nowMs = 0;
    const perform = (effects: readonly KeeperEffect[]): void => {
      for (const effect of effects) {
        const decoded = effect.kind === "send" ? decodeDatagram(effect.bytes) : undefined;
        if (decoded === undefined) continue;
        for (const answer of peer.step({ kind: "message", message: decoded.message }))
          if (answer.kind === "send") {
            const message = decodeDatagram(answer.datagram)?.message;
            if (message === undefined) throw new Error("the peer sent what is no message");
            const bytes = encodeDatagram({ routeSpi: 1001, message });
            perform(keeper.step({ kind: "datagram", queue: 1, from, to, bytes }, { nowMs }));
          }
      }
    };
    perform(keeper.step({ kind: "configure", routes: [route] }, { nowMs }));
    // Each exchange of the peer's has an SPI of its own: 1, 2, and so on.
    for (let n = 0; n < 100 && nowMs < 60_000; n++) {
      nowMs = Math.max(nowMs, keeper.nextMs ?? 60_000);
      perform(keeper.step({ kind: "due" }, { nowMs }));
    }
    expect(nowMs).toBeGreaterThanOrEqual(60_000);
    expect(keeper.counters.get("parameter-errors")).toBeGreaterThan(10);
    expect(keeper.describe({ nowMs })[0]?.reason).toContain("below 256");
  });

  test("ours: a session that is alive does not make them fail faster, and is up", () => {
    const pair = joined({ protocol: "ours", lifetimeMs: 120_000 });
    pair.onDatagram = (bytes) => bytes[4] !== 21;
    const begun = () => pair.keepers[0].counters.get("negotiations-initiated") ?? 0;
    const gaps: number[] = [];
    for (let [count, beganMs] = [begun(), Number.NaN]; pair.nowMs < 112_000;) {
      pair.pass(50);
      if (begun() === count) continue;
      gaps.push(pair.nowMs - beganMs);
      [count, beganMs] = [begun(), pair.nowMs];
    }
    // Each takes 2 s. The second follows the first at once, and the others come after pauses of half a second to two.
    expect(gaps.length).toBeGreaterThan(6);
    expect(gaps[1]).toBeLessThan(2200);
    expect(Math.min(...gaps.slice(2))).toBeGreaterThan(2400);
    expect(Math.min(...gaps.slice(3))).toBeGreaterThan(2900);
    expect(pair.keepers[0].describe(pair)[0]?.up).toBe(true);
    expect(pair.seen[0].filter((one) => one.kind === "news" && one.news.kind === "down")).toEqual([]);
  });
});
