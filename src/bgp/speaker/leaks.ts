/**
 * Routes between routers of one process, by route targets: what one exports with a target, another imports that names it. Addresses of two
 * routers may overlap; a route that was taken from elsewhere goes no further.
 */
import { printExtendedCommunity, parseExtendedCommunity, attributesOf, decodeNlri } from "../wire/mod.ts";
import { type BgpFamily, IPV4_UNICAST, IPV6_UNICAST, type Nlri, printNlri } from "../wire/mod.ts";
import { LOCAL } from "../rib/mod.ts";
import { PATH_FLAG } from "../rib/paths.ts";
import type { RibTable } from "../rib/table.ts";
import type { Speaker } from "./speaker.ts";

const FAMILIES: readonly BgpFamily[] = [IPV4_UNICAST, IPV6_UNICAST];

const target = (text: string) => {
  const community = parseExtendedCommunity(`rt:${text}`);
  return community === undefined ? text : printExtendedCommunity(community);
};

function meets(from: Speaker, to: Speaker): boolean {
  const imported = new Set(to.router.importTargets.map(target));
  return from !== to && from.router.exportTargets.some((text) => imported.has(target(text)));
}

/** Whether a router announces a route itself: that is not replaced by another's. */
function hasOwn(speaker: Speaker, route: string): boolean {
  const found = speaker.find(route);
  if (found === undefined) return false;
  const { paths } = found.table;
  const path = found.table.pathOf(found.destination, LOCAL, 0);
  return path !== 0 && ((paths.flags[path] as number) & PATH_FLAG.gone) === 0;
}

/** Leaks carries routes between the speakers that it was told of. */
export class Leaks {
  readonly #speakers = new Set<Speaker>();
  /** By the one that took them: routes by text, and whose they are. */
  readonly #taken = new Map<Speaker, Map<string, Speaker>>();

  /** add has a speaker take part. */
  add(speaker: Speaker): void {
    this.#speakers.add(speaker);
    this.#taken.set(speaker, new Map());
    for (const family of FAMILIES)
      speaker.rib.onBest(family, (table, destination) => {
        if (this.#speakers.has(speaker)) this.#offer(speaker, table, destination);
      });
  }

  /** remove takes a speaker's routes back everywhere. */
  remove(speaker: Speaker): void {
    this.#speakers.delete(speaker);
    this.#taken.delete(speaker);
    this.refresh();
  }

  /** refresh looks at all routes again: targets have changed. */
  refresh(): void {
    for (const [to, taken] of this.#taken)
      for (const [route, from] of taken)
        if (!this.#speakers.has(from) || !meets(from, to)) this.#takeBack(to, route, from);
    for (const from of this.#speakers)
      for (const family of FAMILIES) {
        const table = from.rib.tables.get(family);
        if (table === undefined || from.router.exportTargets.length === 0) continue;
        for (let destination = 1; destination < table.first.length; destination++)
          if (table.keys.has(destination)) this.#offer(from, table, destination);
      }
  }

  #offer(from: Speaker, table: RibTable, destination: number): void {
    if (from.router.exportTargets.length === 0) return;
    const nlri = decodeNlri(table.family, table.keys.copyOf(destination));
    const route = printNlri(nlri);
    const path = table.bestOf(destination);
    const own = path !== 0 && table.paths.peer[path] === LOCAL;
    const borrowed = own && this.#taken.get(from)?.has(route) === true;
    for (const to of this.#speakers) {
      if (!meets(from, to)) continue;
      if (path === 0 || borrowed) this.#takeBack(to, route, from);
      else this.#give(to, { from, nlri, route, attributes: table.paths.accepted[path] as number });
    }
  }

  #give(
    to: Speaker,
    given: {
      readonly from: Speaker;
      readonly nlri: Nlri;
      readonly route: string;
      readonly attributes: number;
    },
  ): void {
    const { from, nlri, route } = given;
    const holder = this.#taken.get(to)?.get(route);
    // Of two that export the same prefix the first stays.
    if (holder !== undefined && holder !== from) return;
    if (holder === undefined && hasOwn(to, route)) return;
    this.#taken.get(to)?.set(route, from);
    to.announce(nlri, attributesOf(from.rib.store.copyOf(given.attributes)));
  }

  #takeBack(to: Speaker, route: string, from: Speaker): void {
    const taken = this.#taken.get(to);
    if (taken?.get(route) !== from) return;
    taken.delete(route);
    to.withdrawText(route);
    for (const other of this.#speakers) if (other !== from && meets(other, to)) this.#offerText(other, route);
  }

  /** Another one may have the same route. */
  #offerText(from: Speaker, route: string): void {
    const found = from.find(route);
    if (found !== undefined) this.#offer(from, found.table, found.destination);
  }
}
