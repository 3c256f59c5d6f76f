/**
 * The life of a channel's associations (RFC 4301, section 4.4.2.1), as pure steps: make before break.
 *
 * ```
 *  agreed ─▶ inbound: installed at once ───────────────────────────────▶ ends after its lifetime, or as the oldest of more than 4
 *         └▶ outbound: waits ── peer surely receives ──▶ used ── next one is used, lifetime, hard limit ──▶ ended
 *                                                         └── half of the lifetime, soft limit: the next is agreed on
 * ```
 * "Surely receives": it has shown its keys (our own exchange), or a time has passed (vita-ske). When there is no other one, at once.
 */
import type { AgreedPair } from "../../exchange/mod.ts";
import { type Path, pathEqual } from "../../exchange/ours/mod.ts";
import type { KeyLifetime } from "./key-route.ts";
import type { KeeperCounter, KeeperEffect, Use } from "./keeper-event.ts";

/** MOST_INBOUND sets of inbound associations are kept, as in Vita. */
export const MOST_INBOUND = 4;

/** DEFAULT_USE: 2^36 blocks of AES under one key leave an attacker a chance of 2^-57 (RFC 8446, section 5.5, by the same formula): 1 TiB. */
export const DEFAULT_USE: Use = { packets: 2 ** 36, bytes: 2 ** 40 };

/** Held is an association whose key the data path has. */
export interface Held {
  readonly spi: number;
  readonly queue: number;
}

/** OutboundSet is what one exchange led to, as many associations as there are queues. */
export interface OutboundSet {
  readonly session: number;
  readonly held: readonly Held[];
  readonly path: Path;
  readonly bornMs: number;
  readonly rekeyMs: number;
  readonly endsMs: number;
  /** Infinity until the peer has shown its keys. */
  readonly useMs: number;
}

/** InboundSet likewise. */
export interface InboundSet {
  readonly session: number;
  readonly held: readonly Held[];
  readonly bornMs: number;
  readonly endsMs: number;
  /** Packets came under it. */
  readonly heard?: true;
}

/** Associations of a channel; oldest first. */
export interface Associations {
  readonly active?: OutboundSet;
  readonly waiting: readonly OutboundSet[];
  readonly inbound: readonly InboundSet[];
}

/** NO_ASSOCIATIONS is where a channel begins. */
export const NO_ASSOCIATIONS: Associations = { waiting: [], inbound: [] };

/** AssociationStep is what a step returns. */
export type AssociationStep = readonly [Associations, readonly AssociationEffect[]];
/** AssociationEffect is asked of the data path, or counted. */
export type AssociationEffect =
  | Extract<KeeperEffect, { readonly kind: "inbound" | "outbound" | "use" | "remove" | "endpoint" }>
  | { readonly kind: "count"; readonly leaf: KeeperCounter };

/** NewPair is the outcome of an exchange. */
export interface NewPair {
  readonly route: string;
  readonly trust: string;
  readonly session: number;
  readonly pair: AgreedPair;
  readonly path: Path;
  readonly nowMs: number;
  readonly lifetime: KeyLifetime;
  /** 0 to 1: rekeying is spread, so that ends and routes do not all do it at once. */
  readonly chance: number;
  readonly role: "initiator" | "responder";
  /** Until then the peer may not be able to receive; Infinity: until `usable`. */
  readonly useMs: number;
  /** How much longer we receive: the peer may have begun to send so much later. */
  readonly graceMs: number;
}

const removed = (
  route: string,
  direction: "inbound" | "outbound",
  sets: readonly { readonly held: readonly Held[] }[],
): AssociationEffect[] =>
  sets.flatMap(({ held }) =>
    held.map(({ spi, queue }) => ({ kind: "remove", direction, route, queue, spi }) as const),
  );

/** limitsOf returns what an association may carry: at the soft limit the next is agreed on. */
function limitsOf({ packets = DEFAULT_USE.packets, bytes = DEFAULT_USE.bytes }: KeyLifetime): {
  soft: Use;
  hard: Use;
} {
  return {
    soft: { packets: Math.ceil(packets / 2), bytes: Math.ceil(bytes / 2) },
    hard: { packets, bytes },
  };
}

/** install takes over what an exchange led to. */
export function install(before: Associations, made: NewPair): AssociationStep {
  const { route, trust, pair, session, path, nowMs, lifetime } = made;
  const limits = limitsOf(lifetime);
  const endsMs = nowMs + lifetime.ms;
  const inboundEndsMs = endsMs + made.graceMs;
  const inbound: InboundSet = { session, held: heldOf(pair.inbound), bornMs: nowMs, endsMs: inboundEndsMs };
  const outbound: OutboundSet = {
    session,
    held: heldOf(pair.outbound),
    path,
    bornMs: nowMs,
    rekeyMs: nowMs + rekeyAfter(made),
    endsMs,
    useMs: made.useMs,
  };
  const all = [...before.inbound, inbound];
  const tooMany = surplus(all, before.active?.session);
  // The peer began again with the SPI of an exchange of which it has not seen the end: those keys it does not have.
  const same = (set: OutboundSet) => overlaps(set, outbound);
  const displaced = before.active !== undefined && same(before.active);
  const repeated = [...(displaced ? [before.active as OutboundSet] : []), ...before.waiting.filter(same)];
  const effects: AssociationEffect[] = [
    ...pair.inbound.map(
      (sa) =>
        ({ kind: "inbound", route, trust, sa, path, endsMs: inboundEndsMs, hard: limits.hard }) as const,
    ),
    ...removed(route, "outbound", repeated),
    ...pair.outbound.map((sa) => ({ kind: "outbound", route, trust, sa, path, endsMs, ...limits }) as const),
    ...removed(route, "inbound", tooMany),
  ];
  if (repeated.length > 0) effects.push({ kind: "count", leaf: "outbound-sa-updated" });
  const { active, ...rest } = before;
  const next = {
    ...(displaced || active === undefined ? rest : { ...rest, active }),
    waiting: [...before.waiting.filter((set) => !same(set)), outbound],
    inbound: all.filter((set) => !tooMany.includes(set)),
  };
  return then([next, effects], (state) => activate(state, { route, nowMs }));
}

/**
 * The oldest beyond the limit: exchanges that come to nothing push out neither the one whose other direction is in use, nor the last one that the
 * peer has sent under, which it may do still.
 */
function surplus(all: readonly InboundSet[], used: number | undefined): readonly InboundSet[] {
  const last = all.findLast(({ heard }) => heard === true);
  const droppable = all.slice(0, -1).filter((set) => set.session !== used && set !== last);
  return droppable.slice(0, Math.max(0, all.length - MOST_INBOUND));
}

/** holds tells whether an association is one of a set: queues can have the same SPI, since peers choose what goes out. */
export function holds({ held }: { readonly held: readonly Held[] }, { spi, queue }: Held): boolean {
  return held.some((one) => one.spi === spi && one.queue === queue);
}

/** heardUnder notes that packets came under an inbound association. */
export function heardUnder(state: Associations, one: Held): Associations {
  const inbound = state.inbound.map((set): InboundSet => (holds(set, one) ? { ...set, heard: true } : set));
  return { ...state, inbound };
}

/** Vita's: half of the lifetime and up to an eighth; who answered leaves the initiator an eighth more, so that one of both begins. */
function rekeyAfter({ lifetime, chance, role }: NewPair): number {
  return lifetime.ms * (1 / 2 + chance / 8 + (role === "responder" ? 1 / 8 : 0));
}

function heldOf(sas: AgreedPair["inbound"]): readonly Held[] {
  return sas.map(({ spi, queue }) => ({ spi, queue }));
}

function overlaps(a: OutboundSet, b: OutboundSet): boolean {
  return a.held.some((one) => holds(b, one));
}

function then(
  [state, effects]: AssociationStep,
  next: (state: Associations) => AssociationStep,
): AssociationStep {
  const [after, more] = next(state);
  return [after, [...effects, ...more]];
}

type At = { readonly route: string; readonly nowMs: number };

/** activate uses the newest set that may be used; older ones that waited are of no more use. */
export function activate(state: Associations, { route, nowMs }: At): AssociationStep {
  const { active, waiting } = state;
  const ready = waiting.findLast(
    ({ useMs }) => useMs <= nowMs || (active === undefined && useMs !== Number.POSITIVE_INFINITY),
  );
  if (ready === undefined) return [state, []];
  const late = active !== undefined && active.bornMs > ready.bornMs;
  const older = waiting.filter((set) => set.bornMs <= ready.bornMs && (set !== ready || late));
  const rest = waiting.filter((set) => set !== ready && !older.includes(set));
  const superseded = removed(route, "outbound", older);
  if (late) return [{ ...state, waiting: rest }, superseded];
  // What the one before had on queues that this one has not is not displaced by using it.
  const left = active?.held.filter(({ queue }) => ready.held.every((held) => held.queue !== queue)) ?? [];
  const uses = ready.held.map(({ spi, queue }) => ({ kind: "use", route, queue, spi }) as const);
  return [
    { ...state, active: ready, waiting: rest },
    [...uses, ...superseded, ...removed(route, "outbound", [{ held: left }])],
  ];
}

/** usable notes that the peer has shown the keys of a session. */
export function usable(
  state: Associations,
  { session, ...at }: At & { readonly session: number },
): AssociationStep {
  const waiting = state.waiting.map((set) => (set.session === session ? { ...set, useMs: at.nowMs } : set));
  return activate({ ...state, waiting }, at);
}

/** move notes where the peer of a session is now. */
export function move(
  state: Associations,
  { route, session, path }: { readonly route: string; readonly session: number; readonly path: Path },
): AssociationStep {
  return moveAll(state, { route, moved: (before, set) => (set.session === session ? path : before) });
}

/** moveAll gives what goes out other paths. */
export function moveAll(
  state: Associations,
  { route, moved }: { readonly route: string; readonly moved: (path: Path, set: OutboundSet) => Path },
): AssociationStep {
  const effects: AssociationEffect[] = [];
  const change = (set: OutboundSet): OutboundSet => {
    const path = moved(set.path, set);
    if (pathEqual(path, set.path)) return set;
    for (const { spi, queue } of set.held) effects.push({ kind: "endpoint", route, queue, spi, path });
    return { ...set, path };
  };
  const { active, ...rest } = state;
  const next = { ...rest, ...(active === undefined ? {} : { active: change(active) }) };
  return [{ ...next, waiting: state.waiting.map(change) }, effects];
}

/**
 * spent removes the one association that has carried all it may; those of other queues go on. If what was used has nothing left, what waits and may
 * be used is.
 */
export function spent(
  state: Associations,
  { direction, one, ...at }: At & { readonly direction: "inbound" | "outbound"; readonly one: Held },
): AssociationStep {
  const rest = <S extends { readonly held: readonly Held[] }>(set: S): S =>
    holds(set, one)
      ? { ...set, held: set.held.filter(({ spi, queue }) => spi !== one.spi || queue !== one.queue) }
      : set;
  const kept = <S extends { readonly held: readonly Held[] }>(sets: readonly S[]): S[] =>
    sets.map(rest).filter(({ held }) => held.length > 0);
  const { active, waiting, inbound } = state;
  const sets = direction === "inbound" ? inbound : [...(active === undefined ? [] : [active]), ...waiting];
  if (!sets.some((set) => holds(set, one))) return [state, []];
  const gone = removed(at.route, direction, [{ held: [one] }]);
  if (direction === "inbound") return [{ ...state, inbound: kept(inbound) }, gone];
  const [used] = kept(active === undefined ? [] : [active]);
  const next = { waiting: kept(waiting), inbound, ...(used === undefined ? {} : { active: used }) };
  return then([next, gone], (after) => activate(after, at));
}

/** drop removes all sets that something is true of. */
export function drop(
  state: Associations,
  route: string,
  isGone: (set: InboundSet | OutboundSet, direction: "inbound" | "outbound") => boolean,
): AssociationStep {
  const { active, ...rest } = state;
  const outbound = [...(active === undefined ? [] : [active]), ...state.waiting];
  const goneOut = outbound.filter((set) => isGone(set, "outbound"));
  const goneIn = state.inbound.filter((set) => isGone(set, "inbound"));
  if (goneOut.length + goneIn.length === 0) return [state, []];
  return [
    {
      ...(active === undefined || goneOut.includes(active) ? rest : { ...rest, active }),
      waiting: state.waiting.filter((set) => !goneOut.includes(set)),
      inbound: state.inbound.filter((set) => !goneIn.includes(set)),
    },
    [...removed(route, "outbound", goneOut), ...removed(route, "inbound", goneIn)],
  ];
}

/** pass does what is due: ends what is old, uses what has waited long enough. */
export function pass(state: Associations, at: At): AssociationStep {
  const { active } = state;
  const outboundEnds = [...(active === undefined ? [] : [active]), ...state.waiting].some(
    ({ endsMs }) => endsMs <= at.nowMs,
  );
  const inboundEnds = state.inbound.some(({ endsMs }) => endsMs <= at.nowMs);
  const counts: AssociationEffect[] = [];
  if (outboundEnds) counts.push({ kind: "count", leaf: "outbound-sa-expired" });
  if (inboundEnds) counts.push({ kind: "count", leaf: "inbound-sa-expired" });
  const step = drop(state, at.route, ({ endsMs }) => endsMs <= at.nowMs);
  return then([step[0], [...step[1], ...counts]], (next) => activate(next, at));
}

/** wear has the next set agreed on now: the soft limit was reached, or the way is another. */
export function wear(state: Associations, nowMs: number): Associations {
  const { active } = state;
  return active === undefined
    ? state
    : { ...state, active: { ...active, rekeyMs: Math.min(active.rekeyMs, nowMs) } };
}

/** associationsMs returns when to pass next. */
export function associationsMs({ active, waiting, inbound }: Associations): number {
  const outbound = active === undefined ? waiting : [active, ...waiting];
  return Math.min(
    ...waiting.map(({ useMs }) => useMs),
    ...[...outbound, ...inbound].map(({ endsMs }) => endsMs),
  );
}

/** rekeyMs returns from when on an exchange is needed; Infinity while there is one whose outcome waits. */
export function rekeyMs({ active, waiting }: Associations): number {
  if (waiting.length > 0) return Number.POSITIVE_INFINITY;
  return active?.rekeyMs ?? Number.NEGATIVE_INFINITY;
}
