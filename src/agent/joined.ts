/**
 * A node of a mesh, running: register and own findings become facts, facts become desired state, the engine makes it so.
 * Once a second the tunnel's device is read; what it says moves paths, and on the hub is written into the register.
 */
import type { CniService } from "../cni/mod.ts";
import { type Engine, sameValue } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import { ENROL_PORT, meshObjects, SYNC_PORT, tunnelMtu } from "../mesh/mod.ts";
import { type Endpoint, parseIp, type PeerState, type PrivateKey } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import type { OwnPort } from "../pods/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import { after, every, monotonicMs, sleep, wallMs } from "../sys/mod.ts";
import { info, warn } from "./log.ts";
import { PeerPaths, type Tick } from "./peer-paths.ts";
import type { Role, SelfFacts } from "./role.ts";
import type { TunnelHolder } from "./tunnel-holder.ts";
import { localEndpoints, underlayMtu } from "./underlay.ts";

const TICK_MS = 1000;
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
/** Resolving the hub's name may take so long before the node comes up without it; the answer is used when it comes. */
const RESOLVE_PATIENCE_MS = 2_000;
/** Routes that router advertisements made (linux/rtnetlink.h). */
const RTPROT_RA = 9;

/** JoinedOptions are the parts that a joined node is made of. */
export interface JoinedOptions {
  readonly engine: Engine;
  readonly cni: CniService;
  readonly role: Role;
  readonly key: PrivateKey;
  readonly tunnel: TunnelHolder;
  /** The register no longer holds this node. */
  readonly onRemoved: () => void;
}

/** Joined runs a node's part of the mesh until it is disposed; disposing leaves the kernel as it is. */
export class Joined implements Disposable {
  readonly #options: JoinedOptions;
  readonly #paths = new PeerPaths();
  readonly #resources = new DisposableStack();
  #scopes = new Set<string>();
  #facts: SelfFacts & { readonly advertisedLinks: readonly string[] } = {
    local: [],
    mtuBytes: 1280,
    advertisedLinks: [],
  };
  #hubEndpoint: Endpoint | undefined;
  #mesh: Mesh | undefined;
  #factsMs = Number.NEGATIVE_INFINITY;
  #enrolments = "";
  #refreshing: Disposable | undefined;
  #begun = false;
  #started = false;
  #closed = false;

  constructor(options: JoinedOptions) {
    this.#options = options;
  }

  /** start brings the node up from what it knows; the hub may be away. Resolves when the first state is applied, or will be tried again. */
  async start(): Promise<void> {
    const { role, tunnel } = this.#options;
    await tunnel.open();
    this.#hubEndpoint = await Promise.race([
      role.hubEndpoint(),
      sleep(RESOLVE_PATIENCE_MS).then(() => undefined),
    ]);
    if (this.#closed) return;
    this.#guarded("set up this node", () => this.#begin());
    this.#startRole();
    this.#resources.use(every(TICK_MS, () => this.#onTick()));
  }

  #begin(): void {
    const { engine, role } = this.#options;
    this.#readFacts();
    this.#paths.update(role.view(), this.#tick());
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
            const tick = this.#tick();
            // First what WireGuard has learned by itself: a path that works is not to be tried elsewhere.
            this.#paths.observe(view, tick);
            this.#paths.update(view, tick);
            this.#perform();
            // The mesh's settings decide the MTU and what counts as an address of this node.
            if (!sameValue(view.mesh, this.#mesh)) this.#readFacts();
            this.#schedule();
          }),
        onInvited: (peer) => {
          this.#paths.invited(peer, monotonicMs());
          this.#perform();
        },
        onConnection: () => {},
        onGone: onRemoved,
      });
      this.#started = true;
    } catch (error) {
      warn("the hub's services cannot start yet", { error });
    }
  }

  /** refresh computes the desired state anew and applies what differs. */
  #refresh(): void {
    const { engine, cni, role, key, tunnel } = this.#options;
    const view = role.view();
    if (view.self === undefined) return;
    // What WireGuard has learned since is not to be undone by what was wanted before.
    this.#paths.observe(view, this.#tick());
    this.#perform();
    const { mesh, self, nodes } = view;
    const scopes = meshObjects({
      mesh,
      self,
      nodes,
      privateKey: key,
      tunnelLink: tunnel.tunnel?.linkType ?? "external",
      listenPort: mesh.listenPort,
      mtuBytes: this.#facts.mtuBytes,
      advertisedLinks: this.#facts.advertisedLinks,
      paths: this.#paths.uses(view),
      enrolments: role.enrolments(),
      ...(this.#hubEndpoint === undefined ? {} : { hubEndpoint: this.#hubEndpoint }),
    });
    // What goes makes room first: a key or a prefix may move from one scope to another.
    for (const scope of this.#scopes) if (!scopes.has(scope)) engine.remove(scope);
    for (const [scope, objects] of scopes) engine.set(scope, objects);
    this.#scopes = new Set(scopes.keys());
    cni.setNode({
      ranges: [self.pods4, self.pods6].filter((range) => range !== undefined),
      mtuBytes: this.#facts.mtuBytes,
      ownPorts: [
        { protocol: "udp", port: mesh.listenPort, purpose: "the tunnel" },
        // The hub's; but where a pod can run must not depend on which node is the hub.
        { protocol: "tcp", port: ENROL_PORT, purpose: "the enrolment service" },
        { protocol: "tcp", port: SYNC_PORT, purpose: "the register" },
        ...clusterPorts,
      ],
      services: mesh.services,
    });
    engine.apply();
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
      const tick = this.#tick();
      role.observe(tick.peers);
      const view = role.view();
      this.#paths.observe(view, tick);
      this.#perform();
      const enrolments = JSON.stringify(
        role.enrolments().map(({ id, uses }) => [id, uses.map((use) => use.publicKey)]),
      );
      if (enrolments !== this.#enrolments) {
        this.#enrolments = enrolments;
        this.#schedule();
      }
      if (tick.nowMs - this.#factsMs > FACTS_MS) this.#readFacts();
    });
    this.#options.role.hubEndpoint().then(
      (endpoint) => {
        if (endpoint === undefined || endpoint === this.#hubEndpoint) return;
        this.#hubEndpoint = endpoint;
        this.#schedule();
      },
      (error: unknown) => warn("cannot resolve the hub's endpoint", { error }),
    );
  }

  #perform(): void {
    for (const { peer, effect } of this.#paths.effects()) {
      if (effect.kind === "use") this.#schedule();
      else if (effect.kind === "invite") this.#options.role.invite(peer);
      else {
        info(effect.up ? "direct path heard" : "direct path lost", { peer });
        this.#options.role.report(peer, effect.up);
      }
    }
  }

  /** What this node's own interfaces say; told to the register when it changed. */
  #readFacts(): void {
    this.#factsMs = monotonicMs();
    const { role } = this.#options;
    const { mesh, self } = role.view();
    this.#mesh = mesh;
    using route = Rtnetlink.open();
    const links = route.links();
    const routes = route.routes();
    const without = [mesh.overlay4, mesh.overlay6, mesh.enrol6, mesh.pods4, mesh.pods6].filter(
      (p) => p !== undefined,
    );
    const local = localEndpoints(links, route.addresses(), { port: mesh.listenPort, without });
    const outward = this.#hubEndpoint?.ip ?? self?.endpoints[0]?.ip ?? parseIp("192.0.2.1");
    // A direct peer may be met over IPv6, whose header is longer.
    const outerFamily = outward.family === 6 || local.some(({ ip }) => ip.family === 6) ? 6 : 4;
    const mtuBytes =
      mesh.mtuBytes ?? tunnelMtu({ underlayBytes: underlayMtu(routes, links, outward), outerFamily });
    const advertised = new Set(
      routes
        .filter((entry) => entry.protocol === RTPROT_RA)
        .flatMap((entry) => entry.hops.map((hop) => hop.linkIndex)),
    );
    const advertisedLinks = links.filter((link) => advertised.has(link.index)).map((link) => link.name);
    const facts = { local, mtuBytes, advertisedLinks };
    if (sameValue(facts, this.#facts)) return;
    this.#facts = facts;
    role.setFacts({ local, mtuBytes });
    if (this.#started) this.#schedule();
  }

  #tick(): Tick {
    return { nowMs: monotonicMs(), wallMs: wallMs(), peers: this.peers() };
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

  /** explain says why a node's path is what it is. */
  explain(name: string): ReturnType<PeerPaths["explain"]> {
    return this.#paths.explain(name, this.view().direct.has(name));
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
    this.#refreshing?.[Symbol.dispose]();
    this.#resources.dispose();
    this.#options.role[Symbol.dispose]();
  }
}
