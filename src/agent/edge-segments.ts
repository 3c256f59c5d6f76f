/**
 * Links between segments of a router's domains and the host: made, put into the host's bridge, and what is behind them announced. A segment is in
 * the fabric as long as it has one, also without pods.
 */
import { bridgeOf, type DomainNode, gatewayMac, type LocalStation, segmentMtu } from "../domain/mod.ts";
import {
  type EdgeDomain,
  type EdgeSegment,
  hostPortObjects,
  missingBridge,
  segmentEdgeLink,
  segmentPortObjects,
} from "../edge/mod.ts";
import { ALIAS, type Engine, type ObjectStatus, weather } from "../engine/mod.ts";
import type { Ip, Mac } from "../net/mod.ts";
import type { LinkInfo } from "../netlink/mod.ts";
import { after } from "../sys/mod.ts";
import type { Bearing } from "./bearing.ts";
import type { DomainHost } from "./domain-host.ts";
import type { DomainPlace } from "./domain-place.ts";
import type { LinkPlace } from "./edge-link-state.ts";
import { type BehindStation, EdgeStations, stationName } from "./edge-stations.ts";
import type { VpcAnnouncer } from "./vpc-announcer.ts";

/** Addresses that come together are told of together: what a domain announces is put together anew each time. */
const TELL_MS = 20;

/** EdgeSegmentsOptions say whose links, and where. */
export interface EdgeSegmentsOptions {
  readonly router: string;
  /** Engine of the host's namespace. */
  readonly home: Engine;
  readonly homePlace: LinkPlace;
  readonly announcer: VpcAnnouncer;
  /** `addresses` are others than before, of a domain that announces them one by one. */
  readonly onAddresses: () => void;
  readonly onProblem: (error: Error) => void;
}

/** What is here of a domain. */
interface Linked {
  readonly place: DomainPlace;
  readonly segments: ReadonlyMap<number, EdgeSegment>;
  readonly stations: EdgeStations;
  /** Names of stations that hide what is told of them elsewhere. */
  readonly attached: Map<string, LocalStation>;
}

/** EdgeSegments keeps the links of one router; closing it leaves them as they are. */
export class EdgeSegments implements Disposable {
  readonly #options: EdgeSegmentsOptions;
  /** VNIs of domains whose addresses are announced one by one. */
  readonly #byAddress = new Set<number>();
  /** By the domain's VNI. */
  readonly #linked = new Map<number, Linked>();
  #telling: Disposable | undefined;

  constructor(options: EdgeSegmentsOptions) {
    this.#options = options;
  }

  /** apply makes the links of a domain that is kept here. */
  apply(host: DomainHost, domain: EdgeDomain, { node, bearing }: ApplySegments): void {
    const place = host.place(domain.vni);
    if (place === undefined) return;
    const before = this.#linked.get(domain.vni);
    const wanted = domain.segments.filter(({ hostLink }) => hostLink !== undefined);
    if (before === undefined && wanted.length === 0) return;
    if (domain.routing?.hosts === true) this.#byAddress.add(domain.vni);
    else this.#byAddress.delete(domain.vni);
    const segments = new Map(wanted.map((segment) => [segment.vni, segment]));
    for (const old of before?.segments.values() ?? []) {
      const now = segments.get(old.vni);
      if (now === undefined || mustRemake(old, now)) this.#unlink(host, domain.vni, old);
    }
    for (const [vni, refused] of place.hold(new Set(segments.keys()))) {
      const segment = segments.get(vni) as EdgeSegment;
      bearing.problems.push(`Subnet "${segment.subnet}": ${refused}`);
      this.#unlink(host, domain.vni, segment);
      segments.delete(vni);
    }
    if (segments.size === 0) return this.#forget(domain.vni);
    for (const segment of segments.values())
      bearing.bear(() =>
        this.#link(host, { domain: domain.vni, segment, mtuBytes: segmentMtu(segment, node) }),
      );
    const linked = { ...(before?.place === place ? before : this.#begin(domain.vni, place)), segments };
    this.#linked.set(domain.vni, linked);
    linked.stations.setSegments([...segments.keys()]);
  }

  #begin(vni: number, place: DomainPlace): Omit<Linked, "segments"> {
    this.#forget(vni);
    const attached = new Map<string, LocalStation>();
    const { announcer, onProblem } = this.#options;
    const told = ({ ip }: BehindStation) => {
      if (ip !== undefined && this.#byAddress.has(vni)) this.#tellSoon();
      this.#bear(() => place.flush());
    };
    const stations = new EdgeStations({
      ...{ netns: place.netns, route: place.route, onProblem },
      onHere: (behind, claim) => {
        const station = stationOf(behind);
        attached.set(station.id, station);
        place.remotes.attach(station);
        announcer.setHost(station, { claim });
        told(behind);
      },
      onGone: (behind) => {
        const station = stationOf(behind);
        announcer.removeHost(station.id);
        if (attached.delete(station.id)) place.remotes.detach(station);
        told(behind);
      },
    });
    return { place, stations, attached };
  }

  #tellSoon(): void {
    this.#telling ??= after(TELL_MS, () => {
      this.#telling = undefined;
      this.#bear(this.#options.onAddresses);
    });
  }

  /** Of what the kernel tells there is nobody above who would bear it. */
  #bear(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.onProblem(weather(error));
    }
  }

  #link(host: DomainHost, { domain, segment, mtuBytes }: LinkWish): void {
    const { home, homePlace } = this.#options;
    const { vni, subnet, hostLink = "" } = segment;
    const mac = segment.gatewayMac ?? gatewayMac(vni);
    const place = { bridge: bridgeOf(vni), mac, home: homePlace.netns, mtuBytes };
    const port = host.place(domain)?.route.link(segmentEdgeLink(vni));
    if (port !== undefined && this.#isNamedOtherwise(port, hostLink))
      host.place(domain)?.removeLink(port.name);
    // What has the name already is another's, and stays as it is.
    else if (port === undefined && homePlace.route.link(hostLink) !== undefined)
      throw new Error(
        `Subnet "${subnet}": spec.hostLink ${hostLink} is a link of this node already; choose another name`,
      );
    host.setScope(domain, scopeOf(vni), segmentPortObjects(segment, place));
    home.set(this.#homeScope(vni), hostPortObjects(segment, mtuBytes));
    home.apply(this.#homeScope(vni));
  }

  /** An earlier agent had another name for the host's end. One that is elsewhere by now is whoever's who took it there. */
  #isNamedOtherwise({ index, parent }: LinkInfo, hostLink: string): boolean {
    const { route } = this.#options.homePlace;
    if (route.link(hostLink) !== undefined) return false;
    return route
      .links()
      .some(
        (link) => link.index === parent && link.parent === index && link.alias?.startsWith(ALIAS) === true,
      );
  }

  #unlink(host: DomainHost, domain: number, { vni }: EdgeSegment): void {
    const { home } = this.#options;
    // The host's bridge forgets its port before it goes itself.
    host.setScope(domain, scopeOf(vni), []);
    home.remove(this.#homeScope(vni));
    home.apply(this.#homeScope(vni));
  }

  /** end takes the links of a domain away. */
  end(host: DomainHost | undefined, vni: number): void {
    const linked = this.#linked.get(vni);
    if (linked === undefined || host === undefined) return;
    for (const segment of linked.segments.values()) this.#unlink(host, vni, segment);
    linked.stations.setSegments([]);
    linked.place.hold(new Set());
    this.#forget(vni);
  }

  #forget(vni: number): void {
    this.#linked.get(vni)?.stations.setSegments([]);
    this.#linked.get(vni)?.stations[Symbol.dispose]();
    this.#linked.delete(vni);
  }

  /**
   * moved says that an Ethernet address of a segment is elsewhere now, so that it is reached there: that entry takes the bridge's from our port, which
   * ends the station.
   */
  moved(segment: number, mac: Mac): void {
    for (const { place, attached } of this.#linked.values())
      for (const [name, station] of attached)
        if (station.segment === segment && station.mac === mac) {
          attached.delete(name);
          place.remotes.detach(station);
          place.flush();
        }
  }

  /** addresses returns what is behind the links of a domain, as far as its gateways have heard of it. */
  addresses(vni: number): Ip[] {
    return [...(this.#linked.get(vni)?.attached.values() ?? [])].flatMap(({ addresses }) => addresses);
  }

  /** problems tells which bridges are not there, and what the kernel refuses on the host's side. */
  problems(): string[] {
    const { home } = this.#options;
    return [...this.#linked.values()].flatMap(({ segments }) =>
      [...segments.values()].flatMap((segment) => {
        const status = home.status(this.#homeScope(segment.vni));
        const missing = this.#missing(segment, status);
        const refused = status.filter(({ state }) => state === "failed");
        if (missing !== undefined) return [missing];
        return refused.map(({ key, reason }) => `Subnet "${segment.subnet}": ${reason ?? key}`);
      }),
    );
  }

  /** What is ours is looked at only where something is wrong with it: each look asks the kernel, and there are hundreds. */
  #missing(segment: EdgeSegment, status: readonly ObjectStatus[]): string | undefined {
    const { hostBridge } = segment;
    if (hostBridge === undefined) return undefined;
    if (hostBridge.managed && status.every(({ state }) => state === "ready")) return undefined;
    const link = this.#options.homePlace.route.link(hostBridge.name);
    return missingBridge(segment, link === undefined ? undefined : (link.kind ?? ""));
  }

  #homeScope(vni: number): string {
    return `edge/${this.#options.router}/link/${vni}`;
  }

  [Symbol.dispose](): void {
    this.#telling?.[Symbol.dispose]();
    for (const { stations } of this.#linked.values()) stations[Symbol.dispose]();
    this.#linked.clear();
  }
}

/** ApplySegments says where VXLAN ends, and who bears what goes wrong. */
export interface ApplySegments {
  readonly node: DomainNode;
  readonly bearing: Bearing;
}

interface LinkWish {
  readonly domain: number;
  readonly segment: EdgeSegment;
  readonly mtuBytes: number;
}

function scopeOf(vni: number): string {
  return `edge/link/${vni}`;
}

/** Another name, or a bridge that it is no longer in: it leaves that only by going. */
function mustRemake(old: EdgeSegment, now: EdgeSegment): boolean {
  return (
    old.hostLink !== now.hostLink ||
    (old.hostBridge !== undefined && now.hostBridge?.name !== old.hostBridge.name)
  );
}

function stationOf(behind: BehindStation): LocalStation {
  const { segment, mac, ip } = behind;
  return { id: stationName(behind), segment, mac, addresses: ip === undefined ? [] : [ip], groups: [] };
}
