/**
 * bgp: a BGP speaker (RFC 4271) with EVPN (RFC 7432) and a route reflector (RFC 4456).
 *
 * `wire` is bytes, `session` and `rib` are pure, `io` has the sockets, `policy` the rules, `speaker` brings them together. Best paths go to
 * listeners, and unicast ones to the kernel where a router says so. Local multihoming of EVPN (segments of our own, election of a forwarder) is not done.
 *
 * @example
 * ```ts
 * const routers = new Routers({ folder, log });
 * const failed = routers.set(resources);
 * ```
 */
export type {
  EvpnChange,
  EvpnFlood,
  EvpnHost,
  EvpnPrefix,
  EvpnRoute,
  HostName,
  LocalHost,
  LocalPrefix,
  LocalRouting,
  LocalSegment,
} from "./evpn/mod.ts";
export {
  compilePrefixRules,
  type PrefixAttributes,
  type PrefixRules,
  type RuledPrefix,
} from "./policy/mod.ts";
export { replay, RecordingError } from "./io/mod.ts";
export * from "./speaker/mod.ts";
