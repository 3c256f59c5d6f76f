/** CHECK of limits (K4): the kernel's queues must be as ADD made them, and what the container sends must come by its queue. */
import { type Rtnetlink, sameTbf } from "../netlink/mod.ts";
import { bandwidthObjects, type Pod } from "../pods/mod.ts";
import { CniError } from "./error.ts";

type Limit = ReturnType<typeof bandwidthObjects>[number];

/** checkBandwidth throws a CniError that names the first part of a pod's limits that is missing or changed. */
export function checkBandwidth(pod: Pod, route: Rtnetlink): void {
  for (const object of bandwidthObjects(pod)) {
    const problem = problemOf(object, route);
    if (problem !== undefined)
      throw new CniError(
        "checkFailed",
        `Cannot confirm the attachment: its bandwidth is not limited: ${problem}`,
      );
  }
}

function problemOf(object: Limit, route: Rtnetlink): string | undefined {
  switch (object.kind) {
    case "link": {
      const link = route.link(object.name);
      if (link === undefined) return `link ${object.name} is missing on the node`;
      if (link.kind !== object.type)
        return `link ${object.name} is of kind ${link.kind} instead of ${object.type}`;
      return link.up ? undefined : `link ${object.name} is down`;
    }
    case "qdisc": {
      const linkIndex = route.link(object.link)?.index ?? 0;
      const root = route.qdiscs({ linkIndex }).find(({ place }) => place === "root");
      if (root?.tbf === undefined)
        return `the qdisc of ${object.link} is ${root?.kind ?? "missing"} instead of tbf`;
      return sameTbf(root.tbf, object) ? undefined : `the qdisc of ${object.link} has other values`;
    }
    case "filter": {
      const linkIndex = route.link(object.link)?.index ?? 0;
      const redirect = route.link(object.redirect)?.index;
      const leads = route
        .filters({ linkIndex })
        .some((filter) => filter.matchesAll && filter.redirect !== undefined && filter.redirect === redirect);
      return leads ? undefined : `no filter leads from ${object.link} to ${object.redirect}`;
    }
    default:
      return undefined;
  }
}
