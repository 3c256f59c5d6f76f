/** Filters of traffic control: one kind, which sends every frame that comes in by a link out by another. Words of tc(8). */
import { Reader } from "../wire/mod.ts";
import { FLAG, message, request, type RouteRequest } from "./request.ts";
import { FILTER, filterMessage, PARENT } from "./tc-table.ts";

/** FilterInfo is a filter on what comes in by a link, as the kernel reports it. */
export interface FilterInfo {
  readonly linkIndex: number;
  readonly kind: string;
  /** Place among the filters, lowest first. */
  readonly pref: number;
  /** Table, bucket and node of a u32 filter; the table is chosen by the kernel, the node (lowest 12 bits) by who made it. */
  readonly handle: number;
  /** Whether it takes every frame of every protocol. */
  readonly matchesAll: boolean;
  /** Index of the link that frames leave by, if that is the only action; 0 when that link is gone, and frames are dropped. */
  readonly redirect?: number;
}

/** FilterChange asks for a filter of all that comes in; the link needs a qdisc `clsact` or `ingress`. */
export interface FilterChange {
  readonly linkIndex: number;
  readonly pref: number;
  /** 1 to 4095. */
  readonly node: number;
  /** Index of the link that everything leaves by instead. */
  readonly redirect: number;
}

/** ETH_P_ALL in network order. */
const ALL_PROTOCOLS = 0x0300;
const TERMINAL = 1;
const STOLEN = 4;
const EGRESS_REDIRECT = 1;
const KEY_BYTES = 16;

/**
 * addFilter makes a filter; ENOSPC if the node is taken, EINVAL if the preference is, by another kind. It is of kind `u32`, the oldest:
 * every kernel that can redirect has it, which cannot be said of `matchall`.
 */
export function addFilter({ linkIndex, pref, node, redirect }: FilterChange): RouteRequest {
  const parameters = { action: STOLEN, direction: EGRESS_REDIRECT, link: redirect };
  const u32 = {
    // One key that looks at nothing, as tc(8) has it for `match u32 0 0`.
    selector: { header: { flags: TERMINAL, keys: 1 }, body: new Uint8Array(KEY_BYTES) },
    actions: { first: { kind: "mirred", options: { mirred: { parameters } } } },
  };
  return request(
    () => `add filter on link ${linkIndex}`,
    message(FILTER.new, FLAG.create | FLAG.exclusive, filterMessage, {
      header: headerOf({ linkIndex, pref, handle: node }),
      body: { kind: "u32", options: { u32 } },
    }),
  );
}

/** deleteFilter removes one filter by its whole handle; ENOENT if there is none. */
export function deleteFilter(filter: Pick<FilterInfo, "linkIndex" | "pref" | "handle">): RouteRequest {
  return request(
    () => `delete filter on link ${filter.linkIndex}`,
    message(FILTER.delete, 0, filterMessage, { header: headerOf(filter), body: { kind: "u32" } }),
  );
}

function headerOf({ linkIndex, pref, handle }: Pick<FilterInfo, "linkIndex" | "pref" | "handle">) {
  return { index: linkIndex, handle, parent: PARENT.incoming, info: pref * 0x1_0000 + ALL_PROTOCOLS };
}

/** decodeFilter reads RTM_NEWTFILTER and RTM_DELTFILTER; undefined for filters of other places. */
export function decodeFilter(reader: Reader): FilterInfo | undefined {
  const { header, body } = filterMessage.decode(reader);
  if (header.parent !== PARENT.incoming) return undefined;
  const u32 = body.options?.u32;
  const selector = u32?.selector;
  const { first, unknown: more = [] } = u32?.actions ?? {};
  const mirred = first?.options?.mirred?.parameters;
  return {
    linkIndex: header.index,
    kind: body.kind ?? "",
    pref: header.info >>> 16,
    handle: header.handle,
    matchesAll:
      (header.info & 0xffff) === ALL_PROTOCOLS &&
      selector !== undefined &&
      ((selector.header.flags ?? 0) & TERMINAL) !== 0 &&
      masksOf(selector.body).every((mask) => mask === 0),
    ...(mirred?.direction === EGRESS_REDIRECT && more.length === 0 && { redirect: mirred.link ?? 0 }),
  };
}

/** The first number of each key. */
function masksOf(keys: Uint8Array): number[] {
  const reader = new Reader(keys);
  const masks: number[] = [];
  for (; reader.remaining >= KEY_BYTES; reader.skip(KEY_BYTES - 4)) masks.push(reader.u32());
  return masks;
}
