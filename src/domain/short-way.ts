/**
 * The short way of frames from other nodes to pods here: from the VXLAN device of their segment to the node's end of the pod's link, past the bridge. A program
 * of traffic control on what comes out of VXLAN looks at whom a frame is for; who is not in its list is reached by the bridge, as is everybody.
 *
 * ```
 *   VXLAN ─▶ one of these stations ─▶ the node's end of its link, as the bridge would send it out (bpf_redirect)
 *         └▶ anybody else, groups ──▶ bridge
 * ```
 * It says nothing about who may send: the guard has let the frame in, and rules of the bridge trust what comes from VXLAN too.
 */
import type { Classifier } from "../engine/mod.ts";
import { type Mac, macBytes } from "../net/mod.ts";
import { sha256 } from "../sys/mod.ts";
import {
  add,
  assembleBpf,
  type BpfLine,
  call,
  copy,
  exit,
  jumpIf,
  jumpIfBehind,
  label,
  load,
  move,
  R0,
  R1,
  R2,
  R3,
  R4,
  R5,
} from "../tunnel/xdp/mod.ts";

/** Offsets in struct __sk_buff, a number of enum bpf_func_id (include/uapi/linux/bpf.h). */
const SKB = { data: 76, end: 80 } as const;
const REDIRECT = 23;
const TC_ACT_UNSPEC = -1;
const ETHERNET = 14;

/** MOST_SHORT_WAYS is how many stations a program looks through: each that comes or goes has it made anew, which costs ADD milliseconds. Others are reached by the bridge. */
export const MOST_SHORT_WAYS = 4;

/** ShortWay is a station, and the index of the node's end of its link. */
export interface ShortWay {
  readonly mac: Mac;
  readonly linkIndex: number;
}

/** shortWays returns the program for some stations, one at least; the same for the same ones in any order. */
export function shortWays(stations: readonly ShortWay[]): Classifier {
  // The first that came: who comes later changes nothing.
  const sorted = stations.slice(0, MOST_SHORT_WAYS).sort((a, b) => a.mac - b.mac);
  const code = assembleBpf([
    move(R0, TC_ACT_UNSPEC),
    load(R2, 4, R1, SKB.data),
    load(R3, 4, R1, SKB.end),
    copy(R4, R2),
    add(R4, ETHERNET),
    jumpIfBehind(R4, R3, "end"),
    // The last two bytes tell most stations apart.
    load(R4, 2, R2, 4),
    ...sorted.flatMap(stationLines),
    label("end"),
    exit,
  ]);
  return { name: `way-${Buffer.from(sha256(code)).toString("hex").slice(0, 24)}`, code };
}

function stationLines({ mac, linkIndex }: ShortWay, place: number): BpfLine[] {
  const [first, second, last] = new Uint16Array(macBytes(mac).slice().buffer) as unknown as [
    number,
    number,
    number,
  ];
  const next = `behind ${place}`;
  return [
    jumpIf(R4, "≠", last, next),
    load(R5, 2, R2, 0),
    jumpIf(R5, "≠", first, next),
    load(R5, 2, R2, 2),
    jumpIf(R5, "≠", second, next),
    // Here rather than in one place for all: the verifier would compare each way there with all others.
    move(R1, linkIndex),
    move(R2, 0),
    call(REDIRECT),
    exit,
    label(next),
  ];
}
