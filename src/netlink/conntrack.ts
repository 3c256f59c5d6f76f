/** Connection tracking: what the kernel remembers of flows and their address translation. Words of conntrack(8). */
import { type Family, type Ip, ipEqual, parsePrefix } from "../net/mod.ts";
import { type BackgroundSender, NETLINK, type Netns } from "../sys/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { type ConntrackFilter, fits, kernelFilter } from "./conntrack-filter.ts";
import { CT, conntrackMessage, conntrackStatistics } from "./conntrack-table.ts";
import { familyOf } from "./family.ts";
import { type Message, message } from "./request.ts";
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

  /** count returns how many flows there are. */
  count(): number {
    let count = 0;
    const question = message(CT.statistics, 0, conntrackStatistics, { header: {}, body: {} });
    this.#socket.request("count flows", question, (_type, reader) => {
      count = conntrackStatistics.decode(reader).body.entries ?? 0;
    });
    return count;
  }

  /** list returns the flows that fit the filter. */
  list(filter: ConntrackFilter = {}): ConntrackEntry[] {
    return this.#read(filter).map(({ entry }) => entry);
  }

  /**
   * flush forgets the flows that fit the filter and that `isMeant`, if it is given, says yes to; their next packets are looked at as first
   * ones. Returns how many.
   */
  flush(filter: ConntrackFilter = {}, isMeant: (entry: ConntrackEntry) => boolean = () => true): number {
    return this.#delete(this.#read(filter).filter(({ entry }) => isMeant(entry)));
  }

  /**
   * forgetInSteps forgets the flows that one of the addresses began or answered. It reads the whole table, a few hundred flows at each step,
   * and with a sender lets the kernel begin by itself; until the last step the socket serves nothing else.
   */
  *forgetInSteps(addresses: readonly Ip[], sender?: BackgroundSender): Generator<undefined, void> {
    const families = new Set(addresses.map((address) => address.family));
    const tails = new Set(addresses.map(({ value }) => Number(value & 0xffff_ffffn)));
    const [family] = families.size === 1 ? families : [];
    const found: Decoded[] = [];
    const onData = (_type: number, reader: Reader): void => {
      if (!mayBeginWith(tails, reader.copy())) return;
      const decoded = conntrackMessage.decode(reader);
      const sources = [decoded.body.original, decoded.body.reply].map((part) => tupleOf(part)?.source);
      if (addresses.some((address) => sources.some((source) => source && ipEqual(source, address))))
        found.push(decoded);
    };
    yield* this.#socket.dumpInSteps(
      "read connection tracking",
      message(CT.get, 0, conntrackMessage, { header: kernelFilter({ ...(family && { family }) }), body: {} }),
      { onData, sender },
    );
    this.#delete(found);
  }

  /** forgetsByFilter asks whether this kernel forgets by filters (Linux 6.12): it is told to forget what no flow is. */
  forgetsByFilter(): boolean {
    const nobody = forgetMessage({ source: parsePrefix("255.255.255.255/32"), protocol: 255 });
    if (nobody === undefined) return false;
    const [error] = this.#socket.execute([{ action: () => "flush connection tracking", message: nobody }]);
    // Older kernels: EOPNOTSUPP, or EINVAL because the tuple is not complete.
    return error === undefined;
  }

  #delete(found: readonly Decoded[]): number {
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
    // The kernel chooses by a part of the filter already.
    const { family, body } = kernelFilter(filter);
    this.#socket.dump(
      "read connection tracking",
      message(CT.get, 0, conntrackMessage, { header: { family }, body }),
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

/** forgetMessage asks the kernel to forget what fits the filter; undefined when it cannot choose by all of it. */
export function forgetMessage(filter: ConntrackFilter): Message | undefined {
  const { family, body, whole } = kernelFilter(filter);
  return whole ? message(CT.delete, 0, conntrackMessage, { header: { family }, body }) : undefined;
}

/**
 * Whether the source of either direction may be among addresses of which the last four bytes are given. The kernel writes a flow's tuples
 * first, the addresses first in each, the source first of these (ctnetlink_fill_info, ctnetlink_dump_tuples); a full decode of 100,000
 * flows would take a second.
 */
function mayBeginWith(tails: ReadonlySet<number>, reader: Reader): boolean {
  reader.skip(NFGENMSG);
  for (let direction = 0; direction < 2; direction++) {
    const tupleLength = reader.u16();
    reader.skip(ATTRIBUTE - 2 + ATTRIBUTE);
    const addressLength = reader.u16();
    reader.skip(addressLength - 6);
    if (tails.has(reader.be32())) return true;
    reader.skip(tupleLength - 2 * ATTRIBUTE - addressLength);
  }
  return false;
}

/** Bytes of struct nfgenmsg, and of an attribute's header. */
const NFGENMSG = 4;
const ATTRIBUTE = 4;
