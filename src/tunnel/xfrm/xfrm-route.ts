/**
 * XfrmRoute: the policies and routes of the kernel for one route of a gateway.
 *
 * ```
 * out      to the prefixes    through the association in use, by its SPI; blocked while there is none
 * in, fwd  from the prefixes  out of an association of this route, and else not at all
 * ```
 * A longer prefix comes first, in both directions. In `out` the template names the one SPI, so that another association never takes its place by
 * being newer; a policy is replaced in one step, and packets see the one or the other.
 */
import { type Ip, type Prefix, prefixEqual, prefixOf } from "../../net/mod.ts";
import type { PolicyChange, PolicyDirection, RouteChange, Selector } from "../../netlink/mod.ts";
import type { Carried, Refused, RouteOrder } from "../gateway/mod.ts";
import type { RouteMarks } from "./xfrm-marks.ts";

/** Aim is what the route's packets go through. */
export interface Aim {
  readonly from: Ip;
  readonly to: Ip;
  readonly spi: number;
}

/** RouteBed is where a route's packets are led so that they meet the policies. */
export interface RouteBed {
  readonly linkIndex: number;
  /** The gateway's own packets into the tunnel have these addresses. */
  readonly four?: Ip | undefined;
  readonly six?: Ip | undefined;
  /** The gateway's MTU. */
  readonly mtuBytes: number;
}

const ANYWHERE = {
  4: prefixOf({ family: 4, value: 0n }, 0),
  6: prefixOf({ family: 6, value: 0n }, 0),
} as const;
const NOBODY: Record<4 | 6, Ip> = { 4: { family: 4, value: 0n }, 6: { family: 6, value: 0n } };

/** blocked returns policies by which nothing of some prefixes passes, neither from them nor to them; those of `out` first. */
export function blocked(prefixes: readonly Prefix[], priority: number): PolicyChange[] {
  return (["out", "in", "fwd"] as const).flatMap((direction) =>
    prefixes.map((prefix) => ({
      direction,
      selector: selectorOf(direction, prefix),
      priority: priority - prefix.length,
      action: "block" as const,
    })),
  );
}

function selectorOf(direction: PolicyDirection, prefix: Prefix): Selector {
  const anywhere = ANYWHERE[prefix.family];
  return direction === "out"
    ? { source: anywhere, destination: prefix }
    : { source: prefix, destination: anywhere };
}

/** XfrmRoute says what the kernel is to have; it holds nothing of it. */
export class XfrmRoute {
  readonly name: string;
  /** Of its associations, both ways. */
  readonly reqid: number;
  /** Queues that have it. */
  readonly queues = new Set<number>();
  readonly #marks: RouteMarks;
  prefixes: readonly Prefix[] = [];
  ownMtuBytes: number | undefined;
  /** Absent: blocked. */
  aim: Aim | undefined;
  /** Carried by associations that are gone, by queue. */
  readonly carried = new Map<number, Carried>();
  /** And refused by those. */
  readonly refused = new Map<number, Refused>();

  constructor(name: string, marks: RouteMarks) {
    this.name = name;
    this.reqid = marks.reqid;
    this.#marks = marks;
  }

  /** lacking returns those of some prefixes that another list has not. */
  static lacking(prefixes: readonly Prefix[], others: readonly Prefix[]): Prefix[] {
    return prefixes.filter((prefix) => !others.some((other) => prefixEqual(prefix, other)));
  }

  /** set takes prefixes and MTU; policies and routes follow. */
  set({ prefixes, mtuBytes }: RouteOrder): void {
    this.prefixes = prefixes;
    this.ownMtuBytes = mtuBytes;
  }

  /** policies returns those of some prefixes, by default all; those of `out` last. */
  policies(prefixes: readonly Prefix[] = this.prefixes): PolicyChange[] {
    return [...prefixes.flatMap((prefix) => this.#inward(prefix)), ...this.outward(prefixes)];
  }

  #inward(prefix: Prefix): PolicyChange[] {
    const nobody = NOBODY[prefix.family];
    return (["in", "fwd"] as const).map((direction) => ({
      direction,
      selector: selectorOf(direction, prefix),
      priority: this.#marks.priority - prefix.length,
      templates: [{ source: nobody, destination: nobody, reqid: this.reqid }],
    }));
  }

  /** outward returns the policies of packets that leave. */
  outward(prefixes: readonly Prefix[] = this.prefixes): PolicyChange[] {
    const { aim } = this;
    return prefixes.map((prefix) => ({
      direction: "out" as const,
      selector: selectorOf("out", prefix),
      priority: this.#marks.priority - prefix.length,
      ...(aim === undefined
        ? { action: "block" as const }
        : { templates: [{ source: aim.from, destination: aim.to, reqid: this.reqid, spi: aim.spi }] }),
    }));
  }

  /** routes returns the kernel's routes of some prefixes, by default all. */
  routes(
    { linkIndex, four, six, mtuBytes }: RouteBed,
    prefixes: readonly Prefix[] = this.prefixes,
  ): RouteChange[] {
    const { protocol, metric } = this.#marks;
    return prefixes.map((destination) => {
      const source = destination.family === 4 ? four : six;
      return {
        destination,
        protocol,
        metric,
        hops: [{ linkIndex }],
        mtuBytes: this.ownMtuBytes ?? mtuBytes,
        ...(source !== undefined && { source }),
      };
    });
  }
}
