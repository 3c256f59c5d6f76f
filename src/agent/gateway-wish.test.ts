import { expect, test } from "bun:test";
import { tenantResources } from "../../test/support/resource-text.ts";
import { parseManifest, tenantsOf } from "../resources/mod.ts";
import { gatewayWishes } from "./gateway-wish.ts";

const read = (text: string) => tenantsOf(tenantResources(text));

const PUBLIC = "public: [{interface: eth1, address4: {ip: 192.0.2.1, nextHop: 192.0.2.254}}]";
const tenants = read(`VPC red {vni: 300}
  VPC blue {}
  Gateway red {node: a, vpc: red, ${PUBLIC}}
  Gateway red-b {node: b, vpc: red, backend: kernel, ${PUBLIC}}
  Gateway blue {node: a, vpc: blue, ${PUBLIC}}
  Gateway site {node: a, private: {interface: eth0, address4: {ip: 10.9.0.1, nextHop: 10.9.0.2}}, ${PUBLIC}}
  Route tokyo {gateway: red, prefixes: [10.2.0.0/16], gateways: [{ip: 198.51.100.7}], spi: 700, presharedKeyFile: /k}
  Route osaka {gateway: site, prefixes: [10.2.0.0/16], gateways: [{ip: 198.51.100.7}], spi: 700, presharedKeyFile: /k}`);

test("a node runs the gateways that name it; one of a VPC without a VNI waits", () => {
  const wishes = gatewayWishes(tenants, "a");
  expect(wishes.map(({ name, vpc, routes }) => [name, vpc, routes])).toEqual([
    ["red", "red", ["tokyo"]],
    ["site", undefined, ["osaka"]],
  ]);
  expect(wishes.map(({ command }) => command.slice(6).join(" "))).toEqual([
    "--manifests /run/causeway/gateway/red.yaml --vni 300",
    "--manifests /run/causeway/gateway/site.yaml",
  ]);
  expect(gatewayWishes(tenants, "c")).toEqual([]);
});

test("manifests are the gateway's own, with the back-end for which a VPC's side is made", () => {
  const [red, site] = gatewayWishes(tenants, "a");
  const kept = (text: string | undefined) =>
    parseManifest(text ?? "").resources.map(({ kind, value }) => `${kind} ${value.name}`);
  expect(kept(red?.manifests)).toEqual(["Gateway red", "Route tokyo"]);
  expect(red?.manifests).toContain("backend: user");
  expect(kept(site?.manifests)).toEqual(["Gateway site", "Route osaka"]);
  expect(site?.manifests).toContain("backend: auto");
  expect(gatewayWishes(tenants, "b")[0]?.manifests).toContain("backend: kernel");
});
