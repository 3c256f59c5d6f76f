import { expect, test } from "bun:test";
import type { KernelObject } from "../engine/mod.ts";
import { formatPrefix, mac, parsePrefix } from "../net/mod.ts";
import type { Netns } from "../sys/mod.ts";
import type { Domain } from "./model.ts";
import { openPrefixes, type Tunnel, tunnelLegs, tunnelObjects } from "./tunnel.ts";

const home = {} as Netns;
const targets = { importTargets: [], exportTargets: [] };
const domain: Domain = {
  ...{ name: "red", vni: 300, routing: targets, peerings: [] },
  segments: [
    {
      ...{ name: "net", vni: 301, gateways: [], gatewayMac: mac(0x02_00_00_00_00_01), ...targets },
      prefixes: [parsePrefix("10.1.0.0/24")],
    },
  ],
};

function tunnel(by: Tunnel["by"], node = "a"): Tunnel {
  const routes = [
    { name: "tokyo", prefixes: ["10.2.0.0/16", "fd02::/64"].map((text) => parsePrefix(text)) },
    { name: "osaka", prefixes: [parsePrefix("10.3.0.0/16")] },
  ];
  return { ...{ gateway: "red", domain: 300, node, by, mtuBytes: 1400, queues: 1 }, routes };
}

/** Routes as `DESTINATION TYPE DEV`. */
const routesIn = (objects: readonly KernelObject[]) =>
  objects.flatMap((one) =>
    one.kind === "route"
      ? [`${formatPrefix(one.destination)} ${one.type ?? "to"} ${one.hops?.[0]?.dev ?? ""}`.trim()]
      : [],
  );
const linksIn = (objects: readonly KernelObject[]) =>
  objects.flatMap((one) => (one.kind === "link" ? [`${one.name} ${one.type}`] : []));

test("the gateway's node leads what is up into the leg, or the XFRM interface, and ends the rest; a family that the VPC does not route is left out", () => {
  const down = new Set(["osaka"]);
  const closed = ["10.2.0.0/16 unreachable", "10.3.0.0/16 unreachable"];
  for (const [by, link] of [
    ["user", "cwt300 veth"],
    ["kernel", "cwx300 xfrm"],
  ] as const) {
    const own = tunnel(by);
    const objects = tunnelObjects(domain, { own, all: [own], down }, { home });
    expect(linksIn(objects)).toEqual([link]);
    expect(routesIn(objects)).toEqual([...closed, `10.2.0.0/16 to ${link.split(" ")[0]}`]);
    expect(openPrefixes(own, down).map(formatPrefix)).toEqual(["10.2.0.0/16", "fd02::/64"]);
  }
});

test("another node only ends what nobody announces, and one network once", () => {
  const all = [tunnel("user", "b"), tunnel("kernel", "c")];
  const objects = tunnelObjects(domain, { all, down: new Set() }, { home });
  expect(linksIn(objects)).toEqual([]);
  expect(routesIn(objects)).toEqual(["10.2.0.0/16 unreachable", "10.3.0.0/16 unreachable"]);
});

test("the node's own namespace has the ends of legs, and forwards nothing of them", () => {
  const objects = tunnelLegs([tunnel("user"), { ...tunnel("kernel"), domain: 400 }]);
  expect(linksIn(objects)).toEqual(["cwt300 external"]);
  expect(objects.flatMap((one) => (one.kind === "sysctl" ? [`${one.path}=${one.value}`] : []))).toEqual([
    "net/ipv6/conf/cwt300/disable_ipv6=1",
    "net/ipv4/conf/cwt300/forwarding=0",
  ]);
});
