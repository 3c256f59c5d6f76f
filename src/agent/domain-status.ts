/** What people see of a routing domain that is here. */
import { type Domain, type DomainNode, domainNamespace, type Segment, segmentMtu } from "../domain/mod.ts";
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
  const attachments = [...place.attachments.values()];
  const count = (vni: number) => attachments.filter(({ segment }) => segment === vni).length;
  return {
    ...named(place.domain),
    segments: place.segments.map((vni) => ({
      ...shownSegment(place.segment(vni), node),
      attachments: count(vni),
    })),
    remote: place.remotes.count(),
    problems: place.engine.problems().map(({ key, reason }) => `${key}: ${reason ?? "not tried yet"}`),
  };
}

/** refusedStatus tells of a domain that is to be here, and why it is not. */
export function refusedStatus(domain: Domain, node: DomainNode, problem: string): DomainStatus {
  return {
    ...named(domain),
    segments: domain.segments.map((segment) => ({ ...shownSegment(segment, node), attachments: 0 })),
    ...{ remote: { hosts: 0, prefixes: 0, floods: 0 }, problems: [problem] },
  };
}

function shownSegment(segment: Segment, node: DomainNode) {
  const { name, vni } = segment;
  return { name, vni, mtuBytes: segmentMtu(segment, node) };
}

function named({ name, vni, routing }: Domain) {
  return { name, vni, namespace: domainNamespace(vni), routed: routing !== undefined };
}
