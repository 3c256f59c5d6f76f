import { expect, test } from "bun:test";
import {
  formatInterfaceAddress,
  formatIp,
  formatMac,
  formatPrefix,
  type InterfaceAddress,
  type Ip,
  linkLocalIp,
  parseIp,
  parseMac,
  parsePrefix,
} from "../net/mod.ts";
import { confinedNeighbours } from "./confined.ts";
import { bridgeMac, hostLinkOf, hostMac, podId, podMac } from "./identity.ts";
import { gatewaysOf, nodeObjects } from "./node.ts";
import { interiorAddresses, linkLocalOf, type Pod, podObjects } from "./pod.ts";
import { interiorRoutes, type PodRouteOptions } from "./route.ts";

const node = { ranges: [parsePrefix("10.244.1.0/24"), parsePrefix("fd00:1::/64")], mtuBytes: 1420 };
const attached = { network: "net", containerId: "c1", ifname: "eth0" };
const addresses = [parseIp("10.244.1.2"), parseIp("fd00:1::2")];
const pod: Pod = { id: podId(attached), ifname: "eth0", mac: podMac(addresses), addresses, mtuBytes: 1420 };
const kinds = (objects: readonly { kind: string }[]) => objects.map(({ kind }) => kind);

test("a link's name fits, and differs by network, container and interface", () => {
  const ids = [
    attached,
    { ...attached, network: "net2" },
    { ...attached, containerId: "c2" },
    { ...attached, ifname: "net1" },
    { network: "ne", containerId: "tc1", ifname: "eth0" },
  ].map(podId);
  expect(new Set(ids).size).toBe(5);
  for (const id of ids) expect(hostLinkOf(id)).toMatch(/^cw[0-9a-z]{11}$/);
  expect(podId({ ...attached })).toBe(podId(attached));
});

test("Ethernet addresses are of one station, locally administered, and a pod's follows its address", () => {
  expect(formatMac(podMac(addresses))).toBe("0a:58:0a:f4:01:02");
  expect(formatMac(podMac([parseIp("fd00::1:2:3")]))).toBe("0a:58:00:02:00:03");
  for (const mac of [hostMac(pod.id), bridgeMac(addresses)]) expect(formatMac(mac)).toStartWith("02:");
});

test("the bridge is the gateway of both families, with the node's mask", () => {
  expect(gatewaysOf(node.ranges).map(formatInterfaceAddress)).toEqual(["10.244.1.1/24", "fd00:1::1/64"]);
  expect(kinds(nodeObjects(node))).toEqual([
    "link",
    "sysctl",
    "sysctl",
    "sysctl",
    "address",
    "address",
    "ruleset",
    "ruleset",
    "ruleset",
  ]);
  expect(nodeObjects({ ranges: [], mtuBytes: 1420 })).toEqual([]);
  expect(kinds(nodeObjects({ ...node, ranges: node.ranges.slice(0, 1) }))).not.toContain("sysctl");
});

test("the node's side lets the pod's own addresses through, and nothing else", () => {
  const elements = podObjects(pod).filter((object) => object.kind === "element");
  const link = hostLinkOf(pod.id);
  expect(elements.map(({ set, key }) => [set, ...key])).toEqual([
    ["pod_mac", link, "0a:58:0a:f4:01:02"],
    ["pod_ip4", link, "0a:58:0a:f4:01:02", "10.244.1.2"],
    ["pod_ip6", link, "0a:58:0a:f4:01:02", "fd00:1::2"],
    ["pod_target6", link, "0xfd000001000000000000000000000002"],
  ]);
  expect(podObjects(pod).find((object) => object.kind === "link")).toMatchObject({
    type: "external",
    master: "cw-pods",
  });
});

test("inside: address with the node's mask and a default route per family of the pod", () => {
  expect(interiorAddresses(pod, node).map(formatInterfaceAddress)).toEqual(["10.244.1.2/24", "fd00:1::2/64"]);
  const routes = (of: Pod, options?: PodRouteOptions) =>
    interiorRoutes(of, node, options).map(({ destination, gateway, ...more }) =>
      [
        formatPrefix(destination),
        gateway === undefined ? "link" : formatIp(gateway),
        ...Object.entries(more).flat(),
      ].join(" "),
    );
  expect(routes(pod)).toEqual(["0.0.0.0/0 10.244.1.1", "::/0 fd00:1::1"]);
  const only6 = { ...pod, addresses: addresses.slice(1) };
  expect(routes(only6)).toEqual(["::/0 fd00:1::1"]);
  expect(routes(pod, { defaultRoute: false })).toEqual([]);

  const asked: PodRouteOptions["routes"] = [
    { destination: parsePrefix("10.9.0.0/16"), mtuBytes: 1300, table: 100 },
    { destination: parsePrefix("10.8.0.0/16"), scope: "link" },
    { destination: parsePrefix("fd09::/64"), gateway: parseIp("fd00:1::9"), priority: 7 },
  ];
  expect(routes(pod, { routes: asked })).toEqual([
    "0.0.0.0/0 10.244.1.1",
    "::/0 fd00:1::1",
    "10.9.0.0/16 10.244.1.1 mtuBytes 1300 table 100",
    "10.8.0.0/16 link scope link",
    "fd09::/64 fd00:1::9 priority 7",
  ]);
  // A family that the pod has no address of has no routes.
  expect(routes(only6, { routes: asked })).toEqual(["::/0 fd00:1::1", "fd09::/64 fd00:1::9 priority 7"]);
  const all = parsePrefix("0.0.0.0/0");
  const elsewhere = { destination: all, gateway: parseIp("10.244.1.9") };
  expect(routes(pod, { routes: [elsewhere] })).toEqual(["::/0 fd00:1::1", "0.0.0.0/0 10.244.1.9"]);
  expect(routes(pod, { routes: [{ ...elsewhere, table: 100 }], defaultRoute: false })).toEqual([
    "0.0.0.0/0 10.244.1.9 table 100",
  ]);
  expect(routes(pod, { routes: [{ ...elsewhere, table: 100 }] })).toHaveLength(3);
});

test("inside, where the primary network is a private one: by the node's link-local address, which any prefix of the other leaves alone", () => {
  const clusterServices = ["10.96.0.1/32", "fd00:96::1/128"].map((text) => ({
    ...{ prefix: parsePrefix(text), protocol: "tcp" as const, port: 443 },
  }));
  const confined = { ...pod, confined: { dnsServers: [parseIp("10.96.0.10")] } };
  const routes = interiorRoutes(confined, { ...node, clusterServices });
  const [neighbour] = confinedNeighbours(confined, node);
  const bridge = bridgeMac(["10.244.1.1", "fd00:1::1"].map(parseIp));
  expect(neighbour).toEqual({ ip: linkLocalIp(bridge), mac: bridge });
  const gateway6 = formatIp(linkLocalIp(bridge));
  expect(
    routes.map(
      (route) => `${formatPrefix(route.destination)} ${formatIp(route.gateway as Ip)} ${route.table}`,
    ),
  ).toEqual([
    "0.0.0.0/0 10.244.1.1 25463",
    "10.96.0.10/32 10.244.1.1 undefined",
    "10.96.0.1/32 10.244.1.1 undefined",
    `::/0 ${gateway6} 25463`,
    `fd00:96::1/128 ${gateway6} undefined`,
  ]);
  expect(confinedNeighbours(pod, node)).toEqual([]);
});

test("inside: the link-local address is the kernel's, where there is IPv6", () => {
  const one = { ...pod, mac: parseMac("0a:58:0a:f4:01:02") };
  expect(formatInterfaceAddress(linkLocalOf(one) as InterfaceAddress)).toBe("fe80::858:aff:fef4:102/64");
  expect(linkLocalOf({ ...one, addresses: addresses.slice(0, 1) })).toBeUndefined();
});
