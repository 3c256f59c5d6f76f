/**
 * EvpnGuard: which EVPN routes a neighbor may announce, judged one by one before policy and before they are reflected. What is refused is kept, and
 * judged again when the rules change.
 */
import { type Ip, ipFromBytes } from "../../net/mod.ts";
import type { NeighborOptions } from "../../resources/mod.ts";
import { decodeRemote, type EvpnRoute } from "../evpn/mod.ts";
import type { RouteGuard } from "../rib/mod.ts";
import { EVPN } from "../wire/mod.ts";
import type { AttributeDigests } from "./attribute-digests.ts";
import { isReflectorClient } from "./neighbor-config.ts";

/** EvpnClaim is a route as far as it is judged. */
export interface EvpnClaim {
  /** Router in the route distinguisher; absent where it names none. */
  readonly rdRouter?: Ip;
  /** Absent: not of types 2, 3 and 5 over VXLAN, or it lacks a part of these. */
  readonly route?: EvpnRoute;
  /** What it says is reached by; for type 3 beside the end of the tunnel. */
  readonly nextHop?: Ip;
}

/** EvpnGuard returns why a neighbor may not announce a route; undefined where it may. */
export type EvpnGuard = (neighbor: Ip, claim: EvpnClaim) => string | undefined;

/** routeGuard judges the routes of one neighbor, if that is a client of this reflector; `onRefused` is told why. */
export function routeGuard(
  guard: EvpnGuard | undefined,
  { address, options }: { readonly address: Ip; readonly options: NeighborOptions },
  { digests, onRefused }: { readonly digests: AttributeDigests; readonly onRefused: (why: string) => void },
): RouteGuard | undefined {
  if (guard === undefined || !isReflectorClient(options, EVPN)) return undefined;
  return {
    family: EVPN,
    admits(set, key, extra) {
      const digest = digests.of(set);
      const rdRouter = rdRouterOf(key);
      const route = decodeRemote(key, extra, digest);
      const why = guard(address, {
        ...(rdRouter === undefined ? {} : { rdRouter }),
        ...(route === undefined ? {} : { route }),
        ...(digest.nextHop === undefined ? {} : { nextHop: digest.nextHop }),
      });
      if (why !== undefined) onRefused(why);
      return why === undefined;
    },
  };
}

/** Type 1 of RFC 4364 section 4.2: an address and a number. It stands behind the type of the route, in all that are looked into. */
function rdRouterOf(key: Uint8Array): Ip | undefined {
  return key[1] === 0 && key[2] === 1 ? ipFromBytes(key.subarray(3, 7)) : undefined;
}
