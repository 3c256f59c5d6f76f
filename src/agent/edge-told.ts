/** What this node tells hubs of its edge: the resources that are not, or not wholly, as they ask. */
import { sameValue } from "../engine/mod.ts";
import type { FailedResource } from "../hub/mod.ts";
import { every } from "../sys/mod.ts";
import type { ClusterBgp, ShownEdge } from "./cluster-bgp.ts";
import { formatEdgeProblem } from "./edge.ts";

/** What comes and goes in less is not told, and nothing more often. */
const LOOK_MS = 5_000;

/** EdgeTold looks at the edge now and then. */
export class EdgeTold implements Disposable {
  readonly #looking: Disposable;
  #now: readonly FailedResource[] | null | undefined;

  /** `onChange` is called when there is something else to tell. */
  constructor(bgp: Pick<ClusterBgp, "edge">, onChange: () => void) {
    this.#looking = every(LOOK_MS, () => {
      const edge = bgp.edge();
      const now = edge === undefined ? null : failedResources(edge);
      if (sameValue(now, this.#now)) return;
      this.#now = now;
      onChange();
    });
  }

  /** now is what was found at the last look; `null` where there is no edge, undefined before the first one: hubs keep what an earlier agent said. */
  get now(): readonly FailedResource[] | null | undefined {
    return this.#now;
  }

  [Symbol.dispose](): void {
    this.#looking[Symbol.dispose]();
  }
}

/** failedResources names what is wrong in an edge by the resource that asks for it: Underlays first, since all else is in their routers. */
export function failedResources({ routers, resources, problems }: ShownEdge): FailedResource[] {
  const judged = resources.map((one): FailedResource => {
    const { kind, name, field, value, problem, reason } = one;
    return { kind, name, reason, message: `${field}${value === undefined ? "" : ` ${value}`} ${problem}` };
  });
  const known = new Set(resources.map(formatEdgeProblem));
  const failed = (kind: string, name: string, messages: readonly string[]) =>
    messages.map((message): FailedResource => ({ kind, name, reason: "failed", message }));
  const all = [
    ...judged,
    ...routers.flatMap(({ router, underlay, problems, domains }) => [
      ...(underlay === ""
        ? failed(
            "Node",
            "",
            problems.map((problem) => `router ${router}: ${problem}`),
          )
        : problems.flatMap((problem) => named(problem) ?? failed("Underlay", underlay, [problem]))),
      ...domains.flatMap((domain) => failed("VPC", domain.name, domain.problems)),
    ]),
    ...failed(
      "Node",
      "",
      problems.filter((problem) => !known.has(problem)),
    ),
  ];
  // Sorting is stable: what a resource says first stays first.
  return all.sort((a, b) => orderOf(a) - orderOf(b) || compare(a.name, b.name));
}

/** A problem of a router that begins with the VPC or Subnet that it is of. */
function named(problem: string): FailedResource | undefined {
  const [, kind, name, message] = /^(VPC|Subnet) "([^"]*)":? (.*)$/s.exec(problem) ?? [];
  if (kind === undefined || name === undefined || message === undefined) return undefined;
  return { kind, name, reason: "failed", message };
}

const ORDER = ["Node", "Underlay", "VPC"];

function orderOf({ kind }: FailedResource): number {
  const place = ORDER.indexOf(kind);
  return place === -1 ? ORDER.length : place;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
