/**
 * KernelRoutes: what a router has to do with the kernel's routes. Its best routes go there (`install`), routes of others are announced
 * (`redistribute`), and next hops are looked up there.
 *
 * ```
 *  Rib ── best paths ──▶ RouteInstaller ──▶ engine ──▶ kernel
 *   ▲ ▲── next hops ◀── NextHopTracker ◀── KernelWatch ◀──┘
 *   └──── routes ◀────── Redistribution ◀───────┘
 * ```
 */
import { ipEqual, type Ip } from "../../net/mod.ts";
import { type BgpRouter, neighborName } from "../../resources/mod.ts";
import type { Netns } from "../../sys/mod.ts";
import type { RibPeer, RibTable } from "../rib/mod.ts";
import { IPV4_UNICAST, IPV6_UNICAST } from "../wire/mod.ts";
import { KernelWatch, type Way } from "./kernel-watch.ts";
import { NextHopTracker } from "./next-hop-tracker.ts";
import { Redistribution } from "./redistribution.ts";
import { RouteInstaller } from "./route-installer.ts";
import type { Speaker } from "./speaker.ts";
import type { SpeakerLog } from "./speaker-options.ts";

/** The main table (RT_TABLE_MAIN). */
const MAIN = 254;

/** KernelRoutesOptions say whose routes these are, and where. */
export interface KernelRoutesOptions {
  readonly speaker: Speaker;
  readonly netns: Netns | undefined;
  readonly log: SpeakerLog;
  /** The tables have something to do. */
  readonly onWork: () => void;
}

/** KernelRoutes owns the sockets of one router to the kernel; it has none while nothing is asked for. */
export class KernelRoutes implements Disposable {
  readonly #options: KernelRoutesOptions;
  readonly #redistribution: Redistribution;
  readonly #links = new WeakMap<RibPeer, string | undefined>();
  #table: number | undefined;
  #watch: KernelWatch | undefined;
  #tracker: NextHopTracker | undefined;
  #installer: RouteInstaller | undefined;

  constructor(options: KernelRoutesOptions) {
    this.#options = options;
    this.#redistribution = new Redistribution(options.speaker);
    for (const family of [IPV4_UNICAST, IPV6_UNICAST])
      options.speaker.rib.onBest(family, (table, destination) =>
        this.#installer?.changed(table, destination),
      );
  }

  /** update makes true what the router says now. */
  update(router: BgpRouter): void {
    const table = router.installTable ?? MAIN;
    const wants = router.install || router.redistribute.length > 0;
    if (!wants || table !== this.#table) this.#close();
    if (wants) this.#open(table);
    if (router.install) this.#install(table);
    else this.#uninstall();
    this.#redistribution.refresh(router, this.#watch);
  }

  #open(table: number): void {
    const { netns } = this.#options;
    this.#table = table;
    this.#watch ??= new KernelWatch({ netns, table, onChange: (change) => this.#changed(change) });
  }

  #install(table: number): void {
    const { netns, log, speaker } = this.#options;
    const watch = this.#watch as KernelWatch;
    const { rib } = speaker;
    this.#tracker ??= new NextHopTracker({ rib, watch, linksOf: (address) => this.#linksOf(address) });
    this.#installer ??= new RouteInstaller({
      rib,
      netns,
      table,
      log,
      waysOf: (of, path) => this.#waysOf(of, path),
      isDeferring: () => speaker.restart.deferred.length > 0,
      keepsFormer: () =>
        speaker.restart.keepsFormer ||
        [IPV4_UNICAST, IPV6_UNICAST].some((family) => (rib.tables.get(family)?.changed.size ?? 0) > 0),
    });
    this.#options.onWork();
  }

  #uninstall(): void {
    this.#installer?.remove();
    this.#installer?.[Symbol.dispose]();
    this.#installer = undefined;
    if (this.#tracker === undefined) return;
    this.#tracker[Symbol.dispose]();
    this.#tracker = undefined;
    this.#options.onWork();
  }

  #close(): void {
    this.#uninstall();
    this.#watch?.[Symbol.dispose]();
    this.#watch = undefined;
  }

  /** nextHop takes a next hop that has its first route, or has lost its last one. */
  nextHop(bytes: Uint8Array, isUsed: boolean): void {
    this.#tracker?.note(bytes, isUsed);
  }

  /** beforeWork is called before the RIB chooses. */
  beforeWork(): void {
    this.#tracker?.settle();
  }

  /** afterWork is called when the RIB has chosen, some or all. */
  afterWork(): void {
    this.#installer?.wake();
  }

  #changed({ foreign }: { readonly foreign: boolean }): void {
    const { speaker, onWork } = this.#options;
    this.#installer?.repair();
    if (!foreign) return;
    this.#redistribution.refresh(speaker.router, this.#watch);
    if (this.#tracker?.recheck() !== true) return;
    this.#installer?.all();
    onWork();
  }

  #waysOf({ paths }: RibTable, path: number): readonly Way[] {
    const { rib } = this.#options.speaker;
    const nextHop = rib.store.nextHop[paths.accepted[path] as number] as number;
    const number = paths.peer[path] as number;
    const neighbor = rib.peers[number]?.options.address;
    if (nextHop === 0 || neighbor === undefined) return [];
    return this.#tracker?.waysTo(rib.nextHops.bytesOf(nextHop), this.#linkOf(number), neighbor) ?? [];
  }

  /** The link that a neighbor is configured to be on; it is part of the neighbor's name, and so never another. */
  #linkOf(number: number): string | undefined {
    const { speaker } = this.#options;
    const peer = speaker.rib.peers[number];
    if (peer === undefined || this.#links.has(peer)) return peer && this.#links.get(peer);
    const name = speaker.neighbors.find((one) => one.peer === peer)?.name;
    const link = speaker.router.neighbors.find((wish) => neighborName(wish) === name)?.interface;
    if (name !== undefined) this.#links.set(peer, link);
    return link;
  }

  #linksOf(address: Ip): readonly string[] {
    const { speaker } = this.#options;
    return speaker.router.neighbors.flatMap((wish) => {
      const found = speaker.io.addressOf(neighborName(wish));
      const isIt = wish.interface !== undefined && found !== undefined && ipEqual(found, address);
      return isIt ? [wish.interface as string] : [];
    });
  }

  /** shutdown removes what was put into the kernel. */
  shutdown(): void {
    this.#installer?.remove();
  }

  /** What was put into the kernel stays there, for the next process. */
  [Symbol.dispose](): void {
    this.#installer?.[Symbol.dispose]();
    this.#watch?.[Symbol.dispose]();
  }
}
