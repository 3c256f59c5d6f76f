/** What takes part in VPCs on this node once its place in the mesh is known: made together, or not at all. */
import { type DomainNode, domainMtu, portOf, RemoteTable } from "../domain/mod.ts";
import type { Engine } from "../engine/mod.ts";
import type { TenantResources } from "../resources/mod.ts";
import { exists, Netns } from "../sys/mod.ts";
import { DomainHost } from "./domain-host.ts";
import { DomainServices } from "./domain-services.ts";
import { outsideLinks } from "./vpc-underlay.ts";

/** VpcParts are disposed without touching the kernel. */
export interface VpcParts extends Disposable {
  readonly host: DomainHost;
  readonly table: RemoteTable;
  readonly services: DomainServices;
}

/** VpcPartsOptions say where, and what is known whenever they ask. */
export interface VpcPartsOptions {
  /** Of the node's own namespace. */
  readonly engine: Engine;
  readonly node: DomainNode;
  /** Name of this node. */
  readonly self: string;
  readonly known: () => { readonly tenants: TenantResources; readonly node: DomainNode };
  readonly onActive: () => void;
  /** As DomainHostOptions.onLate. */
  readonly onLate: () => void;
  readonly onProblem: (error: Error) => void;
}

/** openVpcParts makes them; when it throws, nothing of them is left. */
export function openVpcParts(options: VpcPartsOptions): VpcParts {
  const { engine, node, self, known, onActive, onLate, onProblem } = options;
  using making = new DisposableStack();
  const host = making.use(DomainHost.open({ home: engine, node, onProblem, onLate }));
  const services = making.use(
    new DomainServices({
      places: host,
      home: { netns: making.use(Netns.current()), engine },
      self,
      outsideLinks: () => outsideLinks(known().tenants),
      mtuBytes: () => domainMtu(known().node),
      bridged: () => exists("/proc/sys/net/bridge"),
      portOf,
    }),
  );
  making.use(host.onActive(onActive));
  const made = making.move();
  const table = new RemoteTable({ own: [node.vtep] });
  return { host, table, services, [Symbol.dispose]: () => made.dispose() };
}
