/** How a gateway's associations, policies and routes in the kernel are told from those of others: by numbers that it gives them. */
import type { PolicyId, RouteChange, SaId } from "../../netlink/mod.ts";
import type { KernelEsp } from "./kernel-esp.ts";

/** MOST_XFRM_ROUTES is a limit against mistakes. */
export const MOST_XFRM_ROUTES = 65_535;
/** Upper byte of `reqid`; then the instance, then the route. */
const REQID = 0xca;
/** Priorities are a byte, ours and the instance; below them is how short the prefix is. */
const PRIORITY = 0xca_0000;
const LONGEST = 128;
/** Routes of this protocol number, and of the instance's metric, are its own; the engine's number would let the engine remove them. */
const ROUTE_PROTOCOL = 68;
const METRIC = 0xca00;

/** RouteMarks are the numbers of one route. */
export interface RouteMarks {
  readonly reqid: number;
  /** Of a policy for a prefix of length 0; each bit makes it one less. */
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
      priority: PRIORITY + this.#instance * 256 + LONGEST,
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

  /** hasPriority tells whether a policy is. */
  hasPriority(priority: number): boolean {
    return Math.floor(priority / 256) === Math.floor(PRIORITY / 256) + this.#instance;
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

/** leftoverPolicies returns its policies. */
export function leftoverPolicies(kernel: KernelEsp, marks: XfrmMarks): PolicyId[] {
  return kernel
    .policies()
    .flatMap(({ direction, selector, priority }) =>
      selector !== undefined && marks.hasPriority(priority) ? [{ direction, selector }] : [],
    );
}

/** leftoverRoutes returns its routes. */
export function leftoverRoutes(kernel: KernelEsp, marks: XfrmMarks): RouteChange[] {
  return kernel.route.routes().flatMap((route) =>
    marks.hasRoute(route)
      ? [
          {
            destination: route.destination,
            table: route.table,
            metric: route.metric,
            protocol: route.protocol,
          },
        ]
      : [],
  );
}
