/** What is to be reached, against wireguard-go. Every goal is how many times better ours is. */

/** GOALS are against the best of wireguard-go's settings for the case. */
export const GOALS: Readonly<Record<string, number>> = {
  "tcp-1": 1.6,
  "tcp-4": 1.6,
  "udp-64-pps": 5,
  "cpu-per-gbit": 2,
  // As it is resident, and as `bench cni` counts it: what the process alone has written.
  "memory-1000-peers": 4,
  "memory-1000-peers-written": 4,
};

/** Case is a row: its unit, and which way is better. */
export interface Case {
  readonly name: string;
  readonly unit: string;
  readonly moreIsBetter: boolean;
}

/** cases are all rows, in the order of the table. */
export const cases: readonly Case[] = [
  { name: "tcp-1", unit: "Gbit/s", moreIsBetter: true },
  { name: "tcp-4", unit: "Gbit/s", moreIsBetter: true },
  { name: "udp-1400", unit: "Gbit/s", moreIsBetter: true },
  { name: "udp-64-pps", unit: "packets/s", moreIsBetter: true },
  { name: "udp-64-pps-single", unit: "packets/s", moreIsBetter: true },
  { name: "rtt", unit: "ms", moreIsBetter: false },
  { name: "rtt-p99", unit: "ms", moreIsBetter: false },
  { name: "cpu-per-gbit", unit: "core-s/Gbit", moreIsBetter: false },
  { name: "memory-1000-peers", unit: "MB resident", moreIsBetter: false },
  { name: "memory-1000-peers-written", unit: "MB private", moreIsBetter: false },
  { name: "memory-1000-peers-idle", unit: "MB resident", moreIsBetter: false },
  { name: "memory-1000-peers-idle-written", unit: "MB private", moreIsBetter: false },
];

/** LIBCRYPTO_CASES are where ours with libcrypto alone must not be behind wireguard-go's default setting. */
export const LIBCRYPTO_CASES: readonly string[] = [
  "tcp-1",
  "tcp-4",
  "udp-1400",
  "udp-64-pps",
  "udp-64-pps-single",
  "rtt",
  "cpu-per-gbit",
  "memory-1000-peers",
];
