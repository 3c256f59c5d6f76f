/** Ways between VPCs and out of them in a round of chaos: a Peering, NatGateways, FloatingIPs, and who reflects. */
import type { Random } from "./random.ts";
import type { PlannedPod } from "./vpc-chaos-plan.ts";
import { NODES, resource, SHARED, TENANTS } from "./vpc-chaos-world.ts";

/** Way is a change of ways. */
export type Way =
  /** From now on the shared VPC is peered with this one, or with none. */
  | { readonly kind: "peer"; readonly tenant: string | undefined }
  | { readonly kind: "gateway"; readonly tenant: string; readonly nodes: readonly string[] }
  /** The tenant's outside address leads to where this pod is now. */
  | { readonly kind: "float"; readonly tenant: string; readonly target: PlannedPod }
  | { readonly kind: "reflect"; readonly roles: readonly string[] };

/** Ways are those that there are to be. */
export class Ways {
  peered: string | undefined;
  readonly gateways = new Map(TENANTS.map((tenant) => [tenant, ["hub", "b"]]));

  /** peerOf returns what a VPC is peered with. */
  peerOf(vpc: string): string | undefined {
    if (vpc === SHARED) return this.peered;
    return vpc === this.peered ? SHARED : undefined;
  }

  /** needs tells whether a node has a VPC; `hasPods` tells where its pods are. */
  needs(node: string, vpc: string, hasPods: (vpc: string) => boolean): boolean {
    const peer = this.peerOf(vpc);
    // A gateway alone needs no peers: who is elsewhere has them there.
    const isGateway = this.gateways.get(vpc)?.includes(node) === true;
    return isGateway || hasPods(vpc) || (peer !== undefined && hasPods(peer));
  }
}

/** drawWay draws a change; of floating addresses to pods that stay as they are in this round. */
export function drawWay(
  ways: Ways,
  { random, pods }: { readonly random: Random; readonly pods: readonly PlannedPod[] },
): Way | undefined {
  const tenant = random.pick(TENANTS);
  switch (random.below(4)) {
    case 0:
      ways.peered = ways.peered === tenant ? undefined : tenant;
      return { kind: "peer", tenant: ways.peered };
    case 1: {
      const first = random.pick(NODES);
      const nodes = [first, random.pick(NODES.filter((node) => node !== first))];
      ways.gateways.set(tenant, nodes);
      return { kind: "gateway", tenant, nodes };
    }
    case 2: {
      const targets = pods.filter(({ vpc, out }) => vpc === tenant && out);
      return targets.length === 0 ? undefined : { kind: "float", tenant, target: random.pick(targets) };
    }
    default:
      return { kind: "reflect", roles: random.pick([["hub"], ["hub", "reflector"], ["reflector"]]) };
  }
}

/** peering returns the Peering of the shared VPC. */
export function peering(tenant: string): string {
  return resource("Peering", "to-shared", `vpcs: [${tenant}, ${SHARED}]`);
}

/** gateway returns a tenant's NatGateway. */
export function gateway(tenant: string, nodes: readonly string[]): string {
  const outside = `externalAddresses: [203.0.113.20${TENANTS.indexOf(tenant)}]`;
  return resource(
    "NatGateway",
    `${tenant}-out`,
    `vpc: ${tenant}, nodes: { node: [${nodes.join()}] }, ${outside}`,
  );
}

/** floatingAddress returns the outside address that a tenant has. */
export function floatingAddress(tenant: string): string {
  return `203.0.113.21${TENANTS.indexOf(tenant)}`;
}

/** floating returns a tenant's FloatingIP. */
export function floating(tenant: string, target: string): string {
  const address = floatingAddress(tenant);
  return resource(
    "FloatingIP",
    `${tenant}-in`,
    `address: ${address}, gateway: ${tenant}-out, target: ${target}`,
  );
}
