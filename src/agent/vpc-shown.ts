/** VPCs as people see them on a node. */
import { portOf } from "../domain/mod.ts";
import { formatIp, formatMac, type Mac } from "../net/mod.ts";
import type { DomainStatus } from "./domain-status.ts";
import type { StoredVpcPod } from "./vpc-store.ts";

/** ShownAttachment is an interface of a pod in a VPC. */
export interface ShownAttachment {
  /** `namespace/name`, where the runtime said whose it is. */
  readonly pod?: string;
  /** Of the container, as the runtime has it. */
  readonly container: string;
  readonly ifname: string;
  /** VNI of its segment. */
  readonly segment: number;
  /** The node's end of the link, in the VPC's namespace. */
  readonly link: string;
  readonly mac: string;
  readonly addresses: readonly string[];
  readonly mtuBytes: number;
  readonly groups: readonly string[];
  /** `moved`: another node announced it later. `waiting`: its VPC is to be here, and is not yet. */
  readonly state: "adding" | "ready" | "moved" | "waiting";
}

/** ShownVpc is what people see of a VPC on this node. */
export interface ShownVpc extends DomainStatus {
  readonly attachments: readonly ShownAttachment[];
}

/** withProblem returns domains of which all have a problem, if there is one. */
export function withProblem(
  domains: readonly DomainStatus[],
  problem: string | undefined,
): readonly DomainStatus[] {
  if (problem === undefined) return domains;
  return domains.map((domain) => ({ ...domain, problems: [problem, ...domain.problems] }));
}

/** shownVpcs puts together what the kernel has and what is attached, in order of VNIs. */
export function shownVpcs(
  domains: readonly DomainStatus[],
  {
    pods,
    missing,
    isElsewhere,
  }: {
    readonly pods: readonly StoredVpcPod[];
    /** Of the domains, those that are not here yet. */
    readonly missing: readonly DomainStatus[];
    /** Whether another node announced an address later. */
    readonly isElsewhere: (segment: number, mac: Mac) => boolean;
  },
): ShownVpc[] {
  const away = new Set(missing.map(({ vni }) => vni));
  const byDomain = Map.groupBy(pods, ({ local }) => local.domain);
  const shown = ({ containerId, state, local, pod }: StoredVpcPod): ShownAttachment => {
    const { id, ifname, segment, mac, addresses, mtuBytes, groups } = local;
    return {
      ...(pod !== undefined && { pod: `${pod.namespace}/${pod.name}` }),
      ...{ container: containerId, ifname, segment, link: portOf(id), mac: formatMac(mac) },
      ...{ addresses: addresses.map(formatIp), mtuBytes, groups },
      state: away.has(local.domain) ? "waiting" : isElsewhere(segment, mac) ? "moved" : state,
    };
  };
  return domains
    .toSorted((a, b) => a.vni - b.vni)
    .map((domain) => ({ ...domain, attachments: (byDomain.get(domain.vni) ?? []).map(shown) }));
}
