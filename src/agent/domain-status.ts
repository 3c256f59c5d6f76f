/** What people see of a routing domain that is here. */
import { type Domain, type DomainNode, domainNamespace, segmentMtu } from "../domain/mod.ts";
import type { DomainPlace } from "./domain-place.ts";

/** DomainStatus is what people see of a domain. */
export interface DomainStatus {
  readonly name: string;
  readonly vni: number;
  readonly namespace: string;
  readonly routed: boolean;
  readonly segments: readonly {
    readonly name: string;
    readonly vni: number;
    readonly mtuBytes: number;
    readonly attachments: number;
  }[];
  /** Known of elsewhere. */
  readonly remote: { readonly hosts: number; readonly prefixes: number; readonly floods: number };
  /** What is not as it should be. */
  readonly problems: readonly string[];
}

/** domainStatus tells of a domain as the node has it. */
export function domainStatus(place: DomainPlace, node: DomainNode): DomainStatus {
  const { domain } = place;
  const attachments = [...place.attachments.values()];
  return {
    ...named(domain),
    segments: place.segments.map((vni) => {
      const segment = place.segment(vni);
      return {
        name: segment.name,
        vni,
        mtuBytes: segmentMtu(segment, node),
        attachments: attachments.filter((attachment) => attachment.segment === vni).length,
      };
    }),
    remote: place.remotes.count(),
    problems: place.engine.problems().map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`),
  };
}

/** refusedStatus tells of a domain that is to be here, and why it is not. */
export function refusedStatus(domain: Domain, problem: string): DomainStatus {
  return {
    ...named(domain),
    ...{ segments: [], remote: { hosts: 0, prefixes: 0, floods: 0 }, problems: [problem] },
  };
}

function named({ name, vni, routing }: Domain) {
  return { name, vni, namespace: domainNamespace(vni), routed: routing !== undefined };
}
