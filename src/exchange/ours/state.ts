/** What an end of our own exchange is, what happens to it, and what it asks for. */
import { type Endpoint, endpointEqual, type Secret } from "../../net/mod.ts";
import type { Bytes, CookieSecret, Primitives, Sent } from "../../noise/mod.ts";
import type { AgreedPair, SaAlgorithm, Spis } from "../agreed.ts";
import type { ExchangeCounter } from "../counter.ts";
import type { OursParty } from "./party.ts";

/** Path is between which addresses we speak: ours as this machine has it, and the peer's as we see it. */
export interface Path {
  readonly local: Endpoint;
  readonly remote: Endpoint;
}

/** pathEqual tells whether two paths are the same. */
export function pathEqual(a: Path, b: Path): boolean {
  return endpointEqual(a.local, b.local) && endpointEqual(a.remote, b.remote);
}

/** Initiating is an exchange that we began; its message is repeated as it is, but for the cookie. */
export interface Initiating {
  readonly sent: Sent;
  readonly sender: number;
  readonly ephemeral: Bytes;
  readonly firstSpi: number;
  readonly datagram: Bytes;
  readonly path: Path;
  readonly cookies: number;
  readonly tries: number;
  readonly repeatMs: number;
  readonly expiresMs: number;
}

/** Session is what one exchange led to: keys for control messages, beside the associations, which are others' affair. */
export interface Session {
  /** Ours; the peer's messages name it. */
  readonly id: number;
  readonly remoteId: number;
  /** Who answered may send only when the peer has shown that it has the keys. */
  readonly confirmed: boolean;
  readonly path: Path;
  /** Of the peer's process: another one has forgotten everything. */
  readonly boot: string;
  readonly bornMs: number;
  /** Until then its messages are understood: as it was agreed, whatever the configuration says later. */
  readonly endsMs: number;
  readonly send: Secret;
  readonly receive: Secret;
  readonly sent: number;
  /** The greatest counter received; -1 before the first. */
  readonly greatest: number;
  readonly heardMs: number;
  readonly probeMs: number;
  /** The peer has answered a probe: it has the session. */
  readonly answered: boolean;
  readonly silent: boolean;
  readonly rttMs?: number;
}

/** OursState is a route's end. */
export interface OursState {
  readonly initiating?: Initiating;
  /** Newest first; the first confirmed one is what we send with. */
  readonly sessions: readonly Session[];
  /** Cookies are good for one of these: who has used one up needs another. */
  readonly generation: number;
  readonly secret?: CookieSecret;
  /** The last initiation that was answered: it may come again because the answer was lost. */
  readonly answer?: {
    readonly session: number;
    readonly ephemeral: Bytes;
    readonly datagram: Bytes;
    readonly path: Path;
  };
}

/** OursTiming is the pace of a route. */
export interface OursTiming {
  /** Between two probes, and how long a silence means that the path or the peer is dead. */
  readonly probeMs: number;
  readonly deadMs: number;
  /** How long an exchange may take. */
  readonly negotiationMs: number;
  /** How long control messages of a session that begins now are understood. */
  readonly lifeMs: number;
}

/** OursAround comes with each step. */
export interface OursAround {
  readonly party: OursParty;
  readonly primitives: Primitives;
  readonly spis: Spis;
  readonly timing: OursTiming;
  /** In order of preference. */
  readonly algorithms: readonly SaAlgorithm[];
  /** That we send with, 1 to 64. */
  readonly queues: readonly number[];
  /** 8 random bytes of this process. */
  readonly boot: Bytes;
  /** Takes one of the handshakes that may be worked on; false: none is left now. Only who has proved to be the peer has it asked. */
  readonly allow: () => boolean;
  readonly nowMs: number;
}

/** OursEvent is what happens. */
export type OursEvent =
  /** Begin an exchange over a path, instead of one that is on its way. */
  | { readonly kind: "begin"; readonly path: Path }
  | { readonly kind: "datagram"; readonly datagram: Uint8Array; readonly path: Path }
  /** Authentic packets came under the associations of a session. */
  | { readonly kind: "heard"; readonly session: number }
  | { readonly kind: "due" }
  /** Give up what was begun; sessions go on. */
  | { readonly kind: "abandon" }
  /** Say goodbye under the session that we send with, and end all. */
  | { readonly kind: "close" };

/** OursLoss is why there is no peer. */
export type OursLoss = "silent" | "closed by peer" | "no answer" | "no algorithm in common";

/** OursEffect is asked for. They are done in order: who is sent a response may send to us at once. */
export type OursEffect =
  | { readonly kind: "send"; readonly datagram: Bytes; readonly path: Path }
  | {
      readonly kind: "agreed";
      readonly session: number;
      readonly role: "initiator" | "responder";
      readonly pair: AgreedPair;
      readonly path: Path;
      /** The peer is another process than the one of the sessions before, which it has forgotten. */
      readonly restarted: boolean;
    }
  /** The peer has shown that it has the keys: what goes out may be used. */
  | { readonly kind: "usable"; readonly session: number }
  | { readonly kind: "moved"; readonly session: number; readonly path: Path }
  /** The associations of a session are of no more use. */
  | { readonly kind: "ended"; readonly session: number; readonly reason: "closed by peer" | "not confirmed" }
  | { readonly kind: "lost"; readonly reason: OursLoss }
  | { readonly kind: "alive"; readonly rttMs: number }
  | { readonly kind: "count"; readonly leaf: ExchangeCounter }
  /** There is no SPI left. */
  | { readonly kind: "full" };

/** OursStep is what a step returns; the state is the same object if nothing changed. */
export type OursStep = readonly [OursState, readonly OursEffect[]];

/** NEW_OURS is where a route begins. */
export const NEW_OURS: OursState = { sessions: [], generation: 0 };

/** MOST_SESSIONS are kept, so that what is on the way under the ones before is understood. */
export const MOST_SESSIONS = 4;
/** CONFIRM_MS is how long who answered waits for the peer to show that it has the keys. */
export const CONFIRM_MS = 10_000;
/** REPEAT_MS is when the first message is repeated, doubled each time up to MOST_REPEAT_MS. */
export const REPEAT_MS = 250;
/** MOST_REPEAT_MS lies between two repetitions at most. */
export const MOST_REPEAT_MS = 2_000;
/** MOST_COOKIES are taken in one exchange. */
export const MOST_COOKIES = 8;

/** count is the effect of something that is only counted. */
export function count(leaf: ExchangeCounter): OursEffect {
  return { kind: "count", leaf };
}

/** currentSession returns the one that we send with. */
export function currentSession({ sessions }: OursState): Session | undefined {
  return sessions.find(({ confirmed }) => confirmed);
}

/**
 * withSession puts a session first, and forgets the oldest beyond the limit; not the one that is used: exchanges that come to nothing do not push
 * it out.
 */
export function withSession(state: OursState, session: Session): OursState {
  const current = currentSession(state);
  const others = state.sessions
    .filter((one) => one !== current)
    .slice(0, MOST_SESSIONS - (current === undefined ? 1 : 2));
  const kept = state.sessions.filter((one) => one === current || others.includes(one));
  for (const old of state.sessions) if (!kept.includes(old)) wipeSession(old);
  const next = { ...state, sessions: [session, ...kept] };
  return session.confirmed ? withoutFormer(next, session) : next;
}

/** withoutFormer forgets all before a confirmed session that the peer has forgotten by starting again. An unconfirmed one proves no such thing. */
export function withoutFormer(state: OursState, session: Session): OursState {
  const older = state.sessions.slice(state.sessions.findIndex(({ id }) => id === session.id) + 1);
  return older.filter(({ boot }) => boot !== session.boot).reduce(withoutSession, state);
}

/** changedSession replaces a session in its place. */
export function changedSession(state: OursState, session: Session): OursState {
  return { ...state, sessions: state.sessions.map((old) => (old.id === session.id ? session : old)) };
}

/** withoutSession wipes a session. */
export function withoutSession(state: OursState, session: Session): OursState {
  wipeSession(session);
  const { answer, ...rest } = state;
  // An answer that leads to no session is not given again.
  const kept = answer === undefined || answer.session === session.id ? rest : state;
  return { ...kept, sessions: state.sessions.filter(({ id }) => id !== session.id) };
}

function wipeSession(session: Session): void {
  session.send.reveal().fill(0);
  session.receive.reveal().fill(0);
}
