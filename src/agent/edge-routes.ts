/**
 * Routes of one domain between the fabric and what runs on the host.
 *
 * ```
 *  host ── plain BGP ──▶ host's speaker ── best paths ──▶ type 5, by the fabric's speaker ──▶ fabric
 *  host ◀── plain BGP ── host's speaker ◀── type 5 that are imported ◀── fabric's speaker ◀── fabric
 * ```
 * What the host has is better than what the fabric has of the same network: otherwise two nodes with the same service would each believe the
 * other. AS paths go with routes, so that nobody takes his own back.
 *
 * After a restart the kernel has what an earlier agent knew, in both directions; that counts until both have been told anew.
 */
import type { compilePrefixRules, LocalPrefix, NeighborRoute, Speaker } from "../bgp/mod.ts";
import type { RemoteChange } from "../domain/mod.ts";
import { formatPrefix, type Prefix } from "../net/mod.ts";
import { limitedSessions } from "./edge-speakers.ts";
import type { ExportRule } from "./vpc-announcer.ts";

type AsPath = NonNullable<Extract<RemoteChange["remote"], { kind: "prefix" }>["asPath"]>;

/** Of the fabric's routes in the host's speaker; 100 is what all others have. */
const FABRIC_PREFERENCE = 50;

/** EdgeSpeaker is a speaker that runs, and what it has of its neighbors: all there is, and then what changes. */
export interface EdgeSpeaker {
  readonly speaker: Speaker;
  readonly routes: (listener: (route: NeighborRoute) => void) => Disposable;
  /** Reads rules of a domain. */
  readonly rules: typeof compilePrefixRules;
}

/** FabricSide is what a domain's routes meet on the way to the fabric. */
export interface FabricSide {
  /** Announced by somebody else whatever the host says: that is neither changed nor taken back here. */
  readonly declared: readonly Prefix[];
  /** Absent: all goes as it is. */
  readonly exports?: ExportRule | undefined;
  /** Rules look at more than the network: what an earlier agent heard, of which nothing else is known, does not go. */
  readonly byPath?: boolean | undefined;
}

const asItIs: ExportRule = (local) => local;

interface Known extends LocalPrefix {
  readonly asPath: AsPath;
}

/** EdgeRoutes carries them for as long as both speakers run; it may be told of either again and again. */
export class EdgeRoutes implements Disposable {
  readonly vni: number;
  #host: Speaker | undefined;
  #following: Disposable | undefined;
  #fabric: Speaker | undefined;
  /** By text. */
  #declared: ReadonlySet<string> = new Set();
  #exports: ExportRule | undefined;
  /** From the host, by text. */
  readonly #fromHost = new Map<string, Known>();
  readonly #fromFabric = new Map<string, Known>();
  /** Of other domains, by text: no route of the fabric has such a network too. */
  #leaked: ReadonlyMap<string, Prefix> = new Map();
  readonly #onChange: () => void;
  /** What was so before, and nobody has said again: by text. */
  readonly #former = new Map<string, Prefix>();

  /** `onChange` is called when the host has other networks. */
  constructor(vni: number, former: readonly Prefix[] = [], onChange: () => void = () => {}) {
    this.vni = vni;
    this.#onChange = onChange;
    for (const prefix of former) this.#former.set(formatPrefix(prefix), prefix);
  }

  /** Networks that the host announces. */
  get fromHost(): readonly string[] {
    return [...this.#fromHost.keys()];
  }

  /** Those and what an earlier agent heard, as long as it counts. */
  get hostNetworks(): readonly Prefix[] {
    return [...[...this.#fromHost.values()].map(({ prefix }) => prefix), ...this.#former.values()];
  }

  /** setLeaked says which networks of other domains are reached from this one: its host hears of them, the fabric does not. */
  setLeaked(networks: readonly Prefix[]): void {
    const next = new Map(networks.map((network) => [formatPrefix(network), network]));
    for (const [name, prefix] of this.#leaked)
      if (!next.has(name) && !this.#fromFabric.has(name)) this.#host?.withdraw({ kind: "prefix", prefix });
    for (const [name, prefix] of next) if (!this.#leaked.has(name)) this.#tellHost({ prefix, asPath: [] });
    this.#leaked = next;
  }

  /** Whether the host's speaker waits for neighbors after a restart. */
  get isDeferring(): boolean {
    return (this.#host?.restart.deferred.length ?? 0) > 0;
  }

  /** Why the host has lost its session, where it told too much. */
  get limited(): readonly string[] {
    return limitedSessions(this.#host);
  }

  /** setHost gives the speaker of the host's session; undefined while there is none. */
  setHost(begun: EdgeSpeaker | undefined): void {
    this.#following?.[Symbol.dispose]();
    this.#host = begun?.speaker;
    for (const { prefix } of this.#fromHost.values()) this.#withdraw(prefix);
    this.#fromHost.clear();
    if (begun === undefined) return;
    for (const prefix of this.#leaked.values()) this.#tellHost({ prefix, asPath: [] });
    for (const known of this.#fromFabric.values()) this.#tellHost(known);
    this.#following = begun.routes(({ asPath, ...route }) =>
      asPath === undefined ? this.#lose(route.prefix) : this.#learn({ ...route, asPath }),
    );
  }

  /** setFabric gives the speaker of the router; the domain's L3VNI must be active in it. */
  setFabric(fabric: Speaker | undefined, { declared, exports = asItIs, byPath = false }: FabricSide): void {
    const names = new Set(declared.map(formatPrefix));
    const isSame = names.size === this.#declared.size && names.isSubsetOf(this.#declared);
    // It is said of all domains whenever one of them changes.
    if (isSame && fabric === this.#fabric && exports === this.#exports) return;
    this.#fabric = fabric;
    this.#declared = names;
    this.#exports = exports;
    for (const known of this.#fromHost.values()) this.#announce(known);
    if (!byPath) for (const prefix of this.#former.values()) this.#announce({ prefix });
  }

  /** hear takes in what the fabric tells, of other domains too. */
  hear(changes: readonly RemoteChange[]): void {
    for (const { op, remote } of changes) {
      if (remote.kind !== "prefix" || remote.vni !== this.vni) continue;
      const name = formatPrefix(remote.prefix);
      const known = { prefix: remote.prefix, asPath: remote.asPath ?? [] };
      if (op === "set") {
        this.#fromFabric.set(name, known);
        this.#tellHost(known);
      } else if (this.#fromFabric.delete(name)) this.#untellHost(name, known.prefix);
    }
  }

  /** What the fabric has no more another domain may have, by a leak that nobody has looked at since. */
  #untellHost(name: string, prefix: Prefix): void {
    if (this.#leaked.has(name)) this.#tellHost({ prefix, asPath: [] });
    else this.#host?.withdraw({ kind: "prefix", prefix });
  }

  /** settle forgets what nobody has said again since the agent began. */
  settle(): void {
    const former = [...this.#former];
    this.#former.clear();
    for (const [name, prefix] of former) if (!this.#fromHost.has(name)) this.#withdraw(prefix);
  }

  #tellHost({ prefix, asPath }: Known): void {
    this.#host?.announce(
      { kind: "prefix", prefix },
      { origin: "igp", asPath, localPreference: FABRIC_PREFERENCE },
    );
  }

  #learn(known: Known): void {
    const name = formatPrefix(known.prefix);
    this.#fromHost.set(name, known);
    this.#former.delete(name);
    this.#announce(known);
    this.#onChange();
  }

  #lose(prefix: Prefix): void {
    if (!this.#fromHost.delete(formatPrefix(prefix))) return;
    this.#withdraw(prefix);
    this.#onChange();
  }

  #announce(known: LocalPrefix): void {
    if (this.#declared.has(formatPrefix(known.prefix))) return;
    const local = (this.#exports ?? asItIs)(known);
    if (local !== undefined) this.#fabric?.evpn.setPrefix(this.vni, local);
    else this.#fabric?.evpn.removePrefix(this.vni, known.prefix);
  }

  #withdraw(prefix: Prefix): void {
    const name = formatPrefix(prefix);
    if (!this.#former.has(name) && !this.#declared.has(name))
      this.#fabric?.evpn.removePrefix(this.vni, prefix);
  }

  /** end takes back what the host had announced: the session is over for good. */
  end(): void {
    this.setHost(undefined);
    this.settle();
  }

  [Symbol.dispose](): void {
    this.#following?.[Symbol.dispose]();
  }
}
