/**
 * What is said within a session, each message sealed under a counter: probes and their answers, and goodbye. The first of the initiator's
 * shows that it has the keys. Nothing that is not authentic ends or changes anything.
 */
import type { Secret } from "../../net/mod.ts";
import { CONTROL, decodeControl, encodeControl, encodeOurs, type OursMessageOf } from "./message.ts";
import {
  changedSession,
  CONFIRM_MS,
  count,
  currentSession,
  type OursAround,
  type OursEffect,
  type OursState,
  type OursStep,
  type Path,
  pathEqual,
  type Session,
  withoutFormer,
  withoutSession,
} from "./state.ts";

/** UNANSWERED_MS lies between probes at most while the peer has not shown that it has the session. */
export const UNANSWERED_MS = 250;
const COUNTER_AT = 4;
const MOST_RTT_MS = 60_000;
/** How many round trips fit into the silence of a dead peer at least. */
const RTTS = 4;

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(COUNTER_AT, BigInt(counter));
  return nonce;
}

function say(
  state: OursState,
  session: Session,
  said: OursAround & {
    readonly control: keyof typeof CONTROL;
    readonly stamp: number;
    readonly change?: Partial<Session>;
  },
): OursStep {
  const { party, primitives } = said;
  const plain = encodeControl({ kind: CONTROL[said.control], stamp: said.stamp });
  const aead = { key: session.send.reveal(), nonce: nonceOf(session.sent) };
  const datagram = encodeOurs(party.route, {
    kind: "control",
    receiver: session.remoteId,
    counter: session.sent,
    sealed: primitives.seal(plain, aead),
  });
  const next = { ...session, ...said.change, sent: session.sent + 1 };
  return [changedSession(state, next), [{ kind: "send", datagram, path: session.path }]];
}

/** probe asks whether the peer is there. The stamp is our own time, and comes back as it is. */
export function probe(state: OursState, session: Session, around: OursAround): OursStep {
  const { nowMs, timing } = around;
  const pauseMs = session.answered ? timing.probeMs : Math.min(timing.probeMs, UNANSWERED_MS);
  const stamp = Math.max(0, Math.round(nowMs * 1000));
  return say(state, session, { ...around, control: "probe", stamp, change: { probeMs: nowMs + pauseMs } });
}

/** close says goodbye. */
export function close(state: OursState, around: OursAround): readonly OursEffect[] {
  const session = currentSession(state);
  return session === undefined ? [] : say(state, session, { ...around, control: "close", stamp: 0 })[1];
}

/** controlled reads a message within a session. */
export function controlled(
  state: OursState,
  message: OursMessageOf<"control">,
  around: OursAround & { readonly path: Path },
): OursStep {
  const session = state.sessions.find(({ id }) => id === message.receiver);
  if (session === undefined) return [state, [count("protocol-errors")]];
  // Those that overtake each other are lost: they say nothing that a later one does not.
  if (message.counter <= session.greatest) return [state, [count("protocol-errors")]];
  const plain = openWith(session.receive, message, around);
  const control = plain === undefined ? undefined : decodeControl(plain);
  if (control === undefined) return [state, [count("authentication-errors")]];
  const moved = !pathEqual(session.path, around.path);
  const seen: Session = { ...session, greatest: message.counter, path: around.path };
  const [next, effects] = heard(changedSession(state, seen), seen, around);
  if (moved) effects.push({ kind: "moved", session: session.id, path: around.path });
  const now = next.sessions.find(({ id }) => id === session.id) as Session;
  switch (control.kind) {
    case CONTROL.probe: {
      const [after, more] = say(next, now, { ...around, control: "answer", stamp: control.stamp });
      return [after, [...effects, ...more]];
    }
    case CONTROL.answer:
      return answered(next, now, { ...around, stamp: control.stamp, effects });
    case CONTROL.close:
      return closed(next, now, effects);
    default:
      return [next, [...effects, count("protocol-errors")]];
  }
}

function openWith(
  key: Secret,
  { counter, sealed }: OursMessageOf<"control">,
  { primitives }: OursAround,
): Uint8Array | undefined {
  return primitives.open(sealed, { key: key.reveal(), nonce: nonceOf(counter) });
}

function answered(
  state: OursState,
  session: Session,
  { nowMs, stamp, effects }: OursAround & { readonly stamp: number; readonly effects: readonly OursEffect[] },
): OursStep {
  const rttMs = nowMs - stamp / 1000;
  if (rttMs < 0 || rttMs > MOST_RTT_MS) return [state, [...effects, count("protocol-errors")]];
  const next = changedSession(state, { ...session, answered: true, rttMs });
  return [next, [...effects, { kind: "alive", rttMs }]];
}

function closed(state: OursState, session: Session, effects: readonly OursEffect[]): OursStep {
  const current = currentSession(state)?.id === session.id;
  const ended: OursEffect = { kind: "ended", session: session.id, reason: "closed by peer" };
  const lost: readonly OursEffect[] = current ? [{ kind: "lost", reason: "closed by peer" }] : [];
  return [withoutSession(state, session), [...effects, ended, ...lost]];
}

/** heard notes that the peer is there and has the keys of a session. */
export function heard(state: OursState, session: Session, { nowMs }: OursAround): [OursState, OursEffect[]] {
  const effects: OursEffect[] = session.confirmed ? [] : [{ kind: "usable", session: session.id }];
  const next = { ...session, heardMs: nowMs, confirmed: true, silent: false };
  const changed = changedSession(state, next);
  return [session.confirmed ? changed : withoutFormer(changed, next), effects];
}

/** deadAtMs returns when a silent peer is taken for dead. */
function deadAtMs({ heardMs, rttMs = 0 }: Session, { timing }: Pick<OursAround, "timing">): number {
  return heardMs + Math.max(timing.deadMs, RTTS * rttMs);
}

/** watch does what is due in sessions: who did not confirm, whose time is over, whom to probe, who is silent. */
export function watch(before: OursState, around: OursAround): OursStep {
  const effects: OursEffect[] = [];
  const { nowMs } = around;
  let state = before;
  for (const session of before.sessions) {
    if (!session.confirmed && nowMs - session.bornMs >= CONFIRM_MS)
      effects.push({ kind: "ended", session: session.id, reason: "not confirmed" });
    else if (nowMs < session.endsMs) continue;
    state = withoutSession(state, session);
  }
  const current = currentSession(state);
  if (current === undefined) return [state, effects];
  if (!current.silent && nowMs >= deadAtMs(current, around)) {
    state = changedSession(state, { ...current, silent: true });
    effects.push({ kind: "lost", reason: "silent" });
  }
  if (nowMs < current.probeMs) return [state, effects];
  const [next, probing] = probe(state, currentSession(state) as Session, around);
  return [next, [...effects, ...probing]];
}

/** watchMs returns when to watch next. */
export function watchMs(state: OursState, around: Pick<OursAround, "timing">): number {
  let nextMs = Number.POSITIVE_INFINITY;
  for (const { confirmed, bornMs, endsMs } of state.sessions)
    nextMs = Math.min(nextMs, endsMs, confirmed ? endsMs : bornMs + CONFIRM_MS);
  const current = currentSession(state);
  if (current === undefined) return nextMs;
  const deadMs = current.silent ? Number.POSITIVE_INFINITY : deadAtMs(current, around);
  return Math.min(nextMs, current.probeMs, deadMs);
}
