import { expect, test } from "bun:test";
import type { EdgeProblem } from "../edge/mod.ts";
import type { ShownEdge } from "./cluster-bgp.ts";
import { formatEdgeProblem } from "./edge.ts";
import { failedResources } from "./edge-told.ts";

const domain = {
  ...{ name: "red", vni: 5100, namespace: "cw-5100", routed: true, segments: [], fromHost: [] },
  remote: { hosts: 0, prefixes: 0, floods: 0 },
};

test("what is wrong in an edge is named by its resource, once, Underlays first", () => {
  const resources: EdgeProblem[] = [
    {
      ...{ kind: "Subnet", name: "blue.web", field: "spec.vpc", value: "blue", problem: "is not here" },
      ...{ effect: "resource", reason: "dependency" },
    },
    {
      ...{ kind: "VPC", name: "blue", field: "spec.vni", problem: "is taken" },
      ...{ effect: "vpc", reason: "invalid" },
    },
  ];
  const edge: ShownEdge = {
    routers: [
      {
        ...{
          router: "underlay",
          namespace: "cw-underlay",
          underlay: "rack",
          problems: [
            "eth1 is not there",
            `Subnet "red.web": spec.hostBridge.name br0 is no bridge of this node`,
          ],
        },
        domains: [{ ...domain, problems: ["link br5100: no buffer space"] }],
      },
      { router: "other", namespace: "cw-other", underlay: "", domains: [], problems: ["it ends"] },
    ],
    resources,
    problems: [...resources.map(formatEdgeProblem), "Cannot open /run/netns/cw-third"],
  };
  expect(failedResources(edge).map((one) => Object.values(one).join("|"))).toEqual([
    "Node||failed|router other: it ends",
    "Node||failed|Cannot open /run/netns/cw-third",
    "Underlay|rack|failed|eth1 is not there",
    "VPC|blue|invalid|spec.vni is taken",
    "VPC|red|failed|link br5100: no buffer space",
    "Subnet|blue.web|dependency|spec.vpc blue is not here",
    "Subnet|red.web|failed|spec.hostBridge.name br0 is no bridge of this node",
  ]);
  expect(failedResources({ routers: [], resources: [], problems: [] })).toEqual([]);
});
