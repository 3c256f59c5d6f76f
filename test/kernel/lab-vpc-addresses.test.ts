/** Addresses of a Subnet among real agents: claimed, used without a hub, kept over a killed agent, returned, and lost with the node. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rmSync } from "node:fs";
import { Lab, until } from "../../src/lab/mod.ts";
import { executable, labLacks } from "../support/lab-needs.ts";

setDefaultTimeout(180_000);
const root = `/run/causeway-test/${process.pid}-vpc-addresses`;
const DEADLINE_MS = 60_000;

const MANIFEST = `apiVersion: causeway.network/v1alpha1
kind: Lab
metadata: { name: vpc-addresses }
spec:
  networks: [{ name: wire, prefix4: 192.0.2.0/24 }]
  nodes:
    - { name: hub, role: hub, networks: [wire] }
    - { name: a, networks: [wire] }
`;

const RESOURCES = `apiVersion: causeway.network/v1alpha1
kind: VPC
metadata: { name: team }
spec: { allow: { namespaces: ["*"] } }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: web }
spec: { vpc: team, prefixes: [10.1.0.0/24] }
---
apiVersion: causeway.network/v1alpha1
kind: Subnet
metadata: { name: tiny }
spec: { vpc: team, prefixes: [10.2.0.0/30] }
`;

interface Shown {
  readonly subnet: string;
  readonly block: string;
  readonly node: string;
  readonly usable: number;
  readonly used?: number;
}

describe.skipIf(labLacks !== undefined)(
  `addresses of Subnets${labLacks === undefined ? "" : ` (${labLacks})`}`,
  () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.up(MANIFEST, { root, executable });
      const { status, stderr } = await lab.causeway("hub", ["apply", "-f", "-"], RESOURCES);
      if (status !== 0) throw new Error(stderr);
      await until(async () => ((await knows("a")) ? undefined : "not yet"), {
        what: "the Subnets to be known at a",
        deadlineMs: DEADLINE_MS,
      });
    });
    afterAll(async () => {
      await lab?.down();
      rmSync(root, { recursive: true, force: true });
    });

    const knows = async (node: string) => (await lab.causeway(node, ["get", "subnet", "tiny"])).status === 0;
    const add = async (node: string, pod: string, subnet = "web"): Promise<string> => {
      const config = { cniVersion: "1.0.0", name: subnet, type: "causeway", subnet };
      await lab.addPod(node, pod, [{ ifname: "net1", config }]);
      const { stdout } = await lab.exec(pod, ["ip", "-j", "-4", "addr", "show", "net1"]);
      return JSON.parse(stdout)[0].addr_info[0].local;
    };
    const addresses = async (): Promise<readonly Shown[]> => {
      const { stdout } = await lab.causeway("hub", ["vpc", "addresses", "--json"]);
      return JSON.parse(stdout).blocks;
    };
    const shown = (...wanted: string[]) =>
      until(
        async () => {
          const lines = (await addresses()).map(({ block, node, used }) => `${block} ${node} ${used ?? "?"}`);
          return lines.join() === wanted.join() ? undefined : lines.join();
        },
        { what: `the hub to show ${wanted.join()}`, deadlineMs: DEADLINE_MS },
      );

    test("each node claims a block, and says how much of it is used", async () => {
      expect([await add("a", "a1"), await add("hub", "h1")]).toEqual(["10.1.0.2", "10.1.0.16"]);
      await shown("10.1.0.0/28 a 1", "10.1.0.16/28 hub 1");
      const { stdout } = await lab.causeway("hub", ["vpc", "addresses", "web"]);
      expect(stdout).toBe(
        "SUBNET  BLOCK         NODE  USED\nweb     10.1.0.0/28   a     1 of 14\nweb     10.1.0.16/28  hub   1 of 16\n",
      );
      const member = await lab.causeway("a", ["vpc", "addresses"]);
      expect([member.status, member.stderr]).toEqual([
        1,
        expect.stringContaining("Cannot show addresses: this node is not a hub; ask there"),
      ]);
    });

    test("while the hub is away pods start as before; an agent that was killed gives nothing twice", async () => {
      await lab.killAgent("hub");
      expect(await add("a", "a2")).toBe("10.1.0.3");
      await lab.killAgent("a");
      await lab.startAgent("a");
      expect(await add("a", "a3")).toBe("10.1.0.4");
      await lab.startAgent("hub");
      await shown("10.1.0.0/28 a 3", "10.1.0.16/28 hub 1");
    });

    test("of a subnet that is used up nobody gets anything, until a pod goes", async () => {
      expect(await add("a", "last", "tiny")).toBe("10.2.0.2");
      await expect(add("hub", "none", "tiny")).rejects.toThrow("nothing of 10.2.0.0/30 is left");
      await lab.deletePod("last");
      await until(
        async () =>
          (await addresses()).some(({ subnet }) => subnet === "tiny") ? "still claimed" : undefined,
        { what: "the address to be returned", deadlineMs: DEADLINE_MS },
      );
      expect(await add("hub", "next", "tiny")).toBe("10.2.0.2");
    });

    test("a node that is removed loses what it had", async () => {
      await lab.causeway("hub", ["node", "remove", "a"]);
      await shown("10.2.0.2/32 hub 1", "10.1.0.16/28 hub 1");
    });
  },
);
