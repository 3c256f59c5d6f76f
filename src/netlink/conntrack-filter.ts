/**
 * Choosing flows: what the kernel can choose by itself, and what is left to us.
 *
 * The kernel compares whole fields of a flow's two directions (CTA_FILTER, Linux 5.8 for listing, 6.12 for forgetting); it knows no
 * networks and no "either direction". Older kernels take no notice of it, so what they list is looked at again.
 */
import { type Family, type Ip, type Prefix, prefixAddress, prefixContains } from "../net/mod.ts";
import type { ConntrackEntry } from "./conntrack.ts";
import type { ConntrackBody } from "./conntrack-table.ts";
import { afOf } from "./family.ts";

/** ConntrackFilter chooses flows: all given fields must fit. Sources, destinations and ports are those of the first packet. */
export interface ConntrackFilter {
  readonly family?: Family;
  readonly protocol?: number;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  /** Source of the answers: the destination of the first packet, after translation. */
  readonly replySource?: Prefix;
  /** An address in either direction, before or after translation. */
  readonly anyAddress?: Prefix;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly zone?: number;
  /** `mask` defaults to all bits. */
  readonly mark?: { readonly value: number; readonly mask?: number };
}

/** fits tells whether a flow is among those that a filter chooses. */
export function fits(entry: ConntrackEntry, filter: ConntrackFilter): boolean {
  const { original, reply } = entry;
  const same = (wanted: number | undefined, value: number | undefined) =>
    wanted === undefined || wanted === value;
  const inside = (prefix: Prefix | undefined, ...addresses: Ip[]) =>
    prefix === undefined || addresses.some((address) => prefixContains(prefix, address));
  const { mark } = filter;
  const mask = mark?.mask ?? 0xffffffff;
  return (
    same(filter.family, entry.family) &&
    same(filter.protocol, entry.protocol) &&
    same(filter.zone, entry.zone) &&
    same(filter.sourcePort, original.sourcePort) &&
    same(filter.destinationPort, original.destinationPort) &&
    inside(filter.source, original.source) &&
    inside(filter.destination, original.destination) &&
    inside(filter.replySource, reply.source) &&
    inside(filter.anyAddress, original.source, original.destination, reply.source, reply.destination) &&
    (mark === undefined || ((entry.mark ^ mark.value) & mask) === 0)
  );
}

/** CTA_FILTER_F_… of net/netfilter/nf_internals.h: which fields of a direction count. */
const COUNTS = { source: 1, destination: 2, protocol: 8, sourcePort: 16, destinationPort: 32 } as const;

/** Fields of one direction. */
interface Fields {
  readonly source?: Ip | undefined;
  readonly destination?: Ip | undefined;
  readonly protocol?: number | undefined;
  readonly sourcePort?: number | undefined;
  readonly destinationPort?: number | undefined;
}

/** KernelFilter is the part of a filter that the kernel applies itself. */
export interface KernelFilter {
  /** AF_…; 0 for all. */
  readonly family: number;
  readonly body: ConntrackBody;
  /** Whether that is all of it: only then may the kernel forget what it chooses. */
  readonly whole: boolean;
}

/**
 * kernelFilter returns what the kernel can choose by. Of IPv6 it compares addresses the wrong way round, and of protocols other than
 * TCP and UDP it does not compare ports (net/netfilter/nf_conntrack_netlink.c, ctnetlink_filter_match_tuple, seen up to 6.18).
 */
export function kernelFilter(filter: ConntrackFilter): KernelFilter {
  const { mark, zone, anyAddress, protocol, source, destination, replySource } = filter;
  const family = filter.family ?? (source ?? destination ?? replySource)?.family;
  const header = { family: family === undefined ? 0 : afOf(family) };
  const plain = {
    ...(mark !== undefined && { mark: mark.value, markMask: mark.mask ?? 0xffffffff }),
    ...(zone !== undefined && { zone }),
  };
  // Fields are compared in flows of one family only, and not together with a zone.
  if (family === undefined || zone !== undefined) return { ...header, body: plain, whole: false };
  const only = (prefix: Prefix | undefined) =>
    family === 4 && prefix?.family === 4 && prefix.length === 32 ? prefixAddress(prefix) : undefined;
  const { sourcePort, destinationPort } = filter;
  const first: Fields = {
    source: only(source),
    destination: only(destination),
    protocol,
    ...((protocol === TCP || protocol === UDP) && { sourcePort, destinationPort }),
  };
  const answer: Fields = { source: only(replySource) };
  const [original, reply] = [flagsOf(first), flagsOf(answer)];
  if (original + reply === 0) return { ...header, body: plain, whole: false };
  const body = {
    ...plain,
    ...(original !== 0 && { original: tupleOf(first) }),
    ...(reply !== 0 && { reply: tupleOf(answer) }),
    filter: { original, reply },
  };
  const asked = { source, destination, protocol, sourcePort, destinationPort, replySource, anyAddress, mark };
  return { ...header, body, whole: count(asked) === count(first) + count(answer) };
}

const TCP = 6;
const UDP = 17;

function count(fields: object): number {
  return Object.values(fields).filter((value) => value !== undefined).length;
}

function flagsOf(fields: Fields): number {
  const names = Object.keys(COUNTS) as (keyof typeof COUNTS)[];
  return names.reduce((flags, name) => (fields[name] === undefined ? flags : flags | COUNTS[name]), 0);
}

function tupleOf({ source, destination, ...proto }: Fields): ConntrackBody["original"] {
  return {
    ip: { source4: source, destination4: destination },
    ...(proto.protocol !== undefined && { proto }),
  };
}
