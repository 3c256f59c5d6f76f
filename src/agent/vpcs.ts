/**
 * Vpcs: this node's part in tenants' networks. It puts together what others know how to do:
 *
 * ```
 *  register ─▶ domains ─▶ DomainHost (kernel) ─▶ what is active ─▶ VpcAnnouncer ─▶ BGP ─▶ reflectors
 *  plugin ─▶ add: which segment? ─▶ SubnetPool: address ─▶ disk ─▶ kernel ─▶ BGP ─▶ answer
 *  BGP ─▶ RemoteTable: who is where ─▶ DomainHost
 * ```
 */
import type { Speaker } from "../bgp/mod.ts";
import { type CniService, CniError, type VpcAttached, type VpcNetwork, type VpcWish } from "../cni/mod.ts";
import {
  bridgeOf,
  clusterRouter,
  type Domain,
  type DomainNode,
  isReflector,
  mayServe,
  type LocalAttachment,
  openDomain,
  portMac,
  portOf,
  type RemoteChange,
  type Segment,
} from "../domain/mod.ts";
import { type Engine, sameValue, weather } from "../engine/mod.ts";
import type { MeshView } from "../hub/mod.ts";
import { type Attachment, type BlockClaims, SubnetPool } from "../ipam/mod.ts";
import type { Mac } from "../net/mod.ts";
import { podId } from "../pods/mod.ts";
import { after, every, monotonicMs, type Netns } from "../sys/mod.ts";
import type { ClusterBgp } from "./cluster-bgp.ts";
import { checkAttached } from "./vpc-check.ts";
import type { DomainHost } from "./domain-host.ts";
import { awaitUp } from "./domain-port.ts";
import type { FabricPodStore } from "./fabric-pods.ts";
import { OpenDomains } from "./open-domains.ts";
import { ReflectorGuard } from "./reflector-guard.ts";
import { hearVpcs } from "./vpc-hearing.ts";
import { VpcAnnouncer } from "./vpc-announcer.ts";
import { type ShownVpc, shownVpcs, withProblem } from "./vpc-shown.ts";
import { fabricPods, isFabric, type VpcSite } from "./vpc-site.ts";
import { openVpcParts, type VpcParts } from "./vpc-parts.ts";
import { VpcSettling } from "./vpc-settling.ts";
import { servicesWish } from "./vpc-services.ts";
import { sameSeats } from "./vpc-underlay.ts";
import { notThere, VpcKnown } from "./vpc-known.ts";
import { type StoredVpcPod, VpcStore } from "./vpc-store.ts";
import { lease } from "./vpc-lease.ts";
import { macOf, mtuOf, refusePort } from "./vpc-wish.ts";

/** How often addresses that are not needed are looked for. */
const SWEEP_MS = 5_000;
/** Between the domains of which what an earlier agent knew is forgotten, so that pods do not wait for all of them. */
const SETTLE_STEP_MS = 50;

/** VpcsOptions are the parts that it is made of. */
export interface VpcsOptions {
  /** Of the node's own namespace. */
  readonly engine: Engine;
  readonly cni: CniService;
  /** Folder of the agent's state. */
  readonly folder: string;
  readonly claims: BlockClaims;
  readonly bgp: ClusterBgp;
  readonly onProblem: (error: Error) => void;
}

/** Vpcs is disposed without touching the kernel. */
export class Vpcs implements VpcNetwork, Disposable {
  readonly #options: VpcsOptions;
  readonly #resources = new DisposableStack();
  readonly #store: VpcStore;
  readonly #pool: SubnetPool;
  readonly #announcer = new VpcAnnouncer();
  readonly #open = new OpenDomains();
  readonly #mesh: VpcKnown;
  #takesPart = false;
  readonly #settling = this.#resources.use(
    new VpcSettling({ speaker: () => this.#speaker, onSettled: () => this.#settle() }),
  );
  /** The next step of settling. */
  #step: Disposable | undefined;
  #parts: VpcParts | undefined;
  #downRoutes: ReadonlySet<string> = new Set();
  #speaker: Speaker | undefined;
  #listening: Disposable | undefined;
  readonly #guarding = new ReflectorGuard();
  readonly #fabricPods: FabricPodStore;

  constructor(options: VpcsOptions) {
    this.#options = options;
    this.#mesh = new VpcKnown(options.onProblem);
    const { store, isNewBoot } = VpcStore.open(options.folder);
    this.#store = this.#resources.use(store);
    this.#fabricPods = fabricPods(store);
    const onProblem = (text: string) => options.onProblem(new Error(text));
    this.#pool = new SubnetPool(store.database, { claims: options.claims, onProblem });
    if (isNewBoot) for (const pod of store.all()) this.#forget(pod);
    this.#pool.keepOnly((attachment) => store.get(attachment) !== undefined);
    this.#resources.use(
      every(SWEEP_MS, () => {
        const subnetOf = (name: string) => this.#mesh.now?.tenants.Subnet.get(name);
        this.#pool.sweep(monotonicMs(), subnetOf).catch((error: Error) => this.#lost(error));
      }),
    );
  }

  /** follow takes in what the register and the node's own interfaces say. */
  follow(view: MeshView, mtuBytes: number): void {
    const { mesh, self, tenants } = view;
    if (self === undefined) return;
    this.#options.bgp.follow(this.#options.engine, { mesh, self, tenants, pods: this.#fabricPods });
    const last = this.#mesh.now;
    const known = this.#mesh.take({ ...view, self }, mtuBytes);
    if (known === undefined) return;
    const { nodes, domains, node } = known;
    const moved = last?.node !== node;
    if (this.#parts === undefined) this.#begin(node);
    else {
      if (moved) {
        this.#parts.host.setNode(node);
        this.#parts.table.setOwn([node.vtep]);
      }
      if (last?.domains !== domains) this.#setDomains();
      if (moved || last?.tenants !== tenants || last.nodes !== nodes) this.#setServices();
    }
    const same =
      last !== undefined &&
      last.domains === domains &&
      last.nodes === nodes &&
      sameSeats([last.self], [self]);
    if (moved || !same || !sameValue(last.mesh, mesh)) this.#followBgp();
    if (last?.tenants !== tenants) this.#mesh.told();
  }

  /** setTunnels says which Routes of VPCs' gateways here lead nowhere now. */
  setTunnels(down: ReadonlySet<string>): void {
    this.#downRoutes = down;
    this.#parts?.services.setTunnels(down);
    this.#onActive();
  }

  /** connected is called when a hub was reached: what it knows of this node's addresses is compared. */
  connected(): void {
    this.#pool.reconcile().catch((error: Error) => this.#lost(error));
  }

  /** status tells of each domain that is to be here, and of what is attached to it. */
  status(): ShownVpc[] {
    const { fabric } = this.#options.bgp;
    const isElsewhere = (segment: number, mac: Mac) =>
      this.#speaker?.evpn.isElsewhere(segment, mac) === true || fabric.isElsewhere(segment, mac);
    const { host } = this.#parts ?? {};
    const missing = host?.missingStatus() ?? [];
    const mesh = withProblem([...(host?.status() ?? []), ...missing], this.#mesh.linkProblem);
    const pods = this.#store.all();
    return shownVpcs([...mesh, ...fabric.domains()], { pods, missing, isElsewhere });
  }

  // The plugin's calls.

  /** add implements VpcNetwork. */
  async add(attachment: Attachment, wish: VpcWish, netns: Netns): Promise<VpcAttached> {
    const resolved = await this.#mesh.resolve(wish, this.#options.bgp);
    const known = this.#mesh.require();
    const inFabric = isFabric(resolved);
    if (this.#mesh.linkProblem !== undefined && !inFabric) throw notThere(this.#mesh.linkProblem);
    const { segment, subnet, domain } = resolved;
    if (subnet === undefined) refusePort(segment, this.#domainOf(segment.vni)?.segments[0], known.mesh);
    const mtuBytes = mtuOf(wish, resolved.mostBytes);
    const id = podId(attachment);
    if (this.#store.get(attachment) !== undefined)
      throw new CniError(
        "alreadyAttached",
        `Cannot attach ${attachment.ifname} of ${attachment.containerId}: it is attached; delete it first`,
      );
    const open = subnet === undefined;
    const { local, addresses } = await lease(this.#pool, attachment, { wish, subnet }, (addresses) => {
      const mac = wish.mac ?? macOf(addresses);
      const local: LocalAttachment = {
        ...{ id, ifname: attachment.ifname, domain: domain.vni, segment: segment.vni, mac, mtuBytes },
        ...{ addresses: addresses.map(({ ip }) => ip), defaultRoute: wish.defaultRoute, groups: wish.groups },
      };
      this.#store.add({
        ...{ ...attachment, local, netns: netns.path, ...(wish.pod && { pod: wish.pod }) },
        ...(inFabric ? { fabric: true } : {}),
        ...(open
          ? { addresses, ...(segment.dstPort === undefined ? {} : { dstPort: segment.dstPort }) }
          : {}),
      });
      return { local, addresses };
    });
    try {
      if (open && this.#open.add(id, domain)) this.#setDomains();
      const site = inFabric ? this.#options.bgp.fabric : this.#site(open ? { addresses } : {});
      const { gateways, routes } = site.attach(local, netns);
      await awaitUp(local, () => site.missing(local, netns));
      if (this.#resources.disposed) throw notThere("the agent begins anew");
      this.#store.setReady(attachment);
      // What is elsewhere is known by then, so that its first packet is not lost.
      await site.loaded(local);
      return {
        ...{ mac: local.mac, addresses, gateways, mtuBytes, routes },
        ...{ hostLink: portOf(id), hostMac: portMac(id), bridge: bridgeOf(segment.vni) },
        dnsServers: subnet?.dnsServers ?? [],
      };
    } catch (error) {
      // The next agent finds what this one left half done.
      if (!this.#resources.disposed) this.#remove(attachment, id);
      throw error;
    }
  }

  /** delete implements VpcNetwork. */
  async delete(attachment: Attachment): Promise<void> {
    this.#remove(attachment, podId(attachment));
  }

  /** check implements VpcNetwork. */
  async check(attachment: Attachment, netns: Netns): Promise<void> {
    checkAttached(this.#store.get(attachment), { attachment, netns, here: () => this.status() });
  }

  /** attachments implements VpcNetwork. */
  attachments(): readonly StoredVpcPod[] {
    return this.#store.all();
  }

  /** In the mesh. The rules of its security groups are there before a pod. */
  #site(options: Parameters<DomainHost["attach"]>[2]): VpcSite {
    if (this.#parts === undefined) throw notThere(this.#mesh.linkProblem);
    const { host, services } = this.#parts;
    return {
      attach: (local, netns) => {
        const connected = services.guard(local, () => host.attach(local, netns, options));
        this.#announcer.setHost(local, { claim: "arrived" });
        return connected;
      },
      missing: (local, netns) => host.missing(local, netns),
      loaded: async ({ segment }) => await this.#speaker?.evpn.loaded(segment),
    };
  }

  #remove(attachment: Attachment, id: string): void {
    const stored = this.#store.get(attachment);
    if (stored?.fabric === true) return this.#removeFromFabric(attachment, id);
    const domain = stored?.local.domain;
    const isForgotten = domain !== undefined && this.#parts?.host.netns(domain) === undefined;
    this.#announcer.removeHost(id);
    this.#parts?.host.detach(id);
    if (domain !== undefined) this.#parts?.services.detached(domain);
    if (this.#open.delete(id)) this.#setDomains();
    this.#forget(attachment);
    // Of a VPC that the register has forgotten nobody else removes what is left.
    if (isForgotten) this.#sweep();
  }

  #removeFromFabric(attachment: Attachment, id: string): void {
    const { fabric } = this.#options.bgp;
    const wasThere = fabric.detach(id);
    this.#forget(attachment);
    if (!wasThere) fabric.forgotten();
  }

  #sweep(): void {
    this.#parts?.host.sweep(new Set(this.#store.all().map(({ local }) => local.domain)));
  }

  /** First what announces it: an address without an attachment is given back at the next start. */
  #forget(attachment: Attachment): void {
    this.#store.delete(attachment);
    this.#pool.release(attachment);
  }

  /** What was under way when this ended finds its database closed. */
  #lost(error: Error): void {
    if (!this.#resources.disposed) this.#options.onProblem(error);
  }

  // The kernel.

  /** When it throws, the next news of the mesh begins anew. */
  #begin(node: DomainNode): void {
    const { engine, cni, onProblem } = this.#options;
    using begun = new DisposableStack();
    const known = () => this.#mesh.require();
    const parts = begun.use(
      openVpcParts({
        ...{ engine, node, known, onProblem },
        self: known().self.name,
        onActive: () => this.#onActive(),
        onLate: () => this.#settling.begin("speaker"),
      }),
    );
    this.#parts = parts;
    begun.defer(() => (this.#parts = undefined));
    begun.defer(() => this.#step?.[Symbol.dispose]());
    parts.services.setTunnels(this.#downRoutes);
    this.#takeOver(parts);
    // A speaker that was there before.
    if (this.#speaker !== undefined) this.#setSpeaker(this.#speaker);
    this.#settling.begin("agent");
    cni.setVpcs(this);
    begun.defer(() => cni.setVpcs(undefined));
    this.#resources.use(begun.move());
  }

  /** What an earlier agent attached, in the order in which it came. */
  #takeOver({ host, services }: VpcParts): void {
    const all = this.#store.all();
    const pods = all.filter(({ fabric }) => fabric !== true);
    const attached = pods.map(({ local }) => local);
    const { asn } = this.#mesh.require().mesh;
    for (const { local, dstPort, addresses } of pods)
      if (addresses !== undefined) this.#open.add(local.id, openDomain(local.segment, { asn, dstPort }));
    this.#setDomains();
    // A gateway's domain is here before them: its rules are to know them then.
    services.takeOver(attached, () => {
      this.#setServices();
      host.adopt(attached);
    });
    for (const { local, sequence } of pods) this.#announcer.setHost(local, { claim: "known", sequence });
    this.#sweep();
    // Nobody was told that these succeeded.
    for (const pod of all) if (pod.state === "adding") this.#remove(pod, pod.local.id);
  }

  #settle(): void {
    if (this.#parts === undefined) return;
    const { host, services, table } = this.#parts;
    try {
      services.settled(table.settle());
    } catch (error) {
      this.#lost(weather(error));
    }
    this.#step?.[Symbol.dispose]();
    this.#settleSome(host.settling());
  }

  #settleSome(steps: Iterator<undefined, void>): void {
    if (steps.next().done !== true) this.#step = after(SETTLE_STEP_MS, () => this.#settleSome(steps));
  }

  #setServices(): void {
    this.#parts?.services.set(servicesWish(this.#mesh.require()));
    this.#onActive();
  }

  #setDomains(): void {
    this.#parts?.host.setDomains(this.#open.beside(this.#mesh.require().domains));
    this.#onActive();
  }

  #domainOf(vni: number): Domain | undefined {
    return this.#mesh.now?.byVni.get(vni) ?? this.#open.of(vni);
  }

  /** BGP tells what is here, and asks for what belongs to it. */
  #onActive(): void {
    const host = this.#parts?.host;
    if (host === undefined || this.#mesh.now === undefined) return;
    const active = host.active();
    const segments = new Set(active.segments);
    const here: { readonly domain: Domain; readonly segments: readonly Segment[] }[] = [];
    for (const vni of active.domains) {
      const domain = this.#domainOf(vni);
      if (domain !== undefined)
        here.push({ domain, segments: domain.segments.filter((one) => segments.has(one.vni)) });
    }
    const vtep = { address: this.#mesh.now.node.vtep, routerMac: host.routerMac };
    this.#announcer.setDomains(
      here.map((one) => ({ ...one, prefixes: this.#parts?.services.announced(one.domain.vni) ?? [] })),
      vtep,
    );
    const changes = this.#parts?.table.setActive(
      here.map(({ domain, segments: some }) => ({ domain, segments: some.map(({ vni }) => vni) })),
    );
    if (changes !== undefined && changes.length > 0) this.#parts?.services.hear(changes);
    if (!this.#takesPart) this.#followBgp();
  }

  // BGP.

  /** The router runs at reflectors, where something was attached, and where it may be soon: so that a first pod is reached at once. */
  #followBgp(): void {
    const known = this.#mesh.now;
    if (known === undefined) return;
    const { mesh, self, nodes, tenants } = known;
    this.#takesPart ||= (this.#parts?.host.active().domains.length ?? 0) > 0;
    const takesPart = this.#takesPart;
    const needed =
      takesPart || isReflector(mesh, self) || [...tenants.VPC.values()].some((vpc) => mayServe(vpc, self));
    const router = needed ? clusterRouter({ mesh, self, nodes, takesPart }) : undefined;
    this.#options.bgp.setCluster(router, this.#onSpeaker);
    this.#guard();
  }

  readonly #onSpeaker = (speaker: Speaker | undefined): void => {
    if (!this.#resources.disposed) this.#setSpeaker(speaker);
  };

  /** An agent that comes later announces it so too, lest an older claim elsewhere win. */
  readonly #raised = (vni: number, mac: Mac, sequence: number): void => {
    this.#announcer.raise(vni, mac, sequence);
    this.#store.raise(vni, mac, sequence);
  };

  #setSpeaker(speaker: Speaker | undefined): void {
    this.#listening?.[Symbol.dispose]();
    if (speaker !== undefined && speaker !== this.#speaker) {
      this.#parts?.table.renew();
      this.#settling.begin("speaker");
    }
    this.#speaker = speaker;
    const { table, host } = this.#parts ?? {};
    const hear = (changes: readonly RemoteChange[]) => this.#parts?.services.hear(changes);
    this.#listening = speaker && hearVpcs(speaker, { table, host, hear, raised: this.#raised });
    this.#announcer.setSpeaker(speaker);
    this.#guard();
  }

  /** A reflector believes a node only what the register allows it. */
  #guard(): void {
    const known = this.#mesh.now;
    if (known === undefined) return;
    this.#guarding.follow(isReflector(known.mesh, known.self) ? this.#speaker : undefined, known);
  }

  /** leave ends the node's part: neighbors are told, and forget its routes. */
  leave(): void {
    this.#options.bgp.setCluster(undefined, () => {});
    this.#options.bgp.follow(this.#options.engine, undefined);
  }

  /** The router goes on: what the kernel has is as true as before, and the next one tells it again. */
  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#resources.dispose();
  }
}
