/**
 * Who is behind the host's links into segments of one domain: what their bridges learn, told as it comes and goes.
 *
 * ```
 *   forwarding entry of a port, learned ──▶ an Ethernet address is here
 *   neighbour of the bridge with that ────▶ and has this address (only where the segment has a gateway, which asks)
 * ```
 * What the router is not sure of any more it asks for again, so that who is silent stays known, and who is gone goes. Who has moved here it asks for
 * his addresses once the node where he was has taken them back (RFC 9135 section 7): until then what that node told stands for them. He may be one
 * who does not answer yet: who still looks whether somebody else has his addresses (RFC 4862 section 5.4), or still begins.
 */
import { bridgeOf } from "../domain/mod.ts";
import { segmentEdgeLink } from "../edge/mod.ts";
import { weather } from "../engine/mod.ts";
import { formatIp, formatMac, type Ip, type Mac, NOT_HOSTS, prefixContains } from "../net/mod.ts";
import {
  type FdbInfo,
  Monitor,
  type NeighbourInfo,
  type RouteEvent,
  type Rtnetlink,
  useNeighbour,
} from "../netlink/mod.ts";
import { every, type Netns } from "../sys/mod.ts";

/** How often what is stale is asked for: well within the time after which a bridge forgets (300 s), and the router (60 s). */
const ASK_MS = 30_000;

/** So often who has moved here is asked for an address in vain: for as long as a bridge remembers who is silent. */
const MOST_ASKED = 10;

/** So many of a segment are told of: who can flood a bridge with addresses is not to fill a fabric's tables. */
const MOST_STATIONS = 4_096;

/** BehindStation is an Ethernet address behind a segment's link, or one of its addresses. Identity: all of it. */
export interface BehindStation {
  readonly segment: number;
  readonly mac: Mac;
  readonly ip?: Ip;
}

/** EdgeStationsOptions say where, and who is told. */
export interface EdgeStationsOptions {
  readonly netns: Netns;
  /** Socket in the namespace. */
  readonly route: Rtnetlink;
  /** `known`: it was so before anybody looked. */
  readonly onHere: (station: BehindStation, claim: "arrived" | "known") => void;
  readonly onGone: (station: BehindStation) => void;
  /** What the kernel would not tell; it is asked again within half a minute. */
  readonly onProblem: (error: Error) => void;
}

/** What is known of one segment. */
interface Port {
  readonly vni: number;
  /** Index of the port, and of the bridge. */
  readonly port: number;
  readonly bridge: number;
  readonly macs: Set<Mac>;
  /** Valid neighbours, by text. */
  readonly neighbours: Map<string, { readonly ip: Ip; readonly mac: Mac; readonly stale: boolean }>;
  /** Neighbours that other nodes have told of, by text. */
  readonly remote: Map<string, Mac>;
  /** Those that they have taken back, of whom is here, by text, as long as he has not answered; and how often he was asked. */
  readonly moved: Map<string, { readonly ip: Ip; readonly mac: Mac; asked: number }>;
}

/** EdgeStations watches one domain; closing it tells nothing. */
export class EdgeStations implements Disposable {
  readonly #options: EdgeStationsOptions;
  readonly #monitor: Monitor;
  readonly #asking: Disposable;
  #vnis: readonly number[] = [];
  #ports: readonly Port[] = [];
  /** The kernel would not tell something. */
  #isBehind = false;
  /** What was told, by name. */
  readonly #told = new Map<string, BehindStation>();

  constructor(options: EdgeStationsOptions) {
    this.#options = options;
    this.#monitor = Monitor.open({
      netns: options.netns,
      groups: ["neighbour", "link"],
      onEvent: (event) => this.#bear(() => this.#hear(event)),
      onOverrun: () => this.#bear(() => this.#readAll()),
    });
    this.#asking = every(ASK_MS, () =>
      this.#bear(() => {
        if (this.#isBehind) this.#readAll();
        this.ask();
      }),
    );
  }

  /** setSegments says which segments have a link now; what is behind those whose devices are there is told as `known`. */
  setSegments(vnis: readonly number[]): void {
    this.#vnis = vnis;
    this.#look("known");
  }

  /** Devices may be others than before, also without anybody's saying so: what was removed is made again. */
  #look(claim: "arrived" | "known"): void {
    const { route } = this.#options;
    const before = this.#ports;
    this.#ports = this.#vnis.flatMap((vni) => {
      const port = route.link(segmentEdgeLink(vni))?.index;
      const bridge = route.link(bridgeOf(vni))?.index;
      if (port === undefined || bridge === undefined) return [];
      const same = before.find((one) => one.vni === vni && one.port === port && one.bridge === bridge);
      return [
        same ??
          this.#read({
            ...{ vni, port, bridge, macs: new Set() },
            ...{ neighbours: new Map(), remote: new Map(), moved: new Map() },
          }),
      ];
    });
    for (const port of new Set([...before, ...this.#ports])) this.#tell(port.vni, claim);
  }

  /** stations returns what is known to be here. */
  get stations(): readonly BehindStation[] {
    return [...this.#told.values()];
  }

  #readAll(): void {
    this.#isBehind = false;
    for (const port of this.#ports) {
      port.macs.clear();
      port.neighbours.clear();
      port.remote.clear();
      port.moved.clear();
      this.#read(port);
    }
    this.#look("arrived");
  }

  #read(port: Port): Port {
    const { route } = this.#options;
    // The kernel's filter is by port or by bridge, depending on its version.
    for (const info of route.fdb()) this.#takeFdb(port, info, false);
    for (const info of route.neighbours({ linkIndex: port.bridge })) this.#takeNeighbour(port, info, false);
    return port;
  }

  #hear(event: RouteEvent): void {
    if (event.kind === "link" && this.#isOther(event)) return this.#look("arrived");
    for (const port of this.#ports) {
      if (event.kind === "fdb" && this.#takeFdb(port, event.info, event.deleted))
        this.#tell(port.vni, "arrived", event.info.mac);
      if (event.kind === "neighbour" && this.#takeNeighbour(port, event.info, event.deleted))
        this.#tell(port.vni, "arrived");
    }
  }

  /** Whether a device of ours is there that was not, or is gone. */
  #isOther({ info: { name, index }, deleted }: Extract<RouteEvent, { kind: "link" }>): boolean {
    if (!this.#vnis.some((vni) => name === segmentEdgeLink(vni) || name === bridgeOf(vni))) return false;
    return this.#ports.some(({ port, bridge }) => port === index || bridge === index) === deleted;
  }

  /** An address has one entry in a bridge: that of another port takes it from ours. */
  #takeFdb({ port, bridge, macs }: Port, info: FdbInfo, deleted: boolean): boolean {
    if (info.master !== bridge) return false;
    const { mac } = info;
    const learned = info.linkIndex === port && !info.permanent && !info.static && !info.externLearn;
    if (learned && !deleted) return macs.size < MOST_STATIONS && !macs.has(mac) && macs.add(mac).has(mac);
    if (deleted && info.linkIndex !== port) return false;
    return macs.delete(mac);
  }

  #takeNeighbour(port: Port, info: NeighbourInfo, deleted: boolean): boolean {
    const { bridge, macs, neighbours, remote, moved } = port;
    const { linkIndex, ip, mac, state, externLearn } = info;
    // Addresses of a link alone are nobody's to announce.
    if (linkIndex !== bridge || NOT_HOSTS.some((prefix) => prefixContains(prefix, ip))) return false;
    const name = formatIp(ip);
    const was = remote.get(name);
    remote.delete(name);
    if (externLearn && state === "noarp" && !deleted && mac !== undefined) {
      remote.set(name, mac);
      moved.delete(name);
    } else if (was !== undefined && macs.has(was)) {
      moved.set(name, { ip, mac: was, asked: 0 });
      this.#options.route.execute([useNeighbour({ linkIndex: bridge, ip })]);
    }
    const valid = ["reachable", "stale", "delay", "probe"].includes(state) && !externLearn && !deleted;
    if (!valid || mac === undefined) return neighbours.delete(name);
    moved.delete(name);
    const before = neighbours.get(name);
    neighbours.set(name, { ip, mac, stale: state === "stale" });
    return before?.mac !== mac;
  }

  /** What is here now is told where it differs from what was told; of one Ethernet address alone, or of all. */
  #tell(vni: number, claim: "arrived" | "known", only?: Mac): void {
    const now = new Map<string, BehindStation>();
    const port = this.#ports.find((one) => one.vni === vni);
    const put = (station: BehindStation) => void now.set(stationName(station), station);
    if (port !== undefined) {
      for (const mac of only === undefined ? port.macs : [only])
        if (port.macs.has(mac)) put({ segment: vni, mac });
      for (const { ip, mac } of port.neighbours.values())
        if (port.macs.has(mac) && (only ?? mac) === mac) put({ segment: vni, mac, ip });
    }
    for (const [name, station] of this.#told)
      if (station.segment === vni && (only ?? station.mac) === station.mac && !now.has(name)) {
        this.#told.delete(name);
        this.#options.onGone(station);
      }
    for (const [name, station] of now)
      if (!this.#told.has(name)) {
        this.#told.set(name, station);
        this.#options.onHere(station, claim);
      }
  }

  /** ask has the router ask for what it is not sure of, as it does by itself from time to time. */
  ask(): void {
    const requests = this.#ports.flatMap((port) => {
      const { bridge: linkIndex, macs, neighbours, moved } = port;
      for (const [name, one] of moved)
        if (!macs.has(one.mac) || one.asked++ === MOST_ASKED) moved.delete(name);
      const unsure = [...neighbours.values()].filter(({ mac, stale }) => stale && macs.has(mac));
      return [...unsure, ...moved.values()].map(({ ip }) => useNeighbour({ linkIndex, ip }));
    });
    // What is gone by now need not be asked for.
    if (requests.length > 0) this.#options.route.execute(requests);
  }

  #bear(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#isBehind = true;
      this.#options.onProblem(weather(error));
    }
  }

  [Symbol.dispose](): void {
    this.#asking[Symbol.dispose]();
    this.#monitor.close();
  }
}

/** stationName names a station. */
export function stationName({ segment, mac, ip }: BehindStation): string {
  return `behind ${segment} ${formatMac(mac)}${ip === undefined ? "" : ` ${formatIp(ip)}`}`;
}
