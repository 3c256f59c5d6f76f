/** How the agent's part in VPCs begins: as a whole or not at all, and after a restart as it was. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { CniNode } from "../support/cni-node.ts";
import { notRoot } from "../support/scratch.ts";

setDefaultTimeout(60_000);

const program = new URL("../support/vpcs-program.ts", import.meta.url).pathname;

describe.skipIf(notRoot !== undefined)(
  `the beginning of VPCs${notRoot === undefined ? "" : ` (${notRoot})`}`,
  () => {
    test("what fails is begun anew with the next news; of two pods of one machine the one that came last is it, and how often it has moved is known, also after a restart", async () => {
      await using node = await CniNode.create();
      const { stdout, stderr } = await node.run([process.execPath, program]);
      const said: unknown = stdout === "" ? stderr : JSON.parse(stdout);
      expect(said).toEqual({
        first: "no room for a router",
        early: "Cannot attach to a VPC: the node takes part in no mesh yet",
        zzz: "added",
        aaa: "added",
        before: "aaa",
        after: "aaa",
        sequences: ["zzz 4", "aaa 4"],
        left: "zzz",
        shown: [],
        problems: [],
      });
    });
  },
);
