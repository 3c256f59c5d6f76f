import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { formatInterfaceAddress, formatIp, formatMac } from "../net/mod.ts";
import {
  formatManifest,
  formatProblem,
  parseManifest,
  type TenantResource,
  tenantsOf,
} from "../resources/mod.ts";
import { convert } from "./convert.ts";
import { planEdge } from "./plan.ts";

const now = (kind: string, name: string, spec: string) =>
  `apiVersion: network.openperouter.io/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}, namespace: perouter}\nspec: ${spec}\n`;
const once = (kind: string, name: string, spec: string) =>
  `apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
const ours = (kind: string, name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

const converted = (...documents: string[]) => convert([{ name: "a.yaml", text: documents.join("---\n") }]);
const told = (...documents: string[]) => converted(...documents).problems.map(formatProblem);

function written(...documents: string[]): TenantResource[] {
  const { resources, problems } = parseManifest(documents.join("---\n"));
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  return resources as TenantResource[];
}

/** The same objects, and the same plans of nodes. */
function same(theirs: readonly string[], mine: readonly string[]): void {
  const { resources, problems } = converted(...theirs);
  expect(problems.map(formatProblem)).toEqual([]);
  const wanted = written(...mine);
  expect(formatManifest(resources)).toBe(formatManifest(wanted));
  for (const index of [0, 1, 7]) {
    const node = { name: "n", hub: false, labels: { rack: index === 7 ? "b" : "a" }, index };
    expect(planEdge(tenantsOf(resources), { node })).toEqual(planEdge(tenantsOf(wanted), { node }));
  }
}

const tor = "{asn: 64512, address: 192.168.11.2}";
const nic = "interfaces: [{type: NetworkDevice, networkDevice: {interfaceName: toswitch}}]";
const plainUnderlay = (more = "") =>
  now(
    "Underlay",
    "underlay",
    `{asn: 64514, ${nic}, neighbors: [${tor}], tunnelEndpoint: {cidrs: [100.65.0.0/24]}${more}}`,
  );
const mineUnderlay = (more = "") =>
  ours(
    "Underlay",
    "underlay",
    `{asn: 64514, links: [{name: toswitch}], neighbors: [{address: 192.168.11.2, asn: 64512}], tunnelEndpoint: {prefixes: [100.65.0.0/24]}, restartTime: 0${more}}`,
  );
const l3 = (name: string, vni: number, more = "") => now("L3VNI", name, `{vrf: ${name}, vni: ${vni}${more}}`);

describe("manifests mean the same as what people would write", () => {
  test("L3 with a host session, of both names of the group and both spellings", () => {
    const mine = [
      mineUnderlay(),
      ours(
        "VPC",
        "red",
        '{vni: 100, importTargets: ["65000:100"], underlay: {}, hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24, "2001:db8:169:10::/64"], link: host-e-100}}',
      ),
    ];
    same(
      [
        plainUnderlay(),
        l3(
          "red",
          100,
          ', importRTs: ["65000:100"], hostSession: {asn: 64514, hostASN: 64515, localCIDR: {ipv4: 192.169.10.0/24, ipv6: "2001:db8:169:10::/64"}}',
        ),
      ],
      mine,
    );
    same(
      [
        once(
          "Underlay",
          "underlay",
          `{asn: 64514, evpn: {vtepcidr: 100.65.0.0/24}, nics: [toswitch], neighbors: [${tor}]}`,
        ),
        once(
          "L3VNI",
          "red",
          '{vni: 100, importRTs: ["65000:100"], hostsession: {asn: 64514, hostasn: 64515, localcidr: {ipv4: 192.169.10.0/24, ipv6: "2001:db8:169:10::/64"}}}',
        ),
      ],
      mine,
    );
  });

  test("L2 in a domain and without one; bridges of both kinds, and none", () => {
    const mine = [
      mineUnderlay(),
      ours("VPC", "red", "{vni: 100, underlay: {nodes: {labels: [rack=a]}, family: 4, port: 4790}}"),
      ours(
        "Subnet",
        "a",
        '{vpc: red, vni: 110, prefixes: [192.171.24.0/24, "fd00:9::/64"], gateways: [192.171.24.1, "fd00:9::1"], gatewayMac: "00:f3:00:00:00:6f", hostLink: host-e-110, hostBridge: {name: br-hs-110}}',
      ),
      ours(
        "Subnet",
        "b",
        "{vpc: red, vni: 16777215, hostLink: host-e-16777215, hostBridge: {name: br0, managed: false}}",
      ),
      ours("VPC", "flat", '{routed: false, underlay: {nodes: {labels: ["!gpu"]}}}'),
      ours(
        "Subnet",
        "flat",
        '{vpc: flat, vni: 300, underlay: {nodes: {labels: ["!gpu"]}}, hostLink: host-e-300}',
      ),
    ];
    same(
      [
        plainUnderlay(),
        l3(
          "red",
          100,
          ", nodeSelector: {matchLabels: {rack: a}}, underlayAddressFamily: IPv4, vxlanPort: 4790",
        ),
        now(
          "L2VNI",
          "a",
          '{vni: 110, routingDomain: {type: L3VNI, l3vni: {name: red}}, gatewayIPs: [192.171.24.1/24, "fd00:9::1/64"], hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: Managed}}}',
        ),
        now(
          "L2VNI",
          "b",
          "{vni: 16777215, routingDomain: {type: L3VNI, l3vni: {name: red}}, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: External, name: br0}}}",
        ),
        now(
          "L2VNI",
          "flat",
          "{vni: 300, nodeSelector: {matchExpressions: [{key: gpu, operator: DoesNotExist}]}}",
        ),
      ],
      mine,
    );
  });

  test("everything that an Underlay can say", () =>
    same(
      [
        now(
          "Underlay",
          "all",
          `{asn: 64514, routerIDCIDR: 10.7.0.0/24, routeReflector: {clusterID: 192.0.2.9}, gracefulRestart: {stalePathTimeSeconds: 100},
            nodeSelector: {matchLabels: {rack: a}, matchExpressions: [{key: zone, operator: In, values: [x, y]}, {key: old, operator: NotIn, values: [z]}, {key: gpu, operator: Exists}]},
            interfaces: [{type: CNIDevice, cniDevice: {type: RawConfig, rawConfig: {cniVersion: 1.0.0, name: u, plugins: [{type: macvlan, Master: eth0}]}, runtimeConfig: {IPs: [192.0.2.1/24]}}}],
            tunnelEndpoint: {cidrs: [100.65.0.0/24, "fd00:64::/64"], interfaceName: net1},
            neighbors: [{type: External, interface: net1, holdTimeSeconds: 0, keepaliveTimeSeconds: 0, connectTimeSeconds: 5, port: 0},
              {asn: 64512, address: 192.0.2.1, port: 1179, properties: [{type: ebgpMultiHop}], bfd: {}, passwordSecret: {name: tor}},
              {asn: 64513, address: "fd00::1", properties: [{type: ebgpMultiHop, ebgpMultiHop: {ttl: 2}}], holdTimeSeconds: 90, keepaliveTimeSeconds: 30,
               bfd: {receiveInterval: 100, transmitInterval: 200, detectMultiplier: 5, sessionMode: Passive, minimumTTL: 250}, passwordSecret: {name: tor, key: k}},
              {type: Internal, listenRange: 192.168.11.0/24, addressFamilies: [{type: ipv4unicast}, {type: evpn, properties: [{type: routeReflectorClient}]}]}]}`.replaceAll(
            "\n",
            " ",
          ),
        ),
        now(
          "L3Passthrough",
          "pt",
          "{nodeSelector: {matchLabels: {a: b}}, hostSession: {asn: 64514, hostType: Internal, localCIDR: {ipv4: 192.169.9.0/24}}}",
        ),
        now("OpenPERouter", "openperouter", "{logLevel: debug, bgpListenLimit: 99}"),
        "nodeIndex: {interfaceName: eth1, cidr: 192.168.11.0/24}\nnodeName: x\n",
      ],
      [
        ours(
          "Underlay",
          "all",
          `{asn: 64514, routerIds: 10.7.0.0/24, clusterId: 192.0.2.9, restartTime: 120s, stalePathTime: 100s,
            nodes: {labels: [rack=a, "zone in (x, y)", old!=z, gpu]},
            links: [{name: net1, cni: {config: {cniVersion: 1.0.0, name: u, plugins: [{type: macvlan, Master: eth0}]}, runtime: {IPs: [192.0.2.1/24]}}}],
            tunnelEndpoint: {prefixes: [100.65.0.0/24, "fd00:64::/64"], link: net1},
            neighbors: [{link: net1, asn: external, hold: 0, keepalive: 0, connectRetry: 5s},
              {address: 192.0.2.1, asn: 64512, port: 1179, multihop: 255, bfd: {}, password: {secret: {namespace: perouter, name: tor}}},
              {address: "fd00::1", asn: 64513, multihop: 2, hold: 90s, keepalive: 30s, bfd: {receive: 100ms, transmit: 200ms, multiplier: 5, passive: true, minimumTtl: 250}, password: {secret: {namespace: perouter, name: tor, key: k}}},
              {listen: 192.168.11.0/24, asn: internal, limit: 99, families: {ipv4-unicast: {}, l2vpn-evpn: {routeReflectorClient: true}}}],
            hostSessions: [{name: pt, nodes: {labels: [a=b]}, asn: 64514, peerAsn: internal, prefixes: [192.169.9.0/24], link: pt-host}],
            index: {link: eth1, prefix: 192.168.11.0/24}}`.replaceAll("\n", " "),
        ),
      ],
    ));

  test("static files are joined; what is somebody else's is left out and told", () => {
    const { resources, problems, notes } = convert([
      {
        name: "openpe_a.yaml",
        text: `underlays: [{name: underlay, asn: 64514, ${nic}, neighbors: [${tor}], tunnelEndpoint: {cidrs: [100.65.0.0/24]}}]\nl3vnis: [{name: red, vrf: red, vni: 100}]\n`,
      },
      {
        name: "openpe_b.yaml",
        text: "l2vnis: [{vni: 110, routingDomain: {type: L3VNI, l3vni: {name: red}}}]\nbgppassthrough: {hostSession: {asn: 64514, hostASN: 1, localCIDR: {ipv4: 192.0.2.0/24}}}\n",
      },
      { name: "node-config.yaml", text: "nodeIndex: {index: 3}\nlogLevel: debug\n" },
      {
        name: "x.json",
        text: JSON.stringify({
          apiVersion: "v1",
          kind: "List",
          items: [{ apiVersion: "v1", kind: "Secret", metadata: { name: "s" } }],
        }),
      },
    ]);
    expect(problems).toEqual([]);
    expect(resources.map(({ kind, value }) => `${kind}/${value.name}`)).toEqual([
      "Underlay/underlay",
      "VPC/red",
      "Subnet/l2vni-110",
    ]);
    expect(resources[0]?.value).toMatchObject({
      index: { number: 3 },
      hostSessions: [{ name: "passthrough", peerAsn: 1 }],
    });
    expect(notes[0]).toBe('x.json, document 1, item 1: Secret "s" is not OpenPERouter\'s, and is left out');
  });

  test("route targets of two L3VNIs are shared; an L2VNI of the same name as an L3VNI has a VPC beside it", () => {
    const { resources, problems } = converted(
      plainUnderlay(),
      l3("a", 1, ', importRTs: ["1:1", "1:2"], exportRTs: ["1:1"]'),
      l3("b", 2, ', importRTs: ["1:1"], exportRTs: ["1:3"]'),
      now("L2VNI", "a", "{vni: 3}"),
    );
    expect(problems).toEqual([]);
    expect(
      resources.flatMap(({ kind, value }) => (kind === "VPC" ? [[value.name, value.sharedTargets]] : [])),
    ).toEqual([
      ["a", ["1:1"]],
      ["b", ["1:1"]],
      ["a.l2", []],
    ]);
    expect(resources.at(-1)?.value).toMatchObject({ name: "a", vpc: "a.l2" });
  });
});

describe("what Causeway has not, and what OpenPERouter refuses, is refused by name", () => {
  const u = (more: string) => now("Underlay", "u", `{asn: 64514, ${nic}, ${more}}`);
  const n = (more: string) => u(`neighbors: [{${more}}]`);
  const cases: [name: string, documents: string[], expected: string][] = [
    [
      "L3VPN",
      [now("L3VPN", "x", "{}")],
      'L3VPN "x": is SRv6, which Causeway has not; use an L3VNI, with EVPN',
    ],
    ["RawFRRConfig", [now("RawFRRConfig", "x", "{}")], 'RawFRRConfig "x": is FRR\'s own configuration'],
    [
      "grout",
      [now("OpenPERouter", "x", "{datapath: grout}")],
      'OpenPERouter "x": spec.datapath grout is a data path',
    ],
    [
      "IS-IS",
      [u(`neighbors: [${tor}], isis: {baseNet: "x"}`)],
      'Underlay "u": spec.isis is IS-IS, which Causeway has not',
    ],
    ["SRv6", [u(`neighbors: [${tor}], srv6: {}`)], 'Underlay "u": spec.srv6 is SRv6, which Causeway has not'],
    [
      "OVS",
      [now("L2VNI", "x", "{vni: 1, hostMaster: {type: OVSBridge, ovsBridge: {lifecycle: Managed}}}")],
      'L2VNI "x": spec.hostMaster.type OVSBridge is Open vSwitch',
    ],
    [
      "a domain of an L3VPN",
      [now("L2VNI", "x", "{vni: 1, routingDomain: {type: L3VPN, l3vpn: {name: y}}}")],
      "spec.routingDomain.type L3VPN is SRv6",
    ],
    [
      "VPN families",
      [n("asn: 1, address: 'fd00::1', addressFamilies: [{type: ipv4vpn}]")],
      "spec.neighbors[0].addressFamilies[0].type ipv4vpn is of L3VPNs",
    ],
    [
      "a password",
      [n("asn: 1, address: 192.0.2.1, password: hunter2")],
      "spec.neighbors[0].password is a password in clear text",
    ],
    [
      "no neighbor",
      [u("neighbors: []")],
      'Underlay "u", as Underlay "u": spec.neighbors [] names no neighbor',
    ],
    [
      "asn 0",
      [now("Underlay", "u", `{asn: 0, ${nic}, neighbors: [${tor}]}`)],
      "spec.asn 0 is not a whole number from 1",
    ],
    [
      "asn and type",
      [n("asn: 1, type: External, address: 192.0.2.1")],
      "spec.neighbors[0].type stands beside asn",
    ],
    ["neither asn nor type", [n("address: 192.0.2.1")], "spec.neighbors[0].asn is missing, and type too"],
    ["no endpoint", [n("asn: 1")], "spec.neighbors[0] names no neighbor"],
    [
      "two endpoints",
      [n("asn: 1, address: 192.0.2.1, listenRange: 192.0.2.0/24")],
      "spec.neighbors[0] 192.0.2.1 has address and listen",
    ],
    ["a link-local range", [n("asn: 1, listenRange: 'fe80::/64'")], "fe80::/64 is link-local"],
    [
      "half of the timers",
      [n("asn: 1, address: 192.0.2.1, holdTimeSeconds: 9")],
      "hold 9s stands without keepalive",
    ],
    [
      "a short hold time",
      [n("asn: 1, address: 192.0.2.1, holdTimeSeconds: 2, keepaliveTimeSeconds: 1")],
      "hold 2s is not 0, nor from 3s",
    ],
    [
      "a client that is not internal",
      [
        n(
          "asn: 1, address: 192.0.2.1, addressFamilies: [{type: evpn, properties: [{type: routeReflectorClient}]}]",
        ),
      ],
      "is for internal neighbors only",
    ],
    [
      "the cluster id among router ids",
      [u(`neighbors: [${tor}], routeReflector: {clusterID: 10.0.0.9}`)],
      "spec.clusterId 10.0.0.9 is in spec.routerIds",
    ],
    [
      "a name of an interface",
      [now("Underlay", "u", `{asn: 1, nics: [0eth], neighbors: [${tor}]}`)],
      'spec.nics[0] "0eth" is not the name of an interface',
    ],
    [
      "mixed interfaces",
      [
        now(
          "Underlay",
          "u",
          `{asn: 1, neighbors: [${tor}], interfaces: [{type: NetworkDevice, networkDevice: {interfaceName: a}}, {type: CNIDevice, cniDevice: {type: RawConfig, rawConfig: {}}}]}`,
        ),
      ],
      "spec.interfaces[1].type is another than that of the first",
    ],
    [
      "an old CNI version",
      [
        now(
          "Underlay",
          "u",
          `{asn: 1, neighbors: [${tor}], interfaces: [{type: CNIDevice, cniDevice: {type: RawConfig, rawConfig: {cniVersion: 0.3.1, name: a, plugins: [{type: b}]}}}]}`,
        ),
      ],
      'cniVersion "0.3.1" is not supported',
    ],
    ["two Underlays", [plainUnderlay(), u(`neighbors: [${tor}]`)], "a router of a node has one Underlay"],
    ["a VNI twice", [plainUnderlay(), l3("a", 7), l3("b", 7)], 'VPC "b": spec.vni 7 is that of VPC "a"'],
    [
      "a VRF twice",
      [plainUnderlay(), l3("a", 7), now("L3VNI", "b", "{vrf: a, vni: 8}")],
      'L3VNI "b": spec.vrf a is that of L3VNI "a" too',
    ],
    ["a VRF's name", [now("L3VNI", "b", "{vrf: 9a, vni: 8}")], 'spec.vrf "9a" is not the name of a VRF'],
    ["a route target", [l3("a", 7, ', exportRTs: ["65536:65536"]')], '"65536:65536" is not a route target'],
    [
      "hosts that overlap",
      [
        plainUnderlay(),
        ...["a", "b"].map((name, i) =>
          l3(name, 7 + i, ", hostSession: {asn: 1, hostASN: 2, localCIDR: {ipv4: 192.0.2.0/24}}"),
        ),
      ],
      "overlaps 192.0.2.0/24 of VPC",
    ],
    [
      "no host AS number",
      [l3("a", 7, ", hostSession: {asn: 1, localCIDR: {ipv4: 192.0.2.0/24}}")],
      "spec.hostSession.hostASN is missing, and hostType too",
    ],
    [
      "host AS number and type",
      [
        l3(
          "a",
          7,
          ", hostSession: {asn: 1, hostASN: 2, hostType: External, localCIDR: {ipv4: 192.0.2.0/24}}",
        ),
      ],
      "spec.hostSession.hostType stands beside hostASN",
    ],
    [
      "the same AS number",
      [l3("a", 7, ", hostSession: {asn: 1, hostASN: 1, localCIDR: {ipv4: 192.0.2.0/24}}")],
      "spec.hostSession.peerAsn 1 is asn too",
    ],
    [
      "no local CIDR",
      [l3("a", 7, ", hostSession: {asn: 1, hostASN: 2}")],
      "spec.hostSession.localCIDR names no network",
    ],
    [
      "gateways without a domain",
      [now("L2VNI", "a", "{vni: 7, gatewayIPs: [10.0.0.1/24]}")],
      "spec.gatewayIPs has no meaning without a routing domain",
    ],
    [
      "two gateways of a family",
      [
        plainUnderlay(),
        l3("a", 7),
        now(
          "L2VNI",
          "b",
          "{vni: 8, routingDomain: {type: L3VNI, l3vni: {name: a}}, gatewayIPs: [10.0.0.1/24, 10.0.1.1/24]}",
        ),
      ],
      "is the second of IPv4",
    ],
    [
      "a bad gateway",
      [now("L2VNI", "b", "{vni: 8, routingDomain: {type: L3VNI, l3vni: {name: a}}, gatewayIPs: [10.0.0.1]}")],
      '"10.0.0.1" is not an address with the length',
    ],
    [
      "a bridge of ours with a name",
      [
        now(
          "L2VNI",
          "b",
          "{vni: 8, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: Managed, name: x}}}",
        ),
      ],
      "has a name, and is made by OpenPERouter",
    ],
    [
      "a bridge of others without",
      [now("L2VNI", "b", "{vni: 8, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: External}}}")],
      "has no name, and is not made by",
    ],
    [
      "no tunnel endpoint",
      [u(`neighbors: [${tor}]`), l3("a", 7)],
      'VPC "a": spec.underlay needs a tunnel endpoint',
    ],
    [
      "no endpoint of the family",
      [plainUnderlay(), l3("a", 7, ", underlayAddressFamily: IPv6")],
      "spec.underlay.family 6 is not among the tunnel endpoints",
    ],
    [
      "two passthroughs",
      [
        plainUnderlay(),
        ...["a", "b"].map((name, i) =>
          now(
            "L3Passthrough",
            name,
            `{hostSession: {asn: 1, hostASN: 2, localCIDR: {ipv4: 192.0.${i}.0/24}}}`,
          ),
        ),
      ],
      "a node has one host session of a router",
    ],
    [
      "a passthrough of another AS",
      [
        plainUnderlay(),
        now("L3Passthrough", "a", "{hostSession: {asn: 7, hostASN: 2, localCIDR: {ipv4: 192.0.2.0/24}}}"),
      ],
      "spec.hostSessions[0].asn 7 is another than spec.asn 64514",
    ],
    [
      "a passthrough alone",
      [now("L3Passthrough", "a", "{hostSession: {asn: 1, hostASN: 2, localCIDR: {ipv4: 192.0.2.0/24}}}")],
      "is a part of an Underlay here, and none is among the files",
    ],
    [
      "unknown fields",
      [u(`neighbors: [${tor}], colour: blue`)],
      'Underlay "u": spec.colour is no field that is known of OpenPERouter',
    ],
    [
      "one name in two namespaces",
      [l3("a", 1), once("L3VNI", "a", "{vni: 2}")],
      "is there twice, also in namespace perouter",
    ],
  ];
  for (const [name, documents, expected] of cases)
    test(name, () => {
      const all = told(...documents);
      expect(all.some((text) => text.includes(expected)) ? expected : all.join("\n")).toBe(expected);
      expect(all.join("\n")).not.toContain("hunter2");
      expect(converted(...documents).resources).toEqual([]);
    });
});

/** What OpenPERouter makes on a node, computed here from its manifests by its own rules (its documentation's addressing), apart from ours. */
const number4 = (text: string) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
const text4 = (value: number) => [24, 16, 8, 0].map((bits) => Math.floor(value / 2 ** bits) % 256).join(".");

const seed = newSeed();
test(`nodes have what OpenPERouter gives them (SEED=${seed})`, () => {
  const random = new Random(seed);
  for (let round = 0; round < 40; round++) {
    const index = random.below(100);
    const l3s = Array.from({ length: random.below(5) }, (_, i) => ({
      name: `v${i}`,
      vni: 100 + i * 7 + random.below(7),
      asn: 64_000 + random.below(9),
      host: random.chance(0.8),
      base: `192.169.${i * 2}.${random.pick([0, 0, 1]) === 0 ? 0 : 128}`,
      rack: random.pick([undefined, "a", "b"] as const),
    }));
    const l2s = Array.from({ length: random.below(5) }, (_, i) => ({
      name: `s${i}`,
      vni: 1000 + i,
      domain: l3s.length > 0 && random.chance(0.7) ? random.pick(l3s) : undefined,
      gateway: random.chance(0.5),
      bridge: random.pick(["none", "managed", "external"] as const),
    }));
    const router4 = `10.${random.below(200)}.0.0`;
    const vtep4 = `100.${64 + random.below(9)}.0.0`;
    const documents = [
      now(
        "Underlay",
        "u",
        `{asn: 64514, routerIDCIDR: ${router4}/16, ${nic}, neighbors: [${tor}], tunnelEndpoint: {cidrs: [${vtep4}/16]}}`,
      ),
      ...l3s.map(({ name, vni, asn, host, base, rack }) =>
        l3(
          name,
          vni,
          `${rack === undefined ? "" : `, nodeSelector: {matchLabels: {rack: ${rack}}}`}${host ? `, hostSession: {asn: ${asn}, hostType: External, localCIDR: {ipv4: ${base}/25}}` : ""}`,
        ),
      ),
      ...l2s.map(({ name, vni, domain, gateway, bridge }, i) =>
        now(
          "L2VNI",
          name,
          `{vni: ${vni}${domain ? `, routingDomain: {type: L3VNI, l3vni: {name: ${domain.name}}}` : ""}${domain && gateway ? `, gatewayIPs: [172.16.${i}.1/24]` : ""}${bridge === "none" ? "" : `, hostMaster: {type: LinuxBridge, linuxBridge: {lifecycle: ${bridge === "managed" ? "Managed" : "External, name: br0"}}}`}}`,
        ),
      ),
    ];
    const { resources, problems } = converted(...documents);
    expect(problems.map(formatProblem)).toEqual([]);
    const { edge } = planEdge(tenantsOf(resources), {
      node: { name: "n", hub: false, labels: { rack: "a" }, index },
    });
    const [router] = edge.routers;
    expect(formatIp(router!.routerId)).toBe(text4(number4(router4) + index + 1));
    expect(formatIp(router!.endpoints[0]!.address!)).toBe(text4(number4(vtep4) + index));
    const here = l3s.filter(({ rack }) => rack !== "b");
    const routed = router!.domains.filter(({ routing }) => routing !== undefined);
    expect(routed.map(({ vpc, vni }) => `${vpc} ${vni}`).sort()).toEqual(
      here.map(({ name, vni }) => `${name} ${vni}`).sort(),
    );
    for (const { name, vni, asn, host, base } of here) {
      const domain = routed.find(({ vpc }) => vpc === name)!;
      // FRR's automatic export target has the AS number of the VRF's instance.
      expect(domain.routing!.exportTargets).toEqual([`${host ? asn : 64514}:${vni}`]);
      const leg = domain.routing!.host;
      expect(leg !== undefined).toBe(host);
      const edge4 = number4(base) + (base.endsWith(".0") ? 1 : 0);
      if (leg !== undefined)
        expect([
          leg.hostLink,
          formatInterfaceAddress(leg.edge[0]!),
          formatInterfaceAddress(leg.host[0]!),
        ]).toEqual([`host-e-${vni}`, `${text4(edge4)}/25`, `${text4(edge4 + 1 + index)}/25`]);
    }
    const segments = router!.domains.flatMap((domain) => domain.segments);
    const wanted = l2s.filter(({ domain }) => domain === undefined || here.includes(domain));
    expect(segments.map(({ vni }) => vni).sort()).toEqual(wanted.map(({ vni }) => vni).sort());
    for (const { vni, domain, gateway, bridge } of wanted) {
      const segment = segments.find((one) => one.vni === vni)!;
      expect(segment.hostLink).toBe(`host-e-${vni}`);
      expect(segment.hostBridge?.name).toBe(
        bridge === "none" ? (undefined as never) : bridge === "managed" ? `br-hs-${vni}` : "br0",
      );
      const has = domain !== undefined && gateway;
      expect(segment.gateways.length).toBe(has ? 1 : 0);
      if (has)
        expect(formatMac(segment.gatewayMac!)).toBe(
          `00:f3:${(vni + 1).toString(16).padStart(8, "0").replace(/../g, "$&:").slice(0, -1)}`,
        );
    }
  }
});
