/**
 * The agent: owns engine, tunnel, CNI service and sockets, and takes the node from unjoined to hub or member and back.
 *
 * ```
 *  start ─▶ unjoined ── init ──▶ hub ─────┐
 *              │ ▲                        │ leave, removed
 *              └─┼── join ──▶ member ─────┤
 *                └────────────────────────┘
 * ```
 * Stopping touches nothing: the kernel goes on, and the next agent's first plan is empty.
 */
import { CniService, type PodFactsSource, serveCni, TOMBSTONES } from "../cni/mod.ts";
import { Engine, type ObjectStatus } from "../engine/mod.ts";
import { type Enrolled, meshView, parseToken, type Token, tokenHubs } from "../hub/mod.ts";
import { formatIp, formatPrefix, parseIp } from "../net/mod.ts";
import { Rtnetlink } from "../netlink/mod.ts";
import { type Mesh, newMesh, type Node, nameProblem } from "../resources/mod.ts";
import { exists, hostName, type LineServer, listDirectory, removeTree, sleep } from "../sys/mod.ts";
import type { TunnelWish } from "../tunnel/mod.ts";
import { DomainHost } from "./domain-host.ts";
import { endRules } from "./end-rules.ts";
import { enrolHere } from "./enrolling.ts";
import { checkEtcd, type EtcdGiven, etcdOf } from "./etcd-config.ts";
import { Generations } from "./generations.ts";
import { joinedHub, newHub, storedHub } from "./hub-files.ts";
import { HubRole } from "./hub-role.ts";
import { nodeKey, takeNodeKey, storeNodeSecret } from "./identity.ts";
import { addImported, type Imported, importedKey } from "./imported.ts";
import type { RelayOptions } from "./hub-relaying.ts";
import { Joined } from "./joined.ts";
import { info, warn } from "./log.ts";
import { loadMembership, MemberRole, storeMembership } from "./member-role.ts";
import { EARLIER_SETTINGS, STATE } from "./paths.ts";
import { followPods, type PodFactsGiven } from "./pod-facts.ts";
import type { Role } from "./role.ts";
import { TakingUp } from "./taking-up.ts";
import { TLS_PLACE, TlsHolder } from "./tls-holder.ts";
import { joiningWish, storedTls, storeTls, type TlsGiven, tlsWish } from "./tls-wish.ts";
import { TunnelHolder } from "./tunnel-holder.ts";
import { ownAddressIn } from "./underlay.ts";
import type { ClusterBgp } from "./cluster-bgp.ts";
import { OPERATOR_TLS, type WayOptions } from "./ways.ts";

/** Files that belong to the membership, and end with it. */
const MEMBERSHIP_FILES = /^(?:node\.key|register\.|member\.|announced\.|pods\.|vpcs\.)/;

/** How long the hub may take to be seen after a node joined. */
const CONNECT_LIMIT_MS = 30_000;

type Progress = (text: string) => void;

/** AgentOptions are what the operator of this machine wants. */
export interface AgentOptions extends Pick<WayOptions, "portMapping">, RelayOptions {
  readonly tunnel: TunnelWish;
  /** What it does not say may be said when the node joins. */
  readonly tls: TlsGiven;
  readonly pods: PodFactsGiven;
}

/** Agent is the process's one object. */
export class Agent implements Disposable {
  readonly engine: Engine;
  readonly tunnel: TunnelHolder;
  cni: CniService;
  #cniServer: LineServer;
  joined: Joined | undefined;
  role: Role | undefined;
  /** Why the stored membership cannot be taken up. The kernel then stays as it is, until somebody repairs the files or gives up. */
  #broken: Error | undefined;
  /** Writing operations come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #generations = new Generations();
  readonly #takingUp = this.#newTakingUp();
  readonly #options: AgentOptions;
  readonly #bgp: ClusterBgp;
  readonly #pods: Disposable;
  #podFacts: PodFactsSource | undefined;

  private constructor(options: AgentOptions, bgp: ClusterBgp) {
    this.#options = options;
    this.#bgp = bgp;
    this.tunnel = new TunnelHolder(options.tunnel, () => {
      this.engine.round();
      this.joined?.tunnelAnew();
    });
    this.engine = Engine.open({
      wireguard: (link) => this.tunnel.device(link),
      settingsFile: EARLIER_SETTINGS,
      onChange: (status) => logStatus(status),
    });
    this.cni = this.#openCni();
    this.#cniServer = serveCni(this.cni);
    this.#pods = followPods(options.pods, (facts) => {
      this.#podFacts = facts;
      this.cni.setPodFacts(facts);
    });
  }

  /** The node's edge: what there is of it, and its end. */
  get bgp(): Pick<ClusterBgp, "edge" | "leave"> {
    return this.#bgp;
  }

  /** start brings the node up as it was, or waits to be told. */
  static async start(options: AgentOptions, bgp: ClusterBgp): Promise<Agent> {
    const agent = new Agent(options, bgp);
    let role: Role | undefined;
    try {
      role = storedRole();
    } catch (error) {
      agent.#broken = error instanceof Error ? error : new Error(String(error));
      warn("the stored membership cannot be taken up", { error });
    }
    if (role !== undefined) await agent.#run(role);
    else if (agent.#broken === undefined) {
      agent.#endVpcs();
      bgp.follow(agent.engine, undefined);
      agent.engine.apply({ prune: true });
    }
    agent.engine.start();
    return agent;
  }

  #brokenText(broken: Error): string {
    return `what is stored of this node's mesh cannot be used (${broken.message}); restore ${STATE} and restart the agent, or give it up: causeway leave --force`;
  }

  #openCni(): CniService {
    const cni = CniService.open({
      engine: this.engine,
      folder: STATE,
      tombstones: TOMBSTONES,
      dataPath: ["pods", "mesh"],
      onProblem: (error) => warn("cni", { error }),
    });
    cni.setPodFacts(this.#podFacts);
    return cni;
  }

  async #run(role: Role): Promise<void> {
    const { engine, cni, tunnel } = this;
    const joined: Joined = new Joined({
      engine,
      cni,
      bgp: this.#bgp,
      folder: STATE,
      role,
      key: nodeKey(),
      tunnel,
      ways: { portMapping: this.#options.portMapping, ...this.#tls() },
      relaying: this.#options,
      generations: this.#generations,
      onRemoved: () => {
        warn("this node was removed from the mesh");
        // By the time of its turn the node may have left already, and joined again.
        this.inTurn(async () => {
          if (this.joined === joined) await this.#forget();
        }).catch((error: unknown) => warn("cannot leave", { error }));
      },
      onKeyChanged: () => this.#takingUp.begin(joined),
    });
    this.role = role;
    this.joined = joined;
    await joined.start();
    info(role.hub ? "this node is the hub" : "this node is a member", {
      node: role.name,
      revision: role.revision,
    });
  }

  /** What is in the kernel stays, and the first plan changes the device's key. */
  #newTakingUp(): TakingUp<Role> {
    return new TakingUp<Role>({
      inTurn: (work) => this.inTurn(work),
      now: () => this.joined ?? this.#broken,
      isHub: () => this.role?.hub === true,
      end: () => this.#end(),
      stored: storedRole,
      run: (role) => {
        this.#broken = undefined;
        return this.#run(role);
      },
      failed: (why) => {
        this.#end();
        this.#broken = why;
      },
    });
  }

  #end(): void {
    this.joined?.[Symbol.dispose]();
    this.joined = undefined;
    this.role = undefined;
  }

  /** What holds of TLS: what this agent was started with, else what was said when the node joined. */
  #tls(): Pick<WayOptions, "tls" | "pins"> {
    const { given, pins } = storedTls();
    return { tls: tlsWish(this.#options.tls, given), pins };
  }

  /** inTurn runs one writing operation after the other. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(work, work);
    this.#turn = next.catch(() => undefined);
    return next;
  }

  #mustBeFree(what: string): void {
    if (this.#broken !== undefined) throw new Error(`Cannot ${what}: ${this.#brokenText(this.#broken)}`);
    if (this.role === undefined) return;
    throw new Error(
      `Cannot ${what}: this node belongs to a mesh already, as ${this.role.name}; leave it first: causeway leave`,
    );
  }

  /** init makes a mesh with this node as its hub. */
  async init(options: {
    readonly name?: string | undefined;
    readonly endpoints: readonly string[];
    readonly spec: { readonly [field: string]: string | number | readonly string[] | undefined };
    /** Where the register is to be shared; absent: this hub keeps it alone. */
    readonly etcd?: EtcdGiven | undefined;
    /** A generated mesh of plain WireGuard that this one begins with. */
    readonly imported?: Imported | undefined;
  }): Promise<Node> {
    this.#mustBeFree("make a mesh");
    const { imported } = options;
    const name = nodeName(imported?.hub.name ?? options.name);
    if (options.endpoints.length === 0)
      throw new Error(
        "Cannot make a mesh: no endpoint is given; say where nodes reach this hub: --endpoint HOST:51820",
      );
    const given = Object.fromEntries(Object.entries(options.spec).filter(([, value]) => value !== undefined));
    const mesh = newMesh("mesh", { ...given, endpoints: [...options.endpoints] } as never);
    mustNotHoldUs(
      mesh,
      "make a mesh",
      imported === undefined
        ? "give other networks, with --overlay4 or --pods4 (--overlay6, --pods6)"
        : "if it is the generated interface, take it down first: wg-quick down wg0, and disable its unit",
    );
    try {
      // First what can be missing on a machine: a mesh is stored only where it can run.
      await this.tunnel.open({ relays: true });
      if (imported !== undefined) takeNodeKey(importedKey(imported));
      const key = nodeKey();
      const { role, epoch } = await newHub(name, options.etcd);
      using undo = new DisposableStack();
      undo.use(role);
      const node = await role.registrar.init(
        mesh,
        {
          name,
          publicKey: key.publicKey,
          endpoints: options.endpoints,
          number: imported?.hub.number,
        },
        epoch,
      );
      if (imported !== undefined) await addImported(role.registrar, imported, name);
      undo.move();
      await this.#run(role);
      return node;
    } catch (error) {
      await this.#clear();
      throw error;
    }
  }

  /** join registers this node through a token and brings it up. */
  async join(options: {
    readonly token: string;
    readonly name?: string | undefined;
    readonly endpoints: readonly string[];
    readonly site?: string | undefined;
    /** Of a newcomer that becomes a hub. */
    readonly etcd?: EtcdGiven | undefined;
    readonly tls?: TlsGiven | undefined;
    readonly progress: Progress;
  }): Promise<Node> {
    this.#mustBeFree("join");
    const { tls = {} } = options;
    const wish = joiningWish(this.#options.tls, tls);
    const token = parseToken(options.token);
    if (token.role === "hub" && tls.mode !== undefined && tls.mode !== "never")
      throw new Error("Cannot join as a hub by TLS: hubs reach each other by UDP; leave --tls out");
    await mustFitHub(token, options);
    const name = token.node ?? nodeName(options.name);
    const { endpoints, site, progress } = options;
    const reached = tokenHubs(token).flatMap((hub) => hub.endpoints);
    progress(`tunnel to the hub at ${reached.join(", ")}`);
    const newcomer = { name, endpoints, key: nodeKey(), ...(site === undefined ? {} : { site }) };
    const { engine, tunnel } = this;
    const enrolled = await enrolHere(token, { engine, tunnel, tls: wish, newcomer, progress });
    options.progress(`registered as ${enrolled.name}`);
    try {
      const { mesh } = meshView(enrolled.state.entries, enrolled.name);
      mustNotHoldUs(
        mesh,
        "join",
        `renumber this machine; then, at the hub: causeway node remove ${enrolled.name}`,
      );
    } catch (error) {
      await this.#clear();
      throw error;
    }
    if (token.role !== "hub") storeTls(tls, tokenHubs(token));
    const role = await this.#joinedRole(token, enrolled, options.etcd);
    await this.#run(role);
    await this.#seen(role, options.progress);
    const { self } = role.view();
    if (self === undefined)
      throw new Error(
        `Cannot join: node ${role.name} was removed at the hub meanwhile; join with a new token`,
      );
    return self;
  }

  async #joinedRole(token: Token, enrolled: Enrolled, etcd: EtcdGiven | undefined): Promise<Role> {
    const { name, secret, state } = enrolled;
    storeNodeSecret(enrolled.nodeSecret);
    if (secret !== undefined && etcd !== undefined) {
      try {
        return await joinedHub(name, secret, etcd);
      } catch (error) {
        await this.#clear();
        throw error;
      }
    }
    const endpoints = tokenHubs(token).flatMap((hub) => hub.endpoints);
    const membership = { name, signingKey: token.signingKey, endpoints };
    storeMembership(membership, state);
    const role = new MemberRole(membership);
    // The one that answered is there.
    const first = role.view().nodes.find((node) => node.publicKey === enrolled.hubKey);
    if (first !== undefined) role.hubsReached([first.name], []);
    return role;
  }

  /** A node has joined when the hub hears it with its own key. */
  async #seen(role: Role, progress: Progress): Promise<void> {
    progress("waiting for the hub to hear this node");
    for (let waitedMs = 0; !role.connected && waitedMs < CONNECT_LIMIT_MS; waitedMs += 50) await sleep(50);
    if (!role.connected) progress("the hub has not answered yet; the node goes on trying");
  }

  /** leave ends the membership, without `force` only when the hub knows of it. */
  async leave(options: { readonly force: boolean; readonly progress: Progress }): Promise<void> {
    const { role } = this;
    if (this.#broken !== undefined) {
      if (!options.force) throw new Error(`Cannot leave: ${this.#brokenText(this.#broken)}`);
      options.progress("the hub was not told; remove the node there: causeway node remove");
      // A user-space tunnel that still runs is taken over, so that it can be ended.
      await this.tunnel.open().catch((error: unknown) => warn("cannot take the tunnel over", { error }));
      return this.#clear();
    }
    if (role === undefined) throw new Error("Cannot leave: this node belongs to no mesh");
    const last = role instanceof HubRole && role.register.hubs().length <= 1;
    if (last && !options.force)
      throw new Error(
        "Cannot leave: this node is the hub, and its register ends with it; to end the whole mesh: causeway leave --force",
      );
    if (!last) {
      try {
        if (role instanceof HubRole) await role.registrar.removeHub(role.name);
        else if (role instanceof MemberRole) await role.leave();
        options.progress("the hub has removed this node");
      } catch (error) {
        if (!options.force) throw error;
        options.progress("the hub was not told; remove the node there: causeway node remove");
      }
    }
    await this.#forget();
    if (exists(OPERATOR_TLS.keyPath))
      options.progress(
        `${OPERATOR_TLS.keyPath} is the operator's and stays; remove it if it is of no more use`,
      );
  }

  /** forget removes everything that was made, and every file of the membership. */
  async #forget(): Promise<void> {
    if (this.role !== undefined) await this.#clear();
  }

  /** Namespaces of VPCs go before the guard of VXLAN does: what stayed would be open to everybody. */
  #endVpcs(): void {
    const node = { vtep: parseIp("0.0.0.0"), underlayLink: "lo", underlayMtuBytes: 1500 };
    const onProblem = (error: Error) => warn("vpcs", { error });
    using host = DomainHost.open({ home: this.engine, node, onProblem });
    host.sweep();
    for (const scope of this.engine.scopes()) if (scope.startsWith("domains/")) this.engine.remove(scope);
  }

  /** The files go first: an agent that ends half-way finds no membership when it starts, and removes what is left in the kernel. */
  async #clear(): Promise<void> {
    await this.joined?.leave();
    this.joined?.gateways.leave();
    this.#end();
    this.#bgp.follow(this.engine, undefined);
    this.#endVpcs();
    this.#broken = undefined;
    this.#cniServer.close();
    this.cni.setNode(undefined);
    this.cni.close();
    try {
      for (const name of membershipFiles()) removeTree(`${STATE}/${name}`);
      for (const scope of this.engine.scopes()) if (!scope.startsWith("edge/")) this.engine.remove(scope);
      const { failed } = this.engine.apply({ prune: true });
      for (const status of failed) warn("cannot remove", { object: status.key, reason: status.reason ?? "" });
      await this.tunnel.destroy();
      await endRules();
      // Of a membership that was not taken up.
      await TlsHolder.end(TLS_PLACE);
    } finally {
      this.cni = this.#openCni();
      this.#cniServer = serveCni(this.cni);
    }
  }

  [Symbol.dispose](): void {
    this.#takingUp[Symbol.dispose]();
    this.#pods[Symbol.dispose]();
    this.#cniServer.close();
    this.engine.stop();
    this.joined?.[Symbol.dispose]();
    this.cni.close();
    this.tunnel[Symbol.dispose]();
    this.engine[Symbol.dispose]();
  }
}

/** The files of the membership, what makes it one (member.json, register.db) before the keys. */
function membershipFiles(): string[] {
  const first = (name: string) => (/^(?:member\.json|register\.db)$/.test(name) ? 0 : 1);
  return listDirectory(STATE)
    .filter((name) => MEMBERSHIP_FILES.test(name))
    .sort((a, b) => first(a) - first(b));
}

/** What comes from the mesh's networks by another way than the tunnel is dropped: with its own network among them, a machine would be cut off. */
function mustNotHoldUs(mesh: Mesh, what: string, fix: string): void {
  const networks = [mesh.overlay4, mesh.overlay6, mesh.enrol6, mesh.pods4, mesh.pods6];
  using route = Rtnetlink.open();
  const found = ownAddressIn(
    networks.filter((prefix) => prefix !== undefined),
    route.links(),
    route.addresses(),
  );
  if (found !== undefined)
    throw new Error(
      `Cannot ${what}: this machine's own address ${formatIp(found.ip)} is in ${formatPrefix(found.prefix)} of the mesh; ${fix}`,
    );
}

/** Whether a node becomes a hub is the token's word; what a hub needs is checked before the token is used. */
async function mustFitHub(
  token: Token,
  options: { readonly endpoints: readonly string[]; readonly etcd?: EtcdGiven | undefined },
): Promise<void> {
  const { etcd, endpoints } = options;
  if (token.role !== "hub") {
    if (etcd === undefined) return;
    throw new Error(
      "Cannot join as a hub: the token is for a node; ask for one made with causeway token create --role hub",
    );
  }
  const what = "join as a hub";
  if (etcd === undefined)
    throw new Error(
      `Cannot ${what}: a hub shares the register in etcd; give --etcd-ca, --etcd-cert and --etcd-key (and --etcd where its addresses are others here)`,
    );
  if (endpoints.length === 0)
    throw new Error(
      `Cannot ${what}: no endpoint is given; say where nodes reach this hub: --endpoint HOST:51820`,
    );
  if (etcd.endpoints.length > 0) await checkEtcd(etcdOf(etcd, what), what);
}

function nodeName(given: string | undefined): string {
  const name = given ?? hostName();
  const problem = nameProblem(name);
  if (problem !== undefined)
    throw new Error(`The node's name "${name}" ${problem}; give another with --name`);
  return name;
}

/** storedRole returns what this node was before the agent started. */
function storedRole(): Role | undefined {
  const hub = storedHub();
  if (hub !== undefined) return hub;
  const membership = loadMembership();
  return membership && new MemberRole(membership);
}

function logStatus(status: ObjectStatus): void {
  if (status.state === "failed")
    warn("object failed", { scope: status.scope, object: status.key, reason: status.reason ?? "" });
}
