/** Custom resources at a real kube-apiserver, in a namespace of its own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { apiServerNeeds } from "../support/api-server.ts";
import { Scratch } from "../support/scratch.ts";

setDefaultTimeout(300_000);
const { program, etcd, lacks } = apiServerNeeds();

test.skipIf(lacks !== undefined)(
  `every kind is created, defaulted, refused, changed, deleted, and watched through a restart of the API server${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/api-scenario.ts", import.meta.url).pathname;
    const argv = [process.execPath, scenario, program as string, etcd as string];
    const { stdout, stderr } = runSync(argv, { netns: scratch.netns, timeoutMs: 280_000 });
    expect(stderr).toBe("");
    const all = (value: unknown) => Array.from({ length: 9 }, () => value);
    const { minor, ...result } = JSON.parse(stdout);
    // By rules in CEL, which older API servers do not know.
    const fixed = minor >= 25 ? expect.stringMatching(/^422 .*never changes/) : "none";
    expect(result).toEqual({
      created: all(1),
      kept: [],
      defaulted: { routed: true, protocols: ["tcp", "any", "icmp", "any"], router: "underlay" },
      refused: {
        VPC: expect.stringMatching(/^422 .*spec.vni.*16777215/),
        Subnet: expect.stringMatching(/^422 .*spec.prefixes.*cidr/),
        Peering: expect.stringMatching(/^422 .*spec.vpcs/),
        NatGateway: expect.stringMatching(/^422 .*spec.externalAddresses/),
        FloatingIP: expect.stringMatching(/^422 .*spec.gateway/),
        SecurityGroup: expect.stringMatching(/^422 .*spec.rules.*sideways/),
        Underlay: expect.stringMatching(/^422 .*spec.links/),
        Gateway: expect.stringMatching(/^422 .*spec.backend.*swift/),
        Route: expect.stringMatching(/^422 .*spec.spi.*256/),
      },
      fixed: { VPC: fixed, Subnet: fixed, NatGateway: fixed, SecurityGroup: fixed },
      updated: all(2),
      status: all("2 2"),
      badStatus: expect.stringMatching(/^422 .*status.conditions/),
      conflict: expect.stringMatching(/^409 .*the object has been modified/),
      table: {
        columns: ["Name", "VNI", "Namespaces", "Up", "Not up", "Accepted", "Reason", "Message", "Age"],
        row: ["team-a", null, '["team-a","ci"]', null, null, "False", "NotAdmitted", "because"],
      },
      afterRestart: [2, 1, 0, 1, 1, 1, 1, 1, 1],
      tooOld: "410",
      deleted: all(0),
    });
  },
);
