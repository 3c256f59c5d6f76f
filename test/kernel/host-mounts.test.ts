/** An agent in a pod acts among the host's mounts, with the capabilities of its DaemonSet and no others. */
import { expect, test } from "bun:test";
import { agentCapabilities } from "../../src/kube/agent-pod.ts";
import { removeTree, runSync, spawnDetached, terminate } from "../../src/sys/mod.ts";
import { until } from "../../src/lab/wait.ts";
import { lacksTool, notRoot, Scratch } from "../support/scratch.ts";

const lacks = notRoot ?? lacksTool("setpriv") ?? lacksTool("unshare");

test.skipIf(lacks !== undefined)(
  `namespaces and settings are made where the host sees them${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  async () => {
    using scratch = new Scratch();
    const folder = `${scratch.folder}/run`;
    // A host whose mounts only it has; `exec` keeps the process id.
    const setUp = `mkdir -p ${folder} && mount -t tmpfs tmpfs ${folder} && touch ${folder}/ready && exec sleep 600`;
    const host = spawnDetached(["unshare", "--mount", "sh", "-c", setUp]);
    try {
      const ready = `/proc/${host}/root${folder}/ready`;
      await until(() => (runSync(["test", "-e", ready]).status === 0 ? undefined : "not yet"), {
        what: "the host's mounts",
      });
      const program = new URL("../support/pod-mounts.ts", import.meta.url).pathname;
      const caps = agentCapabilities.map((name) => `,+${name.toLowerCase()}`).join("");
      const pod = [
        "mount --bind /proc/sys /proc/sys",
        "mount -o remount,bind,ro /proc/sys",
        `exec setpriv --bounding-set=-all${caps} -- ${process.execPath} ${program} ${host} ${folder}/made`,
      ].join(" && ");
      const { stdout, stderr } = runSync(["unshare", "--mount", "sh", "-c", pod], { netns: scratch.netns });
      expect(stderr).toBe("");
      expect(JSON.parse(stdout)).toEqual({
        ...{ before: "EROFS", after: "done", value: "1" },
        made: { here: false, there: true },
        ...{ isOne: true, kept: true, removed: true },
      });
    } finally {
      await terminate(host, { graceMs: 0 });
      removeTree(folder);
    }
  },
);
