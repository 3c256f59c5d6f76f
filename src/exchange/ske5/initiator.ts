/**
 * The initiator of vita-ske.
 *
 * ```
 *  initiator ── begin: knock ──▶ accept challenge ── challenge: proposal ──▶ accept agreement ── agreement ──▶ initiator
 *      ▲                               │                                           │
 *      └────────────── deadline: the SPI is kept ──────────────────────────────────┘
 * ```
 * A challenge is not authenticated. So while an agreement is awaited, another challenge is answered too, a few times: whoever forges one
 * first does not make the attempt fail. A Vita sends the same challenge again at most, which is a protocol error here as there.
 */
import { equalBytes } from "../../sys/mod.ts";
import { ipEqual } from "../../net/mod.ts";
import { readSecond, writeFirst } from "../../noise/mod.ts";
import { LEAST_SPI } from "../../tunnel/esp/mod.ts";
import type { AgreedPair } from "../agreed.ts";
import { AEAD_NAME, encodeDatagram, PAYLOAD_BYTES, type Ske5Message, VERSION } from "./datagram.ts";
import { prologueOf, splitKeys } from "./keys.ts";
import {
  type Attempt,
  count,
  type Ske5Around,
  type Ske5Effect,
  type Ske5State,
  type Ske5Step,
} from "./state.ts";

/** MOST_ATTEMPTS is how many challenges are answered in one exchange. */
export const MOST_ATTEMPTS = 4;

type MessageOf<K extends Ske5Message["kind"]> = Extract<Ske5Message, { readonly kind: K }>;

/** begin knocks, unless an exchange is on its way. */
export function begin(state: Ske5State, around: Ske5Around): Ske5Step {
  const { initiator } = state;
  if (initiator.kind !== "initiator") return [state, []];
  const spi = initiator.spi ?? around.spis.take(1);
  if (spi === undefined) return [state, [{ kind: "full" }]];
  const deadlineMs = around.nowMs + around.route.negotiationMs;
  const knock = { routeSpi: around.route.routeSpi, message: { kind: "knock", version: VERSION } } as const;
  return [
    { ...state, initiator: { kind: "accept challenge", spi, remote: around.route.remote, deadlineMs } },
    [{ kind: "send", datagram: encodeDatagram(knock) }, count("negotiations-initiated")],
  ];
}

/** challenged answers a challenge with a proposal. */
export function challenged(state: Ske5State, message: MessageOf<"challenge">, around: Ske5Around): Ske5Step {
  const { initiator } = state;
  if (initiator.kind === "initiator" || !ipEqual(initiator.remote, around.route.remote))
    return [state, [count("protocol-errors")]];
  const before = initiator.kind === "accept agreement" ? initiator.attempts : [];
  const known = before.some(({ nonce }) => equalBytes(nonce, message.nonce));
  if (known || before.length >= MOST_ATTEMPTS) return [state, [count("protocol-errors")]];
  if (message.version !== VERSION) return [state, [count("version-errors")]];
  if (!equalBytes(message.aead, AEAD_NAME)) return [state, [count("parameter-errors")]];
  const { spi, remote } = initiator;
  const [attempt, send] = propose(spi, message, around);
  const deadlineMs =
    initiator.kind === "accept agreement" ? initiator.deadlineMs : around.nowMs + around.route.negotiationMs;
  return [
    {
      ...state,
      initiator: { kind: "accept agreement", spi, remote, deadlineMs, attempts: [...before, attempt] },
    },
    [send, count("challenges-accepted")],
  ];
}

function propose(
  spi: number,
  { nonce }: MessageOf<"challenge">,
  { route, primitives }: Ske5Around,
): readonly [Attempt, Ske5Effect] {
  const prologue = prologueOf({
    routeSpi: route.routeSpi,
    initiator: route.local,
    responder: route.remote,
    nonce,
  });
  const { message, sent } = writeFirst({ primitives, prologue, psk: route.psk.reveal() }, payloadOf(spi));
  const datagram = encodeDatagram({
    routeSpi: route.routeSpi,
    message: {
      kind: "proposal",
      ephemeral: new Uint8Array(message.ephemeral),
      sealed: new Uint8Array(message.payload),
    },
  });
  return [
    { nonce, sent },
    { kind: "send", datagram },
  ];
}

/** payloadOf returns what is sealed: an SPI, and zeros. */
export function payloadOf(spi: number): Uint8Array {
  const payload = new Uint8Array(PAYLOAD_BYTES);
  new DataView(payload.buffer).setUint32(0, spi);
  return payload;
}

/** spiOf returns the SPI of what was sealed. */
export function spiOf(payload: Uint8Array): number {
  return new DataView(payload.buffer, payload.byteOffset).getUint32(0);
}

/** agreed ends an exchange, if the agreement is the answer to one of our proposals. */
export function agreed(state: Ske5State, message: MessageOf<"agreement">, around: Ske5Around): Ske5Step {
  const { initiator } = state;
  if (initiator.kind !== "accept agreement" || !ipEqual(initiator.remote, around.route.remote))
    return [state, [count("protocol-errors")]];
  if (!around.allow("agreement")) return [state, [count("protocol-errors")]];
  let fault: "authentication-errors" | "public-key-errors" = "authentication-errors";
  for (const { sent } of initiator.attempts) {
    const read = readSecond(sent, { ephemeral: message.ephemeral, payload: message.sealed });
    if (read === "public key") fault = "public-key-errors";
    if (typeof read === "string") continue;
    const spi = spiOf(read.payload);
    if (spi < LEAST_SPI) {
      // Authentic, and nothing that ESP could send with (RFC 4303, section 2.1): the attempt is over.
      read.symmetric[Symbol.dispose]();
      return [abandon(state), [count("parameter-errors"), { kind: "lost", reason: "no usable SPI" }]];
    }
    const keys = splitKeys(around.primitives, read.symmetric);
    for (const other of initiator.attempts) if (other.sent !== sent) other.sent[Symbol.dispose]();
    const { queue } = around.route;
    const common = { queue, algorithm: "aes-128-gcm", extended: true } as const;
    const pair: AgreedPair = {
      inbound: [{ ...common, spi: initiator.spi, keyMaterial: keys.toInitiator }],
      outbound: [{ ...common, spi, keyMaterial: keys.toResponder }],
    };
    return [
      { ...state, initiator: { kind: "initiator" } },
      [{ kind: "agreed", role: "initiator", pair }, count("keypairs-negotiated")],
    ];
  }
  return [state, [count(fault)]];
}

/** expire gives an attempt up whose time has passed, and keeps its SPI. */
export function expire(state: Ske5State, nowMs: number): Ske5Step {
  const { initiator } = state;
  if (initiator.kind === "initiator" || nowMs < initiator.deadlineMs) return [state, []];
  return [abandon(state), [count("negotiations-expired"), { kind: "lost", reason: "no answer" }]];
}

/** abandon forgets an attempt. */
export function abandon(state: Ske5State): Ske5State {
  const { initiator } = state;
  if (initiator.kind === "initiator") return state;
  if (initiator.kind === "accept agreement")
    for (const { sent } of initiator.attempts) sent[Symbol.dispose]();
  return { ...state, initiator: { kind: "initiator", spi: initiator.spi } };
}
