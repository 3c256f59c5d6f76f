/** Manifests of OpenPERouter as they were written over time, and what is wrong with the unions in them. */
import { describe, expect, test } from "bun:test";
import { formatInterfaceAddress, formatIp } from "../net/mod.ts";
import { formatProblem, tenantsOf } from "../resources/mod.ts";
import { convert } from "./convert.ts";
import { planEdge } from "./plan.ts";

const manifest = (group: string) => (kind: string, name: string, spec: string) =>
  `apiVersion: ${group}/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const now = manifest("network.openperouter.io");
const once = manifest("openpe.openperouter.github.io");
const converted = (...documents: string[]) => convert([{ name: "a.yaml", text: documents.join("---\n") }]);
const told = (...documents: string[]) => converted(...documents).problems.map(formatProblem);

const neighbors = "neighbors: [{asn: 64512, address: 192.168.11.2}]";
const underlay = now(
  "Underlay",
  "u",
  `{asn: 64514, nics: [toswitch], ${neighbors}, tunnelEndpoint: {cidrs: [100.65.0.0/24]}}`,
);
const red = now("L3VNI", "red", "{vrf: red, vni: 100}");

/** What node 2 has. */
function planned(...documents: string[]) {
  const { resources, problems } = converted(...documents);
  expect(problems.map(formatProblem)).toEqual([]);
  const { edge } = planEdge(tenantsOf(resources), { node: { name: "n", hub: false, index: 2 } });
  return edge.routers[0]!;
}

describe("older spellings mean the same", () => {
  const domain = (red: string) => [
    red,
    once(
      "L2VNI",
      "web",
      "{vni: 110, vrf: red, hostmaster: {type: bridge, autocreate: true}, l2gatewayip: 10.1.0.1/24}",
    ),
  ];
  const wanted = planned(
    underlay,
    red,
    now(
      "L2VNI",
      "web",
      "{vni: 110, routingDomain: {type: L3VNI, l3vni: {name: red}}, gatewayIPs: [10.1.0.1/24], hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: Managed}}}",
    ),
  );
  test.each([
    ["vtepcidr of the Underlay", "vtepcidr: 100.65.0.0/24", "{vni: 100}"],
    ["vtepcidr of evpn", "evpn: {vtepcidr: 100.65.0.0/24}", "{vni: 100, vrf: red}"],
  ])("%s", (_, endpoint, spec) =>
    expect(
      planned(
        once("Underlay", "u", `{asn: 64514, ${endpoint}, nics: [toswitch], ${neighbors}}`),
        ...domain(once("L3VNI", "red", spec)),
      ),
    ).toEqual(wanted),
  );

  test("a list as an API server gives it, whose items do not say what they are", () => {
    const list = JSON.stringify({
      ...{ apiVersion: "network.openperouter.io/v1alpha1", kind: "L3VNIList", metadata: {} },
      items: [{ metadata: { name: "red" }, spec: { vrf: "red", vni: 100 } }],
    });
    expect(planned(underlay, `${list}\n`)).toEqual(planned(underlay, red));
  });
});

test("pools are their networks, whatever address of them is written", () => {
  const router = planned(
    now(
      "Underlay",
      "u",
      `{asn: 64514, routerIDCIDR: 10.7.0.9/24, nics: [toswitch], neighbors: [{asn: 64512, listenRange: 192.168.11.9/24}], tunnelEndpoint: {cidrs: [100.65.0.9/24]}}`,
    ),
    now(
      "L3VNI",
      "red",
      '{vrf: red, vni: 100, hostSession: {asn: 1, hostASN: 2, localCIDR: {ipv4: 192.169.10.9/24, ipv6: "fd00:9::9/64"}}}',
    ),
  );
  const { routerId, endpoints, sessions, domains } = router;
  const host = domains[0]!.routing!.host!;
  expect([formatIp(routerId), formatIp(endpoints[0]!.address!), sessions[0]!.name]).toEqual([
    "10.7.0.3",
    "100.65.0.2",
    "192.168.11.0/24",
  ]);
  expect([...host.edge, ...host.host].map(formatInterfaceAddress)).toEqual([
    "192.169.10.1/24",
    "fd00:9::1/64",
    "192.169.10.4/24",
    "fd00:9::4/64",
  ]);
});

test("empty lists of route targets are none", () => {
  const web = (more: string) =>
    now("L2VNI", "web", `{vni: 110, routingDomain: {type: L3VNI, l3vni: {name: red}}${more}}`);
  const none = ", importRTs: [], exportRTs: []";
  expect(planned(underlay, now("L3VNI", "red", `{vrf: red, vni: 100${none}}`), web(none))).toEqual(
    planned(underlay, red, web("")),
  );
});

test("a passthrough of a static file without an AS number is none", () => {
  const { resources, problems } = convert([
    {
      name: "openpe_a.yaml",
      text: "bgppassthrough: {hostSession: {asn: 0}}\nl3vnis: [{vrf: red, vni: 1}]\n",
    },
  ]);
  expect([problems, resources.map(({ kind }) => kind)]).toEqual([[], ["VPC"]]);
});

describe("is refused by name", () => {
  const web = (spec: string) => now("L2VNI", "web", `{vni: 110, ${spec}}`);
  const links = (text: string) => now("Underlay", "u", `{asn: 1, ${neighbors}, ${text}}`);
  test.each([
    [
      "a kind that is not known",
      once("VNI", "red", "{vni: 1, type: l3}"),
      'VNI "red": (a.yaml, document 1) is of a kind of OpenPERouter that is not known; write an L3VNI or an L2VNI',
    ],
    [
      "Multus",
      links("networkAttachmentDefinition: {name: x}"),
      'Underlay "u": spec.networkAttachmentDefinition is Multus\' way to a link',
    ],
    [
      "two places of the endpoint",
      links("nics: [a], vtepcidr: 100.65.0.0/24, evpn: {vtepcidr: 100.65.0.0/24}"),
      'Underlay "u": spec.vtepcidr stands beside evpn; keep that',
    ],
    [
      "a link without its kind's part",
      links("interfaces: [{type: NetworkDevice}]"),
      'Underlay "u": spec.interfaces[0].networkDevice is missing; add it',
    ],
    [
      "a domain of another kind",
      web("routingDomain: {type: L3VNI, l3vpn: {name: red}}"),
      'L2VNI "web": spec.routingDomain.l3vpn stands beside type L3VNI; keep the one that is meant',
    ],
    [
      "a domain without a name",
      web("routingDomain: {type: L3VNI}"),
      'L2VNI "web": spec.routingDomain.l3vni is missing, and type is L3VNI; write {name: …}',
    ],
    [
      "a VRF that nobody has",
      web("vrf: red, gatewayIPs: [10.1.0.1/24]"),
      'L2VNI "web": spec.vrf red is that of no L3VNI among the files',
    ],
    [
      "a bridge of another kind",
      web("hostMaster: {type: LinuxBridge, ovsBridge: {lifecycle: Managed}}"),
      'L2VNI "web": spec.hostMaster.ovsBridge stands beside type LinuxBridge; keep the one that is meant',
    ],
    [
      "a bridge of nobody",
      web("hostMaster: {type: LinuxBridge}"),
      'L2VNI "web": spec.hostMaster.linuxBridge says not whose the bridge is; write {lifecycle: Managed}',
    ],
    [
      "a pool of the other family",
      now("L3VNI", "red", '{vni: 1, hostSession: {asn: 1, hostASN: 2, localCIDR: {ipv4: "fd00::/64"}}}'),
      'L3VNI "red": spec.hostSession.localCIDR.ipv4 fd00::/64 is of IPv6; write it as ipv6',
    ],
    [
      "a selection without values",
      links("nics: [a], nodeSelector: {matchExpressions: [{key: rack, operator: In, values: []}]}"),
      'Underlay "u": spec.nodeSelector.matchExpressions[0] cannot be read: In and NotIn need values',
    ],
    [
      "no time to connect",
      now(
        "Underlay",
        "u",
        "{asn: 1, nics: [a], neighbors: [{asn: 2, address: 192.0.2.1, connectTimeSeconds: 0}]}",
      ),
      'spec.neighbors[0].connectRetry "0s" is not a duration',
    ],
  ])("%s", (_, document, expected) => {
    const all = told(document);
    expect(all.some((text) => text.includes(expected)) ? expected : all.join("\n")).toBe(expected);
  });
});
