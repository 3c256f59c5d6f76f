import { expect, test } from "bun:test";
import { parseIp } from "../net/mod.ts";
import { formatManifest, parseManifest } from "./manifest.ts";

const mesh = (more: string) =>
  parseManifest(`apiVersion: causeway.network/v1alpha1
kind: Mesh
metadata: {name: home}
spec: {endpoints: ["hub.example.com:51820"], ${more}}`);

test("VTEPs that are no nodes are part of a Mesh, and written as they were read", () => {
  const { resources, problems } = mesh(
    "vxlanLink: eth1, vteps: [{name: tor-1, address: 192.0.2.9, vpcs: [team-a]}, {name: tor-2, address: 192.0.2.10}]",
  );
  expect(problems).toEqual([]);
  expect(resources[0]?.value).toMatchObject({
    vteps: [
      { name: "tor-1", address: parseIp("192.0.2.9"), vpcs: ["team-a"] },
      { name: "tor-2", address: parseIp("192.0.2.10"), vpcs: [] },
    ],
  });
  const again = parseManifest(formatManifest(resources));
  expect(again.resources).toEqual(resources);
});

test.each([
  ["vteps: [{name: t, address: 192.0.2.9}]", "spec.vteps is not in the tunnel; name the nodes' link to it"],
  ["vxlanLink: e, vteps: []", "spec.vteps names no VTEP; leave it out"],
  ['vxlanLink: e, vteps: [{name: t, address: "fd00::9"}]', "is not an IPv4 address"],
  ["vxlanLink: e, vteps: [{name: t, address: 10.90.0.9}]", "is in overlay4 10.90.0.0/16, where nodes are"],
  [
    "vxlanLink: e, reflectors: {addresses: [192.0.2.1]}, vteps: [{name: t, address: 192.0.2.9}]",
    "has no session with nodes; configure it at reflectors.addresses",
  ],
  [
    "vxlanLink: e, vteps: [{name: t, address: 192.0.2.9}, {name: t, address: 192.0.2.9}]",
    "spec.vteps[1].name is there twice; choose another,spec.vteps[1].address is that of t; give each its own",
  ],
])("%s: %s", (more, why) => {
  const said = mesh(more)
    .problems.map(({ field, problem }) => `${field} ${problem}`)
    .join();
  expect(said).toContain(why);
});
