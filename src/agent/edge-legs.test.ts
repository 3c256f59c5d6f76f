import { expect, test } from "bun:test";
import { fabricSpeaker, hostSpeaker } from "../edge/mod.ts";
import { EdgeLegs } from "./edge-legs.ts";
import type { EdgeRoutes, EdgeSpeaker } from "./edge-routes.ts";

test("a speaker is taken by the domain whose host's session it runs, and is nobody's otherwise", () => {
  using legs = new EdgeLegs({ router: "rack" } as never);
  const taken: number[] = [];
  for (const vni of [5100, 5200])
    legs.routes.set(vni, {
      setHost: () => void taken.push(vni),
      [Symbol.dispose]() {},
    } as unknown as EdgeRoutes);
  const takes = (name: string) => legs.setHost({ speaker: { router: { name } } } as unknown as EdgeSpeaker);
  expect(takes(hostSpeaker("rack", 5200))).toBe(true);
  expect(taken).toEqual([5200]);
  // The host's own, another router's, and that of another router's fabric.
  for (const name of ["services", hostSpeaker("other", 5100), fabricSpeaker("other")])
    expect(takes(name)).toBe(false);
  expect(taken).toEqual([5200]);
});
