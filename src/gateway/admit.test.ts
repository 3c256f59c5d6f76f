import { expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { formatProblem, noTenants, type TenantResources, withTenants } from "../resources/mod.ts";
import { gatewayProblems } from "./admit.ts";
import { instanceOf } from "./instance.ts";

const put = (before: TenantResources, text: string) => withTenants(before, { set: tenantResources(text) });
const said = (before: TenantResources, text: string) =>
  gatewayProblems({
    before,
    after: put(before, text),
    set: tenantResources(text),
    mayServe: (vpc, node) => vpc !== "blue" || node !== "gw-a",
  }).map(formatProblem);

const outside = (ip: string) => `public: [{interface: eth1, address4: {ip: ${ip}, nextHop: 192.0.2.254}}]`;
const gateway = (name: string, more: string, ip = "192.0.2.1") =>
  `Gateway ${name} {node: gw-a, ${outside(ip)}, ${more}}`;
const route = (name: string, of: string, more: string) =>
  `Route ${name} {gateway: ${of}, gateways: [{ip: 198.51.100.7}], presharedKeyFile: /k/${name}, ${more}}`;

const there = put(
  noTenants,
  `VPC red {vni: 300}
   VPC blue {vni: 400}
   Subnet red-1 {vpc: red, vni: 301, prefixes: [10.1.0.0/16]}
   ${gateway("red", "vpc: red")}
   ${route("tokyo", "red", "spi: 1000, prefixes: [10.2.0.0/16]")}`,
);

test("a gateway of another tenant may have the same networks, numbers and remote site", () => {
  const other = `${gateway("green", "private: {interface: eth0, address4: {ip: 10.9.0.1, nextHop: 10.9.0.2}}")}
    ${route("tokyo-2", "green", "spi: 1000, prefixes: [10.2.0.0/16]")}`;
  expect(said(there, other)).toEqual([]);
  expect(said(there, route("osaka", "red", "spi: 1001, prefixes: [10.3.0.0/16]"))).toEqual([]);
});

test("what a gateway's process would refuse is refused, of what is new", () => {
  expect(said(there, route("osaka", "red", "spi: 1000, prefixes: [10.3.0.0/16]"))).toEqual([
    'Route "osaka": spec.spi 1000 is not unique: Route "tokyo" has it; write another',
  ]);
  expect(said(there, route("osaka", "red", "spi: 1001, prefixes: [10.2.0.0/16]"))).toEqual([
    'Route "osaka": spec.prefixes 10.2.0.0/16 is not unique: Route "tokyo" has it; write another',
  ]);
});

test("a VPC has one gateway on a node, which may serve it", () => {
  expect(said(there, gateway("red-2", "vpc: red", "192.0.2.2"))).toEqual([
    'Gateway "red-2": spec.vpc red has Gateway "red" on node gw-a already; add Routes to that one, or name another node',
  ]);
  expect(said(there, gateway("blue", "vpc: blue", "192.0.2.2"))).toEqual([
    'Gateway "blue": spec.node gw-a may not serve VPC "blue" (its spec.nodes); name a node that may',
  ]);
});

test("a route's networks are not the VPC's own, whichever comes first", () => {
  const why = 'is in Subnet "red-1" of VPC "red"; write networks that are elsewhere only';
  expect(said(there, route("near", "red", "spi: 1001, prefixes: [10.1.7.0/24]"))).toEqual([
    `Route "near": spec.prefixes[0] 10.1.7.0/24 ${why}`,
  ]);
  expect(said(there, route("wide", "red", "spi: 1001, prefixes: [10.0.0.0/8]"))).toEqual([]);
  expect(said(there, "Subnet red-2 {vpc: red, prefixes: [10.2.0.0/16]}")).toEqual([
    'Route "tokyo": spec.prefixes[0] 10.2.0.0/16 is in Subnet "red-2" of VPC "red"; write networks that are elsewhere only',
  ]);
  expect(said(there, route("all", "red", "spi: 1001, prefixes: [0.0.0.0/0]"))).toEqual([
    'Route "all": spec.prefixes[0] 0.0.0.0/0 is everything, and a VPC\'s way there is its NatGateway; write networks',
  ]);
});

test("a VPC's gateway may have several queues, by either back-end", () => {
  const two = outside("192.0.2.1").replace(
    "]",
    ", {interface: eth2, address4: {ip: 192.0.2.2, nextHop: 192.0.2.254}}]",
  );
  for (const backend of ["user", "kernel"])
    expect(said(there, `Gateway red {node: gw-a, vpc: red, backend: ${backend}, ${two}}`)).toEqual([]);
});

test("a name that its process could not have is refused", () => {
  const named = (length: number) => gateway("g".repeat(length), "vpc: blue").replace("gw-a", "gw-b");
  expect(said(there, named(63))).toEqual([]);
  const name = "g".repeat(64);
  expect(said(there, named(64))).toEqual([
    `Gateway "${name}": metadata.name ${name} has 64 characters, and the name of a gateway's process at most 63; write a shorter one`,
  ]);
});

test("two gateways of one kernel have a number and addresses each of its own", () => {
  const kernel = put(there, gateway("paris", "vpc: blue, backend: kernel", "192.0.2.9"));
  const side = "private: {interface: eth0, address4: {ip: 10.9.0.1, nextHop: 10.9.0.2}}, backend: kernel";
  const twin = Array.from({ length: 2000 }, (_, i) => `g${i}`).find(
    (name) => instanceOf(name) === instanceOf("paris"),
  ) as string;
  expect(said(kernel, gateway(twin, side, "192.0.2.3"))).toEqual([
    `Gateway "${twin}": metadata.name ${twin} gets the same number in the kernel of node gw-a as Gateway "paris"; write another name`,
  ]);
  expect(said(kernel, gateway("lyon", side, "192.0.2.9"))).toEqual([
    'Gateway "lyon": spec.public 192.0.2.9 is the address of Gateway "paris" on node gw-a too, and both are the kernel\'s; write another, or backend: user',
  ]);
  expect(said(kernel, gateway("lyon", side, "192.0.2.3"))).toEqual([]);
});
