/** Queueing disciplines. Words of tc(8). */
import type { Reader } from "../wire/mod.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";
import { PARENT, QDISC, qdiscMessage } from "./tc-table.ts";

/** TbfSettings are those of a token bucket: what leaves is delayed until there are tokens for it. */
export interface TbfSettings {
  readonly rateBytesPerSecond: number;
  /** Size of the bucket. A frame that is bigger never gets through; one of generic segmentation offload is cut up. */
  readonly burstBytes: number;
  /** Size of the queue; what comes when it is full is dropped. */
  readonly limitBytes: number;
}

/** TbfInfo is a token bucket as the kernel reports it. */
export interface TbfInfo {
  readonly rateBytesPerSecond: number;
  /** The burst as the time that it takes, in ticks of 64 ns, modulo 2³²: all that the kernel tells of it (sch_tbf.c, tbf_dump). */
  readonly bufferTicks: number;
  readonly limitBytes: number;
  /** A second bucket, which we never ask for. */
  readonly peakRate: boolean;
}

/** QdiscInfo is a queueing discipline as the kernel reports it. */
export interface QdiscInfo {
  readonly linkIndex: number;
  /** `tbf`, `clsact`, `noqueue`, … */
  readonly kind: string;
  /** Number before the colon of its handle; 0 for those that every link has by itself. */
  readonly major: number;
  /** `root` for what leaves by the link, `ingress` for the qdiscs `ingress` and `clsact`; absent for what hangs on a class. */
  readonly place?: "root" | "ingress";
  readonly tbf?: TbfInfo;
}

/** QdiscChange asks for a queueing discipline: a token bucket at the root, or the one that holds filters on both directions. */
export type QdiscChange =
  | (TbfSettings & {
      readonly linkIndex: number;
      readonly kind: "tbf";
      /** 1 to 65535. */ readonly major: number;
    })
  | { readonly linkIndex: number; readonly kind: "clsact" };

/** The unit of time of traffic control (include/net/pkt_sched.h, PSCHED_SHIFT). */
const TICK_NS = 64;
const MOST_U32 = 0xffff_ffff;
const ETHERNET = 1;

/** addQdisc makes a qdisc; EEXIST if another is in its place. With `replace` one of the same kind and handle is changed, and keeps its queue. */
export function addQdisc(change: QdiscChange & { readonly replace?: boolean }): RouteRequest {
  const { linkIndex: index, kind } = change;
  const flags = change.replace === true ? FLAG.create | FLAG.replace : FLAG.create | FLAG.exclusive;
  const place =
    change.kind === "tbf"
      ? { handle: change.major * 0x1_0000, parent: PARENT.root }
      : { handle: PARENT.ingress - 0xfff1, parent: PARENT.ingress };
  const options = change.kind === "tbf" ? { tbf: tbfOptions(change) } : undefined;
  return request(
    () => `add qdisc ${kind} on link ${index}`,
    message(QDISC.new, flags, qdiscMessage, { header: { index, ...place }, body: { kind, options } }),
  );
}

/** deleteQdisc removes the qdisc of that handle from the root of a link; the kernel puts its default there. */
export function deleteQdisc({
  linkIndex,
  major,
}: {
  readonly linkIndex: number;
  readonly major: number;
}): RouteRequest {
  const header = { index: linkIndex, handle: major * 0x1_0000, parent: PARENT.root };
  return request(
    () => `delete qdisc ${major.toString(16)}: on link ${linkIndex}`,
    message(QDISC.delete, 0, qdiscMessage, { header, body: {} }),
  );
}

function tbfOptions({ rateBytesPerSecond: rate, burstBytes, limitBytes }: TbfSettings) {
  return {
    // Without a link layer the kernel wants a table of rates (sch_api.c, qdisc_get_rtab).
    parameters: {
      linkLayer: ETHERNET,
      rate: Math.min(rate, MOST_U32),
      limit: limitBytes,
      buffer: ticksOf(rate, burstBytes) % (MOST_U32 + 1),
    },
    rate64: rate > MOST_U32 ? BigInt(rate) : undefined,
    burst: burstBytes,
  };
}

function ticksOf(rateBytesPerSecond: number, bytes: number): number {
  return Math.floor((bytes * 1e9) / rateBytesPerSecond / TICK_NS);
}

/** sameTbf tells whether a token bucket is as it was asked for, as far as the kernel tells. */
export function sameTbf(info: TbfInfo, wanted: TbfSettings): boolean {
  const ticks = ticksOf(wanted.rateBytesPerSecond, wanted.burstBytes);
  const apart = Math.abs(info.bufferTicks - (ticks % (MOST_U32 + 1)));
  return (
    info.rateBytesPerSecond === wanted.rateBytesPerSecond &&
    info.limitBytes === wanted.limitBytes &&
    !info.peakRate &&
    // The kernel divides by multiplying with 31 bits (sch_generic.c, psched_ratecfg_precompute).
    Math.min(apart, MOST_U32 + 1 - apart) <= 2 + ticks / 2 ** 30
  );
}

/** decodeQdisc reads RTM_NEWQDISC and RTM_DELQDISC. */
export function decodeQdisc(reader: Reader): QdiscInfo {
  const { header, body } = qdiscMessage.decode(reader);
  const place =
    header.parent === PARENT.root ? "root" : header.parent === PARENT.ingress ? "ingress" : undefined;
  const tbf = body.options?.tbf;
  const parameters = tbf?.parameters;
  return {
    linkIndex: header.index,
    kind: body.kind ?? "",
    major: header.handle >>> 16,
    ...(place !== undefined && { place }),
    ...(parameters !== undefined && {
      tbf: {
        rateBytesPerSecond: Number(tbf?.rate64 ?? parameters.rate),
        bufferTicks: parameters.buffer ?? 0,
        limitBytes: parameters.limit ?? 0,
        peakRate: (parameters.peakRate ?? 0) > 0,
      },
    }),
  };
}
