/**
 * What a keeper of keys did is done again from a record of its events, with random numbers of the same seed: every effect, datagram and key is the
 * same. Such a record holds keys, so only tests make one.
 */
import { expect, test } from "bun:test";
import { type KeeperEffect, type KeeperEvent, KeyKeeper } from "../../src/gateway/keys/mod.ts";
import { systemPrimitives } from "../../src/noise/mod.ts";
import { keyRoutes } from "../support/key-routes.ts";
import { newSeed, Random } from "../support/random.ts";

const seed = newSeed();

function keeperOf(own: number): KeyKeeper {
  const random = new Random(own);
  return new KeyKeeper({ primitives: { ...systemPrimitives, random: (length) => random.bytes(length) } });
}

/** An effect as text, with what it would not show of itself; installing wipes, so this comes first. */
function written(effect: KeeperEffect): string {
  const key = "sa" in effect ? Buffer.from(effect.sa.keyMaterial.reveal()).toString("hex") : "";
  const plain = JSON.stringify(effect, (_, value: unknown) => {
    if (typeof value === "bigint") return String(value);
    return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
  });
  return `${plain} ${key}`;
}

interface Line {
  readonly atMs: number;
  readonly event: KeeperEvent;
  readonly effects: readonly string[];
}

/** Two keepers in conversation for a while, some of whose datagrams are lost; the record of the first. */
function record(protocol: "ske5" | "ours"): readonly Line[] {
  const random = new Random(seed);
  const keepers = [keeperOf(seed + 1), keeperOf(seed + 2)] as const;
  const lines: Line[] = [];
  let nowMs = 0;
  const step = (side: 0 | 1, event: KeeperEvent): void => {
    const effects = keepers[side].step(event, { nowMs });
    if (side === 0) lines.push({ atMs: nowMs, event, effects: effects.map(written) });
    for (const effect of effects) {
      if (effect.kind !== "send" || random.chance(0.1)) continue;
      const { queue, from, to, bytes } = effect;
      step(side === 0 ? 1 : 0, { kind: "datagram", queue, from, to, bytes: bytes.slice() });
    }
  };
  const routes = keyRoutes({ protocol });
  for (const side of [1, 0] as const) step(side, { kind: "configure", routes: [routes[side]] });
  while (nowMs < 100_000) {
    const [a = Infinity, b = Infinity] = keepers.map(({ nextMs }) => nextMs);
    nowMs = Math.max(nowMs, Math.min(a, b));
    step(a <= b ? 0 : 1, { kind: "due" });
  }
  step(0, { kind: "close" });
  return lines;
}

for (const protocol of ["ske5", "ours"] as const)
  test(`${protocol}: the same events lead to the same effects (seed ${seed})`, () => {
    const lines = record(protocol);
    expect(lines.length).toBeGreaterThan(40);
    using keeper = keeperOf(seed + 1);
    for (const { atMs, event, effects } of lines)
      expect(keeper.step(event, { nowMs: atMs }).map(written)).toEqual([...effects]);
  });
