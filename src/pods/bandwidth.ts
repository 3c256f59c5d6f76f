/**
 * The rates of a pod's link: what would be faster waits, and is dropped only when the queue is full.
 *
 * ```
 *   container                     node
 *   eth0 ═══════════════════ cw<id>
 *    ◀──── ingress: token bucket at the root of cw<id>
 *    egress ────▶ filter of what comes in by cw<id> ──▶ ifb<id>: token bucket at its root ──▶ goes on as from cw<id>
 * ```
 * A qdisc delays only what leaves by a link, hence the detour by a link of type `ifb` for what comes in. All is on the node's side: a
 * container that may change its own links cannot lift its limit.
 */
import type { KernelObject, Qdisc } from "../engine/mod.ts";
import { hostLinkOf } from "./identity.ts";
import type { Pod } from "./pod.ts";

/** Rate is a limit in one direction, in the units of CNI. */
export interface Rate {
  readonly bitsPerSecond: number;
  /** What may pass at once after a pause. */
  readonly burstBits: number;
}

/** Bandwidth is the limits of a pod's link; a direction without one is not limited. Directions are the container's. */
export interface Bandwidth {
  readonly ingress?: Rate;
  readonly egress?: Rate;
}

/** DELAY_MS is how long a full queue takes to empty; as in the reference plugin. At low rates QUEUE_FRAMES are more. */
export const DELAY_MS = 25;

/** QUEUE_FRAMES is the least that a queue holds: the first flight of a TCP connection (ten, RFC 6928) and some answers. */
export const QUEUE_FRAMES = 16;

/** Time of the rate that the default burst covers; the kernel's timers are late at times, and what they miss has to fit the bucket. */
const DEFAULT_BURST_MS = 10;
const LEAST_DEFAULT_BURST_BYTES = 16 * 1024;

/** With less, a gigabit is not reached (400 Mbit/s with one frame): each packet waits for a timer of its own. */
const LEAST_BURST_MS = 1;

/** The Ethernet header with a VLAN tag. */
const HEADER_BYTES = 18;

/**
 * A packet of generic segmentation offload has up to 64 KiB, and the kernel counts the headers of its segments as well
 * (net/core/dev.c, qdisc_pkt_len_init). One that is longer than the burst is cut into frames (net/sched/sch_tbf.c, tbf_segment).
 */
const OFFLOADED_BYTES = 80 * 1024;

const MOST_U32 = 0xffff_ffff;

/** shaperLinkOf returns the name of the link where what a pod sends waits: no `cw…`, for those are pods to the nftables rules. */
export function shaperLinkOf(id: string): string {
  return `ifb${id}`;
}

/** defaultBurstBits returns the burst for a rate that came without one. */
export function defaultBurstBits(bitsPerSecond: number): number {
  return 8 * Math.max(LEAST_DEFAULT_BURST_BYTES, Math.ceil((bitsPerSecond / 8) * (DEFAULT_BURST_MS / 1000)));
}

/** bandwidthObjects is the part of scope `pod/<id>` that limits its rates; nothing for a pod without limits. */
export function bandwidthObjects(pod: Pick<Pod, "id" | "mtuBytes" | "bandwidth">): KernelObject[] {
  const { ingress, egress } = pod.bandwidth ?? {};
  const link = hostLinkOf(pod.id);
  const shaper = shaperLinkOf(pod.id);
  const { mtuBytes } = pod;
  return [
    ...(ingress === undefined ? [] : [tokenBucket(link, ingress, mtuBytes)]),
    ...(egress === undefined
      ? []
      : [
          { kind: "link", type: "ifb", name: shaper, mtuBytes, addrGen: "none" } as const,
          tokenBucket(shaper, egress, mtuBytes),
          { kind: "filter", link, redirect: shaper } as const,
        ]),
  ];
}

/**
 * A burst below one frame would block the link for good; it is raised. The queue must take what the burst lets through in one piece, but
 * not the whole burst as in the reference plugin: what waits behind a burst of megabytes waits for seconds.
 */
function tokenBucket(link: string, { bitsPerSecond, burstBits }: Rate, mtuBytes: number): Qdisc {
  const rateBytesPerSecond = Math.max(1, Math.floor(bitsPerSecond / 8));
  const ofRate = (ms: number) => Math.ceil((rateBytesPerSecond * ms) / 1000);
  const frameBytes = mtuBytes + HEADER_BYTES;
  const burstBytes = Math.max(Math.floor(burstBits / 8), frameBytes, ofRate(LEAST_BURST_MS));
  const limitBytes = Math.max(
    ofRate(DELAY_MS),
    QUEUE_FRAMES * frameBytes,
    Math.min(burstBytes, OFFLOADED_BYTES),
  );
  return {
    kind: "qdisc",
    link,
    type: "tbf",
    rateBytesPerSecond,
    burstBytes: Math.min(burstBytes, MOST_U32),
    limitBytes: Math.min(limitBytes, MOST_U32),
  };
}
