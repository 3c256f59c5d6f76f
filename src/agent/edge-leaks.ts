/** EdgeLeaks joins domains of a router where one has routes of another: links between their namespaces, routes, and what may pass. */
import { type DomainNode, domainMtu, peeringLink, peeringObjects } from "../domain/mod.ts";
import { type EdgeDomain, leakedNetworks, leakRuleset, withoutNetworks } from "../edge/mod.ts";
import type { KernelObject } from "../engine/mod.ts";
import { networkOf, type Prefix } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { after } from "../sys/mod.ts";
import type { DomainHost } from "./domain-host.ts";
import type { EdgeRoutes } from "./edge-routes.ts";

/** What comes together is looked at together. */
const LOOK_MS = 20;

/** LeaksHere is what of a router is here now. */
export interface LeaksHere {
  readonly host: DomainHost;
  readonly node: DomainNode;
  readonly domains: readonly EdgeDomain[];
  /** Networks that a domain hears of from the fabric. */
  readonly remote: (vni: number) => readonly Prefix[];
  /** Its host's routes. */
  readonly routes: (vni: number) => EdgeRoutes | undefined;
}

/** EdgeLeaks is disposed without touching the kernel. */
export class EdgeLeaks implements Disposable {
  readonly #here: () => LeaksHere | undefined;
  #looking: Disposable | undefined;
  /** An earlier agent's are there, which knew more than is known yet; undefined: nobody has looked. */
  #isHeld: boolean | undefined;
  /** Scopes that are there, by VNI. */
  #made = new Map<number, ReadonlySet<string>>();

  constructor(here: () => LeaksHere | undefined) {
    this.#here = here;
  }

  /** soon looks at everything again: a domain has other networks, or other leaks. */
  soon(): void {
    this.#looking ??= after(LOOK_MS, () => {
      this.#looking = undefined;
      const here = this.#here();
      if (here !== undefined) this.#apply(here);
    });
  }

  /** settled says that all has been told that others tell: what an earlier agent had made may go. */
  settled(): void {
    this.#isHeld = false;
    const here = this.#here();
    if (here !== undefined) this.#apply(here);
  }

  #apply(here: LeaksHere): void {
    const { domains } = here;
    if (this.#made.size === 0 && domains.every(({ routing }) => (routing?.leaks.length ?? 0) === 0)) return;
    this.#isHeld ??= isLeft(here);
    const wanted = joins(here);
    if (!this.#isHeld) this.#join(wanted, here);
    // A host's session begins anew, and has to have it again.
    for (const { vni } of domains)
      here.routes(vni)?.setLeaked((wanted.get(vni) ?? []).flatMap(({ taken }) => taken));
  }

  #join(wanted: ReadonlyMap<number, readonly Join[]>, here: LeaksHere): void {
    const { host } = here;
    const made = new Map<number, ReadonlySet<string>>();
    for (const [vni, list] of wanted) {
      const scopes = this.#scopesOf(vni, list, here);
      for (const [scope, objects] of scopes) host.setScope(vni, scope, objects);
      made.set(vni, new Set(scopes.keys()));
    }
    for (const [vni, scopes] of this.#made)
      for (const scope of scopes) if (made.get(vni)?.has(scope) !== true) host.setScope(vni, scope, []);
    this.#made = made;
  }

  #scopesOf(own: number, list: readonly Join[], { host, node }: LeaksHere): Map<string, KernelObject[]> {
    const mtuBytes = domainMtu(node);
    const scopes = new Map<string, KernelObject[]>();
    for (const { other, taken, given } of list)
      scopes.set(
        `edge/leak/${other}`,
        peeringObjects(
          { own, other, ownPrefixes: given, otherPrefixes: taken },
          { mtuBytes, netnsOf: (vni) => host.netns(vni) },
        ),
      );
    const doors = list.map(({ other, given, networks }) => ({
      ...{ link: peeringLink(other), leaked: given, networks },
    }));
    scopes.set("edge/leaks", [{ kind: "ruleset", family: "inet", text: leakRuleset(doors, "cwp*") }]);
    return scopes;
  }

  [Symbol.dispose](): void {
    this.#looking?.[Symbol.dispose]();
  }
}

/** Whether an earlier agent has joined domains: none of this one's links is there yet. */
function isLeft({ host, domains }: LeaksHere): boolean {
  return domains.some(({ vni, routing }) => {
    const netns = host.netns(vni);
    if (netns === undefined || routing === undefined || routing.leaks.length === 0) return false;
    using route = Rtnetlink.open({ netns });
    return routing.leaks.some(({ from }) => route.link(peeringLink(from)) !== undefined);
  });
}

/** Join is another domain that a domain has routes of, or gives some to. */
interface Join {
  readonly other: number;
  /** Networks of the other one that are reached from here, and of this one from there. */
  readonly taken: readonly Prefix[];
  readonly given: readonly Prefix[];
  /** All of this one's. */
  readonly networks: readonly Prefix[];
}

/** By VNI, the lowest first: that one makes the link. */
function joins({ host, domains, remote, routes }: LeaksHere): Map<number, Join[]> {
  const given = new Set(domains.flatMap(({ routing }) => routing?.leaks.map(({ from }) => from) ?? []));
  const leaking = domains.filter(
    ({ vni, routing }) =>
      host.netns(vni) !== undefined && (given.has(vni) || (routing?.leaks.length ?? 0) > 0),
  );
  const networks = new Map(
    leaking.map((domain) => [
      domain.vni,
      [...ownNetworks(domain), ...remote(domain.vni), ...(routes(domain.vni)?.hostNetworks ?? [])],
    ]),
  );
  /** What one has of another. */
  const taken = (to: EdgeDomain, from: EdgeDomain): Prefix[] | undefined => {
    const leak = to.routing?.leaks.find((one) => one.from === from.vni);
    if (leak === undefined) return undefined;
    const all = leakedNetworks(networks.get(from.vni) ?? [], leak.prefixes);
    return withoutNetworks(all, networks.get(to.vni) ?? []);
  };
  return new Map(
    leaking.flatMap((own): [number, Join[]][] => {
      const list = leaking.flatMap((other): Join[] => {
        const [to, back] = [taken(own, other), taken(other, own)];
        if (to === undefined && back === undefined) return [];
        return [
          { other: other.vni, taken: to ?? [], given: back ?? [], networks: networks.get(own.vni) ?? [] },
        ];
      });
      return list.length === 0 ? [] : [[own.vni, list]];
    }),
  );
}

/** Networks to which the domain has routes whatever others say. */
function ownNetworks({ routing, segments }: EdgeDomain): Prefix[] {
  return [
    ...segments.flatMap(({ gateways, prefixes }) => (gateways.length === 0 ? [] : prefixes)),
    ...(routing?.routes ?? []).map(({ prefix }) => prefix),
    ...(routing?.host?.edge ?? []).map(networkOf),
  ];
}
