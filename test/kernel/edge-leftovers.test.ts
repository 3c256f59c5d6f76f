/** What an edge finds of others and of itself where it begins: foreign namespaces stay, whatever they are called. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Edge, type EdgeBgp } from "../../src/agent/edge.ts";
import { Engine } from "../../src/engine/mod.ts";
import {
  type EdgeNode,
  formatProblem,
  noTenants,
  parseManifest,
  type TenantResource,
  type TenantResources,
  tenantsOf,
} from "../../src/resources/mod.ts";
import {
  createNetns,
  exists,
  isNetns,
  listDirectory,
  Netns,
  removeNetns,
  removeTree,
} from "../../src/sys/mod.ts";
import { notRoot, Scratch } from "../support/scratch.ts";

const NODE: EdgeNode = { name: "a", hub: false, index: 0 };

const ENDPOINT = "tunnelEndpoint: {prefixes: [100.65.0.1/32]}";
const RED = `
---
apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: {name: red}
spec: {vni: 5100, underlay: {}}
`;

function underlay(links: string, { more = "", endpoint = ENDPOINT } = {}): TenantResources {
  const { resources, problems } = parseManifest(`
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: rack}
spec:
  asn: 64514
  links: [${links}]
  neighbors: [{address: 192.168.11.2, asn: 64512}]
  ${endpoint}
${more}`);
  if (problems.length > 0) throw new Error(problems.map(formatProblem).join("\n"));
  return tenantsOf(resources as unknown as readonly TenantResource[]);
}

describe.skipIf(notRoot !== undefined)(
  `leftovers of an edge${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    let scratch: Scratch;
    let engine: Engine;
    let folder: string;
    let linksPath: string;
    const problems: string[] = [];
    beforeEach(() => {
      scratch = new Scratch();
      engine = Engine.open({ netns: scratch.netns });
      folder = `${scratch.folder}-netns`;
      linksPath = `${scratch.folder}-links.json`;
      problems.length = 0;
    });
    afterEach(() => {
      engine[Symbol.dispose]();
      for (const name of listDirectory(folder)) removeNetns(`${folder}/${name}`);
      removeTree(folder);
      removeTree(linksPath);
      scratch[Symbol.dispose]();
    });
    const open = (bgp: EdgeBgp = { setEdge() {} }) =>
      new Edge({
        ...{ home: engine, netns: scratch.netns, linksPath, folder, bgp },
        chains: { path: `${folder}-chains.json`, run: folder, node: "a" },
        onProblem: (error) => void problems.push(error.message),
      });

    test("a namespace of another program stays, though nothing in it is up yet", () => {
      createNetns(`${folder}/cw-foreign`);
      expect(Edge.isThere(folder)).toBe(false);
      using edge = open();
      edge.follow(noTenants, NODE);
      expect(isNetns(`${folder}/cw-foreign`)).toBe(true);
      expect(problems).toEqual([]);
      expect(exists(linksPath)).toBe(false);
    });

    test("an admin's own macvlan device that cannot come back yet stays, and comes back later", () => {
      for (const line of [
        "link add eth1 type veth peer name far",
        "link add link eth1 name fabric type macvlan",
        "address add 192.168.11.3/24 dev fabric",
        "link set eth1 up",
        "link set fabric up",
      ])
        scratch.text(`ip ${line}`);
      using edge = open();
      edge.follow(underlay("{name: fabric}, {name: eth1}"), NODE);
      using router = Netns.open(`${folder}/cw-underlay`);
      const inside = () => scratch.text("ip -br link", router);
      expect(inside()).toContain("fabric@");
      // Somebody takes its name.
      scratch.text("ip link add fabric type bridge");
      for (const tenants of [underlay("{name: eth1}"), underlay("{name: eth1}"), noTenants, noTenants]) {
        edge.follow(tenants, NODE);
        expect(inside()).toContain("fabric@");
      }
      expect(scratch.text("ip -br link")).toContain("eth1@");
      expect(isNetns(`${folder}/cw-underlay`)).toBe(true);
      expect(problems.filter((problem) => problem.includes("link fabric is not given back"))).toHaveLength(2);
      scratch.text("ip link delete fabric");
      edge.follow(noTenants, NODE);
      expect(scratch.text("ip -br address show dev fabric")).toContain("192.168.11.3/24");
      expect(isNetns(`${folder}/cw-underlay`)).toBe(false);
      expect(exists(linksPath)).toBe(false);
    });

    test("VPCs go with the tunnel endpoint, also those that an earlier agent made", () => {
      scratch.text("ip link add eth1 type veth peer name far");
      const [first, second] = [open(), open()];
      using _ = { [Symbol.dispose]: () => [first, second].map((edge) => edge[Symbol.dispose]()) };
      const to = (edge: Edge, endpoint?: string) =>
        edge.follow(
          underlay("{name: eth1}", { more: RED, ...(endpoint === undefined ? {} : { endpoint }) }),
          NODE,
        );
      const isThere = () => isNetns(`${folder}/cw-5100`);
      to(first);
      expect(isThere()).toBe(true);
      to(first, "");
      expect(isThere()).toBe(false);
      expect(problems).toHaveLength(1);
      expect(problems[0]).toContain('needs a tunnel endpoint, and Underlay "rack" has none');
      to(first);
      expect(isThere()).toBe(true);
      first[Symbol.dispose]();
      to(second, "");
      expect(isThere()).toBe(false);
    });

    const SESSION = "hostSession: {asn: 64514, peerAsn: 64515, prefixes: [192.169.10.0/24]}";
    const LEGS = `${RED.replace("underlay: {}", `underlay: {}, ${SESSION}`)}---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostBridge: {}}
`;
    const legs = () =>
      ["cwh5100", "cwl5110", "cwb5110"].map((name) => scratch.text(`ip -o address show dev ${name}`));
    /** Another agent begins, and removes what nobody wishes for. */
    const isLeft = (edge: Edge, tenants: TenantResources, before: readonly string[]) => {
      edge.follow(tenants, NODE);
      engine.apply({ prune: true });
      expect(legs()).toEqual([...before]);
    };
    const begin = () => {
      engine[Symbol.dispose]();
      engine = Engine.open({ netns: scratch.netns });
      return open();
    };

    test("of a router that a new agent cannot plan the host's side stays, whatever is removed", () => {
      scratch.text("ip link add eth1 type veth peer name far");
      const second = `${LEGS}---
apiVersion: causeway.network/v1alpha1
kind: Underlay
metadata: {name: second}
spec: {asn: 64514, links: [{name: eth2}], neighbors: [{address: 192.168.12.2, asn: 64512}]}
`;
      const wanted = underlay("{name: eth1}", { more: LEGS });
      {
        using edge = open();
        edge.follow(wanted, NODE);
      }
      const before = legs();
      expect(before[0]).toContain("192.169.10.2/24");
      using edge = begin();
      isLeft(edge, underlay("{name: eth1}", { more: second }), before);
      expect(edge.status()).toEqual([]);
      isLeft(edge, wanted, before);
      edge.follow(noTenants, NODE);
      engine.apply({ prune: true });
      expect(scratch.text("ip -br link")).not.toMatch(/cw[hlb]5/);
    });

    test("nor does it go while the tunnel endpoint has no address yet", () => {
      scratch.text("ip link add eth1 type veth peer name far");
      const wanted = underlay("{name: eth1}", { more: LEGS, endpoint: "tunnelEndpoint: {link: eth1}" });
      const address = (verb: string) => {
        using router = Netns.open(`${folder}/cw-underlay`);
        scratch.text(`ip address ${verb} 192.168.11.3/24 dev eth1`, router);
      };
      {
        using edge = open();
        edge.follow(wanted, NODE);
        expect(problems).toEqual(['Underlay "rack": the tunnel endpoint has no address; give its link one']);
        address("add");
        edge.follow(wanted, NODE);
      }
      const before = legs();
      expect(before[0]).toContain("192.169.10.2/24");
      address("del");
      using edge = begin();
      isLeft(edge, wanted, before);
      expect(edge.place(5100)).toBeUndefined();
      address("add");
      isLeft(edge, wanted, before);
      expect(edge.place(5100)).toBeDefined();
    });

    test("the host's end of a Subnet's link has the name that it was given while no agent ran", () => {
      scratch.text("ip link add eth1 type veth peer name far");
      const to = (hostLink: string) => {
        using edge = open();
        const more = `${RED}---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: {name: red.web}
spec: {vpc: red, vni: 5110, prefixes: [10.1.0.0/24], hostLink: ${hostLink}}
`;
        edge.follow(underlay("{name: eth1}", { more }), NODE);
        return scratch.text("ip -br link");
      };
      expect(to("web0")).toContain("web0@");
      const links = to("web1");
      expect(links).toContain("web1@");
      expect(links).not.toContain("web0@");
      // Whoever took it elsewhere keeps it.
      const other = scratch.another();
      scratch.text(`ip link set web1 netns ${other.path}`);
      expect(to("web1")).not.toContain("web");
      expect(scratch.text("ip -br link", other)).toContain("web1@");
    });

    test("a bridge of ours whose name another link has is named, and made when that is gone", () => {
      for (const name of ["eth1", "taken"])
        scratch.text(`ip link add ${name} type veth peer name far-${name}`);
      const wanted = underlay("{name: eth1}", {
        more: LEGS.replace("hostBridge: {}", "hostBridge: {name: taken}"),
      });
      using edge = open();
      edge.follow(wanted, NODE);
      const problem =
        'Underlay "rack": Subnet "red.web": spec.hostBridge.name taken is a link of this node that is no bridge; choose another name, or remove that link';
      expect(problems.filter((one) => one.startsWith("Underlay"))).toEqual([problem]);
      scratch.text("ip link del taken");
      engine.apply();
      expect(edge.status()[0]?.problems).toEqual([]);
      expect(scratch.text("ip -br link show master taken")).toContain("cwl5110");
    });

    test("what throws in one part is told once, and tried again", () => {
      scratch.text("ip link add eth1 type veth peer name far");
      let isFailing = true;
      const begun: string[] = [];
      using edge = open({
        setEdge(routers) {
          if (isFailing) throw new Error("BGP does not run");
          begun.push(...routers.map(({ name }) => name));
        },
      });
      for (let i = 0; i < 3; i++) edge.follow(underlay("{name: eth1}"), NODE);
      expect(problems).toEqual(["BGP does not run"]);
      isFailing = false;
      edge.follow(underlay("{name: eth1}"), NODE);
      expect(begun).toContain("edge-underlay");
      using router = Netns.open(`${folder}/cw-underlay`);
      expect(scratch.text("ip -br address show dev lo", router)).toContain("100.65.0.1/32");
    });
  },
);
