/** The controller at a real kube-apiserver, in a namespace of its own. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { runSync } from "../../src/sys/mod.ts";
import { apiServerNeeds } from "../support/api-server.ts";
import { Scratch } from "../support/scratch.ts";

setDefaultTimeout(300_000);
const { program, etcd, lacks } = apiServerNeeds();

test.skipIf(lacks !== undefined)(
  `a controller takes resources into the register and says why not, numbers nodes, and is succeeded${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  () => {
    using scratch = new Scratch();
    const scenario = new URL("../support/controller-scenario.ts", import.meta.url).pathname;
    const argv = [process.execPath, scenario, program as string, etcd as string];
    const { stdout, stderr } = runSync(argv, { netns: scratch.netns, timeoutMs: 280_000 });
    // How long each succession took.
    process.stdout.write(stderr);
    const { minor, ...result } = JSON.parse(stdout);
    expect(result).toEqual({
      subnet: "Accepted: every node that may serve it is told",
      vni: true,
      peering:
        'NotAdmitted: Peering "a-b": spec.vpcs[1] b is no VPC that is there; apply it too, or name one of a',
      invalid:
        'Invalid: VPC "b": spec.services[0].ports[0] "tcp/http" is not a port; write it like tcp/443 or udp/30000-30010',
      unchanged:
        minor >= 25
          ? expect.stringMatching(/^422 .*spec\.vni never changes/)
          : 'NotAdmitted: VPC "a": spec.vni 5001 was 5000, and never changes; delete it and apply it anew',
      // Before what looks at them.
      labelled: { rack: "a", seen: "x" },
      stays: [5000, 1],
      inUse: 'InUse: VPC "a": is used by Subnet "a.web" (spec.vpc); delete that first',
      events: [
        expect.stringContaining("is not what Causeway gave node hub: 10.244.0.0/24"),
        'VPC "b": spec.services[0].ports[0] "tcp/http" is not a port; write it like tcp/443 or udp/30000-30010',
        'VPC "a": is used by Subnet "a.web" (spec.vpc); delete that first',
      ],
      waits: expect.stringMatching(
        /^Node worker was deleted; node old of the mesh has addresses .*, pod ranges 10.244.1.0\/24, .*, which is released when its last pod has gone \(now default\/left/,
      ),
      ...{ known: ["far", "hub", "new", "old"], held: ["old"] },
      releasedNode: expect.stringMatching(
        /^Node worker was deleted; addresses .*, pod ranges 10.244.1.0\/24.* are free for others/,
      ),
      "stays in the mesh": expect.stringMatching(
        /^Node laptop was deleted; node laptop .* its machine is still heard/,
      ),
      members: ["hub", "new", "laptop", "far"],
      blocks: 0,
      released: "",
      others: [
        'NotAdmitted: VPC "by-hand": there is another one that was made with causeway apply; apply the same here to own it, or choose another name',
        'NotAdmitted: VPC "elsewhere": belongs to the Kubernetes cluster another; delete it there, or choose another name',
      ],
      spared: [true, true],
      undone:
        'VPC "b": belongs to the Kubernetes cluster UID; change it there with kubectl, or take it with --force',
      problem: true,
      attachments: [
        "default/b-web theirs",
        'kube-public/b-web {"cniVersion":"1.0.0","name":"b-web","type":"causeway","vpc":"b","subnet":"b.web","capabilities":{"ips":true,"mac":true}}',
      ],
      theirs: ["default/b-web theirs"],
      writes: "few",
      unused: [],
      register: ["b", "by-hand", "elsewhere"],
    });
  },
);
