/**
 * A node of a mesh, running: register and own findings become facts, facts become desired state, the engine makes it so.
 * Once a second the tunnel's device is read; what it says moves paths, and on the hub is written into the register.
 */
import type { CniService } from "../cni/mod.ts";
import { type Engine, sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import {
  ENROL_PORT,
  GOSSIP_PORT,
  heardNext,
  type LadderExplanation,
  type MeshFacts,
  meshObjects,
  peerObjects,
  peerScope,
  SYNC_PORT,
  relayPolicy,
  tunnelMtu,
} from "../mesh/mod.ts";
import {
  type Endpoint,
  formatIp,
  parseIp,
  type PeerState,
  type Prefix,
  type PrivateKey,
} from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { OwnPort } from "../pods/mod.ts";
import type { HubDistance, Mesh, Node } from "../resources/mod.ts";
import { after, boottimeMs, every, monotonicMs, openUdp, type UdpSocket } from "../sys/mod.ts";
import { warn } from "./log.ts";
import { MeshPaths } from "./mesh-paths.ts";
import { peerKeys } from "./peer-keys.ts";
import { Resolver } from "./resolver.ts";
import type { Role, SelfFacts } from "./role.ts";
import type { TunnelHolder } from "./tunnel-holder.ts";
import { type WayOptions, Ways } from "./ways.ts";
import { localEndpoints, underlayMtu } from "./underlay.ts";

const TICK_MS = 1000;
/** How often a node's next key is looked for while it changes its key. */
const NEXT_KEY_MS = 50;
/** A pod with one of these would speak for the node to the whole cluster. */
const clusterPorts: readonly OwnPort[] = [
  { protocol: "tcp", port: 10250, purpose: "kubelet" },
  { protocol: "tcp", port: 6443, purpose: "the Kubernetes API" },
  { protocol: "tcp", port: 2379, purpose: "etcd" },
  { protocol: "tcp", port: 2380, purpose: "etcd" },
];

/** Own addresses and MTU are looked at again after this time. */
const FACTS_MS = 10_000;
/** Changes that come together are planned together. */
const REFRESH_MS = 10;
/** A sleep of the machine is noticed from this length on. */
const SLEPT_MS = 5_000;
/** Where hubs are greeted: nobody needs to listen (discard, RFC 863). */
const GREETING_PORT = 9;
const GREETED_AGAIN_MS = [300, 1000] as const;
/** Routes that router advertisements made (linux/rtnetlink.h). */
const RTPROT_RA = 9;

/** JoinedOptions are the parts that a joined node is made of. */
export interface JoinedOptions {
  readonly engine: Engine;
  readonly cni: CniService;
  readonly role: Role;
  readonly key: PrivateKey;
  readonly tunnel: TunnelHolder;
  readonly ways: WayOptions;
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
  readonly #resolver = new Resolver(() => this.#schedule());
  readonly #resources = new DisposableStack();
  #scopes = new Set<string>();
  #facts: Pick<SelfFacts, "local" | "mtuBytes"> & { readonly advertisedLinks: readonly string[] } = {
    local: [],
    mtuBytes: 1280,
    advertisedLinks: [],
  };
  #hubs: readonly HubDistance[] = [];
  #underlayMtuBytes = 1500;
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

  constructor(options: JoinedOptions) {
    this.#options = options;
    this.#paths = this.#resources.use(
      new MeshPaths(options.key, {
        device: () => this.peers(),
        use: (names) => this.#guarded("set paths", () => this.#move(names)),
        invite: (name) => options.role.invite(name),
        distances: (hubs) => {
          const reached = hubs.map(({ hub }) => hub);
          const lost = this.#hubs.map(({ hub }) => hub).filter((name) => !reached.includes(name));
          this.#hubs = hubs;
          options.role.hubsReached(reached, lost);
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
      }),
    );
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
        onConnection: () => {},
        onKeyChanged: this.#options.onKeyChanged,
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
    const facts = this.#meshFacts(view);
    const scopes = meshObjects(facts);
    // What goes makes room first: a key or a prefix may move from one scope to another.
    for (const scope of this.#scopes) if (!scopes.has(scope)) engine.remove(scope);
    for (const [scope, objects] of scopes) engine.set(scope, objects);
    this.#scopes = new Set(scopes.keys());
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
        ...clusterPorts,
      ],
      services: mesh.services,
    });
    engine.apply();
    this.#relay(view);
    this.#listen(view);
  }

  /** Moves single paths: what changes is one peer's endpoint each, so nothing else is computed. */
  #move(names: readonly string[]): void {
    const { engine, role } = this.#options;
    const view = role.view();
    if (!this.#begun || view.self === undefined) return;
    const facts = this.#meshFacts(view);
    for (const node of view.nodes) {
      const scope = peerScope(node.name);
      if (!names.includes(node.name) || !this.#scopes.has(scope)) continue;
      engine.set(scope, peerObjects(node, facts));
      engine.apply(scope);
    }
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
      linkMtuBytes: this.#underlayMtuBytes,
    });
  }

  #meshFacts(view: MeshView): MeshFacts {
    const { role, key, tunnel } = this.#options;
    const { mesh, self, nodes } = view;
    return {
      mesh,
      self: self as Node,
      nodes,
      privateKey: key,
      tunnelLink: tunnel.tunnel?.linkType ?? "external",
      listenPort: mesh.listenPort,
      mtuBytes: this.#facts.mtuBytes,
      advertisedLinks: this.#facts.advertisedLinks,
      paths: this.#paths.paths(),
      enrolments: role.enrolments(),
      peers: view.peers,
      pairKeys: role.pairKeys,
      heardNext: this.#heardNext,
      ...(role.hub ? { presharedKeys: peerKeys() } : {}),
    };
  }

  /** A hub relays for the pairs that may talk. */
  #relay(view: MeshView): void {
    const { role, tunnel } = this.#options;
    const relay = tunnel.tunnel?.relay;
    if (!role.hub || relay === undefined) return;
    const nodes = view.nodes.filter((node) => !node.hub);
    relay.set({ enabled: true, ...relayPolicy(view.mesh, nodes) });
  }

  /** The device has its port by now. */
  #listen(view: MeshView): void {
    const { tunnel } = this.#options;
    if (tunnel.tunnel !== undefined) this.#paths.listen(tunnel.tunnel, view.mesh.listenPort);
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
      role.observe(this.peers());
      this.#lookForNext();
      this.#paths.relays(role.hub ? this.#options.tunnel.tunnel?.dataplane?.life : undefined);
      this.#paths.observe();
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
      // Names that are due are looked up again; what changed comes back by itself.
      this.#resolve(role.view());
    });
  }

  /** What this node's own interfaces say; told to the register when it changed. */
  #readFacts(): void {
    this.#factsMs = monotonicMs();
    const { role } = this.#options;
    const { mesh } = role.view();
    this.#mesh = mesh;
    using route = Rtnetlink.open();
    const links = route.links();
    const routes = route.routes();
    const local = localEndpoints(links, route.addresses(), {
      port: mesh.listenPort,
      without: networksOf(mesh),
    });
    const outward = this.#paths.outward?.ip ?? parseIp("192.0.2.1");
    // A direct peer may be met over IPv6, whose header is longer.
    const outerFamily = outward.family === 6 || local.some(({ ip }) => ip.family === 6) ? 6 : 4;
    this.#underlayMtuBytes = underlayMtu(routes, links, outward);
    const mtuBytes = mesh.mtuBytes ?? tunnelMtu({ underlayBytes: this.#underlayMtuBytes, outerFamily });
    const advertised = new Set(
      routes
        .filter((entry) => entry.protocol === RTPROT_RA)
        .flatMap((entry) => entry.hops.map((hop) => hop.linkIndex)),
    );
    const advertisedLinks = links.filter((link) => advertised.has(link.index)).map((link) => link.name);
    const facts = { local, mtuBytes, advertisedLinks };
    if (sameValue(facts, this.#facts)) return;
    const moved = !sameValue(local, this.#facts.local);
    this.#facts = facts;
    this.#tellFacts();
    if (moved) this.#paths.network();
    if (moved) this.#ways.moved();
    if (this.#started) this.#schedule();
  }

  #tellFacts(): void {
    const { local, mtuBytes } = this.#facts;
    const { mapped, pin: tlsPin } = this.#ways;
    this.#options.role.setFacts({ local, mapped, mtuBytes, hubs: this.#hubs, tlsPin });
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

  /** hubs returns what is known of the hubs' health. */
  get hubs(): MeshPaths["hubs"] {
    return this.#paths.hubs;
  }

  /** scopes lists what this node's mesh put into the engine. */
  get scopes(): readonly string[] {
    return [...this.#scopes];
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

/** The networks that only the tunnel carries. */
function networksOf(mesh: Mesh): Prefix[] {
  return [mesh.overlay4, mesh.overlay6, mesh.enrol6, mesh.pods4, mesh.pods6].filter(
    (prefix) => prefix !== undefined,
  );
}
