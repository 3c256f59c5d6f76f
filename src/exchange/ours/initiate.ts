/** The initiator of our own exchange: the initiation, the cookie that it is asked for, and the response. */
import { equalBytes } from "../../sys/mod.ts";
import { LEAST_SPI } from "../../tunnel/esp/mod.ts";
import { type Bytes, type Primitives, readResponse, writeInitiation } from "../../noise/mod.ts";
import { probe } from "./control.ts";
import { algorithmBits, MOST_QUEUES, oneAlgorithm, sessionKeys } from "./keys.ts";
import {
  CODE_BYTES,
  decodeOffer,
  encodeOffer,
  encodeOurs,
  type Offer,
  type OursMessageOf,
} from "./message.ts";
import type { OursRole } from "./party.ts";
import {
  count,
  type Initiating,
  MOST_COOKIES,
  MOST_REPEAT_MS,
  type OursAround,
  type OursEffect,
  type OursState,
  type OursStep,
  type Path,
  REPEAT_MS,
  type Session,
  withSession,
} from "./state.ts";

const NOTHING = new Uint8Array(CODE_BYTES);
const COOKIE_AT = 2 * CODE_BYTES;

type Coding = { readonly primitives: Primitives; readonly role: OursRole };

/** writeCode fills the code at the end of a handshake message that we send in a role. */
export function writeCode(datagram: Bytes, { primitives, role }: Coding): Bytes {
  const at = datagram.length - CODE_BYTES;
  datagram.set(primitives.mac(role.own.code, datagram.subarray(0, at)), at);
  return datagram;
}

/** hasCode tells whether the peer wrote a handshake message that comes to us in a role. */
export function hasCode(datagram: Uint8Array, { primitives, role }: Coding): boolean {
  const at = datagram.length - CODE_BYTES;
  return equalBytes(primitives.mac(role.peer.code, datagram.subarray(0, at)), datagram.subarray(at));
}

/** newId returns a random number for a session. */
export function newId({ primitives }: OursAround, { sessions }: OursState): number {
  for (;;) {
    const id = new DataView(primitives.random(4).buffer).getUint32(0);
    if (!sessions.some((session) => session.id === id)) return id;
  }
}

/** begin sends an initiation over a path. */
export function begin(before: OursState, path: Path, around: OursAround): OursStep {
  const state = abandon(before, around);
  const { party, primitives, nowMs } = around;
  const role = party.initiator;
  // The peer's queues are not known yet; what they do not need is given back.
  const firstSpi = around.spis.take(MOST_QUEUES);
  if (firstSpi === undefined) return [state, [{ kind: "full" }]];
  const sender = newId(around, state);
  const payload = encodeOffer({
    boot: around.boot,
    firstSpi,
    queues: around.queues.length,
    algorithms: algorithmBits(around.algorithms),
  });
  const written = writeInitiation(
    { primitives, key: role.key, prologue: role.prologue },
    { remote: role.remoteKey, staticStatic: party.staticStatic, payload },
  );
  if (written === undefined) throw new Error("the peer's key is of low order, which oursParty refuses");
  const datagram = encodeOurs(party.route, {
    kind: "initiation",
    sender,
    ephemeral: written.ephemeral,
    static: written.static,
    offer: written.payload,
    cookie: NOTHING,
    code: NOTHING,
  });
  const initiating: Initiating = {
    sent: written.sent,
    sender,
    ephemeral: written.ephemeral,
    firstSpi,
    datagram: writeCode(datagram, { primitives, role }),
    path,
    cookies: 0,
    tries: 1,
    repeatMs: nowMs + REPEAT_MS,
    expiresMs: nowMs + around.timing.negotiationMs,
  };
  return [
    { ...state, initiating },
    [{ kind: "send", datagram: initiating.datagram, path }, count("negotiations-initiated")],
  ];
}

/** abandon gives up an exchange that we began. */
export function abandon(state: OursState, { spis }: Pick<OursAround, "spis">): OursState {
  const { initiating, ...rest } = state;
  if (initiating === undefined) return state;
  initiating.sent[Symbol.dispose]();
  spis.release(initiating.firstSpi, MOST_QUEUES);
  return rest;
}

/** cookied repeats the initiation at once with a cookie that is for it, from the peer. */
export function cookied(state: OursState, message: OursMessageOf<"cookie">, around: OursAround): OursStep {
  const { initiating } = state;
  if (initiating === undefined || initiating.sender !== message.receiver)
    return [state, [count("protocol-errors")]];
  const before = initiating.datagram;
  const { primitives } = around;
  const role = around.party.initiator;
  const cookie = primitives.openLong(message.cookie, {
    key: role.peer.cookie,
    nonce: message.nonce,
    additional: before.subarray(before.length - CODE_BYTES),
  });
  if (cookie === undefined) return [state, [count("authentication-errors")]];
  if (initiating.cookies >= MOST_COOKIES) return [state, [count("protocol-errors")]];
  const datagram = new Uint8Array(before);
  datagram.set(cookie, datagram.length - COOKIE_AT);
  writeCode(datagram, { primitives, role });
  const next = { ...initiating, datagram, cookies: initiating.cookies + 1 };
  return [
    { ...state, initiating: next },
    [{ kind: "send", datagram, path: initiating.path }, count("challenges-accepted")],
  ];
}

/** responded ends an exchange: what goes out may be used at once, for the peer was ready to receive before it answered. */
export function responded(
  state: OursState,
  message: OursMessageOf<"response">,
  around: OursAround & { readonly datagram: Uint8Array; readonly path: Path },
): OursStep {
  const { initiating } = state;
  const { party, primitives, spis } = around;
  if (initiating === undefined || initiating.sender !== message.receiver)
    return [state, [count("protocol-errors")]];
  const role = party.initiator;
  if (!hasCode(around.datagram, { primitives, role })) return [state, [count("authentication-errors")]];
  if (!around.allow()) return [state, [count("protocol-errors")]];
  const read = readResponse({ primitives, key: role.key, prologue: role.prologue }, initiating.sent, {
    ephemeral: message.ephemeral,
    payload: message.offer,
    psk: party.psk,
  });
  if (read === undefined) return [state, [count("authentication-errors")]];
  const { initiating: _, ...rest } = state;
  const offer = decodeOffer(read.payload);
  const algorithm = oneAlgorithm(offer.algorithms);
  if (algorithm === undefined || !around.algorithms.includes(algorithm) || !isPossible(offer)) {
    spis.release(initiating.firstSpi, MOST_QUEUES);
    for (const key of [read.keys.send, read.keys.receive]) key.fill(0);
    return [rest, [count("parameter-errors"), { kind: "lost", reason: "no algorithm in common" }]];
  }
  const keys = sessionKeys(primitives, read.keys, {
    algorithm,
    queues: around.queues,
    inbound: { firstSpi: initiating.firstSpi, queues: offer.queues },
    outbound: offer,
  });
  spis.release(initiating.firstSpi + offer.queues, MOST_QUEUES - offer.queues);
  const { pair, send, receive } = keys;
  const common = newSession(around, { remoteId: message.sender, boot: offer.boot });
  const session: Session = { ...common, send, receive, id: initiating.sender, confirmed: true };
  const { path } = around;
  const restarted = hasRestarted(state, session.boot);
  // The first probe shows the peer that we have the keys.
  const [next, probing] = probe(withSession(rest, session), session, around);
  const effects: OursEffect[] = [
    { kind: "agreed", session: session.id, role: "initiator", pair, path, restarted },
    { kind: "usable", session: session.id },
    ...probing,
    count("keypairs-negotiated"),
  ];
  return [next, effects];
}

/** isPossible tells whether an authentic offer is one that can be taken. */
export function isPossible(offer: Offer): boolean {
  const { firstSpi, queues } = offer;
  return queues >= 1 && queues <= MOST_QUEUES && firstSpi >= LEAST_SPI && firstSpi + MOST_QUEUES <= 2 ** 32;
}

/** newSession returns what both roles begin a session with. */
export function newSession(
  { nowMs, path, timing }: OursAround & { readonly path: Path },
  peer: { readonly remoteId: number; readonly boot: Uint8Array },
): Omit<Session, "id" | "send" | "receive" | "confirmed"> {
  return {
    remoteId: peer.remoteId,
    boot: Buffer.from(peer.boot).toString("hex"),
    path,
    bornMs: nowMs,
    endsMs: nowMs + timing.lifeMs,
    sent: 0,
    greatest: -1,
    heardMs: nowMs,
    probeMs: nowMs + timing.probeMs,
    answered: false,
    silent: false,
  };
}

/** hasRestarted tells whether the peer is another process than the one of the sessions that there are. */
export function hasRestarted({ sessions }: OursState, boot: string): boolean {
  return sessions.some((session) => session.boot !== boot);
}

/** again repeats an initiation that is due, or gives it up. */
export function again(state: OursState, around: OursAround): OursStep {
  const { initiating } = state;
  const { nowMs } = around;
  if (initiating === undefined) return [state, []];
  if (nowMs >= initiating.expiresMs)
    return [abandon(state, around), [count("negotiations-expired"), { kind: "lost", reason: "no answer" }]];
  if (nowMs < initiating.repeatMs) return [state, []];
  const pauseMs = Math.min(MOST_REPEAT_MS, REPEAT_MS * 2 ** initiating.tries);
  const next = { ...initiating, tries: initiating.tries + 1, repeatMs: nowMs + pauseMs };
  return [
    { ...state, initiating: next },
    [{ kind: "send", datagram: initiating.datagram, path: initiating.path }],
  ];
}
