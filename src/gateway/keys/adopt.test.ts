import { describe, expect, test } from "bun:test";
import { keyRoute, type RouteEnds } from "../../../test/support/key-routes.ts";
import { parseEndpoint } from "../../net/mod.ts";
import { type Primitives, systemPrimitives } from "../../noise/mod.ts";
import { newChannel } from "./channel.ts";
import { adopted } from "./adopt.ts";
import { channelMs } from "./channel.ts";
import type { ChannelAround } from "./channel-state.ts";
import { KeyKeeper } from "./keeper.ts";
import type { Installed } from "./keeper-event.ts";
import type { KeyRoute } from "./key-route.ts";
import { trustName } from "./key-route.ts";

const path = { local: parseEndpoint("203.0.113.1:303"), remote: parseEndpoint("203.0.113.2:303") };
const ends: RouteEnds = { protocol: "ours", local: ["203.0.113.1:303"], remote: [["203.0.113.2:303"]] };
const now = { nowMs: 0 };

function installed(direction: "inbound" | "outbound", more: Partial<Installed> & { spi: number }): Installed {
  return { direction, route: "r", queue: 1, path, endsMs: 60_000, ...more };
}

/** A route whose first channel carries a second queue. */
function carrying(change: Partial<RouteEnds> = {}): KeyRoute {
  const route = keyRoute({ ...ends, ...change });
  return { ...route, channels: route.channels.map((channel) => ({ ...channel, queues: [1, 2] })) };
}

describe("what a keeper before has left", () => {
  test("of a queue that is carried by another goes on, and is replaced", () => {
    const keeper = new KeyKeeper();
    const left = [
      installed("outbound", { spi: 300 }),
      installed("outbound", { spi: 301, queue: 2 }),
      installed("inbound", { spi: 400 }),
    ];
    expect(keeper.step({ kind: "adopt", installed: left }, now)).toEqual([]);
    const effects = keeper.step({ kind: "configure", routes: [carrying()] }, now);
    expect(effects.map(({ kind }) => kind)).toEqual(["send"]);
    const [status] = keeper.describe(now);
    expect(status?.associations.map(({ spi, queue }) => [spi, queue])).toEqual([
      [300, 1],
      [301, 2],
      [400, 1],
    ]);
    // And ends like any other.
    const ended = keeper.step({ kind: "due" }, { nowMs: 60_000 }).filter(({ kind }) => kind === "remove");
    expect(ended).toHaveLength(3);
  });

  test("of a route that is gone, another queue, or another trust is removed", () => {
    const before = carrying({ psk: 5 });
    const trust = trustName(before.protocol);
    const left = [
      installed("outbound", { spi: 300, trust }),
      installed("inbound", { spi: 400, trust }),
      installed("outbound", { spi: 302, queue: 3 }),
      installed("inbound", { spi: 500, route: "gone" }),
      installed("outbound", { spi: 501, route: "gone" }),
    ];
    const place = (one: { direction: string; route: string; queue: number; spi: number }) =>
      [one.direction, one.route, one.queue, one.spi] as const;
    for (const [psk, gone] of [
      [5, left.slice(2)],
      [6, left],
    ] as const) {
      const keeper = new KeyKeeper();
      keeper.step({ kind: "adopt", installed: left }, now);
      const effects = keeper.step({ kind: "configure", routes: [carrying({ psk })] }, now);
      const removed = effects.flatMap((one) => (one.kind === "remove" ? [place(one)] : []));
      expect(removed).toEqual(gone.map(place));
      // Free again: the exchange that has begun holds 64.
      expect(keeper.spis).toBe(64 + (psk === 5 ? 1 : 0));
    }
  });

  test("of two for one queue, the second is removed: only one is used", () => {
    const keeper = new KeyKeeper();
    const left = [installed("outbound", { spi: 300 }), installed("outbound", { spi: 301 })];
    keeper.step({ kind: "adopt", installed: left }, now);
    const effects = keeper.step({ kind: "configure", routes: [carrying()] }, now);
    expect(effects[0]).toMatchObject({ kind: "remove", spi: 301 });
  });

  test("keeps its SPIs before any is given out, and cannot be told of too late", () => {
    let next = 5000;
    const primitives: Primitives = {
      ...systemPrimitives,
      random: (length) => {
        if (length !== 4) return systemPrimitives.random(length);
        const bytes = new Uint8Array(4);
        new DataView(bytes.buffer).setUint32(0, next++);
        return bytes;
      },
    };
    const keeper = new KeyKeeper({ primitives });
    const left = [5000, 5001, 5002].map((spi) => installed("inbound", { spi }));
    keeper.step({ kind: "adopt", installed: left }, now);
    const knock = new Uint8Array(Buffer.from("000003E90B00000000000005", "hex"));
    keeper.step({ kind: "configure", routes: [keyRoute({ ...ends, protocol: "ske5" })] }, now);
    const from = path.remote;
    keeper.step({ kind: "datagram", queue: 1, from, to: path.local, bytes: knock }, now);
    // Two machines have one each.
    expect([keeper.spis, next]).toEqual([5, 5005]);
    expect(() => keeper.step({ kind: "adopt", installed: left }, now)).toThrow("before the first configure");
  });

  test("names of trust are others for each part of it, and say nothing of secrets", () => {
    const names = [
      carrying(),
      carrying({ psk: 6 }),
      carrying({ number: 1002 }),
      carrying({ protocol: "ske5" }),
    ].map(({ protocol }) => trustName(protocol));
    expect(new Set(names).size).toBe(4);
    expect(trustName(carrying().protocol)).toBe(names[0] as string);
    for (const name of names) expect(name).toMatch(/^[0-9a-f]{32}$/);
  });
});

test("what is used, and watched by no session, is replaced at once", () => {
  const route = carrying();
  const state = adopted(newChannel({ route, nowMs: 0 }), installed("outbound", { spi: 300 }), 0);
  if (state?.associations.active === undefined) throw new Error("nothing was adopted");
  const active = { ...state.associations.active, rekeyMs: 50_000 };
  const around = { route, channel: route.channels[0], nowMs: 0 } as ChannelAround;
  const at = (associations: typeof state.associations) => channelMs({ ...state, associations }, around);
  expect(at({ ...state.associations, active })).toBe(0);
  // Vita's exchange has no sessions.
  const ske5 = carrying({ protocol: "ske5" });
  const other = { ...newChannel({ route: ske5, nowMs: 0 }), associations: { ...state.associations, active } };
  expect(channelMs(other, { ...around, route: ske5 })).toBe(50_000);
});
