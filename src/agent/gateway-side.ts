/**
 * GatewaySide is the node's own side of NAT gateways and floating IPs: which gateway is followed in each domain, legs in the node's namespace,
 * outside addresses that lead here, and the end of flows whose translation has changed.
 */
import {
  type Domain,
  endedAddresses,
  endedSources,
  followedPrefix,
  type FloatingIp,
  gatewayFamilies,
  type GatewaySeat,
  type HostLeg,
  hostLegObjects,
  isActiveGateway,
  isDefault,
  type NatGateway,
  outsideAddresses,
  type RemoteChange,
  type RemotePrefix,
} from "../domain/mod.ts";
import type { Engine } from "../engine/mod.ts";
import { type Family, formatIp, type Ip } from "../net/mod.ts";
import { after, type Netns } from "../sys/mod.ts";
import { endCrossing, endFlows } from "./domain-flows.ts";
import { takeOver } from "./take-over.ts";

/**
 * When neighbours are told again where an address is. What one that stood by said at the same moment, before it had heard of this one, or a frame
 * that was lost, holds as long as they keep it: a minute.
 */
const AGAIN_MS = [1_000, 5_000];

/** GatewayFacts is what the register says, and what is known of other nodes. */
export interface GatewayFacts {
  readonly domains: ReadonlyMap<number, Domain>;
  readonly gateways: readonly NatGateway[];
  readonly floating: readonly FloatingIp[];
  readonly vtepOf: GatewaySeat["vtepOf"];
}

/** GatewaySideOptions say where. */
export interface GatewaySideOptions {
  /** The node's own namespace, and its engine, whose table of family inet has LEG_RULES. */
  readonly home: { readonly netns: Netns; readonly engine: Engine };
  /** Name of this node. */
  readonly self: string;
  /** Links on which the node answers for outside addresses: those of networks that take them for their own. Default: none. */
  readonly outsideLinks?: () => readonly string[];
  /** Namespaces of domains that are here. */
  readonly netnsOf: (vni: number) => Netns | undefined;
}

/** GatewaySide owns the scope `gateways` of the node's own engine. */
export class GatewaySide implements Disposable {
  readonly #options: GatewaySideOptions;
  #facts: GatewayFacts = { domains: new Map(), gateways: [], floating: [], vtepOf: () => undefined };
  /** Default routes as they were told: at most one of a family for each domain that is here. */
  readonly #defaults = new Map<string, RemotePrefix>();
  /** Outside addresses that lead here. */
  #outside: readonly Ip[] = [];
  /** Addresses whose flows are to end. */
  readonly #ended: Ip[] = [];
  /** Domains of which this node is a gateway, by Domain.vni, and the families of which it is the one that is followed. */
  #active: ReadonlyMap<number, Pick<HostLeg, "domain" | "active">> = new Map();
  /** Domains, and families of which this node came to be the gateway, or is it no more. */
  #turned: (readonly [Domain, Family])[] = [];
  #hasBegun = false;
  /** Keys of `#defaults` of which something was heard: until then, or until all was, nobody knows that this node does not stand by. */
  readonly #heard = new Set<string>();
  #hasHeardAll = false;
  /** Outside addresses that neighbours have been told of, and the keys of `#defaults` that they belong to. */
  #announced: ReadonlyMap<string, string> = new Map();
  /** When some of them are told again. */
  readonly #again = new Set<Disposable>();

  constructor(options: GatewaySideOptions) {
    this.#options = options;
  }

  /** set takes in new facts, and returns what follows for default routes. Once domains have their new rules comes `settle`. */
  set(facts: GatewayFacts): RemoteChange[] {
    const before = this.#facts;
    this.#facts = facts;
    this.#ended.push(
      ...endedAddresses(before.floating, facts.floating),
      ...endedSources(before.gateways, facts.gateways),
    );
    return this.#choose([...this.#defaults.values()]);
  }

  /** hear takes default routes out of what EVPN tells, and returns the rest with the ones that are followed. */
  hear(changes: readonly RemoteChange[]): RemoteChange[] {
    const others: RemoteChange[] = [];
    const touched = new Map<string, RemotePrefix>();
    for (const change of changes) {
      const { remote, op } = change;
      if (remote.kind !== "prefix" || !isDefault(remote.prefix)) {
        others.push(change);
        continue;
      }
      const key = keyOf(remote.vni, remote.prefix.family);
      this.#heard.add(key);
      if (op === "set") this.#defaults.set(key, remote);
      else this.#defaults.delete(key);
      touched.set(key, op === "set" ? remote : { ...remote, hops: [] });
    }
    if (touched.size > 0) {
      // Who came back may have told neighbours that it is the gateway, as long as it heard nothing of this one.
      this.#announced = new Map([...this.#announced].filter(([, key]) => !touched.has(key)));
      this.settle();
    }
    return [...others, ...this.#choose([...touched.values()])];
  }

  /** settle makes the node's own namespace follow, and ends flows: after domains came or went, too. */
  settle(): void {
    const { home, outsideLinks } = this.#options;
    const legs = this.#legs();
    this.#noteTurns(legs);
    const links = outsideLinks?.() ?? [];
    home.engine.set("gateways", hostLegObjects(legs, { links }));
    home.engine.apply("gateways");
    this.#outside = legs.flatMap((leg) => outsideOf(leg));
    this.#announce(legs);
    this.#endFlows();
  }

  /** settled says that all has been heard that there is to hear: where nobody else is the gateway, this node is. */
  settled(): void {
    this.#hasHeardAll = true;
    this.#announce(this.#legs());
  }

  /** Not what is only guessed: neighbours of the live gateway would be led to one that stands by. */
  #announce(legs: readonly HostLeg[]): void {
    const certain = legs.flatMap((leg) =>
      outsideOf(leg)
        .map((address) => ({ address, key: keyOf(leg.domain.vni, address.family) }))
        .filter(({ key }) => this.#hasHeardAll || this.#heard.has(key)),
    );
    const addresses = certain.map(({ address }) => address);
    const fresh = addresses.filter((address) => !this.#announced.has(formatIp(address)));
    this.#announced = new Map(certain.map(({ address, key }) => [formatIp(address), key]));
    this.#tell(fresh);
    if (fresh.length > 0) for (const ms of AGAIN_MS) this.#tellAgain(fresh, ms);
  }

  #tell(addresses: readonly Ip[]): void {
    const { home, outsideLinks } = this.#options;
    takeOver({ netns: home.netns, links: outsideLinks?.() ?? [], addresses });
  }

  #tellAgain(addresses: readonly Ip[], ms: number): void {
    const timer = after(ms, () => {
      this.#again.delete(timer);
      try {
        this.#tell(addresses.filter((address) => this.#announced.has(formatIp(address))));
      } catch {
        // A help: neighbours find out by themselves.
      }
    });
    this.#again.add(timer);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#again) timer[Symbol.dispose]();
    this.#again.clear();
  }

  /** A leg that is gone is no way out either. */
  #noteTurns(legs: readonly HostLeg[]): void {
    const now = new Map(legs.map((leg) => [leg.domain.vni, leg]));
    for (const [vni, { domain }] of new Map([...this.#active, ...now])) {
      const [before = [], after = []] = [this.#active.get(vni)?.active, now.get(vni)?.active];
      for (const family of [4, 6] as const)
        if (before.includes(family) !== after.includes(family)) this.#turned.push([domain, family]);
    }
    this.#active = now;
  }

  /**
   * turn ends the flows of domains whose way out is another one by now, once it is: they are remembered as going to the other gateway with
   * their own address, or out here with another one, and would for as long as they go on. The first time nothing has turned: an agent begins,
   * and flows go on as an earlier one left them.
   */
  turn(): void {
    const turned = this.#turned.splice(0);
    const isFirst = !this.#hasBegun;
    this.#hasBegun = true;
    if (isFirst) return;
    for (const [domain, family] of turned) {
      const netns = this.#options.netnsOf(domain.vni);
      const peers = domain.peerings.flatMap(({ prefixes }) => prefixes);
      const inside = [...domain.segments.flatMap(({ prefixes }) => prefixes), ...peers];
      const isGateway = this.#active.get(domain.vni)?.active.includes(family) === true;
      if (netns !== undefined) endCrossing(netns, family, { inside, translated: !isGateway });
    }
  }

  /** outside returns the outside addresses that lead to this node now. */
  get outside(): readonly Ip[] {
    return this.#outside;
  }

  /** own returns the gateways of which this node is one of the nodes. */
  get own(): NatGateway[] {
    return this.#facts.gateways.filter(({ nodes }) => nodes.includes(this.#options.self));
  }

  /** floatingOf returns the floating IPs of a domain. */
  floatingOf(vni: number): FloatingIp[] {
    return this.#facts.floating.filter(({ domain }) => domain === vni);
  }

  #legs(): HostLeg[] {
    const heard = [...this.#defaults.values()];
    const seat = this.#seat();
    return this.own.flatMap((gateway) => {
      const domain = this.#facts.domains.get(gateway.domain);
      if (domain === undefined || this.#options.netnsOf(domain.vni) === undefined) return [];
      const active = gatewayFamilies(gateway, domain).filter((family) =>
        isActiveGateway(heard, gateway, { seat, family }),
      );
      return [{ gateway, domain, floating: this.floatingOf(domain.vni), active }];
    });
  }

  #choose(told: readonly RemotePrefix[]): RemoteChange[] {
    return told.map((remote): RemoteChange => {
      const gateway = this.#facts.gateways.find(({ domain }) => domain === remote.vni);
      const followed = remote.hops.length === 0 ? undefined : followedPrefix(remote, gateway, this.#seat());
      return followed === undefined ? { op: "remove", remote } : { op: "set", remote: followed };
    });
  }

  #seat(): GatewaySeat {
    return { self: this.#options.self, vtepOf: this.#facts.vtepOf };
  }

  #endFlows(): void {
    const ended = this.#ended.splice(0);
    if (ended.length === 0) return;
    for (const { domain } of this.own) {
      const netns = this.#options.netnsOf(domain);
      if (netns !== undefined) endFlows(netns, ended);
    }
    endFlows(this.#options.home.netns, ended);
  }
}

function keyOf(vni: number, family: Family): string {
  return `${vni} ${family}`;
}

/** Outside addresses that lead to this node now. */
function outsideOf(leg: HostLeg): Ip[] {
  return outsideAddresses(leg).filter(({ family }) => leg.active.includes(family));
}
