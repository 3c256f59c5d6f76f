/** Rtnetlink: questions and requests to the kernel's routing, synchronous, in any namespace. */
import { formatIp, hostPrefix, type Ip } from "../net/mod.ts";
import { NETLINK, type Netns } from "../sys/mod.ts";
import type { Reader } from "../wire/mod.ts";
import { ADDRESS, type AddressInfo, addressMessage, decodeAddress } from "./address.ts";
import { NetlinkError } from "./error.ts";
import { AF, afOf, familyOf } from "./family.ts";
import { type FdbInfo, fdbInfo } from "./fdb.ts";
import { decodeFilter, type FilterInfo } from "./filter.ts";
import type { LinkInfo } from "./link.ts";
import { decodeLink } from "./link-read.ts";
import { LINK, linkMessage, SKIP_STATS } from "./link-table.ts";
import { type NeighbourInfo, neighbourInfo } from "./neighbour.ts";
import { NEIGH, NTF, neighbourMessage } from "./neighbour-table.ts";
import { decodeNexthop, NEXTHOP, type NexthopInfo, nexthopMessage } from "./nexthop.ts";
import { decodeQdisc, type QdiscInfo } from "./qdisc.ts";
import { type Message, message, type RouteRequest } from "./request.ts";
import { decodeRoute, type RouteInfo } from "./route.ts";
import { ROUTE, routeMessage } from "./route-table.ts";
import { decodeRule, RULE, type RuleInfo, ruleMessage } from "./rule.ts";
import { NetlinkSocket } from "./socket.ts";
import { FILTER, filterMessage, PARENT, QDISC, qdiscMessage } from "./tc-table.ts";

/** What a lookup that finds no way answers. */
const NO_WAY: readonly string[] = ["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL"];

/** Rtnetlink is one socket of NETLINK_ROUTE. */
export class Rtnetlink implements Disposable {
  readonly #socket: NetlinkSocket;

  private constructor(socket: NetlinkSocket) {
    this.#socket = socket;
  }

  /** open opens a socket in a namespace, by default the calling thread's. */
  static open(options: { readonly netns?: Netns } = {}): Rtnetlink {
    return new Rtnetlink(NetlinkSocket.open(NETLINK.route, { netns: options.netns }));
  }

  /** links reads all links. */
  links(): LinkInfo[] {
    const body = { extMask: SKIP_STATS };
    return this.#dump("read links", message(LINK.get, 0, linkMessage, { header: {}, body }), linkOnly);
  }

  /** link returns undefined when there is no link of that name or index. */
  link(nameOrIndex: string | number): LinkInfo | undefined {
    const byName = typeof nameOrIndex === "string";
    const header = byName ? {} : { index: nameOrIndex };
    const body = { name: byName ? nameOrIndex : undefined, extMask: SKIP_STATS };
    let found: LinkInfo | undefined;
    try {
      this.#socket.request(
        () => `read link ${nameOrIndex}`,
        message(LINK.get, 0, linkMessage, { header, body }),
        (_type, reader) => (found = linkOnly(reader)),
      );
    } catch (error) {
      // ERANGE: no link can have a name of that length.
      if (error instanceof NetlinkError && ["ENODEV", "ERANGE"].includes(error.code)) return undefined;
      throw error;
    }
    return found;
  }

  /** addresses reads the addresses of all links, or of one. */
  addresses(filter: { readonly linkIndex?: number } = {}): AddressInfo[] {
    const header = { index: filter.linkIndex ?? 0 };
    const request = message(ADDRESS.get, 0, addressMessage, { header, body: {} });
    // Other dumps answer nothing for a link that is gone; this one refuses.
    return noneFor("ENODEV", () => this.#dump("read addresses", request, decodeAddress));
  }

  /** routes reads the routes of all tables, or of one; of all makers, or of one. */
  routes(filter: { readonly table?: number; readonly protocol?: number } = {}): RouteInfo[] {
    // Each family is asked for itself: without one the kernel's filter by table needs the table in every family.
    return [AF.inet, AF.inet6].flatMap((family) => {
      const header = { family, protocol: filter.protocol ?? 0 };
      const request = message(ROUTE.get, 0, routeMessage, { header, body: { table: filter.table } });
      // A table that nothing was ever put into does not exist.
      return noneFor("ENOENT", () =>
        this.#dump("read routes", request, (reader) => {
          const route = decodeRoute(reader);
          // A kernel without IPv6 answers a question about it with the routes of IPv4.
          return route?.destination.family === familyOf(family) ? route : undefined;
        }),
      );
    });
  }

  /** leadsTo tells whether packets to an address go anywhere. */
  leadsTo(address: Ip): boolean {
    const { family, length } = hostPrefix(address);
    const header = { family: afOf(family), destinationLength: length };
    const question = message(ROUTE.get, 0, routeMessage, { header, body: { destination: address } });
    try {
      this.#socket.request(() => `look up ${formatIp(address)}`, question);
      return true;
    } catch (error) {
      // No route, and routes of types unreachable, prohibit and blackhole (net/ipv4/fib_semantics.c, fib_props).
      if (error instanceof NetlinkError && NO_WAY.includes(error.code)) return false;
      throw error;
    }
  }

  /** nexthops reads all next-hop objects. */
  nexthops(): NexthopInfo[] {
    return this.#dump(
      "read nexthops",
      message(NEXTHOP.get, 0, nexthopMessage, { header: {}, body: {} }),
      decodeNexthop,
    );
  }

  /** neighbours reads the neighbours of all links, or of one; not the proxy table. */
  neighbours(filter: { readonly linkIndex?: number } = {}): NeighbourInfo[] {
    return this.#dump(
      "read neighbours",
      message(NEIGH.get, 0, neighbourMessage, { header: {}, body: { linkIndex: filter.linkIndex } }),
      (reader) => neighbourInfo(neighbourMessage.decode(reader)),
    );
  }

  /** proxies reads the proxy tables of both families. */
  proxies(): NeighbourInfo[] {
    return this.#dump(
      "read proxy entries",
      message(NEIGH.get, 0, neighbourMessage, { header: { flags: NTF.proxy }, body: {} }),
      (reader) => neighbourInfo(neighbourMessage.decode(reader)),
    );
  }

  /** fdb reads the forwarding databases of all links, or of one. */
  fdb(filter: { readonly linkIndex?: number } = {}): FdbInfo[] {
    const header = { family: AF.bridge, index: filter.linkIndex ?? 0 };
    return this.#dump(
      "read forwarding database",
      message(NEIGH.get, 0, neighbourMessage, { header, body: {} }),
      (reader) => fdbInfo(neighbourMessage.decode(reader)),
    );
  }

  /** rules reads the policy rules of both families. */
  rules(): RuleInfo[] {
    return this.#dump("read rules", message(RULE.get, 0, ruleMessage, { header: {}, body: {} }), decodeRule);
  }

  /** qdiscs reads the queueing disciplines of all links, or of one. */
  qdiscs(filter: { readonly linkIndex?: number } = {}): QdiscInfo[] {
    const request = message(QDISC.get, 0, qdiscMessage, { header: {}, body: {} });
    // A kernel without traffic control (CONFIG_NET_SCHED) has none.
    const all = noneFor("EOPNOTSUPP", () => this.#dump("read qdiscs", request, decodeQdisc));
    // The dump knows no filter by link.
    return all.filter(({ linkIndex }) => (filter.linkIndex ?? linkIndex) === linkIndex);
  }

  /** filters reads the filters on what comes in by a link; none when it has no qdisc for them. */
  filters({ linkIndex: index }: { readonly linkIndex: number }): FilterInfo[] {
    const header = { index, parent: PARENT.incoming };
    return this.#dump(
      "read filters",
      message(FILTER.get, 0, filterMessage, { header, body: {} }),
      decodeFilter,
    );
  }

  /**
   * execute sends all requests in few system calls; one result per request, in order: undefined for success. Never throws
   * for a kernel answer. A request of several messages ends its batch: what follows the first is sent once that succeeded.
   */
  execute(requests: readonly RouteRequest[]): (NetlinkError | undefined)[] {
    const results: (NetlinkError | undefined)[] = [];
    let batch: { readonly action: () => string; readonly message: Message }[] = [];
    const flush = () => {
      for (const result of this.#socket.execute(batch)) results.push(result);
      batch = [];
    };
    for (const request of requests) {
      batch.push({ action: request.action, message: request.messages[0] });
      if (request.messages.length === 1) continue;
      flush();
      if (results[results.length - 1] === undefined) results[results.length - 1] = this.#finish(request);
    }
    flush();
    return results;
  }

  /** Sends what follows the first message of a request; undoes the request when the kernel refuses one. */
  #finish({ action, messages, undo }: RouteRequest): NetlinkError | undefined {
    const rest = this.#socket.execute(messages.slice(1).map((message) => ({ action, message })));
    const error = rest.find((result) => result !== undefined);
    if (error !== undefined && undo !== undefined) this.#socket.execute([{ action, message: undo }]);
    return error;
  }

  /** request is execute of one request; throws its NetlinkError. */
  request(request: RouteRequest): void {
    const [error] = this.execute([request]);
    if (error !== undefined) throw error;
  }

  #dump<T>(action: string, request: Message, decode: (reader: Reader) => T | undefined): T[] {
    let values: T[] = [];
    this.#socket.dump(
      action,
      request,
      () => (values = []),
      (_type, reader) => {
        const value = decode(reader);
        if (value !== undefined) values.push(value);
      },
    );
    return values;
  }

  close(): void {
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function linkOnly(reader: Reader): LinkInfo | undefined {
  const link = decodeLink(reader);
  return link?.kind === "link" ? link.info : undefined;
}

function noneFor<T>(code: string, read: () => T[]): T[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof NetlinkError && error.code === code) return [];
    throw error;
  }
}
