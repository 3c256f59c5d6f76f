/** Manifests and examples at a real kube-apiserver, in a namespace of its own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync, which } from "../../src/sys/mod.ts";
import { apiServerNeeds } from "../support/api-server.ts";
import { Scratch } from "../support/scratch.ts";

setDefaultTimeout(300_000);
const { program, etcd, lacks } = apiServerNeeds();
const kubectl = which("kubectl") ?? "";

test.skipIf(lacks !== undefined)(
  `what we print fits the API server's schema and is taken as it is, and so are the examples, by ${kubectl === "" ? "plain requests (no kubectl here)" : "kubectl"}${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/manifest-scenario.ts", import.meta.url).pathname;
    const argv = [process.execPath, scenario, program as string, etcd as string, kubectl];
    const { stdout, stderr } = runSync(argv, { netns: scratch.netns, timeoutMs: 280_000 });
    expect(stderr).toBe("");
    // PriorityClass system-node-critical.
    const priority = 2_000_001_000;
    const result = JSON.parse(stdout);
    for (const words of ["spec.vni", "spec.links"]) expect(result.refused["rack.yaml"]).toContain(words);
    for (const words of ["prefixes", "vpcs", "externalAddresses", "gateway", "rules"])
      expect(result.refused["team-a.yaml"]).toContain(`spec.${words}`);
    expect(result).toEqual({
      ...{ schema: [], dryRun: [], applied: [] },
      priorities: {
        ...{ "causeway-agent": priority, "causeway-controller": priority, "causeway-uninstall": priority },
      },
      examples: { "team-a.yaml": "", "rack.yaml": "", "pods.yaml": "" },
      accepted: [
        ...["VPC team-a", "Subnet team-a.web", "SecurityGroup team-a.web", "NatGateway team-a-out"],
        ...["FloatingIP team-a-web", "VPC storage", "Subnet storage.disks", "Peering team-a-storage"],
        ...["Underlay rack-a", "VPC red"],
      ],
      defaulted: { routed: true, protocol: "any", router: "underlay" },
      refused: { "rack.yaml": expect.any(String), "team-a.yaml": expect.any(String) },
      agent: { vpc: "team-a", namespace: 200, others: [403, 403, 403] },
      taken: "",
      judged: {
        FloatingIP: expect.stringMatching(/^Invalid: FloatingIP "team-a-web": spec.address/),
        SecurityGroup: expect.stringMatching(/^NotAdmitted: SecurityGroup "team-a.web": .*team-a.nobody/),
      },
      left: [],
    });
  },
);
