/**
 * XfrmRoute: the policies and routes of the kernel for one route of a gateway.
 *
 * ```
 * out      to the prefixes    through the association in use, by its SPI; blocked while there is none; of several queues, those of the others have
 *                             shares of its flows, by bits of their ports
 * in, fwd  from the prefixes  out of an association of this route, and else not at all
 * ```
 * A longer prefix comes first, in both directions. In `out` the template names the one SPI, so that another association never takes its place by
 * being newer; a policy is replaced in one step, and packets see the one or the other. A share has the priority before its prefix's: what is in
 * none goes by the first association, and so does all of a share whose policy is not there.
 */
import { type Ip, ipEqual, type Prefix, prefixEqual, prefixOf } from "../../net/mod.ts";
import type { PolicyChange, PolicyDirection, PolicyId, RouteChange, Selector } from "../../netlink/mod.ts";
import type { Carried, Refused, RouteOrder } from "../gateway/mod.ts";
import type { RouteMarks } from "./xfrm-marks.ts";

/** Aim is what packets go through. */
export interface Aim {
  readonly queue: number;
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

/**
 * Shares are told apart by two bits of either port. The lowest bit is none of them: Linux connects from even ports. Fragments, and protocols without
 * ports, have 0 in their place, and ICMP its type and code.
 */
const PORT_BITS = [0, 2, 4, 6] as const;
const PORT_MASK = 6;
const SHARES = PORT_BITS.flatMap((source) => PORT_BITS.map((destination) => ({ source, destination })));
type Share = (typeof SHARES)[number];

function sameAim(a: Aim | undefined, b: Aim | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.queue === b.queue && a.spi === b.spi && ipEqual(a.from, b.from) && ipEqual(a.to, b.to);
}

/** sameAims tells whether all do. */
export function sameAims(all: readonly Aim[], others: readonly Aim[]): boolean {
  return all.length === others.length && all.every((aim, i) => sameAim(aim, others[i]));
}

/** The association of a share, if it is not the first: each of up to sixteen has shares, evenly, and to each port that others call all of up to four. */
function aimOf(aims: readonly Aim[], { source, destination }: Share): Aim | undefined {
  const [i, j] = [source / 2, destination / 2];
  const rank = ((i + j) % PORT_BITS.length) * PORT_BITS.length + j;
  const aim = aims[Math.floor((rank * aims.length) / SHARES.length)];
  return aim?.queue === aims[0]?.queue ? undefined : aim;
}

function shareId({ source, destination }: Share, prefix: Prefix): PolicyId {
  const ports = {
    sourcePort: { value: source, mask: PORT_MASK },
    destinationPort: { value: destination, mask: PORT_MASK },
  };
  return { direction: "out", selector: { ...selectorOf("out", prefix), ...ports } };
}

const allShares = (prefixes: readonly Prefix[]) =>
  SHARES.flatMap((share) => prefixes.map((prefix) => shareId(share, prefix)));

/** isShare tells whether a policy is for part of a prefix's flows only. */
export function isShare({ selector }: PolicyId): boolean {
  return selector.sourcePort !== undefined;
}

/** blocked returns policies by which nothing of some prefixes passes, neither from them nor to them; those of `out` first. */
export function blocked(prefixes: readonly Prefix[], priority: number): PolicyChange[] {
  return (["out", "in", "fwd"] as const).flatMap((direction) =>
    prefixes.map((prefix) => ({
      direction,
      selector: selectorOf(direction, prefix),
      priority: priority - 2 * prefix.length,
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
  /** One for each queue that it has; none: blocked. */
  aims: readonly Aim[] = [];
  /** Whether the kernel may have policies of its shares, whatever became of the aims. */
  mayHaveShares = false;
  /** By which queue packets of another one go. */
  readonly detours = new Map<number, number>();
  /** Whose link its packets are led to, before they meet the policies. */
  leader: number | undefined;
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
      priority: this.#priority(prefix),
      templates: [{ source: nobody, destination: nobody, reqid: this.reqid }],
    }));
  }

  #priority(prefix: Prefix): number {
    return this.#marks.priority - 2 * prefix.length;
  }

  /** outward returns the policies of packets that leave, those of shares last; of those that were by the aims before, if they are known, only what has changed. */
  outward(prefixes: readonly Prefix[] = this.prefixes, before?: readonly Aim[]): PolicyChange[] {
    const [first] = this.aims;
    const had = before !== undefined && sameAim(first, before[0]);
    return [
      ...(had ? [] : prefixes).map((prefix) => ({
        direction: "out" as const,
        selector: selectorOf("out", prefix),
        priority: this.#priority(prefix),
        ...(first === undefined ? { action: "block" as const } : this.#through(first)),
      })),
      ...SHARES.flatMap((share) => {
        const aim = aimOf(this.aims, share);
        if (aim === undefined || (before !== undefined && sameAim(aim, aimOf(before, share)))) return [];
        return prefixes.map((prefix) => ({
          ...shareId(share, prefix),
          priority: this.#priority(prefix) - 1,
          ...this.#through(aim),
        }));
      }),
    ];
  }

  #through({ from, to, spi }: Aim): Required<Pick<PolicyChange, "templates">> {
    return { templates: [{ source: from, destination: to, reqid: this.reqid, spi }] };
  }

  /** Whether it has shares by its aims. */
  get isShared(): boolean {
    return this.aims.some(({ queue }) => queue !== this.aims[0]?.queue);
  }

  /** shares returns the policies of shares that some prefixes may have, by default all. */
  shares(prefixes: readonly Prefix[] = this.prefixes): PolicyId[] {
    return this.mayHaveShares ? allShares(prefixes) : [];
  }

  /** idleShares returns those of shares that leave by the first association now, and did not by the aims before; undefined: nobody knows how it was before. */
  idleShares(before: readonly Aim[] | undefined): PolicyId[] {
    return SHARES.flatMap((share) => {
      const had = before === undefined || aimOf(before, share) !== undefined;
      if (!had || aimOf(this.aims, share) !== undefined) return [];
      return this.prefixes.map((prefix) => shareId(share, prefix));
    });
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
