/**
 * NAT boxes as nftables rules, in the terms of RFC 4787.
 *
 * | kind | mapping of UDP | filtering of UDP from outside |
 * |---|---|---|
 * | `cone` | endpoint-independent | none: whoever sends to the mapping gets through |
 * | `restricted` | endpoint-independent | address and port: only who was sent to may answer |
 * | `symmetric` | a random port for each destination | address and port |
 *
 * Linux' own source NAT promises no endpoint-independent mapping: it keeps the source port as long as the translated flow
 * is unique, so that of two machines inside with one source port each gets it for the destinations it reached first. Here
 * every machine inside has its own block of ports; the kernel chooses once, and `forward` remembers the choice for every
 * other destination, also when its connection tracking entry is long gone. `reverse` is the way back, for the cone.
 * Mappings live ten minutes after the last packet from inside (RFC 4787 section 4.3: at least two). No hairpinning.
 */
import { formatIp, type Ip } from "../net/mod.ts";
import type { NatBox } from "./topology.ts";

/** The name of the laboratory's nftables tables; the agent's are called otherwise. */
export const LAB_TABLE = "lab";

/** The ports that a NAT box gives out. */
const FIRST_PORT = 2048;
const LAST_PORT = 65535;

function blocks(inside: readonly Ip[], publicAddress: string): string[] {
  const size = Math.floor((LAST_PORT - FIRST_PORT + 1) / Math.max(1, inside.length));
  return inside.map((address, index) => {
    const from = FIRST_PORT + index * size;
    return `meta l4proto udp ip saddr ${formatIp(address)} snat ip to ${publicAddress}:${from}-${from + size - 1}`;
  });
}

/** natRuleset returns the text for nft(8) that makes a NAT box; `inside` are the addresses of the machines behind it. */
export function natRuleset(nat: NatBox, inside: readonly Ip[]): string {
  const outside = formatIp(nat.attachments[1].address4.ip);
  const independent = nat.kind !== "symmetric";
  const source = independent
    ? [
        `meta l4proto udp snat ip to ${outside} : ip saddr . udp sport map @forward`,
        ...blocks(inside, outside),
        "masquerade",
      ]
    : ["meta l4proto udp masquerade random,fully-random", "masquerade"];
  const lines = (indent: string, list: readonly string[]) =>
    list.map((line) => `${indent}${line}\n`).join("");
  return `table ip ${LAB_TABLE} {
  map forward {
    type ipv4_addr . inet_service : inet_service
    flags dynamic
    size 65535
    timeout 10m
  }
  map reverse {
    type inet_service : ipv4_addr . inet_service
    flags dynamic
    size 65535
    timeout 10m
  }
  chain incoming {
    type nat hook prerouting priority dstnat
${nat.kind === "cone" ? '    iifname "outside" meta l4proto udp dnat ip to udp dport map @reverse\n' : ""}  }
  chain outgoing {
    type nat hook postrouting priority srcnat
    oifname != "outside" accept
${lines("    ", source)}  }
  chain learn {
    type filter hook postrouting priority srcnat + 10
    oifname "outside" ct direction original ct status snat jump remember
  }
  chain remember {
    meta l4proto udp update @forward { ct original ip saddr . ct original proto-src : udp sport }
    meta l4proto udp update @reverse { udp sport : ct original ip saddr . ct original proto-src }
  }
  chain forwarding {
    type filter hook forward priority filter
    # A packet that belongs to no connection would leave untranslated, private source included.
    ct state invalid drop
    iifname "inside" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }
  # Dropped, not refused: and an entry of connection tracking that would stand in the way of a later mapping is never made.
  chain own {
    type filter hook input priority filter
    iifname "outside" ct state established,related accept
    iifname "outside" meta l4proto icmp icmp type echo-request accept
    iifname "outside" drop
  }
}
`;
}

/** flushedMappings returns the text for nft(8) that makes a NAT box forget its mappings; connection tracking is apart. */
export function flushedMappings(): string {
  return `flush map ip ${LAB_TABLE} forward\nflush map ip ${LAB_TABLE} reverse\n`;
}
