/** The network namespaces of domains: made below one folder, marked by the alias of their loopback device, found again after a restart. */
import { domainNamespace, namespaceVni } from "../domain/mod.ts";
import { ALIAS } from "../engine/mod.ts";
import { Rtnetlink, setLink } from "../netlink/mod.ts";
import { createNetns, isNetns, listDirectory, Netns, removeNetns } from "../sys/mod.ts";

/** NAMESPACES is where ip-netns(8) has them too. */
export const NAMESPACES = "/run/netns";

/** markOf returns how the engine marks links that it did not make. */
function markOf(alias: string): string {
  return `${alias} external`;
}

/** DomainNamespaces finds, makes and removes them. */
export class DomainNamespaces {
  readonly #folder: string;
  readonly #mark: string;

  /** Namespaces of another `alias` are somebody else's. */
  constructor(folder = NAMESPACES, alias = ALIAS) {
    this.#folder = folder;
    this.#mark = markOf(alias);
  }

  /** list returns the VNIs whose namespaces are there and ours. */
  list(): number[] {
    return listDirectory(this.#folder).flatMap((name) => {
      const vni = namespaceVni(name);
      return vni !== undefined && isNetns(this.path(vni)) && this.#isOurs(this.path(vni)) ? [vni] : [];
    });
  }

  path(vni: number): string {
    return `${this.#folder}/${domainNamespace(vni)}`;
  }

  /** take opens a domain's namespace, made if need be; throws for one that somebody else made. */
  take(vni: number): Netns {
    return this.takeNamed(domainNamespace(vni));
  }

  /** takeNamed does so with a namespace of any name. */
  takeNamed(name: string): Netns {
    const path = `${this.#folder}/${name}`;
    if (isNetns(path)) {
      if (this.#isOurs(path)) return Netns.open(path);
      throw new Error(
        `Cannot make namespace ${name}: somebody else has one of that name; remove it: ip netns delete ${name}`,
      );
    }
    // Perhaps an empty file that a crash left.
    removeNetns(path);
    createNetns(path);
    using opened = new DisposableStack();
    opened.defer(() => removeNetns(path));
    const netns = opened.use(Netns.open(path));
    using route = Rtnetlink.open({ netns });
    route.request(setLink({ name: "lo", alias: this.#mark, up: true }));
    opened.move();
    return netns;
  }

  /** remove takes a domain's namespace away, with all that is in it once nobody has it open. */
  remove(vni: number): void {
    removeNetns(this.path(vni));
  }

  /** isMarked tells whether there is a namespace of that name that bears our mark: what only looks like ours may be anybody's. */
  isMarked(name: string): boolean {
    const path = `${this.#folder}/${name}`;
    if (!isNetns(path)) return false;
    using netns = Netns.open(path);
    using route = Rtnetlink.open({ netns });
    return this.#hasMark(route);
  }

  /** removeNamed takes one of any name away. */
  removeNamed(name: string): void {
    removeNetns(`${this.#folder}/${name}`);
  }

  #isOurs(path: string): boolean {
    using netns = Netns.open(path);
    using route = Rtnetlink.open({ netns });
    if (this.#hasMark(route)) return true;
    // A crash came between making and marking it: there is nothing in it but what the kernel gives to each, all of it down.
    return route.links().every(({ up, alias }) => !up && alias === undefined);
  }

  #hasMark(route: Rtnetlink): boolean {
    return route.link("lo")?.alias === this.#mark;
  }
}
