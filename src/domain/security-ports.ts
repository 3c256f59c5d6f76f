/**
 * The part of security groups that only a port can hold, for the domain's nftables table of family bridge: a guarded pod hears nothing but
 * what is sent to its own addresses, and says nothing under another one. So the rules of its groups, which know it by address, cannot be
 * gone around by broadcast, multicast or link-local addresses, or with protocols that are not IP.
 *
 * It needs the sets `pod_ip4` and `pod_ip6` of the anti-spoofing rules: `iifname . ether saddr . ip saddr`, the port and its own addresses.
 */
import type { SetElement } from "../engine/mod.ts";
import { LINK_ICMP6 } from "./security-group.ts";

/** GUARDED_PORTS are the definitions; they stand behind those of the sets. */
export const GUARDED_PORTS = `
set guarded { type ifname; }
chain guarded_in {
  type filter hook prerouting priority -290; policy accept;
  iifname @guarded ether type ip6 goto guarded_from
}
chain guarded_from {
  icmpv6 type ${LINK_ICMP6} accept
  ip6 saddr fe80::/10 drop
}
chain guarded_out {
  type filter hook postrouting priority 0; policy accept;
  oifname @guarded goto guarded_to
}
chain guarded_to {
  ether type vmap { ip : goto guarded_to_ip4, ip6 : goto guarded_to_ip6, arp : accept }
  drop
}
chain guarded_to_ip4 {
  oifname . ether daddr . ip daddr @pod_ip4 accept
  drop
}
chain guarded_to_ip6 {
  icmpv6 type ${LINK_ICMP6} accept
  oifname . ether daddr . ip6 daddr @pod_ip6 accept
  drop
}
`;

/** guardedPort returns the element that puts a port under these rules. */
export function guardedPort(port: string): SetElement {
  return { kind: "element", family: "bridge", set: "guarded", key: [port] };
}
