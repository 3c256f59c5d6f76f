/**
 * bgp/wire: what BGP speakers say to each other, as bytes and as values. Framing, OPEN, UPDATE, NLRI, path attributes.
 *
 * Two ways through an UPDATE:
 * - hot: `UpdateView` finds everything in place and says what RFC 7606 makes of it, `NlriCursor` takes the routes one by one as key and extra,
 *   `writeCanonical` and `writeNlri` write what a table keeps and sends. No allocation.
 * - plain: `attributesOf`, `decodeNlri` and their inverses make readonly values, for policy, commands and what we announce.
 *
 * What a session agrees on is `bgp/session`'s; what routes mean (loops, preference, policy) is `bgp/rib`'s and `bgp/policy`'s.
 *
 * @example
 * ```ts
 * const reaction = view.parse(stream.bytes, stream.bodyAt, stream.end, session);
 * if (reaction === RESET) return view.error;
 * const attributes = out.subarray(0, writeCanonical(view, false, out, 0));
 * for (let at = view.reachAt; at < view.reachEnd; ) at = cursor.next(view.bytes, at, view.reachEnd, addPath);
 * ```
 */
export * from "./as-path.ts";
export * from "./attribute-code.ts";
export * from "./attribute-codec.ts";
export * from "./attribute-table.ts";
export * from "./canonical.ts";
export * from "./canonical-form.ts";
export * from "./capability.ts";
export * from "./community.ts";
export * from "./esi.ts";
export * from "./evpn-nlri.ts";
export * from "./extended-community.ts";
export * from "./family.ts";
export * from "./large-community.ts";
export * from "./message.ts";
export * from "./next-hop.ts";
export * from "./nlri.ts";
export * from "./notification.ts";
export * from "./octets.ts";
export * from "./open.ts";
export * from "./path-attributes.ts";
export * from "./pmsi-tunnel.ts";
export * from "./reaction.ts";
export * from "./route-distinguisher.ts";
export * from "./router-mac.ts";
export * from "./tunnel-encapsulation.ts";
export * from "./update-session.ts";
export * from "./update.ts";
export * from "./wire-attributes.ts";
export * from "./nlri-print.ts";
export * from "./nlri-value.ts";
export * from "./attributes-print.ts";
