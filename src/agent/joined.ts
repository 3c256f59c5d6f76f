/**
 * A node of a mesh, running: register and own findings become facts, facts become desired state, the engine makes it so.
 * Once a second the tunnel's device is read; what it says moves paths, and on the hub is written into the register.
 */
import type { CniService } from "../cni/mod.ts";
import { compileServices } from "../domain/mod.ts";
import { type Engine, sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import {
  ENROL_PORT,
  GOSSIP_PORT,
  heardNext,
  type LadderExplanation,
  type MeshFacts,
  MeshScopes,
  peerScope,
  type ScopeChanges,
  SYNC_PORT,
} from "../mesh/mod.ts";
import { type Endpoint, formatIp, type PeerState, type PrivateKey } from "../net/mod.ts";
import { CLUSTER_BGP_PORT, type HubDistance, type Mesh, type Node } from "../resources/mod.ts";
import { after, boottimeMs, every, monotonicMs, openUdp, type UdpSocket } from "../sys/mod.ts";
import { clusterPorts } from "./cluster-ports.ts";
import { warn } from "./log.ts";
import type { Generations } from "./generations.ts";
import { HubRelaying, type RelayOptions } from "./hub-relaying.ts";
import { MeshPaths } from "./mesh-paths.ts";
import { NetworkWatch } from "./network-watch.ts";
import { NO_FACTS, type OwnFacts, readOwnFacts } from "./own-facts.ts";
import { peerKeys } from "./peer-keys.ts";
import { Resolver } from "./resolver.ts";
import type { Role } from "./role.ts";
import type { TunnelHolder } from "./tunnel-holder.ts";
import { networksOf, nodeOf } from "./view-parts.ts";
import { VpcRules } from "./vpc-underlay.ts";
import type { ClusterBgp } from "./cluster-bgp.ts";
import { EdgeTold } from "./edge-told.ts";
import { Gateways } from "./gateways.ts";
import { Vpcs } from "./vpcs.ts";
import { type WayOptions, Ways } from "./ways.ts";

const TICK_MS = 1000;
/** How often a node's next key is looked for while it changes its key. */
const NEXT_KEY_MS = 50;
/** Own addresses and MTU are looked at again after this time, though no event came. */
const FACTS_MS = 10_000;
/** Changes that come together are planned together. */
const REFRESH_MS = 10;
/** A sleep of the machine is noticed from this length on. */
const SLEPT_MS = 5_000;
/** Where hubs are greeted: nobody needs to listen (discard, RFC 863). */
const GREETING_PORT = 9;
const GREETED_AGAIN_MS = [300, 1000] as const;

/** JoinedOptions are the parts that a joined node is made of. */
export interface JoinedOptions {
  readonly engine: Engine;
  readonly cni: CniService;
  readonly bgp: ClusterBgp;
  /** Of the agent's state. */
  readonly folder: string;
  readonly role: Role;
  readonly key: PrivateKey;
  readonly tunnel: TunnelHolder;
  readonly ways: WayOptions;
  readonly relaying: RelayOptions;
  readonly generations: Generations;
  /** The register no longer holds this node. */
  readonly onRemoved: () => void;
  /** The node's key is another one now, stored: this part of the node is to be begun anew with it. */
  readonly onKeyChanged: () => void;
}

/** Joined runs a node's part of the mesh until it is disposed; disposing leaves the kernel as it is. */
export class Joined implements Disposable {
  readonly #options: JoinedOptions;
  readonly #paths: MeshPaths;
  readonly #ways: Ways;
  readonly #relaying: HubRelaying;
  readonly vpcs: Vpcs;
  readonly gateways: Gateways;
  readonly #edge: EdgeTold;
  readonly #resolver = new Resolver(() => this.#schedule());
  readonly #resources = new DisposableStack();
  readonly #scopes = new MeshScopes();
  readonly #vpcRules = new VpcRules();
  #facts: OwnFacts = NO_FACTS;
  #hubs: readonly HubDistance[] = [];
  #reached: readonly string[] = [];
  #sleptMs = boottimeMs() - monotonicMs();
  #greeter: UdpSocket | undefined;
  #mesh: Mesh | undefined;
  #factsMs = Number.NEGATIVE_INFINITY;
  #enrolments = "";
  #refreshing: Disposable | undefined;
  #begun = false;
  #started = false;
  #closed = false;
  /** Nodes that were heard with their next key. */
  #heardNext: ReadonlySet<string> = new Set();
  #watching: Disposable | undefined;
  /** What the device said at this tick: with thousands of peers it takes a while to say it, so once serves all. */
  #reading: readonly PeerState[] | undefined;

  constructor(options: JoinedOptions) {
    this.#options = options;
    this.#relaying = new HubRelaying(options.relaying);
    this.#paths = this.#resources.use(
      new MeshPaths(
        { own: options.key, former: () => options.role.formerKey },
        {
          generations: options.generations,
          device: () => this.peers(),
          life: () => (options.role.hub ? this.#relaying.life(options.tunnel.tunnel) : undefined),
          use: (names) => this.#guarded("set paths", () => this.#move(names)),
          invite: (name) => options.role.invite(name),
          distances: ({ reached, published }) => {
            const names = reached.map(({ hub }) => hub);
            const lost = this.#reached.filter((name) => !names.includes(name));
            this.#reached = names;
            this.#hubs = published;
            options.role.hubsReached(names, lost);
            this.#tellFacts();
          },
          // More than once: while one lost packet keeps a hub from learning where this node is, it relays nothing for it.
          greetHubs: () => {
            this.#greetHubs();
            for (const ms of GREETED_AGAIN_MS)
              after(ms, () => {
                if (!this.#closed) this.#greetHubs();
              });
          },
          asked: () => this.#ways.asked(),
          answered: () => this.#ways.answered(),
        },
      ),
    );
    const { engine, cni, bgp, folder, role } = options;
    const onProblem = (error: Error) => warn("vpcs", { error });
    this.vpcs = this.#resources.use(new Vpcs({ engine, cni, bgp, folder, claims: role.claims, onProblem }));
    this.gateways = this.#resources.use(Gateways.beside(this.vpcs, () => this.#tellFacts()));
    this.#edge = this.#resources.use(new EdgeTold(bgp, () => this.#tellFacts()));
    this.#ways = this.#resources.use(
      new Ways(options.ways, {
        key: options.key,
        hooks: {
          changed: () => this.#schedule(),
          facts: () => this.#tellFacts(),
          probe: () => this.#paths.probeHubs(),
        },
      }),
    );
  }

  /** start brings the node up from what it knows; the hub may be away. Resolves when the first state is applied, or will be tried again. */
  async start(): Promise<void> {
    const { role, tunnel } = this.#options;
    await tunnel.open({ relays: role.hub });
    if (this.#closed) return;
    this.#guarded("set up this node", () => this.#begin());
    this.#startRole();
    this.#resources.use(every(TICK_MS, () => this.#onTick()));
    this.#resources.use(
      new NetworkWatch(() => this.#guarded("look at the network", () => this.#readFacts())),
    );
  }

  #begin(): void {
    const { engine } = this.#options;
    this.#readFacts();
    this.#refresh();
    // Now every scope is known; what is marked as ours and wanted by nobody can go.
    engine.apply({ prune: true });
    this.#begun = true;
  }

  /** The services listen on overlay addresses, which are not there while the tunnel is not. */
  #startRole(): void {
    const { role, onRemoved } = this.#options;
    if (this.#started) return;
    try {
      role.start({
        onView: () =>
          this.#guarded("follow the register", () => {
            if (this.#closed) return;
            const view = role.view();
            if (view.self === undefined) return onRemoved();
            // The mesh's settings decide the MTU and what counts as an address of this node.
            if (!sameValue(view.mesh, this.#mesh)) this.#readFacts();
            this.#schedule();
          }),
        onInvited: (peer, inMs) => this.#paths.invited(peer, inMs),
        onConnection: (connected) => {
          if (connected) this.vpcs.connected();
        },
        onKeyChanged: this.#options.onKeyChanged,
        tunnel: this.#options.tunnel,
        onGone: onRemoved,
      });
      this.#started = true;
    } catch (error) {
      warn("the hub's services cannot start yet", { error });
    }
  }

  /** refresh computes the desired state anew and applies what differs. */
  #refresh(): void {
    const { engine, cni, role } = this.#options;
    const view = role.view();
    if (view.self === undefined) return;
    this.#followRegister(view);
    const { gone, set } = this.#scopes.follow(this.#meshFacts(view));
    for (const scope of gone) engine.remove(scope);
    this.#set(set);
    const { mesh, self } = view;
    cni.setNode({
      ranges: [self.pods4, self.pods6].filter((range) => range !== undefined),
      mtuBytes: this.#facts.mtuBytes,
      ownPorts: [
        { protocol: "udp", port: mesh.listenPort, purpose: "the tunnel" },
        // The hub's; but where a pod can run must not depend on which node is the hub.
        { protocol: "tcp", port: ENROL_PORT, purpose: "the enrolment service" },
        { protocol: "tcp", port: SYNC_PORT, purpose: "the register" },
        { protocol: "tcp", port: GOSSIP_PORT, purpose: "news of the register" },
        { protocol: "tcp", port: CLUSTER_BGP_PORT, purpose: "the BGP of VPCs" },
        ...clusterPorts,
      ],
      services: mesh.services,
      clusterServices: compileServices(view.tenants, mesh),
    });
    engine.apply();
    this.#relay(view);
    this.#listen(view);
    this.vpcs.follow(view, this.#facts.mtuBytes);
    this.gateways.follow(view);
  }

  #set(scopes: ScopeChanges["set"]): void {
    try {
      for (const [scope, objects] of scopes) this.#options.engine.set(scope, objects);
    } catch (error) {
      // Some were not told.
      this.#scopes.doubt();
      throw error;
    }
  }

  /** Moves single paths: what changes is one peer's endpoint each, so nothing else is computed. */
  #move(names: readonly string[]): void {
    const { engine, role } = this.#options;
    const view = role.view();
    if (!this.#begun || view.self === undefined) return;
    const paths = new Map(names.map((name) => [name, this.#paths.path(name)]));
    const facts = this.#meshFacts(view, paths);
    const nodes = names.flatMap((name) =>
      this.#scopes.has(peerScope(name)) ? (nodeOf(view, name) ?? []) : [],
    );
    const moved = this.#scopes.move(nodes, facts);
    this.#set(moved);
    // Each time the device is read: when all paths of a large mesh begin, once has to do.
    const [only] = moved.keys();
    if (moved.size > 1) engine.apply();
    else if (only !== undefined) engine.apply(only);
  }

  /**
   * While a node changes its key, its prefixes move to the next one as soon as that is heard: until then what it sends is dropped,
   * so it is looked for more often than once a second.
   */
  #lookForNext(): void {
    const changing = this.#options.role.view().nodes.filter((node) => node.nextPublicKey !== undefined);
    if (changing.length === 0) {
      this.#watching?.[Symbol.dispose]();
      this.#watching = undefined;
    } else
      this.#watching ??= every(NEXT_KEY_MS, () =>
        this.#guarded("look for a node's next key", () => this.#lookForNext()),
      );
    const heard = heardNext(changing, changing.length === 0 ? [] : this.peers());
    const moved = changing
      .map((node) => node.name)
      .filter((name) => heard.has(name) !== this.#heardNext.has(name));
    this.#heardNext = heard;
    if (moved.length > 0) this.#move(moved);
  }

  #resolve({ nodes }: MeshView): ReadonlyMap<string, readonly Endpoint[]> {
    return this.#resolver.lookUp([
      ...nodes.flatMap((node) => node.endpoints),
      ...this.#options.role.hubEndpoints,
    ]);
  }

  #followRegister(view: MeshView): void {
    const { role } = this.#options;
    const { mesh } = view;
    const resolved = this.#resolve(view);
    this.#ways.follow(view, role.hubEndpoints);
    this.#paths.update(view, {
      resolved,
      fallback: role.hubEndpoints,
      instead: (hub) => this.#ways.endpoint(hub),
      inside: networksOf(mesh),
      linkMtuBytes: this.#facts.underlayMtuBytes,
    });
  }

  #meshFacts(view: MeshView, paths: MeshFacts["paths"] = this.#paths.paths()): MeshFacts {
    const { role, key, tunnel } = this.#options;
    const { mesh, self, nodes } = view;
    return {
      mesh,
      self: self as Node,
      nodes,
      privateKey: key,
      formerKey: tunnel.twoKeysProblem === undefined ? role.formerKey : undefined,
      tunnelLink: tunnel.tunnel?.linkType ?? "external",
      listenPort: mesh.listenPort,
      mtuBytes: this.#facts.mtuBytes,
      advertisedLinks: this.#facts.advertisedLinks,
      paths,
      enrolments: role.enrolments(),
      peers: view.peers,
      pairKeys: role.pairKeys,
      heardNext: this.#heardNext,
      ...(role.hub ? { presharedKeys: peerKeys() } : {}),
      ...this.#vpcRules.of(view),
    };
  }

  /** A hub relays for the pairs that may talk. */
  #relay(view: MeshView): void {
    this.#relaying.follow(view, this.#options.tunnel.tunnel?.relay);
  }

  /** The device has its port by now. */
  #listen(view: MeshView): void {
    const { tunnel } = this.#options;
    if (tunnel.tunnel !== undefined) this.#paths.listen(tunnel.tunnel, view.mesh.listenPort);
  }

  /** tunnelAnew is called when another process carries the tunnel, and is set up: it has none of the sessions that the other ends know. */
  tunnelAnew(): void {
    this.#guarded("look at the tunnel", () => this.#paths.observe({ anew: true }));
  }

  #schedule(): void {
    if (this.#refreshing !== undefined || this.#closed) return;
    this.#refreshing = after(REFRESH_MS, () => {
      this.#refreshing = undefined;
      if (!this.#closed) this.#guarded("refresh", () => this.#refresh());
    });
  }

  /** changed is called when something outside changed what is desired, such as tokens. */
  changed(): void {
    this.#schedule();
  }

  #onTick(): void {
    this.#guarded("tick", () => {
      const { role } = this.#options;
      if (!this.#begun) this.#begin();
      this.#startRole();
      this.#reading = this.peers();
      try {
        role.observe(this.#reading);
        this.#lookForNext();
        this.#paths.observe();
      } finally {
        this.#reading = undefined;
      }
      if (role.hub) this.#relaying.look(this.#options.tunnel.tunnel?.relay);
      const enrolments = JSON.stringify(
        role.enrolments().map(({ id, uses }) => [id, uses.map((use) => use.publicKey)]),
      );
      if (enrolments !== this.#enrolments) {
        this.#enrolments = enrolments;
        this.#schedule();
      }
      const sleptMs = boottimeMs() - monotonicMs();
      const slept = sleptMs - this.#sleptMs > SLEPT_MS;
      this.#sleptMs = sleptMs;
      if (slept || monotonicMs() - this.#factsMs > FACTS_MS) this.#readFacts();
      if (slept) {
        this.#paths.network();
        this.#ways.moved();
      }
      // What changed comes back by itself.
      this.#resolver.again();
    });
  }

  /** What this node's own interfaces say; told to the register when it changed. */
  #readFacts(): void {
    this.#factsMs = monotonicMs();
    const { mesh } = this.#options.role.view();
    this.#mesh = mesh;
    const facts = readOwnFacts(mesh, { without: networksOf(mesh), outward: this.#paths.outward?.ip });
    if (sameValue(facts, this.#facts)) return;
    const { local, doors } = this.#facts;
    const moved = !sameValue([facts.local, facts.doors], [local, doors]);
    this.#facts = facts;
    this.#tellFacts();
    if (moved) this.#paths.network();
    if (moved) this.#ways.moved();
    if (this.#started) this.#schedule();
  }

  #tellFacts(): void {
    const { local, mtuBytes } = this.#facts;
    const { mapped, pin: tlsPin } = this.#ways;
    const beside = { routes: this.gateways.told(), edge: this.#edge.now };
    this.#options.role.setFacts({ local, mapped, mtuBytes, hubs: this.#hubs, tlsPin, ...beside });
  }

  /** A word in the tunnel, so that each hub's WireGuard sees where this node is now. */
  #greetHubs(): void {
    const send = (socket: UdpSocket) => {
      for (const hub of this.view().nodes)
        if (hub.hub) socket.send(new Uint8Array(1), formatIp(hub.overlay4), GREETING_PORT);
    };
    if (this.#greeter !== undefined) return send(this.#greeter);
    openUdp().then(
      (socket) => {
        if (this.#closed) return socket.close();
        this.#greeter ??= this.#resources.use(socket);
        send(this.#greeter);
      },
      (error: unknown) => warn("cannot greet the hubs", { error }),
    );
  }

  /** peers returns what the device says; nothing while the tunnel is not there. */
  peers(): readonly PeerState[] {
    if (this.#reading !== undefined) return this.#reading;
    try {
      return this.#options.tunnel.tunnel?.device.read().peers ?? [];
    } catch {
      // The tunnel's own supervision says why.
      return [];
    }
  }

  view(): MeshView {
    return this.#options.role.view();
  }

  get mtuBytes(): number {
    return this.#facts.mtuBytes;
  }

  /** explain says why a node's path is what it is; undefined for hubs, and on a hub. */
  explain(name: string): LadderExplanation | undefined {
    return this.#paths.explain(name);
  }

  /** leave gives back what this node asked of its router, and ends its TLS connections. */
  leave(): Promise<void> {
    return this.#ways.leave();
  }

  /** ways returns what helps this node to be reached. */
  get ways(): Pick<Ways, "portMappings" | "tls"> {
    return this.#ways;
  }

  /** relay returns what is relayed here; undefined on a node that relays nothing. */
  get relay() {
    return this.#relaying.shown(this.view(), this.#options.tunnel.tunnel?.relay);
  }

  /** hubs returns what is known of the hubs' health. */
  get hubs(): MeshPaths["hubs"] {
    return this.#paths.hubs;
  }

  /** scopes lists what this node's mesh put into the engine. */
  get scopes(): readonly string[] {
    return this.#scopes.names();
  }

  /** Weather must not end the agent; the next tick tries again. */
  #guarded(what: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      warn(`cannot ${what}`, { error });
    }
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#watching?.[Symbol.dispose]();
    this.#refreshing?.[Symbol.dispose]();
    this.#resources.dispose();
    this.#options.role[Symbol.dispose]();
  }
}
