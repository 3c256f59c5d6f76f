/** Connection tracking: what the kernel remembers of flows and their address translation. Words of conntrack(8). */
import { type Family, type Ip, type Prefix, prefixContains } from "../net/mod.ts";
import { NETLINK, type Netns } from "../sys/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { CT, conntrackMessage } from "./conntrack-table.ts";
import { afOf, familyOf } from "./family.ts";
import { message } from "./request.ts";
import { NetlinkSocket } from "./socket.ts";

/** IPS_… of include/uapi/linux/netfilter/nf_conntrack_common.h */
const STATUS = { seenReply: 2, assured: 4, sourceNat: 16, destinationNat: 32 } as const;

/** enum tcp_conntrack */
const tcpStates = [
  "none",
  "syn-sent",
  "syn-recv",
  "established",
  "fin-wait",
  "close-wait",
  "last-ack",
  "time-wait",
  "close",
  "syn-sent2",
] as const;

/** ConntrackTuple is one direction of a flow. */
export interface ConntrackTuple {
  readonly source: Ip;
  readonly destination: Ip;
  /** TCP, UDP and other protocols with ports. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** ICMP. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly id: number };
}

/** ConntrackEntry is one flow. */
export interface ConntrackEntry {
  readonly id: number;
  readonly family: Family;
  /** IP protocol number: 6 TCP, 17 UDP, 1 ICMP. */
  readonly protocol: number;
  readonly original: ConntrackTuple;
  /** What answers look like on the wire; not the mirror of `original` when addresses are translated. */
  readonly reply: ConntrackTuple;
  readonly zone: number;
  readonly mark: number;
  readonly seenReply: boolean;
  readonly assured: boolean;
  readonly sourceNat: boolean;
  readonly destinationNat: boolean;
  readonly timeoutSeconds?: number;
  readonly tcpState?: (typeof tcpStates)[number];
}

/** ConntrackFilter chooses flows: all given fields must fit. Sources, destinations and ports are those of the first packet. */
export interface ConntrackFilter {
  readonly family?: Family;
  readonly protocol?: number;
  readonly source?: Prefix;
  readonly destination?: Prefix;
  /** An address in either direction, before or after translation. */
  readonly anyAddress?: Prefix;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly zone?: number;
  /** `mask` defaults to all bits. */
  readonly mark?: { readonly value: number; readonly mask?: number };
}

type Decoded = ReturnType<typeof conntrackMessage.decode>;
type TuplePart = NonNullable<Decoded["body"]["original"]>;

/** Conntrack is one socket on the connection tracking of a namespace. */
export class Conntrack implements Disposable {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  static open(options: { readonly netns?: Netns } = {}): Conntrack {
    // Strict checking is a matter of rtnetlink.
    return new Conntrack(NetlinkSocket.open(NETLINK.netfilter, { netns: options.netns, strict: false }));
  }

  /** list returns the flows that fit the filter. */
  list(filter: ConntrackFilter = {}): ConntrackEntry[] {
    return this.#read(filter).map(({ entry }) => entry);
  }

  /** flush forgets the flows that fit the filter; their next packets are looked at as first ones. Returns how many. */
  flush(filter: ConntrackFilter = {}): number {
    const found = this.#read(filter);
    const results = this.#socket.execute(
      found.map(({ header, body }) => ({
        action: () => "flush connection tracking",
        message: message(CT.delete, 0, conntrackMessage, {
          header: { family: header.family },
          body: { original: body.original, id: body.id, zone: body.zone },
        }),
      })),
    );
    // ENOENT: it ended by itself meanwhile, or its place was taken by another flow.
    const failed = results.find((error) => error !== undefined && error.code !== "ENOENT");
    if (failed !== undefined) throw failed;
    return results.filter((error) => error === undefined).length;
  }

  #read(filter: ConntrackFilter): (Decoded & { readonly entry: ConntrackEntry })[] {
    let found: (Decoded & { readonly entry: ConntrackEntry })[] = [];
    const { mark } = filter;
    const request = message(CT.get, 0, conntrackMessage, {
      header: { family: filter.family === undefined ? 0 : afOf(filter.family) },
      // The kernel chooses by these already, where it can.
      body: {
        mark: mark?.value,
        markMask: mark === undefined ? undefined : (mark.mask ?? 0xffffffff),
        zone: filter.zone,
      },
    });
    this.#socket.dump(
      "read connection tracking",
      request,
      () => (found = []),
      (_type, reader) => {
        const decoded = conntrackMessage.decode(reader);
        const entry = conntrackEntry(decoded);
        if (entry !== undefined && fits(entry, filter)) found.push({ ...decoded, entry });
      },
    );
    return found;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** decodeConntrack reads one flow; undefined for other families than IPv4 and IPv6. */
export function decodeConntrack(reader: Reader): ConntrackEntry | undefined {
  return conntrackEntry(conntrackMessage.decode(reader));
}

function conntrackEntry({ header, body }: Decoded): ConntrackEntry | undefined {
  const family = familyOf(header.family);
  const original = tupleOf(body.original);
  const reply = tupleOf(body.reply);
  if (family === undefined || original === undefined || reply === undefined) return undefined;
  const status = body.status ?? 0;
  const tcpState = tcpStates[body.protoInfo?.tcp?.state ?? -1];
  return {
    id: body.id ?? 0,
    family,
    protocol: body.original?.proto?.protocol ?? 0,
    original,
    reply,
    zone: body.zone ?? 0,
    mark: body.mark ?? 0,
    seenReply: (status & STATUS.seenReply) !== 0,
    assured: (status & STATUS.assured) !== 0,
    sourceNat: (status & STATUS.sourceNat) !== 0,
    destinationNat: (status & STATUS.destinationNat) !== 0,
    ...(body.timeoutSeconds !== undefined && { timeoutSeconds: body.timeoutSeconds }),
    ...(tcpState !== undefined && { tcpState }),
  };
}

function tupleOf(part: TuplePart | undefined): ConntrackTuple | undefined {
  const source = part?.ip?.source4 ?? part?.ip?.source6;
  const destination = part?.ip?.destination4 ?? part?.ip?.destination6;
  if (source === undefined || destination === undefined) return undefined;
  const { proto } = part ?? {};
  const type = proto?.icmpType ?? proto?.icmp6Type;
  const icmp =
    type === undefined
      ? undefined
      : { type, code: proto?.icmpCode ?? proto?.icmp6Code ?? 0, id: proto?.icmpId ?? proto?.icmp6Id ?? 0 };
  return {
    source,
    destination,
    ...(proto?.sourcePort !== undefined && { sourcePort: proto.sourcePort }),
    ...(proto?.destinationPort !== undefined && { destinationPort: proto.destinationPort }),
    ...(icmp !== undefined && { icmp }),
  };
}

function fits(entry: ConntrackEntry, filter: ConntrackFilter): boolean {
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
    inside(filter.anyAddress, original.source, original.destination, reply.source, reply.destination) &&
    (mark === undefined || ((entry.mark ^ mark.value) & mask) === 0)
  );
}
