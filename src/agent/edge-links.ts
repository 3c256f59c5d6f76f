/**
 * Links that are moved into a router's namespace, and given back as they were. What a link is like is on disk before it is moved, so that a
 * crash between any two steps loses nothing.
 *
 * | on disk | where the link is | what came between | what follows |
 * |---|---|---|---|
 * | no | host | nothing | it is written down, and moved |
 * | yes | host | a crash before the move, or while it was given back | what is on disk counts; it is moved, or given back to the end |
 * | yes | router | nothing | – |
 * | yes | nowhere | somebody took it away | told; what is on disk stays until the router wants it no more |
 * | the rest | host | the kernel refused an address or a route | that is tried again; moved anew, it is what it is like now, and the rest |
 *
 * A kernel setting that is refused then would be again: it is told, and forgotten.
 *
 * Routes may lead over several links: all are written down before the first one moves, and all are back before the first route is made.
 * A reboot ends all namespaces; what was written before counts no more.
 */
import { type InterfaceAddress, parseInterfaceAddress } from "../net/mod.ts";
import { setLink } from "../netlink/mod.ts";
import { bootId, readText, removeTree, writeAtomic } from "../sys/mod.ts";
import { Bearing } from "./bearing.ts";
import {
  describeLink,
  isByRouter,
  type LinkPlace,
  type LinkState,
  restoreAddress,
  restoreRoute,
  restoreSettings,
} from "./edge-link-state.ts";

interface StoredLink extends LinkState {
  readonly router: string;
  /** The link is back; addresses and routes are those that the kernel has refused. */
  readonly isRest?: true;
}

/** EdgeLinks owns the file with what links were like. */
export class EdgeLinks {
  readonly #path: string;
  readonly #home: LinkPlace;
  readonly #stored: Map<string, StoredLink>;
  /** Written down, and not moved yet, with what was known before: that is known again where the move fails. */
  readonly #fresh = new Map<string, StoredLink | undefined>();

  /** Throws where the file cannot be read. */
  constructor({ path, home }: { readonly path: string; readonly home: LinkPlace }) {
    this.#path = path;
    this.#home = home;
    this.#stored = new Map(read(path).map((link) => [link.name, link]));
  }

  /** moved returns the names of links that are a router's, and of those that are not wholly as they were yet. */
  moved(router: string): string[] {
    return [...this.#stored.values()].filter((link) => link.router === router).map(({ name }) => name);
  }

  /** routers returns the names of routers that links were moved to. */
  routers(): string[] {
    return [...new Set([...this.#stored.values()].map(({ router }) => router))];
  }

  /** addresses returns the global ones that a link had before it was moved. */
  addresses(name: string): readonly InterfaceAddress[] {
    const stored = this.#stored.get(name);
    if (stored === undefined || stored.isRest) return [];
    const isGlobal = ({ scope = 0 }: LinkState["addresses"][number]) => scope === 0;
    return stored.addresses.filter(isGlobal).map(({ address }) => parseInterfaceAddress(address));
  }

  /** describe writes down what links are like that are about to be moved. */
  describe(names: readonly string[], router: string): void {
    let isNew = false;
    for (const name of names) {
      const former = this.#stored.get(name);
      if (former !== undefined && !former.isRest) continue;
      const state = describeLink(this.#home, name);
      if (state === undefined) continue;
      this.#stored.set(name, { ...withRest(state, former), router });
      this.#fresh.set(name, former);
      isNew = true;
    }
    if (isNew) this.#write();
  }

  /** take moves a link into a router's namespace; nothing where it is there. Throws when there is no such link. */
  take(name: string, router: string, to: LinkPlace): void {
    if (to.route.link(name) !== undefined) return;
    const { route } = this.#home;
    const link = route.link(name);
    if (link === undefined)
      throw new Error(`there is no link ${name} on this node; plug it in, or change links of the Underlay`);
    this.describe([name], router);
    const stored = this.#stored.get(name);
    if (stored !== undefined && stored.router !== router) this.#put(name, { ...stored, router });
    try {
      route.request(setLink({ index: link.index, netns: to.netns }));
    } catch (error) {
      if (this.#fresh.has(name)) this.#put(name, this.#fresh.get(name));
      throw error;
    } finally {
      this.#fresh.delete(name);
    }
  }

  /**
   * giveBack moves links back, and makes them as they were; `from` is absent where the router's namespace is gone, and with it what was in it.
   * Returns what could not be, in sentences: that stays on disk, and is tried when it is called again. Everything else is done.
   */
  giveBack(names: readonly string[], from: LinkPlace | undefined): string[] {
    const bearing = new Bearing();
    const back = names.filter((name) =>
      bearing.bear(() => this.#moveBack(name, from), `link ${name} is not given back`),
    );
    const links = back.flatMap((name) => this.#restoreLink(name, bearing));
    const failed = this.#restoreRoutes(links, bearing);
    for (const { link, addresses, isSettled } of links) {
      const routes = link.routes.filter((one) => failed.has(one));
      if (!isSettled) continue;
      if (addresses.length + routes.length === 0) this.#stored.delete(link.name);
      else this.#stored.set(link.name, { ...link, addresses, routes, isRest: true });
    }
    this.#write();
    return bearing.problems;
  }

  #moveBack(name: string, from: LinkPlace | undefined): void {
    const there = this.#stored.has(name) ? from?.route.link(name) : undefined;
    if (there !== undefined) from?.route.request(setLink({ index: there.index, netns: this.#home.netns }));
  }

  /** All but its routes. A link that is not there any more is forgotten. */
  #restoreLink(name: string, bearing: Bearing): Back[] {
    const { route } = this.#home;
    const stored = this.#stored.get(name);
    if (stored === undefined) return [];
    const link = route.link(name);
    if (link === undefined) {
      this.#stored.delete(name);
      return [];
    }
    const isSettled =
      stored.isRest ??
      bearing.bear(() => {
        for (const refused of restoreSettings(this.#home, link, stored))
          bearing.problems.push(`link ${name} has lost a setting: ${refused}`);
      }, `link ${name} is not as it was`);
    const addresses = stored.addresses.filter(
      (one) =>
        !bearing.bear(() => restoreAddress(route, link.index, one), `link ${name} has lost ${one.address}`),
    );
    return [{ link: stored, addresses, isSettled }];
  }

  /** Those on a link before those by a router; returns those that the kernel refuses. */
  #restoreRoutes(links: readonly Back[], bearing: Bearing): ReadonlySet<LinkState["routes"][number]> {
    const { route } = this.#home;
    const all = links.flatMap(({ link }) => link.routes.map((one) => ({ name: link.name, one })));
    const refused = all
      .sort((a, b) => Number(isByRouter(a.one)) - Number(isByRouter(b.one)))
      .filter(
        ({ name, one }) =>
          !bearing.bear(
            () => restoreRoute(route, one),
            `link ${name} has lost a route to ${one.destination}`,
          ),
      );
    return new Set(refused.map(({ one }) => one));
  }

  #put(name: string, link: StoredLink | undefined): void {
    if (link === undefined) this.#stored.delete(name);
    else this.#stored.set(name, link);
    this.#write();
  }

  #write(): void {
    if (this.#stored.size === 0) removeTree(this.#path);
    else
      writeAtomic(this.#path, JSON.stringify({ boot: bootId(), links: [...this.#stored.values()] }), 0o600);
  }
}

/** A link that has come back. */
interface Back {
  readonly link: StoredLink;
  /** Those that the kernel refuses. */
  readonly addresses: LinkState["addresses"];
  readonly isSettled: boolean;
}

/** What is missing of a link that was given back once is part of what it was like. */
function withRest(state: LinkState, rest: LinkState | undefined): LinkState {
  if (rest === undefined) return state;
  return {
    ...state,
    addresses: distinct([...state.addresses, ...rest.addresses]),
    routes: distinct([...state.routes, ...rest.routes]),
  };
}

function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}

/** What was written before a reboot goes. */
function read(path: string): readonly StoredLink[] {
  const text = readText(path);
  if (text === undefined) return [];
  const { boot, links } = parse(text, path);
  if (boot === bootId()) return links;
  removeTree(path);
  return [];
}

function parse(text: string, path: string): { readonly boot: string; readonly links: StoredLink[] } {
  try {
    return JSON.parse(text) as { boot: string; links: StoredLink[] };
  } catch (cause) {
    throw new Error(
      `Cannot read what links were like: ${path} is no JSON; put it right, or remove it and set links up by hand`,
      { cause },
    );
  }
}
