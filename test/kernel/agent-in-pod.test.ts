/** The agent's pod takes over from the service of its node, and the service from the pod: nothing that carries packets is touched. */
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../src/lab/wait.ts";
import { executable, labLacks } from "../support/lab-needs.ts";
import { PodHost, podHostLacks, unified } from "../support/pod-host.ts";
import { Scratch } from "../support/scratch.ts";

const lacks = labLacks ?? podHostLacks;

/** An API that nobody serves: who asks it has the threads that the runtime begins for requests. */
const READER = "/etc/causeway/reader.conf";
const reader = JSON.stringify({
  "current-context": "here",
  clusters: [
    { name: "here", cluster: { server: "https://127.0.0.1:1", "certificate-authority-data": "eA==" } },
  ],
  users: [{ name: "here", user: { token: "none" } }],
  contexts: [{ name: "here", context: { cluster: "here", user: "here" } }],
});

test.skipIf(lacks !== undefined)(
  `a pod takes over from a service, and a service from a pod${lacks === undefined ? "" : ` (skipped: ${lacks})`}`,
  async () => {
    using scratch = new Scratch();
    scratch.text("ip link set lo up");
    const logs = mkdtempSync(join(tmpdir(), "causeway-in-pod-"));
    const log = (name: string) => join(logs, name);
    try {
      await using host = await PodHost.start(scratch.netns);
      const agent = (where: "host" | "pod", name: string) => {
        const asks = ["--kubeconfig", READER, "--kube-node", "n1"];
        // The number that it has on the host, by which it is ended.
        const words = [executable, "agent", "--tunnel", "user", "--port-mapping", "off"];
        const begin = `echo $$ > /run/causeway/${name}.pid; exec "$@"`;
        host.serve(
          ["sh", "-c", begin, "sh", ...words, ...(where === "pod" ? ["--in-pod", ...asks] : [])],
          where,
          log(name),
        );
      };
      const end = async (name: string) => {
        const { status } = await host.run(["sh", "-c", `kill -TERM $(cat /run/causeway/${name}.pid)`]);
        expect(status).toBe(0);
      };
      const said = async (name: string, words: string) => {
        const text = () => readFileSync(log(name), "utf8");
        await until(() => (text().includes(words) ? undefined : text()), {
          what: `${name} to say: ${words}`,
        });
      };
      const causeway = async (...words: string[]) => {
        const done = await host.run([executable, ...words], "pod");
        return `${done.status} ${done.stdout}${done.stderr}`.trim();
      };
      /** What carries packets: the link, and the process of the tunnel. */
      const tunnel = async () => (await host.run(["pgrep", "-f", "causeway dataplane"])).stdout.trim();
      const dataPath = async () => ({
        link: scratch.json("ip -json link show dev cw0")[0].ifindex,
        process: await tunnel(),
      });

      agent("host", "service");
      await said("service", "agent is ready");
      expect(await causeway("kube", "wait", "--agent", "--timeout", "5s")).toBe("0");
      expect(await causeway("kube", "wait", "--timeout", "1s")).toMatch(/^1 .*this node is in no mesh/s);
      expect(await causeway("init", "--endpoint", "192.0.2.1:51820")).toStartWith("0");
      expect(await causeway("kube", "wait")).toBe("0");
      const before = await dataPath();
      expect(before.process).not.toBe("");

      expect((await host.run(["sh", "-c", `echo "$0" > ${READER}`, reader])).status).toBe(0);
      agent("pod", "pod");
      await said("pod", "this one takes over when it ends");
      await end("service");
      await said("pod", "agent is ready");
      // The probes of the DaemonSet.
      expect(await causeway("kube", "wait", "--agent", "--timeout", "5s")).toBe("0");
      expect(await causeway("kube", "wait")).toBe("0");
      expect((await causeway("plan", "--json")).replaceAll(/\s/g, "")).toBe('0{"steps":[],"blocked":[]}');
      expect(await dataPath()).toEqual(before);

      // What the pod starts outlives it: it is not in the pod's control group.
      expect((await host.run(["kill", "-KILL", before.process])).status).toBe(0);
      const begun = async () => {
        const found = await tunnel();
        return found !== "" && found !== before.process ? undefined : `it is ${found}`;
      };
      await until(begun, { what: "the pod's agent to start the tunnel's process again" });
      expect(await causeway("kube", "wait")).toBe("0");
      const after = await dataPath();
      if (unified !== undefined)
        expect((await host.run(["cat", `/proc/${after.process}/cgroup`])).stdout).toMatch(/^0::\/$/m);

      await end("pod");
      await said("pod", "agent stops");
      expect(await dataPath()).toEqual(after);
      agent("host", "again");
      await said("again", "agent is ready");
      expect(await causeway("kube", "wait")).toBe("0");
      expect(await dataPath()).toEqual(after);
    } finally {
      rmSync(logs, { recursive: true });
    }
  },
  180_000,
);
