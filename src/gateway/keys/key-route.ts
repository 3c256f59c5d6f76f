/** What the keeper is told of routes: how the ends know each other, by which ways they speak, and how long keys live. */
import { equalBytes } from "../../sys/mod.ts";
import type { SaAlgorithm } from "../../exchange/mod.ts";
import type { OursTerms, OursTrust } from "../../exchange/ours/mod.ts";
import { type Endpoint, endpointEqual, type Ip, ipEqual, type Secret } from "../../net/mod.ts";
import { systemPrimitives } from "../../noise/mod.ts";

const TRUST_BYTES = 16;

/** KeyProtocol is how a route's keys are agreed on. */
export type KeyProtocol =
  | { readonly kind: "ske5"; readonly routeSpi: number; readonly psk: Secret }
  /** Algorithms in order of preference. */
  | { readonly kind: "ours"; readonly terms: OursTerms; readonly algorithms: readonly SaAlgorithm[] };

/** KeyChannel is one way to a route's peer: its exchange is its own. */
export interface KeyChannel {
  /** Names the channel in its route: the queue whose public address it uses. */
  readonly queue: number;
  /** The queues whose packets go by it, 1 to 64; vita-ske knows the first only. */
  readonly queues: readonly number[];
  /** `identity` is what the peer knows us by (`nat-ip`, else the address). */
  readonly local: { readonly endpoint: Endpoint; readonly identity: Ip };
  /** In the order in which they are tried; none where the peer calls. */
  readonly gateways: readonly Endpoint[];
}

/** KeyLifetime says when keys end. */
export interface KeyLifetime {
  readonly ms: number;
  /** Of one association; default as many as the algorithm may protect (associations.ts). */
  readonly bytes?: number;
  readonly packets?: number;
}

/** KeyRoute is a route as far as keys go. */
export interface KeyRoute {
  readonly id: string;
  readonly protocol: KeyProtocol;
  readonly channels: readonly KeyChannel[];
  /** How long each half of an exchange may take. */
  readonly negotiationMs: number;
  readonly lifetime: KeyLifetime;
  /** Of our own exchange; default FAST_LIVENESS where there is another gateway or queue to go to, else SLOW_LIVENESS. */
  readonly liveness?: Liveness;
}

/** Liveness is how often the peer is asked, and how long a silence means that it is dead. */
export interface Liveness {
  readonly probeMs: number;
  readonly deadMs: number;
}

/** FAST_LIVENESS leads to another gateway in well under a second: 7 datagrams a second. */
export const FAST_LIVENESS: Liveness = { probeMs: 150, deadMs: 450 };
/** SLOW_LIVENESS is for a route with one gateway, where a new exchange is all that can be done; it also keeps a NAT's mapping. */
export const SLOW_LIVENESS: Liveness = { probeMs: 2_000, deadMs: 7_000 };

/** routeNumber returns what messages name the route by. */
export function routeNumber({ protocol }: KeyRoute): number {
  return protocol.kind === "ske5" ? protocol.routeSpi : protocol.terms.route;
}

/** trustName names what the ends of a route trust: the same for the same secrets, keys, number, family and algorithms. It tells nothing of secrets. */
export function trustName(protocol: KeyProtocol): string {
  const { hmac } = systemPrimitives;
  const name = (psk: Secret | undefined, ...parts: readonly (string | number)[]) => {
    const key = psk?.reveal() ?? new Uint8Array(32);
    const code = hmac(key, new TextEncoder().encode(["causeway trust", ...parts].join("\n")));
    return Buffer.from(code.subarray(0, TRUST_BYTES)).toString("hex");
  };
  if (protocol.kind === "ske5") return name(protocol.psk, "ske5", protocol.routeSpi);
  const { route, family, trust } = protocol.terms;
  const keys = trust.kind === "public keys" ? [trust.privateKey.publicKey, trust.remote] : [];
  return name(trust.psk, "ours", route, family, protocol.algorithms.join(), ...keys);
}

/** sameTrust tells whether keys that were agreed on under one are as good under the other. */
export function sameTrust(a: KeyProtocol, b: KeyProtocol): boolean {
  if (a.kind === "ske5") return b.kind === "ske5" && a.routeSpi === b.routeSpi && sameSecret(a.psk, b.psk);
  if (b.kind === "ske5") return false;
  const same = a.terms.route === b.terms.route && a.terms.family === b.terms.family;
  return same && a.algorithms.join() === b.algorithms.join() && sameEnds(a.terms.trust, b.terms.trust);
}

function sameEnds(a: OursTrust, b: OursTrust): boolean {
  if (!sameSecret(a.psk, b.psk)) return false;
  if (a.kind !== "public keys") return b.kind === a.kind;
  return b.kind === a.kind && a.remote === b.remote && sameSecret(a.privateKey, b.privateKey);
}

function sameSecret(a: Secret | undefined, b: Secret | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && equalBytes(a.reveal(), b.reveal()));
}

/** sameWay tells whether an exchange that is on its way over one goes on over the other. */
export function sameWay(a: KeyChannel, b: KeyChannel): boolean {
  return (
    endpointEqual(a.local.endpoint, b.local.endpoint) &&
    ipEqual(a.local.identity, b.local.identity) &&
    a.queues.join() === b.queues.join() &&
    a.gateways.length === b.gateways.length &&
    a.gateways.every((gateway, index) => endpointEqual(gateway, b.gateways[index] as Endpoint))
  );
}
