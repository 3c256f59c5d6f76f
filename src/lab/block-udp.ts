/** Boxes that let no UDP through, as in many offices and hotels: what they forward is TCP and ICMP. */
import { LAB_TABLE } from "./nat.ts";

/** blockUdpRuleset returns the text for nft(8) that makes a box drop the UDP that it would forward, of both families. */
export function blockUdpRuleset(): string {
  return `table inet ${LAB_TABLE} {
  chain without-udp {
    type filter hook forward priority filter - 1
    meta l4proto udp counter drop
  }
}
`;
}
