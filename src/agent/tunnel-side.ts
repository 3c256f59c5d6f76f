/** TunnelSide is this node's own side of VPCs' tunnels: legs in the node's namespace, and which of their networks lead somewhere. */
import { type DomainTunnels, openPrefixes, type Tunnel, tunnelLegs, tunnelLink } from "../domain/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { Prefix } from "../net/mod.ts";
import { type Netns, wholeChecksums } from "../sys/mod.ts";

/** TunnelSideOptions say where. */
export interface TunnelSideOptions {
  /** The node's own namespace and its engine. */
  readonly home: { readonly engine: Engine };
  /** Name of this node. */
  readonly self: string;
  /** Namespaces of domains that are here. */
  readonly netnsOf: (vni: number) => Netns | undefined;
}

/** TunnelSide owns the scope `tunnels` of the node's own engine. */
export class TunnelSide {
  readonly #options: TunnelSideOptions;
  #all: readonly Tunnel[] = [];
  #down: ReadonlySet<string> = new Set();

  constructor(options: TunnelSideOptions) {
    this.#options = options;
  }

  get #own(): Tunnel[] {
    return this.#all.filter(({ node }) => node === this.#options.self);
  }

  /** set takes in what the register says; `keep` is told of domains that are to be here for their tunnels, or need not be any more. */
  set(tunnels: readonly Tunnel[], keep: (domain: number, wanted: boolean) => void): void {
    const before = this.#own;
    this.#all = tunnels;
    const own = new Set(this.#own.map(({ domain }) => domain));
    for (const { domain } of before) if (!own.has(domain)) keep(domain, false);
    for (const domain of own) keep(domain, true);
  }

  /** setDown takes the names of Routes that lead nowhere, and returns the domains of this node's tunnels for which that is news. */
  setDown(down: ReadonlySet<string>): number[] {
    const before = this.#down;
    this.#down = down;
    return this.#own
      .filter(({ routes }) => routes.some(({ name }) => before.has(name) !== down.has(name)))
      .map(({ domain }) => domain);
  }

  /** settle makes the node's own namespace follow, once domains have their scopes. */
  settle(): void {
    const { home, netnsOf } = this.#options;
    const own = this.#own.filter(({ domain }) => netnsOf(domain) !== undefined);
    home.engine.set("tunnels", tunnelLegs(own));
    home.engine.apply("tunnels");
    for (const { domain, by } of own)
      if (by === "user") netnsOf(domain)?.run(() => wholeChecksums(tunnelLink(domain)));
  }

  /** of returns what a domain's namespace is to have. */
  of(vni: number): DomainTunnels {
    const all = this.#all.filter(({ domain }) => domain === vni);
    return { own: all.find(({ node }) => node === this.#options.self), all, down: this.#down };
  }

  /** announced returns the networks that this node reaches in a domain (type 5). */
  announced(vni: number): Prefix[] {
    return this.#own.flatMap((tunnel) => (tunnel.domain === vni ? openPrefixes(tunnel, this.#down) : []));
  }
}
