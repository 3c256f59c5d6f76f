/**
 * engine: makes the kernel match the desired state, and keeps it so. Read, plan, apply, prune by mark, status with retry.
 *
 * What should exist is the features' affair; the engine only knows how each kind of kernel object is compared, made, changed and
 * removed: one file per kind, listed in kinds.ts. It never touches what does not carry our mark.
 *
 * @example
 * ```ts
 * using engine = Engine.open();
 * engine.set("pods", [{ kind: "link", name: "cw-pods", type: "bridge" }]);
 * formatPlan(engine.plan()); // "ip link add cw-pods type bridge\nip link set cw-pods alias causeway up\n"
 * engine.apply();
 * ```
 */
export { type ApplyOptions, Engine, type EngineOptions, FOREIGN_MS, ROUND_MS } from "./engine.ts";
export type { ScopeChange } from "./desired.ts";
export { sameValue } from "./equal.ts";
export type { Action, Mark } from "./kind.ts";
export * from "./object.ts";
export { applyOnce } from "./once.ts";
export { formatPlan, type Plan, type Step } from "./plan.ts";
export type { ApplyResult } from "./reconcile.ts";
export type { ObjectStatus } from "./status.ts";
export { weather } from "./weather.ts";
