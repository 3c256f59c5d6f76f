import { describe, expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { noTenants, parseManifest, type TenantResource, tenantsOf } from "../resources/mod.ts";
import { resolveSegment, type SegmentContext, type SegmentWish } from "./resolve.ts";

const manifest = `
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: a}
spec: {vni: 5000, allow: {namespaces: [team-a]}, nodes: {role: worker}}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: b}
spec: {vni: 5001, allow: {namespaces: ["*"]}}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: closed}
spec: {vni: 5002}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: labelled}
spec: {vni: 5003, allow: {namespaces: ["*"], labels: {tier: db, env: prod}}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: a.web}
spec: {vpc: a, vni: 300, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: a.db}
spec: {vpc: a, vni: 301, prefixes: [10.1.1.0/24], port: 8472}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: b.only}
spec: {vpc: b, vni: 302, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: closed.1}
spec: {vpc: closed, vni: 303}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: labelled.1}
spec: {vpc: labelled, vni: 304}
---
apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata: {name: b.in}
spec: {vpc: b}
`;
const tenants = tenantsOf(parseManifest(manifest).resources as TenantResource[]);
const context: SegmentContext = {
  tenants,
  mesh: { asn: 64512, openVnis: true },
  node: { name: "one", hub: false, role: "worker" },
};
const pod = (namespace: string, labels: Record<string, string> = {}) => ({ namespace, name: "p", labels });

/** `DOMAIN/SEGMENT`, or why not. */
function found(wish: Partial<SegmentWish>, more: Partial<SegmentContext> = {}): string {
  const got = resolveSegment({ groups: [], pod: pod("team-a"), ...wish }, { ...context, ...more });
  if ("error" in got) return got.error;
  const same = got.subnet === undefined ? "" : ` ${got.subnet.vpc}`;
  return `${got.domain.vni}/${got.segment.vni}${same}`;
}

describe("what a wish means", () => {
  test("a Subnet by name, with or without its VPC and its VNI", () => {
    expect(found({ subnet: "a.web" })).toBe("5000/300 a");
    expect(found({ vpc: "a", subnet: "a.db", vni: 301 })).toBe("5000/301 a");
    expect(found({ vpc: "b" })).toBe("5001/302 b");
    expect(found({ vpc: "a", vni: 301 })).toBe("5000/301 a");
    expect(found({ vni: 302 })).toBe("5001/302 b");
  });

  test("an open VNI, as in a configuration that names nothing else", () => {
    expect(found({ vni: 77 })).toBe("77/77");
    expect(found({ vni: 4095 }, { tenants: noTenants })).toBe("4095/4095");
  });

  test("a port that is the Subnet's, and groups of the same VPC", () => {
    expect(found({ vni: 301, dstPort: 8472 })).toBe("5000/301 a");
    expect(found({ vni: 300, dstPort: 4789 })).toBe("5000/300 a");
    expect(found({ vpc: "b", groups: ["b.in"] })).toBe("5001/302 b");
  });

  test("a pod that the VPC lets in", () => {
    expect(found({ vpc: "b", pod: pod("whoever") })).toBe("5001/302 b");
    expect(found({ vpc: "labelled", pod: pod("x", { tier: "db", env: "prod", more: "1" }) })).toContain(
      "304",
    );
    const unknown = resolveSegment({ vpc: "b", groups: [] }, context);
    expect("error" in unknown).toBe(false);
  });
});

test("a VPC in a fabric is found like any other, with its security groups", () => {
  const fabric = parseManifest(`apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: f}
spec: {vni: 5009, allow: {namespaces: ["*"]}, underlay: {}}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: f.1}
spec: {vpc: f, vni: 309}
---
apiVersion: causeway.network/v1alpha1
kind: SecurityGroup
metadata: {name: f.in}
spec: {vpc: f, rules: [{direction: ingress}]}
`).resources as TenantResource[];
  const here = { ...context, tenants: tenantsOf(fabric) };
  expect(resolveSegment({ vpc: "f", groups: ["f.in"] }, here)).toMatchObject({
    vpc: { underlay: {} },
    domain: { vni: 5009 },
    segment: { vni: 309 },
  });
  expect(resolveSegment({ vpc: "f", groups: ["f.out"] }, here)).toEqual({
    error:
      "group f.out: there is no SecurityGroup with this name; see causeway get security-group, or apply it",
  });
});

test("groups of files count in VPCs of a fabric, and before the register's where those are of the same VPC", () => {
  const groups = (text: string) => tenantsOf(tenantResources(text)).SecurityGroup;
  const here = {
    ...context,
    tenants: tenantsOf(
      tenantResources(`VPC f {vni: 5009, allow: {namespaces: ["*"]}, underlay: {}}
        Subnet f.1 {vpc: f, vni: 309}
        VPC m {vni: 5010, allow: {namespaces: ["*"]}}
        Subnet m.1 {vpc: m, vni: 310}
        SecurityGroup f.in {vpc: f}
        SecurityGroup m.in {vpc: m}`),
    ),
    fileGroups: groups(`SecurityGroup f.out {vpc: f}
      SecurityGroup f.in {vpc: m}
      SecurityGroup m.in {vpc: f}
      SecurityGroup m.out {vpc: m}`),
  };
  const why = (vpc: string, group: string) => {
    const got = resolveSegment({ vpc, groups: [group] }, here);
    return "error" in got ? got.error.split(";")[0] : "found";
  };
  expect(why("f", "f.out")).toBe("found");
  expect(why("f", "f.in")).toBe("found");
  expect(why("m", "m.in")).toBe("found");
  expect(why("f", "m.in")).toBe("group m.in is of VPC m, and the pod is to be in f");
  expect(why("f", "m.out")).toBe(
    "group m.out is of VPC m (in a file on this node), and the pod is to be in f",
  );
  expect(why("m", "m.out")).toBe("group m.out: there is no SecurityGroup with this name");
});

describe("what is refused, with what was given and what to do", () => {
  const cases: [wish: Partial<SegmentWish>, expected: string][] = [
    [{}, "neither vpc, subnet nor vni is given; name one of them"],
    [{ subnet: "x" }, "subnet x: there is no Subnet with this name; see causeway get subnet, or apply it"],
    [{ vpc: "x" }, "vpc x: there is no VPC with this name; see causeway get vpc, or apply it"],
    [{ vpc: "b", subnet: "a.web" }, "subnet a.web is of VPC a, not of b; name one of the two"],
    [{ vpc: "a" }, "vpc a has several Subnets; name one of a.db, a.web"],
    [{ vpc: "a", vni: 302 }, "vni 302 is of no Subnet of VPC a; its Subnets are a.db, a.web"],
    [{ subnet: "a.web", vni: 301 }, "vni 301 is not that of Subnet a.web, 300; leave it out"],
    [{ vni: 5000 }, "vni 5000 is what VPC a routes with, no Subnet's; name one of its Subnets: a.db, a.web"],
    [{ vni: 4096 }, "vni 4096 is no Subnet's; apply a Subnet with it, or take one from 1 to 4095, which"],
    [{ vni: 77, groups: ["b.in"] }, "groups b.in are of VPCs, and vni 77 is open to all; leave them out"],
    [{ subnet: "a.web", dstPort: 4790 }, "port 4790 is not that of Subnet a.web, 4789; leave it out"],
    [
      { subnet: "a.web", pod: pod("x") },
      "VPC a lets in namespaces team-a, and not pod x/p; change spec.allow",
    ],
    [{ vni: 300, pod: pod("x") }, "VPC a lets in namespaces team-a, and not pod x/p"],
    [{ vpc: "closed" }, "VPC closed lets no pod in; add spec.allow to it: {namespaces: [NAME]}"],
    [
      { vpc: "labelled", pod: pod("x", { tier: "db" }) },
      "VPC labelled lets in namespaces * with labels tier=db, env=prod, and not pod x/p",
    ],
    [{ vpc: "b", groups: ["x"] }, "group x: there is no SecurityGroup with this name"],
    [
      { subnet: "a.web", groups: ["b.in"] },
      "group b.in is of VPC b, and the pod is to be in a; name groups of a",
    ],
  ];
  for (const [wish, expected] of cases)
    test(JSON.stringify(wish), () => {
      const text = found(wish);
      expect(text.startsWith(expected) ? expected : text).toBe(expected);
    });

  test("a VPC without a Subnet", () => {
    const only = { ...tenants, Subnet: new Map() };
    expect(found({ vpc: "b" }, { tenants: only })).toBe("vpc b has no Subnet; apply one");
  });

  test("a node that may not serve the VPC", () => {
    expect(found({ subnet: "a.web" }, { node: { name: "gw", hub: false, role: "edge" } })).toBe(
      "VPC a is for role worker, and not for this node, gw; let the pod run there, or change spec.nodes of the VPC",
    );
  });

  test("a pod whose runtime does not say whose it is, where only some may be", () => {
    const got = resolveSegment({ subnet: "a.web", groups: [] }, context);
    expect("error" in got && got.error).toContain("the container runtime does not say whose pod this is");
  });

  test("an open VNI where the mesh has none", () => {
    expect(found({ vni: 77 }, { mesh: { asn: 64512, openVnis: false } })).toBe(
      "vni 77 is no Subnet's, and the mesh lets nobody use others (openVnis: false); apply a Subnet with it",
    );
  });
});
