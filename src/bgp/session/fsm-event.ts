/** What a connection's machine is told (RFC 4271 section 8.1) and what it asks for. The numbers of the RFC stand at each event. */
import type { BgpError } from "../wire/mod.ts";
import type { Negotiated } from "./negotiated.ts";
import type { FsmName } from "./fsm-state.ts";

/** FsmTimer names the timers of RFC 4271 section 8, and that of RFC 9687. */
export type FsmTimer = "connect-retry" | "hold" | "keepalive" | "delay-open" | "idle-hold" | "send-hold";

/** Moment is when an event happens, and a throw of the dice in [0, 1) for what the RFC wants spread (section 10, jitter). */
export interface Moment {
  readonly nowMs: number;
  readonly chance: number;
}

/** FsmCause is one event without its moment. */
export type FsmCause =
  /** 1, 3 to 7: which of them it is, the configuration says. */
  | { readonly kind: "start" }
  /** 2, and 8 with `automatic`. The error is a cease. */
  | {
      readonly kind: "stop";
      readonly error: BgpError;
      /** Starts again by itself after this time; absent with `automatic`: when IdleHoldTimer says. */
      readonly automatic?: boolean;
      readonly restartAfterMs?: number;
    }
  /** 9 to 13, 29. */
  | { readonly kind: "timer"; readonly timer: FsmTimer }
  /** 14 is the kernel's affair. 15: the connection is one that is not wanted. */
  | { readonly kind: "tcp-invalid" }
  /** 16: our connection stands. */
  | { readonly kind: "tcp-connected" }
  /** 17: the peer's connection stands. */
  | { readonly kind: "tcp-accepted" }
  /** 18. */
  | { readonly kind: "tcp-failed"; readonly reason: string }
  /** 19, and 20 while DelayOpenTimer runs. */
  | { readonly kind: "open"; readonly negotiated: Negotiated }
  /** 21. */
  | { readonly kind: "header-error"; readonly error: BgpError }
  /** 22. */
  | { readonly kind: "open-error"; readonly error: BgpError }
  /** 23. */
  | { readonly kind: "collision" }
  /** 24 for an unsupported version, else 25. */
  | { readonly kind: "notification"; readonly error: BgpError }
  /** 26. */
  | { readonly kind: "keepalive" }
  /** 27, and ROUTE-REFRESH, which the RFC does not number: like an UPDATE it belongs into Established only. */
  | { readonly kind: "update" }
  /** 28; also errors of ROUTE-REFRESH (RFC 7313 section 5). */
  | { readonly kind: "update-error"; readonly error: BgpError };

/** FsmEvent is an event at its moment. */
export type FsmEvent = FsmCause & Moment;

/** Ended says how a connection ended. */
export interface Ended {
  readonly state: FsmName;
  /** `sent` and `received`: by a NOTIFICATION of ours or theirs. `lost`: without one. `replaced`: the peer made a new connection (RFC 4724 section 5). */
  readonly by: "sent" | "received" | "lost" | "replaced";
  readonly error?: BgpError;
  readonly text: string;
}

/** FsmEffect is what the machine asks for. They are done in order. */
export type FsmEffect =
  /** Begin a connection to the peer. */
  | { readonly kind: "connect" }
  /** Send a message. */
  | { readonly kind: "send"; readonly bytes: Uint8Array }
  /** End the connection, or the attempt. */
  | { readonly kind: "disconnect" }
  /** Routes may be exchanged. */
  | { readonly kind: "established"; readonly negotiated: Negotiated }
  /** The machine went to Idle: after Established, the session is down. */
  | { readonly kind: "ended"; readonly ended: Ended };
