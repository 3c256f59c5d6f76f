import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync } from "node:fs";
import type { Results } from "../../src/agent/mod.ts";
import { Lab, until } from "../../src/lab/mod.ts";
import { labLacks as skip, executable } from "../support/lab-needs.ts";

const root = `/run/causeway-test/${process.pid}-tenants`;

/** Guards against hanging only. */
const DEADLINE_MS = 180_000;

const topology = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: tenants }
spec:
  networks:
    - { name: wire, prefix4: 192.0.2.0/24 }
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: one, networks: [wire] }
`;

const object = (kind: string, name: string, spec: string) =>
  `apiVersion: causeway.network/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

const teamA = [
  object("Subnet", "team-a.web", '{vpc: team-a, prefixes: [10.1.0.0/24, "fd00:a:1::/64"]}'),
  object("VPC", "team-a", "{allow: {namespaces: [team-a]}}"),
  object(
    "SecurityGroup",
    "team-a.in",
    "{vpc: team-a, rules: [{direction: ingress, protocol: tcp, ports: [80]}]}",
  ),
].join("---\n");

/** What `causeway get --json` prints. */
interface Shown {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: { readonly vni?: number };
}

describe.skipIf(skip !== undefined)(`tenants' resources${skip === undefined ? "" : ` (${skip})`}`, () => {
  let lab: Lab;
  beforeAll(async () => {
    mkdirSync(root, { recursive: true });
    await Lab.remove("tenants", { root });
    lab = await Lab.up(topology, { root, executable });
  }, DEADLINE_MS);
  afterAll(async () => {
    await Lab.remove("tenants", { root });
    rmSync(root, { recursive: true, force: true });
  }, DEADLINE_MS);

  async function said(node: string, args: readonly string[], input?: string) {
    const { status, stdout, stderr } = await lab.causeway(node, args, input);
    return { status, text: stdout + stderr };
  }
  const shown = (node: string) => lab.causewayJson<readonly Shown[]>(node, ["get", "all"]);
  const names = async (node: string) => (await shown(node)).map(({ metadata }) => metadata.name);
  const reaches = (node: string, expected: readonly string[]) =>
    until(
      async () => {
        const found = (await names(node)).join();
        return found === expected.join() ? undefined : found;
      },
      { what: `${node} to see ${expected.join() || "nothing"}`, deadlineMs: DEADLINE_MS },
    );

  const all = ["team-a", "team-a.web", "team-a.in"];

  test(
    "what is applied on the hub is read on another node, with the VNIs that the register gave",
    async () => {
      const applied = await said("hub", ["apply", "-f", "-"], teamA);
      expect(applied).toEqual({
        status: 0,
        text: "subnet/team-a.web created, VNI 4096\nvpc/team-a created, VNI 4097\nsecurity-group/team-a.in created\n",
      });
      await reaches("one", all);
      expect(await shown("one")).toEqual(await shown("hub"));
      const subnet = await lab.causewayJson<Shown>("one", ["get", "subnet", "team-a.web"]);
      expect(subnet).toMatchObject({ kind: "Subnet", spec: { vpc: "team-a", vni: 4096 } });
      const { text } = await said("one", ["get", "vpc"]);
      expect(text.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
        ["VPC", "VNI", "SUBNETS", "PODS OF", "NODES"],
        ["team-a", "4097", "1", "team-a", "any node"],
        [""],
      ]);
    },
    DEADLINE_MS,
  );

  test(
    "what get prints as YAML is applied without a change, and gives no new revision",
    async () => {
      const yaml = (await said("one", ["get", "all", "-o", "yaml"])).text;
      const applied = await lab.causewayJson<Results["resource-apply"]>("hub", ["apply", "-f", "-"], yaml);
      expect(applied.resources.map(({ change }) => change)).toEqual(["unchanged", "unchanged", "unchanged"]);
      const again = await lab.causewayJson<Results["resource-apply"]>("hub", ["apply", "-f", "-"], teamA);
      expect(again.resources.map(({ change }) => change)).toEqual(["unchanged", "unchanged", "unchanged"]);
      expect(again.revision).toBe(applied.revision);
    },
    DEADLINE_MS,
  );

  test(
    "mistakes are answered with object, field, value and fix, and change nothing",
    async () => {
      const overlapping = object("Subnet", "team-a.db", "{vpc: team-a, prefixes: [10.1.0.128/25]}");
      const rules = Array.from(
        { length: 256 },
        () => '{direction: ingress, prefixes: ["fd00:a:1::/64"]}',
      ).join();
      const large = Array.from({ length: 32 }, (_, i) =>
        object("SecurityGroup", `g${i}`, `{vpc: team-a, rules: [${rules}]}`),
      ).join("---\n");
      const cases: [node: string, args: string[], input: string, status: number, words: string][] = [
        [
          "hub",
          ["apply", "-f", "-"],
          `${overlapping}---\n${object("VPC", "team-b", "{}")}`,
          1,
          'Subnet "team-a.db": spec.prefixes[0] 10.1.0.128/25 overlaps 10.1.0.0/24 of Subnet "team-a.web" in VPC "team-a"; choose networks that share no address\n',
        ],
        [
          "hub",
          ["apply", "-f", "-"],
          object("VPC", "x", "{vin: 5}"),
          1,
          'VPC "x": spec.vin is not a field; the fields',
        ],
        [
          "hub",
          ["apply", "-f", "-"],
          "",
          1,
          "Cannot read -: it holds no object; write one of kind VPC, Subnet,",
        ],
        [
          "hub",
          ["apply", "-f", "-"],
          large,
          1,
          "characters as JSON, and 500000 are the most; split them, what others refer to first",
        ],
        ["hub", ["apply"], "", 2, "--file FILE is missing"],
        [
          "hub",
          ["delete", "vpc", "team-a"],
          "",
          1,
          'VPC "team-a": is used by Subnet "team-a.web" (spec.vpc); delete',
        ],
        ["hub", ["delete", "vpc"], "", 2, "NAME is missing"],
        ["hub", ["get", "vpx"], "", 2, '"vpx" is not a kind; the kinds are vpc, subnet,'],
        ["one", ["get", "vpc", "x"], "", 1, 'There is no VPC "x" in the register'],
        ["one", ["apply", "-f", "-"], teamA, 1, "Cannot apply: this node is not a hub; ask there"],
        [
          "one",
          ["delete", "subnet", "team-a.web"],
          "",
          1,
          "Cannot delete: this node is not a hub; ask there",
        ],
      ];
      for (const [node, args, input, status, words] of cases) {
        const answer = await said(node, args, input);
        expect(answer.text.includes(words) ? words : answer.text).toBe(words);
        expect([words, answer.status]).toEqual([words, status]);
      }
      expect(await names("hub")).toEqual(all);
    },
    DEADLINE_MS,
  );

  test(
    "who may read may not apply",
    async () => {
      const group = ["setpriv", "--reuid=65534", "--regid=0", "--clear-groups", executable];
      expect((await lab.exec("hub", [...group, "get", "vpc"])).status).toBe(0);
      const refused = await lab.exec("hub", [...group, "delete", "security-group", "team-a.in"]);
      expect(refused.status).toBe(1);
      expect(refused.stderr).toContain("Only root may do that (resource-delete)");
    },
    DEADLINE_MS,
  );

  test(
    "they outlive both agents, and a node knows them while no hub is there",
    async () => {
      const before = await shown("hub");
      await lab.killAgent("hub");
      await lab.killAgent("one");
      await lab.startAgent("one");
      expect(await shown("one")).toEqual(before);
      await lab.startAgent("hub");
      expect(await shown("hub")).toEqual(before);
    },
    DEADLINE_MS,
  );

  test(
    "what is deleted is gone everywhere, and its VNIs are not given to the next",
    async () => {
      const deleted = await said("hub", ["delete", "-f", "-"], teamA);
      expect(deleted).toEqual({
        status: 0,
        text: "subnet/team-a.web deleted\nvpc/team-a deleted\nsecurity-group/team-a.in deleted\n",
      });
      await reaches("one", []);
      expect((await said("one", ["get", "all"])).text).toBe("none\n");
      expect((await said("hub", ["apply", "-f", "-"], object("VPC", "team-b", "{}"))).text).toBe(
        "vpc/team-b created, VNI 4098\n",
      );
      await reaches("one", ["team-b"]);
    },
    DEADLINE_MS,
  );
});
