/** Routes for keepers of keys: both ends of one, by either protocol. */
import type { KeyChannel, KeyRoute } from "../../src/gateway/keys/mod.ts";
import { parseEndpoint, Secret } from "../../src/net/mod.ts";

/** RouteEnds says what is the same at both ends, and where they are. */
export interface RouteEnds {
  readonly protocol: "ske5" | "ours";
  readonly id?: string;
  readonly number?: number;
  /** `address:port` of queue 1 and so on, ours and then the peer's. */
  readonly local: readonly string[];
  readonly remote: readonly (readonly string[])[];
  readonly lifetimeMs?: number;
  readonly negotiationMs?: number;
  readonly packets?: number;
  readonly psk?: number;
}

/** keyRoute returns one end. */
export function keyRoute(ends: RouteEnds): KeyRoute {
  const { protocol, id = "r", number = 1001, packets, psk = 5 } = ends;
  const secret = new Secret(new Uint8Array(32).fill(psk));
  const trust = { kind: "pre-shared key", psk: secret } as const;
  return {
    id,
    protocol:
      protocol === "ske5"
        ? { kind: "ske5", routeSpi: number, psk: secret }
        : { kind: "ours", terms: { route: number, family: "both", trust }, algorithms: ["aes-256-gcm"] },
    channels: ends.local.map((local, index): KeyChannel => {
      const endpoint = parseEndpoint(local);
      const gateways = (ends.remote[index] ?? []).map(parseEndpoint);
      return { queue: index + 1, queues: [index + 1], local: { endpoint, identity: endpoint.ip }, gateways };
    }),
    negotiationMs: ends.negotiationMs ?? 2000,
    lifetime: { ms: ends.lifetimeMs ?? 20_000, ...(packets === undefined ? {} : { packets }) },
  };
}

const PARIS = "203.0.113.1:303";
const TOKYO = "203.0.113.2:303";

/** keyRoutes returns both ends of a route between two addresses. */
export function keyRoutes(
  options: Partial<RouteEnds> & Pick<RouteEnds, "protocol">,
): readonly [KeyRoute, KeyRoute] {
  return [
    keyRoute({ local: [PARIS], remote: [[TOKYO]], ...options }),
    keyRoute({ local: [TOKYO], remote: [[PARIS]], ...options }),
  ];
}
