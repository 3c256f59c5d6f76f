import { expect, test } from "bun:test";
import { PluginError } from "../cni/mod.ts";
import { isFinding, mayRemake, type Remade, remadeAt } from "./edge-chain-remaking.ts";

test("a link is made again at once, then after 5 s, and ever later up to 5 minutes", () => {
  const pauses: number[] = [];
  let remade: Remade | undefined;
  for (let nowMs = 0; pauses.length < 9; nowMs += 1_000)
    if (mayRemake(remade, nowMs)) {
      pauses.push((nowMs - (remade?.atMs ?? 0)) / 1_000);
      remade = remadeAt(remade, nowMs);
    }
  expect(pauses).toEqual([0, 5, 10, 20, 40, 80, 160, 300, 300]);
});

test("one that was well for long enough is made again at once, and begins anew", () => {
  const remade = { count: 7, atMs: 0 };
  expect(remadeAt(remade, 599_999).count).toBe(8);
  expect(remadeAt(remade, 600_000)).toEqual({ count: 1, atMs: 600_000 });
});

test("what a plugin says of the link is a finding, what it says of the call is none", () => {
  const findings = [3, 100, 999].map((code) => new PluginError("no", code));
  const others = [1, 2, 4, 5, 6, 7, 11].map((code) => new PluginError("no", code));
  expect(findings.every(isFinding)).toBe(true);
  expect([...others, new PluginError("it was ended after 60 s"), new Error("no")].some(isFinding)).toBe(
    false,
  );
});
