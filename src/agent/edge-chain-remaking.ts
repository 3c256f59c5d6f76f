/**
 * When a link that CNI plugins have made is made again: what has gone wrong with it is told at once, and whoever spoils it again and again costs a
 * call of plugins ever later.
 */
import { PluginError } from "../cni/mod.ts";

/** After the first time, which is at once; doubled by each. */
const FIRST_MS = 5_000;
const MOST_MS = 300_000;

/** A link that was well for so long begins anew. */
const CALM_MS = 2 * MOST_MS;

/** Codes of errors in the specification's section "Error": the container is not known; from here on a plugin's own. */
const UNKNOWN_CONTAINER = 3;
const OWN = 100;

/** Remade is how often a link was made again, and when last, by the monotonic clock. */
export interface Remade {
  readonly count: number;
  readonly atMs: number;
}

/** mayRemake tells whether a link may be made again now. */
export function mayRemake(remade: Remade | undefined, nowMs: number): boolean {
  return remade === undefined || nowMs >= remade.atMs + Math.min(FIRST_MS * 2 ** (remade.count - 1), MOST_MS);
}

/** remadeAt returns what is known when it was made again. */
export function remadeAt(remade: Remade | undefined, nowMs: number): Remade {
  const isCalm = remade === undefined || nowMs >= remade.atMs + CALM_MS;
  return { count: isCalm ? 1 : remade.count + 1, atMs: nowMs };
}

/**
 * isFinding tells whether what CHECK was refused with is about the link. All else is about the call, and making the link again would be refused
 * too: a plugin that is not there or does not end, a configuration that it does not take (1 to 7), a server that is away (11, "try again later").
 */
export function isFinding(error: unknown): boolean {
  if (!(error instanceof PluginError) || error.code === undefined) return false;
  return error.code === UNKNOWN_CONTAINER || error.code >= OWN;
}
