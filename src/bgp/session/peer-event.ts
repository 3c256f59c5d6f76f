/** What the session with one peer is told, and what it asks for. A recording is a list of these events. */
import type { BgpError } from "../wire/mod.ts";
import type { Ended, Moment } from "./fsm-event.ts";
import type { Negotiated } from "./negotiated.ts";

/** PeerCause is one event without its moment. Connections have numbers: those that the effects `connect` and `adopt` gave them. */
export type PeerCause =
  | { readonly kind: "start" }
  | {
      readonly kind: "stop";
      readonly error: BgpError;
      readonly automatic?: boolean;
      readonly restartAfterMs?: number;
      /** Neither side keeps routes (RFC 8538 section 3): the NOTIFICATION becomes a hard reset. Default: as the error is. */
      readonly hard?: boolean;
    }
  /** Time has passed. Says also when the session heard something last, and since when it cannot send. */
  | { readonly kind: "time"; readonly heardMs?: number; readonly stuckMs?: number }
  /** Our connection stands. */
  | { readonly kind: "connected"; readonly connection: number }
  /** The peer has made a connection. */
  | { readonly kind: "accepted" }
  /** A connection is gone, or could not be made. */
  | { readonly kind: "failed"; readonly connection: number; readonly reason: string }
  /** A message. UPDATE, ROUTE-REFRESH and KEEPALIVE of an established session need not come here. */
  | {
      readonly kind: "message";
      readonly connection: number;
      readonly type: number;
      readonly body: Uint8Array;
    }
  | { readonly kind: "header-error"; readonly connection: number; readonly error: BgpError }
  | { readonly kind: "update-error"; readonly connection: number; readonly error: BgpError };

/** PeerEvent is an event at its moment. */
export type PeerEvent = PeerCause & Moment;

/** PeerEffect is what the session asks for. They are done in order. */
export type PeerEffect =
  | { readonly kind: "connect"; readonly connection: number }
  /** The connection that was accepted has this number. */
  | { readonly kind: "adopt"; readonly connection: number }
  /** The connection that was accepted is turned away. */
  | { readonly kind: "refuse" }
  | { readonly kind: "send"; readonly connection: number; readonly bytes: Uint8Array }
  /** After what was sent, end a connection; it may be gone already. */
  | { readonly kind: "close"; readonly connection: number }
  | { readonly kind: "established"; readonly connection: number; readonly negotiated: Negotiated }
  /** The session that was established is not any more. With `graceful` its routes are to be kept as stale. */
  | {
      readonly kind: "down";
      readonly ended: Ended;
      readonly negotiated: Negotiated;
      readonly graceful: boolean;
    }
  /** An attempt has failed: for people. */
  | { readonly kind: "ended"; readonly ended: Ended };
