/** How a gateway's associations, policies and routes in the kernel are told from those of others: by numbers that it gives them. */
import { formatPrefix } from "../../net/mod.ts";
import { NetlinkError, type PolicyId, type RouteChange, type SaId, Xfrm } from "../../netlink/mod.ts";
import { type Netns, SystemError } from "../../sys/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";

/** MOST_XFRM_ROUTES is a limit against mistakes. */
export const MOST_XFRM_ROUTES = 65_535;
/** Upper byte of `reqid`; then the instance, then the route. */
const REQID = 0xca;
/** Priorities are a byte, ours and the instance; below them is how short the prefix is, and for part of its flows one less. */
const PRIORITY = 0xca00;
/** What is below them: two bytes, and one where an older version set a policy, which has the same selectors. */
const BELOW = 2 ** 16;
const BELOWS = [BELOW, 2 ** 8];
const LONGEST = 128;
/** Routes of this protocol number, and of the instance's metric, are its own; the engine's number would let the engine remove them. */
const ROUTE_PROTOCOL = 68;
const METRIC = 0xca00;

/** RouteMarks are the numbers of one route. */
export interface RouteMarks {
  readonly reqid: number;
  /** Of a policy for a prefix of length 0; each bit makes it two less. */
  readonly priority: number;
  readonly protocol: number;
  readonly metric: number;
}

/** XfrmMarks gives routes their numbers. */
export class XfrmMarks {
  readonly #instance: number;
  readonly #free: number[] = [];
  #next = 1;

  constructor(instance: number) {
    if (!Number.isInteger(instance) || instance < 0 || instance > 255)
      throw new RangeError(`An instance is 0 to 255, not ${instance}`);
    this.#instance = instance;
  }

  get #base(): number {
    return REQID * 2 ** 24 + this.#instance * 2 ** 16;
  }

  /** Priority of a policy for a prefix of length 0; each bit makes it two less. */
  get priority(): number {
    return (PRIORITY + this.#instance) * BELOW + 2 * LONGEST + 1;
  }

  /** take returns the numbers of one more route. */
  take(): RouteMarks {
    const reqid = this.#free.pop() ?? this.#base + this.#next;
    if (reqid === this.#base + this.#next) {
      if (this.#next > MOST_XFRM_ROUTES)
        throw new Error(`Cannot add a route: there are ${MOST_XFRM_ROUTES}; remove some first`);
      this.#next++;
    }
    return {
      reqid,
      priority: this.priority,
      protocol: ROUTE_PROTOCOL,
      metric: METRIC + this.#instance,
    };
  }

  /** give takes a route's numbers back. */
  give(reqid: number): void {
    this.#free.push(reqid);
  }

  /** hasReqid tells whether an association is of this instance. */
  hasReqid(reqid: number): boolean {
    return reqid > this.#base && reqid <= this.#base + MOST_XFRM_ROUTES;
  }

  /** hasPriority tells whether a policy is, one of an older version too. */
  hasPriority(priority: number): boolean {
    return BELOWS.some((below) => Math.floor(priority / below) === PRIORITY + this.#instance);
  }

  /** hasRoute tells whether a route is. */
  hasRoute({ protocol, metric }: { readonly protocol: number; readonly metric: number }): boolean {
    return protocol === ROUTE_PROTOCOL && metric === METRIC + this.#instance;
  }
}

/** leftoverSas returns the associations of an instance that nobody keeps. */
export function leftoverSas(kernel: KernelEsp, marks: XfrmMarks): SaId[] {
  return kernel.sas().filter(({ reqid, spi }) => spi !== 0 && marks.hasReqid(reqid));
}

/** leftoverPolicies returns the policies of an instance. */
export function leftoverPolicies(kernel: KernelEsp, marks: XfrmMarks): PolicyId[] {
  return kernel
    .policies()
    .flatMap(({ direction, selector, priority }) =>
      selector !== undefined && marks.hasPriority(priority) ? [{ direction, selector }] : [],
    );
}

/** isLeftBlocked tells whether a gateway of an instance has policies in a namespace; where there is no XFRM, none has. */
export function isLeftBlocked({
  instance = 0,
  netns,
}: {
  readonly instance?: number;
  readonly netns?: Netns;
}): boolean {
  const marks = new XfrmMarks(instance);
  try {
    using xfrm = Xfrm.open({ netns });
    return xfrm.policies().some(({ priority }) => marks.hasPriority(priority));
  } catch (error) {
    if (error instanceof NetlinkError || error instanceof SystemError) return false;
    throw error;
  }
}

/** leftoverRoutes returns its routes. */
export function leftoverRoutes(kernel: KernelEsp, marks: XfrmMarks): RouteChange[] {
  return routesOf(kernel, marks).map(({ destination, table, metric, protocol }) => ({
    destination,
    table,
    metric,
    protocol,
  }));
}

/** lackingRoutes returns those of some routes that the kernel does not have, or not so. */
export function lackingRoutes(
  kernel: KernelEsp,
  marks: XfrmMarks,
  wanted: readonly RouteChange[],
): RouteChange[] {
  if (wanted.length === 0) return [];
  const there = new Map(routesOf(kernel, marks).map((route) => [formatPrefix(route.destination), route]));
  return wanted.filter(({ destination, hops, mtuBytes, source }) => {
    const found = there.get(formatPrefix(destination));
    return (
      found === undefined ||
      found.hops[0]?.linkIndex !== hops?.[0]?.linkIndex ||
      found.mtuBytes !== mtuBytes ||
      found.source?.value !== source?.value
    );
  });
}

/** The kernel looks for the protocol number: others' routes, however many, are not read. */
function routesOf(kernel: KernelEsp, marks: XfrmMarks) {
  return kernel.route.routes({ protocol: ROUTE_PROTOCOL }).filter((route) => marks.hasRoute(route));
}
