/** What happens to the keeper of keys, and what it asks for. */
import type { AgreedSa, ExchangeCounter } from "../../exchange/mod.ts";
import type { Path } from "../../exchange/ours/mod.ts";
import type { Endpoint } from "../../net/mod.ts";
import type { KeyRoute } from "./key-route.ts";

/** Now is the time of a step: milliseconds that never go back and pass in sleep too. */
export interface Now {
  readonly nowMs: number;
}

/** Direction of an association. */
export type Direction = "inbound" | "outbound";

/** Installed is an association that the data path had before the keeper began; of what goes out, the one that a queue uses. */
export interface Installed {
  readonly direction: Direction;
  readonly route: string;
  readonly queue: number;
  readonly spi: number;
  readonly path: Path;
  readonly endsMs: number;
  /** As it was given with the association (KeeperEffect); absent: the route's trust is surely what it was. */
  readonly trust?: string;
}

/** KeeperEvent is what happens. */
export type KeeperEvent =
  /** All routes from now on; those that stay as they are notice nothing. */
  | { readonly kind: "configure"; readonly routes: readonly KeyRoute[] }
  /** Some routes: it costs what they cost, however many others there are. */
  | { readonly kind: "change"; readonly put: readonly KeyRoute[]; readonly remove: readonly string[] }
  /** What the data path still has of a keeper before: before the first `configure`, which goes on with it, or has what is of no route or trust removed. */
  | { readonly kind: "adopt"; readonly installed: readonly Installed[] }
  /** A datagram came to a queue; without a non-ESP marker. */
  | {
      readonly kind: "datagram";
      readonly queue: number;
      readonly from: Endpoint;
      readonly to: Endpoint;
      readonly bytes: Uint8Array;
    }
  /** Authentic packets came under an inbound association. */
  | { readonly kind: "heard"; readonly route: string; readonly queue: number; readonly spi: number }
  /** An association has carried what it may: at the hard limit the path lets it carry no more. */
  | {
      readonly kind: "limit";
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
      readonly direction: Direction;
      readonly limit: "soft" | "hard";
    }
  | { readonly kind: "due" }
  /** Say goodbye and end all: the gateway is taken down. Not for a restart, which traffic survives. */
  | { readonly kind: "close" };

/** Use is how much an association may carry. */
export interface Use {
  readonly packets: number;
  readonly bytes: number;
}

/** KeeperNews is what people want to know of a channel. */
export type KeeperNews =
  | { readonly kind: "up" }
  | { readonly kind: "down"; readonly reason: string }
  | { readonly kind: "agreed"; readonly role: "initiator" | "responder"; readonly restarted: boolean }
  | { readonly kind: "gateway"; readonly to: Endpoint }
  | { readonly kind: "round-trip"; readonly ms: number };

/** KeeperCounter is a leaf of `key-manager` (Vita's gateway-state). */
export type KeeperCounter =
  | ExchangeCounter
  | "rxerrors"
  | "route-errors"
  | "inbound-sa-expired"
  | "outbound-sa-expired"
  | "outbound-sa-updated";

/**
 * KeeperEffect is asked for. Those of one route are done in order, and one is done when the data path has it: a peer sends as soon as it is sent
 * the last message of an exchange, so the inbound association before that must be there. Key material is wiped by whoever installs it.
 */
export type KeeperEffect =
  | {
      readonly kind: "send";
      readonly route: string;
      readonly queue: number;
      readonly from: Endpoint;
      readonly to: Endpoint;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: "inbound";
      readonly route: string;
      /** Names what the ends trust: kept with the association, it tells after a restart whether that is the same still. Not secret. */
      readonly trust: string;
      readonly sa: AgreedSa;
      /** The way that the peer sends by as far as is known; where it moves, `endpoint` of what goes to it tells. */
      readonly path: Path;
      readonly endsMs: number;
      readonly hard: Use;
    }
  /** It waits for `use`. */
  | {
      readonly kind: "outbound";
      readonly route: string;
      readonly trust: string;
      readonly sa: AgreedSa;
      readonly path: Path;
      readonly endsMs: number;
      readonly soft: Use;
      readonly hard: Use;
    }
  /** The queue's packets leave by it; the one before is removed. */
  | { readonly kind: "use"; readonly route: string; readonly queue: number; readonly spi: number }
  | {
      readonly kind: "remove";
      readonly direction: Direction;
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
    }
  /** The peer, or our own address, is another. */
  | {
      readonly kind: "endpoint";
      readonly route: string;
      readonly queue: number;
      readonly spi: number;
      readonly path: Path;
    }
  | { readonly kind: "news"; readonly route: string; readonly queue: number; readonly news: KeeperNews };
