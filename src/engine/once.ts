/** applyOnce: objects made true in a namespace that nobody watches afterwards, such as the inside of a pod. */
import type { Netns } from "../sys/mod.ts";
import { Engine } from "./engine.ts";
import type { KernelObject } from "./object.ts";

/** STATIC is the protocol of routes that an administrator set (RTPROT_STATIC): what is made once is not ours to keep. */
const STATIC = 4;

/**
 * applyOnce makes objects true and keeps nothing: links get no alias, routes have protocol `static`, so that no engine ever removes
 * them. Throws the first failure, after removing what it added.
 */
export function applyOnce(netns: Netns, objects: readonly KernelObject[]): void {
  using engine = Engine.open({ netns, mark: { protocol: STATIC } });
  engine.set("once", objects);
  const { added } = engine.apply();
  const bad = engine.status().find((status) => status.state !== "ready");
  if (bad === undefined) return;
  engine.undo(added);
  throw new Error(bad.reason ?? `Cannot make ${bad.key}`);
}
