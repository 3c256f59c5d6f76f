import { describe, expect, test } from "bun:test";
import { newSeed, Random } from "../../test/support/random.ts";
import { tenantResources } from "../../test/support/resource-text.ts";
import {
  formatProblem,
  newMesh,
  noTenants,
  type EdgeNode,
  type TenantResource,
  type TenantResources,
  withTenants,
} from "../resources/mod.ts";
import { edgeProblems } from "./admit.ts";
import { planEdge } from "./plan.ts";

const mesh = newMesh("home", { endpoints: ["192.0.2.1:51820"], overlay6: "fd01:2:3::/64" });

const nodes: EdgeNode[] = ["a", "b", "c"].map((rack, index) => ({
  name: `n-${rack}`,
  hub: false,
  labels: { rack },
  index,
}));

const put = (before: TenantResources, text: string) => withTenants(before, { set: tenantResources(text) });
const said = (before: TenantResources, text: string, known: readonly EdgeNode[] = nodes) =>
  edgeProblems({ before, after: put(before, text), set: tenantResources(text), mesh, nodes: known }).map(
    formatProblem,
  );

const fabric = (name: string, more: string) =>
  `Underlay ${name} {asn: 64514, links: [{name: eth1}], neighbors: [{address: 192.168.11.2, asn: 64512}], tunnelEndpoint: {prefixes: [100.65.0.0/24]}${more}}`;
const session = (net: string) => `hostSession: {asn: 64514, peerAsn: 64515, prefixes: [${net}]}`;

const there = put(
  noTenants,
  `${fabric("fabric", ", nodes: {labels: [rack=a]}")}
   VPC red {vni: 100, underlay: {}, ${session("192.169.10.0/24")}}
   VPC home {vni: 5000}
   Subnet red.a {vpc: red, vni: 110, prefixes: [10.1.0.0/24]}`,
);

describe("refused at admission", () => {
  const cases: [name: string, change: string, expected: string][] = [
    [
      "a second Underlay",
      fabric("two", ""),
      'Underlay "two": spec.nodes fit a node that has router "underlay" from Underlay "fabric" (spec.nodes)',
    ],
    [
      "a VNI of a Subnet",
      "VPC blue {vni: 110, underlay: {}}",
      'VPC "blue": spec.vni 110 is that of Subnet "red.a"; choose another',
    ],
    [
      "networks of host sessions",
      `VPC blue {vni: 7, underlay: {}, ${session("192.169.10.128/25")}}`,
      '192.169.10.128/25 overlaps 192.169.10.0/24 of VPC "red" (spec.hostSession.prefixes[0]) on the same host; choose',
    ],
    [
      "a Subnet's and a host session's network",
      "Subnet red.b {vpc: red, vni: 8, prefixes: [192.169.0.0/16]}",
      'Subnet "red.b": spec.prefixes[0] 192.169.0.0/16 overlaps 192.169.10.0/24 of VPC "red" (spec.hostSession.prefixes[0]) in VPC "red"; choose',
    ],
    [
      "no endpoint of the family",
      "VPC blue {vni: 7, underlay: {family: 6}}",
      'VPC "blue": spec.underlay.family 6 is not among the tunnel endpoints of Underlay "fabric"',
    ],
    [
      "no endpoint of a Subnet's family",
      "Subnet red.b {vpc: red, vni: 7, underlay: {family: 6}}",
      'Subnet "red.b": spec.underlay.family 6 is not among',
    ],
    [
      "networks of the mesh",
      `VPC blue {vni: 7, underlay: {}, ${session("10.90.0.0/24")}}`,
      'VPC "blue": spec.hostSession.prefixes[0] 10.90.0.0/24 overlaps the mesh\'s overlay4',
    ],
    [
      "edge fields in the mesh",
      "Subnet s {vpc: home, vni: 7, hostBridge: {}}",
      'Subnet "s": spec.hostBridge is for Subnets of a VPC in a fabric, and VPC "home" is in the mesh; add underlay: {}',
    ],
    [
      "a VPC that moves to the fabric",
      "VPC home {vni: 5000, underlay: {}}",
      'VPC "home": spec.underlay of router underlay was absent, and never changes; delete it and apply it anew',
    ],
    [
      "another network of a host session",
      `VPC red {vni: 100, underlay: {}, ${session("192.169.11.0/24")}}`,
      'VPC "red": spec.hostSession.prefixes 192.169.11.0/24 was 192.169.10.0/24, and never changes; remove the host session',
    ],
    [
      "a pool that is too small",
      fabric("two", ", nodes: {labels: [rack=c]}, routerIds: 10.1.0.0/31"),
      'Underlay "two": spec.routerIds 10.1.0.0/31 has no address for a node with index 2; use a larger network',
    ],
    [
      "a host's pool that is too small",
      `${fabric("two", ", nodes: {labels: [rack=c]}")}\nVPC blue {vni: 7, underlay: {}, ${session("192.0.2.0/30")}}`,
      'VPC "blue": spec.hostSession.prefixes[0] 192.0.2.0/30 has no address for a node with index 2',
    ],
    [
      "one index for several nodes",
      fabric("two", ', nodes: {labels: ["rack in (b, c)"]}, index: {number: 3}'),
      'Underlay "two": spec.index.number 3 is for one node, and this is for 2, n-b and n-c among them',
    ],
    [
      "two host sessions on a node",
      fabric(
        "two",
        ", nodes: {labels: [rack=b]}, hostSessions: [{name: x, asn: 1, peerAsn: 2, prefixes: [192.0.2.0/25]}, {name: y, asn: 1, peerAsn: 2, prefixes: [192.0.2.128/25], nodes: {labels: [rack]}}]",
      ),
      'Underlay "two": spec.hostSessions[1].nodes y fits a node that x fits too',
    ],
    [
      "a host session of another AS than its Underlay",
      fabric(
        "two",
        ", nodes: {labels: [rack=b]}, hostSessions: [{name: x, asn: 64513, peerAsn: 64515, prefixes: [192.0.2.0/24]}]",
      ),
      'Underlay "two": spec.hostSessions[0].asn 64513 is another than spec.asn 64514, and one speaker has both; write 64514 here',
    ],
    [
      "links of the host with one name",
      "Subnet red.b {vpc: red, vni: 8, hostLink: cwh100}",
      'Subnet "red.b": spec.hostLink cwh100 is a link of VPC "red" (spec.hostSession.link) too',
    ],
    [
      "a link with the name of a passthrough's",
      `${fabric("two", ", nodes: {labels: [rack=b]}, hostSessions: [{name: x, asn: 1, peerAsn: 2, prefixes: [192.0.2.0/25]}]")}
       VPC blue {vni: 7, underlay: {}, ${session("192.169.11.0/24").replace("{asn", "{link: cwpunderlay, asn")}}`,
      'VPC "blue": spec.hostSession.link cwpunderlay is a link of Underlay "two" (spec.hostSessions[0].link) too; choose another',
    ],
    [
      "a link that another router has moved",
      fabric("two", ", router: blue"),
      'Underlay "two": spec.links[0].name eth1 is that of another router on the same host: Underlay "fabric" (spec.links[0].name); choose another link',
    ],
    [
      "a link on one that another router has moved",
      fabric("two", ", router: blue").replace("{name: eth1}", "{name: v, vlan: {parent: eth1, id: 9}}"),
      'Underlay "two": spec.links[0].vlan.parent eth1 is that of another router on the same host',
    ],
    [
      "a Subnet over another family than its VPC",
      `${fabric("two", ", nodes: {labels: [rack=b]}").replace("100.65.0.0/24", '100.65.0.0/24, "fd00:64::/64"')}
       Subnet red.b {vpc: red, vni: 8, underlay: {family: 6, nodes: {labels: [rack=b]}}}`,
      'Subnet "red.b": spec.underlay.family 6 and that of VPC "red" (spec.underlay.family) are IPv4 and IPv6, and VXLAN of a VPC ends at one address; write the same',
    ],
    [
      "a next hop in rules of a VPC",
      "VPC blue {vni: 7, underlay: {export: [{set: {med: 1}, action: next}, {set: {nextHop: 192.0.2.1}, action: accept}]}}",
      'VPC "blue": spec.underlay.export[1].set.nextHop 192.0.2.1 changes nothing, as next hops of a VPC are tunnel endpoints; remove it',
    ],
  ];
  for (const [name, change, expected] of cases)
    test(name, () => {
      const all = said(there, change);
      expect(all.some((text) => text.includes(expected)) ? expected : all.join("\n")).toBe(expected);
    });

  test("links of an Underlay that are of another kind under their name, or other plugins; not spaces of JSON", () => {
    const cni = (text: string) =>
      `Underlay u {nodes: {labels: [rack=b]}, asn: 1, links: [{name: l, ${text}}], neighbors: [{link: l, asn: 2}]}`;
    const chain = "cni: {config: {cniVersion: 1.0.0, name: u, plugins: [{type: macvlan, master: eth0}]}}";
    const before = put(there, cni(chain));
    expect(
      said(before, cni(chain.replace("type: macvlan, master: eth0", "master: eth0, type: macvlan"))),
    ).toEqual([]);
    expect(said(before, cni(chain.replace("eth0", "eth9")))).toEqual([
      'Underlay "u": spec.links[0].cni.config was another one, and never changes; give it another name than l, or delete it and apply it anew',
    ]);
    expect(said(before, cni("mtuBytes: 1500"))).toEqual([
      'Underlay "u": spec.links[0].name move was cni, and never changes; give it another name than l, or delete it and apply it anew',
    ]);
  });
});

describe("allowed at admission", () => {
  test.each([
    ["another Underlay for other nodes", fabric("two", ", nodes: {labels: [rack=b]}")],
    [
      "several links and neighbors",
      "Underlay two {nodes: {labels: [rack=b]}, asn: 1, links: [{name: a}, {name: b}], neighbors: [{link: a, asn: 2}, {link: b, asn: 2}]}",
    ],
    [
      "a second router on the same nodes",
      fabric("two", ", router: blue").replace("{name: eth1}", "{name: eth2}"),
    ],
    [
      "two routers with links on the same link of the host",
      ["x", "y"]
        .map((name) =>
          fabric(name, `, router: ${name}`).replace(
            "{name: eth1}",
            "{name: fabric0, vlan: {parent: eth2, id: 9}}",
          ),
        )
        .join("\n"),
    ],
    [
      "one network on different nodes",
      `VPC blue {vni: 7, underlay: {nodes: {labels: [rack=b]}}, ${session("192.169.10.0/24")}}`,
    ],
    [
      "another family of a host session",
      `VPC red {vni: 100, underlay: {}, ${session('192.169.10.0/24, "fd00:9::/64"')}}`,
    ],
    ["another endpoint", fabric("fabric", ", nodes: {labels: [rack=a]}").replace("100.65", "100.66")],
    [
      "an Underlay without the endpoint that a VPC needs",
      fabric("fabric", ", nodes: {labels: [rack=a]}").replace(
        /, tunnelEndpoint: \{prefixes: \[[^\]]*\]\}/,
        "",
      ),
    ],
  ])("%s", (_, change) => expect(said(there, change)).toEqual([]));
});

test("what an earlier version let in may be said again as it is, beside what is new; a change of it is judged", () => {
  const hop = "VPC hop {vni: 7, underlay: {export: [{set: {nextHop: 192.0.2.1}, action: accept}]}}";
  const twin = fabric("two", ", router: blue");
  const before = put(there, `${hop}\n${twin}`);
  expect(said(before, `${hop}\n${twin}\nVPC other {vni: 8, underlay: {}}`)).toEqual([]);
  expect(said(before, hop.replace("192.0.2.1", "192.0.2.9"))).toEqual([
    'VPC "hop": spec.underlay.export[0].set.nextHop 192.0.2.9 changes nothing, as next hops of a VPC are tunnel endpoints; remove it',
  ]);
  expect(said(before, twin.replace("asn: 64514", "asn: 64515"))).toHaveLength(1);
});

test("an Underlay that brings two together that do not go together is told so", () => {
  const before = put(
    there,
    `VPC x {vni: 7, underlay: {router: blue}, ${session("192.0.2.0/24")}}
     VPC y {vni: 8, underlay: {router: blue}, ${session("192.0.2.0/25")}}`,
  );
  expect(said(before, fabric("blue", ", router: blue, nodes: {labels: [rack=b]}"))).toEqual([
    'Underlay "blue": spec cannot be on node n-b as others are: VPC "y": spec.hostSession.prefixes[0] 192.0.2.0/25 overlaps 192.0.2.0/24 of VPC "x" (spec.hostSession.prefixes[0]) on the same host; choose networks that share no address',
  ]);
});

test("without any node what is for all is judged", () => {
  const before = put(noTenants, fabric("one", ""));
  expect(said(before, fabric("two", ""), [])[0]).toContain(
    'Underlay "two": spec.nodes fit a node that has router',
  );
});

const seed = newSeed();
test(`what was admitted is left out nowhere (SEED=${seed})`, () => {
  const random = new Random(seed);
  let tenants = noTenants;
  let admitted = 0;
  let refused = 0;
  const selector = () =>
    random.pick(["", "nodes: {labels: [rack=a]}", 'nodes: {labels: ["rack in (b, c)"]}']);
  for (let step = 0; step < 150; step++) {
    const i = random.below(4);
    const change = random.pick([
      () => fabric(`u${i}`, `, ${selector()}`).replace(", }", "}"),
      () =>
        `VPC v${i} {vni: ${1 + random.below(9)}, underlay: {${selector()}}, ${session(`192.169.${random.below(5)}.0/24`)}}`,
      () =>
        `Subnet s${i} {vpc: v${random.below(4)}, vni: ${1 + random.below(9)}, prefixes: [192.169.${random.below(9)}.128/25], hostBridge: {name: br${random.below(3)}}}`,
    ])();
    const set = tenantResources(change);
    const [{ kind, value }] = set as [TenantResource];
    if (kind === "Subnet" && !tenants.VPC.has(value.vpc)) continue;
    const after = withTenants(tenants, { set });
    const problems = edgeProblems({ before: tenants, after, set, mesh, nodes });
    for (const problem of problems) expect(problem.object).toBe(`${kind} "${value.name}"`);
    if (problems.length > 0) {
      refused++;
      continue;
    }
    admitted++;
    tenants = after;
    for (const node of nodes)
      expect(planEdge(tenants, { node }).problems.filter(({ reason }) => reason === "invalid")).toEqual([]);
  }
  expect(admitted).toBeGreaterThan(10);
  expect(refused).toBeGreaterThan(10);
});
