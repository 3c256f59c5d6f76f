/** What is here, as whoever has it says it: segments, routing, hosts and prefixes that are announced. */
import type { Ip, Mac, Prefix } from "../../net/mod.ts";
import type { EvpnMac, EvpnRoutedWish, EvpnSegmentWish } from "../../resources/mod.ts";
import type { AsPath, LargeCommunity } from "../wire/mod.ts";

/** LocalSegment is an L2VNI that is active here: announced (type 3), and its route targets asked for. Identity: vni. */
export type LocalSegment = Omit<EvpnSegmentWish, "macs">;

/** LocalRouting is an L3VNI that is active here. Identity: vni, which no segment has. */
export interface LocalRouting extends Omit<EvpnRoutedWish, "prefixes"> {
  /** Absent: AS:VNI. */
  readonly importTargets?: readonly string[];
}

/** LocalHost is an address that is here. Identity: its segment's VNI, mac and ip. */
export interface LocalHost extends EvpnMac {
  /**
   * Whether it stays here against what others say of it. `arrived`, the default: it came just now, and whoever has it learns so; who gets it later has
   * it then. `known`: it was here before this process, and may have moved away since. `always`: whoever else has it is told again and again.
   */
  readonly claim?: "arrived" | "known" | "always";
  /** The sequence with which it was announced last by whoever was here before: it is announced with no lower one. */
  readonly sequence?: number;
  /** Numbers of 32 bits that say what it belongs to, as colors (RFC 9012 section 4.3). */
  readonly colors?: readonly number[];
}

/** LocalPrefix is a network that is reached here. Identity: its L3VNI and prefix. */
export interface LocalPrefix {
  readonly prefix: Prefix;
  /** Larger is better; absent: 100. Others use the best ones alone. */
  readonly localPreference?: number | undefined;
  /** The AS numbers that it came by before it came here; absent: none. */
  readonly asPath?: AsPath;
  readonly med?: number | undefined;
  readonly communities?: readonly number[] | undefined;
  readonly largeCommunities?: readonly LargeCommunity[] | undefined;
  /** As `64512:300`; absent: those that the L3VNI exports with. */
  readonly targets?: readonly string[] | undefined;
}

/** HostName names a host inside its segment. */
export interface HostName {
  readonly mac: Mac;
  readonly ip?: Ip;
}
