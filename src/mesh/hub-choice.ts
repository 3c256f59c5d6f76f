/**
 * Which hub relays, as this node finds it: each hub's health and distance by pings of its own (probe.ts), often while traffic is
 * relayed, seldom at rest. For a pair both ends' distances count, so both find the same hub. No clock, no socket: times come with events.
 *
 * ```
 *   unknown ──pong──▶ up ──5 pings unanswered──▶ down ──pong──▶ up, and for a while behind hubs that were steady
 * ```
 */
import { endpointEqual } from "../net/mod.ts";
import { chooseHome, publish } from "./hub-ranking.ts";
import {
  type HubChoice,
  type HubChoiceEffect,
  type HubChoiceEvent,
  type HubChoiceStep,
  type HubHealth,
  type KnownHub,
  MAX_HUBS,
  type UnansweredPing,
} from "./hub-state.ts";
import { leastRtt, WINDOW_MS, withRtt } from "./least-rtt.ts";
import { asksMtu, pathMtuDueMs, startPathMtu, stepPathMtu } from "./path-mtu.ts";
import { LEAST_PROBE_BYTES } from "./probe.ts";
import { waitedFor } from "./standstill.ts";

/** RELAYING_PING_MS between pings to a hub through which traffic is relayed now. */
export const RELAYING_PING_MS = 200;
/** HOME_PING_MS between pings to the hub that serves this node, at rest. */
export const HOME_PING_MS = 15_000;
/** OTHER_PING_MS between pings to the others. */
export const OTHER_PING_MS = 60_000;
/** BESIDE_PING_MS likewise while another hub relays: only what was measured at the same time is compared. */
export const BESIDE_PING_MS = 2_000;
/** After an unanswered ping the next ones follow at once, to tell a lost packet from a lost hub. */
const DOUBT_PING_MS = 40;
const DOUBT_AT_REST_PING_MS = 250;
const UNANSWERED_IS_DOWN = 5;
/** A hub that does not answer, and relays, is no dead one: its agent restarts or changes its key. So long that is waited for. */
const HEARING_PATIENCE_MS = 8_000;
/**
 * What it relays was heard lately; more than the device takes to tell of it on a machine that has much else to do. What came before its death is found at the
 * first look, when a ping is overdue; three more follow, and the last of them is overdue 240 ms later at the soonest (LEAST_PATIENCE_MS and
 * 3 × DOUBT_PING_MS): less than that, so that it does not put off the verdict.
 */
const HEARD_MS = 230;
const MAX_UNANSWERED = 16;
/** A hub that is down is asked again after this time, and after a minute less often. */
const DOWN_PING_MS = 2_000;
const DOWN_RELAYING_PING_MS = 200;
const LONG_DOWN_PING_MS = 15_000;
const LONG_DOWN_MS = 60_000;
/** Patience with an answer. */
const LEAST_PATIENCE_MS = 120;
const MOST_PATIENCE_MS = 600;
/** What is published stays while it is right but for this share. */
const SAID_SHARE = 0.25;
/** A hub that was up for so long is not held to have been down. */
const FORGIVE_MS = 600_000;
/** Of a hub that nobody has measured. */
const UNKNOWN_RTT_MS = 500;

/** startHubChoice begins with no hubs. `seed` is random: transactions of a former life are not ours. */
export function startHubChoice(options: { readonly seed: bigint }): HubChoice {
  return { hubs: [], relaying: [], nextTransaction: BigInt.asUintN(63, options.seed), published: [] };
}

/** stepHubChoice takes one event. */
export function stepHubChoice(state: HubChoice, event: HubChoiceEvent): HubChoiceStep {
  const { nowMs } = event;
  switch (event.kind) {
    case "hubs":
      return turn(withHubs(state, event.hubs, nowMs), nowMs, { before: state });
    case "relaying":
      return turn(soonerWhereRelaying(state, event.hubs, nowMs), nowMs, { before: state });
    case "heard":
      return [{ ...state, hubs: state.hubs.map((hub) => withHeard(hub, event.hubs, nowMs)) }, []];
    case "stood":
      return [{ ...state, hubs: state.hubs.map((hub) => withStood(hub, event)) }, []];
    case "network":
      return turn({ ...state, hubs: state.hubs.map((hub) => ({ ...hub, nextMs: nowMs })) }, nowMs, {
        before: state,
      });
    case "pong":
      return onPong(state, event);
    case "due":
      return turn(state, nowMs, { before: state });
  }
}

function withHubs(state: HubChoice, hubs: readonly KnownHub[], nowMs: number): HubChoice {
  return {
    ...state,
    hubs: hubs.slice(0, MAX_HUBS).map((hub): HubHealth => {
      const known = state.hubs.find(({ name }) => name === hub.name);
      if (known !== undefined && endpointEqual(known.endpoint, hub.endpoint)) return known;
      const mtu = startPathMtu(hub.endpoint.ip.family, hub.linkMtuBytes);
      return { ...hub, state: "unknown", sinceMs: nowMs, unanswered: [], nextMs: nowMs, downs: 0, mtu };
    }),
  };
}

function soonerWhereRelaying(state: HubChoice, relaying: readonly string[], nowMs: number): HubChoice {
  // Where a pair has just fallen back is to be known at once: whether the hub lives, and where it sees us.
  const soonMs = ({ name }: HubHealth) => (state.relaying.includes(name) ? nowMs + RELAYING_PING_MS : nowMs);
  const besideMs = relaying.length === 0 ? Number.POSITIVE_INFINITY : nowMs + BESIDE_PING_MS;
  const hubs = state.hubs.map((hub) => {
    const mostMs = relaying.includes(hub.name) ? soonMs(hub) : besideMs;
    return { ...hub, nextMs: Math.min(hub.nextMs, mostMs) };
  });
  const { relayingMs: beganMs = nowMs, ...rest } = state;
  return { ...rest, ...(relaying.length === 0 ? {} : { relayingMs: beganMs }), relaying, hubs };
}

function withHeard(hub: HubHealth, heard: readonly string[], nowMs: number): HubHealth {
  return heard.includes(hub.name) ? { ...hub, heardMs: nowMs } : hub;
}

function withStood(hub: HubHealth, event: HubChoiceEvent & { readonly kind: "stood" }): HubHealth {
  return hub.unanswered.length === 0 ? hub : { ...hub, unanswered: waitedFor(hub.unanswered, event) };
}

/** doubtsHub tells whether a hub that relays owes an answer: the next `due` is to know whether something comes through it. */
export function doubtsHub({ hubs, relaying }: HubChoice, nowMs: number): boolean {
  return hubs.some((hub) => hub.state === "up" && relaying.includes(hub.name) && overdue(hub, nowMs) > 0);
}

function onPong(state: HubChoice, event: HubChoiceEvent & { readonly kind: "pong" }): HubChoiceStep {
  const { nowMs, transaction, seen, instance } = event;
  const hub = state.hubs.find(({ name }) => name === event.hub);
  if (hub === undefined) return [state, []];
  const padded = asksMtu(hub.mtu, transaction);
  const ping = hub.unanswered.find((one) => one.transaction === transaction);
  // An answer to nothing of ours, or the second one.
  if (ping === undefined && !padded) return [state, []];
  const [mtu] = stepPathMtu(hub.mtu, { kind: "pong", nowMs, transaction, sizeBytes: event.sizeBytes });
  const took = ping === undefined ? undefined : nowMs - ping.sentMs;
  const rttMs = took === undefined ? hub.rttMs : smooth(hub.rttMs, took);
  const up = hub.state === "up" ? {} : { state: "up" as const, sinceMs: nowMs };
  const next: HubHealth = {
    ...hub,
    ...up,
    mtu,
    seen,
    pongMs: nowMs,
    unanswered: hub.unanswered.filter(({ sentMs }) => ping !== undefined && sentMs > ping.sentMs),
    ...(rttMs === undefined ? {} : { rttMs }),
    ...(took === undefined ? {} : { least: withRtt(hub.least, took, nowMs) }),
    ...(instance === undefined ? {} : { instance }),
    downs: hub.state === "up" && nowMs - hub.sinceMs > FORGIVE_MS ? 0 : hub.downs,
  };
  const moved = hub.seen !== undefined && !endpointEqual(hub.seen, seen);
  const [after, effects] = turn(put(state, next), nowMs, { before: state });
  return [after, moved ? [{ kind: "moved", hub: hub.name, seen }, ...effects] : effects];
}

function smooth(before: number | undefined, tookMs: number): number {
  return before === undefined ? tookMs : before + (tookMs - before) / 8;
}

/** How far it is, as it is published. At rest a window holds one answer at most, whose least is nothing but that one; where some relay, a whole one is waited for. */
function withSaid(hub: HubHealth, { relayingMs }: HubChoice, nowMs: number): HubHealth {
  const { rttMs, least, saidMs } = hub;
  if (rttMs === undefined || least === undefined) return hub;
  if (relayingMs === undefined) return { ...hub, saidMs: said(saidMs, rttMs) };
  if (saidMs !== undefined && nowMs - relayingMs < WINDOW_MS) return hub;
  return { ...hub, saidMs: said(saidMs, leastRtt(least, nowMs)) };
}

/** What is published stays while it is about right. */
function said(before: number | undefined, rttMs: number): number {
  const rounded = Math.max(1, Math.round(rttMs));
  if (before === undefined) return rounded;
  return Math.abs(before - rttMs) > Math.max(5, before * SAID_SHARE) ? rounded : before;
}

function put(state: HubChoice, hub: HubHealth): HubChoice {
  return { ...state, hubs: state.hubs.map((one) => (one.name === hub.name ? hub : one)) };
}

/** Sends what is due, judges what was not answered, and says what changed since `before`. */
function turn(state: HubChoice, nowMs: number, options: { readonly before: HubChoice }): HubChoiceStep {
  const effects: HubChoiceEffect[] = [];
  let { nextTransaction } = state;
  const hubs = state.hubs.map((hub) => {
    let next = judge(withSaid(hub, state, nowMs), nowMs);
    const { name, endpoint: to } = hub;
    const relaying = state.relaying.includes(name);
    const last = next.unanswered.at(-1);
    if (last !== undefined && doubted(next, nowMs))
      next = { ...next, nextMs: Math.min(next.nextMs, last.sentMs + doubtMs(relaying)) };
    if (next.nextMs <= nowMs) {
      const transaction = nextTransaction++;
      effects.push({ kind: "ping", hub: name, to, transaction, sizeBytes: LEAST_PROBE_BYTES });
      const unanswered = [...next.unanswered, { transaction, sentMs: nowMs }].slice(-MAX_UNANSWERED);
      next = { ...next, unanswered };
      next = { ...next, nextMs: nowMs + interval(next, state, nowMs) };
    }
    if (next.state === "up") {
      const due = { kind: "due" as const, nowMs, transaction: nextTransaction, active: relaying };
      const [mtu, ask] = stepPathMtu(next.mtu, {
        ...due,
        rttMs: next.rttMs ?? UNKNOWN_RTT_MS,
        pongMs: next.pongMs ?? 0,
      });
      next = { ...next, mtu };
      if (ask !== undefined)
        effects.push({ kind: "ping", hub: name, to, transaction: nextTransaction++, ...ask });
    }
    return next;
  });
  const next = publish(chooseHome({ ...state, hubs, nextTransaction }, nowMs));
  return [next, summary(next) === summary(options.before) ? effects : [...effects, { kind: "changed" }]];
}

function patienceMs(hub: HubHealth): number {
  const wanted = hub.rttMs === undefined ? MOST_PATIENCE_MS : 1.5 * hub.rttMs + 50;
  return Math.max(LEAST_PATIENCE_MS, Math.min(MOST_PATIENCE_MS, wanted));
}

/** Pings that should have been answered by now. */
function overdue(hub: HubHealth, nowMs: number): number {
  return hub.unanswered.filter((ping) => nowMs >= overdueMs(hub, ping)).length;
}

/** When a ping should have been answered: only time in which this process ran counts. */
function overdueMs(hub: HubHealth, { sentMs, stoodMs = 0 }: UnansweredPing): number {
  return sentMs + patienceMs(hub) + stoodMs;
}

function doubtMs(relaying: boolean): number {
  return relaying ? DOUBT_PING_MS : DOUBT_AT_REST_PING_MS;
}

/** Whether more pings at once can tell: as many as decide are on their way at most. */
function doubted(hub: HubHealth, nowMs: number): boolean {
  return hub.state === "up" && hub.unanswered.length < UNANSWERED_IS_DOWN && overdue(hub, nowMs) > 0;
}

function judge(hub: HubHealth, nowMs: number): HubHealth {
  if (hub.state === "down" || overdue(hub, nowMs) < UNANSWERED_IS_DOWN || relays(hub, nowMs)) return hub;
  const downs = hub.downs + (hub.state === "up" ? 1 : 0);
  return { ...hub, state: "down", sinceMs: nowMs, downs, unanswered: [], nextMs: nowMs };
}

function relays({ heardMs, pongMs }: HubHealth, nowMs: number): boolean {
  if (heardMs === undefined || pongMs === undefined) return false;
  return nowMs - heardMs < HEARD_MS && nowMs - pongMs < HEARING_PATIENCE_MS;
}

function interval(hub: HubHealth, { relaying: all, home }: HubChoice, nowMs: number): number {
  const relaying = all.includes(hub.name);
  if (hub.state === "down") {
    if (nowMs - hub.sinceMs >= LONG_DOWN_MS) return LONG_DOWN_PING_MS;
    return relaying ? DOWN_RELAYING_PING_MS : DOWN_PING_MS;
  }
  if (hub.state === "unknown") return RELAYING_PING_MS;
  if (doubted(hub, nowMs)) return doubtMs(relaying);
  if (relaying) return RELAYING_PING_MS;
  if (all.length > 0) return BESIDE_PING_MS;
  return home === hub.name ? HOME_PING_MS : OTHER_PING_MS;
}

/** hubChoiceDueMs returns when to step `due`. */
export function hubChoiceDueMs(state: HubChoice, nowMs: number): number | undefined {
  let due = Number.POSITIVE_INFINITY;
  for (const hub of state.hubs) {
    due = Math.min(due, hub.nextMs);
    // When the oldest ping is overdue, the next follow sooner.
    const oldest = hub.unanswered.find((ping) => nowMs < overdueMs(hub, ping));
    if (oldest !== undefined) due = Math.min(due, overdueMs(hub, oldest));
    if (hub.state !== "up") continue;
    const active = state.relaying.includes(hub.name);
    const rttMs = hub.rttMs ?? UNKNOWN_RTT_MS;
    due = Math.min(due, pathMtuDueMs(hub.mtu, { nowMs, rttMs, active, pongMs: hub.pongMs ?? 0 }) ?? due);
  }
  return Number.isFinite(due) ? Math.max(due, nowMs) : undefined;
}

function summary(state: HubChoice): string {
  const hubs = state.hubs.map(({ name, endpoint, state: health, saidMs, instance, mtu }) =>
    [
      name,
      endpoint.ip.value,
      endpoint.port,
      health,
      saidMs,
      instance,
      mtu.foundMs === undefined ? "" : mtu.goodBytes,
    ].join(),
  );
  return `${state.home ?? ""};${hubs.join(";")}`;
}
