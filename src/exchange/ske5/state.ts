/** What the two machines of vita-ske are, what happens to them, and what they ask for. */
import type { Ip, Secret } from "../../net/mod.ts";
import type { Bytes, DhKey, NnSent, Primitives } from "../../noise/mod.ts";
import type { AgreedPair, Spis } from "../agreed.ts";
import type { ExchangeCounter } from "../counter.ts";
import type { Ske5Message } from "./datagram.ts";

/** Ske5Route is what both ends of a route have been told. */
export interface Ske5Route {
  /** Tags the datagrams; the same at both ends. */
  readonly routeSpi: number;
  readonly psk: Secret;
  /** Ours as the peer sees it (`nat-ip`, else `ip`), and the peer's as we have it (gateway `ip`). */
  readonly local: Ip;
  readonly remote: Ip;
  readonly queue: number;
  /** Time limit of each half of an exchange. */
  readonly negotiationMs: number;
}

/** Attempt is a proposal that was sent for one nonce. */
export interface Attempt {
  readonly nonce: Bytes;
  readonly sent: NnSent;
}

/** InitiatorState holds the SPI that the peer shall send with; an expired attempt leaves it for the next. */
export type InitiatorState =
  | { readonly kind: "initiator"; readonly spi?: number }
  | {
      readonly kind: "accept challenge";
      readonly spi: number;
      /** The gateway that the attempt is with; another's messages are none of it. */
      readonly remote: Ip;
      readonly deadlineMs: number;
    }
  | {
      readonly kind: "accept agreement";
      readonly spi: number;
      readonly remote: Ip;
      readonly deadlineMs: number;
      readonly attempts: readonly Attempt[];
    };

/** ResponderState is made ahead, and lives until a proposal is accepted; there is none before the first message. */
export interface ResponderState {
  readonly nonce: Bytes;
  readonly ephemeral: DhKey;
  readonly spi: number;
}

/** Ske5State is a route's on one queue: the two machines are independent. */
export interface Ske5State {
  readonly initiator: InitiatorState;
  readonly responder?: ResponderState;
}

/** Ske5Event is what happens; `reset` forgets attempts, for other addresses or another time limit. */
export type Ske5Event =
  | { readonly kind: "begin" }
  | { readonly kind: "message"; readonly message: Ske5Message }
  | { readonly kind: "due" }
  | { readonly kind: "reset" };

/** Ske5Loss is why an attempt came to nothing. */
export type Ske5Loss = "no answer" | "no usable SPI";

/** Ske5Work is what costs something: answers to knocks, which prove nothing; agreements, which are proved by a curve operation; and handshakes of who has proved to be the peer. */
export type Ske5Work = "knock" | "agreement" | "handshake";

/** Ske5Effect is asked for. They are done in order: who is sent an agreement may send to us at once. */
export type Ske5Effect =
  | { readonly kind: "send"; readonly datagram: Bytes }
  | { readonly kind: "agreed"; readonly role: "initiator" | "responder"; readonly pair: AgreedPair }
  /** The attempt came to nothing. */
  | { readonly kind: "lost"; readonly reason: Ske5Loss }
  | { readonly kind: "count"; readonly leaf: ExchangeCounter }
  /** There is no SPI left. */
  | { readonly kind: "full" };

/** Ske5Around comes with each step. */
export interface Ske5Around {
  readonly route: Ske5Route;
  readonly primitives: Primitives;
  readonly spis: Spis;
  /** Takes one of the works of a kind that may be done; false: none is left now. None delays another. */
  readonly allow: (work: Ske5Work) => boolean;
  readonly nowMs: number;
}

/** Ske5Step is what a step returns; the state is the same object if nothing changed. */
export type Ske5Step = readonly [Ske5State, readonly Ske5Effect[]];

/** NEW_SKE5 is where a route begins. */
export const NEW_SKE5: Ske5State = { initiator: { kind: "initiator" } };

/** count is the effect of something that is only counted. */
export function count(leaf: ExchangeCounter): Ske5Effect {
  return { kind: "count", leaf };
}
