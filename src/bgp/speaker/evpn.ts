/**
 * SpeakerEvpn: EVPN of one speaker: what is announced here, what others announce for those who forward by it, and which route targets neighbors
 * are asked for.
 */
import type { Mac, Prefix } from "../../net/mod.ts";
import type { BgpRouter } from "../../resources/mod.ts";
import { monotonicMs } from "../../sys/mod.ts";
import {
  EthernetSegments,
  type HostName,
  type LocalHost,
  type LocalPrefix,
  type LocalRouting,
  type LocalSegment,
} from "../evpn/mod.ts";
import type { Rib, RibTable } from "../rib/mod.ts";
import type { Negotiated } from "../session/mod.ts";
import {
  attributesOf,
  type BgpFamily,
  decodeNlri,
  EVPN,
  EVPN_TYPE,
  type Nlri,
  type PathAttributes,
  ROUTE_TARGET,
} from "../wire/mod.ts";
import { AttributeDigests } from "./attribute-digests.ts";
import { EvpnFeed, type EvpnListener } from "./evpn-feed.ts";
import { EvpnManifest } from "./evpn-manifest.ts";
import { EvpnOrigin } from "./evpn-origin.ts";
import { RemoteStations } from "./remote-stations.ts";
import type { SpeakerLog } from "./speaker-options.ts";
import { TargetWishes } from "./target-wishes.ts";
import { WishAnswers } from "./wish-answers.ts";

/** SpeakerEvpnOptions are a speaker's tables, and how it announces. */
export interface SpeakerEvpnOptions {
  readonly rib: Rib;
  readonly router: Pick<BgpRouter, "asn" | "routerId">;
  readonly announce: (nlri: Nlri, attributes: PathAttributes) => void;
  readonly withdraw: (nlri: Nlri) => void;
  readonly log: SpeakerLog;
  /** `flush` is wanted soon. */
  readonly onWork: () => void;
}

/** SpeakerEvpn owns them. */
export class SpeakerEvpn {
  /** Hosts of other VTEPs with several links, from routes of type 1. */
  readonly segments = new EthernetSegments();
  readonly digests: AttributeDigests;
  readonly #rib: Rib;
  readonly #answers = new WishAnswers();
  readonly #wishes: TargetWishes;
  readonly #feed: EvpnFeed;
  readonly #origin: EvpnOrigin;
  readonly #manifest: EvpnManifest;
  readonly #stations = new RemoteStations();
  readonly #movedListeners = new Set<(vni: number, mac: Mac) => void>();
  readonly #raisedListeners = new Set<(vni: number, mac: Mac, sequence: number) => void>();
  #contesting: Disposable | undefined;

  constructor(options: SpeakerEvpnOptions) {
    const { rib, announce, withdraw, log, onWork } = options;
    const { asn, routerId } = options.router;
    this.#rib = rib;
    this.digests = new AttributeDigests(rib);
    const onChange = () => this.#feed.retarget();
    const wishes = new TargetWishes({ asn, announce, withdraw, onChange, answers: this.#answers });
    this.#wishes = wishes;
    this.#feed = new EvpnFeed({
      rib,
      digests: this.digests,
      imports: (targets) => wishes.has(targets),
      onWork,
    });
    this.#origin = new EvpnOrigin({
      asn,
      routerId,
      wishes,
      answers: this.#answers,
      announce: ({ nlri, attributes }) => announce(nlri, attributes),
      withdraw,
      others: (mac) => this.#stations.of(mac),
      onHosts: (any) => this.#contest(any),
      onMoved: (vni, mac) => {
        for (const listener of this.#movedListeners) listener(vni, mac);
      },
      onRaised: (vni, mac, sequence) => {
        for (const listener of this.#raisedListeners) listener(vni, mac, sequence);
      },
      log,
      nowMs: monotonicMs,
    });
    this.#manifest = new EvpnManifest(this.#origin);
    rib.onBest(EVPN, (table, destination) => this.#discover(table, destination));
  }

  /** update takes what a resource says. */
  update(router: BgpRouter): void {
    this.#manifest.set(router.evpn);
    this.#wishes.setAll(router.wantAllTargets === true);
  }

  /** setSegment makes an L2VNI active here, or changes it: it is announced (type 3), and its route targets are asked for. */
  setSegment(segment: LocalSegment): void {
    this.#origin.setSegment(segment);
  }

  /** removeSegment takes an L2VNI back, with its hosts. */
  removeSegment(vni: number): void {
    this.#origin.removeSegment(vni);
  }

  /** setHost announces an address of a segment that is active (type 2). */
  setHost(vni: number, host: LocalHost): void {
    this.#origin.setHost(vni, host);
  }

  /** removeHost takes an address back. */
  removeHost(vni: number, host: HostName): void {
    this.#origin.removeHost(vni, host);
  }

  /** isElsewhere tells whether an address that was set here has moved to another VTEP since, so that it is not announced. */
  isElsewhere(vni: number, mac: Mac): boolean {
    return this.#origin.isElsewhere(vni, mac);
  }

  /** onMoved has a listener told of each address for which `isElsewhere` answers differently now. */
  onMoved(listener: (vni: number, mac: Mac) => void): Disposable {
    this.#movedListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#movedListeners.delete(listener) };
  }

  /** onRaised has a listener told of each address that is announced with a higher sequence than before, as it has come here from elsewhere. */
  onRaised(listener: (vni: number, mac: Mac, sequence: number) => void): Disposable {
    this.#raisedListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#raisedListeners.delete(listener) };
  }

  /** setRouting makes an L3VNI active here, or changes it. */
  setRouting(routing: LocalRouting): void {
    this.#origin.setRouting(routing);
  }

  /** removeRouting takes an L3VNI back, with its prefixes. */
  removeRouting(vni: number): void {
    this.#origin.removeRouting(vni);
  }

  /** setPrefix announces a network of an L3VNI that is active (type 5). */
  setPrefix(l3vni: number, prefix: LocalPrefix): void {
    this.#origin.setPrefix(l3vni, prefix);
  }

  /** removePrefix takes a network back. */
  removePrefix(l3vni: number, prefix: Prefix): void {
    this.#origin.removePrefix(l3vni, prefix);
  }

  /** listen has a listener told of all routes of others that are imported, and then of what changes, after each slice of the tables' work. */
  listen(listener: EvpnListener): Disposable {
    return this.#feed.listen(listener);
  }

  /** flush tells listeners; true when there is more to tell. */
  flush(): boolean {
    const more = this.#feed.flush();
    this.#answers.sent();
    if (!more && this.#rib.tables.get(EVPN)?.changed.size === 0) this.#answers.told();
    return more;
  }

  /** loaded resolves when neighbors have told what they knew of a segment, and listeners know; at once where no neighbor is asked. */
  loaded(vni: number): Promise<void> {
    return this.#origin.loaded(vni);
  }

  /** up begins a session with a neighbor. */
  up(neighbor: object, { families }: Pick<Negotiated, "families">): void {
    if (families.has(EVPN) && families.has(ROUTE_TARGET)) this.#answers.up(neighbor);
  }

  /** down ends it. */
  down(neighbor: object): void {
    this.#answers.down(neighbor);
  }

  /** endOfRib takes a neighbor's word that it has told all of a family. */
  endOfRib(neighbor: object, family: BgpFamily): void {
    if (family === EVPN) this.#answers.endOfRib(neighbor);
  }

  /** Addresses of ours are compared with those of others while there are any. */
  #contest(any: boolean): void {
    this.#contesting?.[Symbol.dispose]();
    this.#stations.clear();
    this.#contesting = any
      ? this.#feed.listen((changes) => {
          for (const mac of this.#stations.apply(changes)) this.#origin.contest(mac);
        })
      : undefined;
  }

  #discover(table: RibTable, destination: number): void {
    const { keys } = table;
    if (keys.memoryOf(destination)[keys.offsetIn(destination)] !== EVPN_TYPE.ethernetAutoDiscovery) return;
    const path = table.bestOf(destination);
    const attributes =
      path === 0 ? undefined : attributesOf(this.#rib.store.copyOf(table.paths.accepted[path] as number));
    this.segments.update(decodeNlri(EVPN, keys.copyOf(destination)), attributes);
  }
}
