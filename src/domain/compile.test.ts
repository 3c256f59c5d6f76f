import { expect, test } from "bun:test";
import { formatIp, formatMac, formatPrefix } from "../net/mod.ts";
import { newMesh, noTenants, parseManifest, type TenantResource } from "../resources/mod.ts";
import { admit } from "./admit.ts";
import { FIRST_VNI } from "./admit-vnis.ts";
import { compileDomains, openDomain } from "./compile.ts";
import { autoTarget } from "./targets.ts";

const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });

const manifest = `
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: team-a}
spec: {vni: 5000}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: storage}
spec: {vni: 4900, importTargets: ["65000:1", "64512:4900"], exportTargets: ["65000:2"]}
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: flat}
spec: {vni: 6000, routed: false}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: team-a.web}
spec: {vpc: team-a, vni: 4301, prefixes: [10.1.0.0/24, "fd00:1::/64"], gateways: [10.1.0.254], mtuBytes: 1400}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: team-a.db}
spec: {vpc: team-a, vni: 4300, prefixes: [10.1.1.0/24], gatewayMac: "02:00:00:00:00:07", port: 8472, importTargets: ["1:1"]}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: storage.s3}
spec: {vpc: storage, vni: 4901, prefixes: [10.9.0.0/16]}
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: flat.1}
spec: {vpc: flat, vni: 6001, prefixes: [10.1.0.0/24]}
---
apiVersion: causeway.network/v1alpha1
kind: Peering
metadata: {name: s3}
spec: {vpcs: [team-a, storage], prefixes: {storage: [10.9.0.0/28]}}
`;

const resources = parseManifest(manifest).resources as TenantResource[];
const { tenants } = admit(noTenants, { set: resources, remove: [] }, { mesh, nextVni: FIRST_VNI });
const domains = compileDomains(tenants, mesh);
const domain = (name: string) => domains.find((one) => one.name === name);

test("a domain for each VPC and a segment for each Subnet, in order of VNIs, all targets written out", () => {
  expect(domains.map(({ name, vni, routing }) => [name, vni, routing])).toEqual([
    ["storage", 4900, { importTargets: ["65000:1", "64512:4900"], exportTargets: ["65000:2"] }],
    ["team-a", 5000, { importTargets: ["64512:5000"], exportTargets: ["64512:5000"] }],
    ["flat", 6000, undefined],
  ]);
  const segments = domain("team-a")?.segments.map((segment) => [
    segment.name,
    segment.vni,
    segment.importTargets.join(),
    segment.exportTargets.join(),
    segment.prefixes.map(formatPrefix).join(),
    segment.gateways.map(({ ip, length }) => `${formatIp(ip)}/${length}`).join(),
    formatMac(segment.gatewayMac),
    segment.mtuBytes,
    segment.dstPort,
  ]);
  expect(segments).toEqual([
    [
      "team-a.db",
      4300,
      "1:1",
      "64512:4300",
      "10.1.1.0/24",
      "10.1.1.1/24",
      "02:00:00:00:00:07",
      undefined,
      8472,
    ],
    [
      "team-a.web",
      4301,
      "64512:4301",
      "64512:4301",
      "10.1.0.0/24,fd00:1::/64",
      "10.1.0.254/24,fd00:1::1/64",
      "02:63:77:00:10:cd",
      1400,
      undefined,
    ],
  ]);
});

test("where nothing is routed there are no gateways", () => {
  expect(domain("flat")?.segments[0]).toMatchObject({ name: "flat.1", gateways: [] });
});

test("a Peering shows each domain what it reaches of the other", () => {
  const peerings = (name: string) =>
    domain(name)?.peerings.map((one) => [one.with, one.prefixes.map(formatPrefix).join()]);
  expect(peerings("team-a")).toEqual([[4900, "10.9.0.0/28"]]);
  expect(peerings("storage")).toEqual([[5000, "10.1.0.0/24,fd00:1::/64,10.1.1.0/24"]]);
  expect(peerings("flat")).toEqual([]);
});

test("an open VNI is a domain with one segment, without routing, addresses or gateways", () => {
  expect(openDomain(300, { asn: 64512, dstPort: 4790 })).toMatchObject({
    name: "vni-300",
    vni: 300,
    segments: [{ vni: 300, importTargets: ["64512:300"], prefixes: [], gateways: [], dstPort: 4790 }],
    peerings: [],
  });
  expect(openDomain(300, { asn: 64512 }).routing).toBeUndefined();
});

test("of a wide AS number the automatic target has the low half, as FRR's has", () => {
  expect(autoTarget(64512, 0xffffff)).toBe("64512:16777215");
  expect(autoTarget(4_200_000_001, 5000)).toBe(`${4_200_000_001 % 65536}:5000`);
});
