/** Which gateways a node is to run, by what the register says: each as manifests, and as the words of its process. */
import { tunnelBackEnd } from "../domain/mod.ts";
import { formatManifest, type Gateway, type TenantResources } from "../resources/mod.ts";
import { GATEWAYS } from "./paths.ts";

/** GatewayWish is one gateway's process. */
export interface GatewayWish {
  readonly name: string;
  /** Its Gateway and Routes. */
  readonly manifests: string;
  /** The command, with all that makes another process of it. */
  readonly command: readonly string[];
  /** Names of its Routes; those of a VPC are the node's affair too. */
  readonly routes: readonly string[];
  readonly vpc?: string;
}

/** manifestsOf returns the path of a gateway's manifests. */
export function manifestsOf(name: string): string {
  return `${GATEWAYS}/${name}.yaml`;
}

/** gatewayWishes returns those of a node. One of a VPC that has no VNI yet is not begun. */
export function gatewayWishes(tenants: TenantResources, node: string): GatewayWish[] {
  return [...tenants.Gateway.values()].flatMap((gateway): GatewayWish[] => {
    const { name, vpc } = gateway;
    const vni = vpc === undefined ? undefined : tenants.VPC.get(vpc)?.vni;
    if (gateway.node !== node || (vpc !== undefined && vni === undefined)) return [];
    const routes = [...tenants.Route.values()].filter((route) => route.gateway === name);
    const words = ["--name", name, "--node", node, "--manifests", manifestsOf(name)];
    return [
      {
        name,
        manifests: formatManifest([
          { kind: "Gateway", value: settled(gateway) },
          ...routes.map((value) => ({ kind: "Route", value }) as const),
        ]),
        command: ["gateway", "run", ...words, ...(vni === undefined ? [] : ["--vni", `${vni}`])],
        routes: routes.map((route) => route.name),
        ...(vpc === undefined ? {} : { vpc }),
      },
    ];
  });
}

/** A VPC's side is made for one back-end. */
function settled(gateway: Gateway): Gateway {
  return gateway.vpc === undefined ? gateway : { ...gateway, backend: tunnelBackEnd(gateway) };
}
