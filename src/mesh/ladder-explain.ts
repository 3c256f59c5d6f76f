/** The ladder for people: where the pair is, and what became of each candidate. */
import * as draftOf from "./ladder-draft.ts";
import type { Attempt, LadderExplanation, LadderState } from "./ladder-state.ts";
import * as timing from "./ladder-timing.ts";
import { isTooSmall, leastMtu } from "./path-mtu.ts";
import { ladderMtu } from "./ladder.ts";

type Told = LadderExplanation["candidates"][number];

const seconds = (ms: number) => `${Math.max(1, Math.round(ms / 1000))} s`;

/** explainLadder says where the pair is, and why not on a better rung. */
export function explainLadder(state: LadderState, nowMs: number): LadderExplanation {
  const { path } = state;
  const attempt = draftOf.inUse(state);
  const mtuBytes = ladderMtu(state)?.pathBytes;
  const rttMs = path.kind === "relay" ? path.relay.rttMs : attempt?.rttMs;
  return {
    rung: path.kind === "none" ? "none" : path.kind === "relay" ? "relay" : (attempt?.rung ?? "punched"),
    ...(path.kind === "none"
      ? {}
      : { endpoint: path.kind === "relay" ? path.relay.endpoint : path.endpoint }),
    ...(path.kind === "relay" ? { hub: path.relay.hub } : {}),
    ...(rttMs === undefined ? {} : { rttMs }),
    ...(mtuBytes === undefined ? {} : { mtuBytes }),
    sinceMs: path.sinceMs,
    why: why(state, nowMs),
    candidates: state.attempts.map((one) => told(state, one, nowMs)),
  };
}

function why(state: LadderState, nowMs: number): string {
  const { path, mode, round, attempts } = state;
  if (path.kind === "none") return "no hub is known, and nothing of it answered yet";
  if (path.kind === "relay" && state.handshake !== undefined)
    return `waits for a handshake through ${path.relay.hub}`;
  if (mode === "hubs") return "the mesh's topology is hubs: no pair is direct";
  if (
    path.kind === "direct" &&
    (state.traffic.endpoint === undefined || draftOf.inUse(state)?.pongMs !== undefined)
  )
    return round.kind === "off" ? "no candidate is better" : "better candidates are tried now and then";
  if (path.kind === "direct") return "WireGuard went there by itself; not proven yet";
  if (!draftOf.probes(state, nowMs))
    return "nothing is said: the pair rests at the hub until there is traffic";
  if (attempts.length === 0) return "no endpoint of it is known; it may still call";
  if (state.nominee !== undefined) return "asks it to go direct";
  if (round.kind === "trying") return `tries ${attempts.length} candidates`;
  const rest =
    round.kind === "resting"
      ? `; tried ${round.number} times, again in ${seconds(round.untilMs - nowMs)}`
      : "";
  return `no candidate works${rest}`;
}

function told(state: LadderState, attempt: Attempt, nowMs: number): Told {
  const { endpoint, rung, source, rttMs } = attempt;
  const [kind, reason] = judged(state, attempt, nowMs);
  return { endpoint, rung, source, state: kind, ...(rttMs === undefined ? {} : { rttMs }), why: reason };
}

function judged(state: LadderState, attempt: Attempt, nowMs: number): [Told["state"], string] {
  const { pongMs, heardMs, sent, rounds, losses, lostWhy = "" } = attempt;
  if (draftOf.isInUse(state, attempt.endpoint)) {
    if (isTooSmall(state.mtu)) return ["used", `carries less than ${leastMtu(state.mtu.family)} bytes`];
    return ["used", pongMs === undefined ? "not proven yet" : "answers"];
  }
  const untilMs = draftOf.settledMs(attempt);
  if (untilMs > nowMs)
    return [
      "failed",
      `${lostWhy}; lost ${losses === 1 ? "once" : `${losses} times`}, not used again for ${seconds(untilMs - nowMs)}`,
    ];
  if (
    attempt.refusedMs !== undefined &&
    nowMs - attempt.refusedMs < timing.QUIET_AFTER_MS &&
    pongMs !== undefined
  )
    return ["failed", "it answers, and does not want this path now"];
  if (state.nominee !== undefined && pongMs !== undefined && draftOf.isProven(attempt, nowMs))
    return ["works", "answers"];
  const tried = state.round.kind === "trying" && attempt.nextMs !== undefined;
  if (pongMs !== undefined)
    return ["works", `answered ${seconds(nowMs - pongMs)} ago; what is used is not worse`];
  if (tried) return ["probing", `${sent} pings sent`];
  if (losses > 0 && lostWhy !== "") return ["failed", lostWhy];
  if (sent === 0) return ["waiting", "not tried yet"];
  if (heardMs !== undefined) return ["failed", "one way: its pings come from here, ours are not answered"];
  return [
    "failed",
    `never answered: ${sent} pings in ${Math.max(1, rounds)} ${rounds > 1 ? "rounds" : "round"}`,
  ];
}
