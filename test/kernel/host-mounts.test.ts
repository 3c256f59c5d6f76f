/** An agent in a pod acts among the host's mounts, with the capabilities of its DaemonSet and no others. */
import { expect, test } from "bun:test";
import { PodHost, podHostLacks as lacks, unified } from "../support/pod-host.ts";
import { Scratch } from "../support/scratch.ts";

test.skipIf(lacks !== undefined)(
  `namespaces and settings are made where the host sees them, and what outlives it leaves the pod${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  async () => {
    using scratch = new Scratch();
    await using host = await PodHost.start(scratch.netns);
    const program = new URL("../support/pod-mounts.ts", import.meta.url).pathname;
    const { stdout, stderr } = await host.run([process.execPath, program, "/run/netns/made"], "pod");
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      ...{ before: "EROFS", own: "done", between: "done", returned: true, after: "done", value: "1" },
      made: { onHost: true, seen: true, isOne: true },
      removed: true,
      // As the pod sees it: beside its own group, which it takes for the first.
      ...(unified !== undefined && { group: "0::/.." }),
    });
    expect(host.mounts).not.toContain("/run/netns/made");
  },
);

test.skipIf(lacks !== undefined)(
  `process ids of its own are an error, with what is missing${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  async () => {
    using scratch = new Scratch();
    await using host = await PodHost.start(scratch.netns);
    const sys = new URL("../../src/sys/mod.ts", import.meta.url).pathname;
    const program = `const { openHostMounts } = await import("${sys}"); openHostMounts();`;
    const own = ["unshare", "--pid", "--fork", "--mount-proc", process.execPath, "-e", program];
    const { status, stderr } = await host.run(own);
    expect([status, stderr]).toEqual([
      1,
      expect.stringContaining("process 1 is this one; run it with hostPID"),
    ]);
  },
);
