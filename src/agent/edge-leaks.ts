/** EdgeLeaks joins domains of a router where one has routes of another: links between their namespaces, routes, and what may pass. */
import { type DomainNode, domainMtu, peeringLink, peeringObjects } from "../domain/mod.ts";
import { type EdgeDomain, type Join, joins, leakRulesets } from "../edge/mod.ts";
import { type KernelObject, sameValue, weather } from "../engine/mod.ts";
import { networkOf, type Prefix } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { after, type Netns } from "../sys/mod.ts";
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

/** What was made of a domain's leaks, and of what: the same of the same is not made again. */
interface Made {
  readonly joins: readonly Join[];
  readonly mtuBytes: number;
  /** The domain's, and those of the others. */
  readonly namespaces: readonly (Netns | undefined)[];
}

/** EdgeLeaks is disposed without touching the kernel. */
export class EdgeLeaks implements Disposable {
  readonly #here: () => LeaksHere | undefined;
  readonly #onProblem: (error: Error) => void;
  #looking: Disposable | undefined;
  /** An earlier agent's are there, which knew more than is known yet; undefined: nobody has looked. */
  #isHeld: boolean | undefined;
  /** By VNI. */
  #made: ReadonlyMap<number, Made> = new Map();

  /** `onProblem` is told what goes wrong when nobody has asked for anything. */
  constructor(here: () => LeaksHere | undefined, onProblem: (error: Error) => void) {
    this.#here = here;
    this.#onProblem = onProblem;
  }

  /** soon looks at everything again: a domain has other networks, or other leaks. */
  soon(): void {
    this.#looking ??= after(LOOK_MS, () => this.now());
  }

  /** now is `soon` without a pause. */
  now(): void {
    this.#looking?.[Symbol.dispose]();
    this.#looking = undefined;
    try {
      this.#look();
    } catch (error) {
      this.#onProblem(weather(error));
    }
  }

  /** settled says that all has been told that others tell: what an earlier agent had made may go. */
  settled(): void {
    this.#isHeld = false;
    this.#look();
  }

  #look(): void {
    const here = this.#here();
    if (here === undefined) return;
    const { domains } = here;
    if (this.#made.size === 0 && domains.every(({ routing }) => (routing?.leaks.length ?? 0) === 0)) return;
    this.#isHeld ??= isLeft(here);
    const wanted = joins(
      domains.filter(({ vni }) => here.host.netns(vni) !== undefined),
      (domain) => networksOf(domain, here),
    );
    if (!this.#isHeld) this.#join(wanted, here);
    // A host's session begins anew, and has to have it again.
    for (const { vni } of domains)
      here.routes(vni)?.setLeaked((wanted.get(vni) ?? []).flatMap(({ taken }) => taken));
  }

  #join(wanted: ReadonlyMap<number, readonly Join[]>, { host, node }: LeaksHere): void {
    const mtuBytes = domainMtu(node);
    const made = new Map<number, Made>();
    for (const [vni, list] of wanted) {
      const namespaces = [vni, ...list.map(({ other }) => other)].map((one) => host.netns(one));
      const next = { joins: list, mtuBytes, namespaces };
      made.set(vni, next);
      const before = this.#made.get(vni);
      if (before === undefined || !isSameMade(before, next))
        host.setScope(vni, SCOPE, objectsOf(vni, next, host));
    }
    for (const vni of this.#made.keys()) if (!made.has(vni)) host.setScope(vni, SCOPE, []);
    this.#made = made;
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

function isSameMade(one: Made, other: Made): boolean {
  return (
    one.mtuBytes === other.mtuBytes &&
    one.namespaces.length === other.namespaces.length &&
    one.namespaces.every((netns, i) => netns === other.namespaces[i]) &&
    sameValue(one.joins, other.joins)
  );
}

/** One for all joins of a domain: of two that give the same network the other one may be the first by now. */
const SCOPE = "edge/leaks";

function objectsOf(own: number, { joins: list, mtuBytes }: Made, host: DomainHost): KernelObject[] {
  const netnsOf = (vni: number) => host.netns(vni);
  const doors = list.map(({ other, given, taken }) => ({ link: peeringLink(other), leaked: given, taken }));
  const rules = { networks: list[0]?.networks ?? [], links: "cwp*" };
  return [
    ...list.flatMap(({ other, taken, given }) =>
      peeringObjects({ own, other, ownPrefixes: given, otherPrefixes: taken }, { mtuBytes, netnsOf }),
    ),
    ...leakRulesets(doors, rules),
  ];
}

/** Networks to which a domain has routes whatever others say, and those that the fabric and its host have told of. */
function networksOf({ vni, routing, segments }: EdgeDomain, { remote, routes }: LeaksHere): Prefix[] {
  return [
    ...segments.flatMap(({ gateways, prefixes }) => (gateways.length === 0 ? [] : prefixes)),
    ...(routing?.routes ?? []).map(({ prefix }) => prefix),
    ...(routing?.host?.edge ?? []).map(networkOf),
    ...remote(vni),
    ...(routes(vni)?.hostNetworks ?? []),
  ];
}
