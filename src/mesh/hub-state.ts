/** What the choice of hubs knows, what happens to it, and what it asks for. The steps are in hub-choice.ts, the order of hubs in hub-ranking.ts. */
import type { Endpoint } from "../net/mod.ts";
import type { HubDistance } from "../resources/mod.ts";
import type { LeastRtt } from "./least-rtt.ts";
import type { PathMtu } from "./path-mtu.ts";

/** MAX_HUBS bounds the table. */
export const MAX_HUBS = 16;

/** KnownHub is a hub as the register and the resolver know it, in order of preference while nothing is measured. */
export interface KnownHub {
  readonly name: string;
  readonly endpoint: Endpoint;
  /** MTU of the link towards it; 1500 when absent. */
  readonly linkMtuBytes?: number;
}

/** UnansweredPing is a ping that is on its way. */
export interface UnansweredPing {
  readonly transaction: bigint;
  readonly sentMs: number;
  /** How long this process has stood still since: nobody's silence. */
  readonly stoodMs?: number;
}

/** HubHealth is what is known of one hub. */
export interface HubHealth extends KnownHub {
  readonly state: "unknown" | "up" | "down";
  readonly sinceMs: number;
  /** Smoothed: how long an answer takes now, with all that hinders it. */
  readonly rttMs?: number;
  /** The shortest answers, which tell the distance. */
  readonly least?: LeastRtt;
  /** Distance as it is published: it changes in steps, lest every change goes through the register. */
  readonly saidMs?: number;
  readonly pongMs?: number;
  /** When it was found that something had come that it relays. */
  readonly heardMs?: number;
  readonly unanswered: readonly UnansweredPing[];
  readonly nextMs: number;
  readonly instance?: number;
  /** Where it sees our pings come from. */
  readonly seen?: Endpoint;
  /** Times it went down. */
  readonly downs: number;
  readonly mtu: PathMtu;
}

/** HubChoice is this node's view of all hubs. A plain value. */
export interface HubChoice {
  readonly hubs: readonly HubHealth[];
  /** The hub that serves this node best. */
  readonly home?: string;
  /** Hubs through which traffic is relayed now. */
  readonly relaying: readonly string[];
  /** Since when there are any. */
  readonly relayingMs?: number;
  readonly nextTransaction: bigint;
  /** What this node publishes of hubs that it reaches (publishedDistances). */
  readonly published: readonly HubDistance[];
}

/** HubChoiceEvent is what happened. `nowMs` is monotonic. */
export type HubChoiceEvent =
  | { readonly kind: "hubs"; readonly nowMs: number; readonly hubs: readonly KnownHub[] }
  | {
      readonly kind: "pong";
      readonly nowMs: number;
      readonly hub: string;
      readonly transaction: bigint;
      readonly sizeBytes: number;
      readonly seen: Endpoint;
      readonly instance?: number;
    }
  /** Hubs through which traffic was relayed lately (relayingHub of each ladder); told once a second. */
  | { readonly kind: "relaying"; readonly nowMs: number; readonly hubs: readonly string[] }
  /** Hubs through which something came since it was last looked; told whenever one is doubted (doubtsHub). */
  | { readonly kind: "heard"; readonly nowMs: number; readonly hubs: readonly string[] }
  /** This process stood still for so long: answers may have come, and were not read. */
  | { readonly kind: "stood"; readonly nowMs: number; readonly forMs: number }
  /** Own interfaces or routes changed: look at all hubs now. */
  | { readonly kind: "network"; readonly nowMs: number }
  | { readonly kind: "due"; readonly nowMs: number };

/** HubChoiceEffect is to be carried out by the caller, in order. */
export type HubChoiceEffect =
  | {
      readonly kind: "ping";
      readonly hub: string;
      readonly to: Endpoint;
      readonly transaction: bigint;
      readonly sizeBytes: number;
    }
  /** Health, distance, instance or MTU of a hub changed: step `relays` at the ladders, publish `publishedDistances`. */
  | { readonly kind: "changed" }
  /** A hub sees us at another address: say something to every hub inside the tunnel, so that WireGuard there learns it; then step `network` with `moved` at the ladders. */
  | { readonly kind: "moved"; readonly hub: string; readonly seen: Endpoint };

/** HubChoiceStep is the new state and what to do. */
export type HubChoiceStep = readonly [HubChoice, readonly HubChoiceEffect[]];
