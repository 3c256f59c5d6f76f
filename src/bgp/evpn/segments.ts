/**
 * Ethernet segments of others, from their type 1 routes: by which VTEPs a host with several links is reached (aliasing, RFC 7432 section 8.4).
 * A segment of our own, and the election of who forwards broadcast, are not built.
 */
import { formatIp, type Ip } from "../../net/mod.ts";
import {
  type Administered,
  type Esi,
  type Nlri,
  type PathAttributes,
  printAdministered,
  printNlriWithRd,
  ZERO_ESI,
} from "../wire/mod.ts";

/** The tag of a route for a whole segment (RFC 7432 section 8.2.1). */
const WHOLE_SEGMENT = 0xffffffff;

/** Ways are where the packets for an address may go. */
export interface Ways {
  /** `single-active`: one at a time, the others stand by (RFC 7432 section 8.4). */
  readonly mode: "all-active" | "single-active";
  /** VTEPs, in the order of their addresses. */
  readonly vteps: readonly Ip[];
}

interface Discovery {
  readonly vtep: Ip;
  readonly tag: number;
  readonly singleActive: boolean;
  readonly targets: ReadonlySet<string>;
}

/** EthernetSegments is fed with best routes of type 1. */
export class EthernetSegments {
  /** By segment, by route as text. */
  readonly #routes = new Map<Esi, Map<string, Discovery>>();

  /** update takes a route as it is now; without attributes it is gone. Routes of other types change nothing. */
  update(nlri: Nlri, attributes: PathAttributes | undefined): void {
    if (nlri.kind !== "ethernet-auto-discovery") return;
    const { esi, tag } = nlri;
    const routes = this.#routes.get(esi) ?? new Map<string, Discovery>();
    const name = printNlriWithRd(nlri);
    const vtep = attributes?.nextHop?.address;
    if (attributes === undefined || vtep === undefined) routes.delete(name);
    else
      routes.set(name, {
        vtep,
        tag,
        singleActive:
          attributes.extendedCommunities?.some((one) => one.kind === "esi-label" && one.singleActive) ===
          true,
        targets: new Set(targetsOf(attributes).map(printAdministered)),
      });
    if (routes.size === 0) this.#routes.delete(esi);
    else this.#routes.set(esi, routes);
  }

  /**
   * waysTo returns the VTEPs that reach an address: those that announced its segment as a whole and for its instance, and the one that announced
   * the address, which counts even before its type 1 routes have come. Undefined for an address without a segment.
   */
  waysTo(address: {
    readonly esi: Esi;
    readonly tag: number;
    readonly nextHop: Ip;
    readonly targets: readonly Administered[];
  }): Ways | undefined {
    const { esi, tag, nextHop, targets } = address;
    if (esi === ZERO_ESI) return undefined;
    const routes = [...(this.#routes.get(esi)?.values() ?? [])];
    const whole = new Map(
      routes.filter((one) => one.tag === WHOLE_SEGMENT).map((one) => [formatIp(one.vtep), one]),
    );
    const names = targets.map(printAdministered);
    const vteps = new Map([[formatIp(nextHop), nextHop]]);
    for (const one of routes)
      // RFC 7432 section 8.4: not to one that has taken its route for the segment back: its link is down.
      if (one.tag === tag && whole.has(formatIp(one.vtep)) && names.some((name) => one.targets.has(name)))
        vteps.set(formatIp(one.vtep), one.vtep);
    const single = [...whole.values()].some((one) => one.singleActive);
    const sorted = [...vteps.values()].sort((a, b) => Number(a.value - b.value));
    return { mode: single ? "single-active" : "all-active", vteps: sorted };
  }
}

/** targetsOf returns a route's route targets. */
export function targetsOf({ extendedCommunities }: PathAttributes): readonly Administered[] {
  return (extendedCommunities ?? []).flatMap((one) => (one.kind === "route-target" ? [one.target] : []));
}
