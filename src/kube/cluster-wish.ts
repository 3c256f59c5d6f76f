/** What Kubernetes shall know of the cluster, from the mesh and this node's place in it. */
import { formatPrefix, type Prefix } from "../net/mod.ts";
import type { Mesh } from "../resources/mod.ts";
import type { ClusterWish } from "./prepare.ts";

/** API_PORT is the port of the Kubernetes API. */
export const API_PORT = 6443;

/** ClusterFacts are what is known. */
export interface ClusterFacts {
  readonly mesh: Mesh;
  readonly node: { readonly name: string; readonly overlay4: string; readonly overlay6: string };
  /** Where the API is reached, HOST:PORT; default this node's overlay address. */
  readonly endpoint?: string;
  /** Further names of the API. */
  readonly names: readonly string[];
}

/** clusterWish throws, with the way out, where the mesh's networks are none that Kubernetes can have. */
export function clusterWish({ mesh, node, endpoint, names }: ClusterFacts): ClusterWish {
  const pods = [mesh.pods4, mesh.pods6].filter((prefix) => prefix !== undefined);
  const services = mesh.services;
  if (pods.length === 0)
    throw new Error(
      `Mesh ${mesh.name}: spec.pods is absent, so there is no network for pods; set it when the mesh is made (causeway init --pods4 …)`,
    );
  const families = new Set(pods.map(({ family }) => family));
  const service = services.find(({ family }) => !families.has(family));
  if (service !== undefined)
    throw new Error(
      `Mesh ${mesh.name}: spec.services has ${formatPrefix(service)}, and its pods have no IPv${service.family}; remove it (causeway mesh apply)`,
    );
  if (services.length === 0)
    throw new Error(
      `Mesh ${mesh.name}: spec.services is empty; name the cluster's service network there (causeway mesh apply), as in [10.96.0.0/12]`,
    );
  const addresses = { 4: node.overlay4, 6: node.overlay6 } as const;
  // The first service network decides which family comes first (kube-apiserver --service-cluster-ip-range).
  const first = services[0]?.family === 6 ? 6 : 4;
  const order = ([first, first === 4 ? 6 : 4] as const).filter((family) => families.has(family));
  const sorted = (prefixes: readonly Prefix[]) =>
    order.flatMap((family) => prefixes.filter((prefix) => prefix.family === family).map(formatPrefix));
  const nodeAddresses = order.map((family) => addresses[family]);
  const [address = ""] = nodeAddresses;
  const api = endpoint ?? `${address.includes(":") ? `[${address}]` : address}:${API_PORT}`;
  const host = api.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
  return {
    nodeAddresses,
    pods: sorted(pods),
    services: sorted(services),
    endpoint: api,
    names: [...new Set([node.overlay4, node.overlay6, node.name, host, ...names])],
  };
}
