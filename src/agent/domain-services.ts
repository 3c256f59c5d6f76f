/**
 * DomainServices puts what the services of domains need into their namespaces and the node's own: security groups, peerings, NAT gateways,
 * floating IPs, and tunnels to other sites.
 *
 * ```
 *   register ── set ──▶ ┌──────────────┐ ──▶ setScope, keep ──▶ domains' namespaces
 *   EVPN ───── hear ──▶ │              │ ──▶ apply: default routes by the gateway that is followed, all else as it came
 *   CNI ADD ── guard ─▶ └──────────────┘ ──▶ home: legs, ways to outside addresses
 * ```
 */
import {
  type Domain,
  EVERYWHERE,
  type FloatingIp,
  gatewayFamilies,
  type GatewaySeat,
  type LocalAttachment,
  type MemberChange,
  type NatGateway,
  type PeeringEnd,
  peeringEnds,
  type RemoteChange,
  type SecurityGroup,
  type Tunnel,
} from "../domain/mod.ts";
import { type KernelObject, sameValue, type ScopeChange } from "../engine/mod.ts";
import type { Ip, Prefix } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import {
  type DomainNeeds,
  domainScopes,
  groupOfScope,
  type NodeSide,
  portScope,
  RULES,
  type Scope,
} from "./domain-scopes.ts";
import { GatewaySide, type GatewaySideOptions } from "./gateway-side.ts";
import { type Addresses, GroupScopes } from "./group-scopes.ts";
import { TunnelSide } from "./tunnel-side.ts";

/** DomainPlaces is what is asked of the host of domains. */
export interface DomainPlaces {
  setScope(vni: number, scope: string, objects: readonly KernelObject[]): void;
  changeScope(vni: number, scope: string, change: ScopeChange): void;
  keep(vni: number, who: string, wanted?: boolean): void;
  /** What of a scope is not as it should be. */
  problems(vni: number, scope: string): readonly string[];
  netns(vni: number): Netns | undefined;
  attachments(vni: number): readonly LocalAttachment[];
  active(): { readonly domains: readonly number[] };
  apply(changes: readonly RemoteChange[]): void;
  onActive(listener: () => void): Disposable;
}

/** ServicesWish is what the register says, and what is known of other nodes. */
export interface ServicesWish {
  readonly domains: readonly Domain[];
  readonly gateways: readonly NatGateway[];
  readonly floating: readonly FloatingIp[];
  /** By Domain.vni and name; a domain without any may be absent. */
  readonly groups: ReadonlyMap<number, ReadonlyMap<string, SecurityGroup>>;
  readonly vtepOf: GatewaySeat["vtepOf"];
  readonly tunnels: readonly Tunnel[];
}

/** ServicesOptions say where. */
export interface ServicesOptions extends Omit<GatewaySideOptions, "netnsOf"> {
  readonly places: DomainPlaces;
  /** What the domains' own VNIs carry. */
  readonly mtuBytes: () => number;
  /** Whether the kernel has br_netfilter now, which without being told otherwise takes all bridged packets the long way. */
  readonly bridged: () => boolean;
  /** Name of the node's end of an attachment's link. */
  readonly portOf: (id: string) => string;
}

type Domains = ReadonlyMap<number, Domain>;

const NOTHING: ServicesWish = {
  domains: [],
  gateways: [],
  floating: [],
  groups: new Map(),
  vtepOf: () => undefined,
  tunnels: [],
};

/** Made is what a domain asked for when its scopes were set. */
interface Made {
  /** Absent: the register has forgotten it since, and pods that came or went meanwhile changed nothing. */
  readonly domain?: Domain;
  readonly groups: readonly SecurityGroup[];
  readonly scopes: ReadonlyMap<string, Scope>;
}

/** DomainServices owns the scopes `services/…` of domains, and `gateways` of the node's own engine. */
export class DomainServices implements Disposable {
  readonly #options: ServicesOptions;
  readonly #listening: Disposable;
  #wish = NOTHING;
  #domains: Domains = new Map();
  /** Attachments that are to come; their rules are there before them. */
  readonly #coming = new Map<string, LocalAttachment>();
  /** Domain.vni → what is set there, and of what it was made. A domain that goes takes it along. */
  readonly #made = new Map<number, Made>();
  readonly #gateways: GatewaySide;
  readonly #groups = new GroupScopes();
  readonly #tunnels: TunnelSide;

  constructor(options: ServicesOptions) {
    this.#options = options;
    this.#gateways = new GatewaySide({ ...options, netnsOf: (vni) => options.places.netns(vni) });
    this.#tunnels = new TunnelSide({ ...options, netnsOf: (vni) => options.places.netns(vni) });
    this.#listening = options.places.onActive(() => this.#settle());
  }

  /** set takes in what the register says now. */
  set(wish: ServicesWish): void {
    const { places } = this.#options;
    const before = this.#gateways.own;
    this.#wish = wish;
    this.#domains = new Map(wish.domains.map((domain) => [domain.vni, domain]));
    for (const [vni, { groups, scopes }] of this.#made)
      if (!this.#domains.has(vni)) this.#made.set(vni, { groups, scopes });
    const changes = this.#gateways.set({ ...wish, domains: this.#domains });
    const mine = new Set(this.#gateways.own.map(({ domain }) => domain));
    for (const { domain } of before) if (!mine.has(domain)) places.keep(domain, "gateway", false);
    for (const domain of mine) places.keep(domain, "gateway", true);
    this.#tunnels.set(wish.tunnels, (domain, wanted) => places.keep(domain, "tunnels", wanted));
    this.#renewAll(places.active().domains.filter((vni) => !this.#isAsMade(vni)));
    this.#gateways.settle();
    this.#tunnels.settle();
    if (changes.length > 0) places.apply(changes);
    this.#gateways.turn();
  }

  /** takeOver lets `work` take up what an earlier agent attached, and tell what the register says: the rules of all of them are there meanwhile. */
  takeOver(attachments: readonly LocalAttachment[], work: () => void): void {
    for (const one of attachments) this.#coming.set(one.id, one);
    try {
      work();
    } finally {
      for (const { id } of attachments) this.#coming.delete(id);
      const theirs = new Set(attachments.map(({ domain }) => domain));
      const { domains } = this.#options.places.active();
      this.#renewAll(domains.filter((vni) => theirs.has(vni) || !this.#isAsMade(vni)));
    }
  }

  /** hear takes in what EVPN tells, and has the domains' host apply it. */
  hear(changes: readonly RemoteChange[]): void {
    this.#options.places.apply(this.#gateways.hear(changes));
    this.#gateways.turn();
    this.#changeMembers(this.#groups.tell(changes));
  }

  /** settled says that with these changes `hear` was told all that EVPN knows. */
  settled(changes: readonly RemoteChange[]): void {
    if (changes.length > 0) this.hear(changes);
    this.#gateways.settled();
  }

  /** guard has the rules of an attachment be there before it; `work` attaches it. Afterwards only what is attached counts. */
  guard<T>(attachment: LocalAttachment, work: () => T): T {
    const { id, domain, groups } = attachment;
    const { places, bridged } = this.#options;
    // Its rules would stand there, and see nothing of what is bridged.
    if (groups.length > 0 && !bridged())
      throw new Error(
        `Cannot attach ${id}: groups ${groups.join(", ")}: this kernel does not show bridged packets to their rules; load the module on this node: modprobe br_netfilter`,
      );
    if (groups.length > 0 && !this.#domains.has(domain))
      throw new Error(
        `Cannot attach ${id}: groups ${groups.join(", ")}: the VPC of VNI ${domain} is not there any more, and so are no rules of its groups`,
      );
    this.#coming.set(id, attachment);
    try {
      places.keep(domain, `attachment/${id}`, true);
      this.#renew(domain);
      const [problem] = [RULES, portScope(id)].flatMap((scope) => places.problems(domain, scope));
      if (problem !== undefined) throw new Error(`Cannot attach ${id}: its rules cannot be set: ${problem}`);
      const done = work();
      this.#coming.delete(id);
      return done;
    } catch (error) {
      this.#coming.delete(id);
      this.#renew(domain);
      throw error;
    } finally {
      places.keep(domain, `attachment/${id}`, false);
    }
  }

  /** detached says that an attachment of a domain is gone. */
  detached(domain: number): void {
    this.#renew(domain);
  }

  /**
   * announced returns what this node announces in a domain beside its segments (type 5): default routes, and what peerings lead to. The
   * others have their own ways there; but they take packets of a VNI from those only who announce something in it.
   */
  announced(vni: number): Prefix[] {
    const { places } = this.#options;
    const domain = this.#domains.get(vni);
    if (domain === undefined || places.netns(vni) === undefined) return [];
    const gateway = this.#gateways.own.find((one) => one.domain === vni);
    return [
      ...(gateway === undefined ? [] : gatewayFamilies(gateway, domain)).map((family) => EVERYWHERE[family]),
      ...this.#peeringsOf(domain).flatMap(({ otherPrefixes }) => otherPrefixes),
      ...this.#tunnels.announced(vni),
    ];
  }

  /** setTunnels says which Routes lead nowhere now: their networks are announced no more, until they are up again. */
  setTunnels(down: ReadonlySet<string>): void {
    const domains = this.#tunnels.setDown(down);
    this.#renewAll(domains.filter((vni) => this.#options.places.netns(vni) !== undefined));
  }

  /** outside returns the outside addresses that lead to this node now. */
  outside(): readonly Ip[] {
    return this.#gateways.outside;
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#gateways[Symbol.dispose]();
  }

  /** What came to be here gets its rules; what it is peered with gets the other end. */
  #settle(): void {
    const here = new Set(this.#options.places.active().domains);
    const gone = [...this.#made.keys()].filter((vni) => !here.has(vni));
    for (const vni of gone) this.#made.delete(vni);
    const fresh = [...here].filter((vni) => !this.#made.has(vni));
    const others = [...fresh, ...gone].flatMap(
      (vni) => this.#domains.get(vni)?.peerings.map((one) => one.with) ?? [],
    );
    this.#renewAll([...fresh, ...others.filter((vni) => here.has(vni))]);
    if (fresh.length + gone.length === 0) return;
    this.#gateways.settle();
    this.#tunnels.settle();
  }

  /** In order: of two that are peered the lower one makes the link, and the other one takes its end. */
  #renewAll(domains: readonly number[]): void {
    for (const vni of [...new Set(domains)].sort((a, b) => a - b)) this.#renew(vni);
  }

  /**
   * Whether a domain asks for what is set already: of hundreds one changes at a time. What has no mark, or depends on others, is made anew each time,
   * and so is one while pods are about to come to it.
   */
  #isAsMade(vni: number): boolean {
    const [domain, made] = [this.#domains.get(vni), this.#made.get(vni)];
    if (domain === undefined || made === undefined || domain !== made.domain) return false;
    return (
      !this.#coming.values().some((one) => one.domain === vni) &&
      domain.peerings.length === 0 &&
      this.#tunnels.of(vni).all.length === 0 &&
      !this.#gateways.own.some((one) => one.domain === vni) &&
      [...made.scopes.values()].every(({ mark }) => mark !== undefined) &&
      sameValue(made.groups, this.#groupsOf(vni))
    );
  }

  #groupsOf(vni: number): SecurityGroup[] {
    return [...(this.#wish.groups.get(vni)?.values() ?? [])];
  }

  #renew(vni: number): void {
    const { places } = this.#options;
    const domain = this.#domains.get(vni);
    if (places.netns(vni) === undefined) this.#made.delete(vni);
    // What the register has forgotten keeps its rules as long as somebody is there.
    if (places.netns(vni) === undefined || domain === undefined) return;
    const wanted = domainScopes(this.#needsOf(domain), this.#side());
    const known = this.#made.get(vni)?.scopes ?? new Map<string, Scope>();
    // Elements go before their sets, and come after them.
    for (const scope of known.keys()) if (!wanted.has(scope)) places.setScope(vni, scope, []);
    for (const [scope, { mark, objects, here }] of wanted) {
      const before = known.get(scope);
      if (mark === undefined || before?.mark !== mark) places.setScope(vni, scope, objects());
      else if (here !== undefined) this.#moveMembers(domain, scope, { before, here });
    }
    this.#made.set(vni, { domain, groups: this.#groupsOf(vni), scopes: wanted });
  }

  /** Members that are here came or went. */
  #moveMembers(
    domain: Domain,
    scope: string,
    { before, here }: { readonly before: Scope; readonly here: Addresses },
  ): void {
    const group = groupOfScope(scope) ?? "";
    const change = this.#groups.moved(before.here ?? new Map(), { domain, group, here });
    if (change !== undefined) this.#options.places.changeScope(domain.vni, scope, change);
  }

  #needsOf(domain: Domain): DomainNeeds {
    const { vni } = domain;
    return {
      domain,
      attachments: this.#attachments(vni),
      groups: this.#wish.groups.get(vni) ?? new Map(),
      membersOf: (group) => this.#groups.membersOf(domain, group, this.#attachments(vni)),
      peerings: this.#peeringsOf(domain),
      gateway: this.#gateways.own.find((one) => one.domain === vni),
      floating: this.#gateways.floatingOf(vni),
      tunnels: this.#tunnels.of(vni),
    };
  }

  /** With domains that are here. */
  #peeringsOf(domain: Domain): PeeringEnd[] {
    const { places } = this.#options;
    return peeringEnds(domain, this.#domains).filter(({ other }) => places.netns(other) !== undefined);
  }

  #side(): NodeSide {
    const { places, home, mtuBytes, portOf, bridged } = this.#options;
    const netnsOf = (vni: number) => places.netns(vni);
    return { home: home.netns, netnsOf, mtuBytes: mtuBytes(), portOf, bridged: bridged() };
  }

  #attachments(vni: number): LocalAttachment[] {
    const coming = [...this.#coming.values()].filter(({ domain }) => domain === vni);
    const here = this.#options.places.attachments(vni).filter(({ id }) => !this.#coming.has(id));
    return [...here, ...coming];
  }

  /** Members came or went elsewhere. */
  #changeMembers(changes: readonly MemberChange[]): void {
    if (changes.length === 0) return;
    for (const [vni, made] of this.#made) {
      const { scopes } = made;
      const domain = this.#domains.get(vni);
      if (domain === undefined) {
        // When it comes back, all of it is set as a whole.
        const unmarked = [...scopes].map(([name, { objects }]) => [name, { objects }] as const);
        this.#made.set(vni, { ...made, scopes: new Map(unmarked) });
        continue;
      }
      for (const [scope, { here = new Map() }] of scopes) {
        const group = groupOfScope(scope);
        const change = group === undefined ? group : this.#groups.elsewhere(changes, { domain, group, here });
        if (change !== undefined) this.#options.places.changeScope(vni, scope, change);
      }
    }
  }
}
