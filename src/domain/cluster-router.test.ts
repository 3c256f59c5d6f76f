import { expect, test } from "bun:test";
import { formatEndpoint, formatIp, parseIp } from "../net/mod.ts";
import { type BgpRouter, bgpRouterSpec, type Mesh, parseManifest } from "../resources/mod.ts";
import { clusterRouter } from "./cluster-router.ts";

const node = (name: string, host: number, more: { hub?: boolean; role?: string } = {}) => ({
  name,
  hub: false,
  overlay4: parseIp(`10.90.0.${host}`),
  ...more,
});
const nodes = [
  node("a", 1, { hub: true }),
  node("b", 2, { hub: true }),
  node("c", 3),
  node("d", 4, { role: "rr" }),
];

function router(name: string, reflectors?: Mesh["reflectors"], vteps?: Mesh["vteps"]): BgpRouter {
  const self = nodes.find((one) => one.name === name) as (typeof nodes)[number];
  return clusterRouter({
    takesPart: true,
    mesh: {
      asn: 64512,
      ...(reflectors === undefined ? {} : { reflectors }),
      ...(vteps === undefined ? {} : { vteps }),
    },
    self,
    nodes,
  });
}
const neighbors = (of: BgpRouter) =>
  of.neighbors.map(({ address, group }) => `${group} ${address && formatIp(address)}`);

test("hubs reflect: they are called by all, and speak to each other", () => {
  expect(neighbors(router("a"))).toEqual(["reflectors 10.90.0.2", "clients 10.90.0.3", "clients 10.90.0.4"]);
  expect(router("a").listen.map(formatEndpoint)).toEqual(["10.90.0.1:1179"]);
  expect(router("a").wantAllTargets).toBe(true);
  expect(neighbors(router("c"))).toEqual(["reflectors 10.90.0.1", "reflectors 10.90.0.2"]);
  expect(router("c").listen).toEqual([]);
  expect(router("c").wantAllTargets).toBe(false);
});

test("nodes of a role reflect instead; so do speakers that are no nodes", () => {
  expect(neighbors(router("d", { roles: ["rr"] }))).toEqual([
    "clients 10.90.0.1",
    "clients 10.90.0.2",
    "clients 10.90.0.3",
  ]);
  expect(neighbors(router("a", { roles: ["rr"] }))).toEqual(["reflectors 10.90.0.4"]);
  const addresses = [parseIp("192.0.2.1"), parseIp("192.0.2.2")];
  expect(neighbors(router("a", { addresses }))).toEqual(["external 192.0.2.1", "external 192.0.2.2"]);
  expect(router("a", { addresses }).listen).toEqual([]);
});

const tor = { name: "tor", address: parseIp("192.0.2.9"), vpcs: ["*"] };

test("VTEPs that are no nodes are called by those that reflect, and by nobody else", () => {
  expect(neighbors(router("a", undefined, [tor])).at(-1)).toBe("vteps 192.0.2.9");
  expect(neighbors(router("c", undefined, [tor])).join()).not.toContain("vteps");
  expect(neighbors(router("d", { roles: ["rr"] }, [tor])).at(-1)).toBe("vteps 192.0.2.9");
  expect(router("a", undefined, [tor]).groups["vteps"]).toMatchObject({ routeReflectorClient: true });
});

test("it is a router that a manifest could describe", () => {
  for (const name of ["a", "c"]) {
    const spec = bgpRouterSpec(router(name, undefined, [tor]));
    const text = JSON.stringify({
      apiVersion: "causeway.network/v1alpha1",
      kind: "BgpRouter",
      metadata: { name },
      spec,
    });
    const { resources, problems } = parseManifest(text);
    expect(problems).toEqual([]);
    expect(resources[0]?.kind === "BgpRouter" && bgpRouterSpec(resources[0].value)).toEqual(spec);
  }
});

test("reflectors of a mesh are hubs, roles or addresses, and one kind of them", () => {
  const mesh = (reflectors: string) =>
    parseManifest(`apiVersion: causeway.network/v1alpha1
kind: Mesh
metadata: {name: home}
spec: {endpoints: ["hub.example.com:51820"], asn: 64600, reflectors: ${reflectors}}`);
  const problem = (text: string) =>
    mesh(text)
      .problems.map((one) => `${one.field} ${one.problem}`)
      .join();
  expect(mesh("{roles: [rr]}").resources[0]?.value).toMatchObject({
    asn: 64600,
    reflectors: { roles: ["rr"] },
  });
  expect(mesh("{addresses: [192.0.2.1]}").problems).toEqual([]);
  expect(problem("{}")).toContain("spec.reflectors names both or none of roles and addresses");
  expect(problem("{roles: [rr], addresses: [192.0.2.1]}")).toContain("names both or none");
  expect(problem("[rr]")).toContain("does not name reflectors");
});
