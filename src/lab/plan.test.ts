import { describe, expect, test } from "bun:test";
import { formatInterfaceAddress, formatIp, formatPrefix } from "../net/mod.ts";
import { LabError } from "./manifest.ts";
import { parseLab } from "./plan.ts";
import { natOf, routesOf } from "./realm.ts";
import { podNames, type Topology } from "./topology.ts";
import { wiringOf } from "./wiring.ts";

const head = "apiVersion: causeway.network/v1alpha1\nkind: Lab\nmetadata: { name: t }\n";

function lab(spec: string): Topology {
  return parseLab(`${head}spec:\n${spec}`);
}

function mistakes(text: string): readonly string[] {
  try {
    parseLab(text);
  } catch (error) {
    if (error instanceof LabError) return error.mistakes;
    throw error;
  }
  return [];
}

function addresses(topology: Topology): string[] {
  return topology.boxes.map((box) => {
    const list = box.attachments.flatMap((at) => [
      `${at.link} ${formatInterfaceAddress(at.address4)}`,
      ...(at.address6 === undefined ? [] : [formatInterfaceAddress(at.address6)]),
    ]);
    return `${box.name}: ${list.join(" ")}`;
  });
}

function routes(topology: Topology, name: string): string[] {
  const box = topology.boxes.find((candidate) => candidate.name === name);
  if (box === undefined) throw new Error(name);
  return routesOf(topology, box).map(
    ({ destination, via }) =>
      `${destination === undefined ? "default" : formatPrefix(destination)} via ${formatIp(via)}`,
  );
}

describe("addresses", () => {
  test("gateways get the first ones, fixed ones are left out, IPv6 where there is a prefix", () => {
    const topology = lab(`
  networks: [{ name: net, prefix4: 192.0.2.0/24, prefix6: "2001:db8::/64" }, { name: lan, prefix4: 10.0.0.0/8 }]
  nodes:
    - { name: a, role: hub, networks: [{ name: net, address4: 192.0.2.2 }] }
    - { name: b, networks: [net, lan], endpoint: auto }
  routers: [{ name: nat, kind: cone, inside: lan, outside: net }]
  hosts: [{ name: h, networks: [net] }]`);
    expect(addresses(topology)).toEqual([
      "nat: inside 10.0.0.1/8 outside 192.0.2.1/24",
      "a: eth0 192.0.2.2/24 2001:db8::1/64",
      "b: eth0 192.0.2.3/24 2001:db8::2/64 eth1 10.0.0.2/8",
      "h: eth0 192.0.2.4/24 2001:db8::3/64",
    ]);
    const endpoints = topology.boxes.map((box) => (box.kind === "node" ? box.endpoint : undefined));
    expect(endpoints).toEqual([undefined, "192.0.2.2:51820", "192.0.2.3:51820", undefined]);
  });

  test("the same manifest gives the same addresses", () => {
    const spec = `
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  nodes: [{ name: a, role: hub, networks: [net] }, { name: b, networks: [net] }]`;
    expect(addresses(lab(spec))).toEqual(addresses(lab(spec)));
  });

  test("a full network says so", () => {
    const hosts = Array.from({ length: 7 }, (_, index) => `{ name: h${index}, networks: [net] }`).join(", ");
    expect(
      mistakes(`${head}spec: { networks: [{ name: net, prefix4: 192.0.2.0/29 }], hosts: [${hosts}] }`),
    ).toEqual(["Lab t: spec.networks[net]: 192.0.2.0/29 has no address left; make it larger"]);
  });
});

describe("routes", () => {
  const topology = lab(`
  networks:
    - { name: one, prefix4: 192.0.2.0/24, prefix6: "2001:db8:1::/64" }
    - { name: two, prefix4: 198.51.100.0/24, prefix6: "2001:db8:2::/64" }
    - { name: three, prefix4: 203.0.113.0/24 }
    - { name: home, prefix4: 192.168.1.0/24 }
    - { name: deep, prefix4: 192.168.2.0/24 }
  routers:
    - { name: r12, kind: router, networks: [one, two] }
    - { name: r23, kind: router, networks: [two, three] }
    - { name: nat, kind: restricted, inside: home, outside: three }
    - { name: r-home, kind: router, networks: [home, deep] }
  hosts: [{ name: h1, networks: [one] }, { name: h2, networks: [two] }, { name: in, networks: [deep] }]`);

  test("routers know the networks of their realm and not those behind a NAT box", () => {
    expect(routes(topology, "r12")).toEqual(["203.0.113.0/24 via 198.51.100.2"]);
    expect(routes(topology, "r23")).toEqual([
      "192.0.2.0/24 via 198.51.100.1",
      "2001:db8:1::/64 via 2001:db8:2::1",
    ]);
  });

  test("machines have a way out, and more where it differs", () => {
    expect(routes(topology, "h1")).toEqual(["default via 192.0.2.1", "default via 2001:db8:1::1"]);
    expect(routes(topology, "h2")).toEqual([
      "203.0.113.0/24 via 198.51.100.2",
      "default via 198.51.100.1",
      "default via 2001:db8:2::1",
    ]);
    expect(routes(topology, "in")).toEqual(["default via 192.168.2.1"]);
    expect(routes(topology, "r-home")).toEqual(["default via 192.168.1.1"]);
    expect(routes(topology, "nat")).toEqual(["192.168.2.0/24 via 192.168.1.2", "default via 203.0.113.1"]);
  });
});

describe("mistakes", () => {
  test("name object, field, value and fix, all at once", () => {
    expect(
      mistakes(`${head}spec:
  networks: [{ name: a, prefix4: 10.0.0.1/24, loss: 300%, delay: fast }, { name: b, prefix4: 10.1.0.0/24, mtu: 900 }]
  nodes: [{ name: Hub, role: boss, networks: [a], pods: -1, colour: red }, { name: z, networks: [], endpoint: here }]
  routers: [{ name: r, kind: nat }]`),
    ).toEqual([
      'Lab t: spec.networks[a].prefix4: "10.0.0.1/24" has bits set after its length; write 10.0.0.0/24',
      'Lab t: spec.networks[a].loss: "300%" is not a share; write it like 2% or 0.5%',
      'Lab t: spec.networks[a].delay: "fast" is not a delay; write it like 20ms',
      'Lab t: spec.networks[b].mtu "900": use 1280 or more',
      "Lab t: spec.routers[r].kind: use router, cone, restricted or symmetric",
      'Lab t: spec.nodes[Hub].name: "Hub" is not a name here; use 1 to 15 lower-case letters, digits and "-", with a letter first',
      'Lab t: spec.nodes[Hub].role "boss": use hub or member or none',
      'Lab t: spec.nodes[Hub].pods "-1": use 0 or more',
      'Lab t: spec.nodes[Hub]: "colour" is not known here; remove it',
      "Lab t: spec.nodes[z].networks names no network; name at least one",
      'Lab t: spec.nodes[z].endpoint: "here" is not an endpoint; write HOST:PORT, or auto for the first address and the port',
    ]);
  });

  test("the manifest itself", () => {
    expect(mistakes("kind: [")[0]).toStartWith("Cannot read the lab: ");
    expect(mistakes("apiVersion: v1\nkind: Pod\nmetadata: { name: p }\nspec: { networks: [] }")).toEqual([
      'Lab p: apiVersion "v1": use causeway.network/v1alpha1',
      'Lab p: kind "Pod": use Lab',
      "Lab p: spec.networks is empty; a lab has at least one network",
    ]);
  });

  test("names", () => {
    expect(
      mistakes(`${head}spec:
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  nodes: [{ name: a, role: hub, networks: [net, net], pods: 1 }, { name: switch, networks: [other] }]
  hosts: [{ name: a-p1, networks: [net] }, { name: net, networks: [net] }]`),
    ).toEqual([
      'Lab t: spec.hosts[net]: the name "net" is taken by spec.networks[net]; choose another',
      'Lab t: a pod of spec.nodes[a]: the name "a-p1" is taken by spec.hosts[a-p1]; choose another',
      'Lab t: spec.nodes[switch]: the name "switch" is reserved; choose another',
      "Lab t: spec.nodes[a]: is attached twice to the same network; name each network once",
      'Lab t: spec.nodes[switch]: there is no network "other"; the networks are net',
    ]);
  });

  test("roles", () => {
    expect(
      mistakes(`${head}spec:
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  nodes: [{ name: a, networks: [net] }, { name: b, role: none, networks: [net], pods: 1, endpoint: auto }]`),
    ).toEqual([
      'Lab t: spec.nodes: there are members and no hub; give one node "role: hub", or the others "role: none"',
      'Lab t: spec.nodes[b].pods "1": pods need an agent; remove it or "role: none"',
      'Lab t: spec.nodes[b].endpoint: is for an agent; remove it or "role: none"',
    ]);
  });

  test("addresses and prefixes", () => {
    expect(
      mistakes(`${head}spec:
  networks: [{ name: net, prefix4: 192.0.2.0/24 }, { name: lan, prefix4: 192.0.0.0/16 }]
  routers: [{ name: r, kind: router, networks: [net, lan] }, { name: n, kind: cone, inside: lan, outside: net }]
  hosts:
    - { name: a, networks: [{ name: net, address4: 192.0.3.1 }] }
    - { name: b, networks: [{ name: net, address4: 192.0.2.255 }] }
    - { name: c, networks: [{ name: net, address4: 192.0.2.9 }] }
    - { name: d, networks: [{ name: net, address4: 192.0.2.9, address6: "2001:db8::1" }] }`),
    ).toEqual([
      "Lab t: spec.routers[n]: a router leads around it from lan to net; take one away",
      "Lab t: spec.networks[lan]: 192.0.0.0/16 overlaps 192.0.2.0/24 of net, and routers join the two; change one",
      'Lab t: spec.hosts[a].address4 "192.0.3.1": is not in 192.0.2.0/24; choose one that is',
      'Lab t: spec.hosts[b].address4 "192.0.2.255": is not the address of a machine; choose another of 192.0.2.0/24',
      'Lab t: spec.hosts[d].address4 "192.0.2.9": spec.hosts[c].address4 has it; choose another',
      "Lab t: spec.hosts[d].address6: network net has no prefix6; give it one or remove the address",
    ]);
  });

  test("two homes may have the same prefix", () => {
    const topology = lab(`
  networks:
    - { name: net, prefix4: 192.0.2.0/24 }
    - { name: one, prefix4: 192.168.1.0/24 }
    - { name: two, prefix4: 192.168.1.0/24 }
  routers:
    - { name: n1, kind: cone, inside: one, outside: net }
    - { name: n2, kind: symmetric, inside: two, outside: net }
  nodes: [{ name: hub, role: hub, networks: [net], pods: 2 }, { name: x, networks: [two] }]`);
    const [hub, x] = topology.boxes.filter((box) => box.kind === "node");
    expect(natOf(topology, x as never)?.name).toBe("n2");
    expect(natOf(topology, hub as never)).toBeUndefined();
    expect(podNames(hub as never)).toEqual(["hub-p1", "hub-p2"]);
  });
});

test("speakers: a daemon with its configuration, addresses of its own, and forwarding", () => {
  const topology = parseLab(`${head}spec:
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  speakers: [{ name: leaf, kind: frr, networks: [net], loopback: [10.255.0.1, "fd00::1"], config: "router bgp 1" }]`);
  const box = wiringOf(topology).boxes.find(({ name }) => name === "leaf");
  expect(box?.loopback.map(formatInterfaceAddress)).toEqual(["10.255.0.1/32", "fd00::1/128"]);
  expect(box?.sysctls["net/ipv4/ip_forward"]).toBe("1");
  expect(topology.boxes[0]).toMatchObject({ kind: "speaker", daemon: "frr", config: "router bgp 1" });
  expect(
    mistakes(`${head}spec:
  networks: [{ name: net, prefix4: 192.0.2.0/24 }]
  speakers: [{ name: leaf, kind: quagga, networks: [net], config: "" }]`),
  ).toEqual(['Lab t: spec.speakers[leaf].kind "quagga": use frr or gobgp or bird or causeway']);
});
