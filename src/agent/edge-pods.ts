/**
 * EdgePods: pods that are attached to a router's domains, and the rules of their security groups, by the same services as those of the mesh's VPCs.
 * A pod's rules are there before its link, and those of an earlier agent's pods stay until they are all known.
 */
import {
  compileGroups,
  type Domain,
  type DomainNode,
  domainMtu,
  type LocalAttachment,
  portOf,
  type RemoteChange,
} from "../domain/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { TenantResources } from "../resources/mod.ts";
import { exists, type Netns } from "../sys/mod.ts";
import type { DomainHost } from "./domain-host.ts";
import type { Connected } from "./domain-port.ts";
import { DomainServices } from "./domain-services.ts";
import type { FabricPodStore } from "./fabric-pods.ts";
import type { VpcAnnouncer } from "./vpc-announcer.ts";

/** GroupResources are those of which a domain's security groups are made. */
export type GroupResources = Pick<TenantResources, "VPC" | "SecurityGroup">;

/** EdgePodsOptions say where, and who is told. */
export interface EdgePodsOptions {
  readonly host: DomainHost;
  /** The router's namespace. */
  readonly home: { readonly netns: Netns; readonly engine: Engine };
  readonly node: () => DomainNode;
  readonly announcer: VpcAnnouncer;
  readonly store: FabricPodStore;
  /** Other pods are here than before. */
  readonly onChange: () => void;
}

/** EdgePods is disposed without touching the kernel. */
export class EdgePods implements Disposable {
  readonly #options: EdgePodsOptions;
  readonly #services: DomainServices;

  constructor(options: EdgePodsOptions) {
    this.#options = options;
    const { host, home, node } = options;
    this.#services = new DomainServices({
      ...{ places: host, home, portOf },
      // Of gateways, which VPCs in a fabric have none of.
      self: "",
      mtuBytes: () => domainMtu(node()),
      bridged: () => exists("/proc/sys/net/bridge"),
    });
  }

  /** setDomains says which domains the router has, and of what their security groups are made; what a domain that it has no more asked for stays. */
  setDomains(domains: readonly Domain[], groups: GroupResources): void {
    this.#services.set({
      ...{ domains, gateways: [], floating: [], tunnels: [] },
      groups: compileGroups(groups),
      vtepOf: () => undefined,
    });
  }

  /** takeOver has `work` make domains, and takes up in them what an earlier agent attached, and what waited for its domain to come back. */
  takeOver(work: () => void): void {
    const { store } = this.#options;
    const here = new Map<number, ReadonlySet<string>>();
    const isAttached = ({ domain, id }: LocalAttachment) => {
      const ids = here.get(domain) ?? new Set(this.attachments(domain).map((one) => one.id));
      here.set(domain, ids);
      return ids.has(id);
    };
    const waiting = store.all().filter(({ local }) => !isAttached(local));
    if (waiting.length === 0) return work();
    this.#services.takeOver(
      waiting.map(({ local }) => local),
      () => {
        work();
        this.#adopt(waiting);
      },
    );
  }

  #adopt(waiting: ReturnType<FabricPodStore["all"]>): void {
    const { host, announcer } = this.#options;
    // Of a domain that is refused now they come with it, and so do their rules.
    const own = waiting.filter(
      ({ local: { domain } }) => host.netns(domain) !== undefined || host.refused(domain) !== undefined,
    );
    host.adopt(own.map(({ local }) => local));
    for (const { local, sequence } of own) announcer.setHost(local, { claim: "known", sequence });
  }

  /** hear takes in what the fabric tells, and has the domains' host apply it. */
  hear(changes: readonly RemoteChange[]): void {
    this.#services.hear(changes);
  }

  /** attach makes a pod's link in a segment of a domain that is here, and announces it; when it throws, nothing stays. */
  attach(attachment: LocalAttachment, netns: Netns): Connected {
    const { host, announcer, onChange } = this.#options;
    const connected = this.#services.guard(attachment, () => host.attach(attachment, netns));
    onChange();
    announcer.setHost(attachment, { claim: "arrived" });
    return connected;
  }

  /** detach removes an attachment; false when it was not there. */
  detach(id: string): boolean {
    const { host, announcer, onChange } = this.#options;
    const domain = host.domainOf(id);
    announcer.removeHost(id);
    host.detach(id);
    if (domain === undefined) return false;
    this.#services.detached(domain);
    onChange();
    return true;
  }

  /** detachAll takes back all that a former store of pods had. */
  detachAll(): void {
    for (const vni of this.#options.host.active().domains)
      for (const { id } of this.attachments(vni)) this.detach(id);
  }

  /** attachments returns what is attached to a domain. */
  attachments(vni: number): readonly LocalAttachment[] {
    return this.#options.host.attachments(vni);
  }

  /** sweep removes domains of an earlier agent in which nothing is; one with pods stays, whether resources still have it or not. */
  sweep(): void {
    const { host, store } = this.#options;
    host.sweep(new Set(store.all().map(({ local }) => local.domain)));
  }

  [Symbol.dispose](): void {
    this.#services[Symbol.dispose]();
  }
}
