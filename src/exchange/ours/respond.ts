/**
 * The responder of our own exchange. What costs little is checked first:
 *
 * ```
 *  initiation ─▶ code ─▶ answered before ─▶ cookie of address, message and generation ─▶ DH, keys, response
 *                 │            │                          │
 *              silence   the same response           cookie reply
 * ```
 * Only the peer can write the code. A cookie is good for one initiation from one address, and for one generation, which ends when a
 * cookie is used: so each initiation costs at most one run of the handshake, whoever repeats it, and nothing is kept for one that has no cookie.
 */
import { equalBytes } from "../../sys/mod.ts";
import { endpointEqual } from "../../net/mod.ts";
import {
  type Bytes,
  cookieOf,
  currentSecret,
  readInitiation,
  readPayload,
  writeResponse,
} from "../../noise/mod.ts";
import { abandon, hasCode, hasRestarted, isPossible, newId, newSession, writeCode } from "./initiate.ts";
import { algorithmBits, chooseAlgorithm, sessionKeys } from "./keys.ts";
import {
  CODE_BYTES,
  decodeOffer,
  encodeOffer,
  encodeOurs,
  type Offer,
  type OursMessageOf,
} from "./message.ts";
import {
  count,
  type OursAround,
  type OursEffect,
  type OursState,
  type OursStep,
  type Path,
  type Session,
  withSession,
} from "./state.ts";

type Initiation = OursMessageOf<"initiation">;
type Arrival = OursAround & { readonly datagram: Uint8Array; readonly path: Path };

/** initiated answers an initiation with a cookie or with a response. */
export function initiated(state: OursState, message: Initiation, around: Arrival): OursStep {
  const { path, primitives, nowMs } = around;
  const { answer, initiating } = state;
  // With a pre-shared key alone our own message could be the peer's, were it not for what is random in it.
  const isOwn = initiating !== undefined && equalBytes(initiating.ephemeral, message.ephemeral);
  if (isOwn || !hasCode(around.datagram, { primitives, role: around.party.responder }))
    return [state, [count("authentication-errors")]];
  if (answer !== undefined && equalBytes(answer.ephemeral, message.ephemeral)) {
    // The response was lost; to another address it would go for whoever has heard the initiation.
    if (!endpointEqual(answer.path.remote, path.remote)) return [state, [count("protocol-errors")]];
    return [state, [{ kind: "send", datagram: answer.datagram, path }]];
  }
  const secret = currentSecret(state.secret, { primitives, nowMs });
  const known = secret === state.secret ? state : { ...state, secret };
  const cookie = cookieOf(primitives, { secret, from: path.remote, bound: boundTo(message, state, around) });
  if (!equalBytes(cookie, message.cookie))
    return [known, [cookieReply(message, cookie, around), count("challenges-offered")]];
  // Both began: the senior's goes on, once it is known that the peer hears it.
  if (initiating !== undefined && isSenior(state, message.ephemeral) && initiating.cookies > 0)
    return [known, []];
  if (!around.allow()) return [known, [count("protocol-errors")]];
  const used = { ...known, generation: known.generation + 1 };
  return respond(used, message, around);
}

/** When both begin at once, the exchange with the lower ephemeral key is the senior. */
function isSenior({ initiating }: OursState, ephemeral: Uint8Array): boolean {
  return initiating !== undefined && Buffer.compare(initiating.ephemeral, ephemeral) < 0;
}

function boundTo(message: Initiation, { generation }: OursState, { party }: OursAround): Uint8Array {
  const bytes = new Uint8Array(16 + message.ephemeral.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, party.route);
  view.setUint32(4, message.sender);
  view.setFloat64(8, generation);
  bytes.set(message.ephemeral, 16);
  return bytes;
}

function cookieReply(message: Initiation, cookie: Bytes, around: Arrival): OursEffect {
  const { primitives, party, datagram, path } = around;
  const nonce = primitives.random(24);
  const additional = datagram.subarray(datagram.length - CODE_BYTES);
  const sealed = primitives.sealLong(cookie, { key: party.responder.own.cookie, nonce, additional });
  const reply = encodeOurs(party.route, { kind: "cookie", receiver: message.sender, nonce, cookie: sealed });
  return { kind: "send", datagram: reply, path };
}

function respond(state: OursState, message: Initiation, around: Arrival): OursStep {
  const { party, primitives } = around;
  const { key, prologue, remoteKey } = party.responder;
  const side = { primitives, key, prologue };
  const heard = readInitiation(side, message);
  if (heard === undefined) return [state, [count("authentication-errors")]];
  const payload = equalBytes(heard.remote, remoteKey)
    ? readPayload(heard, { payload: message.offer, staticStatic: party.staticStatic })
    : undefined;
  if (payload === undefined) {
    heard[Symbol.dispose]();
    return [state, [count("authentication-errors")]];
  }
  const offer = decodeOffer(payload);
  if (equalBytes(offer.boot, around.boot)) {
    // We ourselves: somebody has sent our own messages back.
    heard[Symbol.dispose]();
    return [state, [count("authentication-errors")]];
  }
  const algorithm = isPossible(offer) ? chooseAlgorithm(around.algorithms, offer.algorithms) : undefined;
  const block = algorithm === undefined ? 0 : blockOf(offer.queues);
  const firstSpi = block === 0 ? 0 : around.spis.take(block);
  if (firstSpi === undefined) {
    heard[Symbol.dispose]();
    return [state, [{ kind: "full" }]];
  }
  const written = writeResponse(side, heard, {
    psk: party.psk,
    payload: encodeOffer({
      boot: around.boot,
      firstSpi,
      queues: around.queues.length,
      algorithms: algorithm === undefined ? 0 : algorithmBits([algorithm]),
    }),
  });
  if (written === undefined) {
    around.spis.release(firstSpi, block);
    return [state, [count("public-key-errors")]];
  }
  const id = newId(around, state);
  const datagram = responseOf(id, { message, written }, around);
  if (algorithm === undefined) {
    for (const key of Object.values(written.keys) as Bytes[]) key.fill(0);
    return [
      state,
      [
        { kind: "send", datagram, path: around.path },
        count("parameter-errors"),
        { kind: "lost", reason: "no algorithm in common" },
      ],
    ];
  }
  const { pair, send, receive } = sessionKeys(primitives, written.keys, {
    algorithm,
    queues: around.queues,
    inbound: { firstSpi, queues: offer.queues },
    outbound: offer,
  });
  around.spis.release(firstSpi + offer.queues, block - offer.queues);
  const session = { ...offered(message, offer, around), id, send, receive };
  return answered(state, { session, pair, datagram, ephemeral: message.ephemeral }, around);
}

/** The power of 2 that holds so many. */
function blockOf(queues: number): number {
  return 2 ** Math.ceil(Math.log2(queues));
}

function offered(message: Initiation, { boot }: Offer, around: Arrival) {
  return { ...newSession(around, { remoteId: message.sender, boot }), confirmed: false };
}

function responseOf(
  sender: number,
  parts: {
    readonly message: Initiation;
    readonly written: { readonly ephemeral: Bytes; readonly payload: Bytes };
  },
  around: Arrival,
): Bytes {
  const datagram = encodeOurs(around.party.route, {
    kind: "response",
    sender,
    receiver: parts.message.sender,
    ephemeral: parts.written.ephemeral,
    offer: parts.written.payload,
    code: new Uint8Array(CODE_BYTES),
  });
  return writeCode(datagram, { primitives: around.primitives, role: around.party.responder });
}

function answered(
  state: OursState,
  made: {
    readonly session: Session;
    readonly pair: Extract<OursEffect, { readonly kind: "agreed" }>["pair"];
    readonly datagram: Bytes;
    readonly ephemeral: Bytes;
  },
  around: Arrival,
): OursStep {
  const { session, pair, datagram, ephemeral } = made;
  const { path } = around;
  const restarted = hasRestarted(state, session.boot);
  // The junior's own exchange would only lead to a second session.
  const alone = isSenior(state, ephemeral) ? state : abandon(state, around);
  const next = { ...withSession(alone, session), answer: { session: session.id, ephemeral, datagram, path } };
  return [
    next,
    [
      { kind: "agreed", session: session.id, role: "responder", pair, path, restarted },
      { kind: "send", datagram, path },
      count("keypairs-offered"),
    ],
  ];
}
