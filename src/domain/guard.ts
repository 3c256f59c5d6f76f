/**
 * The guard before decapsulation. VXLAN knows no origin: whoever reaches the UDP port could speak in any domain. So the host takes it from
 * the underlay's link only, and there from those VTEPs only that EVPN says take part in that VNI.
 *
 * It is a part of the table `inet causeway` of the host's namespace: text for its ruleset, and elements of the sets in it. Packets are whole
 * here wherever connection tracking is on (it puts fragments together at -400), and a first fragment too short to tell its VNI is dropped.
 *
 * VXLAN is not tracked: each inner flow has a source port of its own, nobody answers to it (RFC 7348 section 5), and the look-up would cost each packet more
 * than the guard.
 */
import type { SetElement } from "../engine/mod.ts";
import { formatIp, type Ip } from "../net/mod.ts";

/** GUARD_SETS are the guard's sets: UDP ports of ours, and who may send with which VNI. */
export const GUARD_SETS = { port: "vxlan_port", 4: "vxlan4", 6: "vxlan6" } as const;

/**
 * guardText returns the guard for the table of family inet of the host: sets and chains. `@th,96,32` is the VNI with the reserved byte behind
 * it, which is zero (RFC 7348 section 5). Where the rules of legs (LEG_RULES) are not in the same table, nothing comes out of a leg: they cannot be
 * missing without a word.
 */
export function guardText(
  underlayLinks: string | readonly string[],
  { hasLegs = false }: { readonly hasLegs?: boolean } = {},
): string {
  const quoted = [underlayLinks].flat().map((link) => `"${link}"`);
  const links = quoted.length === 1 ? quoted.join() : `{ ${quoted.join(", ")} }`;
  const noLegs = hasLegs ? "" : '\tiifname "cwn*" counter drop\n\tiifname "cwt*" counter drop\n';
  return `set vxlan_port { type inet_service; }
set vxlan4 { typeof ip saddr . @th,96,32; }
set vxlan6 { typeof ip6 saddr . @th,96,32; }
chain vxlan {
	# Nearly all that comes is what may come: it is judged first, and by nothing else.
	iifname ${links} ip saddr . @th,96,32 @vxlan4 notrack accept
	iifname ${links} ip6 saddr . @th,96,32 @vxlan6 notrack accept
${noLegs}	# What only passes through is not ours. What is broadcast or multicast reaches the sockets here too.
	fib daddr type unicast accept
	iifname != ${links} counter drop
	counter drop
}
chain vxlan_in {
	type filter hook prerouting priority -310; policy accept;
	udp dport @vxlan_port goto vxlan
${noLegs}}
chain vxlan_out {
	type filter hook output priority raw; policy accept;
	# The kernel's own has no owner, and is let go by the first word; nobody else may speak as this VTEP.
	meta skuid != 0 udp dport @vxlan_port counter drop
	udp dport @vxlan_port notrack
}
`;
}

/** guardPort returns the element that puts a UDP port under the guard. */
export function guardPort(port: number): SetElement {
  return { kind: "element", family: "inet", set: GUARD_SETS.port, key: [String(port)] };
}

/** guardPair returns the element that lets a VTEP send with a VNI. */
export function guardPair(vni: number, vtep: Ip): SetElement {
  return {
    kind: "element",
    family: "inet",
    set: GUARD_SETS[vtep.family],
    key: [formatIp(vtep), String(vni * 256)],
  };
}
