import { describe, expect, test } from "bun:test";
import { segmentMtu } from "../domain/mod.ts";
import { planEdge } from "../edge/mod.ts";
import { parseIp, parsePrefix } from "../net/mod.ts";
import { parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { domainIn, roomIn, vtepOf } from "./edge-domain.ts";

const { resources } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [{name: eth1}]
  neighbors: [{address: 192.168.11.2, asn: 64512}]
  tunnelEndpoint: {prefixes: [100.65.0.0/24, "fd65::/64"]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {family: 6}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], underlay: {family: 6}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.small}
spec: {vpc: red, vni: 5120, prefixes: [10.1.1.0/24], mtuBytes: 1300, underlay: {family: 6}}
`);
const tenants = tenantsOf(resources as unknown as readonly TenantResource[]);
const here = planEdge(tenants, { node: { name: "a", hub: false, index: 0 } }).edge.routers[0]?.domains ?? [];
const [red] = here;
const [four, six] = [parseIp("100.65.0.0"), parseIp("fd65::")];
const node = { vtep: four, underlayLink: "eth1", underlayMtuBytes: 1600 };

describe("a domain of the edge", () => {
  test("VXLAN ends at the address of its family, whichever the router has first", () => {
    if (red === undefined) throw new Error("no plan");
    for (const all of [[four, six], [six]])
      expect(domainIn(red, { node: { ...node, vtep: all[0] ?? six }, all }).vtep).toEqual(six);
    expect(vtepOf(red, { node, all: [four] })).toBe(
      'VPC "red" is over IPv6, of which the tunnel endpoint has no address',
    );
  });

  test("a pod's MTU is the Subnet's as far as the fabric leaves it", () => {
    const room = (segment: number, subnet: string, prefix: string) =>
      roomIn(
        { vpc: "red", domain: 5100, subnet, segment, prefixes: [parsePrefix(prefix)] },
        { here, nodeOf: () => ({ ...node, vtep: six }) },
      );
    expect(room(5110, "red.web", "10.1.0.0/24")).toEqual({ mtuBytes: 1530 });
    expect(room(5120, "red.small", "10.1.1.0/24")).toEqual({ mtuBytes: 1300 });
    expect(room(5120, "red.small", "10.9.0.0/24")).toMatchObject({
      error: expect.stringContaining("other prefixes in a file"),
    });
    expect(room(5110, "blue.web", "10.1.0.0/24")).toMatchObject({
      error: expect.stringContaining("is not in the fabric here"),
    });
    const segments = red === undefined ? [] : domainIn(red, undefined).segments;
    expect(segments.map((segment) => segmentMtu(segment, node))).toEqual([1550, 1300]);
  });
});
