import { expect, test } from "bun:test";
import { type BgpRouter, parseManifest } from "../../resources/mod.ts";
import { dynamicDiffers } from "./router-change.ts";

test("dynamic neighbors begin anew for the password of a group of theirs, and for no other one", () => {
  const { resources, problems } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: BgpRouter
metadata: {name: r}
spec:
  asn: 64512
  routerId: 192.0.2.1
  groups:
    fabric: {asn: 64513, passwordFile: /fabric, families: {ipv4-unicast: {}}}
    hosts: {asn: 64514, passwordFile: /hosts, families: {ipv4-unicast: {}}}
  neighbors: [{address: 192.0.2.2, group: fabric}]
  dynamicNeighbors: [{prefix: 198.51.100.0/24, group: hosts}]
`);
  expect(problems).toEqual([]);
  const router = resources[0]?.value as BgpRouter;
  const other = (path: string) =>
    dynamicDiffers({ before: router, router, isOther: ({ passwordFile }) => passwordFile === path });
  expect(other("/fabric")).toBe(false);
  expect(other("/hosts")).toBe(true);
});
